"""Writes the seeds that need a signature or are long; the others are plain text too, and all of
them are in git: run it only to add one. Standard library only."""

import base64
import hashlib
import hmac
import pathlib

HERE = pathlib.Path(__file__).parent
SECRET = b"the current secret of the targets"
USUAL = '{"alg":"HS256","typ":"JWT"}'
ALICE = '{"sub":"alice"}'


def encode(data):
    data = data.encode() if isinstance(data, str) else data
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def sign(signing_input):
    mac = hmac.new(SECRET, signing_input.encode(), hashlib.sha256).digest()
    return f"{signing_input}.{encode(mac)}"


def token(header=USUAL, payload=ALICE):
    return sign(f"{encode(header)}.{encode(payload)}")


def case(payload=ALICE, header=USUAL, words=""):
    return f"{words}\n\n{header}\n\n{payload}"


def request(target, fields="", method="GET", version="1.1"):
    return f"{method} {target} HTTP/{version}\r\nHost: a\r\n{fields}\r\n"


GOOD = token()
HEADER, PAYLOAD, SIGNATURE = GOOD.split(".")


def padded_to(length):
    """A token of exactly so many bytes, which base64url allows of most lengths."""
    for header in ('{"alg":"HS256"}', '{"alg":"HS256" }', '{"alg":"HS256"  }'):
        for size in range(5800, 6200):
            long = token(header, '{"p":"%s"}' % ("x" * size))
            if len(long) == length:
                return long
    raise ValueError(length)


PARSE_TOKEN = {
    "good": GOOD,
    "rfc-7515-a-1": "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9"
    ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQog"
    "Imh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
    ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
    "alg-none": encode('{"alg":"none"}') + f".{PAYLOAD}.",
    "five-parts-jwe": f"{HEADER}.{PAYLOAD}.AAAA.AAAA.{SIGNATURE}",
    "four-parts": f"{HEADER}.{PAYLOAD}.AAAA.{SIGNATURE}",
    "two-parts": f"{HEADER}.{PAYLOAD}",
    "no-dot": HEADER,
    "nothing": "",
    "dots-alone": "..",
    "empty-header": f".{PAYLOAD}.{SIGNATURE}",
    "empty-payload-detached": f"{HEADER}..{SIGNATURE}",
    "nonzero-unused-bits-in-header": f"eyJhbGciOiJIUzI1NiJ.{PAYLOAD}.{SIGNATURE}",
    "nonzero-unused-bits-in-payload": f"{HEADER}.AB.{SIGNATURE}",
    "nonzero-unused-bits-in-signature": f"{HEADER}.{PAYLOAD}.{'A' * 42}B",
    "one-character-too-many": f"{HEADER}.{PAYLOAD}A.{SIGNATURE}",
    "padding": f"{HEADER}.e30=.{SIGNATURE}",
    "padding-in-signature": f"{HEADER}.{PAYLOAD}.{SIGNATURE}=",
    "standard-alphabet": f"{HEADER}.+/+/.{SIGNATURE}",
    "url-alphabet": f"{HEADER}.-_-_.{SIGNATURE}",
    "space-inside": f"{HEADER}.e3 0.{SIGNATURE}",
    "line-end-after": f"{GOOD}\n",
    "bytes-no-utf-8": b"\xff\xfe.\xc0\x80." + SIGNATURE.encode(),
    "two-byte-characters": f"{HEADER}.{PAYLOAD}.{'é' * 21}A",
    "padding-in-header": f"{HEADER}=.{PAYLOAD}.{SIGNATURE}",
    "opaque-with-padding": "c2VjcmV0IQ==",
    "six-parts": f"{HEADER}.{PAYLOAD}.AAAA.AAAA.AAAA.{SIGNATURE}",
    "signature-of-48-bytes": f"{HEADER}.{PAYLOAD}.{'A' * 64}",
    "signature-of-64-bytes": f"{HEADER}.{PAYLOAD}.{'A' * 86}",
    "signature-of-256-bytes": f"{HEADER}.{PAYLOAD}.{'A' * 342}",
    "signature-of-no-length": f"{HEADER}.{PAYLOAD}.{'A' * 41}",
    "selective-disclosure": f"{GOOD}~WyJzIl0~",
    "signature-of-31-bytes": f"{HEADER}.{PAYLOAD}.{'A' * 42}",
    "signature-of-33-bytes": f"{HEADER}.{PAYLOAD}.{'A' * 44}",
    "8192-bytes": padded_to(8192),
    "8193-bytes": padded_to(8192) + "A",
}

