//! Slow clients: those that send a head slowly, read a response slowly, or send nothing at all.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Client, GET, PATIENCE, Server, WORKERS, at_once};

/// `API_HEADER_TIMEOUT` and `API_IDLE_TIMEOUT` of most servers here.
const SECOND: Duration = Duration::from_secs(1);

/// How late a timeout may be: idle connections are checked four times a second, one that keeps its
/// buffers does so for a second, and the processor may be busy.
const LATE: Duration = Duration::from_millis(2500);

/// How early a timeout may seem: the client's clock starts after the bytes have left.
const EARLY: Duration = Duration::from_millis(50);

fn servers(variables: &[(&str, &str)]) -> [Server; 2] {
    WORKERS.map(|workers| {
        let mut all = vec![("API_WORKERS", workers)];
        all.extend(variables);
        Server::with(&all)
    })
}

/// What one client does.
type Case = fn(SocketAddr);

/// Runs every case with each server, all at the same time.
fn all_at_once(servers: &[Server], cases: &[Case]) {
    let pairs = servers
        .iter()
        .flat_map(|server| cases.iter().map(|case| (server.address, case)));
    at_once(pairs, |(address, case)| case(address));
}

/// Sends a byte every 50 ms until the server closes. Returns how long that took.
fn trickle(client: &mut Client, since: Instant, byte: u8) -> Duration {
    client
        .stream
        .set_read_timeout(Some(Duration::from_millis(50)))
        .expect("a timeout");
    while since.elapsed() < PATIENCE {
        let is_gone = client.stream.write_all(&[byte]).is_err();
        match client.stream.read(&mut [0]) {
            _ if is_gone => break,
            Ok(0) => break,
            Ok(_) => panic!("a response to half a head"),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
    }
    since.elapsed()
}

fn assert_at(timeout: Duration, took: Duration) {
    assert!(
        took + EARLY >= timeout,
        "closed after {took:?}, not {timeout:?}"
    );
    assert!(
        took <= timeout + LATE,
        "closed after {took:?}, not {timeout:?}"
    );
}

#[test]
fn head_sent_byte_by_byte_is_cut_at_the_header_timeout() {
    let servers = servers(&[("API_HEADER_TIMEOUT", "1")]);
    let cases: &[Case] = &[
        |address| {
            let mut new = Client::to(address);
            new.send("GET /resource HTTP/1.1\r\nX: ");
            assert_at(SECOND, trickle(&mut new, Instant::now(), b'x'));
        },
        |address| {
            let mut new = Client::to(address);
            assert_at(SECOND, trickle(&mut new, Instant::now(), b'\r'));
        },
        |address| {
            let mut kept = Client::to(address);
            kept.get();
            kept.send("G");
            assert_at(SECOND, trickle(&mut kept, Instant::now(), b'x'));
        },
        |address| {
            let mut parked = Client::to(address);
            parked.get();
            // Long enough for its buffers to be gone.
            assert!(!parked.is_closed_within(SECOND + SECOND / 2));
            parked.send("G");
            assert_at(SECOND, trickle(&mut parked, Instant::now(), b'x'));
        },
    ];
    all_at_once(&servers, cases);
}

#[test]
fn half_a_head_in_the_segment_of_the_request_before_is_cut_at_the_header_timeout() {
    let servers = servers(&[("API_HEADER_TIMEOUT", "1")]);
    let cases: &[Case] = &[
        |address| {
            let mut silent = Client::to(address);
            silent.send([GET, &GET[..20]].concat());
            let since = Instant::now();
            assert_eq!(silent.response().status, 200);
            assert!(silent.is_closed_within(SECOND + LATE));
            assert_at(SECOND, since.elapsed());
        },
        |address| {
            let mut trickling = Client::to(address);
            trickling.send([GET, &GET[..20]].concat());
            let since = Instant::now();
            assert_eq!(trickling.response().status, 200);
            assert_at(SECOND, trickle(&mut trickling, since, b'x'));
        },
        |address| {
            let mut late = Client::to(address);
            late.send([GET, &GET[..20]].concat());
            assert_eq!(late.response().status, 200);
            late.send(&GET[20..]);
            assert_eq!(late.response().status, 200);
        },
    ];
    all_at_once(&servers, cases);
}

#[test]
fn half_a_head_is_not_given_more_time_by_the_idle_timeout() {
    let server = Server::with(&[("API_HEADER_TIMEOUT", "2"), ("API_IDLE_TIMEOUT", "1")]);
    let mut client = server.connect();
    client.send([GET, b"GET /resource HTTP/1.1\r\nHo"].concat());
    let since = Instant::now();
    assert_eq!(client.response().status, 200);
    assert!(client.is_closed_within(PATIENCE));
    let took = since.elapsed();
    assert!(took < Duration::from_millis(2900), "closed after {took:?}");
}

#[test]
fn half_a_head_is_not_given_less_time_by_the_idle_timeout() {
    fn is_served(mut client: Client) {
        client.send(&GET[..20]);
        assert!(!client.is_closed_within(SECOND * 16 / 10));
        client.send(&GET[20..]);
        assert_eq!(client.response().status, 200);
    }
    let servers = servers(&[("API_HEADER_TIMEOUT", "9"), ("API_IDLE_TIMEOUT", "1")]);
    let cases: &[Case] = &[
        |address| is_served(Client::to(address)),
        |address| {
            let mut kept = Client::to(address);
            kept.get();
            is_served(kept);
        },
    ];
    all_at_once(&servers, cases);
}

#[test]
fn many_slow_heads_do_not_slow_a_good_client() {
    let server = Server::with(&[("API_WORKERS", "1"), ("API_HEADER_TIMEOUT", "5")]);
    let mut slow: Vec<_> = (0..300).map(|_| server.connect()).collect();
    thread::scope(|scope| {
        let trickling = scope.spawn(|| {
            for _ in 0..20 {
                for client in &mut slow {
                    client.send("G");
                }
                thread::sleep(Duration::from_millis(50));
            }
        });
        let mut kept = server.connect();
        let mut took = Vec::new();
        while !trickling.is_finished() {
            let since = Instant::now();
            kept.get();
            took.push(since.elapsed());
            let since = Instant::now();
            assert_eq!(server.get("/resource", &[]).status, 200);
            took.push(since.elapsed());
        }
        took.sort_unstable();
        let median = took[took.len() / 2];
        assert!(took.len() > 100, "only {} responses", took.len());
        assert!(median < Duration::from_millis(20), "median {median:?}");
    });
}

#[test]
fn idle_connection_is_closed_at_the_idle_timeout_and_not_before() {
    let servers = servers(&[("API_IDLE_TIMEOUT", "1"), ("API_HEADER_TIMEOUT", "9")]);
    let cases: &[Case] = &[
        |address| {
            let since = Instant::now();
            let mut silent = Client::to(address);
            assert!(silent.is_closed_within(PATIENCE));
            assert_at(SECOND, since.elapsed());
        },
        |address| {
            let mut kept = Client::to(address);
            for _ in 0..2 {
                kept.get();
                assert!(!kept.is_closed_within(SECOND * 6 / 10));
            }
            kept.send(GET);
            let since = Instant::now();
            assert_eq!(kept.response().status, 200);
            assert!(kept.is_closed_within(PATIENCE));
            assert_at(SECOND, since.elapsed());
        },
    ];
    all_at_once(&servers, cases);
}

/// Pipelines requests until the server cuts the connection, and may read one byte of the responses
/// after each `pause`.
fn assert_is_cut(address: SocketAddr, pause: Option<Duration>) {
    const MOST: usize = 64 * 1024 * 1024;
    let client = Client::with_receive_buffer(address, 4096);
    let requests = GET.repeat(1000);
    thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let mut sent = 0;
            while sent < MOST {
                match (&client.stream).write(&requests[sent % requests.len()..]) {
                    Ok(len) => sent += len,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                    Err(_) => return true,
                }
            }
            false
        });
        while let Some(pause) = pause.filter(|_| !sending.is_finished()) {
            thread::sleep(pause);
            let _ = (&client.stream).read(&mut [0]);
        }
        assert!(
            sending.join().expect("no panic"),
            "the connection is not cut"
        );
    });
}

