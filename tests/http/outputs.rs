//! Outputs that are full, slow, blocked, closed or non-blocking, and a system without threads.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::configuration::SecretFile;
use crate::harness::{
    Client, PATIENCE, PROGRAM, Running, SECRET, Server, command, finish, good_token, lines, shell,
    unused_port, wait,
};

/// Commands that print something.
const COMMANDS: [&[&str]; 5] = [&["token"], &["--help"], &["-h"], &["--version"], &["-V"]];

fn with_secret(arguments: &[&str]) -> Command {
    let mut command = command(&[("JWT_SECRET", SECRET)]);
    command.args(arguments);
    command
}

/// Asserts that a command failed with one line on standard error that says why.
fn assert_fails(command: &mut Command, reason: &str) {
    let finished = finish(command);
    assert_eq!(finished.status, Some(1), "{command:?} {finished:?}");
    assert_eq!(finished.errors.lines().count(), 1, "{finished:?}");
    assert!(
        finished.errors.contains("standard output") && finished.errors.contains(reason),
        "{finished:?}"
    );
}

#[test]
fn command_fails_if_its_output_cannot_be_written() {
    let open = |path: &str| OpenOptions::new().write(true).open(path);
    for arguments in COMMANDS {
        // Linux has it.
        if let Ok(full) = open("/dev/full") {
            assert_fails(with_secret(arguments).stdout(full), "No space left");
        }
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        assert_fails(with_secret(arguments).stdout(writer), "Broken pipe");
        // Open, but not for writing.
        let null = File::open("/dev/null").expect("a file");
        assert_fails(with_secret(arguments).stdout(null), "Bad file descriptor");
        let null = open("/dev/null").expect("a file");
        assert_eq!(finish(with_secret(arguments).stdout(null)).status, Some(0));
    }
}

#[test]
fn exit_status_does_not_depend_on_standard_error() {
    for path in ["/dev/full", "/dev/null"] {
        let Ok(errors) = OpenOptions::new().write(true).open(path) else {
            continue;
        };
        let with_errors = |arguments: &[&str]| {
            let errors = errors.try_clone().expect("a descriptor");
            finish(with_secret(arguments).stderr(errors)).status
        };
        assert_eq!(with_errors(&["nonsense"]), Some(2), "{path}");
        assert_eq!(with_errors(&["health", "x"]), Some(2), "{path}");
        assert_eq!(
            with_errors(&["token", "--claim", "exp=0"]),
            Some(0),
            "{path}"
        );
    }
}

/// Ends of one stream, the second of which is the program's.
fn socket(is_blocking: bool) -> (UnixStream, OwnedFd) {
    let (ours, theirs) = UnixStream::pair().expect("two sockets");
    ours.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    theirs.set_nonblocking(!is_blocking).expect("an option");
    (ours, theirs.into())
}

/// Longer than any pipe's buffer, and than the lines that may wait.
#[test]
fn long_token_reaches_a_slow_reader_whole() {
    let subject = "x".repeat(120_000);
    for is_blocking in [true, false] {
        let (mut reader, output) = socket(is_blocking);
        let mut child = Running(
            with_secret(&["token", "--sub", &subject])
                .stdout(output)
                .spawn()
                .expect("the program starts"),
        );
        let mut token = Vec::new();
        let mut piece = [0; 4096];
        loop {
            match reader.read(&mut piece).expect("a byte or the end") {
                0 => break,
                len => token.extend_from_slice(&piece[..len]),
            }
            thread::sleep(Duration::from_millis(2));
        }
        assert_eq!(wait(&mut child.0, PATIENCE).code(), Some(0));
        let token = String::from_utf8(token).expect("ASCII");
        assert!(token.len() > 160_000 && token.ends_with('\n'));
        let payload = token.split('.').nth(1).expect("a payload");
        assert_eq!(token.trim_end().split('.').count(), 3);
        assert!(payload.len() > 160_000);
        assert_eq!(token.trim_end().rsplit('.').next().map(str::len), Some(43));
    }
}

/// An output without room. It is not closed as long as its first end is kept.
fn full(is_blocking: bool) -> (UnixStream, OwnedFd) {
    let (ours, theirs) = UnixStream::pair().expect("two sockets");
    theirs.set_nonblocking(true).expect("an option");
    for piece in [&[b'.'; 4096] as &[u8], b"."] {
        while (&theirs).write(piece).is_ok() {}
    }
    theirs.set_nonblocking(!is_blocking).expect("an option");
    (ours, theirs.into())
}

/// A server that serves although it cannot print that it listens.
fn start_full(is_blocking: bool) -> (Server, [UnixStream; 2]) {
    let port = unused_port();
    // A short secret is a line on standard error.
    let mut command = command(&[
        ("API_PORT", &port.to_string()),
        ("JWT_SECRET", "my super secret key"),
        ("API_LOG", "access"),
    ]);
    let (reader, output) = full(is_blocking);
    let (errors_reader, errors) = full(is_blocking);
    let server = Server::spawn_silent(command.stdout(output).stderr(errors), port);
    (server, [reader, errors_reader])
}