VERIFY_CLAIMS = {
    "good": case(),
    "rotation": case(words="key=previous"),
    "unknown-key": case(words="key=unknown"),
    "empty-header": case(header=""),
    "empty-payload": case(payload=""),
    "too-long": case('{"p":"%s"}' % ("x" * 6300)),
    "every-rule-kept": case(
        '{"iss":"https://issuer","aud":["web","api"],'
        '"exp":1700000060.5,"nbf":1.6e9,"iat":1700000000}',
        '{"kid":"1","alg":"HS256","typ":"at+jwt"}',
        "now=1700000000.25 leeway=60 require_exp iss=https://issuer aud=api",
    ),
    "alg-none": case(header='{"alg":"none"}'),
    "alg-lower-case": case(header='{"alg":"hs256"}'),
    "alg-of-a-public-key": case(header='{"alg":"RS256"}'),
    "alg-absent": case(header='{"typ":"JWT"}'),
    "alg-number": case(header='{"alg":256}'),
    "alg-array": case(header='{"alg":["HS256"]}'),
    "alg-escaped": case(header='{"\\u0061lg":"\\u0048S256"}'),
    "alg-twice-last-right": case(header='{"alg":"none","alg":"HS256"}'),
    "alg-twice-last-wrong": case(header='{"alg":"HS256","alg":"none"}'),
    "crit": case(header='{"alg":"HS256","crit":["exp"],"exp":1}'),
    "crit-null": case(header='{"alg":"HS256","crit":null}'),
    "crit-escaped": case(header='{"alg":"HS256","cr\\u0069t":[]}'),
    "b64-false": case(header='{"alg":"HS256","b64":false,"crit":["b64"]}'),
    "b64-true": case(header='{"b64":true,"alg":"HS256"}'),
    "header-array": case(header='["HS256"]'),
    "header-with-rest": case(header='{"alg":"HS256"}{}'),
    "header-byte-order-mark": case(header='\ufeff{"alg":"HS256"}'),
    "embedded-key": case(header='{"alg":"HS256","jwk":{"kty":"oct","k":"AA"},"kid":"../key"}'),
    "payload-array": case("[]"),
    "payload-string": case('"sub"'),
    "payload-empty-object": case("{}"),
    "payload-with-rest": case("{} x"),
    "payload-with-white-space": case(" \t\r\n{ } \n"),
    "payload-comma-at-end": case('{"a":1,}'),
    "payload-no-utf-8": case().encode()[:-2] + b'\xff"}',
    "payload-control-character": case('{"a":"\x01"}'),
    "payload-nested": case('{"a":%s}' % ("[" * 200 + "]" * 200)),
    "payload-brackets-open": case('{"a":' + "[" * 3000),
    "exp-past": case('{"exp":1699999999}'),
    "exp-now": case('{"exp":1700000000}'),
    "exp-next": case('{"exp":1700000001}'),
    "exp-now-with-leeway": case('{"exp":1699999990}', words="leeway=10"),
    "exp-last-second-of-leeway": case('{"exp":1699999991}', words="leeway=10"),
    "exp-fraction": case('{"exp":1700000000.5}', words="now=1700000000.25"),
    "exp-fraction-past": case('{"exp":1700000000.25}', words="now=1700000000.5"),
    "exp-exponent": case('{"exp":17000000.01E+2}'),
    "exp-string": case('{"exp":"1800000000"}'),
    "exp-null": case('{"exp":null}'),
    "exp-array-deep": case('{"exp":%s}' % ("[" * 200 + "]" * 200)),
    "exp-negative": case('{"exp":-1}', words="now=-2"),
    "exp-beyond-2-to-53": case('{"exp":9007199254740993}', words="now=9007199254740992"),
    "exp-beyond-u64": case('{"exp":18446744073709551616}'),
    "exp-beyond-f64": case('{"exp":1e400}'),
    "exp-largest-f64": case('{"exp":1.7976931348623157e308}'),
    "exp-in-the-year-10000": case('{"exp":253402300800}'),
    "exp-after-it": case('{"exp":253402300801}'),
    "exp-after-it-by-a-fraction": case('{"exp":253402300800.0001}'),
    "exp-in-milliseconds": case('{"exp":1700000060000}'),
    "exp-smallest": case('{"exp":5e-324}', words="now=0"),
    "exp-minus-zero": case('{"exp":-0}', words="now=0"),
    "exp-leading-zero": case('{"exp":01800000000}'),
    "exp-not-a-number": case('{"exp":NaN}'),
    "exp-twice-last-past": case('{"exp":1800000000,"exp":1}'),
    "exp-twice-last-future": case('{"exp":1,"\\u0065xp":1800000000}'),
    "exp-absent-and-required": case(words="require_exp"),
    "nbf-now": case('{"nbf":1700000000}'),
    "nbf-next": case('{"nbf":1700000001}'),
    "nbf-next-with-leeway": case('{"nbf":1700000010}', words="leeway=10"),
    "nbf-after-leeway": case('{"nbf":1700000011}', words="leeway=10"),
    "nbf-string": case('{"nbf":"0"}'),
    "nbf-beyond-f64": case('{"nbf":-1e400}'),
    "iat-beyond-f64": case('{"iat":1e400}'),
    "iat-future": case('{"iat":1800000000}'),
    "iat-string": case('{"iat":"1"}'),
    "iss-right": case('{"iss":"a"}', words="iss=a"),
    "iss-wrong": case('{"iss":"A"}', words="iss=a"),
    "iss-absent": case("{}", words="iss=a"),
    "iss-array": case('{"iss":["a"]}', words="iss=a"),
    "iss-escaped": case('{"iss":"\\ud83d\\ude00"}', words="iss=😀"),
    "iss-half-a-surrogate-pair": case('{"iss":"\\ud83d"}'),
    "iss-half-a-surrogate-pair-and-required": case('{"iss":"a\\ud83d"}', words="iss=a"),
    "iss-beyond-f64-and-required": case('{"iss":1e400}', words="iss=a"),
    "iss-beyond-f64": case('{"iss":1e400}'),
    "aud-right": case('{"aud":"api"}', words="aud=api"),
    "aud-first": case('{"aud":["api","web"]}', words="aud=api"),
    "aud-among": case('{"aud":["web","api"]}', words="aud=api"),
    "aud-wrong": case('{"aud":"web"}', words="aud=api"),
    "aud-prefix": case('{"aud":"api2"}', words="aud=api"),
    "aud-absent": case("{}", words="aud=api"),
    "aud-empty-array": case('{"aud":[]}', words="aud=api"),
    "aud-with-a-number": case('{"aud":["api",1]}', words="aud=api"),
    "aud-nested": case('{"aud":[["api"]]}', words="aud=api"),
    "aud-object": case('{"aud":{"api":"api"}}', words="aud=api"),
    "aud-unexpected": case('{"aud":"api"}'),
    "aud-null-unexpected": case('{"aud":null}'),
    "aud-null": case('{"aud":null}', words="aud=api"),
    "aud-empty-array-unexpected": case('{"aud":[ ]}'),
    "aud-number-unexpected": case('{"aud":7}'),
    "aud-array-of-null-unexpected": case('{"aud":[null]}'),
    "aud-escaped-among": case('{"aud":["w\\u0065b","\\u0061pi"]}', words="aud=api"),
    "aud-half-a-surrogate-pair-beside": case('{"aud":["\\ud800","api"]}', words="aud=api"),
    "user-of-another-name": case('{"sub":"eve","user_id":4}', words="user=user_id"),
    "user-and-scope-in-one": case('{"role":"a b"}', words="user=role scope=role"),
    "user-twice": case('{"sub":1e400,"s\\u0075b":"alice"}'),
    "user-escaped": case('{"sub":"\\u00e4\\ud83d\\ude00"}'),
    "user-null": case('{"sub":null}'),
    "user-absent": case("{}"),
    "user-magic-number": case('{"sub":{"$serde_json::private::Number":"4"}}'),
    "user-is-exp": case('{"exp":1800000000}', words="user=exp scope=exp"),
    "scope-words": case('{"scope":"read  write a"}'),
    "scope-array": case('{"scope":["read","two words","w\\u0072ite",""]}'),
    "scope-array-with-a-number": case('{"scope":["read",1]}'),
    "scope-array-with-an-array": case('{"scope":["read",["write"]]}'),
    "scope-half-a-surrogate-pair": case('{"scope":["\\ud800","read"]}'),
    "scope-string-with-half-a-surrogate-pair": case('{"scope":"read \\ud800"}'),
    "scope-object": case('{"scope":{"read":true}}'),
    "scope-of-another-name": case('{"scope":"x","scp":["read"]}', words="scope=scp"),
    "sub-integer": case('{"sub":18446744073709551615}'),
    "sub-minus-zero": case('{"sub":-0}'),
    "sub-fraction": case('{"sub":1.0}'),
    "sub-beyond-u64": case('{"sub":18446744073709551616}'),
    "sub-half-a-surrogate-pair": case('{"sub":"\\udc00"}'),
    "private-beyond-f64": case('{"x":1e400,"y":"\\ud800"}'),
    "name-half-a-surrogate-pair": case('{"\\ud800":1}'),
}

