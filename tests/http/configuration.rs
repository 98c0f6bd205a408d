//! The environment variables: what each accepts, and the one line that rejects the rest.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use resource_server::jwt::Key;
use serde_json::Value;

use crate::harness::{
    Client, Finished, PATIENCE, SECRET, Server, at_once, command, finish, good_token, has_ipv6,
    now, token, unused_port,
};

/// Valid variables, so that one more decides.
const BASE: [(&str, &str); 2] = [("API_PORT", "0"), ("JWT_SECRET", SECRET)];

/// Whole numbers, and the least and the most of each.
pub const NUMBERS: [(&str, u64, u64); 8] = [
    ("API_PORT", 0, 65_535),
    ("API_WORKERS", 1, 256),
    ("API_MAX_CONNECTIONS", 1, 1_000_000),
    ("API_HEADER_TIMEOUT", 1, 3600),
    ("API_IDLE_TIMEOUT", 1, 3600),
    ("API_ANSWER_TIMEOUT", 1, 3600),
    ("API_DRAIN_TIMEOUT", 0, 3600),
    ("JWT_LEEWAY", 0, 300),
];

/// Ends the server with SIGTERM and returns what it printed on standard output, after the line that
/// says where it listens, and on standard error.
fn printed(mut server: Server) -> (Vec<String>, Vec<String>) {
    server.end();
    (
        server.output.iter().collect(),
        server.errors.iter().collect(),
    )
}

/// Runs the program with [`BASE`] and these, which it must reject, and returns its line.
fn refusal(variables: &[(&str, &OsStr)]) -> String {
    rejected(&finish(command(&BASE).envs(variables.iter().copied())))
}

/// As [`refusal`], without [`BASE`].
fn refusal_of(variables: &[(&str, &str)]) -> String {
    rejected(&finish(&mut command(variables)))
}

fn rejected(finished: &Finished) -> String {
    assert_eq!(finished.status, Some(2), "{finished:?}");
    assert_eq!(finished.output, "");
    let line = finished.errors.strip_suffix('\n').expect("a whole line");
    assert!(!line.is_empty(), "{finished:?}");
    assert!(!line.contains(char::is_control), "{finished:?}");
    line.to_owned()
}

/// On one connection: a second one could arrive before the first is gone, and reach a limit of one.
fn assert_works(server: &Server) {
    let mut client = server.connect();
    client.request("GET", "/healthz", &[]);
    assert_eq!(client.response().status, 200);
    let field = format!("Authorization: Bearer {}", good_token());
    client.request("GET", "/resource/secret", &[&field]);
    assert_eq!(client.response().status, 200);
}

#[test]
fn number_at_either_end_of_its_range_is_accepted() {
    at_once(NUMBERS, |(variable, least, most)| {
        for number in [least, most] {
            let number = number.to_string();
            if (variable, number.as_str()) == ("API_PORT", "65535") {
                // Another process may listen on this port; the health check reads the variable as well.
                let finished = finish(command(&[(variable, &number)]).arg("health"));
                assert!(
                    finished.errors.starts_with("127.0.0.1:65535: "),
                    "{finished:?}"
                );
                continue;
            }
            let server = Server::with(&[(variable, &number)]);
            assert_works(&server);
            let (_, errors) = printed(server);
            assert_eq!(errors, [""; 0], "{variable}={number}");
        }
    });
}

#[test]
fn number_that_is_not_a_plain_decimal_integer_in_range_is_rejected() {
    for (variable, least, most) in NUMBERS {
        let expected = format!("{variable}: expected an integer from {least} to {most}, found ");
        let over = (most + 1).to_string();
        let mut wrong = vec![
            "",
            " ",
            "+5",
            "-1",
            "-0",
            "0x10",
            "1.5",
            "5.",
            "1e2",
            "1_0",
            "1,0",
            " 5",
            "5 ",
            "5\t",
            "5\n",
            "\n5",
            "five",
            "٥",
            "５",
            "NaN",
            "inf",
            "5s",
            "5;",
            "18446744073709551616",
            "99999999999999999999999999999999999999999",
            &over,
        ];
        if least > 0 {
            wrong.push("0");
            wrong.push("00");
        }
        for value in wrong {
            let line = refusal(&[(variable, OsStr::new(value))]);
            let found = line.strip_prefix(&expected);
            assert_eq!(found, Some(format!("{value:?}").as_str()), "{line}");
        }
        for value in [b"5\xff".as_slice(), b"\xff", b"\x80"] {
            let line = refusal(&[(variable, OsStr::from_bytes(value))]);
            assert!(line.starts_with(&expected), "{line}");
        }
    }
}