#[test]
fn client_that_never_reads_is_cut() {
    let servers = servers(&[("API_HEADER_TIMEOUT", "1")]);
    all_at_once(&servers, &[|address| assert_is_cut(address, None)]);
}

#[test]
fn client_that_takes_a_byte_now_and_then_is_cut() {
    const PAUSE: Option<Duration> = Some(Duration::from_millis(100));
    let servers = servers(&[("API_HEADER_TIMEOUT", "1")]);
    all_at_once(&servers, &[|address| assert_is_cut(address, PAUSE)]);
}

#[test]
fn client_that_reads_slowly_but_steadily_gets_every_response() {
    // 100 KB/s, and several times what all buffers between the two hold.
    const REQUESTS: usize = 3000;
    const STEP: usize = 5000;
    let server = Server::with(&[("API_WORKERS", "1"), ("API_HEADER_TIMEOUT", "2")]);
    let client = Client::with_receive_buffer(server.address, 4096);
    let since = Instant::now();
    let mut received = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| (&client.stream).write_all(&GET.repeat(REQUESTS)));
        let mut buffer = [0; STEP];
        let mut responses = 0;
        while responses < REQUESTS {
            thread::sleep(Duration::from_millis(50));
            let mut left = STEP;
            while left > 0 {
                let len = (&client.stream)
                    .read(&mut buffer[..left])
                    .expect("the server is patient");
                assert!(len > 0, "closed after {responses} responses");
                left -= len;
                // Forgets what was counted, except the beginning of a status line.
                received.drain(..received.len().saturating_sub(11));
                received.extend_from_slice(&buffer[..len]);
                responses += received
                    .windows(12)
                    .filter(|w| w == b"HTTP/1.1 200")
                    .count();
                if responses == REQUESTS {
                    break;
                }
            }
        }
    });
    assert!(since.elapsed() > 3 * SECOND, "it was not slow");
}

