//! One thread of the server: its connections, and the acceptor's handle to it.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Notify, oneshot};
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep};

use super::connection::Connection;
use super::idle::{Candidate, Idle, Need};
use super::room::{Place, Room};
use super::{Application, Engine, Limits, runtime};

/// The longest time between two sweeps. A sweep finds the connections whose time is up.
const SWEEP_INTERVAL: Duration = Duration::from_millis(250);

/// The shortest time between two sweeps.
const MIN_SWEEP_INTERVAL: Duration = Duration::from_millis(20);

/// What the connections of one thread share.
pub(crate) struct Worker<S> {
    pub(crate) engine: Rc<Engine<S>>,
    pub(crate) idle: Idle,
    pub(crate) room: Arc<Room>,
    connections: Arc<AtomicUsize>,
    /// Notified when a connection arrives, so that sweeping resumes.
    arrived: Notify,
}

impl<S: Application> Worker<S> {
    fn new(engine: Engine<S>, room: Arc<Room>, connections: Arc<AtomicUsize>) -> Rc<Self> {
        let worker = Rc::new(Self {
            engine: Rc::new(engine),
            idle: Idle::default(),
            room,
            connections,
            arrived: Notify::new(),
        });
        spawn_local(Rc::clone(&worker).sweep());
        worker
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.engine.limits
    }

    fn serve(self: Rc<Self>, stream: TcpStream, peer: SocketAddr, place: Place, load: Load) {
        self.arrived.notify_one();
        let mut connection = Connection::new(stream, peer, self, load);
        spawn_local(async move { connection.serve(place).await });
    }

    /// Sweeps while there are connections, and does not wake up while there are none. A time limit of
    /// [`SWEEP_INTERVAL`] or more is enforced to within [`MIN_SWEEP_INTERVAL`].
    async fn sweep(self: Rc<Self>) {
        let mut interval = SWEEP_INTERVAL;
        loop {
            while self.connections.load(Ordering::Relaxed) == 0 {
                self.arrived.notified().await;
            }
            sleep(interval).await;
            let now = Instant::now();
            let limits = self.limits();
            let next = self
                .idle
                .sweep(now, limits.idle_timeout, limits.step_timeout);
            interval = next.map_or(SWEEP_INTERVAL, |next| {
                next.saturating_duration_since(now)
                    .clamp(MIN_SWEEP_INTERVAL, SWEEP_INTERVAL)
            });
        }
    }

    /// Executes the acceptor's commands until the acceptor is gone.
    async fn follow(self: Rc<Self>, mut commands: UnboundedReceiver<Command>) {
        while let Some(command) = commands.recv().await {
            match command {
                Command::Serve(stream, peer, place, load) => {
                    // An error means that the event loop cannot register the stream. The connection
                    // closes.
                    if let Ok(stream) = TcpStream::from_std(stream) {
                        Rc::clone(&self).serve(stream, peer, place, load);
                    }
                }
                Command::Candidate(need, reply) => {
                    let _ = reply.send(self.idle.candidate(need));
                }
                Command::Evict(need) => {
                    self.idle.evict(need);
                }
                Command::CloseAll => self.idle.close_all(),
            }
        }
    }
}

enum Command {
    Serve(std::net::TcpStream, SocketAddr, Place, Load),
    Candidate(Need, oneshot::Sender<Option<Candidate>>),
    Evict(Need),
    CloseAll,
}

/// One connection in its worker's count. The counts show which worker is the least loaded.
pub(crate) struct Load(Arc<AtomicUsize>);

impl Drop for Load {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The acceptor's handle to a worker. It calls the worker on its own thread directly, and sends
/// commands to the others.
pub(crate) struct Hand<S> {
    to: To<S>,
    connections: Arc<AtomicUsize>,
}

enum To<S> {
    Here(Rc<Worker<S>>),
    There(UnboundedSender<Command>),
}

impl<S: Application> Hand<S> {
    /// Starts a worker on this thread.
    pub(crate) fn here(engine: Engine<S>, room: Arc<Room>) -> Self {
        let connections = Arc::default();
        Self {
            to: To::Here(Worker::new(engine, room, Arc::clone(&connections))),
            connections,
        }
    }

    /// Starts a worker on a thread of its own.
    ///
    /// # Errors
    ///
    /// The OS error if the thread or its event loop cannot be created. Any error that `make` returns.
    pub(crate) async fn there(
        make: impl FnOnce() -> io::Result<Engine<S>> + Send + 'static,
        room: Arc<Room>,
    ) -> io::Result<Self> {
        let connections: Arc<AtomicUsize> = Arc::default();
        let count = Arc::clone(&connections);
        let (sender, commands) = unbounded_channel();
        let (report, started) = oneshot::channel();
        thread::Builder::new()
            .name("worker".into())
            .spawn(move || {
                let started = runtime().and_then(|runtime| {
                    let engine = runtime.block_on(async { make() })?;
                    Ok((runtime, engine))
                });
                match started {
                    Ok((runtime, engine)) => {
                        drop(report);
                        runtime.block_on(async {
                            Worker::new(engine, room, count).follow(commands).await;
                        });
                    }
                    // The receiver is gone only if the program is already exiting.
                    Err(error) => drop(report.send(error)),
                }
            })?;
        match started.await {
            Ok(error) => Err(error),
            Err(_) => Ok(Self {
                to: To::There(sender),
                connections,
            }),
        }
    }

    pub(crate) fn load(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Hands over a connection.
    ///
    /// # Errors
    ///
    /// The OS error if the stream cannot leave this thread's event loop. An error if the worker is
    /// gone.
    pub(crate) fn serve(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        place: Place,
    ) -> io::Result<()> {
        self.connections.fetch_add(1, Ordering::Relaxed);
        let load = Load(Arc::clone(&self.connections));
        match &self.to {
            To::Here(worker) => Rc::clone(worker).serve(stream, peer, place, load),
            To::There(commands) => {
                let serve = Command::Serve(stream.into_std()?, peer, place, load);
                commands
                    .send(serve)
                    .map_err(|_| io::Error::other("a worker is gone"))?;
            }
        }
        Ok(())
    }

    /// Returns the best connection to evict, if there is one.
    pub(crate) async fn candidate(&self, need: Need) -> Option<Candidate> {
        match &self.to {
            To::Here(worker) => worker.idle.candidate(need),
            To::There(commands) => {
                let (reply, candidate) = oneshot::channel();
                commands.send(Command::Candidate(need, reply)).ok()?;
                candidate.await.ok()?
            }
        }
    }

    /// Evicts the best connection. Returns whether there may have been one.
    pub(crate) fn evict(&self, need: Need) -> bool {
        match &self.to {
            To::Here(worker) => worker.idle.evict(need),
            To::There(commands) => commands.send(Command::Evict(need)).is_ok(),
        }
    }

    /// Closes every new or idle connection, now and from now on.
    pub(crate) fn close_all(&self) {
        match &self.to {
            To::Here(worker) => worker.idle.close_all(),
            // An error means that the worker is gone, and its connections with it.
            To::There(commands) => drop(commands.send(Command::CloseAll)),
        }
    }
}
