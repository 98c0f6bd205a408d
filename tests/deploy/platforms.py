#!/usr/bin/env python3
"""Sends the same bytes to two builds of the program and expects the same responses.

    tests/deploy/platforms.py REFERENCE COMMAND...

REFERENCE is the binary to compare with; COMMAND starts the other one, by an emulator where the processor is another:

    tests/deploy/platforms.py target/debug/resource-server qemu-s390x-static target/s390x/resource-server

The requests are those where the width or the order of bytes could matter: times, users and lengths around powers of two,
heads and tokens around their limits, every character at the ends of a token's parts.
"""

import collections
import os
import re
import socket
import sys

from support import SECRET, Server, b64, check, finish, sign_parts

HOST = b"Host: api.example\r\n"
# An emulator takes its time.
TIMEOUT = 60
SETTINGS = {
    "defaults": {},
    "a policy": {
        "JWT_ISSUER": "https://issuer.example/",
        "JWT_AUDIENCE": "api",
        "JWT_LEEWAY": "300",
        "JWT_REQUIRE_EXP": "true",
        "JWT_SECRET_PREVIOUS": "the secret before, of 32 bytes and more",
    },
}
MIN_REQUESTS = 140

POWERS = [2**31, 2**32, 2**53, 2**63, 2**64]
AROUND = [power + offset for power in POWERS for offset in (-1, 0, 1)]
# As JSON writes them. 253402300800 is the first second of the year 10000.
NUMBERS = [str(n) for n in AROUND] + [str(-n) for n in AROUND] + [
    "0", "-0", "1", "-1", "0.5", "253402300799", "253402300800", "253402300800.5", "253402300801", "1e400", "-1e400",
    "1e308", "1e-400", "4102444800.5", "4.1024448e9", "41024448E+2", "0.0000000001e20", "9" * 400, "1." + "0" * 300,
    "null", "true", '"4102444800"', "[4102444800]", "{}",
]
SIZES = sorted({0, 1, 5, *(n for power in POWERS for n in (power - 1, power, power + 1, power + 5))})


def sign(claims, header=b'{"alg":"HS256","typ":"JWT"}', secret=SECRET):
    return sign_parts(b64(header), b64(claims), secret)


def bearer(token, target=b"/auth"):
    return b"GET " + target + b" HTTP/1.1\r\n" + HOST + b"Authorization: Bearer " + token + b"\r\n\r\n"


def claims(**members):
    """Each value as JSON text."""
    return ("{" + ",".join(f'"{name}":{value}' for name, value in members.items()) + "}").encode()


def tokens():
    """Pairs of a name and a token."""
    common = {"sub": '"alice"', "iss": '"https://issuer.example/"', "aud": '"api"'}
    yield "plain", sign(claims(sub='"alice"'))
    yield "all claims", sign(claims(**common, exp="4102444800"))
    yield "the secret before", sign(claims(**common, exp="4102444800"), secret=b"the secret before, of 32 bytes and more")
    yield "another secret", sign(claims(**common), secret=b"none of them")
    for name in ("exp", "nbf", "iat", "sub"):
        for number in NUMBERS:
            yield f"{name} {number[:24]}", sign(claims(**{"sub": '"a"', name: number}))
            if name != "sub":
                yield f"{name} {number[:24]} with all", sign(claims(**{**common, "exp": "4102444800", name: number}))
    for length in range(8190, 8195):
        yield f"{length} bytes", of_length(length)
    for depth in (126, 127, 128, 129, 2000):
        yield f"{depth} deep", sign(b'{"sub":"a","x":%s%s}' % (b"[" * depth, b"]" * depth))
    header, payload, signature = sign(b'{"sub":"ab"}').split(b".")
    for byte in b"-_+/=.AZaz09 ~!":
        last = bytes([byte])
        yield f"signature ends with {byte}", header + b"." + payload + b"." + signature[:-1] + last
        yield f"signature longer by {byte}", header + b"." + payload + b"." + signature + last
        yield f"payload ends with {byte}", sign_parts(header, payload[:-1] + last)
        yield f"header ends with {byte}", sign_parts(header[:-1] + last, payload)