DIFFERENTIAL = {
    name: VERIFY_CLAIMS[name]
    for name in (
        "good rotation unknown-key every-rule-kept alg-none alg-twice-last-right alg-escaped "
        "crit b64-true embedded-key header-array payload-array payload-empty-object exp-string "
        "exp-null exp-negative exp-beyond-u64 exp-twice-last-future exp-absent-and-required "
        "iat-string iss-right iss-wrong iss-absent iss-array aud-right aud-among aud-wrong "
        "aud-absent aud-with-a-number aud-unexpected aud-null-unexpected sub-integer "
        "private-beyond-f64 too-long "
    ).split()
} | {
    "far-future": case('{"exp":4102444800,"nbf":0,"iat":0}', words="require_exp"),
    "long-past": case('{"exp":1}'),
    "not-for-long": case('{"nbf":4102444800}'),
    "nbf-negative": case('{"nbf":-1}'),
    "sub-array": case('{"sub":["alice"]}'),
    "sub-object": case('{"sub":{"name":"alice"}}'),
    "typ-number": case(header='{"alg":"HS256","typ":1}'),
    "kid-number": case(header='{"alg":"HS256","kid":1}'),
    "iss-twice": case('{"iss":"b","iss":"a"}', words="iss=a"),
    "aud-several-wrong": case('{"aud":["a","b"]}', words="aud=c"),
}

