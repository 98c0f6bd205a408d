//! What becomes of the content of a request.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::harness::{File, LATE, Server, eventually, full, get, note, post, post_head, token};

/// The longest content, in bytes.
const LIMIT: usize = 16 * 1024;

fn too_large() -> (u16, String) {
    (413, "content_too_large".to_owned())
}

/// A note whose content is this long in all.
fn content_of(len: usize) -> String {
    let frame = note("").to_string().len();
    note(&"a".repeat(len - frame)).to_string()
}

fn chunk(content: &str) -> String {
    format!("{:x}\r\n{content}\r\n", content.len())
}

#[test]
fn content_at_the_limit_is_taken() {
    let file = File::new();
    let server = Server::start(&file, &[]);
    let alice = full("alice");
    let content = content_of(LIMIT);
    assert_eq!(server.post(&alice, &content).status, 201);

    let mut client = server.connect();
    client.send(post_head(&alice, "Transfer-Encoding: chunked"));
    for at in (0..LIMIT).step_by(1000) {
        client.send(chunk(&content[at..LIMIT.min(at + 1000)]));
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.response().status, 201);

    let found = file.notes();
    assert_eq!(found.len(), 2);
    assert_eq!(found[0], found[1]);
    let found = server.get("/notes/1", &alice).json();
    assert_eq!(
        found["text"].as_str().map(str::len),
        Some(LIMIT - note("").to_string().len())
    );
}

#[test]
fn content_declared_too_large_is_refused_unsent() {
    let file = File::new();
    let server = Server::start(&file, &[]);
    let alice = full("alice");
    for len in [LIMIT + 1, 1 << 40] {
        for expectation in ["X-No: expectation", "Expect: 100-continue"] {
            let mut client = server.connect();
            client.send(post_head(
                &alice,
                &format!("Content-Length: {len}\r\n{expectation}"),
            ));
            let refused = client.response();
            assert_eq!(refused.error(), too_large(), "{len} {expectation}");
            assert_eq!(client.rest(), b"");
        }
    }
    // Sent all the same.
    let refused = server.post(&alice, content_of(LIMIT + 1));
    assert_eq!(refused.error(), too_large());
    assert_eq!(file.notes(), []);
}

#[test]
fn content_that_turns_out_too_large_is_refused() {
    let file = File::new();
    let server = Server::start(&file, &[]);
    let alice = full("alice");
    for sizes in [&[LIMIT + 1][..], &[LIMIT, 1], &[1000; 17]] {
        let mut client = server.connect();
        client.send(post_head(&alice, "Transfer-Encoding: chunked"));
        for &size in sizes {
            client.send(chunk(&"a".repeat(size)));
        }
        // The last chunk never comes.
        let refused = client.response();
        assert_eq!(refused.error(), too_large(), "{sizes:?}");
        assert_eq!(refused.field("connection"), Some("close"));
        client.finish_sending();
        assert_eq!(client.rest(), b"");
    }
    assert_eq!(file.notes(), []);
}

#[test]
fn content_without_end_is_cut() {
    let file = File::new();
    let server = Server::start(&file, &[("API_HEADER_TIMEOUT", "1")]);
    let mut client = server.connect();
    client.send(post_head(&full("alice"), "Transfer-Encoding: chunked"));
    let chunk = chunk(&"a".repeat(8000));
    eventually("the connection is cut", || {
        client.stream.write_all(chunk.as_bytes()).is_err()
    });
    assert_eq!(file.notes(), []);
    assert_eq!(server.post(&full("alice"), note("there")).status, 201);
}

