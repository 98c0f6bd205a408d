//! The allocations that a request costs on a kept connection: clients decide how many there are.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread;

use allocation_counter::measure;
use hyper::body::Bytes;
use resource_server::app::{Worker, site};
use resource_server::jwt::{Key, Policy, Verifier};
use resource_server::server::exchange::{Event, Exchange, Transport};
use resource_server::server::{Engine, Limits, Server, listen, runtime};
use resource_server::shared::{Cached, Shared};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

use crate::harness::{Client, SECRET, token};

/// Both ends of a connection in memory.
#[derive(Default)]
struct Pipe {
    sent: Vec<u8>,
    received: Vec<u8>,
    /// System calls that a socket would have taken.
    reads: usize,
    writes: usize,
    /// The client takes nothing.
    is_blocked: bool,
}

#[derive(Clone, Default)]
struct End(Rc<RefCell<Pipe>>);

impl Transport for End {
    fn broken(&self) -> Pin<Box<dyn Future<Output = ()>>> {
        Box::pin(std::future::pending())
    }
}

impl AsyncRead for End {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut pipe = self.0.borrow_mut();
        if pipe.sent.is_empty() {
            return Poll::Pending;
        }
        let len = pipe.sent.len().min(buffer.remaining());
        buffer.put_slice(&pipe.sent[..len]);
        pipe.sent.drain(..len);
        pipe.reads += 1;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for End {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut pipe = self.0.borrow_mut();
        if pipe.is_blocked {
            return Poll::Pending;
        }
        pipe.received.extend_from_slice(bytes);
        pipe.writes += 1;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

/// The built-in site.
fn worker() -> io::Result<Worker<()>> {
    let key = Key::new(SECRET.as_bytes()).expect("a secret");
    let verifier = Arc::new(Shared::new(Verifier::new(key, Policy::default())));
    site().worker(Cached::new(verifier), false)
}

/// The built-in site on an engine, without a server.
fn engine() -> Rc<Engine<Worker<()>>> {
    Rc::new(Engine::new(worker().expect("no state"), Limits::default()))
}

/// Relative to the cheapest request: what hyper allocates is not this crate's.
#[test]
fn built_in_routes_allocate_only_the_payload_the_user_and_the_named_scopes() {
    let good = token(r#"{"sub":"alice","scope":"read write"}"#);
    let bad = format!("{}AAAA", &good[..good.len() - 4]);
    let nameless = token(r#"{"scope":"read"}"#);
    runtime().expect("a runtime").block_on(async {
        let engine = engine();
        let end = End::default();
        end.0.borrow_mut().sent.reserve(4096);
        end.0.borrow_mut().received.reserve(4096);
        let mut exchange = Exchange::new(end.clone(), PEER, engine, Bytes::new(), None);
        let mut request = |method: &str, path: &str, token: &str| {
            let head = format!(
                "{method} {path} HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {token}\r\n\r\n"
            );
            let mut counts = Vec::new();
            let mut status = String::new();
            // The first ones of a kind compose a refusal; the fewest are what the request itself takes.
            for _ in 0..4 {
                end.0.borrow_mut().received.clear();
                end.0.borrow_mut().sent.extend_from_slice(head.as_bytes());
                let mut event = Poll::Pending;
                let info = measure(|| {
                    let mut cx = Context::from_waker(Waker::noop());
                    for _ in 0..10 {
                        event = exchange.poll(&mut cx);
                        if event.is_ready() {
                            break;
                        }
                    }
                });
                assert_eq!(event, Poll::Ready(Event::Idle), "{method} {path}");
                counts.push(info.count_total);
                let pipe = end.0.borrow();
                status = String::from_utf8_lossy(&pipe.received[9..12]).into_owned();
            }
            (status, counts.into_iter().min().expect("four"))
        };
        let (_, least) = request("GET", "/resource", &good);
        for (method, path, token, status, more) in [
            ("GET", "/resource", &good, "200", 0),
            ("GET", "/healthz", &good, "200", 0),
            ("HEAD", "/resource", &good, "200", 0),
            ("POST", "/resource", &good, "405", 0),
            ("OPTIONS", "/resource", &good, "204", 0),
            ("GET", "/nowhere", &good, "404", 0),
            ("GET", "/auth", &bad, "401", 0),
            ("GET", "/resource/secret", &bad, "401", 0),
            ("POST", "/auth/read", &bad, "401", 0),
            // One is the payload, decoded.
            ("GET", "/resource/secret", &good, "200", 1),
            ("POST", "/auth", &good, "200", 2),
            ("GET", "/auth/read+write", &good, "200", 2),
            ("GET", "/auth", &nameless, "403", 1),
            ("GET", "/auth/admin", &good, "403", 2),
            ("GET", "/auth/read+admin", &good, "403", 2),
            ("GET", "/auth/", &good, "403", 1),
        ] {
            let (actual, count) = request(method, path, token);
            assert_eq!(actual, status, "{method} {path}");
            assert_eq!(count, least + more, "{method} {path}");
        }
    });
}

/// The reads, the writes and the responses that each of these makes, one after the other on one connection.
fn costs(turns: &[Vec<u8>]) -> Vec<(usize, usize, usize)> {
    runtime().expect("a runtime").block_on(async {
        let engine = engine();
        let end = End::default();
        let mut exchange = Exchange::new(end.clone(), PEER, engine, Bytes::new(), None);
        let turn = |bytes: &Vec<u8>| {
            *end.0.borrow_mut() = Pipe {
                sent: bytes.clone(),
                ..Pipe::default()
            };
            let mut cx = Context::from_waker(Waker::noop());
            for _ in 0..10 {
                if exchange.poll(&mut cx).is_ready() {
                    break;
                }
            }
            let pipe = end.0.borrow();
            let received = String::from_utf8_lossy(&pipe.received);
            let responses = received.matches("HTTP/1.1 200 OK").count();
            (pipe.reads, pipe.writes, responses)
        };
        turns.iter().map(turn).collect()
    })
}

#[test]
fn pipelined_responses_are_written_at_once_and_wait_for_no_further_head() {
    let get = b"GET /resource HTTP/1.1\r\nHost: test\r\n\r\n";
    let half = [&get.repeat(2)[..], &get[..10]].concat();
    let costs = costs(&[get.to_vec(), get.repeat(16), half]);
    assert_eq!(costs, [(1, 1, 1), (1, 1, 16), (1, 1, 2)]);
}

#[test]
fn long_head_is_read_at_once_where_another_has_come_before() {
    let mut head = b"GET /resource HTTP/1.1\r\nHost: test\r\nField: ".to_vec();
    head.resize(16_000 - 4, b'x');
    head.extend(b"\r\n\r\n");
    let costs = costs(&[head.clone(), head.clone(), head]);
    assert_eq!(costs[1..], [(1, 1, 1), (1, 1, 1)]);
}

/// hyper makes room for twice as much after a read that has filled its buffer, and for twice that where the
/// beginning of a head is left behind a request.
#[test]
fn buffers_stay_within_the_promised_memory_after_a_read_that_fills_them() {
    const PROMISED: u64 = 48 * 1024;
    let request = |len: usize| {
        let mut head = b"GET /resource HTTP/1.1\r\nHost: test\r\nField: ".to_vec();
        head.resize(len - 4, b'x');
        [&head[..], b"\r\n\r\n"].concat()
    };
    let burst = request(128).repeat(64);
    let rest = [&request(128)[..], &request(20_000)[..16_384 - 128]].concat();
    runtime().expect("a runtime").block_on(async {
        let engine = engine();
        let end = End::default();
        end.0.borrow_mut().sent.reserve(64 * 1024);
        end.0.borrow_mut().received.reserve(64 * 1024);
        let info = measure(|| {
            let begin = |unread| Exchange::new(end.clone(), PEER, Rc::clone(&engine), unread, None);
            let mut exchange = begin(Bytes::new());
            let mut cx = Context::from_waker(Waker::noop());
            for (bytes, is_blocked) in [(&burst, false), (&rest, true)] {
                end.0.borrow_mut().sent.extend_from_slice(bytes);
                end.0.borrow_mut().is_blocked = is_blocked;
                for _ in 0..10 {
                    if exchange.poll(&mut cx) == Poll::Ready(Event::Restart) {
                        let (_, unread) = exchange.into_parts();
                        // As the engine does: what is empty may still be the old buffer.
                        let is_empty = unread.is_empty();
                        exchange = begin(if is_empty { Bytes::new() } else { unread });
                    }
                }
            }
        });
        assert!(info.bytes_max < PROMISED, "{} bytes", info.bytes_max);
    });
}

/// The bytes that a server allocates if a client sends so many requests on one connection, after more
/// connections than a worker keeps buffers for have come and gone.
fn bytes_allocated(requests: u64) -> u64 {
    let runtime = runtime().expect("a runtime");
    let limits = Limits::default();
    let (server, listener) = runtime.block_on(async {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = listen(address, &limits).expect("a port");
        (Server::start(limits, worker, None, None).await, listener)
    });
    let address = listener.local_addr().expect("an address");
    let (shutdown, ends) = oneshot::channel::<()>();
    let client = thread::spawn(move || {
        for _ in 0..100 {
            Client::to(address).get();
        }
        let mut kept = Client::to(address);
        for _ in 0..requests {
            kept.get();
        }
        drop(shutdown);
    });
    let server = server.expect("a worker");
    let serve = server.serve(listener, async { drop(ends.await) });
    let info = measure(|| runtime.block_on(serve));
    client.join().expect("no panic");
    info.bytes_total
}

#[test]
fn active_connection_keeps_its_buffers() {
    const MORE: u64 = 100;
    let bytes = bytes_allocated(10 + MORE).saturating_sub(bytes_allocated(10));
    // hyper's read buffer alone has twice as many.
    assert!(bytes / MORE < 4096, "{} bytes per request", bytes / MORE);
}
