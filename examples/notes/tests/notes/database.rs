//! What is kept, and what becomes of a database that cannot be used.

use std::collections::HashSet;
use std::thread;

use crate::harness::{Client, File, PATIENCE, Server, command, full, note, post, wait};

#[test]
fn notes_outlive_the_process() {
    let file = File::new();
    let alice = full("alice");
    let mut locations = Vec::new();
    // `KILL` lets nothing be written that is not written yet.
    for (number, signal) in ["TERM", "KILL", "TERM"].into_iter().enumerate() {
        let mut server = Server::start(&file, &[]);
        let created = server.post(&alice, note(&format!("note {number}")));
        assert_eq!(created.status, 201);
        locations.push(created.field("location").expect("a location").to_owned());
        server.signal(signal);
        server.wait(PATIENCE);
    }
    let server = Server::start(&file, &[]);
    for (number, location) in locations.iter().enumerate() {
        let found = server.get(location, &alice);
        assert_eq!(found.json()["text"], format!("note {number}"));
    }
    assert_eq!(
        server.get("/notes", &alice).json().as_array().map(Vec::len),
        Some(3)
    );
}

#[test]
fn workers_and_processes_share_one_database() {
    const CLIENTS: usize = 8;
    const NOTES: usize = 25;
    let file = File::new();
    let servers =
        [2, 2].map(|workers: u8| Server::start(&file, &[("API_WORKERS", &workers.to_string())]));
    let locations: Vec<String> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let address = servers[number % 2].address;
                scope.spawn(move || {
                    let token = full(&format!("user {number}"));
                    let mut client = Client::to(address);
                    let create = |number| {
                        client.send(post(&token, note(&format!("note {number}"))));
                        let created = client.response();
                        assert_eq!(created.status, 201, "{created:?}");
                        created.field("location").expect("a location").to_owned()
                    };
                    (0..NOTES).map(create).collect::<Vec<_>>()
                })
            })
            .collect();
        clients
            .into_iter()
            .flat_map(|client| client.join().expect("no panic"))
            .collect()
    });
    assert_eq!(
        locations.iter().collect::<HashSet<_>>().len(),
        CLIENTS * NOTES
    );
    assert_eq!(file.notes().len(), CLIENTS * NOTES);
    for number in 0..CLIENTS {
        // Each is seen by the other process too.
        let list = servers[(number + 1) % 2].get("/notes", &full(&format!("user {number}")));
        let list = list.json();
        let texts = list
            .as_array()
            .expect("a list")
            .iter()
            .map(|entry| &entry["text"]);
        let expected = (0..NOTES).rev().map(|number| format!("note {number}"));
        assert!(texts.eq(&expected.collect::<Vec<_>>()), "{list}");
    }
}

#[test]
fn every_name_is_the_name_of_a_file() {
    // SQLite would keep these in memory, each connection for itself.
    for name in [":memory:", "file::memory:"] {
        let file = File::new();
        let alice = full("alice");
        let start = || {
            let mut command = command(&file, &[("NOTES_FILE", name)]);
            Server::spawn(command.current_dir(file.folder()))
        };
        let mut server = start();
        for _ in 0..5 {
            assert_eq!(server.post(&alice, note("there")).status, 201);
        }
        server.signal("TERM");
        server.wait(PATIENCE);
        assert_eq!(start().get("/notes/5", &alice).status, 200, "{name}");
    }
}

#[test]
fn unusable_file_ends_the_program_with_one_line() {
    let file = File::new();
    let text = file.path().with_file_name("text");
    std::fs::write(
        &text,
        "no database, but long enough to be looked at. ".repeat(100),
    )
    .expect("a file");
    let missing = file.path().join("missing");
    for path in [
        "".into(),
        text,
        missing,
        file.path().parent().expect("a folder").to_owned(),
    ] {
        for workers in ["1", "2"] {
            let mut child = command(&file, &[("API_WORKERS", workers)])
                .env("NOTES_FILE", &path)
                .spawn()
                .expect("the program starts");
            let status = wait(&mut child, PATIENCE);
            let output = child.wait_with_output().expect("output");
            let errors = String::from_utf8(output.stderr).expect("UTF-8");
            assert!(!status.success(), "{path:?}");
            assert!(errors.contains("NOTES_FILE"), "{errors:?}");
            assert_eq!(errors.trim_end().lines().count(), 1, "{errors:?}");
            assert_eq!(output.stdout, b"");
        }
    }
}

#[test]
fn failing_database_is_an_internal_error_and_reported() {
    let file = File::new();
    let server = Server::start(&file, &[]);
    let alice = full("alice");
    assert_eq!(server.post(&alice, note("there")).status, 201);
    file.execute("ALTER TABLE notes RENAME TO gone");
    let failed = server.post(&alice, note("nowhere"));
    assert_eq!(failed.error(), (500, "internal_error".to_owned()));
    // The fault is the operator's to know, and not the client's.
    assert!(!failed.content.contains("table"), "{failed:?}");
    let line = server.errors.recv_timeout(PATIENCE).expect("a line");
    assert!(line.contains("no such table"), "{line}");
    file.execute("ALTER TABLE gone RENAME TO notes");
    assert_eq!(server.post(&alice, note("again")).status, 201);
    assert_eq!(file.notes().len(), 2);
}
