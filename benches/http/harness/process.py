"""A running server: its start and end, and what the kernel says it used."""

import os
import re
import signal
import socket
import sqlite3
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from . import Refused
from .answers import HOST, NOTE, NOTE_USER, SECRET, expect, first
from .servers import HERE, OUT, split_command

# One core for the servers and one for the load (and this program): the first and the last,
# which are the least likely to be two threads of one core.
CPUS = sorted(os.sched_getaffinity(0))
SERVER_CPU, LOAD_CPU = CPUS[0], CPUS[-1]

SECONDS_A_TICK = 1 / os.sysconf("SC_CLK_TCK")
SECONDS_TO_START = 20
IDLE_CONNECTIONS = 5_000
MAX_CONNECTIONS = 6_000

SETTINGS = {
    "NOTES_FILE": str(OUT / "notes.sqlite"),
    "API_HOST": HOST,
    "JWT_SECRET": SECRET,
    "API_WORKERS": "1",
    "API_MAX_CONNECTIONS": str(MAX_CONNECTIONS),
}


def spawn(words, **options):
    """Starts a program on the servers' core, at the head of a session of its own."""
    os.sched_setaffinity(0, {SERVER_CPU})  # a child inherits it: no `taskset` in the start-up time
    try:
        return subprocess.Popen(words, stdin=subprocess.DEVNULL, start_new_session=True, **options)
    finally:
        os.sched_setaffinity(0, {LOAD_CPU})


class Process:
    """A server that runs between `with` and its end, and has answered one request.

    `start_ms` is the time from the spawn to the whole of that first answer.
    """

    def __init__(self, server):
        self.server = server
        self.port = free_port()
        self.log = OUT / f"{server.name}.log"

    def __enter__(self):
        if self.server.config:
            template, target = (HERE / path for path in self.server.config)
            target.write_text(template.read_text().replace("@PORT@", str(self.port)))
        if self.server.notes:
            make_notes()
        env, words = split_command(self.server.command)
        inherited = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
        env = {**inherited, **SETTINGS, "API_PORT": str(self.port), **env}
        with open(self.log, "wb") as log:
            began = time.perf_counter()
            try:
                self.popen = spawn(words, cwd=HERE, env=env, stdout=log, stderr=log)
            except OSError as error:
                raise Refused(f"cannot be started: {error}") from error
        try:
            self.wait_for_first_answer(began)
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

    def wait_for_first_answer(self, began):
        question = first(self.server)
        while time.perf_counter() < began + SECONDS_TO_START:
            if self.popen.poll() is not None:
                status = self.popen.returncode
                raise Refused(f"ended by itself with status {status}: {self.last_words()}")
            if not self.listens():
                time.sleep(0.0001)
                continue
            expect(self.port, question)
            self.start_ms = (time.perf_counter() - began) * 1e3
            return
        raise Refused(f"does not listen {SECONDS_TO_START} s after its start: {self.last_words()}")

    def listens(self):
        with socket.socket() as probe:
            return probe.connect_ex((HOST, self.port)) == 0

    def last_words(self):
        return self.log.read_text(errors="replace").strip()[-300:] or "no output"

    def members(self):
        """The /proc folders and stat fields of all processes of the server, workers included."""
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == self.popen.pid:  # the session
                yield folder, fields

    def cpu_seconds(self):
        """User plus system time so far, children that have ended included."""
        ticks = [int(ticks) for _, fields in self.members() for ticks in fields[11:15]]
        if not ticks:
            raise Refused(f"ended by itself: {self.last_words()}")
        return sum(ticks) * SECONDS_A_TICK

    def memory_mib(self, kind):
        """Resident memory: VmRSS is now, VmHWM the peak. Each process counts its shared pages."""
        total = 0
        for folder, _ in self.members():
            match = re.search(rf"^{kind}:\s+(\d+) kB", (folder / "status").read_text(), re.M)
            total += int(match.group(1)) if match else 0
        return total / 1024


def make_notes():
    """A database with one note, as examples/notes would have made it."""
    for name in ("notes.sqlite", "notes.sqlite-wal", "notes.sqlite-shm"):
        (OUT / name).unlink(missing_ok=True)
    database = sqlite3.connect(OUT / "notes.sqlite", isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    columns = "id INTEGER PRIMARY KEY, user TEXT NOT NULL, text TEXT NOT NULL"
    database.execute(f"CREATE TABLE notes ({columns})")
    database.execute("CREATE INDEX notes_by_user ON notes (user)")
    database.execute("INSERT INTO notes (user, text) VALUES (?, ?)", (NOTE_USER, NOTE))
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
    """What one core has done so far, for anyone; a hypervisor's other guests included."""
    match = re.search(rf"^cpu{cpu} (.*)$", Path("/proc/stat").read_text(), re.M)
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, match.group(1).split()[:8])
    return (user + nice + system + irq + softirq + steal) * SECONDS_A_TICK
