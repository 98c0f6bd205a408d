//! The table of routes: methods, paths, fields and content, and how requests follow each other on
//! a connection.

use std::time::{Duration, Instant};

use crate::harness::{Client, PATIENCE, Response, Server, good_token};

const PATHS: [&str; 4] = ["/resource", "/resource/secret", "/auth", "/healthz"];

const PUBLIC: &str = r#"{"message":"Public resource. You can see this."}"#;
const SECRET_RESOURCE: &str =
    r#"{"message":"Secret resource. You should be logged in to see this."}"#;
const HEALTH: &str = r#"{"message":"ok"}"#;

/// The paths that are not the gate.
const OTHERS: [&str; 3] = ["/resource", "/resource/secret", "/healthz"];

/// Whether no response of a path may be stored.
fn is_guarded(path: &str) -> bool {
    path == "/resource/secret" || path == "/auth"
}

/// These fields, and `Cache-Control` where the path asks for it.
fn fields_at<'f>(path: &str, fields: &[(&'f str, &'f str)]) -> Vec<(&'f str, &'f str)> {
    let mut fields = fields.to_vec();
    if is_guarded(path) {
        fields.push(("cache-control", "no-store"));
    }
    fields.sort_unstable();
    fields
}

fn assert_json(response: &Response) {
    assert_eq!(response.field("content-type"), Some("application/json"));
    let len = response.content.len().to_string();
    assert_eq!(response.field("content-length"), Some(len.as_str()));
    assert!(response.message().is_some(), "{response:?}");
}

/// Sends these bytes on a connection of their own, and returns it with the first response.
fn exchange(server: &Server, bytes: impl AsRef<[u8]>) -> (Client, Response) {
    let mut client = server.connect();
    client.send(bytes);
    let response = client.response();
    (client, response)
}

#[test]
fn public_resource_is_shown_without_a_token() {
    let response = Server::start().get("/resource", &[]);
    assert_eq!(response.status, 200);
    assert_eq!(response.content, PUBLIC);
    assert_eq!(
        response.fields(),
        [
            ("content-length", "48"),
            ("content-type", "application/json")
        ]
    );
}

#[test]
fn secret_resource_with_a_valid_token_is_shown() {
    let response = Server::start().get_with_token("/resource/secret", &good_token());
    assert_eq!(response.status, 200);
    assert_eq!(response.content, SECRET_RESOURCE);
    assert_eq!(
        response.fields(),
        [
            ("cache-control", "no-store"),
            ("content-length", "67"),
            ("content-type", "application/json")
        ]
    );
}

#[test]
fn auth_with_a_valid_token_names_the_subject() {
    let response = Server::start().get_with_token("/auth", &good_token());
    assert_eq!(response.status, 200);
    assert_eq!(response.content, "");
    assert_eq!(
        response.fields(),
        [
            ("cache-control", "no-store"),
            ("content-length", "0"),
            ("x-auth-request-user", "alice")
        ]
    );
}

#[test]
fn healthz_responds_ok() {
    let response = Server::start().get("/healthz", &[]);
    assert_eq!(response.status, 200);
    assert_eq!(response.content, HEALTH);
    assert_eq!(
        response.fields(),
        [
            ("content-length", "16"),
            ("content-type", "application/json")
        ]
    );
}

#[test]
fn protected_path_without_a_token_is_rejected() {
    let server = Server::start();
    let secret = server.get("/resource/secret", &[]);
    assert_eq!(secret.status, 401);
    assert_json(&secret);
    assert_eq!(
        secret.content,
        r#"{"code":"credentials_required","message":"No authorization token was found"}"#
    );
    assert_eq!(secret.field("cache-control"), Some("no-store"));

    let auth = server.get("/auth", &[]);
    assert_eq!(auth.status, 401);
    assert_eq!(
        auth.fields(),
        [
            ("cache-control", "no-store"),
            ("content-length", "0"),
            ("www-authenticate", r#"Bearer realm="resource-server""#)
        ]
    );
}

/// What [`head_of_an_auth_refusal_has_the_zero_length_of_get`] looks at by itself.
fn without_zero_length<'f>(mut fields: Vec<(&'f str, &'f str)>) -> Vec<(&'f str, &'f str)> {
    fields.retain(|field| *field != ("content-length", "0"));
    fields
}

