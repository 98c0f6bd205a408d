//! How a request carries a token, and how one is rejected: RFC 6750 and RFC 9110 §11.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use resource_server::auth::Challenge;
use resource_server::jwt::{Error, Key, NoUser};
use sha2::Sha256;

use crate::harness::{Client, Response, SECRET, Server, good_token, now, token};

/// `GET path` with these bytes among the fields.
fn get(client: &mut Client, path: &str, fields: &[u8]) -> Response {
    client.send(
        [
            b"GET ",
            path.as_bytes(),
            b" HTTP/1.1\r\nHost: test\r\n",
            fields,
            b"\r\n",
        ]
        .concat(),
    );
    client.response()
}

/// Asserts that both protected paths respond with this challenge.
fn assert_rejected(client: &mut Client, fields: &[u8], challenge: Challenge) {
    let shown = String::from_utf8_lossy(fields).into_owned();
    let secret = get(client, "/resource/secret", fields);
    assert_eq!(secret.status, 401, "{shown}{secret:?}");
    assert_eq!(secret.code().as_deref(), Some(challenge.code()), "{shown}");
    assert_eq!(
        secret.message().as_deref(),
        Some(challenge.message()),
        "{shown}"
    );
    assert_eq!(secret.field("content-type"), Some("application/json"));
    let expected = match challenge.error() {
        None => r#"Bearer realm="resource-server""#.to_owned(),
        Some(error) => format!(
            r#"Bearer realm="resource-server", error="{error}", error_description="{}""#,
            challenge.message()
        ),
    };
    assert_eq!(secret.field("www-authenticate"), Some(expected.as_str()));
    assert_eq!(secret.field("cache-control"), Some("no-store"));

    let auth = get(client, "/auth", fields);
    assert_eq!(auth.status, 401, "{shown}");
    assert_eq!(
        auth.fields(),
        [
            ("cache-control", "no-store"),
            ("content-length", "0"),
            ("www-authenticate", expected.as_str())
        ]
    );
}

fn assert_accepted(client: &mut Client, fields: &[u8]) {
    let shown = String::from_utf8_lossy(fields);
    let secret = get(client, "/resource/secret", fields);
    assert_eq!(secret.status, 200, "{shown}{secret:?}");
    let auth = get(client, "/auth", fields);
    assert_eq!(auth.status, 200, "{shown}{auth:?}");
}

/// A field `Authorization` with this value, as bytes.
fn authorization(value: impl AsRef<[u8]>) -> Vec<u8> {
    [b"Authorization:", value.as_ref(), b"\r\n"].concat()
}

#[test]
fn request_without_credentials_gets_a_bare_challenge() {
    let server = Server::start();
    let mut client = server.connect();
    for fields in [
        Vec::new(),
        authorization(""),
        authorization(" "),
        authorization(" \t "),
    ] {
        assert_rejected(&mut client, &fields, Challenge::CredentialsRequired);
    }
}

#[test]
fn credentials_of_another_scheme_or_of_none_are_reported_as_present() {
    let server = Server::start();
    let mut client = server.connect();
    let good = good_token();
    for value in [
        "Basic YWxpY2U6c2VjcmV0".to_owned(),
        "Basic".to_owned(),
        format!("Digest {good}"),
        format!("Token {good}"),
        format!("token {good}"),
        format!("JWT {good}"),
        format!("DPoP {good}"),
        good.clone(),
        format!("Beare {good}"),
        format!("Bearers {good}"),
        format!("Bearer: {good}"),
        format!("Bearer:{good}"),
        format!("Bearer={good}"),
        format!("Bearer, {good}"),
        format!("\"Bearer\" {good}"),
        format!("\"Bearer {good}\""),
        format!("'Bearer {good}'"),
        format!("Bearer{good}"),
        format!("Authorization: Bearer {good}"),
        format!("Basic YQ==, Bearer {good}"),
        format!("{good} Bearer"),
        "{{token}}".to_owned(),
        "undefined".to_owned(),
    ] {
        for space in ["", " ", " \t"] {
            let fields = authorization(format!("{space}{value}{space}"));
            assert_rejected(&mut client, &fields, Challenge::NotBearer);
        }
    }
}

