//! More connections than the limit, or than there are descriptors for.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{
    Client, GET, PATIENCE, SECRET, Server, Stopwatch, WORKERS, at_once, eventually,
    with_descriptors,
};

/// Longer than a server with room needs for a response.
const A_WHILE: Duration = Duration::from_millis(300);

/// Far less than the second after which a head may be cut.
const A_MOMENT: Duration = Duration::from_millis(100);

fn server(workers: &str, max_connections: &str) -> Server {
    Server::with(&[
        ("API_WORKERS", workers),
        ("API_MAX_CONNECTIONS", max_connections),
    ])
}

#[test]
fn connection_beyond_the_limit_waits_until_there_is_room() {
    for workers in WORKERS {
        let server = server(workers, "8");
        // A response shows that it has a seat, and the half head that it is not idle.
        let mut seated: Vec<_> = (0..8).map(|_| server.connect()).collect();
        for client in &mut seated {
            client.send([GET, &GET[..20]].concat());
            assert_eq!(client.response().status, 200);
        }
        let mut waiting: Vec<_> = (0..3).map(|_| server.connect()).collect();
        for client in &mut waiting {
            client.send(GET);
        }
        assert!(!waiting[0].is_closed_within(A_MOMENT));
        // All before a response is read: a head that takes a second may be cut.
        for client in &mut seated {
            client.send(&GET[20..GET.len() - 2]);
            client.send("Connection: close\r\n\r\n");
        }
        for client in &mut seated {
            assert_eq!(client.response().status, 200);
            assert!(client.rest().is_empty());
        }
        for client in &mut waiting {
            assert_eq!(client.response().status, 200);
        }
    }
}

#[test]
fn longest_idle_connection_makes_room_at_once_and_the_others_stay() {
    for workers in WORKERS {
        let server = server(workers, "6");
        // They have no seat to lose.
        let mut silent: Vec<_> = (0..3).map(|_| server.connect()).collect();
        let mut clients = Vec::new();
        for _ in 0..6 {
            let mut client = server.connect();
            client.get();
            clients.push(client);
            // The next one becomes idle later, even if a worker is interrupted after the response.
            thread::sleep(Duration::from_millis(50));
        }
        let mut fastest = PATIENCE;
        for longest in 0..3 {
            let stopwatch = Stopwatch::new();
            let mut new = server.connect();
            new.get();
            let took = stopwatch.took();
            assert!(took < Duration::from_secs(1), "room after {took:?}");
            assert!(clients[longest].is_closed_within(PATIENCE));
            clients.push(new);
            fastest = fastest.min(took);
        }
        // At the first attempt. The second follows 50 ms later.
        assert!(
            fastest < Duration::from_millis(40),
            "room after {fastest:?}"
        );
        for client in &mut clients[3..] {
            client.get();
        }
        for client in &mut silent {
            client.get();
        }
    }
}

/// Four times as many clients as seats connect, wait for a network's delay, send a request and
/// close: none is closed without a response.
#[test]
fn clients_at_four_times_the_seats_are_all_served() {
    const SEATS: usize = 8;
    const REQUESTS: usize = 12;
    let cases = [("1", 0), ("1", 2), ("1", 20), ("2", 20)];
    at_once(cases, |(workers, delay)| {
        let server = server(workers, &SEATS.to_string());
        let address = server.address;
        thread::scope(|scope| {
            for _ in 0..4 * SEATS {
                scope.spawn(move || {
                    for _ in 0..REQUESTS {
                        let mut client = Client::to(address);
                        thread::sleep(Duration::from_millis(delay));
                        client.request("GET", "/resource", &["Connection: close"]);
                        assert_eq!(client.response().status, 200);
                    }
                });
            }
        });
    });
}

#[test]
fn silent_connections_keep_no_client_waiting() {
    at_once(WORKERS, |workers| {
        let server = server(workers, "4");
        let address = server.address;
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            // A little slower than twice the limit in a second.
            scope.spawn(|| {
                let mut silent = Vec::new();
                while !is_over.load(Ordering::Relaxed) {
                    silent.push(Client::to(address));
                    thread::sleep(Duration::from_millis(150));
                }
            });
            thread::sleep(Duration::from_millis(700));
            for _ in 0..5 {
                let stopwatch = Stopwatch::new();
                Client::to(address).get();
                let took = stopwatch.took();
                assert!(took < Duration::from_secs(2), "served after {took:?}");
            }
            is_over.store(true, Ordering::Relaxed);
        });
    });
}

