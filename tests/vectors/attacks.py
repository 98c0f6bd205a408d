#!/usr/bin/env python3
"""Writes attacks.json: hand-made tokens with the verdict that the token rules give each.

    python3 attacks.py            writes attacks.json beside this file
    python3 attacks.py --check    exits 1 when attacks.json is not what this script writes

Standard library only, and deterministic. The verdicts stand here, written by hand beside each token; reference.py,
which knows nothing of them, has to come to the same, rule for rule, or nothing is written.

A rejected token has `rules`: the numbers of the rules that may be named as the one that rejects it. They are two where
the rules leave the choice: 2 or 3 when the signature part is not canonical base64url of 32 bytes; 5 beside another
where a verifier that rejects every duplicate name, or whose JSON parser rejects a lone surrogate, stops earlier.
`either` is a token whose verdict is the verifier's own choice: it must be given quickly and without a panic.
"""

import base64
import hashlib
import hmac
import json
import pathlib
import sys

sys.dont_write_bytecode = True

from reference import MAX_TOKEN_BYTES, Refused, verify  # noqa: E402

OUTPUT = pathlib.Path(__file__).resolve().with_name("attacks.json")

SECRET = b"attack-vectors-secret-0123456789-abcdefghij"
NOW = 1_700_000_000
ISSUER = "https://issuer.example/"
AUDIENCE = "https://api.example"

HEADER = '{"alg":"HS256","typ":"JWT"}'
CLAIMS = '{"sub":"alice"}'

rows = []


# --- Making tokens -------------------------------------------------------------------------------------------------

def octets(text):
    return text if isinstance(text, bytes) else text.encode("utf-8")


def b64(content):
    return base64.urlsafe_b64encode(octets(content)).rstrip(b"=").decode("ascii")


def mac(signing_input, key=SECRET, digest="sha256"):
    return hmac.new(key, octets(signing_input), digest).digest()


def sign_parts(header, payload, key=SECRET):
    """A token with the right MAC over two parts that are already text, whatever they are."""
    signing_input = f"{header}.{payload}"
    return f"{signing_input}.{b64(mac(signing_input, key))}"


def sign(header=HEADER, payload=CLAIMS, key=SECRET):
    return sign_parts(b64(header), b64(payload), key)


BASE = sign()
HEADER_PART, PAYLOAD_PART, SIGNATURE_PART = BASE.split(".")
SIGNING_INPUT = f"{HEADER_PART}.{PAYLOAD_PART}"
MAC = mac(SIGNING_INPUT)


def with_signature(signature, signing_input=SIGNING_INPUT):
    return f"{signing_input}.{b64(signature)}"


