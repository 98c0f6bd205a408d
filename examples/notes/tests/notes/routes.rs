//! Which request gets which response, and from whom a note is kept.

use serde_json::json;

use crate::harness::{File, PATIENCE, Server, command, full, get, note, post, post_head, token};

/// The scopes of every route that demands any.
const SCOPES: [(&str, &str, &str); 3] = [
    ("GET", "/notes", "notes:read"),
    ("GET", "/notes/1", "notes:read"),
    ("POST", "/notes", "notes:write"),
];

#[test]
fn created_note_is_found_at_its_location() {
    let file = File::new();
    let server = Server::start(&file, &[]);
    let alice = full("alice");

    let created = server.post(&alice, note("buy milk — \"2 l\"\n\0"));
    assert_eq!((created.status, created.content.as_str()), (201, ""));
    assert_eq!(created.field("cache-control"), Some("no-store"));
    let location = created.field("location").expect("a location");

    let found = server.get(location, &alice);
    assert_eq!(found.status, 200, "{found:?}");
    assert_eq!(found.field("content-type"), Some("application/json"));
    assert_eq!(found.field("cache-control"), Some("no-store"));
    assert_eq!(found.json()["text"], "buy milk — \"2 l\"\n\0");
    assert!(location.ends_with(&format!("/{}", found.json()["id"])));
}

#[test]
fn list_has_the_latest_hundred_and_their_beginnings() {
    let file = File::new();
    let server = Server::start(&file, &[]);
    let alice = full("alice");
    assert_eq!(server.get("/notes", &alice).json(), json!([]));

    let mut client = server.connect();
    for number in 1..=101 {
        client.send(post(
            &alice,
            note(&format!("{number:>3}{}", "é".repeat(5000))),
        ));
        assert_eq!(client.response().status, 201);
    }
    let list = server.get("/notes", &alice);
    assert_eq!(list.status, 200);
    let list = list.json();
    let list = list.as_array().expect("a list");
    assert_eq!(list.len(), 100);
    for (entry, number) in list.iter().zip((2..=101).rev()) {
        assert_eq!(entry["text"], format!("{number:>3}{}", "é".repeat(77)));
    }
}

#[test]
fn no_user_sees_the_notes_of_another() {
    let file = File::new();
    let server = Server::start(&file, &[]);
    let (alice, bob) = (full("alice"), full("bob"));
    let of_alice = server.post(&alice, note("of alice"));
    let of_bob = server.post(&bob, note("of bob"));
    let (of_alice, of_bob) = (of_alice.field("location"), of_bob.field("location"));
    let (of_alice, of_bob) = (of_alice.expect("a location"), of_bob.expect("a location"));

    assert_eq!(server.get(of_alice, &alice).json()["text"], "of alice");
    assert_eq!(server.get(of_bob, &bob).json()["text"], "of bob");
    for (location, other) in [(of_alice, &bob), (of_bob, &alice)] {
        let refused = server.get(location, other);
        assert_eq!(refused.error(), (404, "not_found".to_owned()));
        // As if there were none.
        assert_eq!(refused.content, server.get("/notes/1000", other).content);
    }
    let texts = |token| {
        let list = server.get("/notes", token).json();
        let texts = list
            .as_array()
            .expect("a list")
            .iter()
            .map(|entry| entry["text"].clone());
        texts.collect::<Vec<_>>()
    };
    assert_eq!(texts(&alice), ["of alice"]);
    assert_eq!(texts(&bob), ["of bob"]);
    // Whatever the query claims.
    let list = server.get("/notes?user=alice&sub=alice", &bob).json();
    assert_eq!(list[0]["text"], "of bob");
    // Another spelling is another user.
    for other in ["Alice", "alice ", "alic", "alice\0", ""] {
        assert_eq!(
            server.get("/notes", &full(other)).json(),
            json!([]),
            "{other:?}"
        );
    }
}

#[test]
fn me_is_the_user_of_the_token() {
    let file = File::new();
    let server = Server::start(&file, &[]);
    for user in ["alice", "a \"b\" \\ é"] {
        let me = server.get("/me", &token(user, ""));
        assert_eq!((me.status, me.json()), (200, json!({ "user": user })));
    }
    let refused = server.get("/me", "no.valid.token");
    assert_eq!(refused.error(), (401, "invalid_token".to_owned()));
}

#[test]
fn token_without_a_user_is_refused() {
    let file = File::new();
    let server = Server::start(&file, &[("JWT_USER_CLAIM", "user")]);
    let nameless = full("alice");
    for path in ["/me", "/notes", "/notes/1"] {
        let refused = server.get(path, &nameless);
        assert_eq!(
            refused.error(),
            (403, "unusable_subject".to_owned()),
            "{path}"
        );
    }
    let refused = server.post(&nameless, note("of no user"));
    assert_eq!(refused.error(), (403, "unusable_subject".to_owned()));
    assert_eq!(file.notes(), []);
}

