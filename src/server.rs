//! Accepting: one listening socket, a bounded number of connections, workers that share them
//! evenly, and an orderly end.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::connection::Connection;
use crate::idle::Idle;
use crate::log::Lines;
use crate::shared::Cached;
use crate::site::Site;

/// Connections that may wait to be accepted; the system may allow fewer.
const BACKLOG: u32 = 1024;

/// What the system keeps of answers that a client has not taken, in bytes; Linux doubles it. It
/// says that there is room again when a third is free: with the megabytes that it takes by itself,
/// a client that reads steadily would be seen to take nothing for many seconds.
const SEND_BUFFER_LEN: u32 = 16 * 1024;

/// What the system keeps of requests that are not read yet, in bytes; Linux doubles this too. Four of
/// the largest heads, so that what a client makes the kernel hold is bounded as well.
const RECEIVE_BUFFER_LEN: u32 = 64 * 1024;

/// How long connections are still accepted after the signal to end: a load balancer may not have
/// heard of it yet.
const GRACE: Duration = Duration::from_millis(200);

/// How often quiet connections are looked through for those whose time is up.
const SWEEP_INTERVAL: Duration = Duration::from_millis(250);

/// How often, at the limit of connections or of file descriptors, it is tried again to make room
/// when there is none.
const ROOM_INTERVAL: Duration = Duration::from_millis(20);

/// How long a connection that was asked to close may take before another one is asked: it may have
/// had unread bytes.
const CLOSING_TIMEOUT: Duration = Duration::from_millis(50);

/// How long a connection that was asked to close may take before its descriptor is looked for.
const CLOSING_INTERVAL: Duration = Duration::from_millis(2);

/// The most often that a failure to accept is logged.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// How much may go on at once, and how it ends.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Threads, each with a runtime of its own; 0 counts as 1.
    pub workers: usize,
    /// Connections served at once, over all workers.
    pub max_connections: u32,
    /// How long requests in flight may take after the signal to end.
    pub drain_timeout: Duration,
}

/// The runtime of one thread.
///
/// # Errors
///
/// The system's, if it cannot give the event loop what it needs.
pub fn runtime() -> io::Result<LocalRuntime> {
    Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build_local(LocalOptions::default())
}

/// Listens on an address; port 0 lets the system choose. Call it inside a [`runtime`].
///
/// # Errors
///
/// The system's: above all, that the address is in use.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    // A restart need not wait for the last connections of the one before.
    socket.set_reuseaddr(true)?;
    // Every connection inherits them.
    socket.set_send_buffer_size(SEND_BUFFER_LEN)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER_LEN)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Workers that serve, and what it takes to hand connections to them.
pub struct Server {
    limits: Limits,
    site: Arc<Site>,
    workers: Vec<Worker>,
    seats: Arc<Semaphore>,
    /// A connection that is accepted and waits for room.
    in_hand: Option<(std::net::TcpStream, SocketAddr)>,
    errors: Arc<Lines>,
    logged: Option<Instant>,
}

/// The acceptor's end of a worker.
struct Worker {
    commands: UnboundedSender<Command>,
    connections: Arc<AtomicUsize>,
}

enum Command {
    Serve(std::net::TcpStream, SocketAddr, Seat),
    LongestIdle(oneshot::Sender<Option<Instant>>),
    CloseLongestIdle,
    CloseIdle,
}