BEARER = {
    "nothing": b"\xff\x00",
    "empty": "",
    "good": f"Bearer {GOOD}",
    "scheme-lower-case": f"bearer {GOOD}",
    "scheme-mixed-case": f"bEaReR {GOOD}",
    "spaces": f"  Bearer   {GOOD} \t",
    "tab-after-scheme": f"Bearer\t{GOOD}",
    "tab-after-space": f"Bearer \t{GOOD}",
    "scheme-alone": "Bearer",
    "scheme-and-space": "Bearer ",
    "two-words": f"Bearer {GOOD} {GOOD}",
    "two-fields": f"Bearer {GOOD}\nBearer {GOOD}",
    "two-fields-one-empty": f"Bearer {GOOD}\n",
    "comma": f"Bearer {GOOD},",
    "quoted": f'Bearer "{GOOD}"',
    "basic": "Basic YWxpY2U6c2VjcmV0",
    "token-scheme": f"Token {GOOD}",
    "scheme-joined": f"Bearer{GOOD}",
    "scheme-equals": f"Bearer={GOOD}",
    "token-without-scheme": GOOD,
    "bytes-beyond-ascii": "Bearer é".encode(),
    "b64token-characters": "Bearer AZaz09-._~+/==",
    "equals-inside": "Bearer a=b",
    "equals-alone": "Bearer ==",
    "too-long": f"Bearer {padded_to(8192)}A",
    "too-long-no-b64token": f"Bearer {'!' * 8193}",
    "three-empty-parts": f"Bearer ..{SIGNATURE}",
    "no-base64url": f"Bearer {HEADER}.{PAYLOAD}.{'~' * 43}",
    "no-base64url-signed": "Bearer " + sign(f"{HEADER}.~~~~"),
    "wrong-signature": f"Bearer {HEADER}.{PAYLOAD}.{'A' * 43}",
    "malformed-header": f"Bearer {token('[]')}",
    "alg-none-signed": "Bearer " + token('{"alg":"none"}'),
    "crit": "Bearer " + token('{"alg":"HS256","crit":[]}'),
    "malformed-claims": f"Bearer {token(USUAL, '[]')}",
    "malformed-time": "Bearer " + token(USUAL, '{"exp":"1"}'),
    "expired": "Bearer " + token(USUAL, '{"exp":1}'),
    "not-yet-valid": "Bearer " + token(USUAL, '{"nbf":1800000000}'),
    "audience": "Bearer " + token(USUAL, '{"aud":"api"}'),
    "audience-empty": "Bearer " + token(USUAL, '{"aud":[]}'),
    "audience-number": "Bearer " + token(USUAL, '{"aud":7}'),
    "malformed-nbf": "Bearer " + token(USUAL, '{"nbf":null}'),
    "malformed-iat": "Bearer " + token(USUAL, '{"iat":1e400}'),
    "milliseconds": "Bearer " + token(USUAL, '{"exp":1800000000000}'),
    "another-algorithm": f"Bearer {HEADER}.{PAYLOAD}.{'A' * 86}",
    "unsecured": f"Bearer {HEADER}.{PAYLOAD}.",
    "encrypted": f"Bearer {HEADER}..AAAA.AAAA.AAAA",
    "four-parts": f"Bearer {HEADER}.{PAYLOAD}.AAAA.{SIGNATURE}",
    "opaque": "Bearer 2YotnFZFEjr1zCsicMWpAA",
    "padded": f"Bearer {GOOD}=",
    "padded-header": f"Bearer {HEADER}==.{PAYLOAD}.{SIGNATURE}",
    "braces": "Bearer {{token}}",
    "braces-and-spaces": "Bearer {{ token }}",
    "angle-brackets": "Bearer <token>",
    "scheme-twice": f"Bearer Bearer {GOOD}",
    "scheme-colon": f"Bearer: {GOOD}",
    "no-break-space": b"Bearer\xc2\xa0" + GOOD.encode(),
    "no-break-space-of-latin-1": b"Bearer \xa0" + GOOD.encode(),
    "ellipsis": f"Bearer {GOOD[:20]}\u2026".encode(),
    "basic-beyond-ascii": "Basic \u00e4".encode(),
    "tab-inside-another-scheme": "Basic\tx",
    "trailing-tab-after-scheme": "Bearer\t",
}



