#!/usr/bin/env python3
"""Builds the image by the Dockerfile, checks what is in it, and runs it with podman and runc, with no more than runc
can start with.

    tests/deploy/engines.py          with this machine's compiler in the place of an image from a registry
    tests/deploy/engines.py image    builds the last stage alone, around the binary of .ci/build-static, and runs nothing

RESOURCE_SERVER_BIN names a static binary to spare the first stage. Exits with 78 where the engine cannot run any
container, and says why.
"""

import http.client
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

from support import (ROOT, SECRET, STATIC, UNOBTAINABLE, ask, bearer, check, finish, free_port, require,
                     wait_until)

BUSY, IDLE, SECONDS = 64, 256, 4
# The exit statuses of podman for a failure of the engine rather than of the program.
ENGINE_FAILED = (125, 126)
# Without systemd.
CONFIGURATION = """
[containers]
cgroupns = "host"
netns = "host"
[engine]
cgroup_manager = "cgroupfs"
runtime = "runc"
events_logger = "file"
"""
# Podman would raise them to 1,048,576, which root may not do everywhere.
LIMITS = ["--ulimit=nofile=1024:1024", "--ulimit=nproc=512:512"]


def command(*arguments, timeout=60, **options):
    """The status, output and errors. These go to files: a process that the engine leaves behind would keep pipes open."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        status = subprocess.run(arguments, stdin=subprocess.DEVNULL, stdout=output, stderr=errors,
                                timeout=timeout, **options).returncode
        output.seek(0), errors.seek(0)
        # podman warns that no systemd runs the health check.
        lines = [line for line in errors if "healthcheck" not in line]
        return status, output.read(), "".join(lines)


class Engine:
    def __init__(self, folder):
        (folder / "containers.conf").write_text(CONFIGURATION)
        self.folder = folder
        self.environment = os.environ | {"CONTAINERS_CONF": str(folder / "containers.conf")}
        self.podman = ["podman", "--root", f"{folder}/root", "--runroot", f"{folder}/run",
                       "--tmpdir", f"{folder}/tmp", "--storage-driver", "vfs"]

    def __call__(self, *arguments, **options):
        # conmon reports in the current folder that memory ran out.
        return command(*self.podman, *arguments, env=self.environment, cwd=self.folder, **options)

    def build(self, binary):
        """The image by the Dockerfile, or of its last stage alone around `binary`."""
        options = ["--isolation", "chroot", "--format", "docker", "--pull=never", *LIMITS]
        stages = (ROOT / "Dockerfile").read_text()
        if binary:
            built = self.folder / "built/build/target/static"
            built.mkdir(parents=True)
            shutil.copy(binary, built / "resource-server")
            with open(built / "THIRD-PARTY-LICENSES", "wb") as file:
                subprocess.run([ROOT / ".ci/third-party-licenses"], stdout=file, check=True)
            stages = stages[stages.index("FROM scratch"):]
            options += ["--build-context", f"build={self.folder}/built"]
        else:
            options += self.stand_in_for_rust(options)
        (self.folder / "Dockerfile").write_text(stages)
        return self("build", *options, "--tag", "resource-server", "--file", f"{self.folder}/Dockerfile", str(ROOT),
                    timeout=900)

    def stand_in_for_rust(self, options):
        """An empty image by the name of the first stage's, and the options that mount this machine's compiler in it."""
        root = self.folder / "rust"
        (root / "tmp").mkdir(parents=True)
        for name in ("bin", "lib", "lib64"):
            if os.path.islink(f"/{name}"):
                (root / name).symlink_to(os.readlink(f"/{name}"))
        (self.folder / "Dockerfile.rust").write_text(
            "FROM scratch\nENV PATH=/rust/bin:/usr/bin CARGO_HOME=/cargo CARGO_NET_OFFLINE=true\nCOPY . /\n")
        self("build", *options, "--tag", "rust:1-slim", "--file", f"{self.folder}/Dockerfile.rust", str(root))
        toolchain = command("rustc", "--print", "sysroot", cwd=ROOT)[1].strip()
        cargo = os.environ.get("CARGO_HOME", os.path.expanduser("~/.cargo"))
        mounts = {"/usr": "/usr", "/etc/alternatives": "/etc/alternatives", toolchain: "/rust", cargo: "/cargo"}
        return [f"--volume={source}:{target}:ro" for source, target in mounts.items() if os.path.exists(source)]

    def run(self, *options, arguments=()):
        return self("run", "--pull", "never", "--read-only", "--cap-drop", "ALL", *LIMITS, *options,
                    "resource-server", *arguments)

    def check_health(self, container):
        return self("healthcheck", "run", container.id)[0] == 0


class Container:
    """The program as process 1 of a container, on a port of the machine."""

    def __init__(self, engine, *options):
        self.engine, self.port = engine, free_port()
        options = ["--detach", "--env", f"API_PORT={self.port}", "--env", "API_WORKERS=1",
                   "--env", f"JWT_SECRET={SECRET}", *options]
        # With --pids-limit 1 the start depends on the number of runc's own threads, which varies.
        for self.tries in range(1, 11):
            self.started = time.monotonic()
            status, output, errors = engine.run(*options)
            if status == 0:
                break
        else:
            raise RuntimeError(f"{options}: status {status}: {errors}")
        self.id = output.split()[-1]
        wait_until(self.responds, "a response")
        self.pid = self.state()["Pid"]

    def responds(self):
        try:
            return ask(self.port)[0] == 404
        except OSError:
            return False

    def state(self):
        return json.loads(self.engine("inspect", self.id)[1])[0]["State"]

    def cgroup(self, controller):
        """The folder of its cgroup, of version 1 or 2."""
        groups = dict(line.split(":", 2)[1:] for line in
                      pathlib.Path(f"/proc/{self.pid}/cgroup").read_text().splitlines())
        version_1 = controller in groups
        return pathlib.Path("/sys/fs/cgroup", controller if version_1 else "",
                            groups[controller if version_1 else ""].lstrip("/"))

    def memory(self, version_1, version_2):
        file = self.cgroup("memory") / version_1
        return (file if file.exists() else self.cgroup("memory") / version_2).read_text()

    def stop(self):
        """Its status, and how long the engine took."""
        start = time.monotonic()
        self.engine("stop", "--time", "9", self.id)
        return self.state()["ExitCode"], time.monotonic() - start


def request_on(connection):
    connection.request("GET", "/resource/secret", headers=dict([bearer({"sub": "a"}).split(": ")]))
    response = connection.getresponse()
    response.read()
    return response.status


def load(port):
    """Requests as fast as 64 connections take them, beside 256 idle ones, which are returned open."""
    idle = [http.client.HTTPConnection("127.0.0.1", port, timeout=20) for _ in range(IDLE)]
    statuses = {request_on(connection) for connection in idle}
    _, report, errors = command("wrk", "-t1", f"-c{BUSY}", f"-d{SECONDS}s", "--timeout", "10s",
                                "-H", bearer({"sub": "a"}), f"http://127.0.0.1:{port}/resource/secret")
    for connection in idle:
        connection.auto_open = 0  # the same connection, not a new one
    statuses |= {request_on(connection) for connection in idle}
    requests = re.search(r"(\d+) requests in", report)
    rate = int(requests[1]) // SECONDS if requests else 0
    is_right = statuses == {200} and rate > 0 and not re.search("Non-2xx|Socket errors", report)
    return is_right, f"{statuses} {report} {errors}", rate, idle


def image(engine):
    """The image holds the binary and licences alone, and is configured as Cargo.toml and README.md say."""
    [found] = json.loads(engine("image", "inspect", "resource-server")[1])
    config = found["Config"]
    package = dict(re.findall(r'^(\w[\w-]*) = "(.*)"$', (ROOT / "Cargo.toml").read_text().split("\n[")[0], re.MULTILINE))
    for name, value, expected in (
        ("user", config["User"], "65534:65534"),
        ("entry point", config["Entrypoint"], ["/resource-server"]),
        ("ports", list(config["ExposedPorts"]), ["5000/tcp"]),
        ("health check", found["Healthcheck"]["Test"], ["CMD", "/resource-server", "health"]),
        # In nanoseconds: the container is healthy after the first check.
        ("healthy within 5 s", found["Healthcheck"].get("Interval", 30e9) <= 4e9, True),
        ("address", "API_HOST=0.0.0.0" in config["Env"], True),
        *((label, config["Labels"].get(f"org.opencontainers.image.{label}"), package[field]) for label, field in {
            "title": "name", "description": "description", "licenses": "license", "version": "version"}.items()),
    ):
        check(f"image: {name}", value == expected, value)
    root = pathlib.Path(engine("image", "mount", "resource-server")[1].strip())
    files = sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())
    check("image: files", files == ["licenses/LICENSE-APACHE", "licenses/LICENSE-MIT", "licenses/THIRD-PARTY-LICENSES",
                                    "resource-server"], files)
    licenses = (root / files[2]).read_text()
    target = command(ROOT / ".ci/build-static", "--target")[1].strip()
    tree = command("cargo", "tree", "--locked", "-e", "normal", "--target", target, "--prefix", "none", cwd=ROOT)[1]
    crates = {" ".join(line.split()[:2]).replace(" v", " ") for line in tree.splitlines() if line} - {
        f"{package['name']} {package['version']}"}
    # A heading, and a text before the next one.
    texts = dict(re.findall(r"^==== (.*?)(?:[:,].*)? ====\n((?:(?!====).*\n)*)", licenses, re.MULTILINE))
    missing = [crate for crate in crates | {"Rust's standard library", "musl"} if len(texts.get(crate, "")) < 500]
    check(f"image: the licences of {len(crates)} crates, the standard library and musl", crates and not missing, missing)


def confinement(engine):
    container = Container(engine)
    status = pathlib.Path(f"/proc/{container.pid}/status").read_text()
    fields = {name: value.split() for name, value in re.findall(r"^(\w+):(.*)$", status, re.MULTILINE)}
    check("the user is 65534", fields["Uid"] == fields["Gid"] == ["65534"] * 4, fields)
    check("no capability is left",
          all(int(fields[name][0], 16) == 0 for name in ("CapEff", "CapPrm", "CapBnd")), fields)
    check("it is process 1", fields["NSpid"][-1] == "1", fields)
    root = [line.split() for line in pathlib.Path(f"/proc/{container.pid}/mountinfo").read_text().splitlines()]
    check("the root is read-only", [line[5].startswith("ro") for line in root if line[4] == "/"] == [True], root)
    _, printed, errors = engine("exec", container.id, "/resource-server", "token", "--sub", "alice")
    response = ask(container.port, f"Authorization: Bearer {printed.strip()}", path="/resource/secret")
    check("a token that `exec` prints is accepted", response[0] == 200, (printed, errors, response))
    response = ask(container.port, bearer({"sub": "a"}, secret="x" * 32), path="/resource/secret")
    check("a token of another secret is not", response[0] == 401, response)
    status, taken = container.stop()
    check("it stops within a second with status 0", status == 0 and taken < 1, (status, taken))
    print(f"stopped after {taken:.2f} s", flush=True)


def memory(engine, mebibytes, checks_health):
    container = Container(engine, "--memory", f"{mebibytes}m", "--memory-swap", f"{mebibytes}m")
    limit = int(container.memory("memory.limit_in_bytes", "memory.max"))
    check(f"the limit is {mebibytes} MiB", limit == mebibytes << 20, limit)
    at_start = int(container.memory("memory.max_usage_in_bytes", "memory.peak"))
    if (peak := container.cgroup("memory") / "memory.max_usage_in_bytes").exists():
        peak.write_text("0")  # version 2 keeps it
    healthy = []
    with ThreadPoolExecutor() as pool:
        loaded = pool.submit(load, container.port)
        while checks_health and not loaded.done():
            healthy.append(engine.check_health(container))
    is_right, found, rate, idle = loaded.result()
    check(f"64 busy and 256 idle connections fit in {mebibytes} MiB", is_right, found)
    if checks_health:
        check(f"every health check under load fits in {mebibytes} MiB", healthy and all(healthy), healthy)
    under_load = int(container.memory("memory.max_usage_in_bytes", "memory.peak"))
    kills = re.search(r"oom_kill (\d+)", container.memory("memory.oom_control", "memory.events"))[1]
    check(f"nothing is killed for its memory with {mebibytes} MiB",
          kills == "0" and container.state()["Pid"] == container.pid, kills)
    status, taken = container.stop()
    check("it stops within a second beside 256 connections", status == 0 and taken < 1, (status, taken))
    print(f"{mebibytes} MiB: peak {at_start >> 10} KiB while runc starts it, {under_load >> 10} KiB under load with "
          f"{len(healthy)} health checks; {rate} requests/s; stopped after {taken:.2f} s beside {len(idle)} "
          "connections", flush=True)


def processor(engine):
    container = Container(engine, "--cpus", "0.1")
    wait_until(lambda: engine.check_health(container), "healthy", 10)
    ready = time.monotonic() - container.started
    start = time.monotonic()
    holds = engine.check_health(container)
    taken = time.monotonic() - start
    # An engine looks for the first time when one interval has passed.
    interval = json.loads(engine("image", "inspect", "resource-server")[1])[0]["Healthcheck"]["Interval"] / 1e9
    check("it is healthy within 5 s with a tenth of a processor",
          holds and ready < interval and interval + taken < 5, (holds, ready, interval, taken))
    is_right, found, rate, idle = load(container.port)
    check("a tenth of a processor serves 64 busy and 256 idle connections", is_right, found)
    status, stopped = container.stop()
    check("it stops within a second with a tenth of a processor", status == 0 and stopped < 1, (status, stopped))
    print(f"a tenth of a processor: ready after {ready:.2f} s, healthy after {interval + taken:.2f} s, which are the "
          f"interval and one check; {rate} requests/s; stopped after {stopped:.2f} s beside {len(idle)} connections",
          flush=True)


def processes(engine):
    container = Container(engine, "--pids-limit", "1")
    limit = (container.cgroup("pids") / "pids.max").read_text().strip()
    check("the limit is one process", limit == "1", limit)
    is_right, found, rate, idle = load(container.port)
    check("one process serves 64 busy and 256 idle connections", is_right, found)
    status, taken = container.stop()
    check("it stops within a second as the only process", status == 0 and taken < 1, (status, taken))
    print(f"one process: started at try {container.tries}; {rate} requests/s; stopped after {taken:.2f} s beside "
          f"{len(idle)} connections", flush=True)


def unreadable_secret(engine):
    secret = engine.folder / "secret.txt"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    status, _, errors = engine.run("--rm", "--volume", f"{secret}:/jwt:ro", "--env", "JWT_SECRET_FILE=/jwt")
    check("a secret that 65534 cannot read ends it with one line", status == 2 and re.fullmatch(
        r"JWT_SECRET_FILE: .*Permission denied.*\n", errors), (status, errors))
    secret.chmod(0o644)
    status, printed, errors = engine.run("--rm", "--volume", f"{secret}:/jwt:ro", "--env", "JWT_SECRET_FILE=/jwt",
                                         arguments=["token"])
    check("the same file with mode 644 is read", status == 0 and printed.count(".") == 2, (status, errors))


def main():
    runs = sys.argv[1:] != ["image"]
    require("podman", *(["runc", "wrk"] if runs else []))
    with tempfile.TemporaryDirectory(prefix="engines-") as folder:
        os.chmod(folder, 0o755)  # of the mounted secret only its own mode decides
        engine = Engine(pathlib.Path(folder))
        try:
            status, _, errors = engine.build(os.environ.get("RESOURCE_SERVER_BIN") or (None if runs else STATIC))
            check("the image builds", status == 0, errors)
            if status == 0:
                image(engine)
                if runs:
                    run(engine)
        finally:
            engine("image", "unmount", "--all")
            engine("rm", "--all", "--force", "--time", "0")
    finish()


def run(engine):
    status, _, errors = engine.run("--rm", "--env", f"JWT_SECRET={SECRET}", arguments=["token"])
    if status in ENGINE_FAILED:
        print(f"podman with runc runs no container on this machine: {errors.strip()[-500:]}")
        sys.exit(UNOBTAINABLE)
    for name, test in {
        "confinement": lambda: confinement(engine),
        # The least that runc starts with. Its own process for a health check does not fit beside the load.
        "4 MiB": lambda: memory(engine, 4, checks_health=False),
        "6 MiB": lambda: memory(engine, 6, checks_health=True),
        "a tenth of a processor": lambda: processor(engine),
        "one process": lambda: processes(engine),
        "an unreadable secret": lambda: unreadable_secret(engine),
    }.items():
        try:
            test()
        except (OSError, RuntimeError, http.client.HTTPException, subprocess.TimeoutExpired) as error:
            check(name, False, repr(error))


if __name__ == "__main__":
    main()