/// One of the connections that may be served at once; to drop it makes room.
struct Seat {
    connections: Arc<AtomicUsize>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Server {
    /// Starts the workers. Call it inside a [`runtime`], whose thread is the first of them.
    ///
    /// # Errors
    ///
    /// The system's, if it has no threads or no descriptors for the others.
    pub async fn start(limits: Limits, site: Arc<Site>, errors: Arc<Lines>) -> io::Result<Self> {
        let seats = usize::try_from(limits.max_connections).unwrap_or(Semaphore::MAX_PERMITS);
        Ok(Self {
            limits,
            workers: start_workers(limits.workers, &site).await?,
            site,
            seats: Arc::new(Semaphore::new(seats)),
            in_hand: None,
            errors,
            logged: None,
        })
    }

    /// Serves a listener until `shutdown`, and then until the requests in flight are answered or
    /// the drain timeout is over.
    pub async fn serve(mut self, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        {
            let mut shutdown = pin!(shutdown);
            let mut accepting = pin!(self.run(&listener));
            poll_fn(|cx| {
                let _never = accepting.as_mut().poll(cx);
                shutdown.as_mut().poll(cx)
            })
            .await;
        }

        let deadline = Instant::now() + self.limits.drain_timeout;
        self.site.closing.close_all();
        let _never = timeout(GRACE, self.run(&listener)).await;
        drop(listener);
        let _late = timeout_at(deadline, self.drain()).await;
    }

    /// Never ends; may be dropped at any point without losing a connection.
    async fn run(&mut self, listener: &TcpListener) {
        loop {
            if self.in_hand.is_none() {
                self.in_hand = Some(self.accept(listener).await);
            }
            self.seat().await;
        }
    }

    /// Serves what is in hand, then closes idle connections and waits until none is left.
    async fn drain(&mut self) {
        if self.in_hand.is_some() {
            self.seat().await;
        }
        for worker in &self.workers {
            // An error would mean that the worker is gone, and with it its connections.
            let _ = worker.commands.send(Command::CloseIdle);
        }
        let _closed = self.seats.acquire_many(self.limits.max_connections).await;
    }

    async fn accept(&mut self, listener: &TcpListener) -> (std::net::TcpStream, SocketAddr) {
        loop {
            match listener.accept().await.and_then(prepare) {
                Ok(connection) => return connection,
                Err(error) if is_the_clients(&error) => {}
                // Out of descriptors or memory, most likely: closing a connection helps, and so
                // does waiting.
                Err(error) => {
                    self.log(&error);
                    let pause = if self.make_room().await {
                        CLOSING_INTERVAL
                    } else {
                        self.site.closing.close_next(true);
                        ROOM_INTERVAL
                    };
                    sleep(pause).await;
                }
            }
        }
    }

    /// Hands the connection in hand to the worker that has the fewest, when there is room for it.
    async fn seat(&mut self) {
        let mut nobody_rests = false;
        let permit = loop {
            if let Ok(permit) = Arc::clone(&self.seats).try_acquire_owned() {
                break permit;
            }
            let patience = if self.make_room().await {
                CLOSING_TIMEOUT
            } else {
                // Whoever was only quiet for a moment rests by the second time.
                self.site.closing.close_next(nobody_rests);
                nobody_rests = true;
                ROOM_INTERVAL
            };
            let permit = timeout(patience, Arc::clone(&self.seats).acquire_owned()).await;
            if let Ok(Ok(permit)) = permit {
                break permit;
            }
        };
        self.site.closing.close_next(false);
        let worker = self
            .workers
            .iter()
            .min_by_key(|worker| worker.connections.load(Ordering::Relaxed));
        if let (Some(worker), Some((stream, peer))) = (worker, self.in_hand.take()) {
            worker.connections.fetch_add(1, Ordering::Relaxed);
            let seat = Seat {
                connections: Arc::clone(&worker.connections),
                _permit: permit,
            };
            let _ = worker.commands.send(Command::Serve(stream, peer, seat));
        }
    }

    /// Asks the connection to close that has been idle longest; whether there is one.
    async fn make_room(&self) -> bool {
        let mut longest: Option<(Instant, &Worker)> = None;
        for worker in &self.workers {
            let (reply, answer) = oneshot::channel();
            let _ = worker.commands.send(Command::LongestIdle(reply));
            if let Ok(Some(since)) = answer.await
                && longest.is_none_or(|(longest, _)| since < longest)
            {
                longest = Some((since, worker));
            }
        }
        longest.is_some_and(|(_, worker)| worker.commands.send(Command::CloseLongestIdle).is_ok())
    }

    fn log(&mut self, error: &io::Error) {
        if self
            .logged
            .is_none_or(|logged| logged.elapsed() >= LOG_INTERVAL)
        {
            self.logged = Some(Instant::now());
            self.errors
                .push(&format!("cannot accept a connection: {error}"));
        }
    }
}

/// Takes the stream out of this thread's event loop, as it may go to another's, and turns off
/// Nagle's algorithm: an answer is written at once, and the next one must not wait for its
/// acknowledgement.
fn prepare(
    (stream, peer): (TcpStream, SocketAddr),
) -> io::Result<(std::net::TcpStream, SocketAddr)> {
    stream.set_nodelay(true)?;
    Ok((stream.into_std()?, peer))
}

/// Whether only one client is concerned, who went away before it was accepted. (macOS says `EINVAL`
/// to options for such a one.)
fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, InvalidInput};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | Interrupted | InvalidInput
    )
}

/// The first worker runs on this thread, each other on one of its own.
async fn start_workers(count: usize, site: &Arc<Site>) -> io::Result<Vec<Worker>> {
    let (first, commands) = worker();
    drop(tokio::task::spawn_local(work(commands, Arc::clone(site))));
    let mut workers = vec![first];
    for _ in 1..count {
        let (worker, commands) = worker();
        let site = Arc::clone(site);
        let (report, started) = oneshot::channel();
        thread::Builder::new()
            .name("worker".into())
            .spawn(move || match runtime() {
                Ok(runtime) => {
                    drop(report);
                    runtime.block_on(work(commands, site));
                }
                // Nobody is waiting only if the program is about to end.
                Err(error) => drop(report.send(error)),
            })?;
        if let Ok(error) = started.await {
            return Err(error);
        }
        workers.push(worker);
    }
    Ok(workers)
}

fn worker() -> (Worker, UnboundedReceiver<Command>) {
    let (commands, receiver) = unbounded_channel();
    (
        Worker {
            commands,
            connections: Arc::default(),
        },
        receiver,
    )
}

/// Serves the connections it is given, and looks after those that wait, until the acceptor is gone.
async fn work(mut commands: UnboundedReceiver<Command>, site: Arc<Site>) {
    let idle = Rc::new(Idle::default());
    let verifier = Rc::new(Cached::new(Arc::clone(&site.verifier)));
    let mut next_sweep = Instant::now();
    loop {
        // Each connection has its share of `idle`: without any there is nothing to look through,
        // and no reason to wake up.
        let command = if Rc::strong_count(&idle) == 1 {
            commands.recv().await
        } else {
            let Ok(command) = timeout_at(next_sweep, commands.recv()).await else {
                let now = Instant::now();
                idle.sweep(now, site.idle_timeout);
                next_sweep = now + SWEEP_INTERVAL;
                continue;
            };
            command
        };
        match command {
            Some(Command::Serve(stream, peer, seat)) => {
                let (site, verifier) = (Arc::clone(&site), Rc::clone(&verifier));
                let connection = Connection::new(peer, site, verifier, Rc::clone(&idle), seat);
                tokio::task::spawn_local(Box::new(connection).serve(stream));
            }
            Some(Command::LongestIdle(reply)) => {
                let _ = reply.send(idle.longest());
            }
            Some(Command::CloseLongestIdle) => idle.close_longest(),
            Some(Command::CloseIdle) => idle.close_all(),
            None => return,
        }
    }
}
