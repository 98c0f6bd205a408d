//! How a token comes in a request, and how one is refused: RFC 6750 and RFC 9110 §11.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use resource_server::auth::Challenge;
use resource_server::jwt::{Error, Key};
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

/// Holds that a refusal with this challenge comes from both guarded paths.
fn assert_refused(client: &mut Client, fields: &[u8], challenge: Challenge) {
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
    let expected = match challenge {
        Challenge::CredentialsRequired => r#"Bearer realm="resource-server""#.to_owned(),
        _ => format!(
            r#"Bearer realm="resource-server", error="{}", error_description="{}""#,
            challenge.code(),
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
    assert_eq!(auth.status, 204, "{shown}{auth:?}");
}

/// A field `Authorization` with this value, as bytes.
fn authorization(value: impl AsRef<[u8]>) -> Vec<u8> {
    [b"Authorization:", value.as_ref(), b"\r\n"].concat()
}

#[test]
fn request_without_readable_bearer_credentials_is_asked_for_them() {
    let server = Server::start();
    let mut client = server.connect();
    let good = good_token();
    let unreadable = [b" Bearer \xff".as_slice(), good.as_bytes()].concat();
    let no_break_space = [b" Bearer\xa0".as_slice(), good.as_bytes()].concat();
    for fields in [
        Vec::new(),
        authorization(""),
        authorization(" "),
        authorization(" \t "),
        authorization(unreadable),
        authorization(no_break_space),
        authorization(" B\u{e9}arer a.b.c"),
        authorization(" Basic YWxpY2U6c2VjcmV0"),
        authorization(" Basic"),
        authorization(format!(" Digest {good}")),
        authorization(format!(" Token {good}")),
        authorization(format!(" JWT {good}")),
        authorization(format!(" DPoP {good}")),
        authorization(format!(" {good}")),
        authorization(format!(" Beare {good}")),
        authorization(format!(" Bearers {good}")),
        authorization(format!(" Bearer: {good}")),
        authorization(format!(" Bearer={good}")),
        authorization(format!(" \"Bearer\" {good}")),
        authorization(format!(" Bearer{good}")),
        authorization(format!(" Basic YQ==, Bearer {good}")),
    ] {
        assert_refused(&mut client, &fields, Challenge::CredentialsRequired);
    }
}

#[test]
fn credentials_required_has_the_message_of_the_contract() {
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
fn bearer_without_exactly_one_b64token_is_an_invalid_request() {
    let server = Server::start();
    let mut client = server.connect();
    let good = good_token();
    for value in [
        " Bearer".to_owned(),
        " Bearer ".to_owned(),
        " bearer\t".to_owned(),
        format!(" Bearer {good} {good}"),
        format!(" Bearer {good} x"),
        format!(" Bearer x {good}"),
        format!(" Bearer {good}\tx"),
        " Bearer a b c".to_owned(),
        // RFC 6750 §2.1 separates by spaces, and has no list.
        format!(" Bearer\t{good}"),
        format!(" Bearer \t{good}"),
        format!(" Bearer {good},"),
        format!(" Bearer {good}, Basic YQ=="),
        format!(" Bearer ,{good}"),
        format!(" Bearer token=\"{good}\""),
        format!(" Bearer \"{good}\""),
        format!(" Bearer '{good}'"),
        format!(" Bearer {good};"),
        format!(" Bearer <{good}>"),
        format!(" Bearer {good}%20"),
        " Bearer =".to_owned(),
        " Bearer ====".to_owned(),
        " Bearer a=b".to_owned(),
        " Bearer =a".to_owned(),
        " Bearer {}".to_owned(),
        " Bearer a.b.c!".to_owned(),
        format!(" Bearer {}!", "a".repeat(9000)),
    ] {
        assert_refused(&mut client, &authorization(value), Challenge::NotOneToken);
    }
    for byte in
        (0x21..=0x7e_u8).filter(|byte| !byte.is_ascii_alphanumeric() && !b"-._~+/=".contains(byte))
    {
        let value = [b" Bearer ", good.as_bytes(), &[byte]].concat();
        assert_refused(&mut client, &authorization(value), Challenge::NotOneToken);
    }
}

#[test]
fn b64token_that_is_no_token_is_an_invalid_token() {
    let server = Server::start();
    let mut client = server.connect();
    let good = good_token();
    for word in [
        "a".to_owned(),
        "a.b.c".to_owned(),
        "YWxpY2U6c2VjcmV0==".to_owned(),
        "-._~+/".to_owned(),
        "a".repeat(8193),
        format!("{good}="),
        sign_input("eyJhbGciOiJIUzI1NiJ~.e30"),
        sign_input("eyJhbGciOiJIUzI1NiJ9.e3+"),
        sign_input("eyJhbGciOiJIUzI1NiJ9.e/0"),
    ] {
        let fields = authorization(format!(" Bearer {word}"));
        let secret = get(&mut client, "/resource/secret", &fields);
        assert_eq!(secret.status, 401, "{word}");
        assert_eq!(secret.code().as_deref(), Some("invalid_token"), "{word}");
        let message = secret.message().expect("a message");
        assert!(message.starts_with("malformed token: "), "{word} {message}");
        let auth = get(&mut client, "/auth", &fields);
        assert_eq!(auth.status, 401, "{word}");
        assert_eq!(
            auth.field("www-authenticate"),
            secret.field("www-authenticate")
        );
    }
}

/// A token of this signing input, encoded or not, with the right MAC: no rule but one on the form
/// can refuse it.
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
            assert_refused(&mut client, &fields, Challenge::TwoFields);
        }
    }
    let none_good = [authorization(" Basic YQ=="), authorization(" Basic YQ==")].concat();
    assert_refused(&mut client, &none_good, Challenge::TwoFields);
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
            assert_eq!(status, if method == "GET" { 401 } else { 405 });
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

/// What no answer may repeat: it stands in every part of every token of [`refusals`].
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
        plain(
            Challenge::CredentialsRequired,
            authorization(format!(" Basic {MARK}")),
        ),
        plain(
            Challenge::TwoFields,
            [bearer(MARK.into()), bearer(MARK.into())].concat(),
        ),
        plain(Challenge::NotOneToken, bearer(format!("{MARK} {MARK}"))),
        Refusal {
            path: "/auth",
            ..plain(
                Challenge::UnusableSubject,
                bearer(token(&format!(r#"{{"sub":"{MARK} {MARK}"}}"#))),
            )
        },
        invalid(Error::TooLong, MARK.repeat(600)),
        invalid(Error::NotThreeParts, format!("{MARK}.{MARK}.{MARK}")),
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
        invalid(Error::MalformedExpiration, claims(&format!(r#","exp":"{MARK}""#))),
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
            &[("JWT_AUDIENCE", "us")],
            invalid(Error::WrongAudience, claims(&format!(r#","aud":"{MARK}""#))),
        ),
        invalid(
            Error::UnexpectedAudience,
            claims(&format!(r#","aud":"{MARK}""#)),
        ),
    ]
}

/// Each variant of each error is reached from outside, and its answer holds what every refusal
/// owes.
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
        if challenge == Challenge::CredentialsRequired {
            assert_eq!(parameters.len(), 1, "{field}");
        } else {
            assert_eq!(parameters.len(), 3, "{field}");
            assert_eq!(
                parameters[1],
                ("error".into(), challenge.code().into()),
                "{field}"
            );
            assert_eq!(
                parameters[2],
                ("error_description".into(), challenge.message().into()),
                "{field}"
            );
        }
        if path == "/auth" {
            assert_eq!(response.content, "");
        } else {
            assert_eq!(response.code().as_deref(), Some(challenge.code()));
            assert_eq!(response.message().as_deref(), Some(challenge.message()));
        }
        let answer = format!("{}{}", response.head, response.content);
        assert!(!answer.contains("xyzzy"), "{answer}");
        assert!(!answer.contains("MARK"), "{answer}");
        seen.insert(challenge.message());
    }
    let all: BTreeSet<_> = Challenge::all().map(Challenge::message).collect();
    assert_eq!(seen, all);
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

/// A wrong signature is told before anything that only the issuer may know.
#[test]
fn unauthenticated_claims_are_not_judged() {
    let server = Server::start();
    let stranger = Key::new(b"the secret of somebody else, long").expect("a secret");
    for (header, payload) in [
        (r#"{"alg":"HS256"}"#, r#"{"exp":1}"#),
        (r#"{"alg":"HS256"}"#, "not JSON"),
        (r#"{"alg":"none"}"#, "{}"),
        ("not JSON", "{}"),
        (r#"{"alg":"HS256","crit":["x"]}"#, "{}"),
    ] {
        let token = stranger.sign_parts(header, payload);
        let response = server.get_with_token("/resource/secret", &token);
        assert_eq!(response.message().as_deref(), Some("wrong signature"));
    }
}
