"""A running server: its start and end, and what the kernel says it used."""

import json
import os
import platform
import re
import signal
import socket
import sqlite3
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from . import Rejected
from .requests import HOST, NOTE, SECRET, SUBJECT, expect, first
from .servers import HERE, OUT, split_command

# One core for the servers and one for the load (and this program): the first and the last,
# which are the least likely to be two threads of one core.
CPUS = sorted(os.sched_getaffinity(0))
SERVER_CPU, LOAD_CPU = CPUS[0], CPUS[-1]

SECONDS_PER_TICK = 1 / os.sysconf("SC_CLK_TCK")
SECONDS_TO_START = 20
IDLE_CONNECTIONS = 5_000
MAX_CONNECTIONS = 6_000
STARTS = 10

SETTINGS = {
    "NOTES_FILE": str(OUT / "notes.sqlite"),
    "API_HOST": HOST,
    "JWT_SECRET": SECRET,
    "API_WORKERS": "1",
    "API_MAX_CONNECTIONS": str(MAX_CONNECTIONS),
}


class Process:
    """A server that runs between `with` and its end, and has given one right response."""

    def __init__(self, server, cpus=frozenset({SERVER_CPU}), **settings):
        self.server = server
        self.cpus = cpus
        self.settings = {**SETTINGS, **settings}
        self.log = OUT / f"{server.name}.log"

    def prepare(self):
        """Makes what the server wants, and returns its words and environment."""
        self.port = free_port()
        if self.server.config:
            template, target = (HERE / path for path in self.server.config)
            target.write_text(template.read_text().replace("@PORT@", str(self.port)))
        if self.server.notes:
            make_notes()
        env, words = split_command(self.server.command)
        inherited = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
        return words, {**inherited, **self.settings, "API_PORT": str(self.port), **env}

    def __enter__(self):
        words, env = self.prepare()
        with open(self.log, "wb") as log:
            os.sched_setaffinity(0, self.cpus)  # the child inherits it
            try:
                # At the head of a session of its own.
                self.popen = subprocess.Popen(
                    words, cwd=HERE, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                    start_new_session=True,
                )
            except OSError as error:
                raise Rejected(f"cannot be started: {error}") from error
            finally:
                os.sched_setaffinity(0, {LOAD_CPU})
        try:
            self.wait_for_first_response()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.popen.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.popen.wait(5)
        with suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)  # what it started itself, if still there
        self.popen.wait()

    def wait_for_first_response(self):
        end = time.monotonic() + SECONDS_TO_START
        while not self.listens():
            if self.popen.poll() is not None:
                status = self.popen.returncode
                raise Rejected(f"ended by itself with status {status}: {self.last_words()}")
            if time.monotonic() > end:
                raise Rejected(
                    f"does not listen {SECONDS_TO_START} s after its start: {self.last_words()}"
                )
            time.sleep(0.001)
        expect(self.port, first(self.server))

    def listens(self):
        with socket.socket() as probe:
            return probe.connect_ex((HOST, self.port)) == 0

    def last_words(self):
        return self.log.read_text(errors="replace").strip()[-300:] or "no output"

    def members(self):
        """The process ids of the server, workers included."""
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                session = (folder / "stat").read_text().rpartition(")")[2].split()[3]
            except OSError:
                continue
            if int(session) == self.popen.pid:
                yield int(folder.name)

    def cpu_seconds(self):
        """User plus system time so far of all members, from the kernel's clock of each process."""
        if self.popen.poll() is not None:
            raise Rejected(f"ended by itself: {self.last_words()}")
        # What clock_getcpuclockid(3) makes of a process id.
        return sum(time.clock_gettime(~pid << 3 | 2) for pid in self.members())

    def memory_mib(self, kind):
        """Resident memory: VmRSS is now, VmHWM the peak. Each process counts its shared pages."""
        total = 0
        for pid in self.members():
            status = Path(f"/proc/{pid}/status").read_text()
            match = re.search(rf"^{kind}:\s+(\d+) kB", status, re.M)
            total += int(match.group(1)) if match else 0
        return total / 1024


def start_up(server):
    """Starts the server again and again by a program that measures little of itself. Returns its
    milliseconds to the first response and its idle MiB, a list of each."""
    process = Process(server)
    words, env = process.prepare()
    command = [HERE / "peers/target/release/start", STARTS, SERVER_CPU, LOAD_CPU, *words]
    command = [str(word) for word in command]
    request = first(server).octets(process.port)
    run = subprocess.run(command, cwd=HERE, env=env, input=request, capture_output=True)
    if run.returncode:
        raise Rejected(f"start-up: {run.stderr.decode(errors='replace').strip()}")
    figures = json.loads(run.stdout)
    return {"start_ms": figures["start_ms"], "idle_mib": [kib / 1024 for kib in figures["idle_kib"]]}


def make_notes():
    """A database with one note, as examples/notes would have made it."""
    for name in ("notes.sqlite", "notes.sqlite-wal", "notes.sqlite-shm"):
        (OUT / name).unlink(missing_ok=True)
    database = sqlite3.connect(OUT / "notes.sqlite", isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    columns = "id INTEGER PRIMARY KEY, user TEXT NOT NULL, text TEXT NOT NULL"
    database.execute(f"CREATE TABLE notes ({columns})")
    database.execute("CREATE INDEX notes_by_user ON notes (user)")
    database.execute("INSERT INTO notes (user, text) VALUES (?, ?)", (SUBJECT, NOTE))
    database.close()


def free_port():
    """Below the ephemeral range: a client that waits for an ephemeral port to open can be given
    that very port as its own end, and so meet itself."""
    for port in range(21_000, 32_000):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
                return port
            except OSError:
                continue
    raise SystemExit("no free port")


def busy_seconds(cpu):
    """Seconds that one core has been busy so far, for all programs and the hypervisor's other guests."""
    match = re.search(rf"^cpu{cpu} (.*)$", Path("/proc/stat").read_text(), re.M)
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, match.group(1).split()[:8])
    return (user + nice + system + irq + softirq + steal) * SECONDS_PER_TICK


def machine():
    """A hypervisor may hide the model's name, but not its numbers."""
    keys = ("model name", "cpu family", "model", "stepping")
    text = Path("/proc/cpuinfo").read_text()
    found = [re.search(rf"^{key}\s*: (.*)$", text, re.M) for key in keys]
    if all(found):
        name, family, model, stepping = (match.group(1) for match in found)
        processor = f"{name} (family {family}, model {model}, stepping {stepping})"
    else:
        processor = platform.machine()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    kernel = platform.release().partition("-")[0]
    return f"{processor}, {os.cpu_count()} cores, {memory:.0f} GiB, Linux {kernel}"
