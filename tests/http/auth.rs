//! `/auth`: whom it names, and whom it cannot name.

use crate::harness::{Response, Server, token};

/// `GET /auth` with a token whose subject is this JSON text.
fn auth(server: &Server, sub: &str) -> Response {
    server.get_with_token("/auth", &token(&format!(r#"{{"sub":{sub}}}"#)))
}

fn assert_names(server: &Server, sub: &str, user: &str) {
    let response = auth(server, sub);
    assert_eq!(response.status, 204, "{sub}");
    assert_eq!(
        response.fields(),
        [("cache-control", "no-store"), ("x-auth-request-user", user)],
        "{sub}"
    );
}

fn assert_unusable(server: &Server, claims: &str) {
    let token = token(claims);
    let response = server.get_with_token("/auth", &token);
    assert_eq!(response.status, 403, "{claims}");
    let names: Vec<_> = response.fields().iter().map(|(name, _)| *name).collect();
    assert_eq!(
        names,
        ["cache-control", "content-length", "www-authenticate"],
        "{claims}"
    );
    assert_eq!(response.field("content-length"), Some("0"), "{claims}");
    let challenge = response.field("www-authenticate").expect("a challenge");
    assert!(
        challenge.contains(r#"error="unusable_subject""#),
        "{challenge}"
    );
    // Who wants the gate without the name has the other path.
    let secret = server.get_with_token("/resource/secret", &token);
    assert_eq!(secret.status, 200, "{claims}");
}

#[test]
fn subject_that_is_visible_ascii_is_named_as_it_is() {
    let server = Server::start();
    let all: String = (0x21..=0x7e_u8).map(char::from).collect();
    let quoted = serde_json::to_string(&all).expect("JSON");
    assert_names(&server, &quoted, &all);
    for sub in [
        "a",
        "!",
        "~",
        "alice@example.com",
        "auth0|5f7c8ec7",
        "null",
        "a,b",
        "a;b=c",
    ] {
        assert_names(&server, &format!("{sub:?}"), sub);
    }
}

#[test]
fn escaped_subject_is_named_by_what_it_means() {
    let server = Server::start();
    for (sub, user) in [
        (r#""\u0061lice""#, "alice"),
        (r#""\u0061\u006C\u0069\u0063\u0065""#, "alice"),
        (r#""a\/b""#, "a/b"),
        (r#""a\\b""#, r"a\b"),
        (r#""a\"b""#, r#"a"b"#),
        (r#""\u0021\u007e""#, "!~"),
    ] {
        assert_names(&server, sub, user);
    }
    // The name of the claim may be escaped too (RFC 7519 §4, RFC 8259 §8.3).
    let response = server.get_with_token("/auth", &token(r#"{"\u0073ub":"alice"}"#));
    assert_eq!(response.field("x-auth-request-user"), Some("alice"));
}

#[test]
fn integer_subject_within_64_bits_is_named_in_decimal() {
    let server = Server::start();
    for sub in [
        "0",
        "1",
        "-1",
        "42",
        "9007199254740993",
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551615",
        "-9223372036854775808",
    ] {
        assert_names(&server, sub, sub);
    }
}

#[test]
fn number_that_is_no_integer_of_64_bits_is_unusable() {
    let server = Server::start();
    for sub in [
        "18446744073709551616",
        "-9223372036854775809",
        "340282366920938463463374607431768211456",
        "1.5",
        "1.0",
        "0.1",
        "1e300",
        "-1.25e-3",
    ] {
        assert_unusable(&server, &format!(r#"{{"sub":{sub}}}"#));
    }
}

#[test]
fn subject_of_255_bytes_is_named_and_one_more_is_unusable() {
    let server = Server::start();
    let longest = "x".repeat(255);
    assert_names(&server, &format!("{longest:?}"), &longest);
    assert_unusable(&server, &format!(r#"{{"sub":"{longest}x"}}"#));
    assert_unusable(&server, &format!(r#"{{"sub":"{}"}}"#, "x".repeat(5000)));
    // 255 is counted after unescaping.
    assert_names(
        &server,
        &format!(r#""{}""#, r"\u0078".repeat(255)),
        &longest,
    );
    assert_unusable(
        &server,
        &format!(r#"{{"sub":"{}"}}"#, r"\u0078".repeat(256)),
    );
}

#[test]
fn subject_that_cannot_stand_in_a_field_is_unusable() {
    let server = Server::start();
    for sub in [
        r#""""#,
        r#"" ""#,
        r#""a b""#,
        r#"" alice""#,
        r#""alice ""#,
        r#""alice\t""#,
        r#""\u0020""#,
        r#""\u007f""#,
        r#""\u0000""#,
        r#""alice\u0000""#,
        r#""\u001f""#,
        r#""\u0080""#,
        r#""é""#,
        r#""al\u00efce""#,
        r#""日本""#,
        r#""😀""#,
        r#""\ud83d\ude00""#,
        // Looks like a, and is another letter.
        r#""аlice""#,
    ] {
        assert_unusable(&server, &format!(r#"{{"sub":{sub}}}"#));
    }
}

#[test]
fn subject_with_a_line_break_adds_no_field() {
    let server = Server::start();
    for sub in [
        r#""alice\r\nX-Auth-Request-User: root""#,
        r#""alice\nSet-Cookie: a=b""#,
        r#""alice\rSet-Cookie: a=b""#,
        r#""\r\n\r\nHTTP/1.1 200 OK""#,
        r#""alice\u000d\u000aX-Admin: 1""#,
        r#""alice\u2028X-Admin: 1""#,
        r#""alice\u010d\u010aX-Admin: 1""#,
    ] {
        // Which fields there are is checked in there.
        assert_unusable(&server, &format!(r#"{{"sub":{sub}}}"#));
    }
}

#[test]
fn subject_missing_or_of_another_type_is_unusable() {
    let server = Server::start();
    for claims in [
        "{}",
        r#"{"Sub":"alice"}"#,
        r#"{"user":"alice","sub ":"alice"}"#,
        r#"{"sub":null}"#,
        r#"{"sub":true}"#,
        r#"{"sub":false}"#,
        r#"{"sub":[]}"#,
        r#"{"sub":["alice"]}"#,
        r#"{"sub":{}}"#,
        r#"{"sub":{"sub":"alice"}}"#,
        r#"{"x":{"sub":"alice"}}"#,
    ] {
        assert_unusable(&server, claims);
    }
}

/// RFC 7519 §4: of a name given twice the last counts, for every reader of the token alike, or the
/// token is refused.
#[test]
fn subject_given_twice_is_the_last_or_refused() {
    let server = Server::start();
    for claims in [
        r#"{"sub":"alice","sub":"bob"}"#,
        r#"{"sub":"alice","\u0073ub":"bob"}"#,
        r#"{"\u0073ub":"alice","sub":"bob"}"#,
    ] {
        let response = server.get_with_token("/auth", &token(claims));
        match response.status {
            204 => assert_eq!(response.field("x-auth-request-user"), Some("bob")),
            status => assert_eq!(status, 401),
        }
    }
    assert_ne!(
        server
            .get_with_token("/auth", &token(r#"{"sub":"alice","sub":null}"#))
            .status,
        204
    );
}

/// What a client says of itself never comes back.
#[test]
fn user_field_of_the_request_is_not_answered() {
    let server = Server::start();
    let token = token(r#"{"sub":"alice"}"#);
    let authorization = format!("Authorization: Bearer {token}");
    let named = server.get("/auth", &["X-Auth-Request-User: root", &authorization]);
    assert_eq!(named.field("x-auth-request-user"), Some("alice"));
    for path in ["/auth", "/resource", "/resource/secret", "/nowhere"] {
        let response = server.get(
            path,
            &["X-Auth-Request-User: root", "X-Auth-Request-User: root"],
        );
        assert_eq!(response.field("x-auth-request-user"), None, "{path}");
        assert!(!response.head.contains("root"), "{path}");
    }
}