#[test]
fn token_without_the_scope_is_refused() {
    let file = File::new();
    let server = Server::start(&file, &[]);
    assert_eq!(server.post(&full("alice"), note("there")).status, 201);
    for (method, path, scope) in SCOPES {
        for granted in [
            "",
            "notes",
            "notes:",
            "notes:reads notes:writes",
            "read write",
        ]
        .into_iter()
        .chain(
            ["notes:read", "notes:write"]
                .into_iter()
                .filter(|&other| other != scope),
        ) {
            let mut client = server.connect();
            let token = token("alice", granted);
            client.send(match method {
                "POST" => post(&token, note("not there")),
                _ => get(path, &token),
            });
            let refused = client.response();
            let error = (403, "insufficient_scope".to_owned());
            assert_eq!(refused.error(), error, "{method} {path} with {granted:?}");
            let challenge = refused.field("www-authenticate").expect("a challenge");
            assert!(
                challenge.contains(&format!("scope=\"{scope}\"")),
                "{challenge}"
            );
        }
    }
    assert_eq!(file.notes().len(), 1);
}

#[test]
fn request_without_a_token_is_refused_before_its_content() {
    let file = File::new();
    let server = Server::start(&file, &[]);
    for (method, path, _) in SCOPES
        .into_iter()
        .chain([("GET", "/me", ""), ("HEAD", "/me", "")])
    {
        let mut client = server.connect();
        client.send(format!("{method} {path} HTTP/1.1\r\nHost: test\r\n\r\n"));
        let refused = client.response_to(method);
        assert_eq!(refused.status, 401, "{method} {path}");
        assert!(refused.field("www-authenticate").is_some());
        assert_eq!(refused.field("cache-control"), Some("no-store"));
    }
    for expectation in ["X-No: expectation", "Expect: 100-continue"] {
        let mut client = server.connect();
        client.send(format!(
            "POST /notes HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n{expectation}\r\n\r\n"
        ));
        let refused = client.response();
        assert_eq!(refused.error(), (401, "credentials_required".to_owned()));
        assert_eq!(refused.field("connection"), Some("close"));
    }
    assert_eq!(file.notes(), []);
}

#[test]
fn methods_follow_from_the_routes() {
    let file = File::new();
    let server = Server::start(&file, &[]);
    let alice = full("alice");
    server.post(&alice, note("there"));
    let ask = |method: &str, path: &str| {
        let mut client = server.connect();
        client.send(
            post_head(&alice, "Content-Length: 0")
                .replace("POST /notes", &format!("{method} {path}")),
        );
        client.response_to(method)
    };
    for (path, supported) in [
        ("/notes", &["GET", "HEAD", "OPTIONS", "POST"][..]),
        ("/notes/1", &["GET", "HEAD", "OPTIONS"]),
        ("/me", &["GET", "HEAD", "OPTIONS"]),
    ] {
        let options = ask("OPTIONS", path);
        assert_eq!(
            (options.status, options.methods()),
            (204, supported.to_vec()),
            "{path}"
        );
        for method in ["PUT", "DELETE", "PATCH", "get", "POST"] {
            if !supported.contains(&method) {
                let refused = ask(method, path);
                assert_eq!(
                    refused.error(),
                    (405, "method_not_allowed".to_owned()),
                    "{method} {path}"
                );
                assert_eq!(refused.methods(), supported, "{method} {path}");
            }
        }
        let (get, head) = (ask("GET", path), ask("HEAD", path));
        assert_eq!((get.status, head.status), (200, 200), "{path}");
        assert_eq!(
            get.field("content-length"),
            head.field("content-length"),
            "{path}"
        );
        assert_eq!(head.content, "");
    }
}

#[test]
fn path_that_is_no_note_is_not_found() {
    let file = File::new();
    let mut server = Server::start(&file, &[]);
    let alice = full("alice");
    server.post(&alice, note("there"));
    assert_eq!(server.get("/notes/1", &alice).status, 200);
    for path in [
        "/",
        "/note",
        "/notes/",
        "/notes/1/",
        "/notes//1",
        "//notes/1",
        "/Notes/1",
        "/notes/0",
        "/notes/-1",
        "/notes/2",
        "/notes/one",
        "/notes/1.0",
        "/notes/%31",
        "/notes/1/1",
        "/me/",
        "/notes/9223372036854775807",
        "/notes/9223372036854775808",
        "/notes/1'--",
        "/notes/*",
    ] {
        let refused = server.get(path, &alice);
        assert_eq!(refused.error(), (404, "not_found".to_owned()), "{path}");
    }
    // None of it is the operator's business.
    server.signal("TERM");
    assert_eq!(server.wait(PATIENCE).code(), Some(0));
    assert_eq!(server.errors.iter().collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn program_has_a_name_and_commands_of_its_own() {
    let file = File::new();
    let run = |arguments: &[&str]| {
        let mut command = command(&file, &[]);
        let output = command.args(arguments).output().expect("the program ends");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    assert_eq!(
        run(&["--version"]).trim(),
        concat!("notes ", env!("CARGO_PKG_VERSION"))
    );
    assert!(run(&["--help"]).contains("NOTES_FILE"));
    // No command makes a database.
    assert!(!file.path().exists());

    let token = run(&[
        "token",
        "--sub",
        "alice",
        "--claim",
        "scope=notes:read notes:write",
    ]);
    let server = Server::start(&file, &[]);
    assert_eq!(server.post(token.trim(), note("there")).status, 201);
    assert_eq!(file.notes(), [("alice".to_owned(), "there".to_owned())]);
    assert_eq!(server.errors.try_iter().collect::<Vec<_>>(), [""; 0]);
}
