//! Calls that block: for how long, and how another thread ends them.

use sealpipe_driver::Error;
use sealpipe_smol::block_on_until;
use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Poll, Waker},
    time::{Duration, Instant},
};

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What holds for the calls of one handle.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    read_timeout: Mutex<Option<Duration>>,
    write_timeout: Mutex<Option<Duration>>,
    interrupted: AtomicBool,
    /// Of the threads that block, one for each call.
    blocked: Mutex<Vec<Waker>>,
}

/// Why a call has ended before it was done.
pub(crate) enum Ended {
    Deadline(Duration),
    Interrupted,
}

impl Ended {
    pub(crate) fn error(self, doing: &'static str) -> Error {
        match self {
            Ended::Deadline(limit) => Error::Timeout {
                doing,
                limit,
                last: None,
            },
            Ended::Interrupted => Error::Interrupted { doing },
        }
    }
}

/// When a call must be done.
#[derive(Clone, Copy)]
pub(crate) struct Limit {
    time: Option<Duration>,
    deadline: Option<Instant>,
}

impl Limit {
    fn new(time: Option<Duration>) -> Limit {
        // What the clock cannot count to is never reached.
        let deadline = time.and_then(|time| Instant::now().checked_add(time));
        Limit { time, deadline }
    }
}

impl Calls {
    /// The same time limits for another handle.
    pub(crate) fn again(&self) -> Calls {
        let calls = Calls::default();
        calls.set_read_timeout(self.read_timeout());
        calls.set_write_timeout(self.write_timeout());
        calls
    }

    pub(crate) fn reading(&self) -> Limit {
        Limit::new(*lock(&self.read_timeout))
    }

    pub(crate) fn writing(&self) -> Limit {
        Limit::new(*lock(&self.write_timeout))
    }

    pub(crate) fn read_timeout(&self) -> Option<Duration> {
        *lock(&self.read_timeout)
    }

    pub(crate) fn write_timeout(&self) -> Option<Duration> {
        *lock(&self.write_timeout)
    }

    pub(crate) fn set_read_timeout(&self, timeout: Option<Duration>) {
        *lock(&self.read_timeout) = timeout;
    }

    pub(crate) fn set_write_timeout(&self, timeout: Option<Duration>) {
        *lock(&self.write_timeout) = timeout;
    }

    /// Blocks until `future` is done.
    pub(crate) fn run<T>(&self, limit: Limit, future: impl Future<Output = T>) -> Result<T, Ended> {
        let mut future = pin!(future);
        let mut blocked = Blocked {
            calls: self,
            waker: None,
        };
        let done = poll_fn(|context| {
            if let Poll::Ready(value) = future.as_mut().poll(context) {
                return Poll::Ready(Ok(value));
            }
            blocked.enlist(context.waker());
            if self.interrupted.load(Ordering::SeqCst) {
                return Poll::Ready(Err(Ended::Interrupted));
            }
            Poll::Pending
        });
        block_on_until(done, limit.deadline)
            .unwrap_or(Err(Ended::Deadline(limit.time.unwrap_or_default())))
    }
}

/// A call that blocks. It is struck off when it ends: its thread's waker holds two
/// descriptors.
struct Blocked<'a> {
    calls: &'a Calls,
    waker: Option<Waker>,
}

impl Blocked<'_> {
    /// A thread has one waker for all its calls.
    fn enlist(&mut self, waker: &Waker) {
        if self.waker.is_none() {
            self.waker = Some(waker.clone());
            lock(&self.calls.blocked).push(waker.clone());
        }
    }
}

impl Drop for Blocked<'_> {
    fn drop(&mut self) {
        let Some(waker) = &self.waker else { return };
        let mut blocked = lock(&self.calls.blocked);
        if let Some(index) = blocked.iter().position(|other| other.will_wake(waker)) {
            blocked.swap_remove(index);
        }
    }
}

/// Ends calls that block, from any thread. It stands for one handle: clones of
/// the connection made by `try_clone`, and the halves of a split, have their own.
#[derive(Debug, Clone)]
pub struct Interrupter(pub(crate) Arc<Calls>);

impl Interrupter {
    /// Ends the handle's calls that block now, and has those that would block later
    /// end at once: with [`Error::Interrupted`], or the [`SendError`](crate::SendError)
    /// that says what became of the message. The connection stays as it is.
    pub fn interrupt(&self) {
        self.0.interrupted.store(true, Ordering::SeqCst);
        let blocked = lock(&self.0.blocked).clone();
        blocked.into_iter().for_each(Waker::wake);
    }

    /// Lets calls block again.
    pub fn clear(&self) {
        self.0.interrupted.store(false, Ordering::SeqCst);
    }
}