#[test]
fn host_accepts_only_an_ip_address() {
    for host in ["127.0.0.1", "0.0.0.0"] {
        let server = Server::with(&[("API_HOST", host)]);
        assert_eq!(server.address.ip().to_string(), host);
        assert_ne!(server.address.port(), 0);
    }
    for host in [
        "",
        " ",
        "localhost",
        "127.0.0.1 ",
        " 127.0.0.1",
        "127.0.0.1:80",
        "127.0.0",
        "127.1",
        "127.0.0.256",
        "0127.0.0.1",
        "2130706433",
        "0x7f.0.0.1",
        "[::1]",
        "::1%lo",
        ":::",
        "*",
        "127.0.0.1\n",
        "127.0.0.1,::1",
        "example.org",
    ] {
        let line = refusal(&[("API_HOST", OsStr::new(host))]);
        assert!(
            line.starts_with("API_HOST: expected an IP address"),
            "{line}"
        );
        assert!(line.ends_with(&format!(", found {host:?}")), "{line}");
    }
    let line = refusal(&[("API_HOST", OsStr::from_bytes(b"127.0.0.1\xff"))]);
    assert!(line.starts_with("API_HOST: expected "), "{line}");
}

#[test]
fn ipv6_address_is_printed_in_brackets() {
    if !has_ipv6() {
        return;
    }
    for host in ["::1", "::", "0:0:0:0:0:0:0:1"] {
        let mut command = command(&BASE);
        // The line is parsed as a socket address, which needs the brackets.
        let server = Server::spawn(command.env("API_HOST", host));
        assert!(server.address.is_ipv6());
        let address = (std::net::Ipv6Addr::LOCALHOST, server.address.port()).into();
        let mut client = Client::to(address);
        client.request("GET", "/healthz", &[]);
        assert_eq!(client.response().status, 200);
    }
}

#[test]
fn listening_line_has_the_real_port() {
    for _ in 0..2 {
        let server = Server::with(&[("API_PORT", "0")]);
        assert_ne!(server.address.port(), 0);
        assert_works(&server);
    }
    let port = unused_port();
    let server = Server::with(&[("API_PORT", &port.to_string())]);
    assert_eq!(server.address.port(), port);
    assert_eq!(server.address.ip().to_string(), "127.0.0.1");
    assert_works(&server);
}

#[test]
fn choice_accepts_only_its_words() {
    for (variable, choices) in [
        ("API_LOG", ["errors", "access"]),
        ("JWT_REQUIRE_EXP", ["false", "true"]),
    ] {
        for choice in choices {
            assert_eq!(
                Server::with(&[(variable, choice)])
                    .get("/healthz", &[])
                    .status,
                200,
                "{variable}={choice}"
            );
        }
        let [first, second] = choices;
        for value in [
            "",
            " ",
            "0",
            "1",
            "yes",
            "no",
            "on",
            "off",
            "TRUE",
            "True",
            "FALSE",
            "Access",
            "debug",
            "true ",
            " false",
            "access\n",
            "errors,access",
            "null",
        ] {
            let line = refusal(&[(variable, OsStr::new(value))]);
            assert_eq!(
                line,
                format!("{variable}: expected {first:?} or {second:?}, found {value:?}")
            );
        }
        let line = refusal(&[(variable, OsStr::from_bytes(b"true\xff"))]);
        assert!(
            line.starts_with(&format!("{variable}: expected ")),
            "{line}"
        );
    }
}

#[test]
fn issuer_and_audience_accept_any_text_but_an_empty_one() {
    for (variable, claim) in [("JWT_ISSUER", "iss"), ("JWT_AUDIENCE", "aud")] {
        for text in [
            "us",
            " ",
            "us ",
            "https://issuer.example/",
            "é😀",
            "a\"b\\c",
            "a\nb",
        ] {
            let server = Server::with(&[(variable, text)]);
            let verdict = |value: &str| {
                let claims = serde_json::json!({ claim: value }).to_string();
                server
                    .get_with_token("/resource/secret", &token(&claims))
                    .status
            };
            assert_eq!(verdict(text), 200, "{variable}={text:?}");
            assert_eq!(verdict(&format!("{text} ")), 401, "{variable}={text:?}");
            assert_eq!(verdict(""), 401, "{variable}={text:?}");
        }
        for value in [b"".as_slice(), b"\xff", b"us\xff"] {
            let line = refusal(&[(variable, OsStr::from_bytes(value))]);
            assert!(
                line.starts_with(&format!("{variable}: expected ")),
                "{line}"
            );
            assert!(line.contains(", found "), "{line}");
        }
    }
}

/// A terminal obeys control characters, and a log takes lines for entries.
#[test]
fn invalid_value_is_shown_escaped_and_short() {
    for value in [
        "\x1b[31mred",
        "a\r\nwarning: all is well",
        "\u{202e}abc",
        "\u{2028}",
    ] {
        let line = refusal(&[("API_PORT", OsStr::new(value))]);
        assert!(line.is_ascii(), "{line}");
    }
    let line = refusal(&[("API_PORT", OsStr::new(&"9".repeat(100_000)))]);
    assert!(line.len() < 300, "{line}");
}

#[test]
fn first_invalid_variable_is_named_alone() {
    let line = refusal_of(&[("API_PORT", "x"), ("API_WORKERS", "x"), ("JWT_LEEWAY", "x")]);
    assert_eq!(line.matches("expected").count(), 1, "{line}");
}

