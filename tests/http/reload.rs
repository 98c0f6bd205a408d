//! SIGHUP: new secrets while requests are served.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use resource_server::jwt::Key;

use crate::configuration::SecretFile;
use crate::harness::{Client, PATIENCE, SECRET, Server, command};

const OLD: &str = "the secret before this one, 32 bytes or longer";
const NEW: &str = "the secret after this one, 32 bytes or longer";

const SIGHUP: i32 = 1;

/// Replaces a file as one, as `mv` does.
fn replace(file: &SecretFile, content: impl AsRef<[u8]>) {
    let new = file.0.with_extension("new");
    fs::write(&new, content).expect("a file");
    fs::rename(&new, &file.0).expect("its new name");
}

/// A server whose secrets come from these files.
fn serve(current: &SecretFile, previous: &SecretFile) -> Server {
    Server::spawn(&mut command(&[
        ("API_PORT", "0"),
        ("API_WORKERS", "2"),
        ("JWT_SECRET_FILE", current.path()),
        ("JWT_SECRET_PREVIOUS_FILE", previous.path()),
    ]))
}

/// Sends SIGHUP and returns the line that it causes.
fn reload(server: &Server) -> String {
    server.signal("HUP");
    let line = server.errors.recv_timeout(PATIENCE).expect("a line");
    for secret in [SECRET, OLD, NEW] {
        assert!(!line.contains(secret), "{line}");
    }
    line
}

/// Which of these secrets' tokens a connection accepts.
fn accepted<'a>(client: &mut Client, secrets: &[&'a str]) -> Vec<&'a str> {
    let mut accepts = |secret: &str| {
        let token = Key::new(secret.as_bytes()).expect("a secret").sign("{}");
        let field = format!("Authorization: Bearer {token}");
        client.request("GET", "/resource/secret", &[&field]);
        client.response().status == 200
    };
    secrets
        .iter()
        .copied()
        .filter(|secret| accepts(secret))
        .collect()
}

#[test]
fn hangup_replaces_both_secrets_for_connections_that_are_open() {
    let (current, previous) = (SecretFile::new(SECRET), SecretFile::new(OLD));
    let server = serve(&current, &previous);
    let all = [SECRET, OLD, NEW];
    // One for each worker, and more.
    let mut clients: Vec<_> = (0..5).map(|_| server.connect()).collect();
    for (in_current, in_previous, expected) in [
        (SECRET, OLD, vec![SECRET, OLD]),
        (NEW, SECRET, vec![SECRET, NEW]),
        (NEW, "", vec![NEW]),
        (NEW, "\n", vec![NEW]),
        (NEW, OLD, vec![OLD, NEW]),
        (SECRET, "", vec![SECRET]),
    ] {
        replace(&current, format!("{in_current}\n"));
        replace(&previous, in_previous);
        let line = reload(&server);
        assert!(line.starts_with("reloaded the secrets"), "{line}");
        let has_previous = !in_previous.trim_end().is_empty();
        assert_eq!(line.contains("no previous"), !has_previous, "{line}");
        for client in &mut clients {
            assert_eq!(accepted(client, &all), expected);
        }
    }
}

#[test]
fn hangup_in_the_middle_of_a_request_loses_nothing() {
    let (current, previous) = (SecretFile::new(SECRET), SecretFile::new(""));
    let server = serve(&current, &previous);
    let mut client = server.connect();
    let token = Key::new(NEW.as_bytes()).expect("a secret").sign("{}");
    client.send(format!(
        "GET /resource/secret HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n"
    ));
    replace(&current, NEW);
    reload(&server);
    client.send("\r\n");
    assert_eq!(client.response().status, 200);
}