#[test]
fn head_has_the_fields_of_get_and_no_content() {
    let server = Server::start();
    let token = format!("Authorization: Bearer {}", good_token());
    for path in PATHS.into_iter().chain(["/nowhere", "/"]) {
        for fields in [
            &[] as &[&str],
            &[&token],
            &["Authorization: Bearer a.b.c"],
            &["Host: another"],
        ] {
            let get = server.request("GET", path, fields);
            let mut client = server.connect();
            client.request("HEAD", path, fields);
            let head = client.response_to("HEAD");
            assert_eq!(head.status, get.status, "{path} {fields:?}");
            assert_eq!(
                without_zero_length(head.fields()),
                without_zero_length(get.fields()),
                "{path} {fields:?}"
            );
            client.finish_sending();
            assert_eq!(
                client.rest(),
                b"",
                "content after HEAD of {path} {fields:?}"
            );
        }
    }
}

#[test]
fn head_of_an_auth_refusal_has_the_zero_length_of_get() {
    let server = Server::start();
    for fields in [
        &[] as &[&str],
        &["Authorization: Bearer a.b.c"],
        &["Host: b"],
    ] {
        let get = server.request("GET", "/auth", fields);
        let head = server.request("HEAD", "/auth", fields);
        assert_eq!(get.field("content-length"), Some("0"), "{fields:?}");
        assert_eq!(head.field("content-length"), Some("0"), "{fields:?}");
    }
}

#[test]
fn options_on_every_route_but_the_gate_names_the_methods() {
    let server = Server::start();
    for path in OTHERS {
        let response = server.request("OPTIONS", path, &[]);
        assert_eq!(response.status, 204, "{path}");
        assert_eq!(
            response.fields(),
            fields_at(path, &[("allow", "GET, HEAD, OPTIONS")]),
            "{path}"
        );
    }
}

/// RFC 9110 §9.3.7 and RFC 9112 §3.2.4: the server's own options, also where a proxy on the way has
/// written a URL for the asterisk. A query is ignored, here too.
#[test]
fn options_of_the_server_names_the_methods_of_its_resources() {
    let server = Server::start();
    let mut client = server.connect();
    for target in [
        "*",
        "http://test",
        "http://test:80",
        "https://other",
        "HTTP://[::1]:99",
        "http://test/",
        "http://test?a=b",
    ] {
        client.request("OPTIONS", target, &[]);
        let response = client.response();
        assert_eq!(response.status, 204, "{target}");
        assert_eq!(
            response.fields(),
            [("allow", "GET, HEAD, OPTIONS")],
            "{target}"
        );
    }
    // With a path it is a resource.
    for target in ["/", "http://test/*", "http://test//"] {
        assert_eq!(
            server.request("OPTIONS", target, &[]).status,
            404,
            "{target}"
        );
    }
}

#[test]
fn unsupported_method_on_a_known_path_is_rejected_with_the_methods() {
    let server = Server::start();
    let token = format!("Authorization: Bearer {}", good_token());
    let methods = [
        "POST", "PUT", "DELETE", "PATCH", "QUERY", "TRACE", "BREW", "get", "Get", "HEADS",
    ];
    for path in OTHERS {
        for method in methods {
            for fields in [&[] as &[&str], &[&token]] {
                let response = server.request(method, path, fields);
                let context = format!("{method} {path}: {response:?}");
                assert_eq!(response.status, 405, "{context}");
                assert_eq!(
                    response.field("allow"),
                    Some("GET, HEAD, OPTIONS"),
                    "{context}"
                );
                assert_eq!(
                    response.field("cache-control"),
                    is_guarded(path).then_some("no-store"),
                    "{context}"
                );
                assert_eq!(
                    response.content,
                    r#"{"code":"method_not_allowed","message":"this resource supports only GET, HEAD and OPTIONS"}"#
                );
                assert_json(&response);
            }
        }
    }
}

