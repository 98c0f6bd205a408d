"""Joins the lines of the makers with cases.json, holds each token to ../../reference.py, and writes ../tokens.json.

    python3 collect.py FILE...
"""

import base64
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))
sys.dont_write_bytecode = True

from reference import verify  # noqa: E402

cases = {case["case"]: case for case in json.loads((HERE / "cases.json").read_text("utf-8"))}
order = list(cases)
made = [json.loads(line) for path in sys.argv[1:] for line in open(path, encoding="utf-8")]
made.sort(key=lambda row: (row["language"], row["library"].lower(), order.index(row["case"])))

rows = []
for row in made:
    case = cases[row["case"]]
    secret = base64.urlsafe_b64decode(case["secret"] + "==")
    verify(row["token"], secret, case["now"], case["issuer"], case["audience"])
    fields = {key: row[key] for key in ("library", "version", "language", "case")}
    fields |= {"secret": case["secret"], "token": row["token"]}
    fields |= {key: case[key] for key in ("now", "issuer", "audience")}
    rows.append("  " + json.dumps(fields))
(HERE.parent / "tokens.json").write_text("[\n" + ",\n".join(rows) + "\n]\n", "utf-8")
print(f"{len(rows)} tokens of {len({(row['language'], row['library']) for row in made})} libraries, all accepted")