/// A secret in a file of the test's own, gone when dropped.
pub struct SecretFile(pub PathBuf);

impl SecretFile {
    pub fn new(content: impl AsRef<[u8]>) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "secret-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::write(&path, content).expect("a file");
        Self(path)
    }

    pub fn path(&self) -> &str {
        self.0.to_str().expect("a path in UTF-8")
    }
}

impl Drop for SecretFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Asserts that a server has exactly this secret: it accepts its tokens and none of its neighbours'.
fn assert_secret(server: &Server, secret: &[u8]) {
    let verdict = |secret: &[u8]| {
        let token = Key::new(secret).expect("a secret").sign("{}");
        server.get_with_token("/resource/secret", &token).status
    };
    assert_eq!(verdict(secret), 200, "{secret:?}");
    for end in [b"\n".as_slice(), b"\r\n", b"\r", b" ", b"x"] {
        assert_eq!(verdict(&[secret, end].concat()), 401, "{secret:?} {end:?}");
    }
    assert_eq!(verdict(&secret[..secret.len() - 1]), 401, "{secret:?}");
}

#[test]
fn secret_is_the_bytes_of_the_variable() {
    for secret in [
        SECRET.as_bytes(),
        b"32 bytes, of which the last is\n\n\n",
        b"  thirty-two bytes and more with spaces  ",
        "dreißig Zeichen und noch ein paar".as_bytes(),
        b"\xff\xfe\x80\x81 bytes that are no UTF-8 at all \xff",
        &[0xff; 200],
    ] {
        let server = Server::spawn(
            command(&[("API_PORT", "0")]).env("JWT_SECRET", OsStr::from_bytes(secret)),
        );
        assert_secret(&server, secret);
    }
}

#[test]
fn secret_is_the_bytes_of_the_file_less_one_line_end() {
    let long = [b'x'; 65_536];
    let cases: [(&[u8], &[u8]); 10] = [
        (SECRET.as_bytes(), SECRET.as_bytes()),
        (&[SECRET.as_bytes(), b"\n"].concat(), SECRET.as_bytes()),
        (&[SECRET.as_bytes(), b"\r\n"].concat(), SECRET.as_bytes()),
        (
            &[SECRET.as_bytes(), b"\n\n"].concat(),
            &[SECRET.as_bytes(), b"\n"].concat(),
        ),
        (
            &[SECRET.as_bytes(), b"\r\n\r\n"].concat(),
            &[SECRET.as_bytes(), b"\r\n"].concat(),
        ),
        (
            &[SECRET.as_bytes(), b"\r"].concat(),
            &[SECRET.as_bytes(), b"\r"].concat(),
        ),
        (
            &[b"\n", SECRET.as_bytes()].concat(),
            &[b"\n", SECRET.as_bytes()].concat(),
        ),
        (
            &[SECRET.as_bytes(), b" \n"].concat(),
            &[SECRET.as_bytes(), b" "].concat(),
        ),
        // No variable could hold these.
        (&[0; 40], &[0; 40]),
        (&long, &long),
    ];
    for (content, secret) in cases {
        let file = SecretFile::new(content);
        let server = Server::spawn(&mut command(&[
            ("API_PORT", "0"),
            ("JWT_SECRET_FILE", file.path()),
        ]));
        if secret[0] == 0 {
            // HMAC fills short keys with zeros (RFC 2104): fewer of them are the same key.
            let token = Key::new(secret).expect("a secret").sign("{}");
            assert_eq!(
                server.get_with_token("/resource/secret", &token).status,
                200
            );
        } else {
            assert_secret(&server, secret);
        }
    }
}

/// A path that is gone when dropped.
struct Special(PathBuf);