/// Sends this request and another, which must not be served: the first gets a 400 with this
/// message, or without content if it is about the gate, and the connection ends.
fn assert_bad_request(server: &Server, head: &str, message: &str) {
    let mut client = server.connect();
    client.send(format!(
        "{head}GET /resource HTTP/1.1\r\nHost: test\r\n\r\n"
    ));
    let is_head = head.starts_with("HEAD ");
    let response = client.response_to(if is_head { "HEAD" } else { "GET" });
    let context = format!("{head}{response:?}");
    assert_eq!(response.status, 400, "{context}");
    // To HTTP/1.0 hyper adds `keep-alive`, which means nothing beside `close` (RFC 9112 §9.3).
    let connection = response.field("connection").expect("what comes next");
    assert_eq!(connection.split(", ").next(), Some("close"), "{context}");
    for absent in ["x-auth-request-user", "www-authenticate", "allow"] {
        assert_eq!(response.field(absent), None, "{context}");
    }
    let target = head.split(' ').nth(1).expect("a target");
    let path = target.find("/auth").map_or("", |at| &target[at..]);
    if path == "/auth" || path.starts_with("/auth?") {
        assert_eq!(response.field("content-length"), Some("0"), "{context}");
        assert_eq!(
            response.field("cache-control"),
            Some("no-store"),
            "{context}"
        );
    } else if !is_head {
        assert_json(&response);
        assert_eq!(response.code().as_deref(), Some("bad_request"), "{context}");
        assert_eq!(response.message().as_deref(), Some(message), "{context}");
    }
    assert_eq!(client.rest(), b"", "{context}");
}

/// RFC 9110 §9.3.6: to a client a 2xx would begin a tunnel.
#[test]
fn connect_is_a_bad_request_whatever_its_target() {
    let server = Server::start();
    let good = format!("Authorization: Bearer {}\r\n", good_token());
    for target in [
        "test:80",
        "test",
        "[::1]:80",
        "/resource",
        "/resource/secret",
        "/auth",
        "/auth?a",
        "/healthz",
        "/nowhere",
        "/",
        "*",
        "http://test/resource",
        "http://test",
        "u@test:80",
        "ftp://test/",
    ] {
        for fields in [
            "Host: test\r\n",
            "",
            "Host: test\r\nHost: test\r\n",
            &format!("Host: test\r\n{good}"),
            "Host: test\r\nContent-Length: 0\r\n",
            "Host: test\r\nUpgrade: h2c\r\nConnection: upgrade\r\n",
        ] {
            for version in ["1.0", "1.1"] {
                let head = format!("CONNECT {target} HTTP/{version}\r\n{fields}\r\n");
                assert_bad_request(
                    &server,
                    &head,
                    "CONNECT is not supported: this server is not a proxy",
                );
            }
        }
    }
}

/// RFC 9112 §3.2, RFC 9110 §4.2.
#[test]
fn target_that_has_none_of_the_forms_is_a_bad_request() {
    let server = Server::start();
    let good = format!("Authorization: Bearer {}\r\n", good_token());
    let asterisk = "the request target * is for OPTIONS only";
    let user = "the request target names a user before its host: remove all up to the at sign";
    let other = "expected a request target that is a path or an http or https URL";
    for method in ["GET", "HEAD", "POST", "OPTIONS", "QUERY", "BREW"] {
        for (target, message) in [
            ("*", asterisk),
            ("test:80", other),
            ("test", other),
            ("resource", other),
            ("a", other),
            ("localhost:5000", other),
            ("[::1]:80", other),
            ("mailto:a@test", other),
            ("u@test", other),
            ("http://u@test/resource", user),
            ("http://u:p@test/resource", user),
            ("http://@test/resource", user),
            ("https://u@test/auth", user),
            ("http://a@b@test/resource", user),
            ("http://u@test", user),
            ("ftp://test/resource", other),
            ("ws://test/auth", other),
            ("httpx://test/resource", other),
            ("http://:80/resource", other),
            ("http://test:port/resource", other),
            ("http://test:80x/resource", other),
            ("http://[::1/]/resource", other),
            ("http://[::1]x/resource", other),
            ("http://[]/resource", other),
            ("http://[test]/auth", other),
            ("http://[1:2:3]/resource", other),
        ] {
            if (method, target) == ("OPTIONS", "*") || target.contains("[::1/]") {
                continue;
            }
            for version in ["1.0", "1.1"] {
                let head = format!("{method} {target} HTTP/{version}\r\nHost: test\r\n{good}\r\n");
                assert_bad_request(&server, &head, message);
            }
        }
    }
}

