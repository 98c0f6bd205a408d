//! Handlers that wait, because another process has the database.

use std::io::Read;
use std::time::{Duration, Instant};

use crate::harness::{Client, File, LATE, PATIENCE, Server, eventually, full, get, note, post};

const SECOND: Duration = Duration::from_secs(1);

/// Blocking calls at once.
const MAX_CALLS: usize = 4;

/// With this, the program waits a second for the database.
const ANSWER_TIMEOUT: (&str, &str) = ("API_ANSWER_TIMEOUT", "4");

fn alices(texts: &[&str]) -> Vec<(String, String)> {
    let of_alice = |text: &&str| ("alice".to_owned(), (*text).to_owned());
    texts.iter().map(of_alice).collect()
}

fn unavailable() -> (u16, String) {
    (503, "unavailable".to_owned())
}

/// A client whose first write is on its blocking thread, which waits for the database.
fn writing(server: &Server, text: &str) -> Client {
    let threads = server.count("task");
    let mut client = server.connect();
    client.send(post(&full("alice"), note(text)));
    eventually("the write has its thread", || {
        server.count("task") > threads
    });
    client
}

#[test]
fn locked_database_is_unavailable_in_time_and_then_there_again() {
    let file = File::new();
    let server = Server::start(&file, &[ANSWER_TIMEOUT]);
    let alice = full("alice");
    assert_eq!(server.post(&alice, note("before")).status, 201);

    let lock = file.lock();
    let mut client = server.connect();
    let since = Instant::now();
    client.send(post(&alice, note("never")));
    // A reader does not wait.
    assert_eq!(server.get("/notes/1", &alice).json()["text"], "before");
    let refused = client.response();
    let took = since.elapsed();
    assert_eq!(refused.error(), unavailable());
    // The program's own words, before the engine has any.
    assert!(refused.content.contains("database"), "{refused:?}");
    assert!(took > SECOND * 9 / 10 && took < 4 * SECOND, "{took:?}");
    assert_eq!(refused.field("connection"), None);
    lock.release();

    client.send(post(&alice, note("after")));
    assert_eq!(client.response().status, 201);
    assert_eq!(file.notes(), alices(&["before", "after"]));
}

#[test]
fn writers_beyond_the_turns_wait_without_threads_and_are_answered_in_time() {
    let file = File::new();
    let server = Server::start(&file, &[ANSWER_TIMEOUT]);
    let threads = server.count("task");
    let lock = file.lock();
    let since = Instant::now();
    let mut clients: Vec<_> = (0..20).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send(post(&full("alice"), note("never")));
    }
    eventually("the turns are taken", || {
        server.count("task") == threads + MAX_CALLS
    });
    for client in &mut clients {
        assert_eq!(client.response().error(), unavailable());
        // One that has just ended its call may not be idle yet.
        assert!(server.count("task") <= threads + 2 * MAX_CALLS);
    }
    let took = since.elapsed();
    assert!(took < 4 * SECOND, "{took:?}");
    lock.release();
    for client in &mut clients {
        client.send(post(&full("alice"), note("after")));
    }
    for client in &mut clients {
        assert_eq!(client.response().status, 201);
    }
    assert_eq!(file.notes(), alices(&["after"; 20]));
}

#[test]
fn writers_are_served_when_the_database_is_free() {
    let file = File::new();
    let server = Server::start(&file, &[("API_MAX_CONNECTIONS", "8")]);
    let lock = file.lock();
    let mut clients: Vec<_> = (0..8).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send(post(&full("alice"), note("there")));
    }
    // Every seat is taken by a handler that waits: none makes room.
    let mut next = server.connect();
    next.send(get("/me", &full("bob")));
    next.stream
        .set_read_timeout(Some(SECOND * 3 / 2))
        .expect("a timeout");
    assert!(
        next.stream.read(&mut [0]).is_err(),
        "a response without a seat"
    );
    next.stream
        .set_read_timeout(Some(PATIENCE))
        .expect("a timeout");
    lock.release();
    for client in &mut clients {
        assert_eq!(client.response().status, 201);
    }
    assert_eq!(next.response().status, 200);
    assert_eq!(file.notes(), alices(&["there"; 8]));
}

