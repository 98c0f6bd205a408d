//! Seats, the places beside them, and how room is made when they run out.
//!
//! A connection that is served has a seat. One that is new, or waits for a seat, has a place; there are
//! as many places as seats. While connections wait, the room is made for them in this order: the
//! longest-idle connection is closed; the head that has been arriving longest is cut; some of the next
//! responses say `Connection: close`.
//!
//! A lingering connection gives its seat up, unless as many linger already as there are seats: then it
//! keeps its seat, and the longest-lingering connection is reset once others wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout};

use super::Application;
use super::closing::Closing;
use super::idle::Need;
use super::worker::Hand;
use crate::log::Lines;

/// How often room is looked for while no connection may be evicted.
const ROOM_INTERVAL: Duration = Duration::from_millis(20);

/// How long an evicted connection may take to close before another one is evicted: it may have had
/// unread bytes.
const CLOSING_TIMEOUT: Duration = Duration::from_millis(50);

/// For every so many waiting connections, one response gives up its seat at each [`ROOM_INTERVAL`]: all
/// are served within about a second, and few connections are closed for it.
const WAITING_PER_WANTED: usize = 50;

/// The most often that a full server says so.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// The right to be served; to drop it makes room.
pub(crate) struct Seat {
    _permit: OwnedSemaphorePermit,
}

/// The right to wait beside the seats.
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
}

/// The seats and places of a server, and the reasons to close that concern all its connections.
pub(crate) struct Room {
    seats: Arc<Semaphore>,
    places: Arc<Semaphore>,
    max: usize,
    waiting: AtomicUsize,
    lingering: Arc<Semaphore>,
    /// Connections that linger and have kept their seats.
    seated_lingering: AtomicUsize,
    /// A connection has begun or ceased to wait for a seat.
    changed: Notify,
    pub(crate) closing: Arc<Closing>,
}

impl Room {
    /// With `max` seats, 1 or more.
    pub(crate) fn new(max: usize, closing: Arc<Closing>) -> Self {
        Self {
            seats: Arc::new(Semaphore::new(max)),
            places: Arc::new(Semaphore::new(max)),
            max,
            waiting: AtomicUsize::new(0),
            lingering: Arc::new(Semaphore::new(max)),
            seated_lingering: AtomicUsize::new(0),
            changed: Notify::new(),
            closing,
        }
    }

    /// A seat, if one is free and none waits for it.
    pub(crate) fn free_seat(&self) -> Option<Seat> {
        let permit = Arc::clone(&self.seats).try_acquire_owned().ok()?;
        Some(Seat { _permit: permit })
    }

    /// Waits for a seat, in the order of arrival. `None` if there is no server any more.
    pub(crate) async fn seat(&self) -> Option<Seat> {
        let _waiting = Waiting::new(self);
        let permit = Arc::clone(&self.seats).acquire_owned().await.ok()?;
        Some(Seat { _permit: permit })
    }

    /// A place, if one is free.
    pub(crate) fn free_place(&self) -> Option<Place> {
        let permit = Arc::clone(&self.places).try_acquire_owned().ok()?;
        Some(Place { _permit: permit })
    }

    /// Waits for a place, and makes room for one.
    pub(crate) async fn place<S: Application>(&self, hands: &[Hand<S>]) -> Option<Place> {
        loop {
            if let Some(place) = self.free_place() {
                return Some(place);
            }
            evict(hands, Need::Place).await;
            let place = Arc::clone(&self.places).acquire_owned();
            match timeout(ROOM_INTERVAL, place).await {
                Ok(Ok(permit)) => return Some(Place { _permit: permit }),
                Ok(Err(_)) => return None,
                Err(_) => {}
            }
        }
    }

    /// Gives up a seat for the right to linger. As many connections linger as there are seats: another
    /// one keeps its seat until one of them is gone. To evict one at once would lose responses that
    /// its client has not taken yet.
    pub(crate) async fn linger(&self, seat: Seat) -> Option<Lingering> {
        let rights = Arc::clone(&self.lingering);
        let right = if let Ok(right) = Arc::clone(&rights).try_acquire_owned() {
            right
        } else {
            let _counted = Counted::new(&self.seated_lingering);
            rights.acquire_owned().await.ok()?
        };
        drop(seat);
        Some(Lingering { _right: right })
    }

