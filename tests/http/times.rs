//! Each time limit, to within 0.3 s.
//!
//! The median of several clients that begin at different times is compared, with an allowance for how
//! late the machine itself wakes threads up.

use std::convert::Infallible;
use std::future::{Ready, pending, ready};
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::service::service_fn;
use hyper::{Request, Response};
use resource_server::server::{self, Content, Limits};

use crate::harness::{Client, GET, Lateness, PATIENCE, Server, WORKERS};

/// `API_HEADER_TIMEOUT` and `API_IDLE_TIMEOUT` of most servers here. An idle connection keeps its
/// buffers for a second at most: the longer time is that of one that has given them back.
const STEP: Duration = Duration::from_secs(1);
const IDLE: Duration = Duration::from_secs(2);

const LATE: Duration = Duration::from_millis(300);

/// Clients of each kind, and how far apart they begin.
const CLIENTS: usize = 5;
const APART: Duration = Duration::from_millis(70);

/// What a client does. Returns after how long it was cut.
type Case = fn(SocketAddr) -> Duration;

fn served(address: SocketAddr) -> Client {
    let mut client = Client::to(address);
    client.get();
    client
}

/// The connection after 1.5 s: long enough for its buffers to be gone, and shorter than its idle
/// timeout. A busy machine may notice too late that the first time is up.
fn after_a_while(connect: impl Fn() -> Client) -> Client {
    for _ in 0..5 {
        let mut client = connect();
        let since = Instant::now();
        if !client.is_closed_within(Duration::from_millis(1500)) {
            return client;
        }
        assert!(since.elapsed() + APART >= IDLE, "closed too early");
    }
    panic!("this machine is too busy to keep time");
}

/// Sends a byte every 50 ms, if any, until the server has closed.
fn until_closed(client: &mut Client, byte: Option<u8>, since: Instant) -> Duration {
    let pause = Some(Duration::from_millis(if byte.is_some() {
        50
    } else {
        5000
    }));
    client.stream.set_read_timeout(pause).expect("a timeout");
    while since.elapsed() < PATIENCE {
        if let Some(byte) = byte
            && client.stream.write_all(&[byte]).is_err()
        {
            break;
        }
        match client.stream.read(&mut [0; 100]) {
            Ok(0) => break,
            Ok(len) => panic!("{len} bytes instead of the end"),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
    }
    since.elapsed()
}

/// Sends requests and reads nothing until the server has reset the connection.
fn until_reset(address: SocketAddr, requests: &[u8]) -> Duration {
    let mut client = Client::with_receive_buffer(address, 2048);
    client.stream.set_nonblocking(true).expect("a mode");
    let since = Instant::now();
    let mut sent = 0;
    while since.elapsed() < PATIENCE {
        if sent < requests.len() {
            match client.stream.write(&requests[sent..]) {
                Ok(len) => sent += len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
        }
        if client.stream.take_error().expect("a socket").is_some() {
            break;
        }
        thread::sleep(Duration::from_millis(2));
    }
    since.elapsed()
}

/// The median time of these clients, which begin one after another.
fn median(address: SocketAddr, case: Case) -> Duration {
    let mut times: Vec<_> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let client = scope.spawn(move || case(address));
                thread::sleep(APART);
                client
            })
            .collect();
        clients
            .into_iter()
            .map(|client| client.join().expect("no panic"))
            .collect()
    });
    times.sort_unstable();
    times[CLIENTS / 2]
}

fn assert_all_on_time(address: SocketAddr, cases: &[(&str, Duration, Case)]) {
    let lateness = &Lateness::new();
    thread::scope(|scope| {
        for &(name, limit, case) in cases {
            scope.spawn(move || {
                let took = median(address, case);
                let late = LATE + lateness.allowance();
                println!("{name}: {took:?}, {late:?} allowed");
                assert!(
                    (limit..limit + late).contains(&took),
                    "{name}: {took:?} instead of {limit:?}"
                );
            });
        }
    });
}

