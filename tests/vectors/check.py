#!/usr/bin/env python3
"""Holds rfc/rfc.json, interop/tokens.json and attacks.json to reference.py: exits 1 with the first that disagrees."""

import hashlib
import hmac
import json
import pathlib
import sys

sys.dont_write_bytecode = True

from reference import Refused, b64url_decode, b64url_encode, verify  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
OPTIONS = ("issuer", "audience", "leeway", "require_exp")


def load(path):
    return json.loads((HERE / path).read_text("utf-8"))


def check(row, secret):
    try:
        verify(row["token"], secret, row["now"], **{key: row[key] for key in OPTIONS if key in row})
        outcome, agrees = "accepted", row["verdict"] in ("accept", "either")
    except Refused as refused:
        outcome = str(refused)
        agrees = row["verdict"] == "either" or row["verdict"] == "refuse" and refused.rule in row["rules"]
    if not agrees:
        sys.exit(f"{row['name']}: {outcome}")


rfc = load("rfc/rfc.json")
for row in rfc:
    secret = b64url_decode(row["secret"], "secret")
    if "mac_input" in row:
        mac = b64url_encode(hmac.new(secret, row["mac_input"].encode("ascii"), hashlib.sha256).digest())
        if mac not in row["token"]:
            sys.exit(f"{row['name']}: the RFC's MAC is not the one over its signing input")
    check(row, secret)

interop = load("interop/tokens.json")
for row in interop:
    name = f"{row['library']} ({row['language']}) {row['case']}"
    check({**row, "name": name, "verdict": "accept"}, b64url_decode(row["secret"], "secret"))

attacks = load("attacks.json")
for row in attacks["tokens"]:
    check(row, b64url_decode(attacks["secret"], "secret"))

print(f"{len(rfc)} RFC, {len(interop)} interop and {len(attacks['tokens'])} hand-made vectors agree with reference.py")
