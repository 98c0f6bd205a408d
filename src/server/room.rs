//! Seats and places, and how the server makes room when they run out.
//!
//! A connection that is being served has a seat. A connection that is new or waits for a seat has a
//! place. There are as many places as seats. While connections wait, the server makes room in this
//! order: it closes the longest-idle connection; it cuts the head that has been arriving longest; it
//! adds `Connection: close` to some of the next responses.
//!
//! A lingering connection gives up its seat, unless the number of connections that linger without one
//! has reached the number of seats. In that case it keeps its seat; while others wait, the
//! longest-lingering connection is reset first.

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

/// How often to look for room while no connection can be evicted.
const ROOM_INTERVAL: Duration = Duration::from_millis(20);

/// How long an evicted connection may take to close before the next one is evicted. It does not close if
/// it has unread bytes.
const CLOSING_TIMEOUT: Duration = Duration::from_millis(50);

/// In each [`ROOM_INTERVAL`], one busy connection is closed after its next response for every this many
/// waiting connections, rounded up. At this ratio all waiting connections are served within about a second, and few
/// busy ones are closed.
const WAITING_PER_WANTED: usize = 50;

/// The shortest time between two lines of the same kind.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// The right to be served. Dropping it frees the seat.
pub(crate) struct Seat {
    _permit: OwnedSemaphorePermit,
}

/// The right to be new, or to wait for a seat.
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
}

/// The right to linger without a seat.
pub(crate) struct Right {
    _permit: OwnedSemaphorePermit,
}

/// The seats and places of a server, and what closes connections to make room.
pub(crate) struct Room {
    seats: Arc<Semaphore>,
    places: Arc<Semaphore>,
    max: usize,
    waiting: AtomicUsize,
    rights: Arc<Semaphore>,
    /// Lingering connections that have kept their seats.
    seated_lingering: AtomicUsize,
    /// Notified when `waiting` or `seated_lingering` changes.
    changed: Notify,
    pub(crate) closing: Arc<Closing>,
}

impl Room {
    /// Creates a room with `max` seats, 1 or more.
    pub(crate) fn new(max: usize, closing: Arc<Closing>) -> Self {
        Self {
            seats: Arc::new(Semaphore::new(max)),
            places: Arc::new(Semaphore::new(max)),
            max,
            waiting: AtomicUsize::new(0),
            rights: Arc::new(Semaphore::new(max)),
            seated_lingering: AtomicUsize::new(0),
            changed: Notify::new(),
            closing,
        }
    }

    /// Returns a seat if one is free and no connection waits for it.
    pub(crate) fn free_seat(&self) -> Option<Seat> {
        let permit = Arc::clone(&self.seats).try_acquire_owned().ok()?;
        Some(Seat { _permit: permit })
    }

    /// Waits for a seat, in the order of arrival. Never `None`, because the semaphore is never closed.
    pub(crate) async fn seat(&self) -> Option<Seat> {
        let _counted = self.count(&self.waiting);
        let permit = Arc::clone(&self.seats).acquire_owned().await.ok()?;
        Some(Seat { _permit: permit })
    }

    /// Returns a place if one is free.
    pub(crate) fn free_place(&self) -> Option<Place> {
        let permit = Arc::clone(&self.places).try_acquire_owned().ok()?;
        Some(Place { _permit: permit })
    }

    /// Waits for a place, and evicts new connections to free one.
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

    /// Returns a right to linger without a seat, if one is free. There are as many as seats.
    pub(crate) fn free_right(&self) -> Option<Right> {
        let permit = Arc::clone(&self.rights).try_acquire_owned().ok()?;
        Some(Right { _permit: permit })
    }

    /// Waits for a right to linger without a seat. The connection keeps its seat until another one
    /// stops lingering. Evicting that one at once would lose responses that its client has not taken
    /// yet.
    pub(crate) async fn right(&self) -> Option<Right> {
        let _counted = self.count(&self.seated_lingering);
        let permit = Arc::clone(&self.rights).acquire_owned().await.ok()?;
        Some(Right { _permit: permit })
    }

    /// Adds one to a count for as long as the result lives.
    fn count<'r>(&'r self, count: &'r AtomicUsize) -> Counted<'r> {
        count.fetch_add(1, Ordering::Relaxed);
        self.changed.notify_one();
        Counted {
            count,
            changed: &self.changed,
        }
    }

    /// Makes room while connections wait. Runs forever. Cancel-safe: dropping it loses no connection.
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
                    // A connection that has only just become idle may be evicted on the second pass.
                    // Busy connections are asked to close only then.
                    if has_looked {
                        errors.full(self.max, waiting);
                        self.closing.want(waiting.div_ceil(WAITING_PER_WANTED));
                    }
                    has_looked = true;
                    ROOM_INTERVAL
                };
                let deadline = Instant::now() + patience;
                // A freed seat goes to a waiting connection, so wait until there is one less.
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

    /// Makes room for a descriptor, and waits until one may be free.
    pub(crate) async fn descriptor<S: Application>(&self, hands: &[Hand<S>]) {
        if !evict(hands, Need::Descriptor).await {
            self.closing.want(1);
        }
        sleep(ROOM_INTERVAL).await;
    }

    /// Returns whether no connection is new, waiting, served or lingering.
    pub(crate) fn is_empty(&self) -> bool {
        self.is_unused() && self.rights.available_permits() == self.max
    }

    /// Returns whether no connection is new, waiting or served. Lingering ones do not count.
    pub(crate) fn is_unused(&self) -> bool {
        let lingering = self.seated_lingering.load(Ordering::Relaxed);
        self.seats.available_permits() + lingering >= self.max
            && self.places.available_permits() == self.max
    }
}

/// One connection in a count of the [`Room`].
struct Counted<'r> {
    count: &'r AtomicUsize,
    changed: &'r Notify,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
        self.changed.notify_one();
    }
}

/// Evicts the best candidate of all workers. Returns whether there was one.
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

/// Lines for the operator, each kind at most once per [`LOG_INTERVAL`].
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

    /// Logs that a connection could not be accepted.
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
