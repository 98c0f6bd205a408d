"""The requests: what a load sends, and the only right response to each."""

import base64
import hashlib
import hmac
import http.client
import json
import time
from dataclasses import dataclass, replace

from . import Rejected

HOST = "127.0.0.1"
SECRET = "a-shared-secret-for-measuring-only-0123456789"
SUBJECT = "1234567890"

# The one note in the database of the servers of notes.
NOTE_PATH = "/notes/1"
NOTE = "A note of some length, as people write them: " + "buy milk, call home. " * 5


@dataclass(frozen=True)
class Request:
    """A request, its only right response (this status, and content that holds this text), and how a
    load sends it."""

    what: str
    path: str
    token: str
    status: int
    text: str
    connections: int = 32
    pipelined: int = 1
    is_last: bool = False  # says `Connection: close`
    head: int = 0  # bytes, filled up with a cookie

    def fields(self, port):
        fields = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        if self.is_last:
            fields["Connection"] = "close"
        if self.head:
            rest = len(replace(self, head=0).octets(port)) + len("Cookie: \r\n")
            fields["Cookie"] = "c" * (self.head - rest)
        return fields

    def octets(self, port):
        """The whole head, as wrk sends it."""
        lines = [f"GET {self.path} HTTP/1.1", f"Host: {HOST}:{port}"]
        lines += [f"{name}: {value}" for name, value in self.fields(port).items()]
        return "".join(f"{line}\r\n" for line in [*lines, ""]).encode()


def base64url(octets):
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def make_token(claims, alg="HS256", secret=SECRET):
    parts = [{"alg": alg, "typ": "JWT"}, claims]
    signing_input = ".".join(
        base64url(json.dumps(part, separators=(",", ":")).encode()) for part in parts
    )
    if alg == "none":
        return signing_input + "."
    digest = {"HS256": hashlib.sha256, "HS384": hashlib.sha384}[alg]
    mac = hmac.new(secret.encode(), signing_input.encode(), digest).digest()
    return f"{signing_input}.{base64url(mac)}"


def with_wrong_signature(token):
    """Changes one character in the middle of the signature: still canonical base64url."""
    head, _, signature = token.rpartition(".")
    other = "B" if signature[20] == "A" else "A"
    return f"{head}.{signature[:20]}{other}{signature[21:]}"


def claims(**more):
    now = int(time.time())
    return {"sub": SUBJECT, "iat": now - 60, "exp": now + 86_400, **more}


PUBLIC = Request("public route", "/resource", "", 200, "Public resource. You can see this.")

# The public route again, under loads of another shape.
EDGES = {
    "close": replace(PUBLIC, what="`Connection: close`", is_last=True),
    "many": replace(PUBLIC, what="256 connections", connections=256),
    "head_9000": replace(PUBLIC, what="head of 9,000 bytes", head=9_000),
    "head_16000": replace(PUBLIC, what="head of 16,000 bytes", head=16_000),
    "pipelined": replace(PUBLIC, what="16 pipelined", pipelined=16),
}


def with_token(token):
    text = "Secret resource. You should be logged in to see this."
    return Request("good token", "/resource/secret", token, 200, text)


def scenarios():
    """All requests that are measured, by the name of their figures."""
    good = with_token(make_token(claims(name="John Doe")))
    note = make_token(claims(scope="notes:read"))
    return {
        "public": PUBLIC,
        "good": good,
        "bad": replace(
            good, what="bad token", token=with_wrong_signature(good.token), status=401, text=""
        ),
        "auth": replace(good, what="good token, `/auth`", path="/auth", text=""),
        "note": Request("a note", NOTE_PATH, note, 200, NOTE),
        **EDGES,
    }


def asked_of(server):
    """The scenarios of one server."""
    if server.notes:
        names = ["note"]
    else:
        names = ["public"] + ([] if server.static else ["good", "bad"])
        names += ["auth"] * server.auth + list(EDGES) * server.edges
    every = scenarios()
    return {name: every[name] for name in names}


def first(server):
    """The public route, where there is one."""
    return next(iter(asked_of(server).values()))


def rejections(server):
    """Requests to the protected route that a server has to reject before it is measured."""
    if server.static:
        return []
    path, good, others = "/resource/secret", claims(), []
    if server.notes:
        path, good = NOTE_PATH, claims(scope="notes:read")
        another_user = make_token({**good, "sub": "other"})
        another_scope = make_token({**good, "scope": "notes:write"})
        others = [
            Request("another user", path, another_user, 404, ""),
            Request("another scope", path, another_scope, 403, ""),
        ]
    tokens = {
        "no token": "",
        "bad signature": with_wrong_signature(make_token(good)),
        "another secret": make_token(good, secret=SECRET[::-1]),
        "expired token": make_token({**good, "iat": good["iat"] - 7200, "exp": good["iat"]}),
        "alg none": make_token(good, alg="none"),
        "alg HS384": make_token(good, alg="HS384"),
    }
    return [Request(what, path, token, 401, "") for what, token in tokens.items()] + others


def send(connection, request):
    """Sends one request over an http.client connection."""
    connection.request("GET", request.path, headers=request.fields(connection.port))


def receive(connection, request):
    """Reads the response, and rejects the server if it is not the right one."""
    response = connection.getresponse()
    content = response.read().decode(errors="replace")
    if response.status != request.status or request.text not in content:
        raise Rejected(
            f"{request.what}: {request.path} returned {response.status} {content[:100]!r}, "
            f"expected {request.status} {request.text!r}"
        )


def expect(port, request):
    """Sends a request over a connection of its own, and rejects the server without a right response."""
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        send(connection, request)
        receive(connection, request)
    except (http.client.HTTPException, OSError) as error:
        raise Rejected(f"{request.what}: no response from {request.path}: {error!r}") from error
    finally:
        connection.close()


def check_all(port, server):
    """Rejects a server that gives a wrong response to any request."""
    for request in [*asked_of(server).values(), *rejections(server)]:
        expect(port, request)