/// What hyper itself finds no target in has no content; it is a 400 and the end all the same.
#[test]
fn target_that_hyper_rejects_is_a_bad_request_too() {
    let server = Server::start();
    for target in [
        "http:///resource",
        "http:/resource",
        "http:resource",
        "resource/secret",
        "urn:a:b",
        "*a?",
        "*/auth",
        "?/auth",
        "test:80/auth",
        "http://[::1/auth",
        "http://te%20st/auth",
        "http://test:80:80/auth",
        "\\auth",
        "#/auth",
        "http://u@/auth",
        "http://",
    ] {
        for method in ["GET", "OPTIONS", "POST"] {
            let (mut client, response) = exchange(
                &server,
                format!(
                    "{method} {target} HTTP/1.1\r\nHost: test\r\n\r\nGET /resource HTTP/1.1\r\nHost: test\r\n\r\n"
                ),
            );
            assert_eq!(response.status, 400, "{method} {target}");
            assert_eq!(client.rest(), b"", "{method} {target}");
        }
    }
}

#[test]
fn path_that_is_not_exactly_a_route_is_not_found() {
    let server = Server::start();
    let token = format!("Authorization: Bearer {}", good_token());
    for path in [
        "/",
        "//",
        "/resource/",
        "/resource/secret/",
        "/healthz/",
        "//resource",
        "/resource//secret",
        "/Resource",
        "/RESOURCE",
        "/resource/Secret",
        "/AUTH",
        "/%72esource",
        "/resource%2Fsecret",
        "/resource%2fsecret",
        "/resource/%73ecret",
        "/resource%00",
        "/resource%20",
        "/resource%3F",
        "/./resource",
        "/resource/.",
        "/resource/../resource",
        "/resource/x/../secret",
        "/resource/secret/..",
        "/resource;a=b",
        "/resource/secret;",
        "/resource,",
        "/resourc",
        "/resources",
        "/resource/secre",
        "/resource/secrets",
        "/auths",
        "/healthz.json",
        "/x/resource",
    ] {
        for method in ["GET", "HEAD", "OPTIONS", "POST", "BREW"] {
            let response = server.request(method, path, &[&token]);
            let context = format!("{method} {path}: {response:?}");
            assert_eq!(response.status, 404, "{context}");
            assert_eq!(response.field("cache-control"), None, "{context}");
            assert_eq!(response.field("allow"), None, "{context}");
            if method != "HEAD" {
                assert_eq!(
                    response.content,
                    r#"{"code":"not_found","message":"no such resource"}"#
                );
                assert_json(&response);
            }
        }
    }
}

#[test]
fn query_is_ignored() {
    let server = Server::start();
    for query in [
        "?",
        "?a=b",
        "?/secret",
        "?a=b?c",
        "?%2Fsecret&x='",
        "?a=/../x",
    ] {
        assert_eq!(
            server.get(&format!("/resource{query}"), &[]).content,
            PUBLIC,
            "{query}"
        );
        let secret = format!("/resource/secret{query}");
        assert_eq!(server.get(&secret, &[]).status, 401, "{query}");
        assert_eq!(
            server.get_with_token(&secret, &good_token()).content,
            SECRET_RESOURCE,
            "{query}"
        );
        assert_eq!(
            server.get(&format!("/nowhere{query}"), &[]).status,
            404,
            "{query}"
        );
    }
}

/// RFC 9112 §3.2.2.
#[test]
fn absolute_form_names_the_same_resources() {
    let server = Server::start();
    for (target, status) in [
        ("http://test/resource", 200),
        ("HTTP://other:99/resource?a=b", 200),
        ("http://test/resource/secret", 401),
        ("http://test/auth", 401),
        ("http://test/resource/", 404),
        ("https://test/resource", 200),
        ("http://[::1]:80/resource", 200),
        ("http://test:/resource", 200),
        ("http://test/", 404),
        ("http://test", 404),
        ("http://test?/resource", 404),
    ] {
        assert_eq!(server.get(target, &[]).status, status, "{target}");
    }
    let response = server.get_with_token("http://test/resource/secret", &good_token());
    assert_eq!(response.content, SECRET_RESOURCE);
}

