//! Verdicts on tokens as a client sees them: tokens of other implementations, of attackers, and
//! tokens that the clock decides on.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::thread;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use resource_server::jwt::{Error, Key};
use serde_json::Value;

use crate::harness::{Client, PATIENCE, Response, SECRET, Server, command, now, token};

const SECRET_PATH: &str = "/resource/secret";

/// One of the vectors, and what it asks of the server.
struct Vector {
    name: String,
    token: String,
    /// `accept`, `refuse` or `either`.
    verdict: String,
    rules: Vec<u64>,
    configuration: Vec<(&'static str, OsString)>,
}

impl Vector {
    fn parse(vector: &Value, secret: &Value, verdict: &str) -> Self {
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let secret = URL_SAFE_NO_PAD
            .decode(text(secret))
            .expect("base64url of a secret");
        // Any bytes, text or not.
        let mut configuration = vec![("JWT_SECRET", OsString::from_vec(secret))];
        for (variable, member) in [("JWT_ISSUER", "issuer"), ("JWT_AUDIENCE", "audience")] {
            if let Some(value) = vector[member].as_str() {
                configuration.push((variable, value.into()));
            }
        }
        if let Some(leeway) = vector["leeway"].as_u64() {
            configuration.push(("JWT_LEEWAY", leeway.to_string().into()));
        }
        if let Some(required) = vector["require_exp"].as_bool() {
            configuration.push(("JWT_REQUIRE_EXP", required.to_string().into()));
        }
        Self {
            name: vector["name"].as_str().map_or_else(
                || format!("{} {}", vector["library"], vector["case"]),
                Into::into,
            ),
            token: text(&vector["token"]),
            verdict: verdict.to_owned(),
            rules: vector["rules"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_u64)
                .collect(),
            configuration,
        }
    }

    fn is_b64token(&self) -> bool {
        let text = self.token.trim_end_matches('=');
        !text.is_empty()
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte))
    }

    /// Whether the verdict is the same today as at the vector's own time, which is in 2023: a token
    /// accepted then may have expired since, and one rejected as too early may be valid by now.
    fn holds_today(&self) -> bool {
        let claims = self
            .token
            .split('.')
            .nth(1)
            .and_then(|payload| URL_SAFE_NO_PAD.decode(payload).ok())
            .and_then(|payload| serde_json::from_slice::<Value>(&payload).ok())
            .unwrap_or_default();
        let leeway = self
            .configuration
            .iter()
            .find(|(variable, _)| *variable == "JWT_LEEWAY")
            .and_then(|(_, leeway)| leeway.to_str()?.parse().ok())
            .unwrap_or(0.0);
        let now = now() as f64;
        let is_expired = claims["exp"]
            .as_f64()
            .is_some_and(|exp| exp + leeway <= now);
        let is_valid_yet = claims["nbf"]
            .as_f64()
            .is_some_and(|nbf| nbf - leeway <= now);
        match self.verdict.as_str() {
            "accept" => !is_expired,
            "refuse" => !self.rules.contains(&6) || !is_valid_yet || is_expired,
            _ => true,
        }
    }
}

fn attacks() -> Vec<Vector> {
    let file: Value = serde_json::from_str(include_str!("../vectors/attacks.json")).expect("JSON");
    let vectors = file["tokens"].as_array().expect("an array");
    vectors
        .iter()
        .map(|vector| {
            let verdict = vector["verdict"].as_str().expect("a verdict");
            Vector::parse(vector, &file["secret"], verdict)
        })
        .collect()
}

fn interop() -> Vec<Vector> {
    let file: Value =
        serde_json::from_str(include_str!("../vectors/interop/tokens.json")).expect("JSON");
    let vectors = file.as_array().expect("an array");
    vectors
        .iter()
        .map(|vector| Vector::parse(vector, &vector["secret"], "accept"))
        .collect()
}

/// Asks for the secret resource with each token of these, on one server for each configuration.
fn verdicts(vectors: &[Vector], mut check: impl FnMut(&Vector, Response)) {
    let mut by_configuration: BTreeMap<_, Vec<&Vector>> = BTreeMap::new();
    for vector in vectors {
        by_configuration
            .entry(&vector.configuration)
            .or_default()
            .push(vector);
    }
    for (configuration, vectors) in by_configuration {
        let variables = configuration.iter().map(|(name, value)| (name, value));
        let server = Server::spawn(command(&[("API_PORT", "0")]).envs(variables));
        let mut client = server.connect();
        for vector in vectors {
            let response = ask(&mut client, SECRET_PATH, vector.token.as_bytes());
            if response.field("connection") == Some("close") {
                client = server.connect();
            }
            check(vector, response);
        }
        assert_eq!(server.get("/healthz", &[]).status, 200);
    }
}

