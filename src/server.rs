//! The connection engine: one listening socket, a bounded number of connections shared evenly by the
//! workers, a time limit on everything a client does, backpressure, graceful shutdown.
//!
//! It serves any hyper [`Service`], and knows neither routes nor tokens. Its parts:
//!
//! | module | |
//! |---|---|
//! | this one | the accept loop and the drain |
//! | `worker` | one worker thread |
//! | `room` | seats and places, and how the server makes room when they run out |
//! | `connection` | the life of one connection |
//! | `idle` | which connection is evicted first |
//! | [`exchange`] | one run of hyper over a connection |
//! | `in_flight` | one request, from dispatch to response |
//! | `closing` | which response is the last, and why |
#![doc = include_str!("server/review.md")]

use std::cell::Cell;
use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body, Bytes};
use hyper::http::Extensions;
use hyper::service::Service;
use hyper::{Method, Request, Response, StatusCode, Uri};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::log::Lines;

mod closing;
mod connection;
pub mod exchange;
mod idle;
mod in_flight;
mod room;
mod worker;

use closing::Closing;
pub use closing::LastResponse;
pub use in_flight::{Code, Content, StreamLimit};
use room::{Errors, Place, Room};
use worker::Hand;

/// The longest listen queue, in connections. The kernel may allow less.
const MAX_BACKLOG: u32 = 1024;

/// The kernel's send buffer per connection, in bytes. Linux doubles it, and reports a socket writable only
/// when a third of it is free: at the autotuned size of megabytes, a slow but steady reader would look
/// stalled for many seconds.
const SEND_BUFFER_LEN: u32 = 16 * 1024;

/// The kernel's receive buffer per connection, in bytes: four times the largest head. Linux doubles it too.
/// It bounds what a client makes the kernel hold.
const RECEIVE_BUFFER_LEN: u32 = 64 * 1024;

/// How long connections are still accepted after the shutdown signal. A load balancer may not know
/// about the shutdown yet.
const GRACE: Duration = Duration::from_millis(200);

/// How long a new connection may take to send something once the listener is closed. Its request may be
/// on its way.
const NEW_GRACE: Duration = Duration::from_millis(50);

/// How often the drain checks whether it is complete.
const DRAIN_INTERVAL: Duration = Duration::from_millis(5);

/// How long the drain waits for lingering connections once nothing is in flight. It is long enough for
/// a client to take its last response. A client that keeps sending cannot delay the exit beyond it.
const LINGER_GRACE: Duration = Duration::from_millis(200);

/// How long the accept loop waits after an error. A persistent error must not keep the CPU busy.
const ERROR_INTERVAL: Duration = Duration::from_millis(20);

/// The error number for too many open files in this process. It is the same on Linux and macOS.
const EMFILE: i32 = 24;

/// The initial size of hyper's read buffer, in bytes.
const HYPER_BUFFER_LEN: usize = 8 * 1024;

/// How many blocks of this size musl 1.2.5 requests from the OS at once.
const MUSL_GROUP_LEN: usize = 3;

/// Any error.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// What the engine serves: any hyper [`Service`] that takes requests with [`Content`]. Its futures and
/// bodies must be `Unpin`; `Box::pin` makes any future or body `Unpin`.
pub trait Application:
    Service<
        Request<Content>,
        Response = Response<<Self as Application>::Body>,
        Error: Into<BoxError>,
        Future: Unpin,
    > + 'static
{
    /// The content of its responses.
    type Body: Body<Data = Bytes, Error: Into<BoxError>> + Unpin + 'static;
}

impl<S, B> Application for S
where
    S: Service<Request<Content>, Response = Response<B>, Error: Into<BoxError>, Future: Unpin>
        + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin + 'static,
{
    type Body = B;
}