#[test]
fn another_scheme_has_the_code_and_the_first_words_of_no_credentials() {
    let server = Server::start();
    let none = server.get("/resource/secret", &[]);
    let other = server.get("/resource/secret", &["Authorization: JWT a.b.c"]);
    assert_eq!(other.code(), none.code());
    let none = none.message().expect("a message");
    let other = other.message().expect("a message");
    let rest = other.strip_prefix(&none).expect("the same words first");
    assert!(
        rest.contains("present") && rest.contains("not Bearer"),
        "{other}"
    );
}

#[test]
fn byte_outside_printable_ascii_is_an_invalid_request_wherever_it_stands() {
    let server = Server::start();
    let mut client = server.connect();
    let good = good_token();
    let (head, tail) = good.split_at(good.len() / 2);
    for odd in [
        "\u{2026}".as_bytes(),
        "\u{a0}".as_bytes(),
        "\u{200b}".as_bytes(),
        "\u{feff}".as_bytes(),
        "\u{201c}".as_bytes(),
        "\u{e9}".as_bytes(),
        "\u{1f600}".as_bytes(),
        // Not UTF-8: a no-break space of Latin-1, and bytes that are in no encoding.
        b"\xa0",
        b"\x80",
        b"\xff",
        b"\xed\xa0\x80",
        // Not white space around the value.
        b"\t",
    ] {
        for (before, after) in [
            (" Bea", format!("rer {good}")),
            (" Bearer", good.clone()),
            (" Bearer", format!(" {good}")),
            (" Bearer ", good.clone()),
            (&*format!(" Bearer {head}"), tail.to_owned()),
            (&*format!(" Bearer {good}"), " x".to_owned()),
            (" Basic", " x".to_owned()),
            (" Basic ", "x".to_owned()),
            (" ", String::from("x")),
        ] {
            let value = [before.as_bytes(), odd, after.as_bytes()].concat();
            // A tab before everything is white space around the value.
            if odd != b"\t" || !before.trim().is_empty() {
                assert_rejected(&mut client, &authorization(value), Challenge::NotPrintable);
            }
        }
    }
}

#[test]
fn delete_and_other_control_characters_are_rejected_with_the_request() {
    let server = Server::start();
    for byte in [b"\x7f".as_slice(), b"\x01", b"\x1f", b"\0", b"\x0c"] {
        let value = [b" Bearer ", byte, good_token().as_bytes()].concat();
        let response = get(&mut server.connect(), "/auth", &authorization(value));
        assert_eq!(response.status, 400, "{byte:?}");
    }
}

#[test]
fn credentials_required_has_the_documented_message() {
    let response = Server::start().get("/resource/secret", &[]);
    assert_eq!(response.code().as_deref(), Some("credentials_required"));
    assert_eq!(
        response.message().as_deref(),
        Some("No authorization token was found")
    );
}

#[test]
fn scheme_is_compared_without_case() {
    let server = Server::start();
    let mut client = server.connect();
    let good = good_token();
    for scheme in ["Bearer", "bearer", "BEARER", "bEaReR"] {
        assert_accepted(&mut client, &authorization(format!(" {scheme} {good}")));
        for name in ["authorization", "AUTHORIZATION"] {
            let field = format!("{name}: {scheme} {good}\r\n");
            assert_accepted(&mut client, field.as_bytes());
        }
    }
}

#[test]
fn spaces_before_the_token_and_white_space_around_the_value_are_skipped() {
    let server = Server::start();
    let mut client = server.connect();
    let good = good_token();
    for value in [
        format!("Bearer {good}"),
        format!(" Bearer  {good}"),
        format!(" Bearer{}{good}", " ".repeat(300)),
        format!("   Bearer {good}   "),
        format!("\tBearer {good}\t"),
        format!(" \t Bearer   {good} \t "),
    ] {
        assert_accepted(&mut client, &authorization(value));
    }
}

#[test]
fn bearer_with_nothing_after_it_is_an_invalid_request() {
    let server = Server::start();
    let mut client = server.connect();
    for value in [
        "Bearer",
        " Bearer",
        " Bearer ",
        " bearer\t",
        " BEARER    ",
        " Bearer \t ",
    ] {
        assert_rejected(&mut client, &authorization(value), Challenge::NoToken);
    }
}