fn ask(client: &mut Client, path: &str, token: &[u8]) -> Response {
    let request = [
        format!("GET {path} HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer ").as_bytes(),
        token,
        b"\r\n\r\n",
    ]
    .concat();
    client.send(request);
    client.response()
}

fn assert_verdict(vector: &Vector, response: &Response) {
    let Vector { name, verdict, .. } = vector;
    let is_too_long_a_head = vector.token.len() > 16_000;
    match response.status {
        200 => assert!(verdict != "refuse", "{name} is accepted"),
        401 => {
            assert!(verdict != "accept", "{name} is rejected: {response:?}");
            assert_eq!(response.code().as_deref(), Some("invalid_token"), "{name}");
            assert!(!vector.token.is_empty() && response.message().is_some());
        }
        431 if is_too_long_a_head => {}
        status => panic!("{name} gets {status}"),
    }
}

#[test]
fn tokens_of_other_implementations_are_accepted() {
    let vectors = interop();
    assert_eq!(vectors.len(), 206);
    verdicts(&vectors, |vector, response| {
        assert!(
            vector.is_b64token() && vector.holds_today(),
            "{}",
            vector.name
        );
        assert_eq!(response.status, 200, "{}: {response:?}", vector.name);
    });
}

/// Those whose time has passed are in the tests of `jwt`, where time is an argument.
#[test]
fn attacks_get_the_verdict_of_the_vectors() {
    let (mut sent, mut expected) = (0, BTreeMap::new());
    let vectors: Vec<_> = attacks()
        .into_iter()
        .filter(|vector| vector.is_b64token() && vector.holds_today())
        .collect();
    verdicts(&vectors, |vector, response| {
        assert_verdict(vector, &response);
        *expected.entry(vector.verdict.clone()).or_insert(0) += 1;
        sent += 1;
    });
    // Of 954 b64tokens 27 depend on the clock.
    assert_eq!(sent, 927);
    assert!(
        expected["accept"] > 140 && expected["refuse"] > 690,
        "{expected:?}"
    );
}

/// What is not a b64token is rejected before it is a token, whatever it would be without the characters
/// that make it none.
#[test]
fn attacks_that_are_not_a_b64token_are_rejected() {
    let vectors: Vec<_> = attacks()
        .into_iter()
        .filter(|vector| {
            // White space around a value belongs to HTTP, and line breaks end a field.
            !vector.is_b64token()
                && !vector.token.contains(['\r', '\n'])
                && vector.token.trim() == vector.token
        })
        .collect();
    assert!(vectors.len() > 40, "{}", vectors.len());
    verdicts(&vectors, |vector, response| {
        assert_eq!(vector.verdict, "refuse");
        let Vector { name, token, .. } = vector;
        let expected = if token
            .bytes()
            .any(|byte| byte != b'\t' && byte.is_ascii_control())
        {
            // RFC 9110 §5.5: hyper rejects the field.
            (400, None)
        } else {
            // `=` is a matter of the token, wherever it stands.
            let is_padded = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
            let code = if !token.is_empty() && token.bytes().all(is_padded) {
                "invalid_token"
            } else {
                "invalid_request"
            };
            (401, Some(code))
        };
        assert_eq!(
            (response.status, response.code().as_deref()),
            expected,
            "{name}"
        );
    });
}