#[test]
fn content_that_is_no_note_is_refused() {
    let file = File::new();
    let server = Server::start(&file, &[]);
    let alice = full("alice");
    let mut client = server.connect();
    for content in [
        "",
        " ",
        "{",
        "}",
        "null",
        "1",
        "[]",
        "{}",
        "[\"text\"]",
        "\"text\"",
        r#"{"text":1}"#,
        r#"{"text":null}"#,
        r#"{"text":"a"} {}"#,
        r#"{"text":"a"}x"#,
        r#"{"text":"a",}"#,
        r#"{"text":"\ud800"}"#,
        r"{'text':'a'}",
        "{\"text\":\"a\nb\"}",
        r#"{"Text":"a"}"#,
        "\u{feff}{\"text\":\"a\"}",
        "text=a",
        r#"{"text":"a"#,
    ] {
        client.send(post(&alice, content));
        let refused = client.response();
        assert_eq!(
            refused.error(),
            (400, "bad_request".to_owned()),
            "{content:?}"
        );
        // The fault is with the content alone.
        assert_eq!(refused.field("connection"), None);
        assert!(
            refused.json()["message"]
                .as_str()
                .is_some_and(|message| message.len() < 200)
        );
    }
    client.send(post_head(&alice, "Content-Length: 12"));
    client.send(b"{\"text\":\"\xff\"}");
    assert_eq!(client.response().error(), (400, "bad_request".to_owned()));
    // Nor is one that is deep.
    client.send(post(&alice, "[".repeat(LIMIT)));
    assert_eq!(client.response().error(), (400, "bad_request".to_owned()));
    assert_eq!(file.notes(), []);

    client.send(post(&alice, " {\"text\" :\r\n\t\"a\", \"more\": [1] } "));
    assert_eq!(client.response().status, 201);
    assert_eq!(file.notes(), [("alice".to_owned(), "a".to_owned())]);
}

#[test]
fn content_is_asked_for_only_when_it_is_wanted() {
    let file = File::new();
    let server = Server::start(&file, &[]);
    let content = note("there").to_string();
    let head = |token: &str| {
        let framing = format!("Content-Length: {}\r\nExpect: 100-continue", content.len());
        post_head(token, &framing)
    };
    let mut client = server.connect();
    client.send(head(&full("alice")));
    assert_eq!(client.response().status, 100);
    client.send(&content);
    assert_eq!(client.response().status, 201);
    // On the same connection.
    client.send(head(&token("alice", "notes:read")));
    let refused = client.response();
    assert_eq!(
        (refused.status, refused.field("connection")),
        (403, Some("close"))
    );
    assert_eq!(file.notes().len(), 1);
}

#[test]
fn late_content_is_cut_and_nothing_of_it_kept() {
    let file = File::new();
    let server = Server::start(&file, &[("API_HEADER_TIMEOUT", "1")]);
    let alice = full("alice");
    let content = note("late").to_string();
    let declared = format!("Content-Length: {}", content.len());
    for (framing, sent) in [
        (declared.as_str(), ""),
        (&declared, &content[..1]),
        (&declared, &content[..content.len() - 1]),
        ("Transfer-Encoding: chunked", ""),
        ("Transfer-Encoding: chunked", "5"),
        // All but the last chunk.
        ("Transfer-Encoding: chunked", &chunk(&content)),
    ] {
        let mut client = server.connect();
        client.send(post_head(&alice, framing));
        let since = Instant::now();
        client.send(sent);
        let refused = client.response();
        let took = since.elapsed();
        assert_eq!(
            refused.error(),
            (408, "request_timeout".to_owned()),
            "{framing} {sent}"
        );
        client.finish_sending();
        assert_eq!(client.rest(), b"");
        assert!(
            took > Duration::from_millis(900) && took < Duration::from_secs(1) + LATE,
            "{took:?}"
        );
    }
    assert_eq!(file.notes(), []);
}

#[test]
fn refusal_before_the_end_of_the_content_says_that_the_connection_closes() {
    let file = File::new();
    let server = Server::start(&file, &[("API_HEADER_TIMEOUT", "1")]);
    let alice = full("alice");
    for (framing, status) in [
        ("Content-Length: 20000", 413),
        ("Content-Length: 20000\r\nExpect: 100-continue", 413),
        ("Content-Length: 20", 408),
        ("Transfer-Encoding: chunked", 408),
    ] {
        let mut client = server.connect();
        client.send(post_head(&alice, framing));
        let refused = client.response();
        assert_eq!(refused.status, status, "{framing}");
        assert_eq!(refused.field("connection"), Some("close"), "{framing}");
        assert_eq!(
            refused.field("cache-control"),
            Some("no-store"),
            "{framing}"
        );
        client.finish_sending();
        assert_eq!(client.rest(), b"");
    }
}