/// RFC 9112 §3.2.
#[test]
fn host_missing_twice_or_invalid_is_a_bad_request_and_closes() {
    let server = Server::start();
    let token = good_token();
    for (version, hosts) in [
        ("1.1", ""),
        ("1.1", "Host: test\r\nHost: test\r\n"),
        ("1.1", "Host: test\r\nhost: other\r\n"),
        ("1.1", "Host: test\r\nHost:\r\n"),
        ("1.1", "Host:\r\nHost:\r\n"),
        ("1.0", "Host: test\r\nHost: test\r\n"),
        ("1.0", "Host: a b\r\n"),
        ("1.1", "Host: a b\r\n"),
        ("1.1", "Host: a/b\r\n"),
        ("1.1", "Host: http://a\r\n"),
        ("1.1", "Host: a@b\r\n"),
        ("1.1", "Host: a?b\r\n"),
        ("1.1", "Host: a#b\r\n"),
        ("1.1", "Host: \"a\"\r\n"),
        ("1.1", "Host: <a>\r\n"),
        ("1.1", "Host: a|b\r\n"),
        ("1.1", "Host: {a}\r\n"),
        ("1.1", "Host: a^b\r\n"),
        ("1.1", "Host: a`b\r\n"),
        ("1.1", "Host: a\tb\r\n"),
        ("1.1", "Host: a\\b\r\n"),
        ("1.1", "Host: a, b\r\n"),
        ("1.1", "Host: \u{e9}\r\n"),
        // Each `%` is followed by two hexadecimal digits.
        ("1.1", "Host: a%zz\r\n"),
        ("1.1", "Host: a%\r\n"),
        ("1.1", "Host: a%4\r\n"),
        ("1.1", "Host: a%4g\r\n"),
        ("1.1", "Host: a%4:80\r\n"),
        ("1.1", "Host: %%41\r\n"),
        ("1.1", "Host: [::1\r\n"),
        ("1.1", "Host: ::1]\r\n"),
        ("1.1", "Host: ::1\r\n"),
        ("1.1", "Host: [::1]5000\r\n"),
        ("1.1", "Host: [::1]]\r\n"),
        ("1.1", "Host: [[::1]]\r\n"),
        ("1.1", "Host: a[::1]\r\n"),
        ("1.1", "Host: []\r\n"),
        ("1.1", "Host: [a]\r\n"),
        ("1.1", "Host: [127.0.0.1]\r\n"),
        ("1.1", "Host: [::1::2]\r\n"),
        ("1.1", "Host: [1:2:3:4:5:6:7:8:9]\r\n"),
        ("1.1", "Host: [12345::]\r\n"),
        ("1.1", "Host: [fe80::1%25eth0]\r\n"),
        ("1.1", "Host: [v.a]\r\n"),
        ("1.1", "Host: [v1]\r\n"),
        ("1.1", "Host: [v1.]\r\n"),
        ("1.1", "Host: [vg.a]\r\n"),
        ("1.1", "Host: [v1.%41]\r\n"),
        ("1.1", "Host: test:port\r\n"),
        ("1.1", "Host: test:-1\r\n"),
        ("1.1", "Host: test:+80\r\n"),
        ("1.1", "Host: test:80 80\r\n"),
        ("1.1", "Host: test:80:80\r\n"),
        // A port without a host.
        ("1.1", "Host: :80\r\n"),
        ("1.1", "Host: :\r\n"),
    ] {
        for path in PATHS
            .into_iter()
            .chain(["/nowhere", "*", "http://test/resource"])
        {
            for method in ["GET", "OPTIONS", "POST", "HEAD"] {
                if path == "*" && method != "OPTIONS" {
                    continue;
                }
                let head = format!(
                    "{method} {path} HTTP/{version}\r\n{hosts}\
                     Authorization: Bearer {token}\r\nConnection: keep-alive\r\n\r\n"
                );
                assert_bad_request(
                    &server,
                    &head,
                    "expected exactly one Host field: a host and an optional port",
                );
            }
        }
    }
}