/// More than one word is reported before the characters of a word.
#[test]
fn bearer_with_more_than_one_word_is_an_invalid_request() {
    let server = Server::start();
    let mut client = server.connect();
    let good = good_token();
    for value in [
        format!(" Bearer {good} {good}"),
        format!(" Bearer {good} x"),
        format!(" Bearer x {good}"),
        format!(" Bearer Bearer {good}"),
        format!(" Bearer  {good}   x "),
        " Bearer a b c".to_owned(),
        " Bearer {{ token }}".to_owned(),
        " Bearer <your token>".to_owned(),
        format!(" Bearer {good}, Basic YQ=="),
        format!(" Bearer {good} ,"),
        format!(" Bearer \"{good}\" !"),
        format!(" Bearer {} x", "a".repeat(9000)),
    ] {
        assert_rejected(&mut client, &authorization(value), Challenge::SeveralWords);
    }
}

#[test]
fn bearer_with_a_character_that_no_token_has_is_an_invalid_request() {
    let server = Server::start();
    let mut client = server.connect();
    let good = good_token();
    for value in [
        format!(" Bearer {good},"),
        format!(" Bearer ,{good}"),
        " Bearer x,y".to_owned(),
        format!(" Bearer token=\"{good}\""),
        format!(" Bearer \"{good}\""),
        format!(" Bearer '{good}'"),
        format!(" Bearer {good};"),
        format!(" Bearer <{good}>"),
        format!(" Bearer {good}%20"),
        format!(" Bearer {good}\\n"),
        " Bearer {{token}}".to_owned(),
        " Bearer ${TOKEN}".to_owned(),
        " Bearer $TOKEN".to_owned(),
        " Bearer [object".to_owned() + "]",
        " Bearer <x>".to_owned(),
        " Bearer {}".to_owned(),
        " Bearer a.b.c!".to_owned(),
        format!(" Bearer {}!", "a".repeat(9000)),
    ] {
        assert_rejected(
            &mut client,
            &authorization(value),
            Challenge::ForeignCharacter,
        );
    }
    for byte in
        (0x21..=0x7e_u8).filter(|byte| !byte.is_ascii_alphanumeric() && !b"-._~+/=".contains(byte))
    {
        for value in [
            [b" Bearer ", good.as_bytes(), &[byte]].concat(),
            [b" Bearer ".as_slice(), &[byte], good.as_bytes()].concat(),
            [b" Bearer ".as_slice(), &[byte]].concat(),
        ] {
            assert_rejected(
                &mut client,
                &authorization(value),
                Challenge::ForeignCharacter,
            );
        }
    }
}

#[test]
fn word_in_token_characters_is_rejected_for_the_token_rule_it_breaks() {
    let server = Server::start();
    let mut client = server.connect();
    let good = good_token();
    let (signing_input, signature) = good.rsplit_once('.').expect("a signature");
    let (header, payload) = signing_input.split_once('.').expect("a payload");
    let of_another_algorithm =
        |bytes: usize| format!("{signing_input}.{}", URL_SAFE_NO_PAD.encode(vec![7; bytes]));
    for (word, error) in [
        ("a".to_owned(), Error::NotAJwt),
        ("2YotnFZFEjr1zCsicMWpAA".to_owned(), Error::NotAJwt),
        ("YWxpY2U6c2VjcmV0==".to_owned(), Error::NotAJwt),
        ("=".to_owned(), Error::NotAJwt),
        ("a=b".to_owned(), Error::NotAJwt),
        ("undefined".to_owned(), Error::NotAJwt),
        ("-._~+/".to_owned(), Error::NotThreeParts),
        (format!("{good}.{signature}"), Error::NotThreeParts),
        (format!("{header}..AAAA.AAAA.AAAA"), Error::Encrypted),
        ("a".repeat(8193), Error::TooLong),
        ("a.b.c".to_owned(), Error::NotHs256Signature),
        (format!("{signing_input}."), Error::NotHs256Signature),
        // EdDSA, ES256 and HS512; HS384; RS256.
        (of_another_algorithm(64), Error::NotHs256Signature),
        (of_another_algorithm(48), Error::NotHs256Signature),
        (of_another_algorithm(256), Error::NotHs256Signature),
        (good[..good.len() - 1].to_owned(), Error::NotHs256Signature),
        (format!("{good}="), Error::Padding),
        (
            format!("{header}==.{payload}=.{signature}="),
            Error::Padding,
        ),
        (format!("{header}.{payload}=.{signature}"), Error::Padding),
        (sign_input(&format!("{header}.e30=")), Error::Padding),
        (sign_input("eyJhbGciOiJIUzI1NiJ~.e30"), Error::NotBase64url),
        (sign_input("eyJhbGciOiJIUzI1NiJ9.e3+"), Error::NotBase64url),
        (sign_input("eyJhbGciOiJIUzI1NiJ9.e/0"), Error::NotBase64url),
        (format!("{good}~"), Error::NotBase64url),
    ] {
        let fields = authorization(format!(" Bearer {word}"));
        assert_rejected(&mut client, &fields, Challenge::InvalidToken(error));
    }
}

