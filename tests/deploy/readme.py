#!/usr/bin/env python3
"""Replays README.md: every command in it is run, and must print what the README says.

    tests/deploy/readme.py [README]

The ```console blocks are one shell session, in a copy of the working tree as a fresh clone has it. A command follows
`$ `; it continues after a backslash and in lines that begin with `> `. The lines after it are what it prints: `…` stands
for anything within a line, alone on a line for any lines. A server (`cargo run` without an argument after `--`) runs in
the background until the next one starts. Its first lines are compared, standard error before or after standard output,
as two threads write them. A block is left out as ```console no-replay, after an HTML comment that says why. Relative
links must lead to a file and a heading.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

from support import ROOT, TARGET, Child, check, finish

# Covers a release build on a slow machine.
COMMAND_TIMEOUT = 900
# A server that has printed something, and nothing more for so long, has said all it says.
SETTLE_TIME = 5
# What cargo says of its own work differs from run to run.
CARGO_STATUS = re.compile(
    r"^ {2,}(Blocking|Building|Compiling|Checking|Documenting|Doc-tests|Downloaded|Downloading|"
    r"Finished|Fresh|Locking|Running|Updating|Adding) ")


# --- What the README says -------------------------------------------------------------------------


def console_blocks(readme):
    """The line number and the lines of each block to replay."""
    blocks = re.finditer(r"^[ \t]*```(.*)\n((?:.*\n)*?)[ \t]*```[ \t]*$", readme, re.MULTILINE)
    for block in blocks:
        number = readme.count("\n", 0, block.start()) + 1
        match block[1].split():
            case ["console"]:
                yield number, block[2].splitlines()
            case ["console", "no-replay"]:
                reason = readme[:block.start()].rstrip().splitlines()[-1:]
                check(f"line {number}: a comment says why it is not replayed", reason and reason[0].endswith("-->"))
            case ["console", *words]:
                check(f"line {number}: known words after console", False, words)


def commands(start, lines):
    """The line number, the command and the expected lines of each command of a block."""
    found, is_open = [], False
    for number, line in enumerate(lines, start + 1):
        if line.startswith("$ "):
            found.append((number, [line[2:]], []))
        elif not found:
            check(f"line {number}: a console block begins with `$ command`", False, line)
            return
        elif is_open or (line.startswith("> ") and not found[-1][2]):
            found[-1][1].append(line.removeprefix("> "))
        else:
            found[-1][2].append(line)
            continue
        is_open = line.endswith("\\")
    for number, command, expected in found:
        yield number, "\n".join(command), trimmed(expected)


def trimmed(lines):
    """Without cargo's status lines, and without empty lines at both ends."""
    kept = [line.rstrip() for line in lines if not CARGO_STATUS.match(line)]
    return "\n".join(kept).strip("\n").splitlines()


def prints(expected, printed, match):
    """`…` alone on a line is any lines, elsewhere any characters of its line."""
    pattern = "".join(r"(?:[^\n]*\n)*?" if line.strip() == "…" else
                      "[^\n]*".join(map(re.escape, line.split("…"))) + "\n" for line in expected)
    return match(pattern, "".join(line + "\n" for line in trimmed(printed))) is not None


def is_server(command):
    return re.search(r"\bcargo run\b", command) and ("--" not in command.split() or command.split()[-1] == "--")


# --- The session ----------------------------------------------------------------------------------