def get(target, fields="", **others):
    """After an empty first line: no wish for how it arrives."""
    return "\n" + request(target, fields, **others)


def post(fields, content):
    return request("/resource", fields, method="POST") + content


AUTHORIZATION = "Authorization: Bearer $TOKEN\r\n"
CHUNKED = "Transfer-Encoding: chunked\r\n"
RESOURCE = request("/resource")
SECRET_REQUEST = request("/resource/secret", AUTHORIZATION)
HTTP = {
    "nothing": "\n",
    "public": get("/resource"),
    "health": get("/healthz"),
    "query": get("/resource?access_token=$TOKEN"),
    "absolute-form": get("http://a/resource"),
    "secret": "\n" + SECRET_REQUEST,
    "secret-without-token": get("/resource/secret"),
    "secret-with-another-token": get("/resource/secret", f"Authorization: Bearer {GOOD}\r\n"),
    "secret-with-two-tokens": get("/resource/secret", AUTHORIZATION * 2),
    "secret-with-token-in-query": get("/resource/secret?access_token=$TOKEN"),
    "secret-with-bad-form": get("/resource/secret", "Authorization: Bearer $TOKEN x\r\n"),
    "secret-folded-field": get("/resource/secret", "Authorization: Bearer\r\n $TOKEN\r\n"),
    "secret-head": get("/resource/secret", AUTHORIZATION, method="HEAD"),
    "head-then-get": get("/resource", method="HEAD") + RESOURCE,
    "auth": get("/auth", AUTHORIZATION),
    "auth-without-token": get("/auth"),
    "auth-scope": get("/auth/read", AUTHORIZATION) + RESOURCE,
    "auth-scopes": get("/auth/write+read?scope=admin", AUTHORIZATION, method="PUT"),
    "auth-scope-not-granted": get("/auth/read+admin", AUTHORIZATION) + RESOURCE,
    "auth-scope-not-named": get('/auth/a"+b', AUTHORIZATION) + RESOURCE,
    "auth-scopes-empty": get("/auth/", AUTHORIZATION) + request("/auth/read++write", AUTHORIZATION),
    "auth-scopes-too-many": get("/auth/" + "+".join(["read"] * 17), AUTHORIZATION),
    "auth-scope-without-token": get("/auth/read"),
    "auth-options": get("/auth", "X-Auth-Request-User: admin\r\n", method="OPTIONS") + RESOURCE,
    "auth-head": get("/auth", AUTHORIZATION, method="HEAD"),
    "auth-any-method": "\n"
    + "".join(
        request("/auth", AUTHORIZATION * (number % 2), method=method)
        for number, method in enumerate(("POST", "PUT", "PATCH", "DELETE", "QUERY", "TRACE", "BREW"))
    ),
    "auth-content-missing": get("/auth", AUTHORIZATION + "Content-Length: 9\r\n", method="POST"),
    "auth-bad-host": get("/auth", AUTHORIZATION + "Host: a\r\n"),
    "options": get("/resource/secret", method="OPTIONS"),
    "post": "\n" + post("Content-Length: 3\r\n", "abc") + RESOURCE,
    "post-content-missing": "\n" + post("Content-Length: 300\r\n", "abc"),
    "post-chunked": "\n" + post(CHUNKED, "3\r\nabc\r\n0\r\n\r\n") + RESOURCE,
    "post-cut-off-its-content": "70\n" + post("Content-Length: 30\r\n", "a" * 30) + RESOURCE,
    "smuggling-length-and-chunked": "\n"
    + post("Content-Length: 4\r\n" + CHUNKED, "0\r\n\r\n")
    + request("/resource/secret"),
    "smuggling-two-lengths": "\n" + post("Content-Length: 3\r\nContent-Length: 5\r\n", "abc"),
    "smuggling-bad-chunk": "\n" + post(CHUNKED, "z\r\n"),
    "expect-continue": "\n" + post("Content-Length: 3\r\nExpect: 100-continue\r\n", "abc"),
    "connect": "\nCONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n",
    "connect-auth": get("/auth", AUTHORIZATION, method="CONNECT") + RESOURCE,
    "asterisk": get("*", method="OPTIONS") + RESOURCE,
    "asterisk-get": get("*") + RESOURCE,
    "options-of-the-server": get("http://a", method="OPTIONS") + RESOURCE,
    "authority-form": get("a:80") + RESOURCE,
    "userinfo": get("http://u:p@a/resource") + RESOURCE,
    "another-scheme": get("ftp://a/resource") + RESOURCE,
    "host-percent": get("/resource").replace("Host: a", "Host: a%zz") + RESOURCE,
    "host-address": get("/resource").replace("Host: a", "Host: [::1]:80") + RESOURCE,
    "upgrade": get("/resource", "Connection: upgrade\r\nUpgrade: h2c\r\n"),
    "http-2-preface": "\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "http-1-0": get("/resource", version="1.0"),
    "http-1-0-without-host": "\nGET /resource HTTP/1.0\r\n\r\n",
    "http-1-0-keep-alive": "\n"
    + request("/resource", "Connection: keep-alive\r\n", version="1.0") * 2,
    "http-0-9": "\nGET /resource\r\n\r\n",
    "no-host": "\nGET /resource HTTP/1.1\r\n\r\n",
    "two-hosts": get("/resource", "Host: b\r\n"),
    "close": get("/resource", "Connection: close\r\n") + RESOURCE,
    "not-found": get("/resource/"),
    "not-found-encoded": get("/%72esource"),
    "no-request": "\nhello\r\n\r\n",
    "tls-hello": b"\n\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "line-ends-alone": "\n\r\n\r\n\n\n" + RESOURCE,
    "line-feeds-alone": "\n" + RESOURCE.replace("\r\n", "\n"),
    "null-in-field": get("/resource", "X: a\0b\r\n"),
    "head-unfinished": "\nGET /resource HTTP/1.1\r\nHost: a\r\n",
    "head-of-16384-bytes": get("/resource", f"X: {'x' * (16384 - 40)}\r\n"),
    "head-of-16385-bytes": get("/resource", f"X: {'x' * (16384 - 39)}\r\n"),
    "head-too-long": get("/resource", f"X: {'x' * 16400}\r\n"),
    "fields-too-many": get("/resource", "X: y\r\n" * 101),
    "pipelined": "\n" + RESOURCE * 3 + SECRET_REQUEST + request("/nowhere"),
    "pipelined-byte-by-byte": "1\n" + RESOURCE * 2,
    "pipelined-cut-anywhere": "7 50 3\n" + SECRET_REQUEST * 3,
    "pipelined-to-a-slow-reader": "room=5\n" + RESOURCE * 3,
    "pipelined-and-parked": "60 park\n" + RESOURCE * 3,
    "parked-in-mid-head": "45 park\n" + RESOURCE * 2,
    "draining": "draining\n" + RESOURCE * 2,
}