    /// Makes room for as long as connections wait. Runs forever. Cancel-safe: dropping it loses no
    /// connection.
    pub(crate) async fn make<S: Application>(&self, hands: &[Hand<S>], errors: &Errors) {
        loop {
            let mut has_looked = false;
            while self.waiting.load(Ordering::Relaxed) > 0 {
                let waiting = self.waiting.load(Ordering::Relaxed);
                let is_lingering = self.seated_lingering.load(Ordering::Relaxed) > 0;
                let patience = if is_lingering && evict(hands, Need::Lingering).await
                    || evict(hands, Need::Seat).await
                {
                    errors.full(self.max, waiting);
                    CLOSING_TIMEOUT
                } else {
                    // A connection idle for less than its rest counts on the second pass. Only then
                    // is a busy one asked to close.
                    if has_looked {
                        errors.full(self.max, waiting);
                        self.closing.want(waiting.div_ceil(WAITING_PER_WANTED));
                    }
                    has_looked = true;
                    ROOM_INTERVAL
                };
                let deadline = Instant::now() + patience;
                // A seat that was given up has gone to a connection that waited.
                while self.waiting.load(Ordering::Relaxed) >= waiting
                    && timeout(
                        deadline.saturating_duration_since(Instant::now()),
                        self.changed.notified(),
                    )
                    .await
                    .is_ok()
                {}
            }
            self.closing.want(0);
            self.changed.notified().await;
        }
    }

    /// Makes room for a descriptor, and waits until there may be one.
    pub(crate) async fn descriptor<S: Application>(&self, hands: &[Hand<S>]) {
        if !evict(hands, Need::Descriptor).await {
            self.closing.want(1);
        }
        sleep(ROOM_INTERVAL).await;
    }

    /// Whether no connection is served or waits, and none lingers.
    pub(crate) fn is_empty(&self) -> bool {
        self.is_unused() && self.lingering.available_permits() == self.max
    }

    /// Whether no connection is served or waits.
    pub(crate) fn is_unused(&self) -> bool {
        let lingering = self.seated_lingering.load(Ordering::Relaxed);
        self.seats.available_permits() + lingering >= self.max
            && self.places.available_permits() == self.max
    }
}

/// The right to linger without a seat.
pub(crate) struct Lingering {
    _right: OwnedSemaphorePermit,
}

/// A connection that waits for a seat, for as long as this lives.
struct Waiting<'r>(&'r Room);

impl<'r> Waiting<'r> {
    fn new(room: &'r Room) -> Self {
        room.waiting.fetch_add(1, Ordering::Relaxed);
        room.changed.notify_one();
        Self(room)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
        self.0.changed.notify_one();
    }
}

/// One more, for as long as this lives.
struct Counted<'r>(&'r AtomicUsize);

impl<'r> Counted<'r> {
    fn new(count: &'r AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Evicts the best connection of all workers. Returns whether there is one.
async fn evict<S: Application>(hands: &[Hand<S>], need: Need) -> bool {
    let mut best = None;
    for hand in hands {
        if let Some(candidate) = hand.candidate(need).await
            && best.is_none_or(|(best, _)| candidate < best)
        {
            best = Some((candidate, hand));
        }
    }
    best.is_some_and(|(_, hand)| hand.evict(need))
}

/// Lines for the operator, each kind at most once a second.
pub(crate) struct Errors {
    lines: Option<Arc<Lines>>,
    full: std::cell::Cell<Option<Instant>>,
    accept: std::cell::Cell<Option<Instant>>,
}

impl Errors {
    pub(crate) fn new(lines: Option<Arc<Lines>>) -> Self {
        Self {
            lines,
            full: std::cell::Cell::new(None),
            accept: std::cell::Cell::new(None),
        }
    }

    /// A connection could not be accepted.
    pub(crate) fn accept(&self, error: &std::io::Error) {
        self.log(&self.accept, || {
            format!("cannot accept a connection: {error}")
        });
    }

    fn full(&self, max: usize, waiting: usize) {
        self.log(&self.full, || {
            format!("API_MAX_CONNECTIONS is reached: {max} connections served, {waiting} waiting")
        });
    }

    fn log(&self, last: &std::cell::Cell<Option<Instant>>, line: impl FnOnce() -> String) {
        if let Some(lines) = &self.lines
            && last.get().is_none_or(|last| last.elapsed() >= LOG_INTERVAL)
        {
            last.set(Some(Instant::now()));
            lines.push(&line());
        }
    }
}
