//! A value that every thread reads and one thread replaces. A read takes the lock only after a
//! replacement.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The current value, for the whole process.
pub struct Shared<T> {
    /// How many times the value has been replaced.
    generation: AtomicU64,
    value: Mutex<Arc<T>>,
}

impl<T> Shared<T> {
    /// Shares `value`.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self {
            generation: AtomicU64::new(0),
            value: Mutex::new(Arc::new(value)),
        }
    }

    /// Replaces the value. Every outermost [`Cached::with`] that begins after this has returned reads the new one.
    pub fn replace(&self, value: T) {
        let value = Arc::new(value);
        let mut current = self.lock();
        let _old = std::mem::replace(&mut *current, value);
        // Under the lock, so that each generation belongs to one value.
        self.generation.fetch_add(1, Ordering::Release);
    }

    fn current(&self) -> (u64, Arc<T>) {
        let value = self.lock();
        (self.generation.load(Ordering::Acquire), Arc::clone(&value))
    }

    fn lock(&self) -> MutexGuard<'_, Arc<T>> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Does not show the value, which may be a secret.
impl<T> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared(..)")
    }
}

/// One thread's copy of a [`Shared`] value. A read costs one load of an atomic that almost never
/// changes. The lock is taken once per replacement.
pub struct Cached<T> {
    shared: Arc<Shared<T>>,
    generation: Cell<u64>,
    value: RefCell<Arc<T>>,
}

impl<T> Cached<T> {
    /// A copy of the current value.
    #[must_use]
    pub fn new(shared: Arc<Shared<T>>) -> Self {
        let (generation, value) = shared.current();
        Self {
            shared,
            generation: Cell::new(generation),
            value: RefCell::new(value),
        }
    }

    /// Reads the current value. A call inside `read` gets the same value as the outer call.
    pub fn with<R>(&self, read: impl FnOnce(&T) -> R) -> R {
        if self.shared.generation.load(Ordering::Acquire) != self.generation.get() {
            self.refresh();
        }
        read(&self.value.borrow())
    }

    #[cold]
    fn refresh(&self) {
        // Inside an outer call of `with` the value is borrowed, so it is not replaced.
        if let Ok(mut value) = self.value.try_borrow_mut() {
            let (generation, current) = self.shared.current();
            self.generation.set(generation);
            *value = current;
        }
    }
}

/// Does not show the value, which may be a secret.
impl<T> fmt::Debug for Cached<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cached(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;
    use std::thread;

    #[test]
    fn replaced_value_is_seen_by_the_next_reader_of_every_copy() {
        let shared = Arc::new(Shared::new(0));
        let copies = [
            Cached::new(Arc::clone(&shared)),
            Cached::new(Arc::clone(&shared)),
        ];
        for value in 1..100 {
            shared.replace(value);
            for copy in &copies {
                assert_eq!(copy.with(|seen| *seen), value);
                assert_eq!(copy.with(|seen| *seen), value);
            }
        }
        assert_eq!(Cached::new(shared).with(|seen| *seen), 99);
    }

    #[test]
    fn value_that_is_being_read_outlives_its_replacement() {
        let shared = Arc::new(Shared::new(String::from("old")));
        let copy = Cached::new(Arc::clone(&shared));
        copy.with(|outer| {
            shared.replace(String::from("new"));
            assert_eq!(copy.with(Clone::clone), "old");
            assert_eq!(outer, "old");
        });
        assert_eq!(copy.with(Clone::clone), "new");
    }

    #[test]
    fn old_value_is_dropped_once_every_copy_is_refreshed() {
        let old = Arc::new(());
        let shared = Arc::new(Shared::new(Arc::clone(&old)));
        let copy = Cached::new(Arc::clone(&shared));
        shared.replace(Arc::new(()));
        assert_eq!(Arc::strong_count(&old), 2);
        copy.with(|_| ());
        assert_eq!(Arc::strong_count(&old), 1);
    }

    /// Each pair is replaced as one, and no reader goes back to an older one.
    #[test]
    fn readers_on_other_threads_see_whole_values_in_order() {
        const LAST: u64 = 2_000;
        let shared = Arc::new(Shared::new((0, 0)));
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let copy = Cached::new(Arc::clone(&shared));
                    let mut last = 0;
                    while !is_over.load(Ordering::Acquire) {
                        let (first, second) = copy.with(|pair| *pair);
                        assert_eq!(first, second);
                        assert!(first >= last);
                        last = first;
                    }
                    // A replacement before the flag was set is visible after it.
                    assert_eq!(copy.with(|pair| *pair), (LAST, LAST));
                });
            }
            for value in 1..=LAST {
                shared.replace((value, value));
            }
            is_over.store(true, Ordering::Release);
        });
    }
}