impl Drop for Special {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn secret_file_that_cannot_be_used_is_rejected_by_name() {
    let directory = env!("CARGO_TARGET_TMPDIR");
    let missing = format!("{directory}/no-such-file");
    let empty = SecretFile::new("");
    let line_end = SecretFile::new("\n");
    let long_line_end = SecretFile::new("\r\n");
    let too_large = SecretFile::new([b'x'; 65_537]);
    let under_a_file = format!("{}/secret", empty.path());
    let special = |name: &str| {
        let name = format!("{name}-{}", std::process::id());
        let path = Special(Path::new(directory).join(name));
        let _ = fs::remove_file(&path.0);
        path
    };
    let (fifo, socket) = (special("fifo"), special("socket"));
    let made = Command::new("mkfifo").arg(&fifo.0).status();
    assert!(made.expect("mkfifo").success());
    let _listener = std::os::unix::net::UnixListener::bind(&socket.0).expect("a socket");
    for variable in ["JWT_SECRET_FILE", "JWT_SECRET_PREVIOUS_FILE"] {
        for (path, reason) in [
            ("", "os error"),
            (" ", "os error"),
            (&missing, "os error"),
            (&under_a_file, "os error"),
            // The secret itself, in the wrong variable.
            (SECRET, "os error"),
            (directory, "directory"),
            ("/", "directory"),
            (fifo.0.to_str().expect("UTF-8"), "FIFO"),
            (socket.0.to_str().expect("UTF-8"), "socket"),
            ("/dev/null", "device"),
            ("/dev/zero", "device"),
            ("/dev/full", "device"),
            (too_large.path(), "too large"),
            (empty.path(), "found none"),
            (line_end.path(), "found none"),
            (long_line_end.path(), "found none"),
        ] {
            let is_previous = variable == "JWT_SECRET_PREVIOUS_FILE";
            if is_previous && reason == "found none" {
                // There it says that there is no previous secret.
                continue;
            }
            let mut variables = vec![("API_PORT", "0"), (variable, path)];
            if is_previous {
                variables.push(("JWT_SECRET", "the current secret, 32 bytes or longer"));
            }
            let line = refusal_of(&variables);
            assert!(
                line.starts_with(&format!("{variable}: expected ")),
                "{line}"
            );
            assert!(line.contains(reason), "{line}");
            assert!(path.len() < 2 || !line.contains(path), "{line}");
            assert!(!line.contains("xxx"), "{line}");
            if reason != "found none" {
                let found = format!("found a value of {} bytes: ", path.len());
                assert!(line.contains(&found), "{line}");
            }
        }
    }
}

#[test]
fn empty_previous_file_means_no_previous_secret() {
    for content in ["", "\n", "\r\n"] {
        let file = SecretFile::new(content);
        let server = Server::with(&[("JWT_SECRET_PREVIOUS_FILE", file.path())]);
        assert_secret(&server, SECRET.as_bytes());
        let end = Key::new(b"\n").expect("a secret").sign("{}");
        let response = server.get_with_token("/resource/secret", &end);
        assert_eq!(response.status, 401);
        assert_eq!(printed(server), (vec![], vec![]), "{content:?}");
    }
    // It is not a secret to sign with.
    let file = SecretFile::new("");
    let line = refusal_of(&[("JWT_SECRET_PREVIOUS_FILE", file.path())]);
    assert!(line.starts_with("JWT_SECRET: expected "), "{line}");
}

#[test]
fn empty_secret_is_rejected_by_name() {
    for (variables, variable) in [
        (&[("JWT_SECRET", "")] as &[_], "JWT_SECRET"),
        (
            &[("JWT_SECRET", SECRET), ("JWT_SECRET_PREVIOUS", "")],
            "JWT_SECRET_PREVIOUS",
        ),
    ] {
        let line = refusal_of(variables);
        assert!(
            line.starts_with(&format!("{variable}: expected ")),
            "{line}"
        );
    }
}

#[test]
fn both_forms_of_a_secret_are_rejected_and_neither_is_shown() {
    let file = SecretFile::new("the secret in the file, 32 bytes or longer");
    for (plain, in_file) in [
        ("JWT_SECRET", "JWT_SECRET_FILE"),
        ("JWT_SECRET_PREVIOUS", "JWT_SECRET_PREVIOUS_FILE"),
    ] {
        for (value, path) in [(SECRET, file.path()), ("", file.path()), (SECRET, "")] {
            let line = refusal(&[(plain, OsStr::new(value)), (in_file, OsStr::new(path))]);
            assert!(line.contains(plain) && line.contains(in_file), "{line}");
            assert!(!line.contains("bytes or longer"), "{line}");
        }
    }
}

#[test]
fn previous_secret_without_a_current_one_is_rejected() {
    let file = SecretFile::new(SECRET);
    for variables in [
        ("JWT_SECRET_PREVIOUS", SECRET),
        ("JWT_SECRET_PREVIOUS_FILE", file.path()),
    ] {
        let line = refusal_of(&[("API_PORT", "0"), variables]);
        assert!(line.starts_with("JWT_SECRET: expected "), "{line}");
        assert!(line.contains("JWT_SECRET_FILE"), "{line}");
        assert!(!line.contains(SECRET), "{line}");
    }
}

#[test]
fn previous_secret_is_accepted_in_both_forms() {
    const OLD: &str = "the secret before this one, 32 bytes or longer";
    let (old, current) = (SecretFile::new(format!("{OLD}\n")), SecretFile::new(SECRET));
    for variables in [
        [("JWT_SECRET", SECRET), ("JWT_SECRET_PREVIOUS", OLD)],
        [
            ("JWT_SECRET", SECRET),
            ("JWT_SECRET_PREVIOUS_FILE", old.path()),
        ],
        [
            ("JWT_SECRET_FILE", current.path()),
            ("JWT_SECRET_PREVIOUS", OLD),
        ],
        [
            ("JWT_SECRET_FILE", current.path()),
            ("JWT_SECRET_PREVIOUS_FILE", old.path()),
        ],
    ] {
        let server = Server::spawn(command(&[("API_PORT", "0")]).envs(variables));
        for secret in [SECRET, OLD] {
            let token = Key::new(secret.as_bytes()).expect("a secret").sign("{}");
            let response = server.get_with_token("/resource/secret", &token);
            assert_eq!(response.status, 200, "{variables:?}");
        }
    }
}

#[test]
fn secret_of_31_bytes_is_accepted_on_loopback_with_a_warning() {
    let secret = "Tr0ub4dor&3-Tr0ub4dor&3-Tr0ub4d";
    assert_eq!(secret.len(), 31);
    let file = SecretFile::new(secret);
    for (variable, value) in [
        ("JWT_SECRET", secret),
        ("JWT_SECRET_FILE", file.path()),
        ("JWT_SECRET_PREVIOUS", secret),
        ("JWT_SECRET_PREVIOUS_FILE", file.path()),
    ] {
        let mut variables = vec![("API_PORT", "0"), (variable, value)];
        if variable.contains("PREVIOUS") {
            variables.push(("JWT_SECRET", SECRET));
        }
        for host in [None, Some("127.0.0.1"), Some("::1").filter(|_| has_ipv6())] {
            let server =
                Server::spawn(command(&variables).envs(host.map(|host| ("API_HOST", host))));
            let token = Key::new(secret.as_bytes()).expect("a secret").sign("{}");
            let response = server.get_with_token("/resource/secret", &token);
            assert_eq!(response.status, 200, "{variable}");
            let (output, errors) = printed(server);
            assert_eq!(output, [""; 0]);
            assert_eq!(errors.len(), 1, "{errors:?}");
            assert!(
                errors[0].starts_with("warning") && errors[0].contains(&format!("{variable}:")),
                "{errors:?}"
            );
            assert!(!errors[0].contains("Tr0ub4dor"), "{errors:?}");
        }
    }
}

#[test]
fn secret_of_31_bytes_is_rejected_beyond_loopback() {
    let secret = "Tr0ub4dor&3-Tr0ub4dor&3-Tr0ub4d";
    let file = SecretFile::new(format!("{secret}\n"));
    for (variable, value) in [
        ("JWT_SECRET", secret),
        ("JWT_SECRET_FILE", file.path()),
        ("JWT_SECRET_PREVIOUS", secret),
        ("JWT_SECRET_PREVIOUS_FILE", file.path()),
    ] {
        for host in [
            "0.0.0.0",
            "::",
            "192.0.2.1",
            "2001:db8::1",
            "128.0.0.1",
            "::2",
        ] {
            let mut variables = vec![("API_PORT", "0"), ("API_HOST", host), (variable, value)];
            if variable.contains("PREVIOUS") {
                variables.push(("JWT_SECRET", SECRET));
            }
            let line = refusal_of(&variables);
            assert!(
                line.starts_with(&format!("{variable}: expected ")),
                "{line}"
            );
            assert!(line.contains("32") && line.contains("loopback"), "{line}");
            assert!(!line.contains("Tr0ub4dor"), "{line}");
        }
    }
}

/// 32 random bytes in a file, of which the last are a line end.
#[test]
fn secret_too_short_without_its_line_end_is_reported() {
    let secret = "Tr0ub4dor&3-Tr0ub4dor&3-Tr0ub4d";
    for (content, len, name) in [
        (format!("{secret}\n"), 31, "LF"),
        (format!("{}\r\n", &secret[1..]), 30, "CRLF"),
    ] {
        let file = SecretFile::new(content);
        for variable in ["JWT_SECRET_FILE", "JWT_SECRET_PREVIOUS_FILE"] {
            let mut variables = vec![("API_PORT", "0"), (variable, file.path())];
            if variable.contains("PREVIOUS") {
                variables.push(("JWT_SECRET", SECRET));
            }
            let found = format!("found {len} after the final line end ({name}) of the file");
            let (_, warnings) = printed(Server::spawn(&mut command(&variables)));
            assert_eq!(warnings.len(), 1, "{warnings:?}");
            assert!(warnings[0].contains(&found), "{warnings:?}");
            variables.push(("API_HOST", "0.0.0.0"));
            let line = refusal_of(&variables);
            assert!(line.contains(&found) && line.contains("loopback"), "{line}");
            assert!(!line.contains("Tr0ub4dor"), "{line}");
        }
    }
    // Long enough without the line end, or short for another reason.
    let enough = SecretFile::new(format!("{secret}!\n"));
    let server = Server::spawn(&mut command(&[
        ("API_PORT", "0"),
        ("JWT_SECRET_FILE", enough.path()),
    ]));
    assert_eq!(printed(server), (vec![], vec![]));
    let short = SecretFile::new(secret);
    let (_, warnings) = printed(Server::spawn(&mut command(&[
        ("API_PORT", "0"),
        ("JWT_SECRET_FILE", short.path()),
    ])));
    assert!(
        warnings.len() == 1 && !warnings[0].contains("line end"),
        "{warnings:?}"
    );
}

/// What the program warns of with these variables. Its port is taken, so that it ends by itself,
/// after the warnings.
fn warnings(variables: &[(&str, &OsStr)]) -> Vec<String> {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let finished = finish(
        command(&[("API_PORT", &port)]).envs(variables.iter().map(|&(name, value)| (name, value))),
    );
    assert_eq!((finished.status, &*finished.output), (Some(1), ""));
    let mut lines: Vec<_> = finished.errors.lines().map(str::to_owned).collect();
    let last = lines.pop().expect("a line");
    assert!(
        last.starts_with("API_HOST, API_PORT: cannot listen on "),
        "{finished:?}"
    );
    for line in &lines {
        assert!(line.starts_with("warning: "), "{line}");
        assert!(!line.contains(char::is_control), "{line}");
    }
    lines
}

#[test]
fn suspicious_secret_is_accepted_with_a_warning() {
    const TEXT: &str = "correct horse battery staple, 32 or more";
    let (quote, space, mark) = ("quotation mark", "white space", "byte-order mark");
    for (prefix, suffix, expected) in [
        ("", "", &[] as &[&str]),
        ("\"", "\"", &[quote]),
        ("'", "'", &[quote]),
        ("“", "”", &[quote]),
        ("‘", "’", &[quote]),
        ("„", "“", &[quote]),
        ("«", "»", &[quote]),
        ("“", "", &[]),
        ("", "’", &[]),
        ("\"", "", &[]),
        ("", "'", &[]),
        ("`", "`", &[]),
        (" ", "", &[space]),
        ("", " ", &[space]),
        ("\t", "", &[space]),
        ("", "\n", &[space]),
        ("", "\r", &[space]),
        ("", "\u{b}", &[space]),
        ("\u{a0}", "", &[space]),
        ("", "\u{2003}", &[space]),
        ("\u{feff}", "", &[mark]),
        ("\u{feff}", "\r", &[mark, space]),
        ("\u{feff}\"", "\"", &[mark, quote]),
    ] {
        let secret = format!("{prefix}{TEXT}{suffix}");
        // A file loses one line end.
        let file = SecretFile::new(format!("{secret}\n"));
        for (variable, value) in [
            ("JWT_SECRET", secret.as_str()),
            ("JWT_SECRET_FILE", file.path()),
            ("JWT_SECRET_PREVIOUS", &secret),
            ("JWT_SECRET_PREVIOUS_FILE", file.path()),
        ] {
            if variable.ends_with("FILE") && suffix == "\r" {
                continue; // Together with the other half it is one line end.
            }
            let mut variables = vec![(variable, OsStr::new(value))];
            if variable.contains("PREVIOUS") {
                variables.push(("JWT_SECRET", OsStr::new(SECRET)));
            }
            let lines = warnings(&variables);
            assert_eq!(lines.len(), expected.len(), "{secret:?} {lines:?}");
            for (line, what) in lines.iter().zip(expected) {
                assert!(line.contains(&format!(" {variable}: ")), "{line}");
                assert!(line.contains(what), "{line}");
                assert!(!line.contains("horse"), "{line}");
            }
        }
    }
    // UTF-16, as a Windows shell writes it.
    let lines = warnings(&[(
        "JWT_SECRET",
        OsStr::from_bytes(b"\xff\xfethirty-two bytes or more than that"),
    )]);
    assert!(lines.len() == 1 && lines[0].contains(mark), "{lines:?}");

    // The bytes stay as they are.
    let secret = format!("\"{TEXT}\"");
    assert_secret(&Server::with(&[("JWT_SECRET", &secret)]), secret.as_bytes());
}

#[test]
fn misspelled_variable_is_named_in_a_warning() {
    for (name, advice) in [
        ("JWT_AUDIANCE", Some("JWT_AUDIENCE")),
        ("JWT_AUDEINCE", Some("JWT_AUDIENCE")),
        ("JWT_ISUER", Some("JWT_ISSUER")),
        ("JWT_SECRET_FIL", Some("JWT_SECRET_FILE")),
        ("JWT_SECRTE_PREVIOUS", Some("JWT_SECRET_PREVIOUS")),
        ("JWT-ISSUER", Some("JWT_ISSUER")),
        ("JTW_LEEWAY", Some("JWT_LEEWAY")),
        ("API_PROT", Some("API_PORT")),
        ("API_HOSTS", Some("API_HOST")),
        ("API_WORKER", Some("API_WORKERS")),
        ("API_MAX_CONECTION", Some("API_MAX_CONNECTIONS")),
        ("APP_LOG", Some("API_LOG")),
        ("JWT_", Some("--help")),
        ("JWT_EXPIRATION", Some("--help")),
        ("JWT_REQUIRE_EXPIRATION", Some("--help")),
        ("JWT_\x1b[31m", Some("--help")),
        ("API_TIMEOUT", None),
        ("API_KEY", None),
        ("JWTSECRETFILE_PATH", None),
        ("jwt_secret", None),
        ("PORT", None),
    ] {
        let lines = warnings(&[
            ("JWT_SECRET", OsStr::new(SECRET)),
            (name, OsStr::new("the value")),
        ]);
        let Some(advice) = advice else {
            assert_eq!(lines, [""; 0], "{name}");
            continue;
        };
        assert_eq!(lines.len(), 1, "{name}: {lines:?}");
        let shown = name.escape_debug().to_string();
        assert!(
            lines[0].starts_with(&format!("warning: {shown}: ")),
            "{lines:?}"
        );
        assert!(lines[0].contains(advice), "{lines:?}");
        assert!(!lines[0].contains("the value"), "{lines:?}");
    }
    // A name need not be text.
    let lines = warnings(&[
        ("JWT_SECRET", OsStr::new(SECRET)),
        ("JWT_A", OsStr::new("")),
    ]);
    assert_eq!(lines.len(), 1, "{lines:?}");
    let server = Server::spawn(command(&BASE).env(OsStr::from_bytes(b"JWT_\xff\n"), "x"));
    let (_, lines) = printed(server);
    assert_eq!(lines.len(), 1, "{lines:?}");
}

/// What an application built on this crate reads is its own.
#[test]
fn variables_of_the_application_are_known() {
    let child = Command::new(std::env::current_exe().expect("a path"))
        .args([
            "--exact",
            "configuration::child_with_variables_of_its_own",
            "--ignored",
        ])
        .env_clear()
        .envs([
            ("JWT_SECRET", SECRET),
            ("JWT_ROLES", "a"),
            ("JWT_ROLE", "b"),
            ("JWT_ROLLS_AND_MORE", "c"),
        ])
        .output()
        .expect("this program");
    assert!(child.status.success(), "{child:?}");
}

#[test]
#[ignore = "run by variables_of_the_application_are_known"]
fn child_with_variables_of_its_own() {
    let config = resource_server::config::Config::load(&["JWT_ROLES"]).expect("a configuration");
    let warnings = config.warnings;
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("JWT_ROLE:") && warnings[0].contains("JWT_ROLES?"));
    assert!(warnings[1].contains("JWT_ROLLS_AND_MORE:") && warnings[1].contains("--help"));
    assert_eq!(config.limits.answer_timeout, Duration::from_secs(30));
}

