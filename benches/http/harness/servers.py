"""The servers of servers.json: what they need, how they are built, their size on disk."""

import json
import os
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from . import Rejected

HERE = Path(__file__).resolve().parent.parent  # every path and command below starts here
OUT = HERE / "out"

GOLANG_JWT = Path("/usr/share/gocode/src/github.com/golang-jwt/jwt")
HOW_TO_GET = {
    "cargo": "install Rust, see https://rustup.rs",
    "go": "apt-get install golang-go",
    "haproxy": "apt-get install haproxy",
    "nginx": "apt-get install nginx-light",
    "node": "apt-get install nodejs npm  (20 or later)",
    "wrk": "apt-get install wrk",
}


@dataclass
class Server:
    """One server, as servers.json or --candidate describes it."""

    name: str
    command: str  # `VARIABLE=value program argument`, as a shell would read it
    build: str = ""
    config: list = field(default_factory=list)  # [template, file made of it before each start]
    size: list = field(default_factory=list)  # programs, files and folders; default: the program
    rounds: int = 99  # at most; for one so far from the others that its spread decides nothing
    warm_up: int = 1  # seconds before a measured load; just-in-time compilers want more
    static: bool = False  # has the public route alone
    auth: bool = False  # has `/auth`
    edges: bool = False  # is also measured under the loads of other shapes
    notes: bool = False  # is examples/notes or does the same, and has no other route

    @property
    def program(self):
        return split_command(self.command)[1][0]


# Not a server: the program that measures start-up.
START = Server(
    "start",
    "peers/target/release/start",
    "cargo build --release --locked --manifest-path peers/start/Cargo.toml",
)


def read_servers():
    return [Server(**entry) for entry in json.loads((HERE / "servers.json").read_text())]


def candidate(text):
    """A server from --candidate NAME=COMMAND; a path in it starts in the current folder."""
    name, _, command = text.partition("=")
    env, words = split_command(command)
    if not name or not words:
        raise ValueError(f"--candidate wants NAME=COMMAND, not {text}")
    if "/" in words[0]:
        words[0] = os.path.abspath(words[0])
    command = shlex.join([f"{key}={value}" for key, value in env.items()] + words)
    return Server(name, command, edges=True)


def split_command(command):
    """(variables, words) of `VARIABLE=value program argument`."""
    words, env = shlex.split(command), {}
    while words and re.match(r"[A-Za-z_]\w*=", words[0]):
        key, _, value = words.pop(0).partition("=")
        env[key] = value
    return env, words


def missing(servers):
    """Returns a line for everything that has to be installed first, with the command for it."""
    commands = [c for s in servers for c in (s.build, s.command) if c]
    programs = ["wrk"] + [split_command(command)[1][0] for command in commands]
    lines = [
        f"{program}: {HOW_TO_GET.get(program, 'not found')}"
        for program in dict.fromkeys(programs)
        if "/" not in program and not shutil.which(program)
    ]
    if "go" in programs and not GOLANG_JWT.is_dir():
        lines.append("golang-jwt: apt-get install golang-github-golang-jwt-jwt-dev")
    scripts = [split_command(s.command)[1][1] for s in servers if s.program == "node"]
    for folder in dict.fromkeys((HERE / script).parent for script in scripts):
        if not npm_packages_fit(folder):
            lines.append(f"{folder.name}: npm ci --prefix {os.path.relpath(folder)}")
    return lines


def npm_packages_fit(folder):
    """Returns whether the packages that package.json pins are installed, in those versions."""
    wanted = json.loads((folder / "package.json").read_text())["dependencies"]
    for name, version in wanted.items():
        manifest = folder / "node_modules" / name / "package.json"
        if not manifest.exists() or json.loads(manifest.read_text())["version"] != version:
            return False
    return True


def build(server):
    """Builds one server by its own command, so that no Rust peer gets another's features."""
    env, words = split_command(server.build)
    # The commands in servers.json count on cargo's default target directory.
    inherited = {key: value for key, value in os.environ.items() if key != "CARGO_TARGET_DIR"}
    if subprocess.run(words, cwd=HERE, env={**inherited, **env}).returncode:
        raise SystemExit(f"{server.name}: the build failed: {server.build}")


def size_on_disk(server):
    """Returns the MiB of what the server needs beyond the system's shared libraries."""
    total = 0
    for item in server.size or [server.program]:
        path = HERE / item if "/" in item else Path(shutil.which(item)).resolve()
        if not path.exists():
            raise Rejected(f"{item}: not found")
        files = path.rglob("*") if path.is_dir() else [path]
        total += sum(f.lstat().st_size for f in files if f.is_file())
    return total / 2**20


def versions():
    """Returns `NAME VERSION` of the installed tools; those of libraries are in the lock files."""
    questions = {
        "rustc": ["rustc", "--version"],
        "Node.js": ["node", "--version"],
        "Go": ["go", "version"],
        "golang-jwt": ["dpkg-query", "-W", "golang-github-golang-jwt-jwt-dev"],
        "nginx": ["nginx", "-v"],
        "HAProxy": ["haproxy", "-v"],
        "wrk": ["wrk", "--version"],
    }
    found = []
    for name, question in questions.items():
        if shutil.which(question[0]):
            run = subprocess.run(question, capture_output=True, text=True)
            match = re.search(r"\d+(\.\d+)+", run.stdout + run.stderr)
            found += [f"{name} {match.group()}"] if match else []
    return found