/// The order in which the causes of a field are reported.
#[test]
fn field_with_several_faults_is_rejected_for_the_first() {
    let server = Server::start();
    let mut client = server.connect();
    for (fields, challenge) in [
        (
            [authorization(" \u{e9}"), authorization(" Bearer")].concat(),
            Challenge::TwoFields,
        ),
        (
            authorization(" Basic {\u{2026}} x"),
            Challenge::NotPrintable,
        ),
        (
            authorization(" Bearer \u{2026} {x}"),
            Challenge::NotPrintable,
        ),
        (authorization(" Basic {x} y"), Challenge::NotBearer),
        (authorization(" Bearer {x} y"), Challenge::SeveralWords),
        (
            authorization(format!(" Bearer {{{}", "a".repeat(8193))),
            Challenge::ForeignCharacter,
        ),
    ] {
        assert_rejected(&mut client, &fields, challenge);
    }
}

/// A token of this signing input, encoded or not, with the right MAC: no rule but one on the form
/// can reject it.
fn sign_input(signing_input: &str) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes())
        .expect("a secret")
        .chain_update(signing_input)
        .finalize()
        .into_bytes();
    format!("{signing_input}.{}", URL_SAFE_NO_PAD.encode(mac))
}

#[test]
fn two_authorization_fields_are_an_invalid_request() {
    let server = Server::start();
    let mut client = server.connect();
    let good = authorization(format!(" Bearer {}", good_token()));
    for other in [
        good.clone(),
        authorization(""),
        authorization(" Basic YQ=="),
        authorization(" \u{e9}"),
        authorization(" Bearer a.b.c"),
    ] {
        for fields in [
            [good.clone(), other.clone()].concat(),
            [other.clone(), good.clone()].concat(),
            [other, b"X: y\r\n".to_vec(), good.clone()].concat(),
        ] {
            assert_rejected(&mut client, &fields, Challenge::TwoFields);
        }
    }
    let none_good = [authorization(" Basic YQ=="), authorization(" Basic YQ==")].concat();
    assert_rejected(&mut client, &none_good, Challenge::TwoFields);
}

