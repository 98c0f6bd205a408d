//! The commands of the program, besides serving.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::ffi::OsStrExt;
use std::thread;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::harness::{Finished, SECRET, Server, command, finish, has_ipv6, now, unused_port};

const WITH_SECRET: [(&str, &str); 1] = [("JWT_SECRET", SECRET)];

fn run(variables: &[(&str, &str)], arguments: &[&str]) -> Finished {
    finish(command(variables).args(arguments))
}

/// Asserts that the program exits with this status and one line on standard error.
fn assert_fails(finished: &Finished, status: i32) {
    assert_eq!(finished.status, Some(status), "{finished:?}");
    assert_eq!(finished.output, "", "{finished:?}");
    let line = finished.errors.strip_suffix('\n').expect("a whole line");
    assert!(
        !line.is_empty() && !line.contains(char::is_control),
        "{finished:?}"
    );
}

/// What a program printed that succeeded.
fn succeeded(finished: Finished) -> String {
    assert_eq!(finished.status, Some(0), "{finished:?}");
    assert_eq!(finished.errors, "");
    finished.output
}

#[test]
fn help_names_each_command_and_each_variable() {
    // No variable matters, not even an invalid one.
    let help = succeeded(run(&[("API_PORT", "x")], &["--help"]));
    let variables = resource_server::config::VARIABLES;
    for word in [
        "token",
        "--sub",
        "--ttl",
        "--claim",
        "health",
        "--help",
        "-h",
        "--version",
        "-V",
    ]
    .into_iter()
    .chain(variables.iter().map(|(name, _, _)| *name))
    {
        assert!(
            help.split(
                |character: char| !character.is_ascii_alphanumeric() && !"_-".contains(character)
            )
            .any(|shown| shown == word),
            "{word}"
        );
    }
    assert!(help.lines().all(|line| line.len() <= 100));
    assert_eq!(succeeded(run(&[], &["-h"])), help);
    for &(name, default, meaning) in variables {
        let shown = help
            .lines()
            .find(|line| line.split_whitespace().next() == Some(name));
        let shown = shown.unwrap_or_else(|| panic!("{name} has no line"));
        assert!(shown.contains(meaning), "{shown}");
        assert_eq!(shown.contains('['), !default.is_empty(), "{shown}");
    }
}

/// The README's table has the same variables with the same defaults.
#[test]
fn help_and_readme_agree_on_the_defaults() {
    let readme = include_str!("../../README.md");
    for &(name, default, _) in resource_server::config::VARIABLES {
        let row = readme
            .lines()
            .find(|line| line.starts_with("| ") && line.contains(&format!("`{name}`")));
        let cells: Vec<_> = row
            .unwrap_or_else(|| panic!("{name} has no row"))
            .split('|')
            .map(|cell| cell.trim().replace('`', ""))
            .collect();
        let names: Vec<_> = cells[1].split(", ").collect();
        let defaults: Vec<_> = cells[2].split(", ").collect();
        let at = names.iter().position(|shown| *shown == name);
        let at = at.unwrap_or_else(|| panic!("{name} is not the row's name"));
        // One default is for all names of a row, unless each has one.
        let shown = defaults.get(at).or(defaults.first());
        assert_eq!(shown.copied(), Some(default), "{name}");
    }
}

#[test]
fn version_is_the_package_version() {
    let version = succeeded(run(&[("API_PORT", "x")], &["--version"]));
    assert_eq!(
        version,
        format!("resource-server {}\n", env!("CARGO_PKG_VERSION"))
    );
    assert_eq!(succeeded(run(&[], &["-V"])), version);
}

#[test]
fn unknown_arguments_are_rejected() {
    for arguments in [
        &["serve"] as &[&str],
        &[""],
        &["--unknown"],
        &["-v"],
        &["-hV"],
        &["-h", "-h"],
        &["--port", "5000"],
        &["--help", "--version"],
        &["--version", "x"],
        &["health", "now"],
        &["tokens"],
        &["HEALTH"],
        &["a\nb\x1b[31m"],
    ] {
        let finished = run(&WITH_SECRET, arguments);
        assert_fails(&finished, 2);
        assert!(finished.errors.contains("--help"), "{finished:?}");
    }
    let finished = finish(command(&WITH_SECRET).arg(OsStr::from_bytes(b"\xff")));
    assert_fails(&finished, 2);
}

