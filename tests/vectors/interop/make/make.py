"""Signs every case of cases.json with each Python library; one JSON line a token on standard output."""

import base64
import json
import pathlib
import sys
from importlib.metadata import version

import authlib.jose
import jwt as pyjwt
from jose import jwt as python_jose
from joserfc import jwt as joserfc_jwt
from joserfc.jwk import OctKey
from jwcrypto.jwk import JWK
from jwcrypto.jwt import JWT

HEADER = {"alg": "HS256", "typ": "JWT"}


def jwcrypto_sign(claims, secret):
    key = JWK(kty="oct", k=base64.urlsafe_b64encode(secret).rstrip(b"=").decode())
    token = JWT(header=HEADER, claims=claims)
    token.make_signed_token(key)
    return token.serialize()


LIBRARIES = {
    "PyJWT": lambda claims, secret: pyjwt.encode(claims, secret, algorithm="HS256"),
    "python-jose": lambda claims, secret: python_jose.encode(claims, secret, algorithm="HS256"),
    "joserfc": lambda claims, secret: joserfc_jwt.encode(HEADER, claims, OctKey.import_key(secret)),
    "Authlib": lambda claims, secret: authlib.jose.jwt.encode(HEADER, claims, secret).decode(),
    "jwcrypto": jwcrypto_sign,
}

cases = json.loads(pathlib.Path(__file__).with_name("cases.json").read_text("utf-8"))
for library, sign in LIBRARIES.items():
    for case in cases:
        secret = base64.urlsafe_b64decode(case["secret"] + "==")
        try:
            token = sign(dict(case["claims"]), secret)
        except Exception as error:
            print(f"{library} will not make {case['case']}: {error}", file=sys.stderr)
            continue
        print(json.dumps({"library": library, "version": version(library), "language": "Python",
                          "case": case["case"], "token": token}))