#[test]
fn host_in_any_legal_form_is_served() {
    let server = Server::start();
    for (version, hosts) in [
        ("1.0", ""),
        ("1.0", "Host: test\r\n"),
        ("1.1", "Host: test\r\n"),
        ("1.1", "HOST:test:80\r\n"),
        ("1.1", "Host: 127.0.0.1:5000\r\n"),
        ("1.1", "Host: [::1]:5000\r\n"),
        ("1.1", "Host: [::1]\r\n"),
        // RFC 3986 §3.2.3: a port may be empty.
        ("1.1", "Host: test:\r\n"),
        ("1.1", "Host: xn--bcher-kva.example\r\n"),
        ("1.1", "Host: under_score.example\r\n"),
        ("1.1", "Host: t%C3%A9st\r\n"),
        ("1.1", "Host: %41:80\r\n"),
        // RFC 3986 §3.2.2: a name may have these.
        ("1.1", "Host: a-._~!$&'()*+,;=b\r\n"),
        ("1.1", "Host: a,b\r\n"),
        ("1.1", "Host: [2001:db8::192.0.2.1]:80\r\n"),
        ("1.1", "Host: [1:2:3:4:5:6:7:8]\r\n"),
        ("1.1", "Host: [::]\r\n"),
        ("1.1", "Host: [v1F.a:b]\r\n"),
        ("1.1", "Host: \t test \t\r\n"),
        // RFC 9112 §3.2: empty where the target has no authority.
        ("1.1", "Host:\r\n"),
        ("1.1", "Host: \r\n"),
    ] {
        let (_, response) = exchange(
            &server,
            format!("GET /resource HTTP/{version}\r\n{hosts}\r\n"),
        );
        assert_eq!(response.status, 200, "{version} {hosts:?}");
    }
}

#[test]
fn request_that_is_not_http_is_rejected_without_content_and_closes() {
    let server = Server::start();
    let long = format!(
        "GET / HTTP/1.1\r\nHost: test\r\nX: {}\r\n\r\n",
        "x".repeat(17_000)
    );
    for (bytes, status) in [
        ("GET  /resource HTTP/1.1\r\nHost: test\r\n\r\n", 400),
        ("GET /resource\r\n\r\n", 400),
        ("GET /resource HTTP/1.1\r\nHost : test\r\n\r\n", 400),
        (
            "GET /resource HTTP/1.1\r\nHost: test\r\nno colon\r\n\r\n",
            400,
        ),
        (long.as_str(), 431),
    ] {
        let (mut client, response) = exchange(&server, bytes);
        assert_eq!(response.status, status, "{response:?}");
        assert_eq!(response.field("content-length"), Some("0"), "{response:?}");
        assert_eq!(response.field("connection"), Some("close"), "{response:?}");
        assert!(client.is_closed_within(PATIENCE));
    }
}

#[test]
fn connection_is_kept_for_further_requests() {
    let server = Server::start();
    let mut client = server.connect();
    for _ in 0..50 {
        client.request("GET", "/resource", &[]);
        assert_eq!(client.response().content, PUBLIC);
        client.request("GET", "/resource/secret", &[]);
        assert_eq!(client.response().status, 401);
        client.request("HEAD", "/healthz", &[]);
        assert_eq!(client.response_to("HEAD").status, 200);
        client.request("GET", "/auth", &[]);
        assert_eq!(client.response().status, 401);
        client.request("POST", "/nowhere", &[]);
        assert_eq!(client.response().status, 404);
    }
}

/// RFC 9112 §9.3.
#[test]
fn connection_closes_when_the_client_asks() {
    let server = Server::start();
    let mut client = server.connect();
    client.request("GET", "/resource", &["Connection: close"]);
    let response = client.response();
    assert_eq!(response.status, 200);
    assert_eq!(response.field("connection"), Some("close"));
    assert!(client.is_closed_within(PATIENCE));
}

