//! Bytes that are not a request, and requests that are too large.

use crate::harness::{Client, GET, Random, Server};

/// The longest head, in bytes.
const MAX_HEAD_LEN: usize = 16 * 1024;

/// The most fields.
const MAX_FIELDS: usize = 100;

/// Sends all bytes, then reads. Returns the status of the only response, if any. The connection closes.
fn status(server: &Server, bytes: &[u8]) -> Option<u16> {
    let mut client = server.connect();
    // A client that is cut early cannot send it all.
    let _ = std::io::Write::write_all(&mut client.stream, bytes);
    let response = client.try_response_to("GET");
    assert!(client.rest().is_empty());
    response.map(|response| response.status)
}

fn is_up(server: &Server) {
    assert_eq!(server.get("/resource", &[]).status, 200);
}

#[test]
fn random_bytes_are_rejected_or_dropped() {
    let server = Server::start();
    let mut random = Random::new(1, 0);
    for _ in 0..300 {
        let len = 1 + random.below(4000);
        let bytes: Vec<_> = (0..len).map(|_| random.next().to_le_bytes()[5]).collect();
        let mut client = server.connect();
        client.send(&bytes);
        let _ = client.stream.shutdown(std::net::Shutdown::Write);
        let response = client.try_response_to("GET");
        assert!(response.is_none_or(|response| response.status == 400));
        assert!(client.rest().is_empty());
    }
    is_up(&server);
}

#[test]
fn damaged_requests_get_whole_responses_or_none() {
    let server = Server::start();
    let mut random = Random::new(42, 0);
    let request = b"POST /auth?a=b HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer a.b.c\r\n\
        Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    for _ in 0..1000 {
        let mut bytes = request.to_vec();
        for _ in 0..=random.below(3) {
            let at = random.below(bytes.len());
            match random.below(3) {
                0 => bytes[at] = random.next().to_le_bytes()[5],
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, b"\r\n: 0\0\xff,"[random.below(8)]),
            }
        }
        let mut client = server.connect();
        client.send(&bytes);
        client.finish_sending();
        while let Some(response) = client.try_response_to("GET") {
            assert!((200..500).contains(&response.status), "{}", response.head);
        }
    }
    is_up(&server);
}

#[test]
fn other_protocols_are_rejected_or_dropped() {
    let server = Server::start();
    let hello = [
        &b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03"[..],
        &[0x11; 190],
    ]
    .concat();
    assert_eq!(status(&server, &hello), Some(400));
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    assert!(matches!(status(&server, preface), None | Some(400)));
    assert_eq!(status(&server, b"SSH-2.0-OpenSSH_9.6\r\n"), Some(400));
    assert_eq!(status(&server, b"\0\0\0\0\0\0\0\0"), Some(400));
    assert_eq!(status(&server, &[0; 100_000]), Some(400));
    is_up(&server);
}

#[test]
fn endless_empty_lines_are_rejected() {
    let server = Server::start();
    assert_eq!(status(&server, &b"\r\n".repeat(100_000)), Some(431));
    assert_eq!(status(&server, &b"\n".repeat(100_000)), Some(431));
    // A few are skipped (RFC 9112 §2.2).
    let mut client = server.connect();
    client.send([b"\r\n\r\n", GET, b"\r\n", GET].concat());
    assert_eq!(client.response().status, 200);
    assert_eq!(client.response().status, 200);
}

#[test]
fn endless_head_is_rejected_and_the_response_arrives() {
    let server = Server::start();
    for beginning in [
        "G",
        "GET /",
        "GET /resource?",
        "GET /resource HTTP/1.1\r\nX",
        "GET /resource HTTP/1.1\r\nX: ",
        "GET /resource HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ",
    ] {
        let endless = [beginning.as_bytes(), &[b'x'; 1_000_000]].concat();
        assert_eq!(status(&server, &endless), Some(431), "{beginning:?}");
    }
    let fields = format!("GET /resource HTTP/1.1\r\n{}", "X: y\r\n".repeat(100_000));
    assert_eq!(status(&server, fields.as_bytes()), Some(431));
    is_up(&server);
}

/// A request whose head is this long.
fn request_of(len: usize) -> String {
    let beginning = "GET /resource HTTP/1.1\r\nHost: test\r\nX: ";
    let filler = "x".repeat(len - beginning.len() - 4);
    format!("{beginning}{filler}\r\n\r\n")
}

/// Sends the bytes in pieces of this length, which the server reads more or less one by one.
fn send_in_pieces(client: &mut Client, bytes: &[u8], len: usize) {
    for piece in bytes.chunks(len) {
        let _ = std::io::Write::write_all(&mut client.stream, piece);
    }
}

#[test]
fn head_of_the_largest_size_is_served_and_one_byte_more_is_rejected() {
    let server = Server::start();
    for before in [0, 1, 100, 200, 1000] {
        for piece in [1000, 5000, 100_000] {
            for (len, status) in [
                (MAX_HEAD_LEN - 1, 200),
                (MAX_HEAD_LEN, 200),
                (MAX_HEAD_LEN + 1, 431),
                (2 * MAX_HEAD_LEN, 431),
            ] {
                let mut client = server.connect();
                let bytes = [GET.repeat(before), request_of(len).into_bytes()].concat();
                send_in_pieces(&mut client, &bytes, piece);
                for _ in 0..before {
                    assert_eq!(client.response().status, 200);
                }
                let response = client.response();
                assert_eq!(
                    response.status, status,
                    "{len} bytes after {before} requests"
                );
                if status == 431 {
                    assert!(response.content.is_empty());
                    assert!(client.rest().is_empty());
                } else {
                    client.get();
                }
            }
        }
    }
}

#[test]
fn head_with_the_most_fields_is_served_and_one_more_is_rejected() {
    let server = Server::start();
    for (fields, status) in [
        (MAX_FIELDS - 1, 200),
        (MAX_FIELDS, 200),
        (MAX_FIELDS + 1, 431),
        (1000, 431),
    ] {
        let others = "X: y\r\n".repeat(fields - 1);
        let mut client = server.connect();
        let last = format!("GET /resource HTTP/1.1\r\nHost: a\r\n{others}\r\n");
        client.send([GET, last.as_bytes()].concat());
        assert_eq!(client.response().status, 200);
        assert_eq!(client.response().status, status, "{fields} fields");
        if status == 431 {
            assert!(client.rest().is_empty());
        }
    }
}