#[test]
fn audience_with_a_comma_is_accepted_with_a_warning() {
    let lines = warnings(&[
        ("JWT_SECRET", OsStr::new(SECRET)),
        ("JWT_AUDIENCE", OsStr::new("a,b")),
    ]);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("warning: JWT_AUDIENCE: "), "{lines:?}");
    let server = Server::with(&[("JWT_AUDIENCE", "a,b")]);
    for (audience, status) in [("a,b", 200), ("a", 401), ("b", 401)] {
        let claims = serde_json::json!({ "aud": audience }).to_string();
        let response = server.get_with_token("/resource/secret", &token(&claims));
        assert_eq!(response.status, status, "{audience}");
    }
}

#[test]
fn claim_names_accept_any_text_but_an_empty_one() {
    for variable in ["JWT_USER_CLAIM", "JWT_SCOPE_CLAIM"] {
        for text in [
            "sub",
            "user_id",
            " ",
            "a.b",
            "é😀",
            "https://example.org/user",
        ] {
            assert_works(&Server::with(&[(variable, text)]));
        }
        for value in [b"".as_slice(), b"\xff", b"sub\xff"] {
            let line = refusal(&[(variable, OsStr::from_bytes(value))]);
            let expected = format!("{variable}: expected UTF-8 text of at least one character");
            assert!(line.starts_with(&expected), "{line}");
        }
    }
}