#[test]
fn secrets_that_cannot_be_used_replace_none() {
    let (current, previous) = (SecretFile::new(SECRET), SecretFile::new(OLD));
    let server = serve(&current, &previous);
    let mut client = server.connect();
    let short = "Tr0ub4dor&3-Tr0ub4dor&3-Tr0ub4d";
    let long = "x".repeat(65_537);
    for (in_current, in_previous, variable) in [
        // Short ones are rejected on a loopback address too.
        (short, NEW, "JWT_SECRET_FILE"),
        (NEW, short, "JWT_SECRET_PREVIOUS_FILE"),
        (NEW, "\n\n", "JWT_SECRET_PREVIOUS_FILE"),
        ("", NEW, "JWT_SECRET_FILE"),
        ("\r\n", "", "JWT_SECRET_FILE"),
        (&long, NEW, "JWT_SECRET_FILE"),
        (NEW, &long, "JWT_SECRET_PREVIOUS_FILE"),
    ] {
        replace(&current, in_current);
        replace(&previous, in_previous);
        let line = reload(&server);
        let expected = format!("kept the old secrets: {variable}: expected ");
        assert!(line.starts_with(&expected), "{line}");
        assert!(!line.contains("Tr0ub4dor"), "{line}");
        assert_eq!(
            accepted(&mut client, &[SECRET, OLD, NEW, short]),
            [SECRET, OLD]
        );
    }

    // A missing file is not an empty one.
    replace(&current, NEW);
    fs::remove_file(&previous.0).expect("a file");
    let line = reload(&server);
    assert!(
        line.starts_with("kept the old secrets: JWT_SECRET_PREVIOUS_FILE: ")
            && line.contains("os error"),
        "{line}"
    );
    assert!(!line.contains(previous.path()), "{line}");
    fs::create_dir(&previous.0).expect("a folder");
    let line = reload(&server);
    assert!(line.contains("directory"), "{line}");
    fs::remove_dir(&previous.0).expect("a folder");
    assert_eq!(accepted(&mut client, &[SECRET, OLD, NEW]), [SECRET, OLD]);

    // The next reload succeeds.
    replace(&previous, SECRET);
    let line = reload(&server);
    assert!(line.starts_with("reloaded"), "{line}");
    assert_eq!(accepted(&mut client, &[SECRET, OLD, NEW]), [SECRET, NEW]);
}

#[test]
fn secret_that_comes_from_a_variable_stays() {
    let previous = SecretFile::new(OLD);
    let server = Server::with(&[("JWT_SECRET_PREVIOUS_FILE", previous.path())]);
    replace(&previous, NEW);
    reload(&server);
    let mut client = server.connect();
    assert_eq!(accepted(&mut client, &[SECRET, OLD, NEW]), [SECRET, NEW]);
}

#[test]
fn suspicious_secret_is_reloaded_with_a_warning() {
    let current = SecretFile::new(SECRET);
    let server = Server::spawn(&mut command(&[
        ("API_PORT", "0"),
        ("JWT_SECRET_FILE", current.path()),
        ("JWT_AUDIENCE", "a,b"),
    ]));
    // What cannot change is not reported again.
    let at_start = server.errors.recv_timeout(PATIENCE).expect("a line");
    assert!(at_start.contains("JWT_AUDIENCE"), "{at_start}");
    replace(&current, format!("\"{NEW}\"\n"));
    let warning = reload(&server);
    assert!(
        warning.starts_with("warning: JWT_SECRET_FILE: ") && warning.contains("quotation mark"),
        "{warning}"
    );
    let line = server.errors.recv_timeout(PATIENCE).expect("a line");
    assert!(line.starts_with("reloaded the secrets"), "{line}");
}

/// Whether this process has inherited that SIGHUP is ignored.
fn ignores_hangups() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (SIGHUP - 1)) != 0)
}

/// So that a closed terminal ends the program.
#[test]
fn hangup_without_a_secret_file_ends_the_process() {
    if ignores_hangups() {
        // Under nohup every child does too: that is its default effect then.
        return;
    }
    for mut server in [
        Server::start(),
        Server::spawn(&mut command(&[("API_PORT", "0")])),
        Server::with(&[("JWT_SECRET_PREVIOUS", OLD)]),
    ] {
        server.signal("HUP");
        assert_eq!(server.wait(PATIENCE).signal(), Some(SIGHUP));
    }
}

