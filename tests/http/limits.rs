//! What stays true at the limits of time and memory.

use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::harness::{Client, GET, PATIENCE, Server, Stopwatch, WORKERS, at_once, eventually};

const SECOND: Duration = Duration::from_secs(1);

/// What a busy machine may add.
const LATE: Duration = Duration::from_millis(300);

#[test]
fn head_begun_with_the_request_before_is_cut_on_time() {
    at_once([1, 20, GET.len() - 1], |first| {
        let server = Server::with(&[("API_HEADER_TIMEOUT", "1")]);
        let mut client = server.connect();
        let (since, stopwatch) = (Instant::now(), Stopwatch::new());
        client.send([GET, &GET[..first]].concat());
        assert_eq!(client.response().status, 200);
        assert!(client.is_closed_within(PATIENCE));
        let (elapsed, took) = (since.elapsed(), stopwatch.took());
        assert!(elapsed >= SECOND, "cut after {elapsed:?}");
        assert!(took < SECOND + LATE, "cut after {took:?}");
    });
}

#[test]
fn head_in_two_parts_behind_a_request_is_served() {
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
fn lingering_uploads_do_not_block_other_clients() {
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
                client.get();
                since.elapsed()
            })
            .collect();
        times.sort_unstable();
        println!("median {:?}, most {:?}", times[50], times[99]);
    });
}

/// A client that sends requests without a pause and takes every response: its connection is always ready.
#[test]
fn connection_that_is_always_ready_leaves_turns_to_others_and_to_the_exit() {
    let mut server = Server::with(&[("API_WORKERS", "1")]);
    let fill = "x".repeat(2000);
    let request = format!("GET /resource HTTP/1.1\r\nHost: test\r\nX-Fill: {fill}\r\n\r\n");
    let requests = request.repeat(32);
    let client = server.connect();
    let (mut sender, mut receiver) = (&client.stream, &client.stream);
    thread::scope(|scope| {
        scope.spawn(move || while sender.write_all(requests.as_bytes()).is_ok() {});
        scope.spawn(move || while receiver.read(&mut [0; 1 << 16]).is_ok_and(|len| len > 0) {});
        for _ in 0..20 {
            assert_eq!(server.get("/resource", &[]).status, 200);
        }
        let took = server.end();
        assert!(took < SECOND, "ended after {took:?}");
    });
}

#[test]
fn lingering_upload_does_not_delay_the_exit() {
    for workers in WORKERS {
        let mut server = Server::with(&[("API_WORKERS", workers)]);
        let mut client = server.connect();
        client.send("POST /resource HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000000\r\n\r\n");
        assert_eq!(client.response().status, 405);
        let mut stream = client.stream.try_clone().expect("a descriptor");
        let uploading = thread::spawn(move || while stream.write_all(&[0; 1000]).is_ok() {});
        let took = server.end();
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

/// The kernel's queues of one connection of the server, in bytes.
#[cfg(target_os = "linux")]
struct Queues {
    peer: String,
    unsent: usize,
    unread: usize,
}

/// The kernel's queues of all connections of the server, including those that it has closed or not
/// yet accepted.
#[cfg(target_os = "linux")]
fn queues(server: &Server) -> Vec<Queues> {
    const LISTEN: &str = "0A";
    const SYN_RECEIVED: &str = "03";
    const TIME_WAIT: &str = "06";
    let port = format!(":{:04X}", server.address.port());
    let table = std::fs::read_to_string("/proc/net/tcp").expect("procfs");
    let number = |text| usize::from_str_radix(text, 16).expect("a number");
    // The table has thousands of lines while other tests run.
    let lines = table.lines().filter(|line| line.contains(&port));
    let sockets = lines.filter_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let is_ours = fields[1].ends_with(&port);
        let is_connection = ![LISTEN, SYN_RECEIVED, TIME_WAIT].contains(&fields[3]);
        let (unsent, unread) = fields[4].split_once(':').expect("two queues");
        (is_ours && is_connection).then(|| Queues {
            peer: fields[2].to_owned(),
            unsent: number(unsent),
            unread: number(unread),
        })
    });
    let mut sockets: Vec<_> = sockets.collect();
    // The table is read in pieces, and a line may be in two of them.
    sockets.sort_by(|one, other| one.peer.cmp(&other.peer));
    sockets.dedup_by(|one, other| one.peer == other.peer);
    sockets
}

/// The most that the kernel keeps for one connection: twice what the server asks for.
#[cfg(target_os = "linux")]
const SEND_BUFFER_LEN: usize = 64 * 1024;
#[cfg(target_os = "linux")]
const RECEIVE_BUFFER_LEN: usize = 128 * 1024;

