#!/usr/bin/env python3
"""Checks the release builds as processes.

    tests/deploy/program.py slow-clients     500 clients send heads, or read responses, as slowly as they can
    tests/deploy/program.py accept-errors    accept(2) fails again and again, as strace can make it
    tests/deploy/program.py budgets          size, idle memory, start-up time and dependencies, as README.md states them
"""

import http.client
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from support import MISSING_TOOL, ROOT, STATIC, Child, Server, ask, check, finish, require, server_binary

# --- Slow clients ---------------------------------------------------------------------------------

ATTACKERS, ATTACK_SECONDS, TIMEOUT = 500, 8, "2"
ATTACKS = {
    "slow heads": ["-H", "-i", "1"],
    "slow readers": ["-X", "-k", "10", "-w", "1", "-y", "20", "-n", "1", "-z", "1"],
}
P99_MILLISECONDS = 20


def behave(port, until, milliseconds):
    """A client that behaves: a request every 5 ms, on a kept connection and on a new one in turns."""
    kept = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    while not until.is_set():
        for connection in (kept, http.client.HTTPConnection("127.0.0.1", port, timeout=5)):
            begin = time.perf_counter()
            connection.request("GET", "/resource")
            response = connection.getresponse()
            assert response.status == 200 and response.read()
            milliseconds.append((time.perf_counter() - begin) * 1000)
            if connection is not kept:
                connection.close()
            time.sleep(0.005)


def slow_clients():
    """The server cuts all attackers before the attack ends, and a client that behaves does not notice them."""
    require("slowhttptest")
    with Server(server_binary(), API_HEADER_TIMEOUT=TIMEOUT, API_IDLE_TIMEOUT=TIMEOUT) as server:
        for name, options in ATTACKS.items():
            attack(server, name, options)


def attack(server, name, options):
    def descriptors():
        return len(os.listdir(f"/proc/{server.child.pid}/fd"))

    until, milliseconds, before, most = threading.Event(), [], descriptors(), 0
    client = threading.Thread(target=behave, args=(server.port, until, milliseconds))
    client.start()
    command = ["slowhttptest", *options, "-u", f"{server.url}/resource", "-c", str(ATTACKERS), "-r", str(ATTACKERS),
               "-l", str(ATTACK_SECONDS)]
    with Child(command, stdout=subprocess.DEVNULL):
        end = time.monotonic() + ATTACK_SECONDS - 1
        while time.monotonic() < end:
            most = max(most, descriptors() - before)
            time.sleep(0.01)
        left = descriptors() - before
    until.set()
    client.join()
    p99 = sorted(milliseconds)[len(milliseconds) * 99 // 100]
    figures = (f"{name}: {most} connections, {left} after {ATTACK_SECONDS - 1} s; {len(milliseconds)} requests "
               f"beside them, p99 {p99:.2f} ms")
    print(figures, flush=True)
    # The client that behaves has two connections.
    check(name, most >= ATTACKERS and left <= 2 and p99 < P99_MILLISECONDS, figures)


# --- Errors of accept(2) --------------------------------------------------------------------------

ERRORS = ["EINVAL", "ENFILE", "ENOMEM", "ENOBUFS", "EPERM", "EPROTO", "ENETDOWN"]
# Calls that succeed at first, and calls that fail then. The server tries 50 times a second.
GOOD, BAD = 3, 100


def processor_time(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def accept_errors():
    """The server neither spins nor closes an idle connection, says so once a second, and serves again afterwards."""
    require("strace")
    if subprocess.run(["strace", "-qq", "-o", "/dev/null", "true"], stderr=subprocess.DEVNULL).returncode:
        print("strace may not trace here")
        sys.exit(MISSING_TOOL)
    binary = server_binary()
    # All at once: they wait most of the time.
    with ThreadPoolExecutor(2 * len(ERRORS)) as pool:
        for done in [pool.submit(fail_to_accept, binary, error, workers) for workers in "12" for error in ERRORS]:
            done.result()


def fail_to_accept(binary, error, workers):
    # With -D the child is the server, and strace its grandchild.
    strace = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=accept4",
              "-e", f"inject=accept4:error={error}:when={GOOD + 1}..{GOOD + BAD}"]

    def connect():
        return http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)

    def is_served(connection):
        connection.request("GET", "/resource")
        response = connection.getresponse()
        return response.read() and response.status == 200

    with (tempfile.TemporaryFile("w+") as log,
          Server(*strace, binary, stderr=log, API_WORKERS=workers) as server):
        # The call after the last connection finds none, and is one more.
        idle = [connect() for _ in range(GOOD - 1)]
        served_first = all(map(is_served, idle))
        used, since = processor_time(server.child.pid), time.monotonic()
        waiting = [connect() for _ in range(4)]
        for connection in waiting:
            connection.connect()
        served_again = all(map(is_served, waiting))
        seconds = time.monotonic() - since
        share = (processor_time(server.child.pid) - used) / seconds
        for connection in idle:
            connection.auto_open = 0  # the same connection, not a new one
        kept = all(connection.sock and is_served(connection) for connection in idle)
        status = server.stop(5)
        log.seek(0)
        lines = log.read().splitlines()
    name = f"{error}, {workers} workers"
    check(f"{name}: served before and after", served_first and served_again, (served_first, served_again))
    check(f"{name}: the errors take their time, and no processor", seconds > BAD / 50 / 2 and share < 0.1,
          (seconds, share))
    check(f"{name}: idle connections stay open", kept)
    check(f"{name}: exit status", status == 0, status)
    check(f"{name}: at most a line per second", 1 <= len(lines) <= seconds + 1
          and all("cannot accept a connection" in line for line in lines), lines)
    print(f"{name}: {seconds:.1f} s, {share:.1%} of a processor, {lines[:1]}", flush=True)