/// RFC 9112 §9.3: a connection of HTTP/1.0 lasts for one request, or for as long as each asks.
#[test]
fn http_1_0_is_served_and_kept_alive_only_on_request() {
    let server = Server::start();
    let (mut client, response) = exchange(&server, "GET /resource HTTP/1.0\r\n\r\n");
    assert_eq!(response.content, PUBLIC);
    assert!(client.is_closed_within(PATIENCE));

    let mut client = server.connect();
    for _ in 0..3 {
        client.send("GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        let response = client.response();
        assert_eq!(response.content, HEALTH);
        assert_eq!(response.field("connection"), Some("keep-alive"));
    }
    client.send("GET /resource HTTP/1.0\r\n\r\n");
    assert_eq!(client.response().content, PUBLIC);
    assert!(client.is_closed_within(PATIENCE));
}

#[test]
fn request_before_a_half_close_is_served() {
    let server = Server::start();
    for _ in 0..20 {
        let mut client = server.connect();
        client.request("GET", "/resource", &[]);
        client.finish_sending();
        assert_eq!(client.response().content, PUBLIC);
        assert!(client.is_closed_within(PATIENCE));

        // Two requests, and the end of the sending in the same moment.
        let mut client = server.connect();
        client.send(
            "GET /resource HTTP/1.1\r\nHost: test\r\n\r\n\
             GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n",
        );
        client.finish_sending();
        assert_eq!(client.response().content, PUBLIC);
        assert_eq!(client.response().content, HEALTH);
        assert!(client.is_closed_within(PATIENCE));
    }
}

#[test]
fn head_in_single_bytes_is_served() {
    let server = Server::start();
    let mut client = server.connect();
    for _ in 0..2 {
        for byte in b"GET /resource HTTP/1.1\r\nHost: test\r\n\r\n" {
            client.send([*byte]);
        }
        assert_eq!(client.response().content, PUBLIC);
    }
}

#[test]
fn pipelined_requests_are_served_in_order() {
    let server = Server::start();
    let mut client = server.connect();
    let token = good_token();
    let mut requests = String::new();
    for _ in 0..20 {
        for (method, path, fields) in [
            ("GET", "/resource", String::new()),
            ("HEAD", "/resource", String::new()),
            (
                "GET",
                "/resource/secret",
                format!("Authorization: Bearer {token}\r\n"),
            ),
            ("GET", "/resource/secret", String::new()),
            ("OPTIONS", "/healthz", String::new()),
            ("GET", "/nowhere", String::new()),
            ("DELETE", "/healthz", String::new()),
            ("GET", "/healthz", String::new()),
        ] {
            requests.push_str(&format!(
                "{method} {path} HTTP/1.1\r\nHost: test\r\n{fields}\r\n"
            ));
        }
    }
    client.send(requests);
    for _ in 0..20 {
        assert_eq!(client.response().content, PUBLIC);
        assert_eq!(
            client.response_to("HEAD").field("content-length"),
            Some("48")
        );
        assert_eq!(client.response().content, SECRET_RESOURCE);
        assert_eq!(client.response().status, 401);
        assert_eq!(client.response().status, 204);
        assert_eq!(client.response().status, 404);
        assert_eq!(client.response().status, 405);
        assert_eq!(client.response().content, HEALTH);
    }
    client.finish_sending();
    assert_eq!(client.rest(), b"");
}

/// A server that leaves Nagle's algorithm on holds the second response until the client's delayed
/// acknowledgement of the first: 40 ms on Linux.
#[test]
fn pipelined_requests_wait_for_no_delayed_acknowledgement() {
    let server = Server::start();
    let mut client = server.connect();
    let mut times: Vec<Duration> = (0..31)
        .map(|_| {
            let started = Instant::now();
            client.send(
                "GET /resource HTTP/1.1\r\nHost: test\r\n\r\n\
                 GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n",
            );
            assert_eq!(client.response().content, PUBLIC);
            assert_eq!(client.response().content, HEALTH);
            started.elapsed()
        })
        .collect();
    times.sort_unstable();
    assert!(times[15] < Duration::from_millis(20), "{times:?}");
}

/// Content has no meaning in these requests (RFC 9110 §9.3.1), and its end is where the next
/// request begins all the same.
#[test]
fn content_of_a_get_does_not_shift_the_next_request() {
    let server = Server::start();
    let smuggled = "GET /auth HTTP/1.1\r\nHost: test\r\n\r\n";
    for path in PATHS.into_iter().chain(["/nowhere"]) {
        for method in ["GET", "OPTIONS", "POST"] {
            let mut client = server.connect();
            client.send(format!(
                "{method} {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n{smuggled}\
                 GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n",
                smuggled.len()
            ));
            let first = client.response().status;
            assert_eq!(first, server.request(method, path, &[]).status);
            assert_eq!(client.response().content, HEALTH, "{method} {path}");
            client.finish_sending();
            assert_eq!(client.rest(), b"", "{method} {path}");
        }
    }
}

/// As above, where the server may rather close than look for the end of the content.
#[test]
fn content_in_chunks_or_later_is_never_taken_for_a_request() {
    let server = Server::start();
    let smuggled = "GET /auth HTTP/1.1\r\nHost: test\r\n\r\n";
    let len = smuggled.len();
    let next = "GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n";
    let chunked = format!("{len:x}\r\n{smuggled}\r\n{len:x}\r\n{smuggled}\r\n0\r\n\r\n{next}");
    let plain = format!("{smuggled}{next}");
    for (field, content) in [
        ("Transfer-Encoding: chunked".to_owned(), chunked),
        (format!("Content-Length: {len}"), plain),
    ] {
        for is_later in [false, true] {
            let head = format!("GET /resource HTTP/1.1\r\nHost: test\r\n{field}\r\n\r\n");
            let mut client = server.connect();
            if is_later {
                client.send(head);
                assert_eq!(client.response().content, PUBLIC);
                // The server may have closed by now, which fails this write and nothing else.
                let _ = std::io::Write::write_all(&mut client.stream, content.as_bytes());
            } else {
                client.send(format!("{head}{content}"));
                assert_eq!(client.response().content, PUBLIC);
            }
            let _ = client.stream.shutdown(std::net::Shutdown::Write);
            let rest = String::from_utf8(client.rest()).expect("ASCII");
            assert!(
                rest.is_empty() || (rest.matches("HTTP/1.1").count() == 1 && rest.contains(HEALTH)),
                "{field}: {rest}"
            );
        }
    }
}

/// RFC 9110 §10.1.1: the final response may come at once, without the interim one.
#[test]
fn expectation_of_a_continue_gets_the_final_response_at_once() {
    let server = Server::start();
    for (method, path, status) in [
        ("GET", "/resource", 200),
        ("GET", "/resource/secret", 401),
        ("POST", "/resource", 405),
        ("POST", "/nowhere", 404),
    ] {
        let mut client = server.connect();
        client.request(
            method,
            path,
            &["Content-Length: 20", "Expect: 100-continue"],
        );
        assert_eq!(client.response().status, status, "{method} {path}");
        client.finish_sending();
        assert_eq!(client.rest(), b"", "{method} {path}");
    }
}

#[test]
fn request_without_content_may_expect_a_continue() {
    let server = Server::start();
    let mut client = server.connect();
    for _ in 0..2 {
        client.request("GET", "/resource", &["Expect: 100-continue"]);
        assert_eq!(client.response().content, PUBLIC);
    }
}

/// An upgrade is an offer (RFC 9110 §7.8), and is not taken.
#[test]
fn upgrade_is_not_taken() {
    let server = Server::start();
    let mut client = server.connect();
    for protocol in ["h2c", "websocket"] {
        let upgrade = format!("Upgrade: {protocol}");
        client.request("GET", "/resource", &[&upgrade, "Connection: upgrade"]);
        assert_eq!(client.response().content, PUBLIC, "{protocol}");
    }
}

#[test]
fn response_names_no_software() {
    let server = Server::start();
    for path in PATHS.into_iter().chain(["/nowhere"]) {
        let response = server.get(path, &[]);
        assert_eq!(response.field("server"), None);
        assert_eq!(response.field("x-powered-by"), None);
    }
}