/// Clients that neither read nor close, whatever the server closes their connections for.
#[cfg(target_os = "linux")]
#[test]
fn cut_evicted_and_idle_connections_leave_nothing_with_the_kernel() {
    const SEATS: usize = 16;
    // Few enough for the server to have written them all.
    let some = GET.repeat(60);
    let kinds = [
        // Connections with responses not taken, idle, in the middle of a head or of content, with
        // their last response, and rejected.
        GET.repeat(1000),
        some.clone(),
        [&some, &GET[..20]].concat(),
        [
            &some[..],
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nc",
        ]
        .concat(),
        [
            &some[..],
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        ]
        .concat(),
        [&some[..], b"?\r\n\r\n"].concat(),
    ];
    // Below the limit they reach their time limits; above it they are evicted as well.
    at_once([("1", SEATS), ("2", 4 * SEATS)], |(workers, count)| {
        let server = Server::with(&[
            ("API_WORKERS", workers),
            ("API_MAX_CONNECTIONS", "16"),
            ("API_HEADER_TIMEOUT", "1"),
            ("API_IDLE_TIMEOUT", "1"),
        ]);
        let clients: Vec<_> = (0..count)
            .zip(kinds.iter().cycle())
            .map(|(_, bytes)| {
                let client = Client::with_receive_buffer(server.address, 2048);
                client.stream.set_nonblocking(true).expect("a mode");
                // The rest does not matter.
                let _ = (&client.stream).write(bytes);
                client
            })
            .collect();
        let unsent = || {
            let queues = queues(&server);
            queues.iter().map(|queue| queue.unsent).sum::<usize>()
        };
        let most = 2 * SEATS * SEND_BUFFER_LEN;
        assert!(unsent() <= most, "{} bytes", unsent());
        eventually("nothing is queued", || {
            let queues = queues(&server);
            queues
                .iter()
                .all(|queue| queue.unsent == 0 && queue.unread == 0)
        });
        drop(clients);
    });
}

/// No more connections wait to be accepted than there are seats, whatever they send.
#[cfg(target_os = "linux")]
#[test]
fn listen_queue_is_no_longer_than_the_limit() {
    const SEATS: usize = 4;
    let server = Server::with(&[("API_WORKERS", "1"), ("API_MAX_CONNECTIONS", "4")]);
    let requests = GET.repeat(10_000);
    let clients: Vec<_> = (0..20 * SEATS)
        .map(|_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
            socket.set_recv_buffer_size(2048).expect("a buffer");
            socket.set_nonblocking(true).expect("a mode");
            // It is in progress, or the system is about to try again.
            let _ = socket.connect(&server.address.into());
            thread::sleep(Duration::from_millis(10));
            std::net::TcpStream::from(socket)
        })
        .collect();
    let since = Instant::now();
    let (mut most, mut bytes) = (0, 0);
    // For a second, and longer where a busy machine has not filled the queue by then.
    while since.elapsed() < SECOND || (most <= 2 * SEATS && since.elapsed() < PATIENCE) {
        for mut stream in &clients {
            let _ = stream.write(&requests);
        }
        // The table is not read at one moment. What is in two of them was there in between.
        let before = queues(&server);
        let mut queues = queues(&server);
        queues.retain(|queue| before.iter().any(|other| other.peer == queue.peer));
        most = queues.len().max(most);
        let unread = queues.iter().map(|queue| queue.unread);
        bytes = unread.sum::<usize>().max(bytes);
        thread::sleep(Duration::from_millis(20));
    }
    // Seats, places, lingering connections, the one that waits for a place; the kernel's queue is one
    // longer than its backlog.
    let allowed = 3 * SEATS + 1 + SEATS + 1;
    assert!(most > 2 * SEATS, "{most} connections");
    assert!(most <= allowed, "{most} connections, not {allowed}");
    assert!(bytes <= allowed * RECEIVE_BUFFER_LEN, "{bytes} bytes");
    println!("{most} connections, {bytes} bytes");
}

/// Pipelines that end in `Connection: close` and are never read: the kernel keeps nothing of them
/// once the server gives up on them.
#[cfg(target_os = "linux")]
#[test]
fn unread_pipelines_leave_nothing_with_the_kernel() {
    const SEATS: usize = 16;
    let server = Server::with(&[("API_MAX_CONNECTIONS", "16"), ("API_HEADER_TIMEOUT", "1")]);
    let mut clients = Vec::new();
    for _ in 0..3 * SEATS {
        let mut client = Client::with_receive_buffer(server.address, 2048);
        client.send(GET.repeat(199));
        client.request("GET", "/resource", &["Connection: close"]);
        clients.push(client);
    }
    let queued = || {
        queues(&server)
            .iter()
            .map(|queue| queue.unsent)
            .sum::<usize>()
    };
    // No more than the lingering connections, as many as seats, and the served ones have.
    let most = 2 * SEATS * SEND_BUFFER_LEN;
    assert!(queued() <= most, "{} bytes", queued());
    eventually("nothing is queued", || queued() == 0);
    drop(clients);
}

/// A slow client's responses are not discarded when other connections finish after it.
#[test]
fn responses_on_their_way_are_not_lost_to_connections_that_finish_later() {
    const REQUESTS: usize = 60;
    for workers in WORKERS {
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
