//! The connections of one worker, by what they are doing: which one has been idle longest, and which one
//! may be evicted.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use tokio::time::Instant;

use super::after;

/// The most warm connections per worker. Each keeps hyper and its buffers, about 18 KiB. Giving them up
/// after every response would cost an active connection a sixth of its throughput.
const MAX_WARM: usize = 64;

/// How long an idle connection may stay warm.
const WARM_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a connection must have been idle before it may be evicted. The next request of an active
/// client may be on its way.
const MIN_IDLE_TIME: Duration = Duration::from_millis(10);

/// How long a head must have been arriving before its connection may be evicted.
const MIN_HEAD_TIME: Duration = Duration::from_secs(1);

/// How long a connection must have been new before it may be evicted. New connections that send nothing
/// can fill the places only if they arrive at a rate of more than twice the number of places per
/// second.
const MIN_NEW_TIME: Duration = Duration::from_millis(500);

/// How long a connection must have been lingering before it may be evicted. Its last responses may be on
/// their way.
const MIN_LINGER_TIME: Duration = Duration::from_millis(200);

/// What a connection is doing. [`connection`](super::connection) has the whole picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    /// Has sent nothing yet.
    New,
    /// In the middle of a request or a response, or waiting for a seat.
    Busy,
    /// In the middle of a request head.
    Head,
    /// Idle, with its buffers.
    Warm,
    /// Idle, without buffers.
    Parked,
    /// Closed for writing. What the client still sends is read and discarded.
    Lingering,
}

/// What another connection needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// A seat: the right to be served.
    Seat,
    /// A place: the right to be new, or to wait for a seat.
    Place,
    /// The right to linger without a seat.
    Lingering,
    /// A file descriptor.
    Descriptor,
}

impl Need {
    /// The states in which a connection may be evicted for this need, first choice first, each with the
    /// time that the connection must have been in it.
    fn choices(self) -> &'static [(&'static [State], Duration)] {
        const IDLE: (&[State], Duration) = (&[State::Warm, State::Parked], MIN_IDLE_TIME);
        const HEAD: (&[State], Duration) = (&[State::Head], MIN_HEAD_TIME);
        const NEW: (&[State], Duration) = (&[State::New], MIN_NEW_TIME);
        const LINGERING: (&[State], Duration) = (&[State::Lingering], MIN_LINGER_TIME);
        match self {
            Self::Seat => &[IDLE, HEAD],
            Self::Place => &[NEW],
            Self::Lingering => &[LINGERING],
            Self::Descriptor => &[LINGERING, IDLE, NEW, HEAD],
        }
    }
}

/// What a worker knows about one connection.
pub(crate) struct Slot {
    id: u64,
    state: Cell<State>,
    /// When it entered this state.
    since: Cell<Instant>,
    /// Whether it is one of the [`MAX_WARM`] that keep their buffers. It stays one while it is busy.
    is_kept_warm: Cell<bool>,
    notice: Cell<Option<Notice>>,
    waker: RefCell<Option<Waker>>,
}

/// What a worker asks of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Notice {
    /// To give up its buffers.
    Park,
    /// To close. An idle connection with unread bytes serves them instead.
    Close,
}

impl Slot {
    /// When the connection entered its state.
    pub(crate) fn since(&self) -> Instant {
        self.since.get()
    }

    /// When the connection became idle: the time that it became warm, or else now.
    pub(crate) fn idle_since(&self) -> Instant {
        if self.state.get() == State::Warm {
            self.since.get()
        } else {
            Instant::now()
        }
    }

    /// Returns whether the connection has been asked to close.
    pub(crate) fn must_close(&self) -> bool {
        self.notice.get() == Some(Notice::Close)
    }