/// A token is attacked through the field as through a string: a line break in it ends the field, so
/// that what follows is another.
#[test]
fn line_break_within_a_token_ends_the_field() {
    let server = Server::start();
    let good = token(r#"{"sub":"alice"}"#);
    let (head, tail) = good.split_at(good.len() / 2);
    for (value, status) in [
        (format!("{head}\r\nX: {tail}"), 401),
        (format!("{head}\nX: {tail}"), 401),
        // obs-fold, RFC 9112 §5.2
        (format!("{head}\r\n {tail}"), 400),
        (format!("{head}\r{tail}"), 400),
        (format!("{head}\0{tail}"), 400),
    ] {
        let response = ask(&mut server.connect(), SECRET_PATH, value.as_bytes());
        assert_eq!(response.status, status, "{value:?}");
    }
}

#[test]
fn token_of_8192_bytes_is_accepted_and_one_more_is_rejected() {
    let server = Server::start();
    let key = Key::new(SECRET.as_bytes()).expect("a secret");
    let of_len = |len: usize| {
        (0..4)
            .find_map(|spaces| {
                // Three bytes are four characters: spaces in the header make up the difference.
                let header = format!(r#"{{"alg":"HS256"{}}}"#, " ".repeat(spaces));
                (5900..6200)
                    .map(|pad| key.sign_parts(&header, format!(r#"{{"x":"{:pad$}"}}"#, "")))
                    .find(|token| token.len() == len)
            })
            .expect("a token of this length")
    };
    assert_eq!(
        server.get_with_token(SECRET_PATH, &of_len(8191)).status,
        200
    );
    assert_eq!(
        server.get_with_token(SECRET_PATH, &of_len(8192)).status,
        200
    );
    let rejected = server.get_with_token(SECRET_PATH, &of_len(8193));
    assert_eq!(rejected.status, 401);
    assert_eq!(rejected.code().as_deref(), Some("invalid_token"));
}

#[test]
fn token_of_the_previous_secret_is_accepted_during_a_rotation() {
    const OLD: &str = "the secret before this one, 32 bytes or longer";
    const OLDER: &str = "the secret before that one, 32 bytes or longer";
    let sign =
        |secret: &str, claims: &str| Key::new(secret.as_bytes()).expect("a secret").sign(claims);
    let claims = r#"{"sub":"alice"}"#;
    let before = Server::with(&[]);
    assert_eq!(
        before.get_with_token("/auth", &sign(OLD, claims)).status,
        401
    );
    let server = Server::with(&[("JWT_SECRET_PREVIOUS", OLD), ("JWT_ISSUER", "us")]);
    let verdict = |secret, claims| {
        let response = server.get_with_token(SECRET_PATH, &sign(secret, claims));
        (response.status, response.message().expect("a message"))
    };
    for secret in [SECRET, OLD] {
        assert_eq!(verdict(secret, r#"{"iss":"us"}"#).0, 200, "{secret}");
        // The same rules hold for both.
        let rejected = |message: &str| (401, message.to_owned());
        assert_eq!(
            verdict(secret, claims),
            rejected(Error::MissingIssuer.description())
        );
        assert_eq!(
            verdict(secret, r#"{"iss":"us","exp":1}"#),
            rejected(Error::Expired.description())
        );
    }
    for stranger in [OLDER, " ", &SECRET[1..], &format!("{SECRET} ")] {
        assert_eq!(
            verdict(stranger, r#"{"iss":"us"}"#),
            (401, Error::WrongSignature.description().to_owned())
        );
    }
}

/// Waits for a second to begin, by the clock that the server reads.
fn until(second: u64) {
    let end = std::time::Instant::now() + PATIENCE;
    while now() < second {
        assert!(std::time::Instant::now() < end, "{second} never comes");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn token_is_accepted_until_its_expiration_second_and_then_rejected() {
    let server = Server::start();
    let exp = now() + 3;
    for exp in [format!("{exp}"), format!("{exp}.0"), format!("{exp}e0")] {
        let token = token(&format!(r#"{{"exp":{exp}}}"#));
        assert_eq!(server.get_with_token(SECRET_PATH, &token).status, 200);
    }
    until(exp);
    for exp in [format!("{exp}"), format!("{exp}.0"), format!("{exp}e0")] {
        let token = token(&format!(r#"{{"exp":{exp}}}"#));
        let response = server.get_with_token(SECRET_PATH, &token);
        assert_eq!(response.status, 401);
        assert_eq!(response.message().as_deref(), Some("the token has expired"));
    }
}

#[test]
fn token_is_rejected_before_its_not_before_second_and_then_accepted() {
    let server = Server::start();
    let nbf = now() + 3;
    let token = token(&format!(r#"{{"nbf":{nbf}}}"#));
    let response = server.get_with_token(SECRET_PATH, &token);
    assert_eq!(response.status, 401);
    assert_eq!(
        response.message().as_deref(),
        Some(Error::NotYetValid.description())
    );
    until(nbf);
    assert_eq!(server.get_with_token(SECRET_PATH, &token).status, 200);
}

/// The margins are wide enough for a busy machine; the boundary seconds are in the tests of `jwt`.
#[test]
fn leeway_moves_expiration_and_not_before() {
    for (leeway, moved) in [(0_u64, 0), (60, 60), (300, 300)] {
        let server = Server::with(&[("JWT_LEEWAY", &leeway.to_string())]);
        for (claims, status) in [
            (format!(r#"{{"exp":{}}}"#, now() - moved + 30), 200),
            (format!(r#"{{"exp":{}}}"#, now() - moved), 401),
            (format!(r#"{{"nbf":{}}}"#, now() + moved), 200),
            (format!(r#"{{"nbf":{}}}"#, now() + moved + 30), 401),
            // Issued in the future: RFC 7519 §4.1.6 asks for nothing.
            (format!(r#"{{"iat":{}}}"#, now() + moved + 30), 200),
        ] {
            let response = server.get_with_token(SECRET_PATH, &token(&claims));
            assert_eq!(response.status, status, "leeway {leeway} {claims}");
        }
    }
}

#[test]
fn expiration_time_is_required_where_configured() {
    let (free, strict) = (
        Server::with(&[("JWT_REQUIRE_EXP", "false")]),
        Server::with(&[("JWT_REQUIRE_EXP", "true")]),
    );
    let without = token(r#"{"sub":"alice"}"#);
    let with = token(&format!(r#"{{"exp":{}}}"#, now() + 60));
    assert_eq!(free.get_with_token(SECRET_PATH, &without).status, 200);
    assert_eq!(strict.get_with_token(SECRET_PATH, &with).status, 200);
    let rejected = strict.get_with_token(SECRET_PATH, &without);
    assert_eq!(rejected.status, 401);
    assert_eq!(
        rejected.message().as_deref(),
        Some("the token has no expiration time (exp), and JWT_REQUIRE_EXP requires one")
    );
}

#[test]
fn audience_without_one_configured_is_rejected_naming_the_variable() {
    let server = Server::start();
    for aud in [r#""us""#, r#"["us"]"#, r#"["us","them"]"#, r#""""#] {
        let response = server.get_with_token(SECRET_PATH, &token(&format!(r#"{{"aud":{aud}}}"#)));
        assert_eq!(response.status, 401, "{aud}");
        let message = response.message().expect("a message");
        assert!(message.contains("JWT_AUDIENCE"), "{message}");
    }
    // Setting it would not help these.
    for aud in ["[]", "7", "{}", r#"["us",7]"#] {
        let response = server.get_with_token(SECRET_PATH, &token(&format!(r#"{{"aud":{aud}}}"#)));
        assert_eq!(response.status, 401, "{aud}");
        let message = response.message().expect("a message");
        assert!(
            message.contains("(aud)") && !message.contains("JWT_AUDIENCE"),
            "{message}"
        );
    }
}

/// Every token of some issuers has one.
#[test]
fn audience_of_null_counts_as_absent() {
    let token = token(r#"{"sub":"alice","aud":null}"#);
    let response = Server::start().get_with_token(SECRET_PATH, &token);
    assert_eq!(response.status, 200);
    let server = Server::with(&[("JWT_AUDIENCE", "us")]);
    let response = server.get_with_token(SECRET_PATH, &token);
    assert_eq!(response.status, 401);
    assert_eq!(
        response.message().as_deref(),
        Some(Error::MissingAudience.description())
    );
}

#[test]
fn expiration_time_in_milliseconds_is_rejected() {
    let server = Server::start();
    for exp in [format!("{}000", now() - 600), format!("{}000", now() + 600)] {
        let response = server.get_with_token(SECRET_PATH, &token(&format!(r#"{{"exp":{exp}}}"#)));
        assert_eq!(response.status, 401, "{exp}");
        let message = response.message().expect("a message");
        assert!(message.contains("milliseconds"), "{message}");
    }
}

/// As in the README's first lines and in every tutorial.
#[test]
fn tutorial_token_is_accepted_with_a_tutorial_secret() {
    let secret = "my super secret key";
    let server = Server::with(&[("JWT_SECRET", secret)]);
    let token = Key::new(secret.as_bytes())
        .expect("a secret")
        .sign(r#"{"sub":"1234567890","name":"John Doe","admin":true,"iat":1516239022}"#);
    assert_eq!(server.get_with_token(SECRET_PATH, &token).status, 200);
    let auth = server.get_with_token("/auth", &token);
    assert_eq!(auth.field("x-auth-request-user"), Some("1234567890"));
}

/// A verdict depends on nothing that another request on the connection brought.
#[test]
fn verdicts_on_one_connection_do_not_mix() {
    let server = Server::start();
    let mut client = server.connect();
    let good = token(r#"{"sub":"alice"}"#);
    let other = token(r#"{"sub":"bob"}"#);
    for _ in 0..20 {
        assert_eq!(ask(&mut client, SECRET_PATH, b"a.b.c").status, 401);
        let alice = ask(&mut client, "/auth", good.as_bytes());
        assert_eq!(alice.field("x-auth-request-user"), Some("alice"));
        client.request("GET", "/auth", &[]);
        let anonymous = client.response();
        assert_eq!(anonymous.status, 401);
        assert_eq!(anonymous.field("x-auth-request-user"), None);
        let bob = ask(&mut client, "/auth", other.as_bytes());
        assert_eq!(bob.field("x-auth-request-user"), Some("bob"));
    }
}
