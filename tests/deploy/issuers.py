#!/usr/bin/env python3
"""Tries tokens of well-known issuers, and checks that the tables in README.md say what the server does.

    tests/deploy/issuers.py

Issuers with a library on PyPI make their tokens by it. The others have the header and the claims that the issuer's
source or documentation shows.
"""

import base64
import functools
import hashlib
import json
import pathlib
import re
import subprocess
import tempfile
import time
from typing import NamedTuple

from support import SECRET, TARGET, Server, ask, check, finish, server_binary, skip, token

HERE = pathlib.Path(__file__).resolve().parent
NOW = int(time.time())
# Longer than most issuers give, so that a busy machine cannot outlast it.
TIMES = {"iat": NOW, "exp": NOW + 3600}
UUID = "123e4567-e89b-12d3-a456-426614174000"
LIBRARY = "its library"


class Issuer(NamedTuple):
    name: str
    claims: dict
    user: str                # what /auth hands on
    user_is: str             # what that is
    variables: dict = {}     # what has to be set, besides the secret
    secret: str = "text"     # how the issuer keeps it
    key: bytes = SECRET.encode()
    header: dict = {}
    others: dict = {}        # what else the secret signs: claims, and the status of the question below
    guard: dict = {}         # what has to be set to keep that out
    question: str = "/auth"  # what a gateway then asks
    source: str = LIBRARY


ISSUERS = [
    Issuer("LiveKit", {"video": {}, "sub": "alice", "iss": "APIkey", "nbf": NOW, "exp": NOW + 3600}, "alice",
           "the identity"),
    Issuer("Twilio", {"jti": "SK1-1", "grants": {"identity": "alice"}, "iss": "SK1", "exp": NOW + 3600, "nbf": NOW,
                      "sub": "AC1"}, "AC1", "the account; the identity is nested", header={"cty": "twilio-fpa;v=1"}),
    Issuer("devise-jwt (Rails)", {"sub": "42", "scp": "user", "aud": None, "jti": UUID, **TIMES}, "42", "the user's id",
           guard={"JWT_SCOPE_CLAIM": "scp"}, question="/auth/user", source="warden-jwt_auth",
           others={"another Devise scope": ({"sub": "42", "scp": "admin", "aud": None, "jti": UUID, **TIMES}, 403)}),
    Issuer("Flask-JWT-Extended", {"fresh": False, "jti": UUID, "type": "access", "sub": "alice", "nbf": NOW,
                                  "csrf": UUID, **TIMES}, "alice", "the identity",
           guard={"JWT_SCOPE_CLAIM": "type"}, question="/auth/access",
           others={"a refresh token": ({"type": "refresh", "sub": "alice", **TIMES}, 403)}),
    Issuer("simplejwt (Django)", {"token_type": "access", "jti": UUID, "user_id": "42", **TIMES}, "42", "the user's id",
           {"JWT_USER_CLAIM": "user_id"}, guard={"JWT_SCOPE_CLAIM": "token_type"}, question="/auth/access",
           others={"a refresh token": ({"token_type": "refresh", "user_id": "42", **TIMES}, 403)}),
    Issuer("fastapi-users", {"sub": "42", "aud": ["fastapi-users:auth"], "exp": NOW + 3600}, "42", "the user's id",
           {"JWT_AUDIENCE": "fastapi-users:auth"},
           others={"a password-reset token": ({"sub": "42", "aud": "fastapi-users:reset", "exp": NOW + 3600}, 401)}),
    Issuer("Stream", {"user_id": "alice"}, "alice", "the user's id", {"JWT_USER_CLAIM": "user_id"},
           others={"a server's token": ({"server": True}, 403)}),
    Issuer("Supabase", {"iss": "https://ref.supabase.co/auth/v1", "sub": UUID, "aud": "authenticated", **TIMES,
                        "email": "", "phone": "", "app_metadata": {}, "user_metadata": {}, "role": "authenticated",
                        "aal": "aal1", "session_id": UUID, "is_anonymous": False}, UUID, "the user's id",
           {"JWT_AUDIENCE": "authenticated"}, secret="text, although it looks like base64",
           source="supabase/auth",
           others={"the public anon key": ({"iss": "supabase", "ref": "ref", "role": "anon", **TIMES}, 401)}),
    Issuer("Directus", {"id": UUID, "role": UUID, "app_access": True, "admin_access": False, "iss": "directus", **TIMES},
           UUID, "the user's id", {"JWT_USER_CLAIM": "id"}, source="@directus/api 23",
           others={"a password-reset token": ({"email": "a@app.example", "scope": "password-reset", "hash": "x",
                                               "iss": "directus", **TIMES}, 403)}),
    Issuer("Strapi", {"id": 42, **TIMES}, "42", "the user's id", {"JWT_USER_CLAIM": "id"},
           source="@strapi/plugin-users-permissions 5, `legacy-support`"),
    Issuer("Payload", {"id": 42, "collection": "users", "email": "a@app.example", **TIMES}, "42", "the user's id",
           {"JWT_USER_CLAIM": "id"}, guard={"JWT_SCOPE_CLAIM": "collection"}, question="/auth/users", source="payload 3",
           secret="derived: `printf %s \"$PAYLOAD_SECRET\" \\| sha256sum \\| head -c 32`", header={"authVersion": 1},
           key=hashlib.sha256(SECRET.encode()).hexdigest()[:32].encode(),
           others={"another collection": ({"id": 42, "collection": "admins", **TIMES}, 403)}),
    Issuer("Feathers", {"sub": "42", "aud": "https://yourdomain.com", "iss": "feathers", "jti": UUID, **TIMES}, "42",
           "the user's id", {"JWT_AUDIENCE": "https://yourdomain.com"}, header={"typ": "access"},
           source="@feathersjs/authentication 5"),
    Issuer("Jitsi", {"context": {"user": {"id": "alice"}}, "aud": "jitsi", "iss": "my_client", "sub": "meet.example",
                     "room": "*", "exp": NOW + 3600}, "meet.example", "the domain; the user is nested",
           {"JWT_AUDIENCE": "jitsi"}, source="lib-jitsi-meet's doc/tokens.md"),
    Issuer("Zoom Meeting SDK", {"appKey": "key", "sdkKey": "key", "mn": "1", "role": 0, **TIMES,
                                "tokenExp": NOW + 3600}, "key", "the SDK key; no user is named",
           {"JWT_USER_CLAIM": "sdkKey"}, source="Zoom's sample endpoint"),
    Issuer("PostgREST", {"role": "webuser", "exp": NOW + 3600}, "webuser", "the database role", {"JWT_USER_CLAIM": "role"},
           secret="text; base64 with `jwt-secret-is-base64`", source="its documentation"),
    Issuer("jjwt (Java)", {"sub": "alice", **TIMES}, "alice", "the subject", header={"typ": None},
           secret="base64 of 32 to 47 bytes: `base64 -d`", key=bytes(range(32)), source="its README"),
    Issuer("Ghost Admin API", {"aud": "/admin/", "iat": NOW, "exp": NOW + 3600}, "/admin/", "the audience; no user is named",
           {"JWT_AUDIENCE": "/admin/", "JWT_USER_CLAIM": "aud"}, header={"kid": "id"},
           secret="hex: `xxd -r -p`", key=bytes(range(41, 9, -1)), source="its documentation"),
]