/// Each of them may have a seat for a second, all during the same second.
#[test]
fn half_heads_at_many_times_the_seats_make_room_after_a_second() {
    at_once(WORKERS, |workers| {
        let server = server(workers, "8");
        let half = || {
            let mut client = server.connect();
            client.send(&GET[..20]);
            client
        };
        // They take all seats and places.
        let _halves: Vec<_> = (0..16).map(|_| half()).collect();
        let stopwatch = Stopwatch::new();
        let mut good = server.connect();
        good.get();
        let took = stopwatch.took();
        assert!(took < Duration::from_millis(1900), "served after {took:?}");
    });
}

#[test]
fn client_that_resets_while_it_waits_gives_up_its_place() {
    for workers in WORKERS {
        let server = server(workers, "2");
        let before = server.descriptors();
        let mut halves: Vec<_> = (0..2).map(|_| server.connect()).collect();
        for client in &mut halves {
            client.send(&GET[..20]);
        }
        eventually("they are seated", || server.descriptors() == before + 2);
        let stopwatch = Stopwatch::new();
        for _ in 0..2 {
            let mut client = server.connect();
            client.send(GET);
            eventually("it waits", || server.descriptors() == before + 3);
            client.reset();
            eventually("it is gone", || server.descriptors() == before + 2);
        }
        // Before the heads may be cut, so that no seat came free.
        assert!(stopwatch.took() < Duration::from_millis(900));
    }
}

#[test]
fn head_that_arrives_longest_is_cut_after_a_second_when_its_seat_is_needed() {
    at_once(WORKERS, |workers| {
        let server = server(workers, "4");
        let mut halves: Vec<_> = (0..4).map(|_| server.connect()).collect();
        for client in &mut halves {
            client.send(&GET[..20]);
            thread::sleep(Duration::from_millis(50));
        }
        let (since, stopwatch) = (Instant::now(), Stopwatch::new());
        let mut new = server.connect();
        new.get();
        let (elapsed, took) = (since.elapsed(), stopwatch.took());
        assert!(
            elapsed >= Duration::from_millis(500),
            "served after {elapsed:?}"
        );
        assert!(took < Duration::from_millis(1300), "served after {took:?}");
        assert!(halves[0].is_closed_within(PATIENCE));
        for client in &mut halves[1..] {
            client.send(&GET[20..]);
            assert_eq!(client.response().status, 200);
        }
        let line = server.errors.recv_timeout(PATIENCE).expect("a line");
        assert!(line.contains("API_MAX_CONNECTIONS"), "{line}");
    });
}

/// Connections that send without a pause are not idle. The server does not break one, whose next
/// request may be on its way: it marks a response as the last. (A connection is idle once it has been
/// interrupted for 10 ms, and a new one is until its first bytes arrive.)
#[test]
fn busy_connections_make_room_without_losing_a_request() {
    const CAP: usize = 4;
    const NEW: usize = 50;
    const REST: Duration = Duration::from_millis(10);
    for workers in WORKERS {
        let server = server(workers, &CAP.to_string());
        let address = server.address;
        let is_over = AtomicBool::new(false);
        // Whether there was a response, and whether it was the last.
        let ask = |client: &mut Client| {
            // A closed connection has no response either.
            let _ = client.stream.write_all(GET);
            let response = client.try_response_to("GET")?;
            assert_eq!(response.status, 200);
            Some(response.field("connection") == Some("close"))
        };
        thread::scope(|scope| {
            for _ in 0..CAP {
                scope.spawn(|| {
                    while !is_over.load(Ordering::Relaxed) {
                        let mut client = Client::to(address);
                        let mut asked: Option<Instant> = None;
                        while !is_over.load(Ordering::Relaxed) {
                            let begin = Instant::now();
                            let is_last = ask(&mut client);
                            // Longer than the connection was idle.
                            let since = asked.replace(begin).map(|asked| asked.elapsed());
                            match is_last {
                                Some(false) => {}
                                Some(true) => break,
                                None if since.is_none_or(|since| since >= REST) => break,
                                None => panic!("no response {since:?} after the request before"),
                            }
                        }
                    }
                });
            }
            for _ in 0..NEW {
                let since = Instant::now();
                while ask(&mut Client::to(address)).is_none() {}
                let took = since.elapsed();
                assert!(took < Duration::from_secs(2), "room after {took:?}");
            }
            is_over.store(true, Ordering::Relaxed);
        });
    }
}

