//! Requests whose end is in doubt: what follows them must never be answered as a request.

use std::thread;

use crate::harness::{Client, Server};

/// What an attacker would like to have answered.
const SMUGGLED: &str = "GET /resource HTTP/1.1\r\nHost: test\r\n\r\n";

const TEN_MEBIBYTES: usize = 10 * 1024 * 1024;

/// Sends it all and reads until the server closes; the status of each answer.
fn statuses(server: &Server, bytes: &[u8]) -> Vec<u16> {
    let mut client = server.connect();
    client.send(bytes);
    statuses_until_closed(&mut client)
}

fn statuses_until_closed(client: &mut Client) -> Vec<u16> {
    std::iter::from_fn(|| client.try_response_to("GET"))
        .map(|answer| answer.status)
        .collect()
}

fn assert_one_answer(server: &Server, request: &str, status: u16) {
    let statuses = statuses(server, format!("{request}{SMUGGLED}").as_bytes());
    assert_eq!(statuses, [status], "{request:?}");
}

#[test]
fn length_with_transfer_coding_is_the_last_request() {
    let server = Server::start();
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\nContent-Length: 6",
        "Content-Length: 5\r\ntransfer-encoding: Chunked",
    ] {
        let request = format!("POST /resource HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n0\r\n\r\n");
        assert_one_answer(&server, &request, 405);
    }
}

