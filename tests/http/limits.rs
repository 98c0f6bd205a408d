//! What holds at the limits of time and memory as well as below them.

use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Client, PATIENCE, Server};

const GET: &[u8] = b"GET /resource HTTP/1.1\r\nHost: test\r\n\r\n";
const SECOND: Duration = Duration::from_secs(1);

/// What a busy machine may add.
const LATE: Duration = Duration::from_millis(300);

#[test]
fn head_whose_first_byte_came_with_the_request_before_is_cut_on_time() {
    for first in [1, 20, GET.len() - 1] {
        let server = Server::with(&[("API_HEADER_TIMEOUT", "1")]);
        let mut client = server.connect();
        let since = Instant::now();
        client.send([GET, &GET[..first]].concat());
        assert_eq!(client.response().status, 200);
        assert!(client.is_closed_within(PATIENCE));
        let took = since.elapsed();
        assert!(
            (SECOND..SECOND + LATE).contains(&took),
            "cut after {took:?}"
        );
    }
}

#[test]
fn head_in_two_parts_behind_a_request_is_answered() {
    let server = Server::start();
    for cut in 1..GET.len() {
        let mut client = server.connect();
        client.send([GET, &GET[..cut]].concat());
        assert_eq!(client.response().status, 200);
        client.send(&GET[cut..]);
        assert_eq!(client.response().status, 200);
    }
}

/// hyper ends after a request to upgrade without waiting for its last write.
#[test]
fn last_response_after_a_request_to_upgrade_is_written_whole() {
    let server = Server::start();
    for _ in 0..30 {
        let mut client = Client::with_receive_buffer(server.address, 2048);
        // More responses than the kernel has room for, so that the last one has to wait.
        let mut requests = GET.repeat(600);
        requests.extend(
            b"GET /resource HTTP/1.1\r\nHost: test\r\nConnection: Upgrade, HTTP2-Settings\r\n\
            Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
        );
        let mut stream = client.stream.try_clone().expect("a descriptor");
        let sending = thread::spawn(move || stream.write_all(&requests));
        for number in 0..601 {
            assert_eq!(client.response().status, 200, "response {number}");
        }
        sending.join().expect("no panic").expect("all is sent");
    }
}

#[test]
fn lingering_uploads_cost_others_little() {
    let server = Server::with(&[("API_WORKERS", "1")]);
    let address = server.address;
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(move || {
                let mut client = Client::to(address);
                client.send(
                    "POST /resource HTTP/1.1\r\nHost: test\r\nContent-Length: 12000000\r\n\r\n",
                );
                let content = vec![0; 1 << 16];
                for _ in 0..180 {
                    if client.stream.write_all(&content).is_err() {
                        return;
                    }
                }
            });
        }
        let mut client = server.connect();
        let mut times: Vec<_> = (0..100)
            .map(|_| {
                let since = Instant::now();
                client.send(GET);
                assert_eq!(client.response().status, 200);
                since.elapsed()
            })
            .collect();
        times.sort_unstable();
        println!("median {:?}, most {:?}", times[50], times[99]);
    });
}

#[test]
fn upload_that_lingers_does_not_delay_the_end() {
    for workers in ["1", "2"] {
        let mut server = Server::with(&[("API_WORKERS", workers)]);
        let mut client = server.connect();
        client.send("POST /resource HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000000\r\n\r\n");
        assert_eq!(client.response().status, 405);
        let mut stream = client.stream.try_clone().expect("a descriptor");
        let uploading = thread::spawn(move || while stream.write_all(&[0; 1000]).is_ok() {});
        let since = Instant::now();
        server.signal("TERM");
        assert_eq!(server.wait(PATIENCE).code(), Some(0));
        let took = since.elapsed();
        assert!(took < SECOND, "ended after {took:?}");
        uploading.join().expect("no panic");
    }
}

/// A client that has closed its sending side, and takes its last response slowly.
#[test]
fn slow_reader_that_has_closed_its_side_gets_its_last_response() {
    let server = Server::start();
    let mut client = Client::with_receive_buffer(server.address, 2048);
    let requests = 100;
    client.send(GET.repeat(requests - 1));
    client.request("GET", "/resource", &["Connection: close"]);
    client.finish_sending();
    let mut received = Vec::new();
    let mut piece = [0; 512];
    loop {
        thread::sleep(Duration::from_millis(15));
        match client.stream.read(&mut piece) {
            Ok(0) => break,
            Ok(len) => received.extend_from_slice(&piece[..len]),
            Err(error) => panic!("{error} after {} bytes", received.len()),
        }
    }
    let text = String::from_utf8(received).expect("ASCII");
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), requests);
}

/// Pipelines that are ended by `Connection: close` and never read: what the kernel keeps of them goes
/// when the server gives up on them.
#[cfg(target_os = "linux")]
#[test]
fn unread_pipelines_leave_nothing_with_the_kernel() {
    let server = Server::with(&[("API_MAX_CONNECTIONS", "16"), ("API_HEADER_TIMEOUT", "1")]);
    let port = format!(":{:04X}", server.address.port());
    let mut clients = Vec::new();
    for _ in 0..200 {
        let mut client = Client::with_receive_buffer(server.address, 2048);
        client.send(GET.repeat(199));
        client.request("GET", "/resource", &["Connection: close"]);
        clients.push(client);
    }
    // Bytes in the send queues of the server's sockets, as the kernel tells.
    let queued = || {
        let table = std::fs::read_to_string("/proc/net/tcp").expect("procfs");
        let sockets = table.lines().skip(1).filter_map(|line| {
            let mut fields = line.split_whitespace();
            let is_ours = fields.nth(1)?.ends_with(&port);
            let queue = fields.nth(2)?.split(':').next()?;
            is_ours.then(|| u64::from_str_radix(queue, 16).ok())?
        });
        sockets.sum::<u64>()
    };
    // No more than the lingering ones have, of which there are as many as seats, and those served.
    let most = 2 * 16 * 64 * 1024;
    assert!(queued() <= most, "{} bytes", queued());
    crate::harness::eventually("nothing is queued", || queued() == 0);
    drop(clients);
}

/// The client takes its time, and others finish after it: what is written for it is not thrown away.
#[test]
fn responses_on_their_way_are_not_lost_to_connections_that_finish_later() {
    const REQUESTS: usize = 60;
    for workers in ["1", "2"] {
        let server = Server::with(&[("API_WORKERS", workers), ("API_MAX_CONNECTIONS", "1")]);
        let mut clients: Vec<_> = (0..2)
            .map(|_| {
                let mut client = Client::with_receive_buffer(server.address, 2048);
                client.send(GET.repeat(REQUESTS - 1));
                client.request("GET", "/resource", &["Connection: close"]);
                // Served, and its connection lingers.
                assert_eq!(client.response().status, 200);
                client
            })
            .collect();
        for client in &mut clients {
            for number in 1..REQUESTS {
                assert_eq!(client.response().status, 200, "response {number}");
            }
            assert!(client.rest().is_empty());
        }
    }
}