# --- Budgets --------------------------------------------------------------------------------------

STARTS = 20
BUDGETS = {
    "static binary, bytes": 1_050_000,
    "static binary, idle memory, KiB": 1100,
    "static binary, start to first response, ms": 5.0,
    "crates in the normal dependency tree": 37,
}


def start(binary):
    """Milliseconds from start to the first response, and KiB resident after it."""
    begin = time.perf_counter()
    with Server(binary, dies_with_parent=False) as server:
        status, _, _ = ask(server.port, path="/healthz")
        milliseconds = (time.perf_counter() - begin) * 1000
        assert status == 200
        status = Path(f"/proc/{server.child.pid}/status").read_text()
        return milliseconds, int(re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)[1])


def budgets():
    figures = {}
    for name, binary in {"static": STATIC, "dynamic": server_binary()}.items():
        milliseconds, memory = zip(*(start(binary) for _ in range(STARTS)))
        figures[f"{name} binary, bytes"] = os.path.getsize(binary)
        # The kernel maps files in blocks around what is touched: how the program comes to lie in them is
        # worth 60 KiB in either direction.
        figures[f"{name} binary, idle memory, KiB"] = round(statistics.median(memory))
        figures[f"{name} binary, start to first response, ms"] = round(statistics.median(milliseconds), 2)
    tree = subprocess.run(["cargo", "tree", "--locked", "-e", "normal", "--prefix", "none", "--no-dedupe"],
                          cwd=ROOT, capture_output=True, text=True, check=True)
    figures["crates in the normal dependency tree"] = len(set(tree.stdout.splitlines()))
    for name, figure in figures.items():
        budget = BUDGETS.get(name)
        print(f"{name}: {figure}" + (f" of {budget}" if budget else ""), flush=True)
        check(name, budget is None or figure <= budget, f"{figure} is more than {budget}")


if __name__ == "__main__":
    checks = {"slow-clients": slow_clients, "accept-errors": accept_errors, "budgets": budgets}
    if len(sys.argv) != 2 or sys.argv[1] not in checks:
        sys.exit(__doc__)
    checks[sys.argv[1]]()
    finish()