class Session:
    """A shell that keeps its folder and its variables from command to command."""

    def __init__(self, folder, home):
        # curl shows a progress meter where it does not print to a terminal.
        (home / ".curlrc").write_text("silent\nshow-error\n")
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith(("API_", "JWT_"))}
        self.environment |= {"CURL_HOME": str(home), "CARGO_TERM_COLOR": "never", "TERM": "dumb",
                             "CARGO_TARGET_DIR": str(folder / "target")}
        self.folder, self.state, self.server = folder, home / "state", None
        self.state.write_text("")

    def bash(self, command):
        # Read-only variables are bash's own.
        script = (f". {self.state} 2> /dev/null; cd \"$PWD\"\n{{\n{command}\n}}\n"
                  f"declare -p | grep -v '^declare -[a-zA-Z]*r' > {self.state}\n")
        return ["bash", "--noprofile", "--norc", "-c", script]

    def run(self, command):
        """The lines that it prints, standard error included."""
        with tempfile.TemporaryFile("w+") as output:
            subprocess.run(self.bash(command), cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL,
                           stdout=output, stderr=output, timeout=COMMAND_TIMEOUT, check=False)
            output.seek(0)
            return output.read().splitlines()

    def start_server(self, command, expected):
        """Runs a server in the background; the lines that it has printed once they are those expected."""
        self.stop_server()
        with tempfile.NamedTemporaryFile("w+") as errors, tempfile.NamedTemporaryFile("w+") as output:
            # The child becomes cargo, and cargo the server.
            self.server = Child(self.bash(command.replace("cargo run", "exec cargo run", 1)), cwd=self.folder,
                                env=self.environment, stdout=output, stderr=errors)
            changed, printed, self.serves = time.monotonic(), [], False
            while True:
                has_ended = self.server.child.poll() is not None
                texts = [pathlib.Path(log.name).read_text().splitlines() for log in (errors, output)]
                if sum(texts, []) != printed:
                    changed, printed = time.monotonic(), sum(texts, [])
                    # One that cannot start prints why, and ends by itself.
                    self.serves = any(line.startswith("listening on ") for line in printed)
                for order in (printed, texts[1] + texts[0]):
                    if prints(expected, order, re.match):
                        return order
                limit = SETTLE_TIME if trimmed(printed) else COMMAND_TIMEOUT
                if has_ended or time.monotonic() > changed + limit:
                    return printed
                time.sleep(0.02)

    def stop_server(self):
        if self.server:
            status = self.server.stop()
            check("a server ends with status 0", status == 0 or not self.serves, status)
        self.server = None


def copy_sources(folder):
    """What a fresh clone has, with the changes of the working tree."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT,
                            check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if os.path.lexists(ROOT / name):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)


def replay(readme, folder, home):
    session, count = Session(folder, home), 0
    try:
        for start, lines in console_blocks(readme):
            for number, command, expected in commands(start, lines):
                count += 1
                print(f"line {number}: {command}", flush=True)
                if is_server(command):
                    printed, match = session.start_server(command, expected), re.match
                else:
                    printed, match = session.run(command), re.fullmatch
                check(f"line {number}", prints(expected, printed, match),
                      "\n".join(["expected:", *expected, "printed:", *trimmed(printed)]))
    finally:
        session.stop_server()
    check("there is something to replay", count)


# --- Links ----------------------------------------------------------------------------------------


def without_code(markdown):
    return re.sub(r"^\s*```.*?^\s*```\s*$", "", markdown, flags=re.MULTILINE | re.DOTALL)


def anchors(markdown):
    """As GitHub makes them of headings."""
    found = set()
    for heading in re.findall(r"^#+ +(.*?)\s*$", without_code(markdown), re.MULTILINE):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = name = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        again = 0
        while name in found:
            again += 1
            name = f"{slug}-{again}"
        found.add(name)
    return found


def check_links(path):
    text = re.sub(r"`[^`\n]*`", "``", without_code(path.read_text()))
    targets = re.findall(r"\]\(<?([^)\s>]+)", text)
    targets += re.findall(r"^\[[^\]]+\]:\s*(\S+)", text, re.MULTILINE)
    targets += re.findall(r"\b(?:src|srcset|href)=\"([^\"\s]+)", text)
    for target in dict.fromkeys(targets):
        if re.match(r"[a-z][a-z0-9+.-]*:|//", target):
            continue
        name, _, anchor = target.partition("#")
        linked = path.parent / name if name else path
        check(f"the link {target} leads to a file", linked.exists())
        if anchor and linked.suffix == ".md" and linked.exists():
            check(f"the link {target} leads to a heading", anchor in anchors(linked.read_text()))


def main():
    if len(sys.argv) > 2 or sys.argv[1:] in (["-h"], ["--help"]):
        sys.exit(__doc__)
    readme = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "README.md"
    # Always the same place, so that cargo finds again what it has built.
    home = TARGET / "readme"
    folder, build = home / "clone", home / "target"
    shutil.rmtree(folder, ignore_errors=True)
    build.mkdir(parents=True, exist_ok=True)
    copy_sources(folder)
    # A build folder of its own, kept from run to run: in the project's own one cargo would take what was built from the
    # clone for what is built here, and the other way round.
    (folder / "target").symlink_to(build, target_is_directory=True)
    replay(readme.read_text(), folder, home)
    check_links(readme)
    finish()


if __name__ == "__main__":
    main()
