"""The token rules of the README, written a second time and from the rules alone, to check the vectors against.

Standard library only. `verify` returns the claims or raises `Refused`, which carries the number of the first
rule that fails:

1 size and number of parts    2 base64url and signature length    3 MAC           4 JOSE header
5 claims set                  6 exp, nbf, iat                     7 iss and aud

It is slow, simple and not constant in time: for test data only.
"""

import base64
import hashlib
import hmac
import json
import math
import re

MAX_TOKEN_BYTES = 8192
MAC_BYTES = 32
YEAR_10000 = 253402300800


class Refused(Exception):
    def __init__(self, rule, reason):
        super().__init__(f"rule {rule}: {reason}")
        self.rule = rule
        self.reason = reason


class Members(list):
    """The (name, value) pairs of one JSON object, in order, duplicates kept."""

    def last(self, name, absent=None):
        return next((value for key, value in reversed(self) if key == name), absent)

    def has(self, name):
        return any(key == name for key, _ in self)


class Number(float):
    """A JSON number: bool is no subclass of it, and a value too large for a double is infinite."""


def b64url_encode(octets):
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode("ascii")


def b64url_decode(part, what):
    if re.fullmatch(r"[A-Za-z0-9_-]*", part) is None:
        raise Refused(2, f"{what} has a character outside base64url")
    if len(part) % 4 == 1:
        raise Refused(2, f"{what} has an impossible length")
    octets = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    if b64url_encode(octets) != part:
        raise Refused(2, f"{what} has unused bits set")
    return octets


def parse_object(octets, rule, what):
    def no_constant(name):
        raise ValueError(f"{name} is not JSON")

    try:
        value = json.loads(
            octets.decode("utf-8", "strict"),
            object_pairs_hook=Members,
            parse_int=Number,
            parse_float=Number,
            parse_constant=no_constant,
        )
    except (ValueError, RecursionError) as error:
        raise Refused(rule, f"{what} is not JSON") from error
    if not isinstance(value, Members):
        raise Refused(rule, f"{what} is not an object")
    return value


def verify_signature_and_header(token, secret):
    """Rules 1 to 4. Returns the payload's octets."""
    octets = token.encode("utf-8", "surrogatepass")
    if len(octets) > MAX_TOKEN_BYTES:
        raise Refused(1, "too long")
    parts = token.split(".")
    if len(parts) != 3:
        raise Refused(1, f"{len(parts)} parts")
    if not parts[0] or not parts[1]:
        raise Refused(1, "empty header or payload")
    header, payload, signature = map(b64url_decode, parts, ("header", "payload", "signature"))
    if len(signature) != MAC_BYTES:
        raise Refused(2, f"signature of {len(signature)} bytes")
    signing_input = token.rpartition(".")[0].encode("ascii")
    if not hmac.compare_digest(hmac.new(secret, signing_input, hashlib.sha256).digest(), signature):
        raise Refused(3, "wrong MAC")
    header = parse_object(header, 4, "header")
    if header.last("alg") != "HS256":
        raise Refused(4, "alg is not HS256")
    for name in ("crit", "b64"):
        if header.has(name):
            raise Refused(4, f"{name} is present")
    return payload


def verify(token, secret, now, issuer=None, audience=None, leeway=0, require_exp=False):
    claims = parse_object(verify_signature_and_header(token, secret), 5, "payload")

    times = {}
    for name in ("exp", "nbf", "iat"):
        if claims.has(name):
            value = claims.last(name)
            if not isinstance(value, Number) or not math.isfinite(value):
                raise Refused(6, f"{name} is not a finite number")
            times[name] = value
    if require_exp and "exp" not in times:
        raise Refused(6, "exp is required")
    if "exp" in times and times["exp"] > YEAR_10000:
        raise Refused(6, "expires after the year 9999")
    if "exp" in times and now >= times["exp"] + leeway:
        raise Refused(6, "expired")
    if "nbf" in times and now < times["nbf"] - leeway:
        raise Refused(6, "not yet valid")

    if issuer is not None and claims.last("iss") != issuer:
        raise Refused(7, "wrong issuer")
    aud = claims.last("aud")
    if audience is None:
        if aud is not None:
            raise Refused(7, "names an audience and none is configured")
    else:
        aud = [aud] if isinstance(aud, str) else aud
        if type(aud) is not list or not all(isinstance(entry, str) for entry in aud) or audience not in aud:
            raise Refused(7, "wrong audience")
    return claims
