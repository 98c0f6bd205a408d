//! Request smuggling: what follows a request with an ambiguous end must never be served as a request.

use std::thread;

use crate::harness::{Client, Server};

/// A request that an attacker hides behind another.
const SMUGGLED: &str = "GET /resource HTTP/1.1\r\nHost: test\r\n\r\n";

const TEN_MEBIBYTES: usize = 10 * 1024 * 1024;

/// Sends all bytes and reads until the server closes. Returns the status of each response.
fn statuses(server: &Server, bytes: &[u8]) -> Vec<u16> {
    let mut client = server.connect();
    client.send(bytes);
    statuses_until_closed(&mut client)
}

fn statuses_until_closed(client: &mut Client) -> Vec<u16> {
    std::iter::from_fn(|| client.try_response_to("GET"))
        .map(|response| response.status)
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
fn ambiguous_content_length_is_rejected() {
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
fn ambiguous_transfer_coding_is_rejected() {
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

/// Fields that name a transfer coding, in every form in which two parsers may see different ends.
const CODINGS: &[&str] = &[
    // Right, and in odd letters and places.
    "Transfer-Encoding: chunked",
    "transfer-encoding: chunked",
    "TRANSFER-ENCODING: CHUNKED",
    "tRANSFER-eNCODING: cHuNkEd",
    "Transfer-Encoding:chunked",
    "Transfer-Encoding:   chunked",
    "Transfer-Encoding: chunked ",
    "Transfer-Encoding:\tchunked",
    "Transfer-Encoding: \t chunked\t ",
    "X: y\r\nTransfer-Encoding: chunked\r\nY: z",
    "Connection: keep-alive\r\nTransfer-Encoding: chunked",
    "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked",
    "Connection: Content-Length\r\nTransfer-Encoding: chunked\r\nContent-Length: 5",
    "TE: trailers\r\nTrailer: X\r\nTransfer-Encoding: chunked",
    // A name that is not quite the field's.
    "Transfer-Encoding : chunked",
    "Transfer-Encoding\t: chunked",
    " Transfer-Encoding: chunked",
    "\tTransfer-Encoding: chunked",
    "Transfer-\r\n Encoding: chunked",
    "Transfer-Encoding\r\n: chunked",
    "Transfer-Encoding\u{0}: chunked",
    "Transfer-Encoding\u{b}: chunked",
    "Transfer Encoding: chunked",
    "\u{0}Transfer-Encoding: chunked",
    "X: y\rTransfer-Encoding: chunked",
    "X: y\u{0}\r\nTransfer-Encoding: chunked",
    // A line that is folded, or ends in an odd way.
    "Transfer-Encoding:\r\n chunked",
    "Transfer-Encoding:\r\n\tchunked",
    "Transfer-Encoding:\n chunked",
    "Transfer-Encoding: chunked\r\n ",
    "Transfer-Encoding: chunked\r\n , identity",
    "X: y\r\n Transfer-Encoding: chunked",
    "X: y\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\nX: y",
    "Transfer-Encoding: chunked\r\r\nX: y",
    "Transfer-Encoding: chunked\u{0}",
    "Transfer-Encoding: \u{0}chunked",
    "Transfer-Encoding: chun\u{0}ked",
    "Transfer-Encoding: chunked\u{b}",
    "Transfer-Encoding: \u{c}chunked",
    "Transfer-Encoding: chunked\u{1f}",
    "Transfer-Encoding: chunked\u{7f}",
    "Transfer-Encoding: chunked\u{a0}",
    "Transfer-Encoding: \u{a0}chunked",
    "Transfer-Encoding: \u{ff43}hunked",
    "Transfer-Encoding: chun\u{212a}ed",
    // Other codings, lists, parameters.
    "Transfer-Encoding:",
    "Transfer-Encoding: ",
    "Transfer-Encoding: ,",
    "Transfer-Encoding: identity",
    "Transfer-Encoding: gzip",
    "Transfer-Encoding: compress, deflate",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding: chunkedx",
    "Transfer-Encoding: x chunked",
    "Transfer-Encoding: chunked x",
    "Transfer-Encoding: chunk",
    "Transfer-Encoding: \"chunked\"",
    "Transfer-Encoding: 'chunked'",
    "Transfer-Encoding: <chunked>",
    "Transfer-Encoding: [chunked]",
    "Transfer-Encoding: chunked;x",
    "Transfer-Encoding: chunked; q=1",
    "Transfer-Encoding: chunked;",
    "Transfer-Encoding: chunked:",
    "Transfer-Encoding: chunked,",
    "Transfer-Encoding: ,chunked",
    "Transfer-Encoding: , ,chunked",
    "Transfer-Encoding: chunked, identity",
    "Transfer-Encoding: identity, chunked",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: gzip;q=\",chunked",
    "Transfer-Encoding: chunked, chunked",
    "Transfer-Encoding: chunked, gzip",
    "Transfer-Encoding: chunked\tidentity",
    "Transfer-Encoding: chunked%20",
    "Transfer-Encoding: =?us-ascii?q?chunked?=",
    // Twice, and with a length.
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding:",
    "Transfer-Encoding:\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\ntransfer-encoding: x",
    "Transfer-Encoding: cow\r\nTransfer-Encoding: chunked",
    "Content-Length: 5\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nContent-Length: 5",
    "Content-Length: 0\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nContent-Length: 0",
    "Content-Length: 5\r\nTransfer-Encoding: chunked\r\nContent-Length: 6",
    "Content-Length: 5\r\nContent-Length: 6\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nContent-Length: x",
    "Transfer-Encoding: chunked\r\nContent-Length: -1",
    "Content-Length: x\r\nTransfer-Encoding: chunked",
    "Content-Length: 5\r\nTransfer-Encoding: identity",
    "Content-Length: 5\r\nTransfer-Encoding: xchunked",
    "Content-Length: 5\r\nTransfer-Encoding : chunked",
    "Content-Length: 5\r\nTransfer-Encoding:\r\n chunked",
    "Content-Length: 5\r\nTransfer-Encoding: \u{b}chunked",
    "Expect: 100-continue\r\nTransfer-Encoding: chunked",
    "Upgrade: h2c\r\nConnection: upgrade\r\nTransfer-Encoding: chunked",
    "Upgrade: websocket\r\nConnection: upgrade\r\nTransfer-Encoding: chunked\r\nContent-Length: 5",
];

/// Content in chunks, and what may be taken for it.
const CHUNKS: &[&str] = &[
    "0\r\n\r\n",
    "5\r\nhello\r\n0\r\n\r\n",
    "00000005\r\nhello\r\n000\r\n\r\n",
    "A\r\nhelloworld\r\n0\r\n\r\n",
    // Extensions.
    "5;a\r\nhello\r\n0\r\n\r\n",
    "5;a=b;c=\"d\"\r\nhello\r\n0;e\r\n\r\n",
    "5;\r\nhello\r\n0\r\n\r\n",
    "5 ;a\r\nhello\r\n0\r\n\r\n",
    "5;a\nhello\r\n0\r\n\r\n",
    "5;a=\"\r\n\"\r\nhello\r\n0\r\n\r\n",
    "5;\u{0}\r\nhello\r\n0\r\n\r\n",
    "0;\r\n\r\n",
    // Trailers.
    "0\r\nX: y\r\n\r\n",
    "5\r\nhello\r\n0\r\nContent-Length: 50\r\nHost: b\r\n\r\n",
    "0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "0\r\nX: y\r\n z\r\n\r\n",
    "0\r\nX : y\r\n\r\n",
    "0\r\nX\r\n\r\n",
    "0\r\n: y\r\n\r\n",
    "0\r\nX: \u{0}\r\n\r\n",
    "0\r\nX: y\n\r\n",
    "0\r\nGET /resource HTTP/1.1\r\nHost: test\r\n\r\n",
    // Invalid sizes.
    "",
    "\r\n",
    "\r\n0\r\n\r\n",
    " 5\r\nhello\r\n0\r\n\r\n",
    "5 \r\nhello\r\n0\r\n\r\n",
    "5\t\r\nhello\r\n0\r\n\r\n",
    "-5\r\nhello\r\n0\r\n\r\n",
    "-1\r\n\r\n0\r\n\r\n",
    "+5\r\nhello\r\n0\r\n\r\n",
    "0x5\r\nhello\r\n0\r\n\r\n",
    "5h\r\nhello\r\n0\r\n\r\n",
    "5_0\r\nhello\r\n0\r\n\r\n",
    "5.0\r\nhello\r\n0\r\n\r\n",
    "5,\r\nhello\r\n0\r\n\r\n",
    "g\r\n\r\n",
    "\"5\"\r\nhello\r\n0\r\n\r\n",
    "\u{0}5\r\nhello\r\n0\r\n\r\n",
    "5\u{0}\r\nhello\r\n0\r\n\r\n",
    "\u{ff15}\r\nhello\r\n0\r\n\r\n",
    "fffffffffffffff0\r\nhello\r\n0\r\n\r\n",
    "ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "10000000000000005\r\nhello\r\n0\r\n\r\n",
    "00000000000000000000000000000005\r\nhello\r\n0\r\n\r\n",
    "100000000\r\nhello\r\n0\r\n\r\n",
    // Lines that end in an odd way, or too early, or too late.
    "5\nhello\r\n0\r\n\r\n",
    "5\rhello\r\n0\r\n\r\n",
    "5\r\r\nhello\r\n0\r\n\r\n",
    "5\r\nhello\n0\r\n\r\n",
    "5\r\nhello0\r\n\r\n",
    "5\r\nhello\r0\r\n\r\n",
    "5\r\nhello\r\n\r\n0\r\n\r\n",
    "4\r\nhello\r\n0\r\n\r\n",
    "6\r\nhello\r\n0\r\n\r\n",
    "5\r\nhello\r\n0\n\n",
    "5\r\nhello\r\n0\r\n\n",
    "5\r\nhello\r\n0\n\r\n",
    "5\r\nhello\r\n0\r\r\n\r\n",
    "5\r\nhello\r\n0\r\n\rX\r\n",
    "5\r\nhello\r\n0\r\n",
    "5\r\nhello\r\n0",
    "5\r\nhello\r\n",
    "5\r\nhel",
    "hello",
];

/// Whatever its end is, a request with a transfer coding is the last one.
fn assert_at_most_one_answer(server: &Server, request: &str) {
    let statuses = statuses(server, format!("{request}{SMUGGLED}").as_bytes());
    let is_fine = statuses.len() <= 1 && statuses.iter().all(|status| *status >= 200);
    assert!(is_fine, "{statuses:?} to {request:?}");
}

#[test]
fn bytes_after_any_transfer_coding_get_no_response() {
    assert!(CODINGS.len() + CHUNKS.len() > 150);
    let server = Server::start();
    let token = crate::harness::good_token();
    for codings in CODINGS {
        for line in [
            "POST /resource HTTP/1.1",
            "GET /resource HTTP/1.1",
            "OPTIONS * HTTP/1.1",
            "POST /auth HTTP/1.1",
            "PUT http://test/nowhere HTTP/1.1",
            "POST /resource HTTP/1.0\r\nConnection: keep-alive",
        ] {
            for content in ["0\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n", "hello", ""] {
                assert_at_most_one_answer(
                    &server,
                    &format!(
                        "{line}\r\nHost: test\r\nAuthorization: Bearer {token}\r\n{codings}\r\n\r\n{content}"
                    ),
                );
            }
        }
    }
}

#[test]
fn bytes_after_chunks_of_any_form_get_no_response() {
    let server = Server::start();
    for content in CHUNKS {
        for fields in [
            "Transfer-Encoding: chunked",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: chunked\r\nContent-Length: 5",
            "Transfer-Encoding: chunked\r\nExpect: 100-continue",
        ] {
            for line in [
                "POST /resource",
                "GET /resource",
                "POST /auth",
                "QUERY /nowhere",
            ] {
                let head = format!("{line} HTTP/1.1\r\nHost: test\r\n{fields}\r\n\r\n");
                assert_at_most_one_answer(&server, &format!("{head}{content}"));
            }
        }
    }
}

/// The same, where the content comes a while after its head, in bytes.
#[test]
fn bytes_after_late_chunks_get_no_response() {
    let server = Server::start();
    for content in CHUNKS {
        let mut client = server.connect();
        client.send("POST /auth HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert_eq!(client.response().status, 401, "{content:?}");
        // The server may have closed by now, which fails this write and nothing else.
        for byte in format!("{content}{SMUGGLED}").bytes() {
            if std::io::Write::write_all(&mut client.stream, &[byte]).is_err() {
                break;
            }
        }
        assert_eq!(client.rest(), b"", "{content:?}");
    }
}

/// A tunnel, a target that names no resource: a proxy may see the beginning of something else.
#[test]
fn bytes_after_a_tunnel_or_a_target_without_a_path_get_no_response() {
    let server = Server::start();
    for line in [
        "CONNECT test:80",
        "CONNECT /resource",
        "CONNECT /auth",
        "CONNECT *",
        "CONNECT http://test/resource",
        "GET *",
        "POST *",
        "GET test:80",
        "GET test",
        "OPTIONS test",
        "POST u@test",
        "GET http://u@test/resource",
        "GET ftp://test/resource",
    ] {
        for fields in [
            "",
            "Content-Length: 0\r\n",
            "Content-Length: 5\r\n",
            "Upgrade: h2c\r\nConnection: upgrade\r\n",
            "Connection: keep-alive\r\n",
        ] {
            let request = format!("{line} HTTP/1.1\r\nHost: test\r\n{fields}\r\n");
            assert_one_answer(&server, &request, 400);
        }
    }
}

/// An offer of another protocol changes nothing: the next request is of HTTP/1.1, once.
#[test]
fn request_after_an_offered_upgrade_is_a_request() {
    let server = Server::start();
    for fields in [
        "Upgrade: h2c\r\nConnection: upgrade",
        "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__",
        "Upgrade: websocket\r\nConnection: keep-alive, upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        "Upgrade: TLS/1.0, HTTP/1.1\r\nConnection: upgrade",
        "Upgrade: h2c",
        "Upgrade: ",
        "Connection: upgrade",
    ] {
        for (line, status) in [
            ("GET /resource", 200),
            ("GET /auth", 401),
            ("OPTIONS *", 204),
            ("POST /resource", 405),
        ] {
            let last = "GET /healthz HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
            let bytes =
                format!("{line} HTTP/1.1\r\nHost: test\r\n{fields}\r\n\r\n{last}{SMUGGLED}");
            assert_eq!(
                statuses(&server, bytes.as_bytes()),
                [status, 200],
                "{bytes}"
            );
        }
    }
}

#[test]
fn head_that_breaks_the_grammar_is_rejected() {
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

/// RFC 9112 §2.2 lets a recipient accept LF alone as a line end. A proxy in front may not, and
/// sees one request where there are two.
#[test]
fn content_of_a_get_is_not_a_request() {
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
fn content_that_comes_with_its_head_is_skipped_and_the_connection_is_kept() {
    let server = Server::start();
    let mut client = server.connect();
    for len in [1, 1000, 4500, 7500] {
        client.send(format!(
            "POST /resource HTTP/1.1\r\nHost: test\r\nContent-Length: {len}\r\n\r\n{}",
            "x".repeat(len)
        ));
        let response = client.response();
        assert_eq!(response.status, 405);
        assert_eq!(response.field("connection"), None, "{len} bytes");
    }
    client.request("GET", "/resource", &[]);
    assert_eq!(client.response().status, 200);
}

#[test]
fn content_that_waits_for_an_invitation_is_not_a_request() {
    let server = Server::start();
    let len = SMUGGLED.len();
    let mut client = server.connect();
    client.send(format!(
        "POST /resource HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: {len}\r\n\r\n"
    ));
    let response = client.response();
    assert_eq!(
        (response.status, response.field("connection")),
        (405, Some("close"))
    );
    client.send(SMUGGLED);
    assert!(client.rest().is_empty());
}

#[test]
fn large_content_gets_a_response_everywhere_and_is_not_stored() {
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
                // The client looks for a response only when it has sent everything.
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