#[test]
fn secret_of_32_bytes_is_accepted_everywhere_without_a_warning() {
    let secret = "x".repeat(32);
    for host in ["127.0.0.1", "0.0.0.0"] {
        let server = Server::with(&[("JWT_SECRET", &secret), ("API_HOST", host)]);
        let address = (Ipv4Addr::LOCALHOST, server.address.port()).into();
        let mut client = Client::to(address);
        client.request("GET", "/healthz", &[]);
        assert_eq!(client.response().status, 200);
        drop(client);
        assert_eq!(printed(server), (vec![], vec![]));
    }
}

#[test]
fn missing_secret_is_rejected_unless_nothing_is_configured() {
    for variable in [
        ("API_HOST", "127.0.0.1"),
        ("API_HOST", "0.0.0.0"),
        ("JWT_LEEWAY", "0"),
        ("JWT_REQUIRE_EXP", "false"),
        ("JWT_ISSUER", "us"),
        ("JWT_AUDIENCE", "us"),
        // Misspelt, most likely.
        ("JWT_SECRETS", SECRET),
        ("JWT_", ""),
    ] {
        let line = refusal_of(&[("API_PORT", "0"), variable]);
        assert!(line.starts_with("JWT_SECRET: expected "), "{line}");
        assert!(line.contains("JWT_SECRET_FILE"), "{line}");
        assert!(!line.contains(SECRET), "{line}");
    }
}

