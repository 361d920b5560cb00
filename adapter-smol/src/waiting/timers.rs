//! Timers that a thread in `block_on` waits for itself.

use super::{PARKER, Parker, REGISTERED};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::Waker,
    time::Instant,
};

/// Of timers for the same moment each has its own.
type Key = (Instant, u64);

/// Those of one thread, the next first.
#[derive(Default)]
pub(super) struct Timers(Mutex<BTreeMap<Key, Waker>>);

impl Timers {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Waker>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The earlier of the next and `deadline`.
    pub(super) fn next_or(&self, deadline: Option<Instant>) -> Option<Instant> {
        let next = self.lock().first_key_value().map(|((at, _), _)| *at);
        next.into_iter().chain(deadline).min()
    }

    /// Wakes those whose time has come.
    pub(super) fn wake_due(&self) {
        let mut now = None;
        // Not under the lock: who is woken may set another.
        while let Some(waker) = self.take_due(&mut now) {
            waker.wake();
        }
    }

    /// The clock is asked only where there is a timer.
    fn take_due(&self, now: &mut Option<Instant>) -> Option<Waker> {
        let mut timers = self.lock();
        let next = timers.first_entry()?;
        let due = next.key().0 <= *now.get_or_insert_with(Instant::now);
        due.then(|| next.remove())
    }

    /// The thread waits no more: others must hear of the time.
    pub(super) fn pass_on(&self) {
        let left = std::mem::take(&mut *self.lock());
        left.into_values().for_each(Waker::wake);
    }
}

impl fmt::Debug for Timers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.lock().keys()).finish()
    }
}

/// A timer among those of a thread. Dropped, it is given up.
#[derive(Debug)]
pub(crate) struct Entry {
    parker: Arc<Parker>,
    key: Key,
}

impl Entry {
    /// Has `waker` woken `at` that time if this thread is in `block_on`; else the caller turns
    /// to async-io. `earlier` is where the timer was.
    pub(crate) fn new(at: Instant, waker: &Waker, earlier: Option<Entry>) -> Option<Entry> {
        if !REGISTERED.with_borrow(|registered| registered.most.is_some()) {
            return None;
        }
        let parker = PARKER.take()?;
        PARKER.set(Some(parker.clone()));
        let same = |entry: &Entry| entry.key.0 == at && Arc::ptr_eq(&entry.parker, &parker);
        let entry = earlier.filter(same).unwrap_or_else(|| Entry {
            key: (at, number()),
            parker,
        });
        // Also if it is the same: it may have been passed on.
        let earlier = entry.parker.timers.lock().insert(entry.key, waker.clone());
        // Not under the lock: it may be the last of a task that has timers.
        drop(earlier);
        Some(entry)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let waker = self.parker.timers.lock().remove(&self.key);
        // Not under the lock, as above.
        drop(waker);
    }
}

/// One that no other timer has.
fn number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