#[test]
fn requests_behind_one_that_waits_are_answered_in_order() {
    let file = File::new();
    let server = Server::start(&file, &[]);
    let alice = full("alice");
    let lock = file.lock();
    let mut client = writing(&server, "first");
    client.send(get("/notes/1", &alice) + &post(&alice, note("second")) + &get("/notes/2", &alice));
    client.send(get("/me", &alice));
    lock.release();
    assert_eq!(client.response().status, 201);
    assert_eq!(client.response().json()["text"], "first");
    assert_eq!(client.response().status, 201);
    assert_eq!(client.response().json()["text"], "second");
    assert_eq!(client.response().json()["user"], "alice");
    assert_eq!(file.notes(), alices(&["first", "second"]));
}

#[test]
fn client_that_is_done_sending_gets_its_response() {
    let file = File::new();
    let server = Server::start(&file, &[]);
    let lock = file.lock();
    let mut client = writing(&server, "there");
    client.finish_sending();
    // Long enough for the server to see it.
    assert_eq!(server.get("/me", &full("bob")).status, 200);
    lock.release();
    assert_eq!(client.response().status, 201);
    assert_eq!(client.rest(), b"");
    assert_eq!(file.notes(), alices(&["there"]));
}

#[test]
fn clients_that_reset_leave_nothing_behind() {
    let file = File::new();
    let server = Server::start(&file, &[]);
    let alice = full("alice");
    let (threads, descriptors) = (server.count("task"), server.count("fd"));
    let lock = file.lock();
    let mut clients = vec![writing(&server, "reset")];
    for _ in 1..20 {
        let mut client = server.connect();
        client.send(post(&alice, note("reset")));
        clients.push(client);
    }
    eventually("the turns are taken", || {
        server.count("task") == threads + MAX_CALLS
    });
    for client in clients {
        client.reset();
    }
    // While the database is still locked.
    eventually("the connections are gone", || {
        server.count("fd") == descriptors
    });
    lock.release();
    assert_eq!(server.post(&alice, note("after")).status, 201);
    let notes = file.notes();
    // What had its thread is written; what waited for a turn is not.
    assert!(notes.len() <= MAX_CALLS + 1, "{notes:?}");
    assert!(notes.contains(&("alice".to_owned(), "after".to_owned())));
}

#[test]
fn write_in_flight_at_the_signal_is_kept_and_answered() {
    for signal in ["TERM", "INT"] {
        let file = File::new();
        let mut server = Server::start(&file, &[]);
        let lock = file.lock();
        let mut client = writing(&server, "there");
        server.signal(signal);
        eventually("the listener is closed", || !server.is_listening());
        lock.release();
        let created = client.response();
        assert_eq!(
            (created.status, created.field("connection")),
            (201, Some("close"))
        );
        assert_eq!(client.rest(), b"");
        drop(client);
        assert_eq!(server.wait(SECOND + LATE).code(), Some(0));
        assert_eq!(file.notes(), alices(&["there"]));
    }
}

#[test]
fn write_that_is_refused_during_the_drain_is_not_kept() {
    let file = File::new();
    let mut server = Server::start(&file, &[ANSWER_TIMEOUT]);
    let lock = file.lock();
    let mut client = writing(&server, "never");
    server.signal("TERM");
    let refused = client.response();
    assert_eq!(refused.error(), unavailable());
    assert_eq!(refused.field("connection"), Some("close"));
    drop(client);
    assert_eq!(server.wait(SECOND + LATE).code(), Some(0));
    lock.release();
    assert_eq!(file.notes(), []);
}

#[test]
fn blocked_write_does_not_outlive_the_drain_timeout() {
    let file = File::new();
    let mut server = Server::start(&file, &[("API_DRAIN_TIMEOUT", "1")]);
    let lock = file.lock();
    let client = writing(&server, "never");
    let since = Instant::now();
    server.signal("TERM");
    assert_eq!(server.wait(PATIENCE).code(), Some(0));
    let took = since.elapsed();
    assert!(took > SECOND * 9 / 10 && took < SECOND + LATE, "{took:?}");
    drop(client);
    lock.release();
    assert_eq!(file.notes(), []);
    let server = Server::start(&file, &[]);
    assert_eq!(server.post(&full("alice"), note("after")).status, 201);
    assert_eq!(file.notes(), alices(&["after"]));
}

#[test]
fn second_signal_ends_a_blocked_write_at_once() {
    let file = File::new();
    let mut server = Server::start(&file, &[]);
    let _lock = file.lock();
    let _client = writing(&server, "never");
    server.signal("TERM");
    eventually("the listener is closed", || !server.is_listening());
    server.signal("TERM");
    server.wait(SECOND);
}
