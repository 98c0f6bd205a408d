"""Loads: what they cost a server, and what the client sees of it."""

import http.client
import json
import re
import resource
import select
import subprocess
import sys
import time
from functools import partial

from . import Rejected, Stalled
from .process import IDLE_CONNECTIONS, LOAD_CPU, SERVER_CPU, Process, busy_seconds
from .requests import HOST, PUBLIC, expect, first, receive, send
from .servers import HERE

TRIES = 3
NODE_KEEPS_IDLE_SECONDS = 5  # Node's default: the shortest of the servers here
BATCH = 100  # connections opened at once, to have all of them before the first is closed as idle


class Reference:
    """A bare-hyper that stays up and gets a second of load before and after every measured load.

    A virtual machine has slow phases of seconds to minutes that show nowhere, in which every
    server costs some 20 % more. The multiple of what the reference costs at that moment is free of them.
    """

    def __init__(self, process):
        self.process = process
        self.request, self.cpu_us = None, 0.0

    def use(self, request):
        """Gets the load of an edge in the same shape, and of everything else the public route."""
        request = request if request.path == PUBLIC.path else PUBLIC
        if request != self.request:
            self.request = request
            self.probe()

    def probe(self):
        """Returns the mean CPU microseconds per request of this probe and the one before."""
        before = self.cpu_us
        run = again_if_stalled(partial(load, self.process, self.request, 1))
        self.cpu_us = run["cpu_us"]
        return (before + self.cpu_us) / 2


def again_if_stalled(measure):
    for left in reversed(range(TRIES)):
        try:
            return measure()
        except Stalled as error:
            if not left:
                raise
            print(f"  {error}; once more", file=sys.stderr, flush=True)


def warm_up(process, request):
    """A load in which every response is checked."""
    arguments = str(request.status), request.text
    result, _ = wrk(process, request, process.server.warm_up, *arguments)
    if not result["seen"]:
        raise Stalled(f"{request.what}: no response within {process.server.warm_up} s")
    if result["wrong"]:
        raise Rejected(
            f"{request.what}: {result['wrong']} of {result['seen']} responses under load "
            f"were wrong, expected {request.status}, for instance: {result['example']}"
        )


def load(process, request, seconds):
    """A measured load, and one more request after it."""
    before = clocks(process)
    result, wrk_cpu = wrk(process, request, seconds)
    wall, cpu, server_core, load_core = (b - a for a, b in zip(before, clocks(process)))

    requests = result["requests"]
    if not requests or result["status_errors"] != (requests if request.status >= 400 else 0):
        raise Rejected(
            f"{request.what}: of {requests} responses {result['status_errors']} had a status "
            f"of 400 or more, expected {request.status} of all"
        )
    expect(process.port, request)
    others = max(server_core - cpu, load_core - wrk_cpu, 0)
    # wrk times a pipelined batch as if it were one request.
    latency = {key: result[key] for key in ("p50_us", "p99_us") if request.pipelined == 1}
    return {
        "cpu_us": cpu * 1e6 / requests,
        "requests_per_second": requests / result["seconds"],
        **latency,
        "wrk_share": wrk_cpu / wall,  # at 1 it is wrk that limits the requests per second
        "others_share": others / wall,  # of one of the two cores, taken by other programs
    }


def clocks(process):
    """Seconds so far: of the wall, of the server, of all programs on either core."""
    cores = busy_seconds(SERVER_CPU), busy_seconds(LOAD_CPU)
    return time.perf_counter(), process.cpu_seconds(), *cores


def wrk(process, request, seconds, *arguments):
    """Returns the RESULT of load.lua and the CPU seconds of wrk, which inherits the load's core."""
    command = ["wrk", "-t1", f"-c{request.connections}", f"-d{seconds}s"]
    command += ["-s", HERE / "load.lua"]
    for name, value in request.fields(process.port).items():
        command += ["-H", f"{name}: {value}"]
    command += [f"http://{HOST}:{process.port}{request.path}", "--"]
    command += [str(request.pipelined), *arguments]

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run = subprocess.run(command, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    match = re.search(r"^RESULT (.*)$", run.stdout, re.M)
    if not match:
        raise Rejected(f"{request.what}: wrk failed: {run.stderr or run.stdout}")
    result = json.loads(match.group(1))
    if result["broken"]:
        raise Rejected(f"{request.what}: {result['broken']} connections broke under load")
    if result["timeouts"]:
        raise Stalled(f"{request.what}: {result['timeouts']} requests took over 2 s")
    return result, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def memory_with_connections(server):
    """Returns the MiB of a fresh process with idle connections that have had a response each."""
    with Process(server) as process:
        connections = [
            http.client.HTTPConnection(HOST, process.port, timeout=5)
            for _ in range(IDLE_CONNECTIONS)
        ]
        began = time.perf_counter()
        try:
            use_once(connections, first(server))
            time.sleep(0.5)
            mib = process.memory_mib("VmRSS")
            gone, took = count_closed(connections), time.perf_counter() - began
        except (http.client.HTTPException, OSError) as error:
            raise Rejected(f"{IDLE_CONNECTIONS} connections: {error!r}") from error
        finally:
            for connection in connections:
                connection.close()
    if gone:
        late = took >= NODE_KEEPS_IDLE_SECONDS
        raise (Stalled if late else Rejected)(
            f"{gone} of {IDLE_CONNECTIONS} idle connections were closed within {took:.1f} s"
        )
    return mib


def use_once(connections, request):
    for start in range(0, len(connections), BATCH):
        batch = connections[start : start + BATCH]
        for connection in batch:
            send(connection, request)
        for connection in batch:
            receive(connection, request)


def count_closed(connections):
    # http.client itself drops the socket where a response says `Connection: close`.
    sockets = [connection.sock for connection in connections if connection.sock]
    poll = select.poll()
    for sock in sockets:
        poll.register(sock, select.POLLIN)
    return len(connections) - len(sockets) + len(poll.poll(0))
