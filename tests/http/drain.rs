//! Graceful shutdown: what starts it, which requests are still served, and when the process exits.

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Client, GET, PATIENCE, Server, Stopwatch, WORKERS, at_once, eventually};

/// What a busy processor may add to a time limit.
const LATE: Duration = Duration::from_secs(1);

const SECOND: Duration = Duration::from_secs(1);

/// Waits for the exit with status 0. Returns how long that took.
fn ended(server: &mut Server) -> Duration {
    let stopwatch = Stopwatch::new();
    assert_eq!(server.wait(PATIENCE).code(), Some(0));
    stopwatch.took()
}

fn is_closed(server: &Server) -> bool {
    TcpStream::connect_timeout(&server.address, PATIENCE).is_err()
}

/// A connection in the middle of a head.
fn slow(server: &Server) -> Client {
    let mut client = server.connect();
    client.get();
    client.send(&GET[..20]);
    client
}

#[test]
fn signal_with_nothing_in_flight_ends_the_process_within_a_second() {
    at_once(WORKERS, |workers| {
        for signal in ["TERM", "INT"] {
            for connections in [0, 1, 100] {
                let mut server = Server::with(&[("API_WORKERS", workers)]);
                let silent: Vec<_> = (0..connections).map(|_| server.connect()).collect();
                let mut kept: Vec<_> = (0..connections).map(|_| server.connect()).collect();
                for client in &mut kept {
                    client.get();
                }
                server.signal(signal);
                let took = ended(&mut server);
                assert!(
                    took < SECOND,
                    "{signal}, {connections} connections: {took:?}"
                );
                for mut client in silent.into_iter().chain(kept) {
                    assert!(client.rest().is_empty());
                }
            }
        }
    });
}

#[test]
fn requests_sent_before_the_signal_are_all_served() {
    at_once(WORKERS, |workers| {
        for _ in 0..5 {
            let mut server = Server::with(&[("API_WORKERS", workers)]);
            let mut clients: Vec<_> = (0..100).map(|_| server.connect()).collect();
            for client in &mut clients {
                client.get();
            }
            clients.extend((0..100).map(|_| server.connect()));
            for client in &mut clients {
                client.send(GET);
            }
            server.signal("TERM");
            for client in &mut clients {
                assert_eq!(client.response().status, 200);
            }
            drop(clients);
            assert!(ended(&mut server) < SECOND + LATE);
        }
    });
}

#[test]
fn requests_in_the_listen_queue_at_the_limit_are_served() {
    for workers in WORKERS {
        let mut server = Server::with(&[("API_WORKERS", workers), ("API_MAX_CONNECTIONS", "4")]);
        // Busy, so that none makes room before the signal.
        let mut seated: Vec<_> = (0..4).map(|_| slow(&server)).collect();
        // Beside the seats, and in a listen queue no longer than the limit.
        let mut queued: Vec<_> = (0..4).map(|_| server.connect()).collect();
        for client in &mut queued {
            client.send(GET);
        }
        server.signal("TERM");
        for client in &mut seated {
            client.send(&GET[20..]);
        }
        // No connection closes before all have their responses.
        for client in seated.iter_mut().chain(&mut queued) {
            assert_eq!(client.response().status, 200);
        }
        ended(&mut server);
    }
}

#[test]
fn responses_after_the_signal_close_the_connection() {
    for workers in WORKERS {
        let mut server = Server::with(&[("API_WORKERS", workers)]);
        let mut kept: Vec<_> = (0..4).map(|_| server.connect()).collect();
        server.signal("TERM");
        for client in &mut kept {
            // Until the server has received the signal, within its grace.
            loop {
                client.send(GET);
                let response = client.response();
                assert_eq!(response.status, 200);
                if response.field("connection") == Some("close") {
                    break;
                }
            }
            assert!(client.rest().is_empty());
        }
        // New connections are still accepted.
        let response = server.get("/resource", &[]);
        assert_eq!(
            (response.status, response.field("connection")),
            (200, Some("close"))
        );
        drop(kept);
        assert!(ended(&mut server) < SECOND + LATE);
    }
}