    fn ask(&self, notice: Notice) {
        self.notice.set(Some(notice));
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    fn wake_with(&self, waker: &Waker) {
        let mut current = self.waker.borrow_mut();
        match &mut *current {
            Some(current) => current.clone_from(waker),
            None => *current = Some(waker.clone()),
        }
    }
}

/// A connection that may be evicted: its rank, and when it entered its state. The lowest rank comes
/// first, then the earliest time.
pub(crate) type Candidate = (usize, Instant);

/// A state, when it was entered, and the slot's number. `None` sorts before every time.
type Key = (State, Option<Instant>, u64);

/// The connections of a worker.
#[derive(Default)]
pub(crate) struct Idle {
    next_id: Cell<u64>,
    /// The new, parked and lingering connections and those in the middle of a head, by state and time.
    /// The warm ones are not here, because their state changes with each request.
    lasting: RefCell<BTreeMap<Key, Rc<Slot>>>,
    /// The connections that keep their buffers, idle or not.
    warm: RefCell<Vec<Rc<Slot>>>,
    is_closing: Cell<bool>,
}

impl Idle {
    /// Creates the slot of one more connection.
    pub(crate) fn slot(&self) -> Rc<Slot> {
        let id = self.next_id.get();
        self.next_id.set(id + 1);
        Rc::new(Slot {
            id,
            state: Cell::new(State::Busy),
            since: Cell::new(Instant::now()),
            is_kept_warm: Cell::new(false),
            notice: Cell::new(None),
            waker: RefCell::new(None),
        })
    }

    /// Marks a connection as in the middle of a request or a response, or as waiting for a seat.
    /// Cancels what it was asked before.
    pub(crate) fn busy(&self, slot: &Slot) {
        self.forget(slot);
        slot.state.set(State::Busy);
        slot.notice.set(None);
    }

    /// Marks a connection as new, parked, lingering or in the middle of a head since `since`. The waker
    /// wakes it when it is asked for something.
    pub(crate) fn enter(&self, slot: &Rc<Slot>, state: State, since: Instant, waker: &Waker) {
        if slot.state.get() == state && slot.since.get() == since {
            return;
        }
        self.forget(slot);
        slot.wake_with(waker);
        slot.state.set(state);
        slot.since.set(since);
        let is_idle = matches!(state, State::New | State::Parked);
        if !is_idle || slot.notice.get() == Some(Notice::Park) {
            slot.notice.set(None);
        }
        if is_idle && self.is_closing.get() {
            slot.notice.set(Some(Notice::Close));
        }
        self.lasting
            .borrow_mut()
            .insert((state, Some(since), slot.id), Rc::clone(slot));
    }

    /// Marks a connection that has just become idle as warm. Returns whether it may keep its buffers.
    pub(crate) fn keep_warm(&self, slot: &Rc<Slot>, waker: &Waker) -> bool {
        if slot.notice.get().is_some() || self.is_closing.get() {
            return false;
        }
        if !slot.is_kept_warm.get() {
            let mut warm = self.warm.borrow_mut();
            if warm.len() >= MAX_WARM {
                return false;
            }
            slot.is_kept_warm.set(true);
            warm.push(Rc::clone(slot));
        }
        if slot.state.get() != State::Warm {
            self.forget(slot);
            slot.wake_with(waker);
            slot.state.set(State::Warm);
            slot.since.set(Instant::now());
        }
        true
    }

    /// Notes that a connection has given up its buffers.
    pub(crate) fn leave_warm(&self, slot: &Rc<Slot>) {
        if slot.is_kept_warm.take() {
            self.warm
                .borrow_mut()
                .retain(|warm| !Rc::ptr_eq(warm, slot));
        }
    }

    /// Removes a connection that is gone, or that leaves its state.
    pub(crate) fn forget(&self, slot: &Slot) {
        if matches!(
            slot.state.get(),
            State::New | State::Head | State::Parked | State::Lingering
        ) {
            let key = (slot.state.get(), Some(slot.since.get()), slot.id);
            self.lasting.borrow_mut().remove(&key);
        }
    }

    /// Returns the best connection to evict, if there is one.
    pub(crate) fn candidate(&self, need: Need) -> Option<Candidate> {
        self.evictable(need).map(|(candidate, _)| candidate)
    }