def of_length(length):
    """A valid token but for its length. Not every length is one of base64url: the header makes up for it."""
    for letters in range(4):
        header = b64(b'{"alg":"HS256","kid":"%s"}' % (b"k" * letters))
        room = length - len(header) - len("..") - 43
        payload = b64(b'{"sub":"a","x":"%s"}' % (b"x" * (room * 3 // 4 - 18)))
        if len(payload) == room:
            return sign_parts(header, payload)
    raise ValueError(length)


def requests():
    """Pairs of a name and the bytes to send."""
    valid = sign(claims(sub='"alice"', exp="4102444800", scope='"read write"'))
    follower = b"GET /resource HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"
    for name, token in tokens():
        yield f"token: {name}", bearer(token)
    for scopes in (1, 2, 15, 16, 17):
        yield f"{scopes} scopes", bearer(valid, b"/auth/" + b"+".join([b"read"] * scopes))
    for length in (16_383, 16_384, 16_385, 20_000, 32_767, 32_768, 65_535, 65_536, 70_000):
        for target, field in ((b"/resource", b"X: "), (b"/auth", b"Authorization: Bearer ")):
            head = b"GET %s HTTP/1.1\r\n%s%s" % (target, HOST, field)
            yield f"head of {length}: {field}", head + b"x" * (length - len(head) - 4) + b"\r\n\r\n"
        head = b"GET /resource? HTTP/1.1\r\n" + HOST + b"\r\n"
        yield f"target in a head of {length}", head.replace(b"? ", b"?" + b"q" * (length - len(head)) + b" ")
    for fields in (98, 99, 100, 101):
        yield f"{fields} fields", b"GET /resource HTTP/1.1\r\n" + HOST + b"X: y\r\n" * (fields - 1) + b"\r\n"
    # Of a length cut to 32 bits, five bytes would be left: what follows them would be a request of its own.
    for size in SIZES:
        for method in (b"POST /resource", b"GET /resource", b"POST /auth"):
            start = method + b" HTTP/1.1\r\n" + HOST
            yield f"{method} length {size}", start + b"Content-Length: %d\r\n\r\nhello" % size + follower
            yield f"{method} chunk {size:x}", start + b"Transfer-Encoding: chunked\r\n\r\n%x\r\nhello\r\n0\r\n\r\n" % size + follower


def ask(server, request):
    """All that comes back until the server closes, less the date."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT) as connection:
        response = b""
        try:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            while part := connection.recv(65536):
                response += part
        except ConnectionError as error:
            response += f"({type(error).__name__})".encode()
    return re.sub(rb"date: [^\r]*\r\n", b"", response, flags=re.IGNORECASE)


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    reference, command = os.path.abspath(sys.argv[1]), sys.argv[2:]
    asked, statuses = 0, collections.Counter()
    for setting, variables in SETTINGS.items():
        with Server(reference, **variables) as expecting, Server(*command, **variables) as tried:
            for name, request in requests():
                expected, found = (ask(server, request) for server in (expecting, tried))
                asked += 1
                statuses.update(re.findall(rb"^HTTP/1.1 (\d+)", expected, re.MULTILINE))
                check(f"{setting}: {name}", expected == found, f"\n  {expected[:600]!r}\n  {found[:600]!r}")
            ends = expecting.stop(), tried.stop(TIMEOUT)
            check(f"{setting}: both end with 0", ends == (0, 0), ends)
    # Two builds that fail in the same way agree too.
    missing = {b"200", b"400", b"401", b"403", b"405", b"431"} - set(statuses)
    check("every status was seen", not missing, missing)
    print(f"{asked} requests to {' '.join(command)}")
    check("there are many requests", asked >= MIN_REQUESTS, asked)
    finish()


if __name__ == "__main__":
    main()