/// What a trial run prints: its token, and the server.
fn trial(variables: &[(&str, &str)]) -> (String, Server) {
    let server = Server::spawn(command(&[("API_PORT", "0")]).envs(variables.iter().copied()));
    let curl = loop {
        let line = server.output.recv_timeout(PATIENCE).expect("a curl line");
        if line.starts_with("curl ") {
            break line;
        }
    };
    let (token, url) = curl
        .strip_prefix("curl -i -H 'Authorization: Bearer ")
        .and_then(|rest| rest.split_once("' "))
        .expect("a token and an address");
    assert_eq!(url, format!("http://{}/resource/secret", server.address));
    (token.to_owned(), server)
}

#[test]
fn trial_run_prints_a_token_that_works_for_an_hour() {
    let (token, server) = trial(&[]);
    let secret = server.get_with_token("/resource/secret", &token);
    assert_eq!(secret.status, 200);
    let auth = server.get_with_token("/auth", &token);
    assert_eq!(auth.field("x-auth-request-user"), Some("demo"));

    let payload = token.split('.').nth(1).expect("a payload");
    let claims = URL_SAFE_NO_PAD.decode(payload).expect("base64url");
    let claims: Value = serde_json::from_slice(&claims).expect("JSON");
    let (issued, expires) = (claims["iat"].as_u64(), claims["exp"].as_u64());
    let issued = issued.expect("a time of issue");
    assert!(issued <= now() && issued + PATIENCE.as_secs() >= now());
    assert_eq!(expires, Some(issued + 3600));

    let (_, errors) = printed(server);
    assert_eq!(errors, [""; 0]);
}

