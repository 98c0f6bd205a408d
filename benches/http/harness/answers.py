"""The right answers: which requests a server is asked, and what it has to say to each."""

import base64
import hashlib
import hmac
import http.client
import json
import time
from dataclasses import dataclass

from . import Refused

HOST = "127.0.0.1"
SECRET = "a-shared-secret-for-measuring-only-0123456789"

# The one note of the database that the servers of notes are given.
NOTE_PATH = "/notes/1"
NOTE_USER = "1234567890"
NOTE = "A note of some length, as people write them: " + "buy milk, call home. " * 5


@dataclass
class Question:
    """One request and its only right answer: this status, and content that holds this text."""

    what: str
    path: str
    token: str
    status: int
    text: str


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
    """One character in the middle of the signature changed: still canonical base64url."""
    head, _, signature = token.rpartition(".")
    other = "B" if signature[20] == "A" else "A"
    return f"{head}.{signature[:20]}{other}{signature[21:]}"


def scenarios(server):
    """The requests that are measured, by the name of their figures."""
    if server.notes:
        return {"note": Question("note", NOTE_PATH, make_token(note_claims()), 200, NOTE)}
    public = Question("public", "/resource", "", 200, "Public resource. You can see this.")
    if server.static:
        return {"public": public}
    now = int(time.time())
    claims = {"sub": "1234567890", "name": "John Doe", "iat": now - 60, "exp": now + 86_400}
    text = "Secret resource. You should be logged in to see this."
    good = make_token(claims)
    return {
        "public": public,
        "good": Question("good token", "/resource/secret", good, 200, text),
        "bad": Question("bad token", "/resource/secret", with_wrong_signature(good), 401, ""),
    }


def first(server):
    """The first of them: the public route, where there is one."""
    return next(iter(scenarios(server).values()))


def note_claims():
    now = int(time.time())
    return {"sub": NOTE_USER, "scope": "notes:read", "iat": now - 60, "exp": now + 86_400}


def refusals(server):
    """Requests to the protected route that a server has to refuse before it is measured."""
    now = int(time.time())
    claims = {"sub": "1234567890", "iat": now - 7200, "exp": now + 3600}
    path, others = "/resource/secret", []
    if server.notes:
        path, claims = NOTE_PATH, {**note_claims(), "exp": now + 3600}
        bad = with_wrong_signature(make_token(claims))
        others = [
            Question("wrong signature", path, bad, 401, ""),
            Question("another user", path, make_token({**claims, "sub": "other"}), 404, ""),
            Question("another scope", path, make_token({**claims, "scope": "notes:write"}), 403, ""),
        ]
    tokens = {
        "no token": "",
        "another secret": make_token(claims, secret=SECRET[::-1]),
        "expired token": make_token({**claims, "exp": now - 3600}),
        "alg none": make_token(claims, alg="none"),
        "alg HS384": make_token(claims, alg="HS384"),
    }
    return [Question(what, path, token, 401, "") for what, token in tokens.items()] + others


def send(connection, question):
    """Sends one request over an http.client connection."""
    fields = {"Authorization": f"Bearer {question.token}"} if question.token else {}
    connection.request("GET", question.path, headers=fields)


def receive(connection, question):
    """Reads the answer and refuses the server if it is not the right one."""
    response = connection.getresponse()
    content = response.read().decode(errors="replace")
    if response.status != question.status or question.text not in content:
        raise Refused(
            f"{question.what}: {question.path} answered {response.status} {content[:100]!r}, "
            f"expected {question.status} {question.text!r}"
        )


def expect(port, question):
    """Asks over a connection of its own, and refuses the server without a right answer."""
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        send(connection, question)
        receive(connection, question)
    except (http.client.HTTPException, OSError) as error:
        raise Refused(f"{question.what}: no answer from {question.path}: {error!r}") from error
    finally:
        connection.close()


def check_all(port, server):
    """Refuses a server that answers any of the questions wrongly."""
    questions = list(scenarios(server).values()) + ([] if server.static else refusals(server))
    for question in questions:
        expect(port, question)