#[test]
fn server_after_a_reload_exits_as_before() {
    let (current, previous) = (SecretFile::new(SECRET), SecretFile::new(OLD));
    let mut server = serve(&current, &previous);
    let descriptors = server.descriptors();
    for _ in 0..5 {
        reload(&server);
    }
    assert_eq!(server.descriptors(), descriptors);
    server.signal("HUP");
    assert!(server.end() < Duration::from_secs(3));
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// `ROTATION_REQUESTS` for more of them.
#[test]
fn rotation_ten_times_a_second_rejects_and_loses_no_request() {
    let wanted = std::env::var("ROTATION_REQUESTS").map_or(3000, |text| {
        text.parse::<usize>().expect("a number of requests")
    });
    let secret = |turn: usize| format!("secret number {turn:06} of a long rotation");
    let (current, previous) = (SecretFile::new(secret(1)), SecretFile::new(secret(0)));
    let server = serve(&current, &previous);
    let before = server.resident();
    // The last turn whose secrets a line has announced.
    let turn = AtomicUsize::new(1);
    let (served, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        // Also if what follows panics: the scope waits for its threads.
        let _end = SetOnDrop(&is_over);
        let address = server.address;
        let mut clients = Vec::new();
        for number in 0..3 {
            let (turn, served, is_over) = (&turn, &served, &is_over);
            clients.push(scope.spawn(move || {
                let mut client = Client::to(address);
                let mut count = number;
                while !is_over.load(Ordering::Relaxed) {
                    // What is current now is accepted before and after the next reload.
                    let announced = turn.load(Ordering::Acquire);
                    let key = Key::new(secret(announced).as_bytes()).expect("a secret");
                    let field = format!("Authorization: Bearer {}", key.sign("{}"));
                    client.request("GET", "/resource/secret", &[&field]);
                    let response = client.response();
                    if response.status == 200 {
                        served.fetch_add(1, Ordering::Relaxed);
                    } else {
                        // On a busy machine, the one after the next may have come before the
                        // request.
                        let now = turn.load(Ordering::Acquire);
                        assert!(now > announced, "turn {now}: {}", response.content);
                    }
                    count += 1;
                    if count % 100 == 0 {
                        client = Client::to(address);
                    }
                }
            }));
        }
        let mut next = 2;
        while served.load(Ordering::Relaxed) < wanted || next < 12 {
            assert!(
                !clients.iter().any(thread::ScopedJoinHandle::is_finished),
                "a client has given up"
            );
            replace(&previous, secret(next - 1));
            replace(&current, secret(next));
            assert!(reload(&server).starts_with("reloaded"));
            turn.store(next, Ordering::Release);
            next += 1;
            thread::sleep(Duration::from_millis(80));
            // Once more, with nothing new.
            assert!(reload(&server).starts_with("reloaded"));
            thread::sleep(Duration::from_millis(80));
        }
    });
    let grown = server.resident().saturating_sub(before);
    assert!(grown < 2048, "{grown} KiB");
}

#[test]
fn replaced_file_is_the_one_that_is_read() {
    // As Kubernetes does it: a link to a folder is replaced, and with it both files at once.
    let folder =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("links-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    for (name, current, previous) in [("1", SECRET, OLD), ("2", NEW, SECRET)] {
        fs::create_dir_all(folder.join(name)).expect("a folder");
        fs::write(folder.join(name).join("current"), current).expect("a file");
        fs::write(folder.join(name).join("previous"), previous).expect("a file");
    }
    let point_to = |name: &str| {
        let new = folder.join("new");
        std::os::unix::fs::symlink(name, &new).expect("a link");
        fs::rename(new, folder.join("data")).expect("its new name");
    };
    point_to("1");
    let path = |name: &str| {
        folder
            .join("data")
            .join(name)
            .to_str()
            .expect("UTF-8")
            .to_owned()
    };
    let server = Server::spawn(&mut command(&[
        ("API_PORT", "0"),
        ("JWT_SECRET_FILE", &path("current")),
        ("JWT_SECRET_PREVIOUS_FILE", &path("previous")),
    ]));
    let mut client = server.connect();
    assert_eq!(accepted(&mut client, &[SECRET, OLD, NEW]), [SECRET, OLD]);
    point_to("2");
    reload(&server);
    assert_eq!(accepted(&mut client, &[SECRET, OLD, NEW]), [SECRET, NEW]);
    let _ = fs::remove_dir_all(&folder);
}