# The client, then a line for each request and its handler.
EXCHANGE = {
    "nothing": "",
    "one": "\nget parts=1 len=5",
    "pipelined": "\n" + "get parts=1 len=50\n" * 5,
    "pipelined-more-than-hyper-takes-in-a-turn": "\n" + "get parts=1 len=5\n" * 24,
    "pipelined-byte-by-byte": "1\n" + "get parts=1 len=5\n" * 3,
    "pipelined-to-a-slow-reader": "room=40 every=100\n" + "get parts=1 len=500\n" * 4,
    "pipelined-behind-a-handler-that-waits": "\nget wait=20000 len=1 parts=1\nget\nget",
    "pipelined-behind-content": "\npost content=40000 parts=1 len=3\nget\npost content=36\nget",
    "pipelined-behind-content-that-is-dropped": "\npost content=72 drop\nget\npost content=72 drop",
    "parked": "park pause=500 64\nget\nget\nget",
    "parked-in-mid-head": "park 30\nget\nget\nget",
    "empty-lines": "park\nget lines=3\npost content=5 lines=2\nget lines=100",
    "head-of-16384-bytes": "\nget fill=16384\nget fill=16384",
    "head-in-pieces-of-a-buffer": "8191 2\nget fill=16380\nget fill=9000\nget",
    "content-is-read": "\npost content=3000 parts=1 len=1\nget",
    "content-in-pieces": "100 pause=10\npost content=3000 slowly=5\nget",
    "content-read-in-part": "\npost content=30000 read=100\nget",
    "content-read-slowly": "\npost content=100000 slowly=500 parts=1 len=9",
    "content-late": "50 pause=3000\npost content=3000",
    "content-never-sent": "\npost content=300 missing=300 parts=1 len=1",
    "content-cut-off": "half-close\npost content=300 missing=1",
    "content-larger-than-the-buffers-never-asked-for": "\npost content=100000 never",
    "content-kept-by-the-response": "\npost content=50000 read=1 keep stream parts=3 len=9 rest=10\nget",
    "chunked": "\npost content=5000 chunked=99 parts=1 len=5\nget",
    "chunked-with-trailers": "7 pause=1\npost content=500 chunked=50 trailers parts=1 len=5\nget",
    "expect": "100 pause=50\npost expect content=300 wait=100 parts=1 len=5\nget",
    "expect-not-asked": "\npost expect content=300 drop parts=1 len=5\nget",
    "expect-never-sent": "\npost expect content=300 missing=300",
    "expect-without-content": "\npost expect\nget",
    "expect-of-a-slow-reader": "room=5 every=200\npost expect content=3000 parts=1 len=30",
    "handler-late": "\nget never\nget",
    "handler-late-in-the-nick-of-time": "\nget wait=29999\nget wait=30001",
    "handler-late-with-content": "\npost content=50 after=30001\nget",
    "handler-fails": "\nget fail\npost content=5 fail\nget",
    "reset-before-the-response": "reset=50\nget wait=100",
    "reset-while-content-is-awaited": "reset=50\npost content=500 missing=500",
    "reset-in-the-response": "reset=50 room=100 every=10\nget parts=1 len=9000",
    "half-close-behind-the-requests": "half-close\nget wait=100 parts=1 len=5\nget parts=1 len=5",
    "half-close-to-a-slow-reader": "half-close room=90 every=50\nget parts=1 len=500\nget",
    "response-never-taken": "room=1 every=60000\nget parts=1 len=50",
    "response-larger-than-the-buffers": "room=1000 every=5\nget parts=2 len=100000\nget",
    "stream": "\nget stream parts=5 len=100 rest=1000\nget",
    "stream-without-end": "\nget stream parts=40 len=10 rest=1000\nget",
    "stream-that-fails": "\nget stream break parts=5 len=100 rest=10\nget",
    "whole-that-fails": "\nget break parts=5 len=100 rest=10\nget",
    "stream-to-a-slow-reader": "room=20 every=30\nget stream parts=20 len=100 rest=7\nget",
    "head": "\nhead parts=1 len=9\nhead stream parts=3 len=9\nget",
    "status-without-content": "\nget status=2\nhead status=2\nget status=2 parts=1 len=1\nget",
    "status-of-an-interim-response": "\nget status=4\nget",
    "http-1-0": "\nget old parts=1 len=9\nget",
    "http-1-0-keep-alive": "\nget old keep-alive parts=1 len=9\nget old stream parts=3 len=9\nget",
    "close": "\nget close\nget",
    "upgrade": "\nget upgrade parts=1 len=9\nget",
    "upgrade-to-a-slow-reader": "room=9 every=9\nget upgrade parts=1 len=900\nget",
}

for target, seeds in {
    "parse_token": PARSE_TOKEN,
    "verify_claims": VERIFY_CLAIMS,
    "differential": DIFFERENTIAL,
    "bearer": BEARER,
    "http": HTTP,
    "exchange": EXCHANGE,
}.items():
    folder = HERE / target
    folder.mkdir(exist_ok=True)
    for name, seed in seeds.items():
        (folder / name).write_bytes(seed.encode() if isinstance(seed, str) else seed)