def unsigned(header, signature_len):
    """A token of another algorithm. Only the length of its signature matters."""
    return f"{token({'sub': 'alice'}, header=header).rsplit('.', 1)[0]}." + base64.urlsafe_b64encode(
        bytes(signature_len)).rstrip(b"=").decode()


# What @auth/core 0.34 and next-auth 4 make; both encrypt.
AUTH_JS = ("eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..9y0CYHsD1PmKvIrK.nlp6-riz0lO4RIMNkA_10-u892rqCx0hkj7DHutMKMam"
           "Cm2dvJzJ_MCgp0gZOjwNCDeZ3Uvo5PHRnNbG7tUZ7I0Yq8ddr22yCd1YkbeQhpJm41FEWAebFAdouQoN5c_6HJRVI3CVqC0a."
           "VeQABKHHF1B2KtS5fxdlmw")
# Name, why not, token.
NEVER = [
    ("Auth0, Keycloak and others by default", "RS256: they sign with a private key",
     unsigned({"alg": "RS256", "typ": "JWT", "kid": "1"}, 256)),
    ("Supabase with signing keys", "ES256: the same", unsigned({"alg": "ES256", "typ": "JWT", "kid": "1"}, 64)),
    ("JHipster; jjwt with a secret of 64 bytes", "HS512", unsigned({"alg": "HS512"}, 64)),
    ("Auth.js, NextAuth", "encrypted, with a derived key", AUTH_JS),
    ("PocketBase", "each user has a key: the record's `tokenKey` followed by the collection's secret",
     token({"type": "auth", "id": "1", "collectionId": "c", "refreshable": True, "exp": NOW + 3600},
           secret="the user's token key" + SECRET)),
]