def of_size(total):
    """A token of exactly `total` bytes that keeps every other rule."""
    for letters in range(4):
        header = b64('{"alg":"HS256","kid":"%s"}' % ("k" * letters))
        length = total - len(header) - 2 - 43
        if length % 4 != 1:
            frame = '{"sub":"alice","pad":"%s"}'
            token = sign_parts(header, b64(frame % ("x" * (length * 3 // 4 - len(frame) + 2))))
            assert len(token) == total
            return token
    raise AssertionError(total)


def signed_until(wanted):
    """The first of a series of valid tokens whose MAC is as wanted."""
    return next(token for token in (sign(payload='{"n":%d}' % n) for n in range(1 << 20))
                if wanted(base64.urlsafe_b64decode(token.rpartition(".")[2] + "=")))


def unused_bits_set(part):
    """The same octets, spelled with the last character's unused bits set."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    assert len(part) % 4 in (2, 3)
    return part[:-1] + alphabet[alphabet.index(part[-1]) + 1]


# --- Recording them ------------------------------------------------------------------------------------------------

def record(verdict, name, token, rules=None, now=NOW, **options):
    rows.append({"name": name, "verdict": verdict, "rules": rules, "now": now, **options, "token": token})


def accept(name, token, **options):
    record("accept", name, token, **options)


def refuse(rule, name, token, also=None, **options):
    signing_input, _, signature = token.rpartition(".")
    if rule == 2 and signature != b64(mac(signing_input)):
        also = 3
    record("refuse", name, token, [rule] if also is None else sorted((rule, also)), **options)


def either(name, token, **options):
    record("either", name, token, **options)


def accept_claims(name, payload, **options):
    accept(name, sign(payload=payload), **options)


def refuse_claims(rule, name, payload, **options):
    refuse(rule, name, sign(payload=payload), **options)


# --- Rule 1: size and parts ----------------------------------------------------------------------------------------

def size_and_parts():
    accept("baseline", BASE)
    for total in (MAX_TOKEN_BYTES - 1, MAX_TOKEN_BYTES):
        accept(f"token-of-{total}-bytes", of_size(total))
    for total in (MAX_TOKEN_BYTES + 1, MAX_TOKEN_BYTES + 2, 2 * MAX_TOKEN_BYTES):
        refuse(1, f"token-of-{total}-bytes", of_size(total))
    refuse(1, "brackets-nested-40000-deep", sign(payload='{"a":' + "[" * 20000 + "]" * 20000 + "}"))
    refuse(1, "header-alone-over-the-limit", sign(header='{"alg":"HS256","kid":"%s"}' % ("k" * 6200)))
    refuse(1, "letters-over-the-limit-without-a-dot", "A" * (MAX_TOKEN_BYTES + 1))

    refuse(1, "no-token", "")
    for count in (1, 2, 3, 4, 100, 8000):
        refuse(1, f"nothing-but-{count}-dots", "." * count)
    refuse(1, "header-only", HEADER_PART)
    refuse(1, "one-part-signed-without-a-dot", HEADER_PART + PAYLOAD_PART + SIGNATURE_PART)
    refuse(1, "two-parts-without-signature", SIGNING_INPUT)
    refuse(1, "two-parts-without-payload", f"{HEADER_PART}.{b64(mac(HEADER_PART))}")
    refuse(1, "two-parts-without-header", f"{PAYLOAD_PART}.{b64(mac(PAYLOAD_PART))}")
    refuse(1, "empty-header-signed", sign_parts("", PAYLOAD_PART))
    refuse(1, "empty-payload-signed", sign_parts(HEADER_PART, ""))
    refuse(1, "empty-header-and-payload-signed", sign_parts("", ""))
    refuse(1, "empty-header-and-signature", f".{PAYLOAD_PART}.")
    refuse(1, "empty-payload-and-signature", f"{HEADER_PART}..")
    refuse(1, "signature-only", f"..{SIGNATURE_PART}")
    refuse(1, "leading-dot", f".{BASE}")
    refuse(1, "trailing-dot", f"{BASE}.")
    refuse(1, "doubled-first-dot", f"{HEADER_PART}..{PAYLOAD_PART}.{SIGNATURE_PART}")
    refuse(1, "doubled-second-dot", f"{HEADER_PART}.{PAYLOAD_PART}..{SIGNATURE_PART}")
    refuse(1, "extra-part-after-the-signature", f"{BASE}.AAAA")
    refuse(1, "extra-part-before-the-header", f"AAAA.{BASE}")
    refuse(1, "four-parts-signed-over-the-first-three", f"{SIGNING_INPUT}.AAAA.{b64(mac(SIGNING_INPUT + '.AAAA'))}")
    refuse(1, "two-signatures", f"{BASE}.{SIGNATURE_PART}")
    refuse(1, "two-tokens-joined-by-a-dot", f"{BASE}.{BASE}")
    refuse(1, "five-parts-like-an-encrypted-token", b64('{"alg":"dir","enc":"A128CBC-HS256"}') + "..AAAA.AAAA.AAAA")
    refuse(1, "five-parts-signed-over-the-first-four",
           f"{SIGNING_INPUT}.AAAA.AAAA.{b64(mac(SIGNING_INPUT + '.AAAA.AAAA'))}")
    refuse(1, "selective-disclosure-with-a-dot", f"{BASE}~WyJzYWx0Iiwic3ViIiwiYm9iIl0~.AA.AA")
    refuse(1, "parts-joined-by-commas", BASE.replace(".", ","))
    refuse(1, "parts-joined-by-spaces", BASE.replace(".", " "))
    refuse(1, "parts-joined-by-fullwidth-full-stops", BASE.replace(".", "\uff0e"))
    refuse(1, "parts-joined-by-ideographic-full-stops", BASE.replace(".", "\u3002"))
    refuse(1, "parts-joined-by-percent-encoded-dots", BASE.replace(".", "%2E"))
    refuse(1, "flattened-json-serialization", json.dumps(
        {"protected": HEADER_PART, "payload": PAYLOAD_PART, "signature": SIGNATURE_PART}))
    refuse(1, "general-json-serialization", json.dumps(
        {"payload": PAYLOAD_PART, "signatures": [{"protected": HEADER_PART, "signature": SIGNATURE_PART}]}))
    refuse(1, "unencoded-payload-with-a-dot", sign_parts(b64('{"alg":"HS256","b64":false,"crit":["b64"]}'), "$.02"))


# --- Rule 2: base64url and the signature's length ------------------------------------------------------------------

def base64url():
    # Each of them is inside one part, with the right MAC over the text as it is sent where that part is signed.
    intruders = {
        "space-before": lambda part: " " + part,
        "space-after": lambda part: part + " ",
        "space-inside": lambda part: part[:5] + " " + part[5:],
        "tab-inside": lambda part: part[:5] + "\t" + part[5:],
        "line-feed-after": lambda part: part + "\n",
        "crlf-inside": lambda part: part[:8] + "\r\n" + part[8:],
        "nul-after": lambda part: part + "\0",
        "nul-inside": lambda part: part[:5] + "\0" + part[5:],
        "one-padding-character": lambda part: part + "=",
        "two-padding-characters": lambda part: part + "==",
        "percent-encoded-padding": lambda part: part + "%3D",
        "padding-inside": lambda part: part[:8] + "=" + part[8:],
        "tilde-inside": lambda part: part[:5] + "~" + part[5:],
        "question-mark-after": lambda part: part + "?",
        "plus-before": lambda part: "+" + part,
        "slash-after": lambda part: part + "/",
        "backslash-inside": lambda part: part[:5] + "\\" + part[5:],
        "quoted": lambda part: f'"{part}"',
        "zero-width-space-inside": lambda part: part[:5] + "\u200b" + part[5:],
        "byte-order-mark-before": lambda part: "\ufeff" + part,
        "fullwidth-letter": lambda part: "\uff25" + part[1:],
        "letter-e-acute-for-the-first": lambda part: "\u00e9" + part[1:],
        "emoji-after": lambda part: part + "\U0001f600",
        "one-character-too-many": lambda part: part + "A" * ((1 - len(part)) % 4),
    }
    for name, change in intruders.items():
        refuse(2, f"header-with-{name}", sign_parts(change(HEADER_PART), PAYLOAD_PART))
        refuse(2, f"payload-with-{name}", sign_parts(HEADER_PART, change(PAYLOAD_PART)))
        refuse(2, f"signature-with-{name}", f"{SIGNING_INPUT}.{change(SIGNATURE_PART)}")
    refuse(2, "header-of-one-character", sign_parts("e", PAYLOAD_PART))
    refuse(2, "payload-of-one-character", sign_parts(HEADER_PART, "e"))
    refuse(2, "signature-of-one-character", f"{SIGNING_INPUT}.A")

    # '>' and '?' in threes are '-' and '_' in base64url: '+' and '/' in base64.
    header, payload = b64('{"alg":"HS256","kid":"~~>>>???"}'), b64('{"sub":"alice","q":">>>???~~~"}')
    assert set("-_") <= set(header) and set("-_") <= set(payload)
    plain = str.maketrans("-_", "+/")
    accept("header-and-payload-with-minus-and-underscore", sign_parts(header, payload))
    refuse(2, "header-in-the-base64-alphabet", sign_parts(header.translate(plain), payload))
    refuse(2, "payload-in-the-base64-alphabet", sign_parts(header, payload.translate(plain)))
    both = signed_until(lambda m: set("-_") <= set(b64(m)))
    accept("signature-with-minus-and-underscore", both)
    head, _, signature = both.rpartition(".")
    refuse(2, "signature-in-the-base64-alphabet", f"{head}.{signature.translate(plain)}")
    refuse(2, "signature-half-in-the-base64-alphabet", f"{head}.{signature.replace('-', '+')}")
    refuse(2, "all-parts-in-padded-base64", ".".join(
        base64.b64encode(part).decode() for part in (octets(HEADER), octets(CLAIMS + " "), MAC)))

    # Unused bits: two characters carry one octet and four spare bits, three carry two and two spare ones.
    for spare, kid in ((4, "kid1"), (2, "kid")):
        part = b64('{"alg":"HS256","k":"%s"}' % kid)
        accept(f"header-with-{spare}-unused-bits-clear", sign_parts(part, PAYLOAD_PART))
        refuse(2, f"header-with-{spare}-unused-bits-set", sign_parts(unused_bits_set(part), PAYLOAD_PART))
        part = b64('{"sub":"%s"}' % {4: "alice12", 2: "alice1"}[spare])
        accept(f"payload-with-{spare}-unused-bits-clear", sign_parts(HEADER_PART, part))
        refuse(2, f"payload-with-{spare}-unused-bits-set", sign_parts(HEADER_PART, unused_bits_set(part)))
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for bits in (1, 2, 3):
        end = last[last.index(SIGNATURE_PART[-1]) + bits]
        refuse(2, f"signature-with-unused-bits-{bits:02b}", f"{SIGNING_INPUT}.{SIGNATURE_PART[:-1]}{end}")

    refuse(2, "signature-empty", f"{SIGNING_INPUT}.")
    for length in (1, 16, 20, 31):
        refuse(2, f"signature-cut-to-{length}-bytes", with_signature(MAC[:length]))
    refuse(2, "signature-of-33-bytes-zero-after", with_signature(MAC + b"\0"))
    refuse(2, "signature-of-33-bytes-zero-before", with_signature(b"\0" + MAC))
    refuse(2, "signature-of-33-bytes-all-zero", with_signature(bytes(33)))
    refuse(2, "signature-twice", with_signature(MAC + MAC))
    refuse(2, "signature-in-hexadecimal", f"{SIGNING_INPUT}.{MAC.hex()}")
    refuse(2, "signature-of-hexadecimal-text", with_signature(MAC.hex()))
    refuse(2, "signature-encoded-twice", with_signature(SIGNATURE_PART))
    refuse(2, "signature-of-6000-bytes", with_signature(MAC + bytes(5968)))
    refuse(2, "signature-of-a-der-sequence", with_signature(b"\x30\x44\x02\x20" + MAC + b"\x02\x20" + MAC))

    refuse(2, "bearer-in-front", f"Bearer {BASE}")
    refuse(2, "space-in-front", f" {BASE}")
    refuse(2, "line-feed-at-the-end", f"{BASE}\n")
    refuse(2, "carriage-return-and-field-at-the-end", f"{BASE}\r\nX-Auth-Request-User: root")
    refuse(2, "quoted-token", f'"{BASE}"')
    refuse(2, "comma-at-the-end", f"{BASE},")
    refuse(2, "semicolon-parameter-at-the-end", f"{BASE};alg=none")
    refuse(2, "selective-disclosure", f"{BASE}~WyJzYWx0Iiwic3ViIiwiYm9iIl0~")


# --- Rule 3: the MAC, before any JSON ------------------------------------------------------------------------------

def macs():
    for index in range(32):
        flipped = bytearray(MAC)
        flipped[index] ^= 1 << index % 8
        refuse(3, f"mac-with-a-bit-flipped-in-byte-{index:02}", with_signature(bytes(flipped)))
    refuse(3, "mac-of-zeros", with_signature(bytes(32)))
    refuse(3, "mac-of-ones", with_signature(b"\xff" * 32))
    refuse(3, "mac-reversed", with_signature(MAC[::-1]))
    refuse(3, "mac-inverted", with_signature(bytes(octet ^ 0xFF for octet in MAC)))
    refuse(3, "mac-rotated-by-one-byte", with_signature(MAC[1:] + MAC[:1]))
    refuse(3, "mac-right-in-its-first-half", with_signature(MAC[:16] + bytes(16)))
    refuse(3, "mac-right-in-its-second-half", with_signature(bytes(16) + MAC[16:]))

    for name, key in {
        "empty": b"",
        "zeros": bytes(32),
        "short-of-its-last-byte": SECRET[:-1],
        "short-of-its-first-byte": SECRET[1:],
        "and-a-line-feed": SECRET + b"\n",
        "and-a-space": SECRET + b" ",
        "in-upper-case": SECRET.upper(),
        "reversed": SECRET[::-1],
        "in-base64url": octets(b64(SECRET)),
        "in-hexadecimal": octets(SECRET.hex()),
        "hashed": hashlib.sha256(SECRET).digest(),
        "of-a-tutorial": b"secret",
        "of-another-tutorial": b"your-256-bit-secret",
        "of-a-public-key": b"-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----\n",
        "in-utf-16": SECRET.decode().encode("utf-16-le"),
    }.items():
        refuse(3, f"mac-with-the-key-{name}", sign(key=key))

    for name, signing_input in {
        "the-header-alone": HEADER_PART,
        "the-payload-alone": PAYLOAD_PART,
        "nothing": "",
        "the-parts-without-the-dot": HEADER_PART + PAYLOAD_PART,
        "the-parts-swapped": f"{PAYLOAD_PART}.{HEADER_PART}",
        "a-dot-too-many": f"{SIGNING_INPUT}.",
        "a-line-feed-too-many": f"{SIGNING_INPUT}\n",
        "the-decoded-parts": f"{HEADER}.{CLAIMS}",
        "the-decoded-payload": CLAIMS,
        "the-parts-in-lower-case": SIGNING_INPUT.lower(),
        "the-parts-in-utf-16": SIGNING_INPUT.encode("utf-16-le"),
        "the-parts-with-padding": f"{HEADER_PART}.{PAYLOAD_PART}==",
        "the-text-of-the-whole-token": BASE,
    }.items():
        refuse(3, f"mac-over-{name}", with_signature(mac(signing_input)))

    refuse(3, "sha256-without-a-key", with_signature(hashlib.sha256(octets(SIGNING_INPUT)).digest()))
    refuse(3, "sha256-of-key-and-message", with_signature(hashlib.sha256(SECRET + octets(SIGNING_INPUT)).digest()))
    refuse(3, "sha256-of-message-and-key", with_signature(hashlib.sha256(octets(SIGNING_INPUT) + SECRET).digest()))
    refuse(3, "hmac-sha512-cut-to-32-bytes", with_signature(mac(SIGNING_INPUT, digest="sha512")[:32]))
    refuse(3, "hmac-sha384-cut-to-32-bytes", with_signature(mac(SIGNING_INPUT, digest="sha384")[:32]))
    refuse(3, "hmac-sha3-256", with_signature(mac(SIGNING_INPUT, digest="sha3_256")))
    refuse(3, "keyed-blake2s", with_signature(hashlib.blake2s(octets(SIGNING_INPUT), key=SECRET[:32]).digest()))

    root, short = b64('{"sub":"root"}'), b64('{"alg":"HS256"}')
    refuse(3, "payload-swapped-under-a-valid-mac", with_signature(MAC, f"{HEADER_PART}.{root}"))
    refuse(3, "header-swapped-under-a-valid-mac", with_signature(MAC, f"{short}.{PAYLOAD_PART}"))
    refuse(3, "letter-case-changed-in-the-payload", f"{HEADER_PART}.{PAYLOAD_PART.swapcase()}.{SIGNATURE_PART}")
    refuse(3, "signature-in-upper-case", f"{SIGNING_INPUT}.{SIGNATURE_PART[:-1].upper()}{SIGNATURE_PART[-1]}")
    refuse(3, "octet-moved-across-the-dot", with_signature(MAC, f"{HEADER_PART[:-4]}.{HEADER_PART[-4:]}{PAYLOAD_PART}"))

    # With a wrong MAC nothing else may decide: neither header nor payload is read.
    for name, header, payload in (
        ("alg-none", '{"alg":"none"}', CLAIMS),
        ("no-json-at-all", b"\xff\xfe", b"\x00"),
        ("open-brackets", "[" * 2000, "[" * 2000),
        ("an-expired-token", HEADER, '{"exp":1}'),
        ("another-issuer", HEADER, '{"iss":"x"}'),
        ("crit", '{"alg":"HS256","crit":["exp"]}', CLAIMS),
        ("alg-hs512", '{"alg":"HS512"}', CLAIMS),
    ):
        refuse(3, f"wrong-mac-over-{name}", f"{b64(header)}.{b64(payload)}.{b64(bytes(32))}")

    for name, wanted in {
        "two-zero-bytes-first": lambda m: m[:2] == b"\0\0",
        "two-zero-bytes-last": lambda m: m[-2:] == b"\0\0",
        "two-ff-bytes-first": lambda m: m[:2] == b"\xff\xff",
        "two-ff-bytes-last": lambda m: m[-2:] == b"\xff\xff",
    }.items():
        accept(f"valid-mac-with-{name}", signed_until(wanted))


# --- Rule 4: the JOSE header ---------------------------------------------------------------------------------------

def headers():
    for spelling in ("none", "None", "NONE", "nOnE"):
        header = b64('{"alg":"%s"}' % spelling)
        refuse(2, f"alg-{spelling}-unsigned", f"{header}.{PAYLOAD_PART}.")
        refuse(1, f"alg-{spelling}-without-signature-part", f"{header}.{PAYLOAD_PART}")
        refuse(2, f"alg-{spelling}-with-padding-for-a-signature", f"{header}.{PAYLOAD_PART}.====")
        refuse(4, f"alg-{spelling}-with-a-right-mac", sign('{"alg":"%s"}' % spelling))

    for bits in (384, 512):
        signing_input = b64('{"alg":"HS%d","typ":"JWT"}' % bits) + f".{PAYLOAD_PART}"
        full = mac(signing_input, digest=f"sha{bits}")
        refuse(2, f"hs{bits}-as-it-should-be", with_signature(full, signing_input))
        refuse(3, f"hs{bits}-cut-to-32-bytes", with_signature(full[:32], signing_input))

    public_key = b"-----BEGIN PUBLIC KEY-----\nMFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAK\n-----END PUBLIC KEY-----\n"
    refuse(3, "rs256-confused-with-hs256", sign(key=public_key))
    refuse(3, "rs256-header-signed-with-the-public-key", sign('{"alg":"RS256"}', key=public_key))
    refuse(2, "rs256-with-a-256-byte-signature", with_signature(b"\x5a" * 256, b64('{"alg":"RS256"}') + f".{PAYLOAD_PART}"))
    refuse(2, "es256-with-a-zero-signature", with_signature(bytes(64), b64('{"alg":"ES256"}') + f".{PAYLOAD_PART}"))

    # The MAC is right under each of these: only the header refuses.
    for name, alg in {
        "hs384": '"HS384"', "hs512": '"HS512"', "hs1": '"HS1"', "hs256-64": '"HS256/64"',
        "rs256": '"RS256"', "ps256": '"PS256"', "es256": '"ES256"', "es256k": '"ES256K"', "eddsa": '"EdDSA"',
        "ed25519": '"Ed25519"', "dir": '"dir"', "a256kw": '"A256KW"', "pbes2": '"PBES2-HS256+A128KW"',
        "lower-case": '"hs256"', "mixed-case": '"Hs256"', "with-a-hyphen": '"HS-256"', "longer-by-a-digit": '"HS2567"',
        "shorter-by-a-digit": '"HS25"', "sha256": '"SHA256"', "hmac-sha256": '"HMACSHA256"', "cose-number": "5",
        "empty": '""', "space-before": '" HS256"', "space-after": '"HS256 "', "nul-after": '"HS256\\u0000"',
        "line-feed-after": '"HS256\\n"', "zero-width-space-after": '"HS256\\u200b"', "cyrillic-letter": '"\\u041dS256"',
        "fullwidth-digit": '"HS\uff1256"', "lone-surrogate-after": '"HS256\\ud800"', "list-in-a-string": '"HS256,none"',
        "null": "null", "true": "true", "number": "256", "array": '["HS256"]', "object": '{"HS256":1}',
        "array-of-two": '["none","HS256"]', "uri": '"http://www.w3.org/2001/04/xmldsig-more#hmac-sha256"',
    }.items():
        refuse(4, f"alg-is-{name}", sign('{"alg":%s,"typ":"JWT"}' % alg))
    for name, header in {
        "empty-object": "{}",
        "alg-missing": '{"typ":"JWT"}',
        "alg-in-another-case": '{"ALG":"HS256","Alg":"HS256"}',
        "alg-name-with-a-space": '{"alg ":"HS256"," alg":"HS256"}',
        "alg-name-with-a-nul": '{"alg\\u0000":"HS256"}',
        "alg-name-escaped-twice": '{"\\\\u0061lg":"HS256"}',
        "alg-only-in-a-nested-object": '{"jwk":{"alg":"HS256"}}',
        "alg-only-in-the-type": '{"typ":"HS256"}',
        "alg-by-another-name": '{"algorithm":"HS256","enc":"HS256"}',
        "alg-name-escaped-value-wrong": '{"\\u0061lg":"none"}',
    }.items():
        refuse(4, f"header-{name}", sign(header))

    values = {"null": "null", "empty-array": "[]", "empty-object": "{}", "empty-string": '""', "false": "false",
              "true": "true", "zero": "0", "string": '"exp"', "array-of-exp": '["exp"]', "array-of-b64": '["b64"]',
              "array-of-alg": '["alg"]', "array-of-a-uri": '["http://example.com/UNDEFINED"]', "array-of-null": "[null]"}
    for name, value in values.items():
        refuse(4, f"crit-{name}", sign('{"alg":"HS256","crit":%s}' % value))
    for name in ("null", "false", "true", "zero", "empty-string", "empty-array", "empty-object"):
        refuse(4, f"b64-{name}", sign('{"alg":"HS256","b64":%s}' % values[name]))
    refuse(4, "crit-before-alg", sign('{"crit":["exp"],"exp":1,"alg":"HS256"}'))
    refuse(4, "crit-name-escaped", sign('{"alg":"HS256","\\u0063\\u0072\\u0069\\u0074":["exp"]}'))
    refuse(4, "crit-name-partly-escaped", sign('{"alg":"HS256","cri\\u0074":null}'))
    refuse(4, "b64-name-escaped", sign('{"alg":"HS256","b\\u00364":true}'))
    refuse(4, "crit-twice", sign('{"alg":"HS256","crit":["exp"],"crit":[]}'))
    refuse(4, "b64-false-and-crit", sign('{"alg":"HS256","b64":false,"crit":["b64"]}'))
    refuse(4, "b64-true-and-crit", sign('{"alg":"HS256","b64":true,"crit":["b64"]}'))
    refuse(4, "b64-false-with-an-unencoded-payload", sign_parts(b64('{"alg":"HS256","b64":false,"crit":["b64"]}'), "payload_"))

    refuse(4, "alg-twice-none-last", sign('{"alg":"HS256","alg":"none"}'))
    refuse(4, "alg-twice-hs512-last", sign('{"alg":"HS256","alg":"HS512"}'))
    refuse(4, "alg-twice-null-last", sign('{"alg":"HS256","alg":null}'))
    refuse(4, "alg-twice-none-last-by-an-escaped-name", sign('{"alg":"HS256","\\u0061lg":"none"}'))
    refuse(4, "alg-twice-none-last-after-an-escaped-name", sign('{"al\\u0067":"HS256","alg":"none"}'))
    refuse(4, "alg-three-times-none-last", sign('{"alg":"HS256","alg":"HS256","alg":"none"}'))
    either("alg-twice-the-same", sign('{"alg":"HS256","alg":"HS256"}'))
    either("alg-twice-none-first", sign('{"alg":"none","alg":"HS256"}'))
    either("alg-twice-null-first", sign('{"alg":null,"alg":"HS256"}'))
    either("alg-twice-none-first-then-an-escaped-name", sign('{"alg":"none","\\u0061lg":"HS256"}'))
    either("typ-twice", sign('{"typ":"JWT","alg":"HS256","typ":"JWE"}'))
    either("kid-twice-by-an-escaped-name", sign('{"kid":"a","alg":"HS256","\\u006bid":"b"}'))
    either("nested-header-members-twice", sign('{"alg":"HS256","jwk":{"kty":"oct","kty":"RSA"}}'))
    either("header-with-a-lone-surrogate", sign('{"alg":"HS256","kid":"\\ud800"}'))
    either("header-with-a-number-beyond-a-double", sign('{"alg":"HS256","x":1e400}'))
    either("header-nested-3000-deep", sign('{"alg":"HS256","x":' + "[" * 1500 + "]" * 1500 + "}"))
    either("header-nested-128-deep", sign('{"alg":"HS256","x":' + "[" * 127 + "]" * 127 + "}"))

    for name, header in {
        "alg-alone": '{"alg":"HS256"}',
        "alg-last": '{"typ":"JWT","kid":"1","alg":"HS256"}',
        "alg-name-escaped": '{"\\u0061\\u006C\\u0067":"HS256"}',
        "alg-value-escaped": '{"alg":"\\u0048S25\\u0036"}',
        "alg-and-alg-in-another-case": '{"alg":"HS256","ALG":"none","Alg":"RS256"}',
        "crit-and-b64-in-another-case": '{"alg":"HS256","Crit":["x"],"CRIT":["x"],"B64":false}',
        "crit-and-b64-in-a-nested-object": '{"alg":"HS256","x":{"crit":["exp"],"b64":false,"alg":"none"}}',
        "crit-and-b64-as-values": '{"alg":"HS256","kid":"crit","x":["b64","crit"]}',
        "crit-name-with-a-space": '{"alg":"HS256","crit ":["exp"],"b64\\u0000":false}',
        "no-typ": '{"alg":"HS256","kid":"1"}',
        "typ-number": '{"typ":5,"alg":"HS256"}',
        "typ-null": '{"typ":null,"alg":"HS256"}',
        "typ-access-token": '{"typ":"at+jwt","alg":"HS256"}',
        "typ-jwe": '{"typ":"JWE","alg":"HS256"}',
        "cty-jwt": '{"cty":"JWT","alg":"HS256"}',
        "cty-array": '{"cty":["JWT"],"alg":"HS256"}',
        "kid-null": '{"kid":null,"alg":"HS256"}',
        "kid-object": '{"kid":{"a":[1,2]},"alg":"HS256"}',
        "kid-of-a-path": '{"kid":"../../../../dev/null","alg":"HS256"}',
        "kid-of-sql": '{"kid":"x\' UNION SELECT \'secret","alg":"HS256"}',
        "kid-empty": '{"kid":"","alg":"HS256"}',
        "kid-of-2000-letters": '{"kid":"%s","alg":"HS256"}' % ("k" * 2000),
        "jku-and-x5u": '{"alg":"HS256","jku":"https://attacker.example/jwks","x5u":"file:///etc/passwd"}',
        "jwk-of-an-attacker": '{"alg":"HS256","jwk":{"kty":"oct","k":"AAAA"}}',
        "zip-and-enc": '{"alg":"HS256","zip":"DEF","enc":"A128GCM"}',
        "unknown-members": '{"alg":"HS256","a":1,"":"","b":[true,false,null,1.5e-3],"c":{"d":{}}}',
        "claims-in-the-header": '{"alg":"HS256","exp":1,"iss":"x","aud":"x"}',
        "white-space-everywhere": ' \t\r\n{ \n"typ"\t:\r"JWT" , "alg" : "HS256" }\r\n \t',
        "nested-64-deep": '{"alg":"HS256","x":' + "[" * 63 + "]" * 63 + "}",
        "300-members": '{%s"alg":"HS256"}' % "".join('"m%03d":0,' % n for n in range(300)),
        "proto-member": '{"__proto__":{"alg":"none"},"alg":"HS256"}',
        "non-ascii-members": '{"alg":"HS256","\u00e9\u00e8":"\u65e5\u672c","\U0001f600":"\\ud83d\\ude00"}',
    }.items():
        accept(f"header-{name}", sign(header))


# --- Rules 4 and 5: one JSON object, in UTF-8, with nothing around it -----------------------------------------------

def no_objects(member):
    """Texts that hold `member` or seem to, and are not one JSON object. The same serve for header and payload."""
    whole = "{%s}" % member
    texts = {
        "array-with-the-object": f"[{whole}]",
        "array-of-the-values": "[%s]" % member.replace(":", ","),
        "empty-array": "[]",
        "null": "null",
        "true": "true",
        "number": "1700000000",
        "zero": "0",
        "empty-string": '""',
        "string": '"HS256"',
        "string-of-json": json.dumps(whole),
        "white-space-only": " \n",
        "plain-text": "HS256",
        "form-encoded-text": "alg=HS256&sub=alice",
        "yaml": "alg: HS256\nsub: alice",
        "xml": "<alg>HS256</alg>",
        "another-token": BASE,
        "object-twice": whole + whole,
        "object-twice-by-lines": f"{whole}\n{whole}",
        "object-and-a-letter": whole + "x",
        "object-and-a-brace": whole + "}",
        "object-and-a-bracket": whole + "]",
        "object-and-a-comma": whole + ",",
        "object-and-null": whole + " null",
        "object-and-a-nul": whole + "\0",
        "object-and-a-comment": whole + "//",
        "nul-and-object": "\0" + whole,
        "byte-order-mark-and-object": "\ufeff" + whole,
        "object-and-a-byte-order-mark": whole + "\ufeff",
        "script-guard-and-object": ")]}',\n" + whole,
        "record-separator-and-object": "\x1e" + whole,
        "form-feed-and-object": "\f" + whole,
        "vertical-tab-after-object": whole + "\v",
        "no-break-space-and-object": "\u00a0" + whole,
        "line-separator-inside-object": "{\u2028%s}" % member,
        "unclosed-object": whole[:-1],
        "unclosed-string": whole[:-2],
        "unopened-object": whole[1:],
        "open-brackets": whole[:-1] + ',"x":' + "[" * 3000,
        "open-braces": '{"a":' * 800 + whole,
        "brackets-closed-by-braces": whole[:-1] + ',"x":[}}',
        "trailing-comma": whole[:-1] + ",}",
        "leading-comma": "{," + member + "}",
        "doubled-comma": "{%s,,%s}" % (member, '"x":1'),
        "missing-comma": "{%s %s}" % (member, '"x":1'),
        "missing-colon": "{%s,%s}" % (member, '"x" 1'),
        "missing-value": "{%s,%s}" % (member, '"x":'),
        "member-without-value": "{%s,%s}" % (member, '"x"'),
        "equals-sign-for-colon": whole.replace(":", "="),
        "single-quotes": whole.replace('"', "'"),
        "name-without-quotes": "{%s,%s}" % (member, "x:1"),
        "number-for-a-name": "{%s,%s}" % (member, "1:1"),
        "null-for-a-name": "{%s,%s}" % (member, "null:1"),
        "block-comment": "{/* */%s}" % member,
        "line-comment": "{%s //\n}" % member,
        "hash-comment": "{%s #\n}" % member,
    }
    values = {
        "nan": "NaN", "infinity": "Infinity", "minus-infinity": "-Infinity", "leading-zero": "01",
        "plus-sign": "+1", "no-digit-before-the-point": ".5", "no-digit-after-the-point": "1.",
        "no-exponent-digits": "1e", "no-exponent-digits-after-the-sign": "1e+", "hexadecimal-number": "0x1F",
        "minus-alone": "-", "minus-twice": "--1", "underscore-in-a-number": "1_000", "letter-after-a-number": "1n",
        "two-points-in-a-number": "1.2.3", "space-in-a-number": "1 000", "arabic-digits": "\u0661", "python-true": "True",
        "cut-null": "nul", "undefined": "undefined", "longer-null": "nullx", "raw-line-feed-in-a-string": '"a\nb"',
        "raw-tab-in-a-string": '"a\tb"', "raw-nul-in-a-string": '"a\0b"', "raw-unit-separator-in-a-string": '"a\x1fb"',
        "hexadecimal-escape": '"\\x41"', "single-quote-escape": "\"\\'\"", "octal-escape": '"\\101"',
        "braced-escape": '"\\u{41}"', "upper-case-u-escape": '"\\U00000041"', "short-unicode-escape": '"\\u12"',
        "unicode-escape-of-no-digits": '"\\uZZZZ"', "unicode-escape-with-a-sign": '"\\u+041"',
        "escape-at-the-end": '"a\\"', "string-joined": '"a" "b"', "template-string": "`a`",
    }
    for name, value in values.items():
        texts[f"member-{name}"] = "{%s,\"x\":%s}" % (member, value)
    texts["raw-line-feed-in-a-name"] = "{%s,\"x\n\":1}" % member
    texts["bad-escape-in-a-name"] = "{%s,\"\\x61\":1}" % member
    encoded = {name: octets(text) for name, text in texts.items()}

    raw = {
        "byte-ff": b"\xff", "lone-continuation": b"\x80", "latin-1-letter": b"\xe9", "cut-sequence": b"\xe2\x82",
        "overlong-slash": b"\xc0\xaf", "overlong-nul": b"\xc0\x80", "overlong-in-three-bytes": b"\xe0\x80\xaf",
        "encoded-surrogate": b"\xed\xa0\x80", "surrogate-pair-in-six-bytes": b"\xed\xa0\xbd\xed\xb8\x80",
        "above-the-last-code-point": b"\xf4\x90\x80\x80", "five-byte-sequence": b"\xf8\x88\x80\x80\x80",
    }
    for name, bad in raw.items():
        encoded[f"utf-8-{name}-in-a-string"] = b'{%s,"x":"a%sb"}' % (octets(member), bad)
    encoded["utf-8-byte-ff-in-a-name"] = b'{%s,"x\xff":1}' % octets(member)
    encoded["utf-8-byte-ff-in-a-nested-string"] = b'{%s,"x":{"y":["\xff"]}}' % octets(member)
    encoded["utf-8-byte-ff-after-the-object"] = octets(whole) + b"\xff"
    encoded["utf-8-cut-sequence-after-the-object"] = octets(whole) + b"\xc3"
    encoded["utf-16"] = whole.encode("utf-16-le")
    encoded["utf-16-with-a-mark"] = b"\xff\xfe" + whole.encode("utf-16-le")
    encoded["utf-32"] = whole.encode("utf-32-be")
    encoded["utf-7"] = b"+AHs-" + octets(whole[1:])
    encoded["cbor"] = b"\xa1\x63sub\x65alice"
    encoded["message-pack"] = b"\x81\xa3sub\xa5alice"
    encoded["one-zero-byte"] = b"\0"
    return encoded


def objects():
    for name, text in no_objects('"alg":"HS256"').items():
        refuse(4, f"header-is-{name}", sign(header=text))
    for name, text in no_objects('"sub":"alice"').items():
        refuse(5, f"payload-is-{name}", sign(payload=text))
    refuse(4, "header-and-payload-not-json", sign("x", "y"))

    # Claims that decide nothing are not judged, as long as the whole is JSON.
    for name, payload in {
        "empty-object": "{}",
        "white-space-around": ' \t\r\n{"sub":"alice"}\n\n\t ',
        "white-space-everywhere": '{ \r\n\t"sub"\n:\t"alice" , "x" : [ 1 , { } , [ ] ] }',
        "every-escape": '{"sub":"\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\uD83D\\uDE00"}',
        "escaped-nul-in-a-string": '{"sub":"a\\u0000b"}',
        "escaped-nul-in-a-name": '{"\\u0000":1,"exp\\u0000":1}',
        "raw-del-and-line-separators": '{"x":"\x7f\u0085\u2028\u2029"}',
        "noncharacters": '{"x":"\ufffe\uffff\U0010ffff"}',
        "byte-order-mark-in-a-string": '{"x":"\ufeff"}',
        "non-ascii-names": '{"\u00e9":1,"\u65e5\u672c":2,"\U0001f600":3}',
        "empty-name": '{"":""}',
        "nested-64-deep": '{"x":' + "[" * 63 + "]" * 63 + "}",
        "nested-objects-64-deep": '{"x":' * 64 + "0" + "}" * 64,
        "1000-empty-arrays-side-by-side": '{"x":[%s]}' % ",".join(["[]"] * 1000),
        "300-members": "{%s}" % ",".join('"m%03d":%d' % (n, n) for n in range(300)),
        "string-of-5000-letters": '{"x":"%s"}' % ("x" * 5000),
        "string-of-900-escapes": '{"x":"%s"}' % ("\\u0041" * 900),
        "numbers-of-every-form": '{"x":[0,-0,0.0,-0.0,1,-1,1.5,-1.5e3,1E5,1e+5,1e-5,0e0,0E+0]}',
        "number-of-100-digits": '{"x":%s}' % ("9" * 100),
        "number-around-64-bits": '{"x":[18446744073709551615,18446744073709551616,-9223372036854775808,-9223372036854775809]}',
        "number-near-the-largest-double": '{"x":[1.7976931348623157e308,-1.7976931348623157e308]}',
        "number-below-the-smallest-double": '{"x":[5e-324,1e-400,-1e-99999]}',
        "sub-null": '{"sub":null}',
        "sub-integer": '{"sub":42}',
        "sub-float": '{"sub":4.5}',
        "sub-array": '{"sub":["alice"]}',
        "sub-object": '{"sub":{"id":1}}',
        "sub-empty": '{"sub":""}',
        "sub-with-a-line-break": '{"sub":"alice\\r\\nX-Admin: 1"}',
        "sub-of-5000-letters": '{"sub":"%s"}' % ("a" * 5000),
        "jti-number": '{"jti":1}',
        "jti-null": '{"jti":null}',
        "alg-none-as-a-claim": '{"sub":"alice","alg":"none"}',
        "crit-and-b64-as-claims": '{"sub":"alice","crit":["exp"],"b64":false}',
        "proto-claim": '{"__proto__":{"admin":true},"constructor":null}',
        "claims-in-another-case": '{"EXP":1,"Exp":"x","NBF":9e99,"Iat":null,"AUD":"x","Aud":[],"ISS":1}',
        "claims-with-spaces-in-their-names": '{"exp ":1," exp":1,"aud ":"x","nbf\\t":9e99}',
        "claims-only-nested": '{"x":{"exp":1,"nbf":9e99,"iat":"x","aud":"y","iss":3}}',
        "claims-named-with-a-cyrillic-letter": '{"\u0435xp":1,"\u0430ud":"x"}',
        "iss-number-and-no-issuer-configured": '{"iss":5}',
        "iss-string-and-no-issuer-configured": '{"iss":"https://anyone.example/"}',
    }.items():
        accept_claims(f"payload-{name}", payload)

    for depth in (65, 100, 127, 128, 129, 130, 256, 1024, 3000):
        either(f"payload-nested-{depth}-deep", sign(payload='{"x":' + "[" * (depth - 1) + "]" * (depth - 1) + "}"))
    either("payload-objects-nested-129-deep", sign(payload='{"x":' * 129 + "0" + "}" * 129))
    either("payload-objects-nested-900-deep", sign(payload='{"x":' * 900 + "0" + "}" * 900))
    for name, value in {
        "lone-high-surrogate": '"\\ud800"', "lone-low-surrogate": '"\\udc00"', "surrogates-in-the-wrong-order": '"\\ude00\\ud83d"',
        "high-surrogate-and-a-letter": '"\\ud83d\\u0041"',
    }.items():
        either(f"private-claim-with-{name}", sign(payload='{"sub":"alice","x":%s}' % value))
    for claim in ("private-claim", "sub", "scope", "jti"):
        for name, value in {
            "number-beyond-a-double": "1e400", "negative-number-beyond-a-double": "-1e400", "number-of-400-digits": "9" * 400,
            "number-of-5000-digits": "9" * 5000, "exponent-beyond-64-bits": "1e99999999999999999999",
        }.items():
            accept_claims(f"{claim}-with-{name}", '{"%s":%s}' % (claim, value))
    either("sub-with-a-lone-surrogate", sign(payload='{"sub":"\\ud800"}'))
    either("private-claim-twice", sign(payload='{"x":1,"x":2}'))
    either("private-claim-twice-by-an-escaped-name", sign(payload='{"x":1,"\\u0078":2}'))
    either("sub-twice", sign(payload='{"sub":"alice","sub":"root"}'))
    either("nested-claim-twice", sign(payload='{"x":{"y":1,"y":2}}'))


# --- Rule 6: exp, nbf and iat --------------------------------------------------------------------------------------

def times():
    for claim in ("exp", "nbf", "iat"):
        for name, value in {
            "string": f'"{NOW + 100}"', "empty-string": '""', "word": '"never"', "date-string": '"2099-01-01T00:00:00Z"',
            "null": "null", "true": "true", "false": "false", "array": f"[{NOW + 100}]", "empty-array": "[]",
            "object": '{"$numberLong":"4102444800"}', "empty-object": "{}", "string-of-infinity": '"Infinity"',
        }.items():
            refuse_claims(6, f"{claim}-is-{name}", '{"sub":"alice","%s":%s}' % (claim, value))
        for name, value in {"1e400": "1e400", "1e309": "1e309", "minus-1e400": "-1e400", "400-digits": "9" * 400,
                            "exponent-beyond-64-bits": "1e99999999999999999999"}.items():
            refuse_claims(6, f"{claim}-is-{name}", '{"sub":"alice","%s":%s}' % (claim, value))

    for name, value in {
        "this-second": NOW, "this-second-with-a-fraction-of-zero": f"{NOW}.000", "this-second-with-an-exponent": "1.7e9",
        "this-second-with-a-negative-exponent": f"{NOW}00e-2", "one-second-ago": NOW - 1, "a-fraction-of-a-second-ago": f"{NOW - 1}.999",
        "one": 1, "zero": 0, "minus-zero": "-0", "minus-one": -1, "minus-1e308": "-1e308", "1e-400": "1e-400", "one-half": 0.5,
        "minus-64-bits": -(1 << 63), "below-minus-64-bits": -(1 << 63) - 1, "1e9": "1e9",
    }.items():
        refuse_claims(6, f"exp-{name}", '{"exp":%s}' % value)
    for name, value in {
        "next-second": NOW + 1, "next-second-with-an-exponent": "1.700000001e9", "a-fraction-of-a-second-ahead": f"{NOW}.5",
        "a-thousandth-of-a-second-ahead": f"{NOW}.001", "in-2100": 4102444800, "in-2100-as-a-float": "4102444800.0",
        "in-2100-in-exponent-form": "4.1024448E+9", "in-2100-with-many-digits": "4102444800." + "0123456789" * 300,
        "2-to-the-31": 1 << 31, "2-to-the-32": 1 << 32, "last-second-of-9999": 253402300799, "first-second-of-10000": 253402300800,
        "first-second-of-10000-in-exponent-form": "2.534023008e11",
    }.items():
        accept_claims(f"exp-{name}", '{"exp":%s}' % value)
    for name, value in {
        "a-fraction-into-10000": "253402300800.5", "second-second-of-10000": 253402300801, "in-milliseconds": NOW * 1000,
        "in-milliseconds-ten-minutes-ago": (NOW - 600) * 1000, "in-microseconds": NOW * 1000000, "in-nanoseconds": NOW * 10**9,
        "2-to-the-53-and-one": (1 << 53) + 1, "largest-signed-64-bit": (1 << 63) - 1, "2-to-the-63": 1 << 63,
        "largest-unsigned-64-bit": (1 << 64) - 1, "2-to-the-64": 1 << 64, "of-100-digits": "9" * 100, "1e308": "1e308",
        "largest-double": "1.7976931348623157e308",
    }.items():
        refuse_claims(6, f"exp-{name}", '{"exp":%s}' % value)
    either("exp-less-than-a-microsecond-ahead", sign(payload='{"exp":%d.0000000001}' % NOW))
    refuse_claims(6, "exp-between-the-largest-double-and-infinity", '{"exp":1.7976931348623159e308}')

    for name, value in {
        "next-second": NOW + 1, "a-fraction-of-a-second-ahead": f"{NOW}.5", "in-2100": 4102444800, "in-milliseconds": NOW * 1000,
        "1e308": "1e308", "largest-unsigned-64-bit": (1 << 64) - 1, "2-to-the-64": 1 << 64, "in-exponent-form": "1.700000001e9",
    }.items():
        refuse_claims(6, f"nbf-{name}", '{"nbf":%s}' % value)
    for name, value in {
        "this-second": NOW, "this-second-with-an-exponent": "17e8", "one-second-ago": NOW - 1, "a-fraction-of-a-second-ago": f"{NOW - 1}.5",
        "zero": 0, "minus-zero": "-0.0", "minus-one": -1, "minus-1e308": "-1e308", "minus-64-bits": -(1 << 63), "1e-400": "1e-400",
        "zero-with-a-huge-exponent": "0e99999",
    }.items():
        accept_claims(f"nbf-{name}", '{"nbf":%s}' % value)
    for name, value in {
        "in-the-future": NOW + 1000, "in-2100": 4102444800, "zero": 0, "minus-one": -1, "with-a-fraction": "1700000000.123456", "1e308": "1e308",
        "after-exp": f'{NOW + 100},"exp":{NOW + 10}', "2-to-the-64": 1 << 64, "in-milliseconds": NOW * 1000,
    }.items():
        accept_claims(f"iat-{name}", '{"iat":%s}' % value)

    # now, leeway and the two borders: [nbf - leeway, exp + leeway)
    for leeway in (0, 1, 60, 300):
        options = {"leeway": leeway}
        exp, nbf = '{"exp":%d}' % NOW, '{"nbf":%d}' % NOW
        accept_claims(f"last-second-with-leeway-{leeway}", exp, now=NOW + leeway - 1, **options)
        refuse_claims(6, f"first-second-after-expiry-with-leeway-{leeway}", exp, now=NOW + leeway, **options)
        accept_claims(f"first-second-with-leeway-{leeway}", nbf, now=NOW - leeway, **options)
        refuse_claims(6, f"last-second-before-nbf-with-leeway-{leeway}", nbf, now=NOW - leeway - 1, **options)
    accept_claims("exp-fraction-within-leeway", '{"exp":%d.5}' % NOW, now=NOW + 300, leeway=300)
    refuse_claims(6, "exp-fraction-beyond-leeway", '{"exp":%d.5}' % NOW, now=NOW + 301, leeway=300)
    refuse_claims(6, "nbf-fraction-beyond-leeway", '{"nbf":%d.5}' % NOW, now=NOW - 300, leeway=300)
    accept_claims("nbf-fraction-within-leeway", '{"nbf":%d.5}' % NOW, now=NOW - 299, leeway=300)
    refuse_claims(6, "largest-signed-64-bit-exp-with-leeway", '{"exp":%d}' % ((1 << 63) - 1), leeway=300)
    refuse_claims(6, "largest-unsigned-64-bit-exp-with-leeway", '{"exp":%d}' % ((1 << 64) - 1), leeway=300)
    refuse_claims(6, "largest-double-exp-with-leeway", '{"exp":1.7976931348623157e308}', leeway=300)
    accept_claims("smallest-signed-64-bit-nbf-with-leeway", '{"nbf":%d}' % -(1 << 63), leeway=300)
    refuse_claims(6, "smallest-signed-64-bit-exp-with-leeway", '{"exp":%d}' % -(1 << 63), leeway=300)
    refuse_claims(6, "largest-unsigned-64-bit-nbf-with-leeway", '{"nbf":%d}' % ((1 << 64) - 1), leeway=300)
    refuse_claims(6, "leeway-does-not-excuse-a-string", '{"exp":"%d"}' % (NOW + 100), leeway=300)
    refuse_claims(6, "leeway-does-not-excuse-null", '{"nbf":null}', leeway=300)

    accept_claims("all-three-times-in-order", '{"iat":%d,"nbf":%d,"exp":%d}' % (NOW - 10, NOW - 5, NOW + 5))
    refuse_claims(6, "nbf-after-exp", '{"nbf":%d,"exp":%d}' % (NOW + 10, NOW + 5))
    refuse_claims(6, "exp-before-nbf-both-past", '{"nbf":%d,"exp":%d}' % (NOW - 5, NOW - 10))
    refuse_claims(6, "empty-window", '{"nbf":%d,"exp":%d}' % (NOW, NOW))
    accept_claims("window-of-one-second", '{"nbf":%d,"exp":%d}' % (NOW, NOW + 1))
    accept_claims("contradicting-window-inside-leeway", '{"nbf":%d,"exp":%d}' % (NOW + 10, NOW - 10), leeway=60)
    refuse_claims(6, "good-exp-bad-iat", '{"exp":%d,"iat":"%d"}' % (NOW + 100, NOW))
    refuse_claims(6, "good-exp-bad-nbf", '{"exp":%d,"nbf":null}' % (NOW + 100))
    accept_claims("clock-at-the-epoch", '{"exp":1,"nbf":0}', now=0)
    refuse_claims(6, "clock-at-the-epoch-exp-zero", '{"exp":0}', now=0)
    refuse_claims(6, "clock-at-the-epoch-leeway-below-it", '{"nbf":301}', now=0, leeway=300)
    accept_claims("clock-at-the-epoch-leeway-reaches", '{"nbf":300}', now=0, leeway=300)

    needs = {"require_exp": True}
    accept_claims("exp-required-and-there", '{"exp":%d}' % (NOW + 1), **needs)
    accept_claims("exp-required-and-there-by-an-escaped-name", '{"\\u0065xp":%d}' % (NOW + 1), **needs)
    refuse_claims(6, "exp-required-and-missing", CLAIMS, **needs)
    refuse_claims(6, "exp-required-and-object-empty", "{}", **needs)
    refuse_claims(6, "exp-required-and-null", '{"exp":null}', **needs)
    refuse_claims(6, "exp-required-and-a-string", '{"exp":"4102444800"}', **needs)
    refuse_claims(6, "exp-required-and-only-nested", '{"x":{"exp":4102444800}}', **needs)
    refuse_claims(6, "exp-required-and-in-another-case", '{"EXP":4102444800}', **needs)
    refuse(6, "exp-required-and-only-in-the-header", sign('{"alg":"HS256","exp":4102444800}'), **needs)
    refuse_claims(6, "exp-required-and-expired", '{"exp":%d}' % NOW, **needs)

    refuse_claims(6, "exp-name-escaped-and-expired", '{"\\u0065\\u0078\\u0070":1}')
    refuse_claims(6, "nbf-name-escaped-and-in-the-future", '{"n\\u0062f":4102444800}')
    good, bad = NOW + 100, NOW - 100
    refuse_claims(6, "exp-twice-expired-last", '{"exp":%d,"exp":%d}' % (good, bad), also=5)
    refuse_claims(6, "exp-twice-null-last", '{"exp":%d,"exp":null}' % good, also=5)
    refuse_claims(6, "exp-twice-string-last", '{"exp":%d,"exp":"%d"}' % (good, good), also=5)
    refuse_claims(6, "exp-twice-expired-last-by-an-escaped-name", '{"exp":%d,"e\\u0078p":%d}' % (good, bad), also=5)
    refuse_claims(6, "exp-twice-expired-last-after-an-escaped-name", '{"ex\\u0070":%d,"exp":%d}' % (good, bad), also=5)
    refuse_claims(6, "exp-three-times-expired-last", '{"exp":%d,"sub":"alice","exp":%d,"exp":%d}' % (good, good, bad), also=5)
    refuse_claims(6, "exp-twice-both-expired", '{"exp":%d,"exp":%d}' % (bad, bad - 1), also=5)
    refuse_claims(6, "nbf-twice-future-last", '{"nbf":%d,"nbf":%d}' % (bad, good), also=5)
    refuse_claims(6, "iat-twice-string-last", '{"iat":%d,"iat":"x"}' % bad, also=5)
    either("exp-twice-the-same", sign(payload='{"exp":%d,"exp":%d}' % (good, good)))
    either("exp-twice-expired-first", sign(payload='{"exp":%d,"exp":%d}' % (bad, good)))
    either("exp-twice-string-first", sign(payload='{"exp":"x","exp":%d}' % good))
    either("exp-twice-expired-first-then-an-escaped-name", sign(payload='{"exp":%d,"\\u0065xp":%d}' % (bad, good)))
    either("nbf-twice-future-first", sign(payload='{"nbf":%d,"nbf":%d}' % (good, bad)))


# --- Rule 7: iss and aud -------------------------------------------------------------------------------------------

def issuers():
    configured = {"issuer": ISSUER}
    for name, value in {
        "equal": f'"{ISSUER}"',
        "equal-with-escaped-slashes": '"https:\\/\\/issuer.example\\/"',
        "equal-with-unicode-escapes": '"\\u0068ttps\\u003a//issuer.example\\u002F"',
    }.items():
        accept_claims(f"iss-{name}", '{"iss":%s}' % value, **configured)
    accept_claims("iss-name-escaped", '{"\\u0069ss":"%s"}' % ISSUER, **configured)
    accept_claims("iss-non-ascii-equal", '{"iss":"\u00e9\U0001f600"}', issuer="\u00e9\U0001f600")
    accept_claims("iss-non-ascii-equal-by-escapes", '{"iss":"\\u00e9\\ud83d\\ude00"}', issuer="\u00e9\U0001f600")
    accept_claims("iss-equal-among-much-else", '{"a":[{"iss":"x"}],"iss":"%s","z":{"iss":null}}' % ISSUER, **configured)

    for name, value in {
        "null": "null", "number": "5", "array": "[[]]", "object": "{}", "number-beyond-a-double": "1e400",
        "number-of-400-digits": "9" * 400,
    }.items():
        accept_claims(f"no-issuer-configured-and-iss-{name}", '{"iss":%s}' % value)
    for name, value in {
        "null": "null", "true": "true", "number": "5", "array": f'["{ISSUER}"]', "object": '{"%s":1}' % ISSUER, "empty": '""',
        "prefix": f'"{ISSUER[:-1]}"', "longer": f'"{ISSUER}x"', "with-another-slash": f'"{ISSUER}/"', "first-letter": '"h"',
        "upper-case": f'"{ISSUER.upper()}"', "upper-case-host": '"https://ISSUER.example/"', "http": '"http://issuer.example/"',
        "subdomain": '"https://evil.issuer.example/"', "with-a-port": '"https://issuer.example:443/"',
        "space-before": f'" {ISSUER}"', "space-after": f'"{ISSUER} "', "line-feed-after": f'"{ISSUER}\\n"', "nul-after": f'"{ISSUER}\\u0000"',
        "nul-and-more-after": f'"{ISSUER}\\u0000.evil.example"', "percent-encoded": '"https%3A//issuer.example/"',
        "lone-surrogate-after": f'"{ISSUER}\\ud800"', "cyrillic-letter": '"https://\u0456ssuer.example/"', "list-in-a-string": f'"{ISSUER},x"',
        "escaped-twice": '"\\\\u0068ttps://issuer.example/"', "number-beyond-a-double": "1e400",
    }.items():
        also = 5 if name == "lone-surrogate-after" else None
        refuse_claims(7, f"iss-{name}", '{"iss":%s}' % value, also=also, **configured)
    refuse_claims(7, "iss-missing", CLAIMS, **configured)
    refuse_claims(7, "iss-only-nested", '{"x":{"iss":"%s"}}' % ISSUER, **configured)
    refuse_claims(7, "iss-in-another-case", '{"ISS":"%s","Iss":"%s"}' % (ISSUER, ISSUER), **configured)
    refuse(7, "iss-only-in-the-header", sign('{"alg":"HS256","iss":"%s"}' % ISSUER), **configured)
    refuse_claims(7, "iss-composed-for-decomposed", '{"iss":"\u00e9"}', issuer="e\u0301")
    refuse_claims(7, "iss-twice-wrong-last", '{"iss":"%s","iss":"x"}' % ISSUER, also=5, **configured)
    refuse_claims(7, "iss-twice-null-last", '{"iss":"%s","iss":null}' % ISSUER, also=5, **configured)
    refuse_claims(7, "iss-twice-wrong-last-by-an-escaped-name", '{"iss":"%s","is\\u0073":"x"}' % ISSUER, also=5, **configured)
    either("iss-twice-wrong-first", sign(payload='{"iss":"x","iss":"%s"}' % ISSUER), **configured)
    either("iss-twice-number-first", sign(payload='{"iss":5,"iss":"%s"}' % ISSUER), **configured)


def audiences():
    configured = {"audience": AUDIENCE}
    equal = f'"{AUDIENCE}"'
    for name, value in {
        "equal": equal,
        "equal-by-escapes": '"\\u0068ttps:\\/\\/api.example"',
        "array-of-one": f"[{equal}]",
        "array-first": f'[{equal},"x","y"]',
        "array-last": f'["x","y",{equal}]',
        "array-middle-with-white-space": f'[ "x" , {equal}\n, "" ]',
        "array-by-escapes": '["x","https:\\/\\/api\\u002eexample"]',
        "array-of-the-same-twice": f"[{equal},{equal}]",
        "array-with-its-prefix": f'["https://api",{equal}]',
        "array-of-1000": "[%s%s]" % ('"x",' * 1000, equal),
        "array-with-an-empty-string": f'["",{equal}]',
    }.items():
        accept_claims(f"aud-{name}", '{"aud":%s}' % value, **configured)
    accept_claims("aud-name-escaped", '{"\\u0061ud":%s}' % equal, **configured)
    accept_claims("aud-non-ascii-equal", '{"aud":["x","\u00e9"]}', audience="\u00e9")

    for name, value in {
        "null": "null", "true": "true", "number": "5", "empty-string": '""', "object": '{%s:1}' % equal, "object-with-a-zero": '{"0":%s}' % equal,
        "prefix": f'"{AUDIENCE[:-1]}"', "longer": f'"{AUDIENCE}x"', "with-a-slash": f'"{AUDIENCE}/"', "upper-case": f'"{AUDIENCE.upper()}"',
        "space-after": f'"{AUDIENCE} "', "nul-after": f'"{AUDIENCE}\\u0000"', "list-by-commas": f'"{AUDIENCE},x"', "list-by-spaces": f'"x {AUDIENCE}"',
        "json-in-a-string": json.dumps(f"[{equal}]"), "wildcard": '"*"', "regular-expression": '".*"',
        "array-empty": "[]", "array-of-others": '["x","y"]', "array-of-prefixes": '["https://api","https://api.exampl"]',
        "array-nested": f"[[{equal}]]", "array-nested-beside": f'["x",[{equal}]]', "array-of-objects": '[{"aud":%s}]' % equal, "array-of-null": "[null]",
        "array-with-a-number-first": f"[5,{equal}]", "array-with-a-number-last": f"[{equal},5]", "array-with-null": f"[{equal},null]",
        "array-with-true": f"[true,{equal}]", "array-with-an-array": f"[{equal},[]]", "array-with-an-object": f"[{equal},{{}}]",
        "array-with-a-nested-match-too": f"[{equal},[{equal}]]", "array-of-wildcards": '["*"]', "array-split": '["https://api",".example"]',
    }.items():
        refuse_claims(7, f"aud-{name}", '{"aud":%s}' % value, **configured)
    refuse_claims(7, "aud-missing", CLAIMS, **configured)
    refuse_claims(7, "aud-only-nested", '{"x":{"aud":%s}}' % equal, **configured)
    refuse_claims(7, "aud-in-another-case", '{"AUD":%s,"Aud":%s}' % (equal, equal), **configured)
    refuse(7, "aud-only-in-the-header", sign('{"alg":"HS256","aud":%s}' % equal), **configured)
    refuse_claims(7, "aud-in-azp", '{"azp":%s,"client_id":%s}' % (equal, equal), **configured)
    refuse_claims(7, "aud-twice-wrong-last", '{"aud":%s,"aud":"x"}' % equal, also=5, **configured)
    refuse_claims(7, "aud-twice-null-last", '{"aud":%s,"aud":null}' % equal, also=5, **configured)
    refuse_claims(7, "aud-twice-array-of-others-last", '{"aud":[%s],"a\\u0075d":["x"]}' % equal, also=5, **configured)
    either("aud-twice-wrong-first", sign(payload='{"aud":"x","aud":%s}' % equal), **configured)
    either("aud-twice-number-first", sign(payload='{"aud":5,"aud":[%s]}' % equal), **configured)

    # Without an audience of one's own every token that names one is meant for another service.
    for name, value in {
        "string": equal, "empty-string": '""', "array": f"[{equal}]", "array-of-two": '["x","y"]', "empty-array": "[]",
        "number": "5", "object": "{}", "false": "false", "number-beyond-a-double": "1e400", "array-of-null": "[null]",
    }.items():
        refuse_claims(7, f"no-audience-configured-and-aud-{name}", '{"sub":"alice","aud":%s}' % value)
    refuse_claims(7, "no-audience-configured-and-aud-name-escaped", '{"\\u0061\\u0075\\u0064":"x"}')
    accept_claims("no-audience-configured-and-aud-null", '{"sub":"alice","aud":null}')
    accept_claims("no-audience-configured-and-aud-twice-null-last", '{"aud":%s,"aud":null}' % equal)
    refuse_claims(7, "no-audience-configured-and-issuer-right", '{"iss":"%s","aud":"x"}' % ISSUER, issuer=ISSUER)

    both = {"issuer": ISSUER, "audience": AUDIENCE}
    accept_claims("iss-and-aud-right", '{"iss":"%s","aud":"%s"}' % (ISSUER, AUDIENCE), **both)
    accept_claims("iss-and-aud-and-times-right", '{"aud":["%s"],"exp":%d,"iat":0,"nbf":0,"iss":"%s"}' % (AUDIENCE, NOW + 1, ISSUER),
                  require_exp=True, leeway=60, **both)
    refuse_claims(7, "iss-right-aud-wrong", '{"iss":"%s","aud":"x"}' % ISSUER, **both)
    refuse_claims(7, "iss-wrong-aud-right", '{"iss":"x","aud":"%s"}' % AUDIENCE, **both)
    refuse_claims(7, "iss-and-aud-swapped", '{"iss":"%s","aud":"%s"}' % (AUDIENCE, ISSUER), **both)
    refuse_claims(6, "iss-and-aud-right-and-expired", '{"iss":"%s","aud":"%s","exp":1}' % (ISSUER, AUDIENCE), **both)
    refuse_claims(6, "iss-and-aud-wrong-and-expired", '{"iss":"x","aud":"x","exp":1}', **both)


# --- Checking and writing ------------------------------------------------------------------------------------------

def hold_to_the_reference():
    for row in rows:
        options = {key: row[key] for key in ("issuer", "audience", "leeway", "require_exp") if key in row}
        try:
            verify(row["token"], SECRET, row["now"], **options)
            outcome, agrees = "accept", row["verdict"] == "accept"
        except Refused as refused:
            outcome, agrees = str(refused), row["verdict"] == "refuse" and refused.rule in row["rules"]
        if row["verdict"] != "either" and not agrees:
            raise AssertionError((row["name"], row["verdict"], row["rules"], outcome))


def main():
    for section in (size_and_parts, base64url, macs, headers, objects, times, issuers, audiences):
        section()
    names = [row["name"] for row in rows]
    assert len(names) == len(set(names)), sorted(name for name in names if names.count(name) > 1)
    hold_to_the_reference()
    lines = ",\n".join("    " + json.dumps({key: value for key, value in row.items() if value is not None}) for row in rows)
    text = '{\n  "secret": "%s",\n  "tokens": [\n%s\n  ]\n}\n' % (b64(SECRET), lines)
    if sys.argv[1:] == ["--check"]:
        if OUTPUT.read_text("utf-8") != text:
            sys.exit("attacks.json is not what attacks.py writes")
    else:
        OUTPUT.write_text(text, "utf-8")
    counts = {verdict: sum(row["verdict"] == verdict for row in rows) for verdict in ("refuse", "accept", "either")}
    print(", ".join(f"{count} {verdict}" for verdict, count in counts.items()))


if __name__ == "__main__":
    main()