#[test]
fn blocked_outputs_delay_neither_requests_nor_the_exit() {
    for is_blocking in [true, false] {
        let (mut server, readers) = start_full(is_blocking);
        for _ in 0..20 {
            assert_eq!(server.get("/resource", &[]).status, 200);
        }
        let took = server.end();
        assert!(took < Duration::from_secs(1), "{took:?}");
        drop(readers);
    }
}

/// A line is delayed by a blocked output, not lost.
#[test]
fn lines_are_written_when_a_blocked_output_is_read() {
    for is_blocking in [true, false] {
        let (server, [reader, _errors]) = start_full(is_blocking);
        assert_eq!(server.get("/resource", &[]).status, 200);
        reader.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let mut text = BufReader::new(reader)
            .lines()
            .map(|line| line.expect("text"));
        let first = text.next().expect("a line");
        let first = first.trim_start_matches('.');
        assert_eq!(first, format!("listening on http://{}", server.address));
        let entry: Value = serde_json::from_str(&text.next().expect("a line")).expect("JSON");
        assert_eq!(entry["path"], "/resource");
    }
}

/// A terminal that another program has made non-blocking: every line is whole, or counted.
#[test]
fn non_blocking_output_breaks_no_line_and_its_losses_are_counted() {
    const REQUESTS: usize = 4000;
    let (reader, output) = socket(false);
    let port = unused_port();
    let mut command = command(&[
        ("API_PORT", &port.to_string()),
        ("JWT_SECRET", SECRET),
        ("API_LOG", "access"),
    ]);
    let child = Running(command.stdout(output).spawn().expect("the program starts"));
    drop(command);
    let mut reader = BufReader::new(reader);
    let mut first = String::new();
    reader.read_line(&mut first).expect("a line");
    assert_eq!(first, format!("listening on http://127.0.0.1:{port}\n"));

    // Nothing is read in the meantime.
    let mut client = Client::to(([127, 0, 0, 1], port).into());
    for _ in 0..REQUESTS {
        client.request("GET", "/resource", &[]);
        assert_eq!(client.response().status, 200);
    }
    let (mut written, mut dropped) = (0, 0);
    let output = lines(reader);
    while written + dropped < REQUESTS {
        let line = output.recv_timeout(PATIENCE).unwrap_or_else(|error| {
            panic!("{error}: {written} written, {dropped} dropped");
        });
        let entry: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line:?}"));
        match entry["dropped_lines"].as_u64() {
            Some(count) => dropped += usize::try_from(count).expect("a count"),
            None => written += 1,
        }
    }
    assert_eq!(written + dropped, REQUESTS);
    assert!(dropped > 0 && written > 1000, "{written} {dropped}");
    drop(child);
}

