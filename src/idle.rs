//! The connections of one worker that wait for a request: which of them has waited longest, and how
//! to tell it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use tokio::time::Instant;

/// Quiet connections of a worker that keep hyper and its buffers, about 18 KiB each, because taking
/// them apart after every answer would cost a busy connection a sixth of its speed.
const MAX_WARM: usize = 64;

/// How long a quiet connection may keep them.
const WARM_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a connection whose requests were answered has to be quiet before it makes room for another:
/// who asks again and again is not idle, and the next request may be on its way.
const REST: Duration = Duration::from_millis(10);

/// What a worker knows of one connection.
#[derive(Default)]
pub(crate) struct Watch {
    id: u64,
    quiet_since: Cell<Option<Instant>>,
    is_warm: Cell<bool>,
    is_lingering: Cell<bool>,
    /// The client has sent a request, or a part of one.
    has_spoken: Cell<bool>,
    notice: Cell<Option<Notice>>,
    waker: RefCell<Option<Waker>>,
}

/// What a worker asks of a quiet connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notice {
    /// Give your buffers back.
    Park,
    /// Close, unless there are unread bytes.
    Close,
}

impl Watch {
    /// The connection is in the middle of a request: whatever it was asked as a quiet one no longer
    /// holds.
    pub(crate) fn busy(&self) {
        self.has_spoken.set(true);
        self.quiet_since.set(None);
        self.notice.set(None);
    }

    /// Since when the connection is quiet, if it is.
    pub(crate) fn quiet_since(&self) -> Option<Instant> {
        self.quiet_since.get()
    }

    /// Whether the connection is asked to close.
    pub(crate) fn is_to_close(&self) -> bool {
        self.notice.get() == Some(Notice::Close)
    }

    /// Whether the connection can make room for another, if it is quiet since then.
    fn may_make_room(&self, since: Instant, now: Instant) -> bool {
        let is_at_rest =
            !self.has_spoken.get() || self.is_lingering.get() || now.duration_since(since) >= REST;
        is_at_rest && !self.is_to_close()
    }

