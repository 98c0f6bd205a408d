"""Cost of growth: what more connections, longer heads and longer tokens cost one server."""

import select
import socket
import statistics
import time
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from . import Rejected
from .loads import again_if_stalled, load
from .process import Process
from .requests import HOST, PUBLIC, claims, make_token, with_token

ROUNDS = 3
SECONDS = 1
BUSY_SECONDS = 3  # so that establishing the connections counts for little
MOST_PARKED = 18_000
SETTLE_SECONDS = 2  # this server parks a connection after one second

BUSY = [1, 64, 1_000, 5_000]
PARKED = [0, 1_000, 5_000, MOST_PARKED]
HEADS = [100, 1_000, 4_000, 9_000, 16_000]
TOKENS = [200, 1_000, 4_000, 8_000]


def measure(server):
    """Returns a row for each step: what grows, its number, and the median of each figure."""
    steps = [("busy connections", n, replace(PUBLIC, connections=n), 0) for n in BUSY]
    steps += [("parked connections, beside 32 busy ones", n, PUBLIC, n) for n in PARKED]
    steps += [("bytes of the head", n, replace(PUBLIC, head=n), 0) for n in HEADS]
    steps += [("bytes of the token", n, with_token(token_of(n)), 0) for n in TOKENS]
    found = [[] for _ in steps]
    for _ in range(ROUNDS):
        for figures, (_, _, request, parked) in zip(found, steps):
            figures.append(again_if_stalled(partial(one_step, server, request, parked)))
    rows = []
    for (what, number, _, _), figures in zip(steps, found):
        medians = {key: statistics.median(f[key] for f in figures) for key in figures[0]}
        rows.append({"what": what, "number": number, **medians})
    return rows


def token_of(length):
    """Returns a valid token of that many bytes, or up to three fewer."""
    padding = max(0, (length - len(make_token(claims(pad="")))) * 3 // 4)
    while len(token := make_token(claims(pad="p" * padding))) > length and padding:
        padding -= 1
    return token


def one_step(server, request, parked):
    settings = {"API_MAX_CONNECTIONS": "20000", "API_IDLE_TIMEOUT": "3600"}
    with Process(server, **settings) as process, parking(process, parked):
        is_busy = request.connections != PUBLIC.connections
        run = load(process, request, BUSY_SECONDS if is_busy else SECONDS)
        kept = ("cpu_us", "requests_per_second", "p50_us", "p99_us")
        return {**{key: run[key] for key in kept}, "peak_mib": process.memory_mib("VmHWM")}


@contextmanager
def parking(process, count):
    """Connections that have had a response each, and stay open and idle."""
    connections, poll = [], select.poll()
    try:
        for _ in range(count):
            connection = socket.create_connection((HOST, process.port), timeout=5)
            connections.append(connection)
            connection.sendall(PUBLIC.octets(process.port))
            if PUBLIC.text.encode() not in connection.recv(4096):
                raise Rejected("a connection to be parked got a wrong response")
            poll.register(connection, select.POLLIN)
        time.sleep(SETTLE_SECONDS if count else 0)
        yield
        if gone := len(poll.poll(0)):
            raise Rejected(f"{gone} of {count} parked connections were closed")
    finally:
        for connection in connections:
            connection.close()