/// The program where no second thread can be created: it runs as a user of its own, whose only
/// process it is, or as a user that has too many.
fn without_threads(variables: &[(&str, &str)], arguments: &[&str]) -> Command {
    with_threads(1, 54_321, variables, arguments)
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// The program with this many threads at most, if we are the superuser and can make it this user's.
fn with_threads(
    count: usize,
    user: u32,
    variables: &[(&str, &str)],
    arguments: &[&str],
) -> Command {
    // Shells differ in the letter for processes.
    let script = format!("ulimit -u {count} 2>/dev/null || ulimit -p {count}; exec \"$@\"");
    let mut command = shell(&script, variables);
    if is_root() {
        // The superuser may have as many as it likes, and another user need not have access to the
        // folder of the program.
        command
            .uid(user)
            .gid(user)
            .stdin(File::open(PROGRAM).expect("the program"))
            .arg("/proc/self/fd/0");
    } else {
        command.arg(PROGRAM);
    }
    command.args(arguments);
    command
}

#[test]
fn without_threads_every_command_and_every_failure_prints() {
    let secret = [("JWT_SECRET", SECRET)];
    for (variables, arguments, status, output, errors) in [
        (
            &secret as &[_],
            &["--version"] as &[_],
            0,
            "resource-server ",
            "",
        ),
        (&secret, &["-h"], 0, "A minimal resource server", ""),
        (&secret, &["token"], 0, "eyJ", ""),
        (&secret, &["nonsense"], 2, "", "unknown arguments"),
        (&[], &["token"], 2, "", "JWT_SECRET: expected"),
        (&[("API_PORT", "x")], &[], 2, "", "API_PORT: expected"),
        (
            &[("API_HOST", "x")],
            &["health"],
            1,
            "",
            "API_HOST: expected",
        ),
        (
            &[
                ("JWT_SECRET", SECRET),
                ("API_HOST", "192.0.2.1"),
                ("API_WORKERS", "1"),
            ],
            &[],
            1,
            "",
            "API_HOST, API_PORT: cannot listen on 192.0.2.1",
        ),
        (
            &[
                ("JWT_SECRET", SECRET),
                ("API_PORT", "0"),
                ("API_WORKERS", "2"),
            ],
            &[],
            1,
            "",
            "API_WORKERS: cannot start 2 workers",
        ),
    ] {
        let finished = finish(&mut without_threads(variables, arguments));
        assert_eq!(finished.status, Some(status), "{arguments:?} {finished:?}");
        for (printed, expected) in [(&finished.output, output), (&finished.errors, errors)] {
            assert!(printed.starts_with(expected), "{arguments:?} {finished:?}");
            assert_eq!(printed.is_empty(), expected.is_empty(), "{finished:?}");
        }
    }
}

#[test]
fn without_threads_the_server_says_where_it_listens_and_serves() {
    let variables = [
        ("API_PORT", "0"),
        ("API_WORKERS", "1"),
        ("API_LOG", "access"),
        ("JWT_SECRET", SECRET),
        ("JWT_AUDIANCE", "me"),
    ];
    let mut server = Server::spawn(&mut without_threads(&variables, &[]));
    let warning = server.errors.recv_timeout(PATIENCE).expect("a warning");
    assert!(warning.contains("JWT_AUDIENCE"), "{warning}");
    for _ in 0..3000 {
        let response = server.get_with_token("/resource/secret", &good_token());
        assert_eq!(response.status, 200);
    }
    assert!(server.end() < Duration::from_secs(1));
}

/// A limit that the workers use up: the log gets a thread when they have ended.
#[test]
fn lines_that_wait_for_a_thread_are_written_at_the_end() {
    if !is_root() {
        return; // The count of another user's processes is not known.
    }
    let variables = [
        ("API_PORT", "0"),
        ("API_WORKERS", "2"),
        ("API_LOG", "access"),
        ("JWT_SECRET", SECRET),
    ];
    // Another run of this test must not count.
    let user = 40_000 + std::process::id() % 10_000;
    let mut server = Server::spawn(&mut with_threads(2, user, &variables, &[]));
    for _ in 0..20 {
        assert_eq!(server.get("/resource", &[]).status, 200);
    }
    assert_eq!(server.output.try_recv().ok(), None);
    server.signal("TERM");
    assert_eq!(server.wait(PATIENCE).code(), Some(0));
    assert_eq!(server.output.iter().count(), 20);
}

/// The default is as many workers as there are processors, and not more than can be had.
#[test]
fn without_threads_one_worker_serves_by_default() {
    let variables = [("API_PORT", "0"), ("JWT_SECRET", SECRET)];
    let server = Server::spawn(&mut without_threads(&variables, &[]));
    let status = || server.get("/resource", &[]).status;
    assert_eq!([status(), status()], [200, 200]);
    if thread::available_parallelism().is_ok_and(|count| count.get() > 1) {
        let warning = server.errors.recv_timeout(PATIENCE).expect("a warning");
        assert!(warning.contains("API_WORKERS=1"), "{warning}");
    }
}

#[test]
fn without_threads_the_secrets_are_reloaded_and_the_line_is_printed() {
    // Where every user has access.
    let name = format!("resource-server-secret-{}", std::process::id());
    let file = SecretFile(std::env::temp_dir().join(name));
    std::fs::write(&file.0, "another secret, which is 32 bytes or longer").expect("a file");
    let variables = [
        ("API_PORT", "0"),
        ("API_WORKERS", "1"),
        ("JWT_SECRET_FILE", file.path()),
    ];
    let server = Server::spawn(&mut without_threads(&variables, &[]));
    let status = || {
        server
            .get_with_token("/resource/secret", &good_token())
            .status
    };
    assert_eq!(status(), 401);
    std::fs::write(&file.0, SECRET).expect("a file");
    server.signal("HUP");
    let line = server.errors.recv_timeout(PATIENCE).expect("a line");
    assert!(line.starts_with("reloaded the secrets"), "{line}");
    assert_eq!(status(), 200);
}

/// Runs one of the tests below as a process of its own.
fn child(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a path"));
    command
        .args(["--exact", test, "--ignored", "--nocapture"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

const SIGABRT: i32 = 6;

/// Also in a debug build, which unwinds otherwise.
#[test]
fn panic_on_any_thread_ends_the_process_and_says_where() {
    let output = child("outputs::child_that_panics").output();
    let output = output.expect("this program");
    assert_eq!(output.status.signal(), Some(SIGABRT), "{output:?}");
    let errors = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(
        errors.starts_with("panicked at ") && errors.contains("outputs.rs:"),
        "{errors}"
    );
    assert!(errors.contains(r"on\npurpose"), "{errors}");
}

#[test]
fn panic_with_a_blocked_standard_error_ends_the_process() {
    let (_reader, errors) = full(true);
    let mut command = child("outputs::child_that_panics");
    let mut child = Running(command.stderr(errors).spawn().expect("this program"));
    assert_eq!(wait(&mut child.0, PATIENCE).signal(), Some(SIGABRT));
}

#[test]
#[ignore = "run by the tests above"]
fn child_that_panics() {
    resource_server::log::abort_on_panic();
    let panicking = thread::spawn(|| panic!("on\npurpose"));
    let _ = panicking.join();
    // A process that goes on has another exit status.
}

#[test]
fn full_output_is_full() {
    let (_reader, output) = full(false);
    let mut output = UnixStream::from(output);
    let error = output.write(b"x").expect_err("no room");
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
}