def library_tokens():
    """Tokens by name; none if the libraries are not installed."""
    python = TARGET / "deploy/bin/python"
    made = subprocess.run([python, HERE / "library_tokens.py", SECRET], capture_output=True, text=True,
                          check=False) if python.exists() else None
    if made is None or made.returncode:
        skip("tokens of the issuers' own libraries", made.stderr[-300:] if made else ".ci/run install")
        return {}
    return json.loads(made.stdout)


def parts(text):
    return [json.loads(base64.urlsafe_b64decode(part + "==")) for part in text.split(".")[:2]]


def try_token(binary, folder, issuer, text, path, variables):
    """The status, the user and the reason, from a server that is configured for the issuer."""
    # The server removes one final LF.
    (folder / "key").write_bytes(issuer.key + b"\n" * issuer.key.endswith(b"\n"))
    with Server(binary, JWT_SECRET_FILE=str(folder / "key"), **variables) as server:
        return response_to(server, text, path)


def response_to(server, text, path):
    status, fields, _ = ask(server.port, f"Authorization: Bearer {text}", path=path)
    reason = re.search('error_description="([^"]*)"', fields["WWW-Authenticate"] or "")
    return status, fields["X-Auth-Request-User"], reason and reason[1]


def check_issuer(issuer, made, attempt):
    def sign(claims):
        header = {"alg": "HS256", "typ": "JWT"} | issuer.header
        return token(claims, issuer.key, {name: value for name, value in header.items() if value is not None})

    needed, guarded = issuer.variables, issuer.variables | issuer.guard
    shaped, passes = sign(issuer.claims), (200, issuer.user, None)
    text = made.get(issuer.name, shaped)
    if issuer.name in made:
        check(f"{issuer.name}: the library's header and claims are those that are written here",
              (parts(text)[0], set(parts(text)[1])) == (parts(shaped)[0], set(issuer.claims)), parts(text))
    for path, variables, expected in (("/resource/secret", needed, (200, None, None)), ("/auth", needed, passes),
                                      (issuer.question, guarded, passes)):
        found = attempt(issuer, text, path, variables)
        check(f"{issuer.name}: {path} with {variables}", found == expected, found)
    for name in guarded:
        rest = {other: value for other, value in guarded.items() if other != name}
        found = attempt(issuer, text, issuer.question, rest)
        check(f"{issuer.name}: not without {name}", found != passes, found)
    for what, (claims, status) in issuer.others.items():
        other = made.get(f"{issuer.name}: {what}") or sign(claims)
        found = attempt(issuer, other, issuer.question, guarded)
        check(f"{issuer.name}: {what} is kept out", found[0] == status, found)
        audience = {"JWT_AUDIENCE": claims["aud"]} if isinstance(claims.get("aud"), str) else {}
        found = attempt(issuer, other, "/resource/secret", audience)
        check(f"{issuer.name}: {what} has the same secret", found[0] == 200, found)
    if "nbf" in issuer.claims:
        ahead = sign(issuer.claims | {"nbf": int(time.time()) + 5})
        found = attempt(issuer, ahead, "/auth", needed)
        check(f"{issuer.name}: a clock 5 s ahead is too early", found[0] == 401 and "JWT_LEEWAY" in found[2], found)
        found = attempt(issuer, ahead, "/auth", needed | {"JWT_LEEWAY": "10"})
        check(f"{issuer.name}: a leeway makes up for it", found == passes, found)


def row(issuer):
    def settings(variables):
        return [f"`{name}={value}`" for name, value in variables.items()]

    needed = settings(issuer.variables) + ["`JWT_LEEWAY` if clocks differ"] * ("nbf" in issuer.claims)
    guard = settings(issuer.guard) + [f"`{issuer.question}`"] * bool(issuer.guard)
    others = [f"{what}: {status}" + " by " * bool(guard) + " and ".join(guard)
              for what, (_, status) in issuer.others.items()]
    return (f"| {issuer.name} | {issuer.source} | {issuer.secret} | {', '.join(needed)} | {issuer.user_is} | "
            f"{', '.join(others)} |")


def main():
    binary, made, readme = server_binary(), library_tokens(), (HERE / "README.md").read_text()
    with tempfile.TemporaryDirectory(prefix="issuers-") as folder:
        for issuer in ISSUERS:
            check_issuer(issuer, made, functools.partial(try_token, binary, pathlib.Path(folder)))
            check(f"{issuer.name}: its row in README.md", row(issuer) in readme, row(issuer))
    with Server(binary) as server:
        for name, why, text in NEVER:
            status, _, reason = response_to(server, text, "/auth")
            expected = f"| {name} | {why} | {reason} |"
            check(f"{name}: is rejected, as its row in README.md says", status == 401 and expected in readme, expected)
    finish()


if __name__ == "__main__":
    main()