/// Concurrency and time limits.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Threads, each with a runtime of its own: 1 or more.
    pub workers: usize,
    /// Connections served at once, across all workers: 1 or more. The same number again may be new or
    /// waiting.
    pub max_connections: u32,
    /// How long a client may take to send one head, to send the content that a handler asked for, and
    /// to take one response or one part of a stream.
    pub step_timeout: Duration,
    /// How long a connection may be new or idle.
    pub idle_timeout: Duration,
    /// How long a handler may take to respond, not counting the time that it waits for content.
    pub answer_timeout: Duration,
    /// How long requests in flight may take after the shutdown signal.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    /// One worker and 1,024 connections. The timeouts are 10 s per step, 60 s idle, 30 s per handler
    /// and 8 s for the drain.
    fn default() -> Self {
        Self {
            workers: 1,
            max_connections: 1024,
            step_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            answer_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(8),
        }
    }
}

/// One response, for an access log.
#[derive(Debug)]
#[non_exhaustive]
pub struct Observed<'a> {
    /// The client's address.
    pub peer: SocketAddr,
    /// Method and target; `None` if hyper could not parse the request.
    pub request: Option<(&'a Method, &'a Uri)>,
    /// The status of the response.
    pub status: StatusCode,
    /// How long the request was in flight.
    pub took: Duration,
    /// The extensions of the response, set by the application or by the engine ([`Code`]).
    pub extensions: &'a Extensions,
}

/// Called for every response.
pub type Observer = Arc<dyn Fn(&Observed<'_>) + Send + Sync>;

/// What the requests of one worker share.
pub struct Engine<S> {
    service: S,
    limits: Limits,
    closing: Arc<Closing>,
    observer: Option<Observer>,
    errors: Option<Arc<Lines>>,
}

impl<S> fmt::Debug for Engine<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl<S> Engine<S> {
    /// Creates an engine without a server, an observer or a log, for an
    /// [`Exchange`](exchange::Exchange) over something other than a socket.
    pub fn new(service: S, limits: Limits) -> Self {
        Self {
            service,
            limits,
            closing: Arc::default(),
            observer: None,
            errors: None,
        }
    }

    /// Makes every response from now on the last on its connection, and ends streams.
    pub fn drain(&self) {
        self.closing.drain();
    }

    fn observe(&self, observed: &Observed<'_>) {
        if let Some(observer) = &self.observer {
            observer(observed);
        }
    }

    fn log(&self, line: &str) {
        if let Some(errors) = &self.errors {
            errors.push(line);
        }
    }
}

/// Creates the runtime of one thread.
///
/// # Errors
///
/// The OS error if the event loop cannot be created.
pub fn runtime() -> io::Result<LocalRuntime> {
    Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build_local(LocalOptions::default())
}

/// Listens on an address; port 0 lets the OS choose one. Call it inside a [`runtime`].
///
/// # Errors
///
/// The OS error. The most common one is that the address is in use.
pub fn listen(address: SocketAddr, limits: &Limits) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    // Lets a restarted server bind while its predecessor's connections are still closing.
    socket.set_reuseaddr(true)?;
    // Every accepted connection inherits these options. With `TCP_NODELAY`, a response does not wait
    // until the previous one is acknowledged.
    socket.set_nodelay(true)?;
    socket.set_send_buffer_size(SEND_BUFFER_LEN)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER_LEN)?;
    socket.bind(address)?;
    // Each queued connection can fill a receive buffer, so the queue is no longer than the number of seats.
    socket.listen(limits.max_connections.min(MAX_BACKLOG))
}

/// The accept loop and its workers.
pub struct Server<S> {
    limits: Limits,
    hands: Vec<Hand<S>>,
    room: Arc<Room>,
    errors: Errors,
    /// Never read or written: see [`spare_buffers`].
    _spare: Vec<Vec<u8>>,
}