#[test]
fn trial_run_prints_the_token_on_a_line_of_its_own() {
    let server = Server::spawn(&mut command(&[("API_PORT", "0")]));
    let (output, _) = printed(server);
    let curl = output
        .iter()
        .find(|line| line.starts_with("curl "))
        .expect("a curl line");
    assert!(
        output
            .iter()
            .any(|line| line.split('.').count() == 3 && curl.contains(&format!("Bearer {line}'"))),
        "{output:?}"
    );
    assert!(output.iter().any(|line| line.contains("JWT_SECRET")));
}

#[test]
fn trial_run_uses_a_random_secret() {
    let (token, first) = trial(&[("API_LOG", "errors"), ("API_WORKERS", "1")]);
    let (other, second) = trial(&[]);
    for (server, token, status) in [
        (&first, &token, 200),
        (&first, &other, 401),
        (&second, &token, 401),
        (&second, &other, 200),
        // Not of a secret that can be guessed.
        (&first, &good_token(), 401),
        (
            &first,
            &Key::new(&[0; 32]).expect("a secret").sign("{}"),
            401,
        ),
    ] {
        let response = server.get_with_token("/resource/secret", token);
        assert_eq!(response.status, status);
    }
}

#[test]
fn configured_run_prints_no_token() {
    let (output, errors) = printed(Server::start());
    assert_eq!((output, errors), (vec![], vec![]));
}

#[test]
fn second_instance_on_the_same_port_fails_with_one_line() {
    let first = Server::start();
    let port = first.address.port().to_string();
    for variables in [
        vec![("JWT_SECRET", SECRET), ("API_PORT", &port)],
        vec![("API_PORT", &port)],
        vec![
            ("JWT_SECRET", SECRET),
            ("API_PORT", &port),
            ("API_WORKERS", "4"),
        ],
    ] {
        let second = finish(&mut command(&variables));
        assert_eq!(second.status, Some(1), "{second:?}");
        assert_eq!(second.output, "");
        assert_eq!(second.errors.lines().count(), 1, "{second:?}");
        let address = format!("127.0.0.1:{port}");
        assert!(second.errors.contains(&address), "{second:?}");
    }
    assert_works(&first);
}

#[test]
fn port_is_free_once_the_server_has_exited() {
    let port = unused_port().to_string();
    let server = Server::with(&[("API_PORT", &port)]);
    // A connection that the server closes first keeps the port in TIME_WAIT.
    let mut client = server.connect();
    client.request("GET", "/resource", &["Connection: close"]);
    client.response();
    assert!(client.is_closed_within(PATIENCE));
    drop(client);
    printed(server);
    assert_works(&Server::with(&[("API_PORT", &port)]));
}

#[test]
fn address_of_another_machine_fails_with_one_line() {
    // RFC 5737: no machine has it.
    let finished = finish(command(&BASE).env("API_HOST", "192.0.2.1"));
    assert_eq!(finished.status, Some(1), "{finished:?}");
    assert_eq!(finished.output, "");
    assert_eq!(finished.errors.lines().count(), 1, "{finished:?}");
    assert!(finished.errors.contains("192.0.2.1"), "{finished:?}");
}

/// No other variable of the process matters, and none need be text.
#[test]
fn foreign_variables_are_ignored() {
    let server = Server::spawn(
        command(&BASE)
            .env("PORT", "1")
            .env("HOST", "nowhere")
            .env("RUST_LOG", "trace")
            .env("http_proxy", "http://127.0.0.1:1")
            .env("API_UNKNOWN", "")
            .env(
                OsString::from_vec(b"\xff\xfe".to_vec()),
                OsString::from_vec(b"\xff".to_vec()),
            ),
    );
    assert_works(&server);
    assert_eq!(printed(server), (vec![], vec![]));
}
