"""One round of one server: start-up, load, memory."""

import http.client
import json
import re
import resource
import select
import statistics
import subprocess
import sys
import time
from functools import partial

from . import Refused, Stalled
from .answers import HOST, check_all, expect, first, receive, scenarios, send
from .process import IDLE_CONNECTIONS, LOAD_CPU, SERVER_CPU, Process, busy_seconds
from .servers import HERE

STARTS = 10
LOAD_CONNECTIONS = 32
WARM_UP_SECONDS = 2
TRIES = 3
NODE_KEEPS_IDLE_SECONDS = 5  # Node's default: the shortest of the servers here
BATCH = 100  # connections opened at once, to have all of them before the first is closed as idle


class Reference:
    """A bare-hyper that stays up and gets a second of load before and after every run.

    A virtual machine has slow phases of seconds to minutes that show nowhere, in which every
    server costs some 20 % more: what one costs beside the reference at that moment is free of them.
    """

    def __init__(self, process):
        self.process = process
        self.public = first(process.server)
        self.cpu_us = 0.0
        for _ in range(3):
            self.probe()

    def probe(self):
        """The mean of CPU microseconds a request, now and at the probe before."""
        before = self.cpu_us
        self.cpu_us = again_if_stalled(partial(load, self.process, self.public, 1))["cpu_us"]
        return (before + self.cpu_us) / 2


def one_round(server, reference, seconds):
    """All figures of one server, by name."""
    starts = []
    for _ in range(STARTS):
        with Process(server) as process:
            starts.append(process.start_ms)
    figures = {"start_ms": statistics.median(starts)}

    with Process(server) as process:
        check_all(process.port, server)
        reference.probe()
        for name, question in scenarios(server).items():
            run = again_if_stalled(partial(checked_load, process, question, seconds))
            run["relative"] = run["cpu_us"] / reference.probe()
            figures.update({f"{name}_{key}": value for key, value in run.items()})
        figures["loaded_mib"] = process.memory_mib("VmHWM")

    figures.update(again_if_stalled(partial(idle_memory, server)))
    return figures


def again_if_stalled(measure):
    for left in reversed(range(TRIES)):
        try:
            return measure()
        except Stalled as error:
            if not left:
                raise
            print(f"  {error}; once more", file=sys.stderr, flush=True)


def checked_load(process, question, seconds):
    """A warm-up in which every answer is looked at, then the measured load."""
    wanted = str(question.status), question.text
    result, _ = wrk(process, question, WARM_UP_SECONDS, "check.lua", *wanted)
    if result["wrong"] or not result["seen"]:
        raise Refused(
            f"{question.what}: {result['wrong']} of {result['seen']} answers under load "
            f"were wrong, expected {question.status}, for instance: {result['example']}"
        )
    figures = load(process, question, seconds)
    expect(process.port, question)
    return figures


def load(process, question, seconds):
    """What a load costs the server and gives the client."""
    before = clocks(process)
    result, wrk_cpu = wrk(process, question, seconds, "load.lua")
    wall, cpu, server_core, load_core = (b - a for a, b in zip(before, clocks(process)))

    requests = result["requests"]
    if not requests or result["status_errors"] != (requests if question.status >= 400 else 0):
        raise Refused(
            f"{question.what}: of {requests} answers {result['status_errors']} had a status "
            f"of 400 or more, expected {question.status} of all"
        )
    others = max(server_core - cpu, load_core - wrk_cpu, 0)
    return {
        "cpu_us": cpu * 1e6 / requests,
        "requests_a_second": requests / result["seconds"],
        "p50_us": result["p50_us"],
        "p99_us": result["p99_us"],
        "wrk_share": wrk_cpu / wall,  # at 1 it is wrk that limits the requests a second
        "others_share": others / wall,  # of one of the two cores, taken by other programs
    }


def clocks(process):
    """Seconds so far: of the wall, of the server, of all programs on either core."""
    cores = busy_seconds(SERVER_CPU), busy_seconds(LOAD_CPU)
    return time.perf_counter(), process.cpu_seconds(), *cores


def wrk(process, question, seconds, script, *arguments):
    """(the script's RESULT, CPU seconds of wrk). wrk inherits the load's core."""
    command = ["wrk", "-t1", f"-c{LOAD_CONNECTIONS}", f"-d{seconds}s", "-s", HERE / "wrk" / script]
    if question.token:
        command += ["-H", f"Authorization: Bearer {question.token}"]
    command += [f"http://{HOST}:{process.port}{question.path}", "--", *arguments]

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run = subprocess.run(command, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    match = re.search(r"^RESULT (.*)$", run.stdout, re.M)
    if not match:
        raise Refused(f"{question.what}: wrk failed: {run.stderr or run.stdout}")
    result = json.loads(match.group(1))
    if result["broken"]:
        raise Refused(f"{question.what}: {result['broken']} connections broke under load")
    if result["timeouts"]:
        raise Stalled(f"{question.what}: {result['timeouts']} requests took over 2 s")
    return result, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def idle_memory(server):
    """Memory of a fresh process: idle, and with idle connections that have had an answer each."""
    with Process(server) as process:
        time.sleep(1)
        idle = process.memory_mib("VmRSS")
        connections = [
            http.client.HTTPConnection(HOST, process.port, timeout=5)
            for _ in range(IDLE_CONNECTIONS)
        ]
        began = time.perf_counter()
        try:
            use_once(connections, first(server))
            time.sleep(0.5)
            with_connections = process.memory_mib("VmRSS")
            gone, took = count_closed(connections), time.perf_counter() - began
        except (http.client.HTTPException, OSError) as error:
            raise Refused(f"{IDLE_CONNECTIONS} connections: {error!r}") from error
        finally:
            for connection in connections:
                connection.close()
    if gone:
        late = took >= NODE_KEEPS_IDLE_SECONDS
        raise (Stalled if late else Refused)(
            f"{gone} of {IDLE_CONNECTIONS} idle connections were closed within {took:.1f} s"
        )
    return {"idle_mib": idle, "connections_mib": with_connections}


def use_once(connections, question):
    for start in range(0, len(connections), BATCH):
        batch = connections[start : start + BATCH]
        for connection in batch:
            send(connection, question)
        for connection in batch:
            receive(connection, question)


def count_closed(connections):
    # http.client itself drops the socket where an answer says `Connection: close`.
    sockets = [connection.sock for connection in connections if connection.sock]
    poll = select.poll()
    for sock in sockets:
        poll.register(sock, select.POLLIN)
    return len(connections) - len(sockets) + len(poll.poll(0))
