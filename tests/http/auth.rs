//! `/auth`, the gate that a proxy asks: the same verdict for every method, the user that it names,
//! and the tokens whose user it cannot name.

use std::io::Read as _;

use crate::harness::{PATIENCE, Response, Server, good_token, token};

/// Methods that proxies keep from their clients, and some that are not registered.
const METHODS: [&str; 14] = [
    "GET",
    "HEAD",
    "OPTIONS",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "QUERY",
    "TRACE",
    "PROPFIND",
    "BREW",
    "get",
    "Post",
    "CONNECTED",
];

const FORGED: &str = "X-Auth-Request-User: admin";

/// `GET /auth` with a token whose subject is this JSON text.
fn auth(server: &Server, sub: &str) -> Response {
    server.get_with_token("/auth", &token(&format!(r#"{{"sub":{sub}}}"#)))
}

/// The fields of a 200.
fn fields_naming(user: &str) -> [(&str, &str); 3] {
    [
        ("cache-control", "no-store"),
        ("content-length", "0"),
        ("x-auth-request-user", user),
    ]
}

fn assert_names(server: &Server, sub: &str, user: &str) {
    let response = auth(server, sub);
    assert_eq!(response.status, 200, "{sub}");
    assert_eq!(response.fields(), fields_naming(user), "{sub}");
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
        challenge.contains(r#"error="insufficient_scope""#),
        "{challenge}"
    );
    // A gateway that wants the verdict without the name uses the other path.
    let secret = server.get_with_token("/resource/secret", &token);
    assert_eq!(secret.status, 200, "{claims}");
}

#[test]
fn every_method_with_a_valid_token_passes() {
    let server = Server::start();
    let authorization = format!("Authorization: Bearer {}", good_token());
    for path in [
        "/auth",
        "/auth?a=b",
        "/auth?scope=admin",
        "http://test/auth",
    ] {
        for method in METHODS {
            let response = server.request(method, path, &[&authorization, FORGED]);
            assert_eq!(response.status, 200, "{method} {path}");
            assert_eq!(response.fields(), fields_naming("alice"), "{method} {path}");
        }
    }
}

/// Whatever a proxy copies from a client besides, the method alone included: a preflight has no
/// token, and neither has an attacker that forges the identity.
#[test]
fn no_method_without_a_valid_token_passes() {
    let server = Server::start();
    let expired = format!(
        "Authorization: Bearer {}",
        token(r#"{"sub":"alice","exp":1}"#)
    );
    let unusable = format!("Authorization: Bearer {}", token("{}"));
    let preflight = [
        "Origin: https://a.example",
        "Access-Control-Request-Method: PUT",
        FORGED,
    ];
    for method in METHODS {
        for (fields, status) in [
            (&[FORGED] as &[&str], 401),
            (&preflight, 401),
            (&[FORGED, "Authorization: Bearer a.b.c"], 401),
            (&[FORGED, "Authorization: Basic YTpi"], 401),
            (&[FORGED, &expired], 401),
            (&[FORGED, "X-HTTP-Method-Override: OPTIONS"], 401),
            (&[FORGED, "Upgrade: websocket", "Connection: upgrade"], 401),
            (&[FORGED, "Content-Length: 0"], 401),
            (&[FORGED, &unusable], 403),
        ] {
            let response = server.request(method, "/auth", fields);
            let context = format!("{method} {fields:?}: {response:?}");
            assert_eq!(response.status, status, "{context}");
            assert_eq!(
                response.field("cache-control"),
                Some("no-store"),
                "{context}"
            );
            assert_eq!(response.field("content-length"), Some("0"), "{context}");
            assert_eq!(response.content, "", "{context}");
            assert!(response.field("www-authenticate").is_some(), "{context}");
            for absent in ["x-auth-request-user", "allow", "content-type"] {
                assert_eq!(response.field(absent), None, "{context}");
            }
        }
    }
}

/// Envoy and some scripts ask with the fields of a write and without its content.
#[test]
fn write_without_its_content_passes_and_the_connection_closes() {
    let server = Server::start();
    let authorization = format!("Authorization: Bearer {}", good_token());
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "QUERY", "OPTIONS"] {
        for fields in [
            &["Content-Length: 20"] as &[&str],
            &["Content-Length: 20", "Expect: 100-continue"],
            &["Content-Length: 20971520", "Content-Type: application/json"],
            &["Transfer-Encoding: chunked"],
            &["Transfer-Encoding: chunked", "Expect: 100-continue"],
        ] {
            let mut client = server.connect();
            client.request(method, "/auth", &[fields, &[&authorization]].concat());
            let response = client.response();
            let context = format!("{method} {fields:?}: {response:?}");
            assert_eq!(response.status, 200, "{context}");
            assert_eq!(
                response.field("x-auth-request-user"),
                Some("alice"),
                "{context}"
            );
            assert_eq!(response.field("connection"), Some("close"), "{context}");
            assert!(client.is_closed_within(PATIENCE), "{context}");
        }
    }
}

#[test]
fn write_without_content_keeps_the_connection() {
    let server = Server::start();
    let authorization = format!("Authorization: Bearer {}", good_token());
    let mut client = server.connect();
    for method in ["POST", "PUT", "PATCH", "DELETE", "QUERY", "HEAD"] {
        for fields in [
            &[] as &[&str],
            &["Content-Length: 0"],
            &["Expect: 100-continue"],
        ] {
            client.request(method, "/auth", &[fields, &[&authorization]].concat());
            let response = client.response_to(method);
            assert_eq!(
                response.fields(),
                fields_naming("alice"),
                "{method} {fields:?}"
            );
        }
    }
}

/// The client looks for a response only when it has sent everything.
#[test]
fn write_of_20_megabytes_passes_and_the_response_arrives() {
    const LEN: usize = 20_000_000;
    let server = Server::start();
    for (authorization, status) in [
        (format!("Authorization: Bearer {}\r\n", good_token()), 200),
        (String::new(), 401),
    ] {
        for method in ["POST", "PUT", "GET"] {
            let mut client = server.connect();
            client.send(format!(
                "{method} /auth HTTP/1.1\r\nHost: test\r\n{authorization}Content-Length: {LEN}\r\n\r\n"
            ));
            for _ in 0..LEN / 50_000 {
                client.send([b'x'; 50_000]);
            }
            let response = client.response();
            assert_eq!(response.status, status, "{method}");
            assert_eq!(response.field("connection"), Some("close"), "{method}");
            client.finish_sending();
            assert_eq!(
                client.stream.read(&mut [0]).expect("no reset"),
                0,
                "{method}"
            );
        }
    }
}

/// The status of `GET` of this path, with these claims, and the scopes that the challenge names.
fn demand(server: &Server, path: &str, claims: &str) -> (u16, Option<String>) {
    let response = server.get_with_token(path, &token(claims));
    assert_eq!(response.content, "", "{path} {claims}");
    assert_eq!(
        response.field("content-length"),
        Some("0"),
        "{path} {claims}"
    );
    assert_eq!(
        response.field("cache-control"),
        Some("no-store"),
        "{path} {claims}"
    );
    let is_yes = response.status == 200;
    assert_eq!(
        response.field("x-auth-request-user").is_some(),
        is_yes,
        "{path} {claims}"
    );
    let challenge = response.field("www-authenticate");
    assert_eq!(challenge.is_none(), is_yes, "{path} {claims}");
    if let Some(challenge) = challenge {
        let beginning =
            r#"Bearer realm="resource-server", error="insufficient_scope", error_description=""#;
        assert!(challenge.starts_with(beginning), "{challenge}");
    }
    let named = challenge
        .and_then(|challenge| challenge.split_once(", scope=\""))
        .map(|(_, rest)| {
            rest.strip_suffix('"')
                .expect("the last parameter")
                .to_owned()
        });
    (response.status, named)
}

#[test]
fn every_demanded_scope_must_be_granted() {
    let server = Server::start();
    let granted = |scope: &str| format!(r#"{{"sub":"alice","scope":{scope}}}"#);
    for (path, scope, status) in [
        ("/auth/read", r#""read""#, 200),
        ("/auth/read", r#""read write""#, 200),
        ("/auth/write", r#""read write""#, 200),
        ("/auth/read+write", r#""read write""#, 200),
        ("/auth/write+read", r#""read write""#, 200),
        ("/auth/read+read", r#""read""#, 200),
        ("/auth/read", r#"["read","write"]"#, 200),
        ("/auth/read+write", r#"["write","read"]"#, 200),
        ("/auth/admin", r#""read""#, 403),
        ("/auth/read+admin", r#""read""#, 403),
        ("/auth/admin+read", r#""read""#, 403),
        ("/auth/rea", r#""read""#, 403),
        ("/auth/reads", r#""read""#, 403),
        ("/auth/Read", r#""read""#, 403),
        ("/auth/READ", r#""read""#, 403),
        ("/auth/read", r#""""#, 403),
        ("/auth/read", r#"[]"#, 403),
        ("/auth/read", r#"["read",1]"#, 403),
        ("/auth/read", r#"["read write"]"#, 403),
        ("/auth/read", r#"{"read":true}"#, 403),
        ("/auth/true", "true", 403),
        ("/auth/1", "1", 403),
        ("/auth/null", "null", 403),
        // A slash is part of a scope, and so is everything but a plus sign.
        ("/auth/api/read", r#""api/read""#, 200),
        ("/auth/api/read", r#""api read""#, 403),
        ("/auth//", r#""/""#, 200),
        ("/auth/read/", r#""read""#, 403),
        ("/auth/read,write", r#""read write""#, 403),
        ("/auth/read,write", r#""read,write""#, 200),
        (
            "/auth/https://a.example/read",
            r#""https://a.example/read""#,
            200,
        ),
        ("/auth/read:all", r#""read:all""#, 200),
        ("/auth/*", r#""*""#, 200),
        ("/auth/admin", r#""*""#, 403),
        // Nothing is decoded.
        ("/auth/%72ead", r#""read""#, 403),
        ("/auth/%72ead", r#""%72ead""#, 200),
        ("/auth/read%20write", r#""read write""#, 403),
        ("/auth/read%2Bwrite", r#""read write""#, 403),
        ("/auth/read%2Bwrite", r#""read%2Bwrite""#, 200),
        // No client's query or fragment gets there.
        ("/auth/read?scope=admin", r#""read""#, 200),
        ("/auth/admin?scope=read", r#""read""#, 403),
        ("/auth/admin?read", r#""read""#, 403),
        ("/auth/read#+admin", r#""read""#, 200),
        ("/auth?scope=admin", r#""read""#, 200),
        // An empty word is granted to no token.
        ("/auth/", r#""read""#, 403),
        ("/auth/", r#""""#, 403),
        ("/auth/?read", r#""read""#, 403),
        ("/auth/+", r#""read""#, 403),
        ("/auth/read+", r#""read""#, 403),
        ("/auth/+read", r#""read""#, 403),
        ("/auth/read++write", r#""read write""#, 403),
        ("/auth/", r#"[""]"#, 403),
        ("/auth/+", r#"["","+"]"#, 403),
        ("/auth/read+", r#"["read",""]"#, 403),
    ] {
        let (actual, _) = demand(&server, path, &granted(scope));
        assert_eq!(actual, status, "{path} {scope}");
    }
    assert_eq!(demand(&server, "/auth/read", r#"{"sub":"alice"}"#).0, 403);
}

#[test]
fn sixteen_scopes_can_be_demanded_and_seventeen_are_never_granted() {
    let server = Server::start();
    let words: Vec<String> = (0..17).map(|number| format!("s{number}")).collect();
    let claims = format!(r#"{{"sub":"alice","scope":"{}"}}"#, words.join(" "));
    for (count, status) in [(1, 200), (15, 200), (16, 200), (17, 403)] {
        let path = format!("/auth/{}", words[..count].join("+"));
        assert_eq!(demand(&server, &path, &claims).0, status, "{count}");
    }
    let path = format!("/auth/{}", ["s0"; 17].join("+"));
    assert_eq!(demand(&server, &path, &claims).0, 403);
    let path = format!("/auth/{}", "+".repeat(15_000));
    assert_eq!(demand(&server, &path, &claims).0, 403);
}

/// RFC 6750 §3.1 and RFC 6749 §3.3.
#[test]
fn challenge_names_the_demanded_scopes_if_they_are_short_and_scope_tokens() {
    let server = Server::start();
    let longest = "x".repeat(255);
    let pair = format!("{}+{}", "x".repeat(127), "y".repeat(127));
    let long_pair = format!("{}+{}", "x".repeat(127), "y".repeat(128));
    for (scopes, named) in [
        ("admin", Some("admin")),
        ("a+b", Some("a b")),
        ("a+b+c", Some("a b c")),
        ("https://a.example/read", Some("https://a.example/read")),
        // hyper drops a fragment.
        ("a#b", Some("a")),
        ("!$%&'()*,-./:;=@[]^_|~", Some("!$%&'()*,-./:;=@[]^_|~")),
        (&longest, Some(&*longest)),
        (&format!("{longest}x"), None),
        (&pair, Some(&*pair.replace('+', " "))),
        (&long_pair, None),
        ("", None),
        ("+", None),
        ("a+", None),
        ("+a", None),
        ("a++b", None),
        ("caf\u{e9}", None),
        ("a+caf\u{e9}", None),
        ("a\"", None),
        ("a\",+error=\"x", None),
        ("a\\", None),
    ] {
        let path = format!("/auth/{scopes}");
        let mut client = server.connect();
        client.send(format!(
            "GET {path} HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {}\r\n\r\n",
            token(r#"{"sub":"alice","scope":"read"}"#)
        ));
        let response = client.response();
        let challenge = response.field("www-authenticate").unwrap_or_default();
        // A target that hyper rejects is a 400.
        assert!([400, 403].contains(&response.status), "{scopes}");
        assert!(response.status == 403 || named.is_none(), "{scopes}");
        let actual = challenge.split_once(", scope=").map(|(_, value)| value);
        let expected = named.map(|named| format!("\"{named}\""));
        assert_eq!(actual, expected.as_deref(), "{scopes}");
        assert_eq!(
            challenge.matches("error=").count(),
            usize::from(response.status == 403)
        );
    }
}

/// The token is checked before the scopes.
#[test]
fn demand_without_a_valid_token_is_rejected_as_without_the_demand() {
    let server = Server::start();
    for path in [
        "/auth/admin",
        "/auth/",
        "/auth/a+",
        "/auth/a+b?c",
        "/auth//",
    ] {
        for method in METHODS {
            for fields in [
                &[FORGED] as &[&str],
                &[FORGED, "Authorization: Bearer a.b.c"],
            ] {
                let with = server.request(method, path, fields);
                let without = server.request(method, "/auth", fields);
                assert_eq!(with.status, 401, "{method} {path}");
                assert_eq!(with.fields(), without.fields(), "{method} {path}");
            }
        }
    }
    let authorization = format!(
        "Authorization: Bearer {}",
        token(r#"{"sub":"a","scope":"admin"}"#)
    );
    for method in METHODS {
        let yes = server.request(method, "/auth/admin", &[&authorization]);
        assert_eq!(
            (yes.status, yes.fields()),
            (200, fields_naming("a").to_vec()),
            "{method}"
        );
        let no = server.request(method, "/auth/root", &[&authorization, FORGED]);
        assert_eq!(
            (no.status, no.field("x-auth-request-user")),
            (403, None),
            "{method}"
        );
        assert_eq!(no.field("allow"), None, "{method}");
    }
}

/// A token without the scope is rejected for that, whether it has a user or not.
#[test]
fn demand_is_checked_before_the_user() {
    let server = Server::start();
    for (claims, named) in [
        (r#"{"scope":"a"}"#, Some("b")),
        (r#"{"sub":"","scope":""}"#, Some("b")),
    ] {
        assert_eq!(
            demand(&server, "/auth/b", claims),
            (403, named.map(str::to_owned))
        );
    }
    assert_eq!(demand(&server, "/auth/a", r#"{"scope":"a"}"#), (403, None));
}

#[test]
fn longer_path_is_not_the_gate() {
    let server = Server::start();
    let authorization = format!("Authorization: Bearer {}", good_token());
    for path in [
        "/authx",
        "/auth.",
        "/auth;a",
        "/aut",
        "/AUTH",
        "/auth%2Fa",
        "//auth",
        "/x/auth",
    ] {
        for method in METHODS {
            let response = server.request(method, path, &[&authorization]);
            assert_eq!(response.status, 404, "{method} {path}");
            assert_eq!(
                response.field("x-auth-request-user"),
                None,
                "{method} {path}"
            );
        }
    }
}

#[test]
fn subject_in_visible_ascii_is_named_verbatim() {
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
fn escaped_subject_is_named_unescaped() {
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
fn number_that_is_not_a_64_bit_integer_is_unusable() {
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
/// token is rejected.
#[test]
fn subject_given_twice_is_the_last_or_rejected() {
    let server = Server::start();
    for claims in [
        r#"{"sub":"alice","sub":"bob"}"#,
        r#"{"sub":"alice","\u0073ub":"bob"}"#,
        r#"{"\u0073ub":"alice","sub":"bob"}"#,
    ] {
        let response = server.get_with_token("/auth", &token(claims));
        match response.status {
            200 => assert_eq!(response.field("x-auth-request-user"), Some("bob")),
            status => assert_eq!(status, 401),
        }
    }
    assert_ne!(
        server
            .get_with_token("/auth", &token(r#"{"sub":"alice","sub":null}"#))
            .status,
        200
    );
}

/// A client's own field is never sent back.
#[test]
fn user_field_of_the_request_is_not_echoed() {
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