#[test]
fn every_time_limit_is_enforced_within_three_tenths_of_a_second() {
    // The longest cases first: they share a turn.
    let cases: &[(&str, Duration, Case)] = &[
        ("idle for the second time", IDLE, |address| {
            let mut client = after_a_while(|| served(address));
            let since = Instant::now();
            client.get();
            until_closed(&mut client, None, since)
        }),
        ("half a head of a silent connection", STEP, |address| {
            let mut client = after_a_while(|| Client::to(address));
            let since = Instant::now();
            client.send(&GET[..20]);
            until_closed(&mut client, None, since)
        }),
        ("half a head of a parked connection", STEP, |address| {
            let mut client = after_a_while(|| served(address));
            let since = Instant::now();
            client.send(&GET[..20]);
            until_closed(&mut client, None, since)
        }),
        ("new", IDLE, |address| {
            let since = Instant::now();
            until_closed(&mut Client::to(address), None, since)
        }),
        ("idle", IDLE, |address| {
            let mut client = Client::to(address);
            let since = Instant::now();
            client.get();
            until_closed(&mut client, None, since)
        }),
        ("half a head", STEP, |address| {
            let mut client = Client::to(address);
            let since = Instant::now();
            client.send(&GET[..20]);
            until_closed(&mut client, None, since)
        }),
        ("a head byte by byte", STEP, |address| {
            let mut client = Client::to(address);
            let since = Instant::now();
            client.send(b"GET /");
            until_closed(&mut client, Some(b'x'), since)
        }),
        (
            "a head byte by byte, begun with the request before",
            STEP,
            |address| {
                let mut client = Client::to(address);
                let since = Instant::now();
                client.send([GET, b"GET /"].concat());
                assert_eq!(client.response().status, 200);
                until_closed(&mut client, Some(b'x'), since)
            },
        ),
        ("half a head behind many requests", STEP, |address| {
            let mut client = Client::to(address);
            let since = Instant::now();
            client.send([&GET.repeat(30), &GET[..20]].concat());
            for _ in 0..30 {
                assert_eq!(client.response().status, 200);
            }
            until_closed(&mut client, None, since)
        }),
        ("empty lines", STEP, |address| {
            let mut client = Client::to(address);
            let since = Instant::now();
            client.send("\r\n");
            until_closed(&mut client, Some(b'\n'), since)
        }),
        ("responses not taken", STEP, |address| {
            until_reset(address, &GET.repeat(1000))
        }),
        (
            "responses not taken, half a head behind them",
            STEP,
            |address| until_reset(address, &[&GET.repeat(500), &GET[..20]].concat()),
        ),
    ];
    let servers = WORKERS.map(|workers| {
        Server::with(&[
            ("API_WORKERS", workers),
            ("API_HEADER_TIMEOUT", "1"),
            ("API_IDLE_TIMEOUT", "2"),
        ])
    });
    thread::scope(|scope| {
        for address in servers.each_ref().map(|server| server.address) {
            scope.spawn(move || {
                for some in cases.chunks(6) {
                    assert_all_on_time(address, some);
                }
            });
        }
    });
}

/// What is left to send of a response longer than all buffers on the way.
struct Pieces {
    left: u64,
    is_stream: bool,
}

impl Pieces {
    const LEN: u64 = 1024 * 1024;
    const PIECE: &[u8] = &[b'x'; 16 * 1024];
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = Bytes::from_static(Self::PIECE);
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= piece.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_stream {
            SizeHint::default()
        } else {
            SizeHint::with_exact(self.left)
        }
    }
}

/// Serves large responses, on a port of its own: a stream at `/stream`, one of known length elsewhere.
fn large() -> SocketAddr {
    fn respond(request: Request<Content>) -> Ready<Result<Response<Pieces>, Infallible>> {
        ready(Ok(Response::new(Pieces {
            left: Pieces::LEN,
            is_stream: request.uri().path() == "/stream",
        })))
    }
    let (sender, address) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let runtime = server::runtime().expect("a runtime");
        runtime.block_on(async {
            let limits = Limits {
                step_timeout: STEP,
                ..Limits::default()
            };
            let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
            let listener = server::listen(loopback, &limits).expect("a port");
            let server = server::Server::start(limits, || Ok(service_fn(respond)), None, None);
            let server = server.await.expect("a server");
            let address = listener.local_addr().expect("an address");
            sender.send(address).expect("a receiver");
            server.serve(listener, pending()).await;
        });
    });
    address.recv().expect("an address")
}

#[test]
fn large_response_not_taken_in_time_is_cut() {
    let cases: &[(&str, Duration, Case)] = &[
        ("not taken", STEP, |address| until_reset(address, GET)),
        ("taken slowly", STEP, |address| {
            let mut client = Client::with_receive_buffer(address, 2048);
            let since = Instant::now();
            client.send(GET);
            let mut piece = [0; 1000];
            // Half a megabyte in a second.
            while matches!(client.stream.read(&mut piece), Ok(1..)) {
                thread::sleep(Duration::from_millis(2));
            }
            since.elapsed()
        }),
    ];
    let address = large();
    assert_all_on_time(address, cases);
    let mut client = Client::to(address);
    client.request("GET", "/", &["Connection: close"]);
    assert!(client.rest().len() > 1024 * 1024);
}

/// A client has the time limit for each part of a stream; the whole stream has its own limit.
#[test]
fn stream_taken_steadily_outlives_the_limit_of_one_response() {
    let address = large();
    let mut client = Client::with_receive_buffer(address, 2048);
    client.request("GET", "/stream", &["Connection: close"]);
    let since = Instant::now();
    let (mut received, mut piece) = (0, [0; 1000]);
    loop {
        match client.stream.read(&mut piece).expect("a stream") {
            0 => break,
            len => received += len,
        }
        thread::sleep(Duration::from_millis(2));
    }
    assert!(received > 1024 * 1024, "{received} bytes");
    assert!(since.elapsed() > 2 * STEP);
    // A stream that is not taken at all is cut like any other response.
    let cases: &[(&str, Duration, Case)] = &[("stream not taken", STEP, |address| {
        until_reset(address, b"GET /stream HTTP/1.1\r\nHost: test\r\n\r\n")
    })];
    assert_all_on_time(address, cases);
}