impl<S> fmt::Debug for Server<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl<S: Application> Server<S> {
    /// Starts the workers. Each has a service of its own, made on its thread. Call it inside a [`runtime`],
    /// whose thread becomes the first worker.
    ///
    /// `errors` receives messages for the operator. `observer` is called for each response.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if the limits allow no worker or no connection. The OS error if a worker's thread
    /// or event loop cannot be created. Any error that `service` returns.
    pub async fn start(
        limits: Limits,
        service: impl Fn() -> io::Result<S> + Send + Sync + 'static,
        errors: Option<Arc<Lines>>,
        observer: Option<Observer>,
    ) -> io::Result<Self> {
        if limits.workers == 0 || limits.max_connections == 0 {
            let expected = "expected at least one worker and one connection";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, expected));
        }
        let closing: Arc<Closing> = Arc::default();
        let seats = usize::try_from(limits.max_connections).unwrap_or(usize::MAX);
        let seats = seats.min(tokio::sync::Semaphore::MAX_PERMITS);
        let room = Arc::new(Room::new(seats, Arc::clone(&closing)));
        let server_errors = Errors::new(errors.clone());
        let make = Arc::new(move || {
            Ok(Engine {
                service: service()?,
                limits,
                closing: Arc::clone(&closing),
                observer: observer.clone(),
                errors: errors.clone(),
            })
        });
        let mut hands = vec![Hand::here(make()?, Arc::clone(&room))];
        for _ in 1..limits.workers {
            let make = Arc::clone(&make);
            hands.push(Hand::there(move || make(), Arc::clone(&room)).await?);
        }
        Ok(Self {
            limits,
            hands,
            room,
            errors: server_errors,
            _spare: spare_buffers(limits.workers),
        })
    }

    /// Serves a listener until `shutdown` completes, then drains. Returns soon after the last served
    /// connection has ended, or when the drain timeout expires.
    pub async fn serve(self, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        let pending = Cell::new(None);
        let mut making_room = pin!(self.room.make(&self.hands, &self.errors));
        let deadline = {
            let mut accepting = pin!(self.accept(&listener, &pending));
            let mut shutdown = pin!(shutdown);
            poll_fn(|cx| {
                let _never = accepting.as_mut().poll(cx);
                let _never = making_room.as_mut().poll(cx);
                shutdown.as_mut().poll(cx)
            })
            .await;
            let deadline = after(Instant::now(), self.limits.drain_timeout);
            self.room.closing.drain();
            let mut grace = pin!(sleep(GRACE));
            poll_fn(|cx| {
                let _never = accepting.as_mut().poll(cx);
                let _never = making_room.as_mut().poll(cx);
                grace.as_mut().poll(cx)
            })
            .await;
            deadline
        };
        drop(listener);

        let mut drain = pin!(timeout_at(deadline, self.drain(pending.take())));
        poll_fn(|cx| {
            let _never = making_room.as_mut().poll(cx);
            drain.as_mut().poll(cx).map(|_| ())
        })
        .await;
    }

    /// Accepts connections and hands each one to the least-loaded worker. Runs forever. Cancel-safe: a
    /// connection that waits for a place is kept in `pending`.
    async fn accept(
        &self,
        listener: &TcpListener,
        pending: &Cell<Option<(TcpStream, SocketAddr)>>,
    ) {
        let mut inherits_nodelay = None;
        loop {
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                // The client went away before its connection was accepted.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {
                    sleep(Duration::from_millis(1)).await;
                    continue;
                }
                Err(error) => {
                    self.errors.accept(&error);
                    if error.raw_os_error() == Some(EMFILE) {
                        self.room.descriptor(&self.hands).await;
                    } else {
                        sleep(ERROR_INTERVAL).await;
                    }
                    continue;
                }
            };
            // A listener that [`listen`] did not create may lack `TCP_NODELAY`, and some systems do not
            // pass it on. On macOS, setting it fails if the client has already gone.
            let inherits = match inherits_nodelay {
                Some(inherits) => inherits,
                None => *inherits_nodelay.insert(stream.nodelay().unwrap_or(false)),
            };
            if !inherits && stream.set_nodelay(true).is_err() {
                continue;
            }
            if let Some(place) = self.room.free_place() {
                self.hand_over(stream, peer, place);
                continue;
            }
            pending.set(Some((stream, peer)));
            let place = self.room.place(&self.hands).await;
            if let (Some((stream, peer)), Some(place)) = (pending.take(), place) {
                self.hand_over(stream, peer, place);
            }
        }
    }

    fn hand_over(&self, stream: TcpStream, peer: SocketAddr, place: Place) {
        let least_loaded = self.hands.iter().min_by_key(|hand| hand.load());
        if let Some(hand) = least_loaded
            && let Err(error) = hand.serve(stream, peer, place)
        {
            self.errors.accept(&error);
        }
    }

    /// Serves the pending connection, closes new and idle ones, and waits until none is left. A
    /// lingering connection has nothing in flight, so it gets no more than [`LINGER_GRACE`].
    async fn drain(&self, pending: Option<(TcpStream, SocketAddr)>) {
        if let Some((stream, peer)) = pending
            && let Some(place) = self.room.place(&self.hands).await
        {
            self.hand_over(stream, peer, place);
        }
        sleep(NEW_GRACE).await;
        for hand in &self.hands {
            hand.close_all();
        }
        while !self.room.is_unused() {
            sleep(DRAIN_INTERVAL).await;
        }
        let _lingering = timeout(LINGER_GRACE, async {
            while !self.room.is_empty() {
                sleep(DRAIN_INTERVAL).await;
            }
        })
        .await;
    }
}