/// What `token` prints with these variables, which has to be one line.
fn printed_token(variables: &[(&str, &str)], arguments: &[&str]) -> String {
    let output = succeeded(run(variables, &[&["token"], arguments].concat()));
    let token = output.strip_suffix('\n').expect("a whole line");
    assert!(!token.contains('\n'));
    token.to_owned()
}

fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).expect("a payload");
    let payload = URL_SAFE_NO_PAD.decode(payload).expect("base64url");
    serde_json::from_slice(&payload).expect("JSON")
}

#[test]
fn token_without_options_is_for_demo_and_valid_for_an_hour() {
    let before = now();
    let token = printed_token(&WITH_SECRET, &[]);
    let claims = claims(&token);
    let issued = claims["iat"].as_u64().expect("a time of issue");
    assert!((before..=now()).contains(&issued));
    assert_eq!(
        claims,
        serde_json::json!({ "sub": "demo", "iat": issued, "exp": issued + 3600 })
    );
    let server = Server::with(&WITH_SECRET);
    let auth = server.get_with_token("/auth", &token);
    assert_eq!(auth.field("x-auth-request-user"), Some("demo"));
}

#[test]
fn token_with_a_ttl_expires_after_it() {
    for ttl in ["1", "60", "3601", "316224000"] {
        let claims = claims(&printed_token(&WITH_SECRET, &["--ttl", ttl]));
        let lives = claims["exp"].as_u64().expect("exp") - claims["iat"].as_u64().expect("iat");
        assert_eq!(lives.to_string(), ttl);
    }
    let server = Server::with(&WITH_SECRET);
    for order in [
        ["--sub", "alice", "--ttl", "60"],
        ["--ttl", "60", "--sub", "alice"],
    ] {
        let auth = server.get_with_token("/auth", &printed_token(&WITH_SECRET, &order));
        assert_eq!(auth.field("x-auth-request-user"), Some("alice"));
    }
}

#[test]
fn token_with_invalid_options_is_rejected() {
    for arguments in [
        &["--ttl"] as &[&str],
        &["--sub"],
        &["--ttl", ""],
        &["--ttl", "0"],
        &["--ttl", "-1"],
        &["--ttl", "+60"],
        &["--ttl", "1.5"],
        &["--ttl", " 1"],
        &["--ttl", "1h"],
        &["--ttl", "316224001"],
        &["--ttl", "18446744073709551616"],
        &["--sub", "alice", "--ttl"],
        &["--sub", "alice", "bob"],
        &["alice"],
        &["--subject", "alice"],
        &["--sub=alice"],
        &["--ttl", "60", "--unknown", "x"],
        &["--claim"],
        &["--claim", ""],
        &["--claim", "scope"],
        &["--claim", "=read"],
        &["--claim", "="],
        &["--claim=scope=read"],
        &["-h"],
        &["--help"],
    ] {
        let finished = run(&WITH_SECRET, &[&["token"], arguments].concat());
        assert_fails(&finished, 2);
        assert!(!finished.errors.contains(SECRET));
    }
}

/// The text of the payload, as it was signed.
fn payload(token: &str) -> String {
    let payload = token.split('.').nth(1).expect("a payload");
    let payload = URL_SAFE_NO_PAD.decode(payload).expect("base64url");
    String::from_utf8(payload).expect("UTF-8")
}