/// The other busy connections go on, although all of them get a response at that moment.
#[test]
fn one_waiting_connection_closes_few_of_the_busy_ones() {
    const SEATS: usize = 16;
    for workers in WORKERS {
        let server = server(workers, &SEATS.to_string());
        // In the middle of a head: none of them is idle.
        let mut busy: Vec<_> = (0..SEATS).map(|_| server.connect()).collect();
        for client in &mut busy {
            client.send([GET, &GET[..20]].concat());
            assert_eq!(client.response().status, 200);
        }
        let mut waiting = server.connect();
        waiting.send(GET);
        let line = server.errors.recv_timeout(PATIENCE).expect("a line");
        assert!(line.contains("API_MAX_CONNECTIONS"), "{line}");
        // The server finds all requests at once.
        server.signal("STOP");
        for client in &mut busy {
            client.send([&GET[20..], &GET[..20]].concat());
        }
        server.signal("CONT");
        let is_last = |client: &mut Client| client.response().field("connection") == Some("close");
        let last = busy
            .iter_mut()
            .map(is_last)
            .filter(|&is_last| is_last)
            .count();
        assert!(last <= SEATS / 4, "{last} of {SEATS} were closed");
        assert_eq!(waiting.response().status, 200);
    }
}

#[test]
fn connection_with_unread_bytes_is_not_dropped_for_a_new_one() {
    const CAP: usize = 4;
    for workers in WORKERS {
        let server = server(workers, &CAP.to_string());
        let before = server.descriptors();
        for _ in 0..30 {
            // The connections of the last round are gone: these need no room made for them.
            eventually("there is room", || server.descriptors() <= before);
            let mut kept: Vec<_> = (0..CAP).map(|_| server.connect()).collect();
            kept.iter_mut().for_each(|client| drop(client.get()));
            for client in &mut kept {
                client.send(GET);
            }
            let mut new: Vec<_> = (0..CAP).map(|_| server.connect()).collect();
            for client in &mut new {
                client.send(GET);
            }
            for client in kept.iter_mut().chain(&mut new) {
                assert_eq!(client.response().status, 200);
            }
        }
    }
}

#[test]
fn half_a_head_after_a_response_is_not_dropped_for_a_new_connection() {
    for (workers, is_pipelined) in [("1", true), ("1", false), ("2", true), ("2", false)] {
        let server = server(workers, "2");
        let mut halves: Vec<_> = (0..2).map(|_| server.connect()).collect();
        for client in &mut halves {
            if is_pipelined {
                client.send([GET, &GET[..30]].concat());
                assert_eq!(client.response().status, 200);
            } else {
                client.get();
                client.send(&GET[..30]);
            }
        }
        let mut waiting = server.connect();
        waiting.send(GET);
        assert!(!waiting.is_closed_within(A_MOMENT));
        for client in &mut halves {
            client.send(&GET[30..]);
            assert_eq!(client.response().status, 200);
        }
        assert_eq!(waiting.response().status, 200);
    }
}

#[test]
fn clients_that_keep_closed_connections_do_not_hold_permits() {
    let server = server("1", "2");
    let since = Instant::now();
    let mut kept = Vec::new();
    for _ in 0..20 {
        let mut client = server.connect();
        client.request("GET", "/resource", &["Connection: close"]);
        assert_eq!(client.response().status, 200);
        kept.push(client);
    }
    let took = since.elapsed();
    assert!(took < Duration::from_secs(3), "20 responses in {took:?}");
}

/// Twice as many busy connections as a worker keeps buffers for, each with more requests than one
/// turn serves and one buffer holds.
#[test]
fn requests_pipelined_on_many_connections_are_all_served_in_order() {
    const CONNECTIONS: usize = 130;
    const REQUESTS: usize = 400;
    let server = server("1", "1024");
    let mut clients: Vec<_> = (0..CONNECTIONS).map(|_| server.connect()).collect();
    clients.iter_mut().for_each(|client| drop(client.get()));
    let requests: String = (0..REQUESTS)
        .map(|number| {
            let path = if number % 3 == 0 {
                "/healthz"
            } else {
                "/resource"
            };
            format!("GET {path}?{number:04} HTTP/1.1\r\nHost: test\r\n\r\n")
        })
        .collect();
    // The last connections opened: the others keep the warm buffers.
    for client in clients.iter_mut().rev().take(20) {
        client.send(&requests);
        for number in 0..REQUESTS {
            let response = client.response();
            assert_eq!(response.status, 200, "request {number}");
            assert_eq!(
                response.content.contains("ok"),
                number % 3 == 0,
                "request {number}"
            );
        }
        client.get();
    }
}