/// The response is written at once; a client that is still sending is not idle.
#[test]
fn content_that_comes_steadily_is_read_past_the_idle_timeout() {
    let server = Server::with(&[("API_IDLE_TIMEOUT", "1"), ("API_HEADER_TIMEOUT", "10")]);
    let mut client = server.connect();
    client.request("POST", "/resource", &["Content-Length: 1000000"]);
    let since = Instant::now();
    while since.elapsed() < 2 * SECOND {
        // Fails if the server has closed.
        client.send([b'x'; 1000]);
        thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(client.response().status, 405);
}

#[test]
fn client_that_closes_its_side_gets_every_response() {
    for server in servers(&[]) {
        for requests in [1, 3, 40] {
            for _ in 0..20 {
                let mut client = server.connect();
                client.send(GET.repeat(requests));
                client.finish_sending();
                for _ in 0..requests {
                    assert_eq!(client.response().status, 200);
                }
                assert!(client.rest().is_empty());
            }
        }
    }
}

#[test]
fn requests_in_two_segments_with_nagles_algorithm_do_not_wait_for_an_acknowledgement() {
    const ROUNDS: u32 = 50;
    for server in servers(&[]) {
        let mut client = server.connect();
        client.stream.set_nodelay(false).expect("Nagle's algorithm");
        let since = Instant::now();
        for _ in 0..ROUNDS {
            client.send(GET);
            client.send(GET);
            assert_eq!(client.response().status, 200);
            assert_eq!(client.response().status, 200);
        }
        // A delayed acknowledgement is 40 ms late, on Linux.
        let mean = since.elapsed() / ROUNDS;
        assert!(mean < Duration::from_millis(20), "{mean:?} a round");
    }
}
