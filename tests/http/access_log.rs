//! `API_LOG=access`: one line of JSON for each request, and output that never blocks a request.

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{
    Client, PATIENCE, SECRET, Server, command, finish, good_token, lines, now, shell, token,
    unused_port,
};

fn logging() -> Server {
    Server::with(&[("API_LOG", "access")])
}

/// The next line of a server, which has to be one of its access log.
fn next_entry(server: &Server) -> (String, Value) {
    let line = server.output.recv_timeout(PATIENCE).expect("a line");
    let entry = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
    (line, entry)
}

/// Asserts that no further line is written before the exit.
fn assert_nothing_more(mut server: Server) {
    server.end();
    assert_eq!(server.output.iter().collect::<Vec<_>>(), [""; 0]);
    assert_eq!(server.errors.iter().collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn entry_has_the_documented_fields_and_no_other() {
    let server = logging();
    let expired = token(r#"{"sub":"alice","exp":1}"#);
    let spaced = token(r#"{"sub":"a b"}"#);
    let nameless = token(r#"{"scope":"read"}"#);
    let reader = token(r#"{"sub":"alice","scope":"read"}"#);
    let good = good_token();
    let bearer = |token: &str| format!("Authorization: Bearer {token}");
    let host = || "Host: another".to_owned();
    let none = String::new;
    for (method, target, field, status, error, user) in [
        ("GET", "/resource", none(), 200, None, None),
        ("HEAD", "/healthz", none(), 200, None, None),
        // Nothing has verified this token.
        ("GET", "/resource", bearer(&good), 200, None, None),
        (
            "OPTIONS",
            "/resource/secret",
            bearer(&good),
            204,
            None,
            None,
        ),
        ("OPTIONS", "*", none(), 204, None, None),
        (
            "GET",
            "/resource/secret",
            bearer(&good),
            200,
            None,
            Some("alice"),
        ),
        (
            "GET",
            "/resource/secret",
            bearer(&spaced),
            200,
            None,
            Some("a b"),
        ),
        ("GET", "/auth", bearer(&good), 200, None, Some("alice")),
        ("HEAD", "/auth", bearer(&good), 200, None, Some("alice")),
        ("DELETE", "/auth", bearer(&good), 200, None, Some("alice")),
        (
            "OPTIONS",
            "/auth",
            none(),
            401,
            Some(("credentials_required", "no_credentials")),
            None,
        ),
        (
            "GET",
            "/resource/secret",
            none(),
            401,
            Some(("credentials_required", "no_credentials")),
            None,
        ),
        (
            "GET",
            "/auth",
            "Authorization: Bearer".into(),
            401,
            Some(("invalid_request", "no_token")),
            None,
        ),
        (
            "POST",
            "/auth",
            bearer(&expired),
            401,
            Some(("invalid_token", "expired")),
            None,
        ),
        (
            "HEAD",
            "/resource/secret",
            bearer(&format!("{}AAAA", &good[..good.len() - 4])),
            401,
            Some(("invalid_token", "wrong_signature")),
            None,
        ),
        (
            "GET",
            "/auth",
            bearer(&spaced),
            403,
            Some(("unusable_subject", "unusable_subject")),
            Some("a b"),
        ),
        (
            "GET",
            "/auth",
            bearer(&nameless),
            403,
            Some(("unusable_subject", "missing_subject")),
            None,
        ),
        (
            "GET",
            "/auth/read",
            bearer(&nameless),
            403,
            Some(("unusable_subject", "missing_subject")),
            None,
        ),
        (
            "PUT",
            "/auth/read",
            bearer(&reader),
            200,
            None,
            Some("alice"),
        ),
        (
            "PUT",
            "/auth/read+admin",
            bearer(&reader),
            403,
            Some(("insufficient_scope", "insufficient_scope")),
            Some("alice"),
        ),
        (
            "GET",
            "/nowhere",
            none(),
            404,
            Some(("not_found", "not_found")),
            None,
        ),
        (
            "DELETE",
            "/resource",
            none(),
            405,
            Some(("method_not_allowed", "method_not_allowed")),
            None,
        ),
        (
            "GET",
            "/resource",
            host(),
            400,
            Some(("bad_request", "invalid_host")),
            None,
        ),
        (
            "GET",
            "/auth",
            host(),
            400,
            Some(("bad_request", "invalid_host")),
            None,
        ),
        (
            "CONNECT",
            "/resource",
            none(),
            400,
            Some(("bad_request", "connect")),
            None,
        ),
        (
            "GET",
            "*",
            none(),
            400,
            Some(("bad_request", "asterisk_target")),
            None,
        ),
    ] {
        let before = now();
        let mut client = server.connect();
        let fields: &[&str] = if field.is_empty() { &[] } else { &[&field] };
        client.request(method, target, fields);
        let response = client.response_to(method);
        assert_eq!(response.status, status, "{method} {target}");
        let (line, entry) = next_entry(&server);

        let object = entry.as_object().expect("an object");
        let mut names: Vec<_> = object.keys().map(String::as_str).collect();
        names.sort_unstable();
        let mut expected = vec!["duration_us", "method", "path", "peer", "status", "time"];
        expected.extend(error.iter().flat_map(|_| ["code", "rule"]));
        expected.extend(user.map(|_| "user"));
        expected.sort_unstable();
        assert_eq!(names, expected, "{line}");

        assert_eq!(entry["method"], method);
        assert_eq!(entry["path"], target);
        assert_eq!(entry["status"], status);
        let (code, rule) = error.unzip();
        assert_eq!(entry.get("code").and_then(Value::as_str), code, "{line}");
        assert_eq!(entry.get("rule").and_then(Value::as_str), rule, "{line}");
        assert_eq!(entry.get("user").and_then(Value::as_str), user, "{line}");
        if !response.content.is_empty() {
            assert_eq!(response.code().as_deref(), code, "{line}");
        }
        let peer = client.stream.local_addr().expect("an address");
        assert_eq!(entry["peer"], peer.to_string());
        let took = entry["duration_us"].as_u64().expect("microseconds");
        assert!(u128::from(took) < PATIENCE.as_micros(), "{line}");
        let time = entry["time"].as_f64().expect("seconds");
        assert!(
            (before as f64..now() as f64 + 1.0).contains(&time),
            "{line}"
        );
        let time = line
            .split_once("\"time\":")
            .and_then(|(_, rest)| rest.split_once(','))
            .expect("a time")
            .0;
        assert_eq!(
            time.split_once('.').expect("a fraction").1.len(),
            3,
            "{line}"
        );
        for secret in [SECRET, &good, &expired, &spaced] {
            assert!(!line.contains(secret), "{line}");
        }
    }
    assert_nothing_more(server);
}

/// A target without a path names a host, or something that should have been a field.
#[test]
fn target_that_is_not_a_path_is_not_logged() {
    let server = logging();
    let good = good_token();
    for (target, rule) in [
        ("test:80", "invalid_target"),
        ("xyzzy", "invalid_target"),
        (good.as_str(), "invalid_target"),
        ("u:xyzzy@test", "invalid_target"),
        ("http://u:xyzzy@test/resource", "userinfo_in_target"),
        ("xyzzy://test/resource", "invalid_target"),
    ] {
        assert_eq!(server.get(target, &[]).status, 400, "{target}");
        let (line, entry) = next_entry(&server);
        assert_eq!(entry["rule"], rule, "{line}");
        let path = if target.contains("/resource") {
            "/resource"
        } else {
            ""
        };
        assert_eq!(entry["path"], path, "{line}");
        assert!(!line.contains("xyzzy") && !line.contains("eyJ"), "{line}");
    }
    assert_nothing_more(server);
}

/// Also the user that the gate rejects because it cannot name it.
#[test]
fn user_is_logged_escaped_and_up_to_255_characters() {
    let server = logging();
    let longest = "x".repeat(255);
    for (user, logged, status) in [
        ("alice", "alice", 200),
        (&longest, longest.as_str(), 200),
        (&format!("{longest}y"), &longest, 403),
        (&"y".repeat(5000), &"y".repeat(255), 403),
        (r#"a"b\c"#, r#"a"b\c"#, 200),
        (r#"","status":200,"x":""#, r#"","status":200,"x":""#, 200),
        ("18446744073709551615", "18446744073709551615", 200),
        ("a b", "a b", 403),
        ("a\nb\r\u{1b}[31m\u{2028}", "a\nb\r\u{1b}[31m\u{2028}", 403),
        ("日本😀", "日本😀", 403),
        ("", "", 403),
    ] {
        let sub = Value::from(user);
        for (path, status) in [("/auth", status), ("/resource/secret", 200)] {
            let token = token(&format!(r#"{{"sub":{sub}}}"#));
            assert_eq!(server.get_with_token(path, &token).status, status, "{user}");
            let (line, entry) = next_entry(&server);
            assert_eq!(entry["user"], logged, "{line}");
            assert!(
                line.bytes().all(|byte| matches!(byte, b' '..=b'~')),
                "{line:?}"
            );
        }
    }
    server.get_with_token("/resource/secret", &token(r#"{"sub":42}"#));
    assert_eq!(next_entry(&server).1["user"], "42");
    for claims in ["{}", r#"{"sub":null}"#, r#"{"sub":{}}"#] {
        server.get_with_token("/resource/secret", &token(claims));
        assert_eq!(next_entry(&server).1.get("user"), None, "{claims}");
    }
    assert_nothing_more(server);
}

#[test]
fn entry_of_each_request_on_one_connection_is_written_in_order() {
    let server = logging();
    let mut client = server.connect();
    let mut requests = String::new();
    for number in 0..100 {
        requests.push_str(&format!("GET /{number} HTTP/1.1\r\nHost: test\r\n\r\n"));
    }
    client.send(requests);
    for number in 0..100 {
        assert_eq!(client.response().status, 404);
        assert_eq!(next_entry(&server).1["path"], format!("/{number}"));
    }
    assert_nothing_more(server);
}

#[test]
fn query_is_not_logged() {
    let server = logging();
    let good = good_token();
    for target in [
        format!("/resource?access_token={good}"),
        format!("/resource?{good}?x#{good}"),
        format!("http://user:{SECRET}@test/resource?token={good}").replace([' ', ','], ""),
    ] {
        server.get(&target, &[]);
    }
    let mut count = 0;
    let mut server = server;
    server.end();
    for line in server.output.iter() {
        assert!(!line.contains("eyJ") && !line.contains('?'), "{line}");
        assert!(!line.contains("secret"), "{line}");
        let entry: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(entry["path"], "/resource");
        count += 1;
    }
    assert_eq!(count, 3);
}

/// Without the field's name the token becomes a part of the path.
#[test]
fn long_path_and_method_are_cut_to_64_characters() {
    let server = logging();
    let path_of = |len: usize| format!("/{}", "p".repeat(len - 1));
    for (path, logged) in [
        (path_of(63), path_of(63)),
        (path_of(64), path_of(64)),
        (path_of(65), path_of(64)),
        (path_of(8000), path_of(64)),
    ] {
        assert_eq!(server.get(&path, &[]).status, 404);
        assert_eq!(next_entry(&server).1["path"], logged);
    }
    for (len, logged) in [(64, 64), (65, 64), (2000, 64)] {
        let method = "M".repeat(len);
        assert_eq!(server.request(&method, "/resource", &[]).status, 405);
        assert_eq!(next_entry(&server).1["method"], "M".repeat(logged));
    }
    let token = token(&format!(r#"{{"sub":"{}"}}"#, "a".repeat(200)));
    let (_, signature) = token.rsplit_once('.').expect("a signature");
    server.get(&format!("/resource/secret/{token}"), &[]);
    server.request(&token.replace(['.', '_'], "-"), "/resource", &[]);
    for _ in 0..2 {
        let (line, _) = next_entry(&server);
        assert!(!line.contains(signature), "{line}");
        assert!(!line.contains(&token[..100]), "{line}");
    }
    assert_nothing_more(server);
}

/// One line for each, whatever its bytes, and none that a terminal or a log reader could take for
/// something else.
#[test]
fn hostile_paths_and_methods_are_one_line_each() {
    let server = logging();
    let mut served = 0;
    let nasty: Vec<Vec<u8>> = [
        "/\"",
        "/\\",
        "/\\\"",
        "/\",\"status\":200,\"x\":\"",
        "/%0a%0d{}",
        "/%00",
        "/{\"a\":[1,2]}",
        "/é",
        "/日本😀",
        "/\u{2028}\u{2029}\u{85}",
        "/\u{202e}",
        "/\u{7f}",
        "/\u{1b}[31m",
        "/'`$(reboot)<script>",
        "/|^[]{}",
    ]
    .into_iter()
    .map(|path| path.as_bytes().to_vec())
    .chain([
        b"/\xff\xfe".to_vec(),
        b"/\xc3".to_vec(),
        b"/\xed\xa0\x80".to_vec(),
    ])
    .collect();
    for path in &nasty {
        let mut client = server.connect();
        let request = [b"GET ", path.as_slice(), b" HTTP/1.1\r\nHost: test\r\n\r\n"].concat();
        client.send(request);
        match client.response().status {
            404 => {
                served += 1;
                let (line, entry) = next_entry(&server);
                assert!(
                    line.bytes().all(|byte| matches!(byte, b' '..=b'~')),
                    "{line:?}"
                );
                assert_eq!(entry["status"], 404, "{line}");
                let logged = entry["path"].as_str().expect("text");
                assert_eq!(logged.as_bytes(), path, "{line}");
            }
            // Not a target to hyper, which rejects it before there is a request.
            status => {
                assert_eq!(status, 400, "{path:?}");
                let (line, entry) = next_entry(&server);
                let (status, path) = (&entry["status"], &entry["path"]);
                assert_eq!((status, path.is_null()), (&400.into(), true), "{line}");
                assert_eq!(entry["rule"], "invalid_head", "{line}");
            }
        }
    }
    assert!(served >= 5, "{served} of {}", nasty.len());
    for method in ["!#$%&'*+-.^_`|~", "'", "G'ET", "a"] {
        assert_eq!(server.request(method, "/resource", &[]).status, 405);
        assert_eq!(next_entry(&server).1["method"], method);
    }
    assert_nothing_more(server);
}

/// Fields, user names and referrers may have secrets and untrusted text.
#[test]
fn fields_of_a_request_are_not_logged() {
    let server = logging();
    let good = good_token();
    server.get(
        "/resource",
        &[
            &format!("Cookie: session={good}"),
            "User-Agent: xyzzy",
            "Referer: http://xyzzy/",
            "X-Forwarded-For: 192.0.2.9",
            &format!("X-Api-Key: {SECRET}"),
        ],
    );
    let (line, _) = next_entry(&server);
    for absent in ["xyzzy", "192.0.2.9", SECRET, "eyJ"] {
        assert!(!line.contains(absent), "{line}");
    }
    assert_nothing_more(server);
}

#[test]
fn nothing_is_logged_for_a_request_by_default() {
    for variables in [&[] as &[_], &[("API_LOG", "errors")]] {
        let server = Server::with(variables);
        for path in ["/resource", "/resource/secret", "/auth", "/nowhere"] {
            server.get(path, &[]);
            server.get_with_token(path, &good_token());
            server.request("DELETE", path, &[]);
        }
        server.connect().send("no HTTP\r\n\r\n");
        assert_nothing_more(server);
    }
}

#[test]
fn last_entries_are_written_before_the_exit() {
    let server = logging();
    let mut client = server.connect();
    for _ in 0..300 {
        client.request("GET", "/resource", &[]);
        client.response();
    }
    let mut server = server;
    server.end();
    assert_eq!(server.output.iter().count(), 300);
}

fn logging_command() -> Command {
    command(&[
        ("API_PORT", "0"),
        ("JWT_SECRET", SECRET),
        ("API_LOG", "access"),
    ])
}

/// The median of the times that requests take, one after the other on one connection.
fn median_time(address: SocketAddr, requests: usize) -> Duration {
    let mut client = Client::to(address);
    let mut times: Vec<_> = (0..requests)
        .map(|_| {
            let started = Instant::now();
            client.request("GET", "/resource", &[]);
            assert_eq!(client.response().status, 200);
            started.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[requests / 2]
}

/// A pipe holds 64 KiB and the queue 128 KiB more, twice: some 2,500 entries. What does not fit is counted,
/// and nothing is lost without being counted.
#[test]
fn full_pipe_slows_no_request_and_its_losses_are_counted() {
    const REQUESTS: usize = 6000;
    let (server, pipe) = Server::spawn_unread(&mut logging_command());
    let silent = Server::start();
    // The pipe fills here.
    let first = median_time(server.address, REQUESTS / 2);
    let blocked = median_time(server.address, REQUESTS / 2);
    let usual = median_time(silent.address, REQUESTS / 2);
    assert!(
        blocked < usual * 3 + Duration::from_millis(1),
        "{first:?}, when blocked {blocked:?}, without a log {usual:?}"
    );

    let (mut written, mut dropped) = (0, 0);
    let output = lines(pipe);
    while written + dropped < REQUESTS {
        let line = output.recv_timeout(PATIENCE).unwrap_or_else(|error| {
            panic!("{error}: {written} written, {dropped} dropped");
        });
        let entry: Value = serde_json::from_str(&line).expect("JSON");
        match entry["dropped_lines"].as_u64() {
            Some(count) => dropped += usize::try_from(count).expect("a count"),
            None => {
                assert_eq!(entry["path"], "/resource");
                written += 1;
            }
        }
    }
    assert_eq!(written + dropped, REQUESTS);
    assert!(dropped > 0 && written > 1024, "{written} {dropped}");
}

#[test]
fn full_pipe_does_not_delay_the_exit() {
    let (mut server, _pipe) = Server::spawn_unread(&mut logging_command());
    median_time(server.address, 3000);
    assert!(server.end() < Duration::from_secs(3));
}

#[test]
fn closed_pipe_stops_no_request() {
    let (mut server, pipe) = Server::spawn_unread(&mut logging_command());
    drop(pipe);
    for _ in 0..20 {
        assert_eq!(server.get("/resource", &[]).status, 200);
    }
    median_time(server.address, 2000);
    server.end();
}

/// Runs the program in a shell that closes some of its descriptors first.
fn closed(variables: &[(&str, &str)], arguments: &str, redirections: &str) -> Command {
    shell(
        &format!("exec \"$0\" {arguments} {redirections}"),
        variables,
    )
}

#[test]
fn output_closed_from_the_start_stops_no_request() {
    for redirections in [
        ">&-",
        "2>&-",
        ">&- 2>&-",
        "<&- >&- 2>&-",
        ">/dev/full 2>/dev/full",
    ] {
        if redirections.contains("/dev/full") && !std::path::Path::new("/dev/full").exists() {
            continue;
        }
        let port = unused_port();
        // A short secret, so that there is a warning to write too.
        let mut command = closed(
            &[
                ("API_PORT", &port.to_string()),
                ("JWT_SECRET", "my super secret key"),
                ("API_LOG", "access"),
            ],
            "",
            redirections,
        );
        // It cannot say when it listens.
        let mut server = Server::spawn_silent(&mut command, port);
        for _ in 0..20 {
            let response = server.get("/resource", &[]);
            assert_eq!(response.status, 200, "{redirections}");
            // A descriptor that was free must not have become a connection that gets the log.
            assert_eq!(server.get("/resource/secret", &[]).status, 401);
        }
        let mut client = server.connect();
        for _ in 0..100 {
            client.request("GET", "/healthz", &[]);
            assert_eq!(client.response().content, r#"{"message":"ok"}"#);
        }
        client.finish_sending();
        assert_eq!(client.rest(), b"", "{redirections}");
        server.signal("TERM");
        assert_eq!(server.wait(PATIENCE).code(), Some(0), "{redirections}");
    }
}

#[test]
fn closed_output_keeps_the_exit_status() {
    for (arguments, variables, status) in [
        ("", &[("API_PORT", "x")] as &[_], 2),
        ("nonsense", &[], 2),
        ("--version", &[], 0),
        ("health", &[("API_HOST", "x")], 1),
    ] {
        let finished = finish(&mut closed(variables, arguments, ">&- 2>&-"));
        assert_eq!(finished.status, Some(status), "{arguments}");
    }
}

/// What hyper rejects has no handler to log it.
#[test]
fn rejected_heads_are_one_line_each() {
    let server = logging();
    let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(17_000));
    let many = "a: b\r\n".repeat(101);
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n");
    for (head, status, rule) in [
        ("nonsense\r\n\r\n", 400, "invalid_head"),
        ("\u{16}\u{3}\u{1}\0\u{2}\r\n\r\n", 400, "invalid_head"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "invalid_head"),
        (&long, 431, "head_too_large"),
        (&many, 431, "head_too_large"),
    ] {
        let mut client = server.connect();
        let port = client.stream.local_addr().expect("an address");
        client.send(head);
        let response = client.response();
        assert_eq!(response.status, status, "{head:?}");
        assert_eq!(response.field("connection"), Some("close"));
        assert!(client.rest().is_empty());
        let (line, entry) = next_entry(&server);
        assert_eq!(entry["status"], status, "{line}");
        assert_eq!(entry["rule"], rule, "{line}");
        assert_eq!(entry["code"], "bad_request", "{line}");
        assert_eq!(entry["peer"], port.to_string(), "{line}");
    }
    // A rejected head behind a request has a line of its own.
    let mut client = server.connect();
    client.send("GET /resource HTTP/1.1\r\nHost: a\r\n\r\nnonsense\r\n\r\n");
    assert_eq!(client.response().status, 200);
    assert_eq!(client.response().status, 400);
    assert_eq!(next_entry(&server).1["status"], 200);
    assert_eq!(next_entry(&server).1["status"], 400);
    assert_nothing_more(server);
}