#[test]
fn content_that_ends_early_or_is_badly_framed_is_refused() {
    let file = File::new();
    let server = Server::start(&file, &[]);
    let content = note("never").to_string();
    let declared = format!("Content-Length: {}", content.len() + 1);
    let chunked = "Transfer-Encoding: chunked";
    let len = format!("{:x}", content.len());
    for (framing, sent) in [
        (declared.as_str(), content.clone()),
        (chunked, String::new()),
        (chunked, format!("{len}\r\n{content}")),
        (chunked, format!("{len}\r\n{content}\r\n")),
        (chunked, format!("{len}\r\n{content}\r\n0\r\n")),
        (chunked, format!("{len}\r\n{content}x\r\n0\r\n\r\n")),
        (chunked, format!("x\r\n{content}\r\n0\r\n\r\n")),
        (chunked, format!("-{len}\r\n{content}\r\n0\r\n\r\n")),
        (chunked, format!("{len}\n{content}\n0\n\n")),
        (
            chunked,
            format!("ffffffffffffffff1\r\n{content}\r\n0\r\n\r\n"),
        ),
    ] {
        let mut client = server.connect();
        client.send(post_head(&full("alice"), framing));
        client.send(&sent);
        client.finish_sending();
        let refused = client.response();
        assert_eq!(refused.error(), (400, "bad_request".to_owned()), "{sent:?}");
        assert_eq!(refused.field("connection"), Some("close"), "{sent:?}");
        assert_eq!(client.rest(), b"", "{sent:?}");
    }
    assert_eq!(file.notes(), []);
}

#[test]
fn content_that_trickles_is_cut() {
    let file = File::new();
    let server = Server::start(&file, &[("API_HEADER_TIMEOUT", "1")]);
    let mut client = server.connect();
    let since = Instant::now();
    client.send(post_head(&full("alice"), "Content-Length: 1000"));
    let mut writer = client.stream.try_clone().expect("a descriptor");
    let trickle = std::thread::spawn(move || {
        // Until the server has closed, or it would be far too late.
        for _ in 0..100 {
            std::thread::sleep(Duration::from_millis(50));
            if writer.write_all(b" ").is_err() {
                return;
            }
        }
    });
    let refused = client.response();
    let took = since.elapsed();
    assert_eq!(refused.error(), (408, "request_timeout".to_owned()));
    assert!(
        took > Duration::from_millis(900) && took < Duration::from_secs(1) + LATE,
        "{took:?}"
    );
    drop(client);
    trickle.join().expect("no panic");
    assert_eq!(file.notes(), []);
}

#[test]
fn content_in_steady_parts_is_taken() {
    let file = File::new();
    let server = Server::start(&file, &[]);
    let content = note("in parts").to_string();
    let mut client = server.connect();
    client.send(post_head(
        &full("alice"),
        &format!("Content-Length: {}", content.len()),
    ));
    for byte in content.as_bytes() {
        client.send([*byte]);
    }
    assert_eq!(client.response().status, 201);
    assert_eq!(file.notes(), [("alice".to_owned(), "in parts".to_owned())]);
}

#[test]
fn content_is_never_taken_for_a_request() {
    let file = File::new();
    let server = Server::start(&file, &[]);
    let (alice, reader) = (full("alice"), token("alice", "notes:read"));
    let smuggled = post(&alice, note("smuggled"));
    let head = |token: &str, framing: &str| post_head(token, framing);
    let declared = format!("Content-Length: {}", smuggled.len());
    for (request, status) in [
        // Read, and not JSON.
        (head(&alice, &declared) + &smuggled, 400),
        (
            head(&alice, "Transfer-Encoding: chunked") + &chunk(&smuggled) + "0\r\n\r\n",
            400,
        ),
        // Not read: no scope, no token, no such path, another method.
        (head(&reader, &declared) + &smuggled, 403),
        (head("none", &declared) + &smuggled, 401),
        (
            head(&alice, &declared).replace("/notes ", "/none ") + &smuggled,
            404,
        ),
        (
            head(&alice, &declared).replace("POST ", "PUT ") + &smuggled,
            405,
        ),
        (
            head(&alice, &declared).replace("POST ", "GET ") + &smuggled,
            200,
        ),
        (
            head(&reader, "Transfer-Encoding: chunked") + &chunk(&smuggled) + "0\r\n\r\n",
            403,
        ),
        // Refused for its length.
        (
            head(&alice, "Content-Length: 20000") + &smuggled.repeat(100)[..20000],
            413,
        ),
    ] {
        let mut client = server.connect();
        client.send(&request);
        assert_eq!(client.response().status, status, "{request}");
        // Another request is the next one, or the connection is closed.
        let _ = client.stream.write_all(get("/me", &alice).as_bytes());
        client.finish_sending();
        let rest = String::from_utf8(client.rest()).expect("UTF-8");
        assert!(
            rest.is_empty() || rest.starts_with("HTTP/1.1 200 ") && rest.contains("alice"),
            "{request}: {rest}"
        );
        assert_eq!(file.notes(), [], "{request}");
    }
}