    /// Asks the best connection to close. Returns whether there is one.
    pub(crate) fn evict(&self, need: Need) -> bool {
        let evictable = self.evictable(need);
        if let Some((_, slot)) = &evictable {
            self.close(slot);
        }
        evictable.is_some()
    }

    /// Closes every new or idle connection, now and from now on.
    pub(crate) fn close_all(&self) {
        self.is_closing.set(true);
        let all: Vec<_> = self.lasting.borrow().values().map(Rc::clone).collect();
        for slot in all {
            if matches!(slot.state.get(), State::New | State::Parked) {
                self.close(&slot);
            }
        }
        for slot in &*self.warm.borrow() {
            if slot.state.get() == State::Warm {
                slot.ask(Notice::Close);
            }
        }
    }

    /// Closes connections that have been new or idle for `timeout`, or lingering for `linger_timeout`;
    /// parks warm ones that have been idle for [`WARM_TIMEOUT`]. Returns when the next of these times
    /// is up, if nothing changes.
    pub(crate) fn sweep(
        &self,
        now: Instant,
        timeout: Duration,
        linger_timeout: Duration,
    ) -> Option<Instant> {
        let mut next = None;
        for (state, timeout) in [
            (State::New, timeout),
            (State::Parked, timeout),
            (State::Lingering, linger_timeout),
        ] {
            while let Some(slot) = self.longest(state) {
                let end = after(slot.since(), timeout);
                if now < end {
                    next = Some(earlier(next, end));
                    break;
                }
                self.close(&slot);
            }
        }
        for slot in &*self.warm.borrow() {
            if slot.state.get() != State::Warm || slot.must_close() {
                continue;
            }
            let end = after(slot.since(), timeout);
            let park = after(slot.since(), WARM_TIMEOUT);
            if now >= end {
                slot.ask(Notice::Close);
            } else if slot.notice.get().is_none() {
                if now >= park {
                    slot.ask(Notice::Park);
                } else {
                    next = Some(earlier(next, end.min(park)));
                }
            }
        }
        next
    }

    fn evictable(&self, need: Need) -> Option<(Candidate, Rc<Slot>)> {
        let now = Instant::now();
        let mut choices = need.choices().iter().enumerate();
        choices.find_map(|(rank, &(states, min_time))| {
            let longest = states.iter().filter_map(|&state| self.longest(state));
            let slot = longest.min_by_key(|slot| slot.since())?;
            let is_long_enough = now.saturating_duration_since(slot.since()) >= min_time;
            is_long_enough.then(|| ((rank, slot.since()), slot))
        })
    }

    /// Returns the connection that has been in this state longest and has not been asked to close.
    fn longest(&self, state: State) -> Option<Rc<Slot>> {
        if state == State::Warm {
            let warm = self.warm.borrow();
            let idle = warm
                .iter()
                .filter(|slot| slot.state.get() == State::Warm && !slot.must_close());
            return idle.min_by_key(|slot| slot.since()).map(Rc::clone);
        }
        let lasting = self.lasting.borrow();
        let (&(first, ..), slot) = lasting.range((state, None, 0)..).next()?;
        (first == state).then(|| Rc::clone(slot))
    }

    /// Asks a connection to close, once. It is no longer tracked, and decides for itself.
    fn close(&self, slot: &Slot) {
        self.forget(slot);
        slot.ask(Notice::Close);
    }
}

fn earlier(next: Option<Instant>, end: Instant) -> Instant {
    next.map_or(end, |next| next.min(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Its bytes may arrive in the same turn of the event loop. No client can cause this order at will.
    #[test]
    fn connection_that_begins_a_head_when_it_is_asked_to_close_stays() {
        let idle = Idle::default();
        let slot = idle.slot();
        assert!(idle.keep_warm(&slot, Waker::noop()));
        idle.close(&slot);
        assert!(slot.must_close());
        idle.enter(&slot, State::Head, Instant::now(), Waker::noop());
        assert!(!slot.must_close());
    }
}