#[test]
fn half_a_head_delays_the_exit_until_the_drain_timeout() {
    at_once(WORKERS, |workers| {
        let mut server = Server::with(&[("API_WORKERS", workers), ("API_DRAIN_TIMEOUT", "1")]);
        let _slow = slow(&server);
        let since = Instant::now();
        server.signal("TERM");
        let took = ended(&mut server);
        let elapsed = since.elapsed();
        assert!(elapsed >= SECOND, "{elapsed:?}");
        assert!(took < SECOND + LATE, "{took:?}");
    });
}

#[test]
fn half_a_head_completed_ends_the_drain() {
    for workers in WORKERS {
        let mut server = Server::with(&[("API_WORKERS", workers)]);
        let mut slow = slow(&server);
        server.signal("TERM");
        eventually("the listener is closed", || is_closed(&server));
        slow.send(&GET[20..]);
        let response = slow.response();
        assert_eq!(
            (response.status, response.field("connection")),
            (200, Some("close"))
        );
        drop(slow);
        assert!(ended(&mut server) < SECOND);
    }
}

#[test]
fn drain_timeout_of_zero_waits_for_no_request() {
    for workers in WORKERS {
        let mut server = Server::with(&[("API_WORKERS", workers), ("API_DRAIN_TIMEOUT", "0")]);
        let _slow = slow(&server);
        server.signal("TERM");
        assert!(ended(&mut server) < SECOND);
    }
}

#[test]
fn second_signal_ends_the_process_at_once() {
    for (first, second) in [("TERM", "TERM"), ("INT", "INT"), ("TERM", "INT")] {
        let mut server = Server::with(&[("API_WORKERS", "2")]);
        let _slow = slow(&server);
        server.signal(first);
        eventually("the listener is closed", || is_closed(&server));
        assert!(server.is_running());
        server.signal(second);
        server.wait(SECOND);
    }
}

#[test]
fn listener_is_closed_during_the_drain() {
    let mut server = Server::with(&[]);
    let mut slow = slow(&server);
    let since = Instant::now();
    server.signal("TERM");
    eventually("the listener is closed", || is_closed(&server));
    assert!(since.elapsed() < SECOND);
    assert!(server.is_running());
    slow.send(&GET[20..]);
    assert_eq!(slow.response().status, 200);
}

#[test]
fn signal_under_load_loses_no_request_of_an_open_connection() {
    for workers in WORKERS {
        let mut server = Server::with(&[("API_WORKERS", workers)]);
        let address = server.address;
        let is_signalled = &AtomicBool::new(false);
        let (lost, served) = thread::scope(|scope| {
            let clients: Vec<_> = (0..4)
                .map(|number| {
                    scope.spawn(move || {
                        let (mut lost, mut served) = (0, 0);
                        'connections: while let Ok(stream) = TcpStream::connect(address) {
                            let was_there = !is_signalled.load(Ordering::SeqCst);
                            let mut client = Client::over(stream);
                            // Some use a connection once, some until the server closes it.
                            loop {
                                use std::io::Write;
                                let sent = client.stream.write_all(GET);
                                let response =
                                    sent.ok().and_then(|()| client.try_response_to("GET"));
                                let Some(response) = response else {
                                    lost += usize::from(was_there);
                                    continue 'connections;
                                };
                                assert_eq!(response.status, 200);
                                served += 1;
                                if number % 2 == 0 || response.field("connection") == Some("close")
                                {
                                    continue 'connections;
                                }
                            }
                        }
                        (lost, served)
                    })
                })
                .collect();
            thread::sleep(SECOND / 2);
            is_signalled.store(true, Ordering::SeqCst);
            server.signal("TERM");
            clients
                .into_iter()
                .map(|client| client.join().expect("no panic"))
                .fold((0, 0), |sum, counts| (sum.0 + counts.0, sum.1 + counts.1))
        });
        assert_eq!(lost, 0, "of {served}");
        assert!(served > 50, "only {served} responses: no load");
        ended(&mut server);
    }
}