/// Allocates one block of the size of hyper's read buffer for each worker. musl gives a group of such blocks
/// back to the OS when none of them is in use, and requests it again for the next connection. One block of
/// each group stays in use, and the others are there for the workers. Without this, a connection with one
/// request costs 1.25 times the CPU time.
fn spare_buffers(workers: usize) -> Vec<Vec<u8>> {
    let mut buffers: Vec<_> = (0..workers * MUSL_GROUP_LEN)
        .map(|_| Vec::with_capacity(HYPER_BUFFER_LEN))
        .collect();
    let mut count = 0;
    buffers.retain(|_| {
        count += 1;
        count % MUSL_GROUP_LEN == 0
    });
    buffers
}

/// Returns the time `duration` after `start`. Longer than a century counts as a century, so the sum
/// cannot overflow.
fn after(start: Instant, duration: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 366 * 24 * 3600);
    start + duration.min(CENTURY)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::Full;
    use hyper::service::service_fn;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    type Failed = Box<dyn Error>;

    async fn start(limits: Limits) -> io::Result<Server<impl Application>> {
        let service = || {
            Ok(service_fn(|_| {
                std::future::ready(Ok::<_, Infallible>(Response::new(Full::from("yes"))))
            }))
        };
        Server::start(limits, service, None, None).await
    }

    #[test]
    fn server_without_workers_or_connections_does_not_start() -> Result<(), Failed> {
        runtime()?.block_on(async {
            for (workers, max_connections) in [(0, 1), (1, 0)] {
                let limits = Limits {
                    workers,
                    max_connections,
                    ..Limits::default()
                };
                let error = start(limits).await.err().map(|error| error.kind());
                assert_eq!(error, Some(io::ErrorKind::InvalidInput));
            }
            Ok(())
        })
    }

    #[test]
    fn server_with_the_longest_limits_serves_a_head_in_two_parts() -> Result<(), Failed> {
        let limits = Limits {
            max_connections: u32::MAX,
            step_timeout: Duration::MAX,
            idle_timeout: Duration::MAX,
            answer_timeout: Duration::MAX,
            drain_timeout: Duration::MAX,
            ..Limits::default()
        };
        runtime()?.block_on(async {
            let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0)), &limits)?;
            let address = listener.local_addr()?;
            let server = start(limits).await?;
            let client = async move {
                let mut stream = TcpStream::connect(address).await?;
                for part in ["GET / HTTP/1.1\r\nHo", "st: a\r\n\r\n"] {
                    stream.write_all(part.as_bytes()).await?;
                    sleep(Duration::from_millis(20)).await;
                }
                let mut beginning = [0; 15];
                stream.read_exact(&mut beginning).await?;
                assert_eq!(&beginning, b"HTTP/1.1 200 OK");
                Ok::<_, io::Error>(())
            };
            let (done, is_done) = tokio::sync::oneshot::channel();
            let client = tokio::task::spawn_local(async move {
                let result = client.await;
                let _ = done.send(());
                result
            });
            server.serve(listener, async { drop(is_done.await) }).await;
            Ok(client.await??)
        })
    }
}
