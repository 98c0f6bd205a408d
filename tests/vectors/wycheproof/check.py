#!/usr/bin/env python3
"""Replays Wycheproof's HS256 vectors through ../reference.py and holds exceptions.json to the outcome.

    python3 check.py PATH/TO/json_web_signature_test.json

Prints one line a vector: tcId, the file's result, the verdict, what rules 1 to 5 say, the vector's comment.
The verdict is "accept" when rules 1 to 4 pass: no payload in these groups is a claims set, so rule 5 refuses every
one of them in the end. Exits 1 when a verdict differs from the file's result without an exception that says so, or
when an exception is stale, wrong or for an unknown tcId.
"""

import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
sys.dont_write_bytecode = True

from reference import Refused, b64url_decode, parse_object, verify_signature_and_header  # noqa: E402

RESULT_TO_VERDICT = {"valid": "accept", "invalid": "refuse"}


def hs256_groups(document):
    for group in document["testGroups"]:
        key = group["private"]
        if key["kty"] == "oct" and key["alg"] == "HS256":
            yield b64url_decode(key["k"], "key"), group["tests"]


def verdict(token, secret):
    try:
        payload = verify_signature_and_header(token, secret)
    except Refused as refused:
        return "refuse", str(refused)
    try:
        parse_object(payload, 5, "payload")
    except Refused as refused:
        return "accept", f"rules 1 to 4 pass; {refused}"
    return "accept", "rules 1 to 5 pass"


def main(path):
    document = json.loads(pathlib.Path(path).read_text("utf-8"))
    listed = json.loads((HERE / "exceptions.json").read_text("utf-8"))
    exceptions = {entry["tcId"]: entry["expected"] for entry in listed}
    wrong = ["a tcId is listed twice"] if len(exceptions) != len(listed) else []
    differences, seen = [], 0
    for secret, tests in hs256_groups(document):
        for test in tests:
            seen += 1
            tc_id, result = test["tcId"], test["result"]
            ours, why = verdict(test["jws"], secret)
            print(f"{tc_id:>3}  {result:<7}  {ours:<6}  {why}  [{test['comment']}]")
            if ours != RESULT_TO_VERDICT[result]:
                differences.append(f"{tc_id}: file says {result}, the rules say {ours} ({why})")
                if exceptions.pop(tc_id, None) != ours:
                    wrong.append(f"{tc_id}: differs from the file, and no exception says {ours}")
    wrong += [f"{tc_id}: exception without a difference" for tc_id in exceptions]
    print(f"\n{seen} HS256 vectors, {len(differences)} differ from the file:", *differences, sep="\n  ")
    if wrong:
        sys.exit("\n".join(["exceptions.json is wrong:", *wrong]))
    print("exceptions.json lists exactly these")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