    fn tell(&self, notice: Notice) {
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

/// The quiet connections of a worker.
#[derive(Default)]
pub(crate) struct Idle {
    next_id: Cell<u64>,
    /// Bare sockets, by the time since when they are quiet.
    parked: RefCell<BTreeMap<(Instant, u64), Rc<Watch>>>,
    /// Those that keep their buffers, quiet at the moment or not.
    warm: RefCell<Vec<Rc<Watch>>>,
    is_closing: Cell<bool>,
}

impl Idle {
    /// Watches one more connection.
    pub(crate) fn watch(&self) -> Rc<Watch> {
        let id = self.next_id.get();
        self.next_id.set(id + 1);
        Rc::new(Watch {
            id,
            ..Watch::default()
        })
    }

    /// A connection becomes a bare socket. `since` is when it went quiet.
    pub(crate) fn park(&self, watch: &Rc<Watch>, since: Instant, waker: &Waker) {
        watch.wake_with(waker);
        watch.quiet_since.set(Some(since));
        if watch.notice.get() == Some(Notice::Park) {
            watch.notice.set(None);
        }
        if self.is_closing.get() {
            watch.notice.set(Some(Notice::Close));
        }
        self.parked
            .borrow_mut()
            .insert((since, watch.id), Rc::clone(watch));
    }

    /// A connection only waits for its client to have read the last answer. Like an idle one it
    /// makes room when that is needed; asked to close it closes, whatever there is to read.
    pub(crate) fn linger(&self, watch: &Rc<Watch>, waker: &Waker) {
        if !watch.is_lingering.replace(true) {
            let since = Instant::now();
            // What it was asked as an idle connection no longer holds.
            watch.notice.set(None);
            watch.wake_with(waker);
            watch.quiet_since.set(Some(since));
            self.parked
                .borrow_mut()
                .insert((since, watch.id), Rc::clone(watch));
        }
    }

    /// A parked connection has something to do.
    pub(crate) fn unpark(&self, watch: &Watch) {
        if let Some(since) = watch.quiet_since.take() {
            self.parked.borrow_mut().remove(&(since, watch.id));
        }
        watch.notice.set(None);
    }

    /// Whether a connection that has just gone quiet may keep its buffers.
    pub(crate) fn keep_warm(&self, watch: &Rc<Watch>, waker: &Waker) -> bool {
        if watch.notice.get().is_some() || self.is_closing.get() {
            return false;
        }
        if !watch.is_warm.get() {
            let mut warm = self.warm.borrow_mut();
            if warm.len() >= MAX_WARM {
                return false;
            }
            watch.is_warm.set(true);
            watch.wake_with(waker);
            warm.push(Rc::clone(watch));
        }
        watch.quiet_since.set(Some(Instant::now()));
        true
    }

    /// A connection has given its buffers back; returns since when it is quiet.
    pub(crate) fn cool(&self, watch: &Rc<Watch>) -> Instant {
        if watch.is_warm.take() {
            self.warm
                .borrow_mut()
                .retain(|warm| !Rc::ptr_eq(warm, watch));
        }
        watch.quiet_since.take().unwrap_or_else(Instant::now)
    }

    /// Since when the connection is quiet that has been so longest, of those that can make room.
    pub(crate) fn longest(&self) -> Option<Instant> {
        self.longest_at_rest(Instant::now()).map(|(since, _)| since)
    }

    /// Asks that one to close.
    pub(crate) fn close_longest(&self) {
        if let Some((_, watch)) = self.longest_at_rest(Instant::now()) {
            self.close(&watch);
        }
    }

    /// Asks all to close that wait for a request, those too that go quiet from now on.
    pub(crate) fn close_all(&self) {
        self.is_closing.set(true);
        self.parked.borrow_mut().retain(|_, watch| {
            if !watch.is_lingering.get() {
                watch.tell(Notice::Close);
            }
            watch.is_lingering.get()
        });
        for watch in &*self.warm.borrow() {
            if watch.quiet_since.get().is_some() {
                watch.tell(Notice::Close);
            }
        }
    }

    /// Asks those to close that are quiet for `timeout`, and those for their buffers that keep them
    /// for nothing.
    pub(crate) fn sweep(&self, now: Instant, timeout: Duration) {
        let quiet_for = |since| now.duration_since(since);
        let parked = self.parked.borrow();
        let overdue: Vec<_> = parked
            .iter()
            .take_while(|((since, _), _)| quiet_for(*since) >= timeout)
            .map(|(_, watch)| Rc::clone(watch))
            // Who lingers has a time limit of its own.
            .filter(|watch| !watch.is_lingering.get())
            .collect();
        drop(parked);
        for watch in overdue {
            self.close(&watch);
        }
        for watch in &*self.warm.borrow() {
            match watch.quiet_since().map(quiet_for) {
                Some(quiet) if quiet >= timeout => watch.tell(Notice::Close),
                Some(quiet) if quiet >= WARM_TIMEOUT && watch.notice.get().is_none() => {
                    watch.tell(Notice::Park);
                }
                _ => {}
            }
        }
    }

    fn longest_at_rest(&self, now: Instant) -> Option<(Instant, Rc<Watch>)> {
        let parked = self.parked.borrow();
        let mut parked = parked.iter().map(|(&(since, _), watch)| (since, watch));
        let warm = self.warm.borrow();
        let warm = warm
            .iter()
            .filter_map(|watch| Some((watch.quiet_since()?, watch)));
        let may_make_room =
            |&(since, watch): &(Instant, &Rc<Watch>)| watch.may_make_room(since, now);
        // In the order of their times: the first is the one.
        let parked = parked.find(may_make_room);
        let warm = warm.filter(may_make_room).min_by_key(|&(since, _)| since);
        let longest = parked
            .into_iter()
            .chain(warm)
            .min_by_key(|&(since, _)| since);
        longest.map(|(since, watch)| (since, Rc::clone(watch)))
    }

    /// Asks once: whoever is asked is no longer counted as quiet, and says itself whether it closes.
    fn close(&self, watch: &Watch) {
        if let Some(since) = watch.quiet_since() {
            self.parked.borrow_mut().remove(&(since, watch.id));
        }
        watch.tell(Notice::Close);
    }
}