#[test]
fn descriptors_that_run_out_count_as_the_limit() {
    at_once(WORKERS, |workers| {
        let variables = [
            ("API_PORT", "0"),
            ("JWT_SECRET", SECRET),
            ("API_WORKERS", workers),
        ];
        let server = Server::spawn(&mut with_descriptors("64", &variables));
        let since = Instant::now();

        // A silent client is idle: each sends at once.
        let sent = |bytes: &[u8]| {
            let mut client = server.connect();
            client.send(bytes);
            client
        };
        let mut clients: Vec<_> = (0..100).map(|_| sent(GET)).collect();
        for client in &mut clients {
            assert_eq!(client.response().status, 200);
        }
        drop(clients);

        // None of these can make room within a second.
        let mut halves: Vec<_> = (0..70).map(|_| sent(&GET[..20])).collect();
        eventually("no descriptor is left", || server.descriptors() >= 64);
        let before = server.processor_time();
        let measured = Instant::now();
        thread::sleep(Duration::from_millis(300));
        let used = server.processor_time() - before;
        let share = used as f64 / 100.0 / measured.elapsed().as_secs_f64();
        assert!(share < 0.1, "{share} of a core while nothing can be done");

        for client in &mut halves {
            client.send(&GET[20..]);
            assert_eq!(client.response().status, 200);
        }
        drop(halves);
        assert_eq!(server.get("/resource", &[]).status, 200);
        let lines: Vec<_> = server.errors.try_iter().collect();
        let seconds = usize::try_from(since.elapsed().as_secs()).expect("few");
        assert!(!lines.is_empty());
        assert!(lines.len() <= seconds + 1, "in {seconds} s: {lines:#?}");
    });
}

#[test]
fn too_few_descriptors_for_every_worker_lose_no_connection() {
    at_once(["12", "16", "20", "24", "28", "32"], |count| {
        let variables = [
            ("API_PORT", "0"),
            ("JWT_SECRET", SECRET),
            ("API_WORKERS", "8"),
        ];
        // Either it says why it cannot start, or it serves.
        let (status, errors) = match Server::try_spawn(&mut with_descriptors(count, &variables)) {
            Err(ended) => ended,
            Ok(mut server) => {
                // A start that fails after its line ends the process.
                thread::sleep(A_WHILE);
                if server.is_running() {
                    for _ in 0..10 {
                        let mut client = server.connect();
                        client.request("GET", "/resource", &["Connection: close"]);
                        let response = client.try_response_to("GET");
                        assert!(response.is_some(), "no response with {count} descriptors");
                    }
                    return;
                }
                (server.wait(PATIENCE), server.errors.iter().collect())
            }
        };
        assert_eq!(status.code(), Some(1), "{errors:?}");
        assert_eq!(errors.len(), 1, "{errors:?}");
    });
}

#[test]
fn clients_that_leave_or_reset_leave_nothing_behind() {
    at_once(WORKERS, |workers| {
        let server = server(workers, "1024");
        let before = server.descriptors();
        let come_and_go = || {
            for _ in 0..1000 {
                drop(server.connect());
            }
            for number in 0..500 {
                let mut client = server.connect();
                // In the middle of a head, of content, of the responses.
                match number % 3 {
                    0 => client.send(&GET[..25]),
                    1 => client
                        .send("POST /resource HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n1"),
                    _ => client.send(GET.repeat(50)),
                }
                client.reset();
            }
            eventually("all descriptors are given back", || {
                server.descriptors() <= before
            });
        };
        come_and_go();
        let resident = server.resident();
        come_and_go();
        let grown = server.resident().saturating_sub(resident);
        assert!(grown < 1024, "{grown} KiB more than after the first time");
        assert_eq!(server.get("/resource", &[]).status, 200);
    });
}