#[test]
fn doubtful_length_is_refused() {
    let server = Server::start();
    for fields in [
        "Content-Length: 0\r\nContent-Length: 38",
        "Content-Length: 38\r\nContent-Length: 0",
        "Content-Length: 0, 0",
        "Content-Length: +0",
        "Content-Length: -1",
        "Content-Length: 0x0",
        "Content-Length: 0 0",
        "Content-Length:",
        "Content-Length: 18446744073709551616",
        "Content-Length: 99999999999999999999999999",
    ] {
        let request = format!("POST /resource HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
        assert_one_answer(&server, &request, 400);
    }
}

#[test]
fn doubtful_transfer_coding_is_refused() {
    let server = Server::start();
    for coding in [
        "identity",
        "xchunked",
        "chunkedx",
        "chunked, identity",
        "chunked\r\nTransfer-Encoding: identity",
        "chunked;a=b",
        "chunked,",
        "\"chunked\"",
        "\u{b}chunked",
        "",
    ] {
        for rest in ["", "0\r\n\r\n"] {
            let request = format!(
                "POST /resource HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {coding}\r\n\r\n{rest}"
            );
            assert_one_answer(&server, &request, 400);
        }
    }
    let request =
        "POST /resource HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_one_answer(&server, &format!("{request}0\r\n\r\n"), 400);
}

/// hyper takes `0\r\n\n` for the beginning of a trailer section, where others see the end.
#[test]
fn bad_chunks_are_not_followed_by_a_request() {
    let server = Server::start();
    for content in [
        "g\r\n",
        "\r\n",
        " 0\r\n\r\n",
        "0\n\r\n",
        "0\n\n",
        "0\r\n\n",
        "0\r\r\n",
        "-1\r\n\r\n",
        "0x0\r\n\r\n",
        "0;a\n\r\n\r\n",
        "00000000000000000\r\n",
        "10000000000000000\r\n\r\n",
        "ffffffffffffffff\r\n",
        "2\r\nabc\r\n0\r\n\r\n",
        "3\r\nabc0\r\n\r\n",
        "3\r\nabc\n0\r\n\r\n",
        "0\r\nGET /resource HTTP/1.1\r\n\r\n",
        "0\r\nX : y\r\n\r\n",
        "0\r\n X: y\r\n\r\n",
    ] {
        let request = format!(
            "POST /resource HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{content}"
        );
        assert_one_answer(&server, &request, 405);
    }
}

#[test]
fn head_that_breaks_the_grammar_is_refused() {
    let server = Server::start();
    for head in [
        "GET /resource HTTP/1.1\r\nHost: a\r\nContent-Length : 38\r\n",
        "GET /resource HTTP/1.1\r\nHost: a\r\nContent-Length\t: 38\r\n",
        "GET /resource HTTP/1.1\r\nHost : a\r\n",
        "GET /resource HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n",
        "GET /resource HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n",
        "GET /resource HTTP/1.1\r\n Host: a\r\n",
        "GET /resource HTTP/1.1\r\nHost: a\r\nX: a\u{0}b\r\n",
        "GET /resource HTTP/1.1\r\nHost: a\r\nX: a\u{1}b\r\n",
        "GET /resource HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n",
        "GET /resource HTTP/1.1\r\nHost: a\r\nX: a\u{7f}b\r\n",
        "GET /resource HTTP/1.1\r\nHost: a\r\nX\u{0}: b\r\n",
        "GET /resource HTTP/1.1\r\nHost: a\r\nX\r\n",
        "GET /resource HTTP/1.1\r\nHost: a\r\n: b\r\n",
        "GET /resource HTTP/1.1\rHost: a\r",
        "GET  /resource HTTP/1.1\r\nHost: a\r\n",
        "GET\t/resource HTTP/1.1\r\nHost: a\r\n",
        "GET /resource  HTTP/1.1\r\nHost: a\r\n",
        "GET /resource HTTP/1.1 \r\nHost: a\r\n",
        "GET /reso\u{0}urce HTTP/1.1\r\nHost: a\r\n",
        "GET /resource HTTP/1.2\r\nHost: a\r\n",
        "GET /resource\r\n",
        "GET /resource HTTP/1.1\r\nHost: a\r\nHost: a\r\n",
        "GET /resource HTTP/1.1\r\nHost: a\r\nHost: b\r\n",
        "GET /resource HTTP/1.1\r\nHost: a b\r\n",
        "GET /resource HTTP/1.1\r\n",
    ] {
        assert_one_answer(&server, &format!("{head}\r\n"), 400);
    }
}

/// RFC 9112 §2.2 lets a recipient take LF alone for a line end. Who stands before it may not, and
/// sees one request where there are two.
#[test]
fn content_of_a_get_is_no_request() {
    let server = Server::start();
    let len = SMUGGLED.len();
    let head = format!("GET /resource HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\n");
    let last = "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

    // In one segment the content is skipped, and what follows is the next request.
    let together = statuses(&server, format!("{head}{SMUGGLED}{last}").as_bytes());
    assert_eq!(together, [200, 200]);

    // Content that comes late is not waited for.
    let mut client = server.connect();
    client.send(&head);
    assert_eq!(client.response().field("connection"), Some("close"));
    client.send(SMUGGLED);
    assert!(client.rest().is_empty());
}

#[test]
fn content_that_comes_with_its_head_is_skipped_and_the_connection_kept() {
    let server = Server::start();
    let mut client = server.connect();
    for len in [1, 1000, 4500, 7500] {
        client.send(format!(
            "POST /resource HTTP/1.1\r\nHost: test\r\nContent-Length: {len}\r\n\r\n{}",
            "x".repeat(len)
        ));
        let answer = client.response();
        assert_eq!(answer.status, 405);
        assert_eq!(answer.field("connection"), None, "{len} bytes");
    }
    client.request("GET", "/resource", &[]);
    assert_eq!(client.response().status, 200);
}

#[test]
fn content_that_waits_for_an_invitation_is_no_request() {
    let server = Server::start();
    let len = SMUGGLED.len();
    let mut client = server.connect();
    client.send(format!(
        "POST /resource HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: {len}\r\n\r\n"
    ));
    let answer = client.response();
    assert_eq!(
        (answer.status, answer.field("connection")),
        (405, Some("close"))
    );
    client.send(SMUGGLED);
    assert!(client.rest().is_empty());
}

#[test]
fn large_content_is_answered_everywhere_and_not_stored() {
    let server = Server::start();
    let address = server.address;
    let before = server.resident();
    thread::scope(|scope| {
        for (request, status) in [
            ("POST /resource", 405),
            ("GET /resource", 200),
            ("PUT /resource/secret", 405),
            ("GET /resource/secret", 401),
            ("POST /auth", 401),
            ("GET /auth", 401),
            ("POST /healthz", 405),
            ("OPTIONS /healthz", 204),
            ("POST /nothing", 404),
        ] {
            scope.spawn(move || {
                let mut client = Client::to(address);
                client.send(format!(
                    "{request} HTTP/1.1\r\nHost: a\r\nContent-Length: {TEN_MEBIBYTES}\r\n\r\n"
                ));
                // The client looks for an answer only when it has sent everything.
                for _ in 0..TEN_MEBIBYTES / 65536 {
                    client.send([b'x'; 65536]);
                }
                assert_eq!(client.response().status, status, "{request}");
                assert!(client.rest().is_empty());
            });
        }
        scope.spawn(move || {
            let mut client = Client::to(address);
            client.send("POST /resource HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
            for _ in 0..TEN_MEBIBYTES / 65536 {
                client.send("10000\r\n");
                client.send([b'x'; 65536]);
                client.send("\r\n");
            }
            client.send("0\r\n\r\n");
            assert_eq!(client.response().status, 405);
        });
    });
    let grown = server.resident().saturating_sub(before);
    assert!(grown < 2048, "{grown} KiB for 100 MiB of content");
}