/// RFC 6750 §2.2 and §2.3 are optional, and tokens in addresses end up in logs.
#[test]
fn token_anywhere_but_in_authorization_is_ignored() {
    let server = Server::start();
    let good = good_token();
    for path in ["/resource/secret", "/auth"] {
        for query in ["access_token", "token", "authorization", "bearer"] {
            let response = server.get(&format!("{path}?{query}={good}"), &[]);
            assert_eq!(response.status, 401, "{query}");
        }
        for field in [
            format!("Cookie: access_token={good}; token={good}; Authorization=Bearer {good}"),
            format!("Proxy-Authorization: Bearer {good}"),
            format!("X-Authorization: Bearer {good}"),
            format!("X-Forwarded-Access-Token: {good}"),
            format!("X-Auth-Request-Access-Token: {good}"),
            format!("WWW-Authenticate: Bearer {good}"),
        ] {
            let response = server.get(path, &[&field]);
            assert_eq!(response.status, 401, "{field}");
            assert_eq!(
                response.field("www-authenticate"),
                Some(r#"Bearer realm="resource-server""#)
            );
        }
        for method in ["GET", "POST"] {
            let content = format!("access_token={good}");
            let mut client = server.connect();
            client.send(format!(
                "{method} {path} HTTP/1.1\r\nHost: test\r\n\
                 Content-Type: application/x-www-form-urlencoded\r\n\
                 Content-Length: {}\r\n\r\n{content}",
                content.len()
            ));
            let status = client.response().status;
            let is_rejected = method == "GET" || path == "/auth";
            assert_eq!(status, if is_rejected { 401 } else { 405 });
        }
    }
}

/// RFC 9112 §6.5.1: fields after the content are not fields of the request.
#[test]
fn token_in_a_trailer_is_ignored() {
    let server = Server::start();
    let mut client = server.connect();
    client.send(format!(
        "GET /resource/secret HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\
         Trailer: Authorization\r\n\r\n0\r\nAuthorization: Bearer {}\r\n\r\n",
        good_token()
    ));
    assert_eq!(client.response().status, 401);
}

/// One request for each challenge there is, a server for those that need other variables.
struct Refusal {
    challenge: Challenge,
    variables: &'static [(&'static str, &'static str)],
    path: &'static str,
    fields: Vec<u8>,
}

/// What no response may repeat: it stands in every part of every token of [`refusals`].
const MARK: &str = "xyzzyMARKxyzzy";

fn refusals() -> Vec<Refusal> {
    let key = Key::new(SECRET.as_bytes()).expect("a secret");
    let bearer = |token: String| authorization(format!(" Bearer {token}"));
    let claims = |rest: &str| token(&format!(r#"{{"sub":"{MARK}","{MARK}":1{rest}}}"#));
    let header = |header: &str| key.sign_parts(header, format!(r#"{{"sub":"{MARK}"}}"#));
    let plain = |challenge, fields| Refusal {
        challenge,
        variables: &[],
        path: "/resource/secret",
        fields,
    };
    let invalid = |error, token| plain(Challenge::InvalidToken(error), bearer(token));
    let with = |variables, refusal| Refusal {
        variables,
        ..refusal
    };
    let good = claims("");
    let (signing_input, signature) = good.rsplit_once('.').expect("a signature");
    vec![
        plain(Challenge::CredentialsRequired, authorization("")),
        plain(
            Challenge::NotBearer,
            authorization(format!(" Basic {MARK}")),
        ),
        plain(
            Challenge::NotPrintable,
            authorization(format!(" Bearer {MARK}\u{2026}")),
        ),
        plain(Challenge::NoToken, authorization(" Bearer")),
        plain(
            Challenge::TwoFields,
            [bearer(MARK.into()), bearer(MARK.into())].concat(),
        ),
        plain(Challenge::SeveralWords, bearer(format!("{MARK} {MARK}"))),
        plain(Challenge::ForeignCharacter, bearer(format!("\"{MARK}\""))),
        Refusal {
            path: "/auth",
            ..plain(
                Challenge::UnusableSubject,
                bearer(token(&format!(r#"{{"sub":"{MARK} {MARK}"}}"#))),
            )
        },
        invalid(Error::TooLong, MARK.repeat(600)),
        invalid(Error::NotAJwt, MARK.into()),
        invalid(Error::NotThreeParts, format!("{MARK}.{MARK}")),
        invalid(
            Error::Encrypted,
            format!("{MARK}.{MARK}.{MARK}.{MARK}.{MARK}"),
        ),
        invalid(Error::Padding, format!("{MARK}=.{MARK}.{MARK}")),
        invalid(Error::NotHs256Signature, format!("{MARK}.{MARK}.{MARK}")),
        invalid(Error::EmptyPart, format!(".{MARK}.{signature}")),
        invalid(Error::NotBase64url, sign_input(&format!("{MARK}~.{MARK}"))),
        invalid(
            Error::WrongSignature,
            format!("{MARK}AA.{MARK}AA.{signature}"),
        ),
        invalid(
            Error::WrongSignature,
            format!("{signing_input}.{}", "A".repeat(43)),
        ),
        invalid(Error::MalformedHeader, header(&format!(r#"["{MARK}"]"#))),
        invalid(
            Error::WrongAlgorithm,
            header(&format!(r#"{{"alg":"{MARK}"}}"#)),
        ),
        invalid(
            Error::CriticalExtension,
            header(&format!(
                r#"{{"alg":"HS256","crit":["{MARK}"],"{MARK}":1}}"#
            )),
        ),
        invalid(
            Error::MalformedClaims,
            key.sign_parts(r#"{"alg":"HS256"}"#, format!(r#"{{"{MARK}"}}"#)),
        ),
        invalid(
            Error::MalformedExpiration,
            claims(&format!(r#","exp":"{MARK}""#)),
        ),
        invalid(
            Error::MalformedNotBefore,
            claims(&format!(r#","nbf":["{MARK}"]"#)),
        ),
        invalid(
            Error::MalformedIssuedAt,
            claims(&format!(r#","iat":"{MARK}""#)),
        ),
        invalid(
            Error::ExpirationTooLate,
            claims(&format!(r#","exp":{}000"#, now() + 3600)),
        ),
        with(
            &[("JWT_REQUIRE_EXP", "true")],
            invalid(Error::MissingExpiration, claims("")),
        ),
        invalid(Error::Expired, claims(r#","exp":1"#)),
        invalid(
            Error::NotYetValid,
            claims(&format!(r#","nbf":{}"#, now() + 3600)),
        ),
        with(
            &[("JWT_ISSUER", "us")],
            invalid(Error::WrongIssuer, claims(&format!(r#","iss":"{MARK}""#))),
        ),
        with(
            &[("JWT_ISSUER", "us")],
            invalid(Error::MissingIssuer, claims("")),
        ),
        with(
            &[("JWT_AUDIENCE", "us")],
            invalid(Error::MissingAudience, claims("")),
        ),
        invalid(
            Error::MalformedAudience,
            claims(&format!(r#","aud":{{"{MARK}":1}}"#)),
        ),
        invalid(Error::EmptyAudience, claims(r#","aud":[]"#)),
        with(
            &[("JWT_AUDIENCE", "us")],
            invalid(Error::WrongAudience, claims(&format!(r#","aud":"{MARK}""#))),
        ),
        invalid(
            Error::UnexpectedAudience,
            claims(&format!(r#","aud":"{MARK}""#)),
        ),
    ]
}

/// Each variant of each error is reached from outside, and its response has what every refusal has.
#[test]
fn every_challenge_is_legal_and_repeats_nothing_of_the_token() {
    let mut seen = BTreeSet::new();
    for Refusal {
        challenge,
        variables,
        path,
        fields,
    } in refusals()
    {
        let server = Server::with(variables);
        let response = get(&mut server.connect(), path, &fields);
        assert_eq!(
            response.status,
            challenge.status().as_u16(),
            "{challenge:?} {response:?}"
        );
        let field = response.field("www-authenticate").expect("a challenge");
        let parameters = parse_challenge(field);
        assert_eq!(parameters[0], ("realm".into(), "resource-server".into()));
        if let Some(error) = challenge.error() {
            assert_eq!(parameters.len(), 3, "{field}");
            assert_eq!(parameters[1], ("error".into(), error.into()), "{field}");
            assert_eq!(
                parameters[2],
                ("error_description".into(), challenge.message().into()),
                "{field}"
            );
        } else {
            assert_eq!(parameters.len(), 1, "{field}");
        }
        if path == "/auth" {
            assert_eq!(response.content, "");
        } else {
            assert_eq!(response.code().as_deref(), Some(challenge.code()));
            assert_eq!(response.message().as_deref(), Some(challenge.message()));
        }
        let response = format!("{}{}", response.head, response.content);
        assert!(!response.contains("xyzzy"), "{response}");
        assert!(!response.contains("MARK"), "{response}");
        seen.insert(challenge.message());
    }
    // Only the gate responds with these.
    let of_the_gate = [Challenge::InsufficientScope, Challenge::MissingSubject];
    let all: BTreeSet<_> = Challenge::all()
        .filter(|challenge| !of_the_gate.contains(challenge))
        .map(Challenge::message)
        .collect();
    assert_eq!(seen, all);
}

/// RFC 6750 §3 and §3.1: which errors there are, and what a description is made of.
#[test]
fn every_challenge_names_a_registered_error_in_legal_characters() {
    for challenge in Challenge::all() {
        let refusal = challenge.text();
        let field = refusal.field.to_str().expect("visible ASCII");
        let parameters = parse_challenge(field);
        let error = parameters.iter().find(|(name, _)| name == "error");
        let error = error.map(|(_, error)| &**error);
        assert_eq!(error, challenge.error(), "{challenge:?}");
        let statuses: &[u16] = match error {
            None | Some("invalid_request" | "invalid_token") => &[401],
            Some("insufficient_scope") => &[403],
            Some(other) => panic!("{other} is not registered"),
        };
        assert!(
            statuses.contains(&challenge.status().as_u16()),
            "{challenge:?}"
        );
        assert_eq!(error.is_none(), challenge.code() == "credentials_required");
    }
    for challenge in [Challenge::MissingSubject, Challenge::UnusableSubject] {
        assert_eq!(challenge.code(), "unusable_subject");
        assert_eq!(challenge.error(), Some("insufficient_scope"));
        assert!(challenge.message().contains("JWT_USER_CLAIM"));
    }
}

#[test]
fn every_challenge_has_a_message_and_an_id_of_its_own() {
    let count = Challenge::all().count();
    let ids: BTreeSet<_> = Challenge::all().map(Challenge::id).collect();
    let messages: BTreeSet<_> = Challenge::all().map(Challenge::message).collect();
    assert_eq!((ids.len(), messages.len()), (count, count));
    for id in ids {
        assert!(
            id.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'),
            "{id}"
        );
    }
    for error in Error::ALL {
        assert_eq!(Challenge::InvalidToken(error).id(), error.id());
    }
}

/// Dashboards depend on them, as on those of [`Error`].
#[test]
fn challenge_ids_stay_as_they_are() {
    let own: Vec<_> = Challenge::all()
        .filter(|challenge| !matches!(challenge, Challenge::InvalidToken(_)))
        .map(Challenge::id)
        .collect();
    assert_eq!(
        own,
        [
            "no_credentials",
            "not_bearer",
            "two_fields",
            "not_printable",
            "no_token",
            "several_words",
            "foreign_character",
            "insufficient_scope",
            "missing_subject",
            "unusable_subject",
        ]
    );
}

/// The same variants once more, in an order that the compiler has checked to be complete.
#[test]
fn every_challenge_stands_in_all_once() {
    let own = Challenge::all().filter_map(|challenge| match challenge {
        Challenge::CredentialsRequired => Some(0),
        Challenge::NotBearer => Some(1),
        Challenge::TwoFields => Some(2),
        Challenge::NotPrintable => Some(3),
        Challenge::NoToken => Some(4),
        Challenge::SeveralWords => Some(5),
        Challenge::ForeignCharacter => Some(6),
        Challenge::InsufficientScope => Some(7),
        Challenge::MissingSubject => Some(8),
        Challenge::UnusableSubject => Some(9),
        Challenge::InvalidToken(_) => None,
    });
    assert_eq!(own.collect::<Vec<u8>>(), (0..10).collect::<Vec<u8>>());
    assert_eq!(Challenge::all().count(), 10 + Error::ALL.len());
}

#[test]
fn unusable_user_is_a_challenge() {
    assert_eq!(Challenge::from(NoUser::Absent), Challenge::MissingSubject);
    assert_eq!(
        Challenge::from(NoUser::Unusable),
        Challenge::UnusableSubject
    );
}

/// RFC 9110 §11.2 and §5.6.4: the parameters of one challenge of the scheme Bearer, and RFC 6750
/// §3, which narrows what may stand between the quotes.
fn parse_challenge(field: &str) -> Vec<(String, String)> {
    let mut rest = field.strip_prefix("Bearer ").expect("the scheme");
    let mut parameters = Vec::new();
    loop {
        let (name, after) = rest.split_once("=\"").expect("a quoted-string");
        assert!(
            !name.is_empty()
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'_'),
            "{field}"
        );
        let (value, after) = after.split_once('"').expect("a closing quote");
        assert!(
            value
                .bytes()
                .all(|byte| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e)),
            "{field}"
        );
        parameters.push((name.to_owned(), value.to_owned()));
        match after.strip_prefix(", ") {
            Some(next) => rest = next,
            None => {
                assert_eq!(after, "", "{field}");
                return parameters;
            }
        }
    }
}

/// A wrong signature is reported before anything that only the issuer may know.
#[test]
fn unauthenticated_claims_are_not_validated() {
    let server = Server::start();
    let stranger = Key::new(b"the secret of another issuer, long").expect("a secret");
    for (header, payload) in [
        (r#"{"alg":"HS256"}"#, r#"{"exp":1}"#),
        (r#"{"alg":"HS256"}"#, "not JSON"),
        (r#"{"alg":"none"}"#, "{}"),
        ("not JSON", "{}"),
        (r#"{"alg":"HS256","crit":["x"]}"#, "{}"),
    ] {
        let token = stranger.sign_parts(header, payload);
        let response = server.get_with_token("/resource/secret", &token);
        assert_eq!(
            response.message().as_deref(),
            Some(Error::WrongSignature.description())
        );
    }
}