#[test]
fn token_with_claim_options_has_those_claims() {
    for (value, expected) in [
        ("read write", r#""read write""#),
        ("", r#""""#),
        ("=", r#""=""#),
        ("a=b", r#""a=b""#),
        ("4", "4"),
        ("\"4\"", r#""4""#),
        ("-1.50e3", "-1.50e3"),
        ("18446744073709551615", "18446744073709551615"),
        ("1e400", "1e400"),
        (r#""\ud800""#, r#""\ud800""#),
        ("true", "true"),
        ("null", "null"),
        ("[\"a\",\"b\"]", r#"["a","b"]"#),
        ("{\"b\":{\"a\":[]}}", r#"{"b":{"a":[]}}"#),
        ("{\"a\":1", r#""{\"a\":1""#),
        ("1 2", r#""1 2""#),
        ("'4'", r#""'4'""#),
        ("é\n\u{2028}", "\"é\\n\u{2028}\""),
        ("NaN", r#""NaN""#),
        ("--ttl", r#""--ttl""#),
    ] {
        let claim = format!("scope={value}");
        let token = printed_token(&WITH_SECRET, &["--claim", &claim]);
        let payload = payload(&token);
        assert!(
            payload.ends_with(&format!(r#","scope":{expected}}}"#)),
            "{payload}"
        );
    }
    let token = printed_token(&WITH_SECRET, &["--claim", "a\"b\\=1", "--claim", "é=2"]);
    assert_eq!(claims(&token)["a\"b\\"], 1);
    assert_eq!(claims(&token)["é"], 2);
}

/// The names of the payload's members, in order.
fn names(token: &str) -> Vec<String> {
    // No value here has a comma or a colon.
    let payload = payload(token);
    let members = payload.trim_matches(['{', '}']).split(',');
    let name = |member: &str| member.split(':').next().map(|name| name.replace('"', ""));
    members.filter_map(name).collect()
}

#[test]
fn token_never_repeats_a_name() {
    let long_ago = "nbf=1";
    for (variables, arguments, expected, members) in [
        (
            &[] as &[(&str, &str)],
            &["--claim", "sub=bob", "--sub", "alice"] as &[&str],
            &["sub", "iat", "exp"] as &[&str],
            &[("sub", "bob")] as &[_],
        ),
        (
            &[],
            &["--claim", "iat=1", "--claim", long_ago, "--claim", "nbf=2"],
            &["sub", "iat", "exp", "nbf"],
            &[],
        ),
        (
            &[],
            &["--claim", "a=b", "--ttl", "60", "--claim", "a=c"],
            &["sub", "iat", "exp", "a"],
            &[("a", "c")],
        ),
        (
            &[("JWT_ISSUER", "us"), ("JWT_AUDIENCE", "me")],
            &["--claim", "aud=me", "--claim", "iss=us"],
            &["sub", "iat", "exp", "iss", "aud"],
            &[("aud", "me"), ("iss", "us")],
        ),
        (
            &[("JWT_USER_CLAIM", "user_id")],
            &["--sub", "alice"],
            &["user_id", "iat", "exp"],
            &[("user_id", "alice")],
        ),
        (
            &[("JWT_USER_CLAIM", "user_id")],
            &["--claim", "sub=bob"],
            &["user_id", "iat", "exp", "sub"],
            &[("user_id", "demo"), ("sub", "bob")],
        ),
        (
            &[("JWT_USER_CLAIM", "iss"), ("JWT_ISSUER", "us")],
            &[],
            &["iss", "iat", "exp"],
            &[("iss", "us")],
        ),
    ] {
        let variables = [&WITH_SECRET as &[_], variables].concat();
        let token = printed_token(&variables, arguments);
        assert_eq!(names(&token), expected, "{arguments:?}");
        for (name, value) in members {
            assert_eq!(claims(&token)[name], *value, "{arguments:?}");
        }
    }
}

/// It is printed all the same: how the server rejects it may be the purpose.
#[test]
fn token_that_the_configuration_rejects_comes_with_a_warning() {
    let long = "x".repeat(9000);
    for (variables, arguments) in [
        (&[] as &[(&str, &str)], &["--claim", "exp=1"] as &[&str]),
        (&[], &["--claim", "exp=tomorrow"]),
        (&[], &["--claim", "nbf=9999999999"]),
        (&[], &["--claim", "iat=null"]),
        (&[], &["--claim", "aud=other"]),
        (&[], &["--sub", &long]),
        (&[("JWT_ISSUER", "us")], &["--claim", "iss=them"]),
        (&[("JWT_AUDIENCE", "me")], &["--claim", "aud=them"]),
        (
            &[("JWT_REQUIRE_EXP", "true"), ("JWT_USER_CLAIM", "exp")],
            &["--sub", "alice"],
        ),
    ] {
        let variables = [&WITH_SECRET as &[_], variables].concat();
        let finished = run(&variables, &[&["token"], arguments].concat());
        assert_eq!(finished.status, Some(0), "{finished:?}");
        let token = finished.output.strip_suffix('\n').expect("a whole line");
        // The reason is the one that the server gives.
        let server = Server::with(&variables);
        let response = server.get_with_token("/resource/secret", token);
        let reason = response.message().expect("a message");
        assert_eq!(
            finished.errors,
            format!("warning: this configuration rejects the token: {reason}\n"),
        );
    }
}

/// A name other than the requested one would be another user's.
#[test]
fn token_for_a_name_that_is_not_utf8_is_rejected() {
    for name in [b"\xff".as_slice(), b"alice\xff", b"\xc3"] {
        let finished = finish(
            command(&WITH_SECRET)
                .args(["token", "--sub"])
                .arg(OsStr::from_bytes(name)),
        );
        assert_fails(&finished, 2);
    }
}

/// The user is exactly the one that was asked for. One that `/auth` rejects comes with its reason.
#[test]
fn token_names_any_subject_exactly_and_warns_of_one_that_auth_rejects() {
    let server = Server::with(&WITH_SECRET);
    for (name, is_usable) in [
        ("alice", true),
        ("alice@example.com", true),
        ("--ttl", true),
        ("a\"b\\c", true),
        ("</script>&", true),
        ("42", true),
        ("{\"a\":1}", true),
        ("", false),
        (" ", false),
        ("alice smith", false),
        ("a\nb", false),
        ("\t\r\n\u{1}\u{7f}", false),
        ("Jürgen 日本 😀", false),
        ("\u{2028}", false),
    ] {
        let finished = run(&WITH_SECRET, &["token", "--sub", name]);
        assert_eq!(finished.status, Some(0), "{finished:?}");
        let token = finished.output.trim_end();
        assert_eq!(claims(token)["sub"], name, "{name:?}");
        let secret = server.get_with_token("/resource/secret", token);
        assert_eq!(secret.status, 200, "{name:?}");
        let auth = server.get_with_token("/auth", token);
        if is_usable {
            assert_eq!(auth.field("x-auth-request-user"), Some(name));
            assert_eq!(finished.errors, "", "{name:?}");
        } else {
            assert_eq!(auth.status, 403, "{name:?}");
            let reason = finished
                .errors
                .strip_prefix("warning: /auth rejects the token: ");
            let reason = reason.expect("a warning").trim_end();
            let challenge = auth.field("www-authenticate").expect("a challenge");
            assert!(
                challenge.contains(&format!(r#"error_description="{reason}""#)),
                "{name:?} {reason} {challenge}"
            );
        }
    }
}

#[test]
fn token_without_a_user_comes_with_a_warning() {
    let finished = run(
        &[("JWT_SECRET", SECRET), ("JWT_USER_CLAIM", "uid")],
        &["token", "--claim", "uid=null"],
    );
    assert_eq!(finished.status, Some(0), "{finished:?}");
    assert!(
        finished
            .errors
            .starts_with("warning: /auth rejects the token: "),
        "{finished:?}"
    );
}

/// The server of this environment does not start, so it accepts no token.
#[test]
fn token_of_a_secret_that_is_too_short_for_the_address_comes_with_a_warning() {
    for (host, is_accepted) in [
        ("127.0.0.1", true),
        ("0.0.0.0", false),
        ("192.0.2.1", false),
    ] {
        let short = [
            ("JWT_SECRET", "my super secret key"),
            ("API_HOST", host),
            ("API_PORT", "0"),
        ];
        let token = run(&short, &["token"]);
        assert_eq!(token.status, Some(0), "{token:?}");
        assert!(token.output.starts_with("eyJ"), "{token:?}");
        if is_accepted {
            assert_eq!(token.errors, "", "{host}");
            continue;
        }
        let server = run(&short, &[]);
        assert_fails(&server, 2);
        assert_eq!(
            token.errors,
            format!(
                "warning: no server starts with this secret: {}",
                server.errors
            )
        );
    }
}

/// Longer than the lines that may wait.
#[test]
fn token_of_a_long_subject_is_printed_whole() {
    let subject = "x".repeat(100_000);
    let output = command(&[("JWT_SECRET", SECRET)])
        .args(["token", "--sub", &subject])
        .output()
        .expect("the program starts");
    assert_eq!(output.status.code(), Some(0));
    let token = String::from_utf8(output.stdout).expect("ASCII");
    assert_eq!(claims(token.trim_end())["sub"], subject);
}

#[test]
fn token_is_accepted_by_a_server_of_the_same_environment() {
    let long = "i".repeat(2000);
    for environment in [
        vec![("JWT_SECRET", SECRET)],
        vec![("JWT_SECRET", "short"), ("API_HOST", "127.0.0.1")],
        vec![("JWT_SECRET", SECRET), ("JWT_ISSUER", "us")],
        vec![
            ("JWT_SECRET", SECRET),
            ("JWT_AUDIENCE", "https://api.example"),
        ],
        vec![
            ("JWT_SECRET", SECRET),
            (
                "JWT_SECRET_PREVIOUS",
                "the secret before this one, 32 bytes or longer",
            ),
            ("JWT_ISSUER", "é\"\\ 😀\n"),
            ("JWT_AUDIENCE", &long),
            ("JWT_REQUIRE_EXP", "true"),
            ("JWT_LEEWAY", "300"),
        ],
    ] {
        let token = printed_token(&environment, &["--sub", "alice"]);
        let with_port = environment.iter().copied().chain([("API_PORT", "0")]);
        let server = Server::spawn(command(&[]).envs(with_port));
        let auth = server.get_with_token("/auth", &token);
        assert_eq!(auth.field("x-auth-request-user"), Some("alice"), "{auth:?}");
        let claims = claims(&token);
        for (claim, variable) in [("iss", "JWT_ISSUER"), ("aud", "JWT_AUDIENCE")] {
            let configured = environment.iter().find(|(name, _)| *name == variable);
            assert_eq!(
                claims.get(claim).and_then(Value::as_str),
                configured.map(|(_, value)| *value)
            );
        }
    }
}

#[test]
fn token_is_signed_with_the_current_secret() {
    let old = "the secret before this one, 32 bytes or longer";
    let token = printed_token(&[("JWT_SECRET", SECRET), ("JWT_SECRET_PREVIOUS", old)], &[]);
    let verdict = |secret| {
        let server = Server::with(&[("JWT_SECRET", secret)]);
        server.get_with_token("/resource/secret", &token).status
    };
    assert_eq!(verdict(SECRET), 200);
    assert_eq!(verdict(old), 401);
}

#[test]
fn token_without_a_usable_configuration_fails_naming_the_variable() {
    for (variables, variable) in [
        (&[] as &[(&str, &str)], "JWT_SECRET"),
        (&[("API_PORT", "5000")], "JWT_SECRET"),
        (&[("JWT_SECRET", "")], "JWT_SECRET"),
        (&[("JWT_SECRET_PREVIOUS", SECRET)], "JWT_SECRET"),
        (&[("JWT_SECRET_FILE", "/nowhere")], "JWT_SECRET_FILE"),
        (&[("JWT_SECRET", SECRET), ("JWT_ISSUER", "")], "JWT_ISSUER"),
        (
            &[("JWT_SECRET", SECRET), ("JWT_AUDIENCE", "")],
            "JWT_AUDIENCE",
        ),
        (&[("JWT_SECRET", SECRET), ("JWT_LEEWAY", "x")], "JWT_LEEWAY"),
    ] {
        let finished = run(variables, &["token"]);
        assert_fails(&finished, 2);
        assert!(
            finished
                .errors
                .starts_with(&format!("{variable}: expected ")),
            "{finished:?}"
        );
    }
}

/// Runs `health` with these variables and asserts that it takes at most two seconds.
fn health(variables: &[(&str, &str)]) -> Finished {
    let finished = run(variables, &["health"]);
    assert!(finished.took < Duration::from_secs(2), "{finished:?}");
    finished
}

fn health_at_port(port: u16) -> Finished {
    health(&[("API_PORT", &port.to_string())])
}

#[test]
fn health_check_of_a_running_server_succeeds() {
    for host in ["127.0.0.1", "0.0.0.0", "::1", "::"] {
        if host.contains(':') && !has_ipv6() {
            continue;
        }
        let server = Server::with(&[("API_HOST", host)]);
        let port = server.address.port().to_string();
        let finished = health(&[("API_HOST", host), ("API_PORT", &port)]);
        assert_eq!(succeeded(finished), "", "{host}");
    }
    let server = Server::start();
    assert_eq!(succeeded(health_at_port(server.address.port())), "");
}

/// A container's health check does not need the secret.
#[test]
fn health_check_reads_only_host_and_port() {
    let server = Server::start();
    let port = server.address.port().to_string();
    let finished = health(&[
        ("API_PORT", &port),
        ("API_WORKERS", "x"),
        ("API_LOG", "x"),
        ("JWT_SECRET", ""),
        ("JWT_SECRET_FILE", "/nowhere"),
        ("JWT_LEEWAY", "x"),
    ]);
    assert_eq!(succeeded(finished), "");
}

#[test]
fn health_check_where_nothing_listens_fails() {
    let finished = health_at_port(unused_port());
    assert_fails(&finished, 1);
}

#[test]
fn health_check_without_a_response_times_out_within_two_seconds() {
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = silent.local_addr().expect("an address");
    let finished = health_at_port(address.port());
    assert_fails(&finished, 1);
    assert_eq!(finished.errors, format!("{address}: timed out\n"));
}

/// Responds to the first connection with these pieces, a quarter of a second apart, and closes it.
fn respond_with(pieces: Vec<&'static [u8]>) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        for (index, piece) in pieces.into_iter().enumerate() {
            if index > 0 {
                thread::sleep(Duration::from_millis(250));
            }
            // The client may have given up, as it should.
            if stream.write_all(piece).is_err() {
                return;
            }
        }
        // What the client sent is read, so that the connection is closed and not reset.
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    port
}

#[test]
fn health_check_of_another_service_fails() {
    for response in [
        b"".as_slice(),
        b"\r\n",
        b"HTTP/1.1 200",
        b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 301 Moved Permanently\r\nlocation: /healthz\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"200 OK 200 OK 200 OK 200 OK",
    ] {
        let finished = health_at_port(respond_with(vec![response]));
        assert_fails(&finished, 1);
    }
}

#[test]
fn health_check_with_a_response_in_pieces_succeeds() {
    let port = respond_with(vec![b"HTTP/1.1 ", b"200 OK\r\n\r\n"]);
    assert_eq!(succeeded(health_at_port(port)), "");
}

#[test]
fn health_check_with_a_dripping_response_times_out_within_two_seconds() {
    let response = b"HTTP/1.1 200 OK\r\n\r\n";
    let finished = health_at_port(respond_with(response.chunks(1).collect()));
    assert_fails(&finished, 1);
    assert!(finished.errors.ends_with(": timed out\n"), "{finished:?}");
}

/// The check ends as soon as it knows the beginning of a response.
#[test]
fn health_check_with_an_endless_response_fails() {
    let finished = health_at_port(respond_with(vec![&[b'x'; 1 << 20]; 8]));
    assert_fails(&finished, 1);
}

#[test]
fn health_check_with_invalid_variables_fails() {
    for (variable, value) in [
        ("API_PORT", ""),
        ("API_PORT", "x"),
        ("API_PORT", "65536"),
        ("API_HOST", ""),
        ("API_HOST", "localhost"),
    ] {
        let finished = health(&[(variable, value)]);
        assert_fails(&finished, 1);
        assert!(finished.errors.starts_with(variable), "{finished:?}");
    }
    let finished = finish(
        command(&[])
            .arg("health")
            .env("API_HOST", OsString::from(OsStr::from_bytes(b"\xff"))),
    );
    assert_fails(&finished, 1);
}

/// The check is served at the connection limit too: idle connections make room.
#[test]
fn health_check_at_the_connection_limit_succeeds() {
    let server = Server::with(&[("API_MAX_CONNECTIONS", "2"), ("API_WORKERS", "1")]);
    let _idle: Vec<_> = (0..4).map(|_| server.connect()).collect();
    assert_eq!(succeeded(health_at_port(server.address.port())), "");
}

#[test]
fn health_check_after_shutdown_fails() {
    let port = unused_port();
    let mut server = Server::with(&[("API_PORT", &port.to_string())]);
    assert_eq!(succeeded(health_at_port(port)), "");
    server.end();
    assert_fails(&health_at_port(port), 1);
}
