//! `block_on`: a thread that waits for its own sockets and pipes itself, rather
//! than be told of them by another thread.
// They are made so; on Windows clippy does not see it through the macro.
#![cfg_attr(windows, allow(clippy::missing_const_for_thread_local))]

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
use unix as system;
#[cfg(windows)]
use windows as system;

use smallvec::SmallVec;
#[cfg(unix)]
use std::sync::{Mutex, PoisonError, Weak};
use std::{
    cell::{Cell, RefCell},
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Instant,
};
pub(crate) use system::Source;

/// How often a future may wake itself before its thread looks at the sources.
const LOOK_EVERY: u32 = 16;

/// Most threads wait for few sources: those cost no memory.
type Few<T> = SmallVec<[T; 4]>;

/// What a thread in [`block_on`] waits for.
struct Registration {
    source: Source,
    waker: Waker,
}

/// All that a thread waits for in its innermost [`block_on`]. It keeps its memory from one to
/// the next.
struct Registered {
    all: Vec<Registration>,
    /// How many it may have; `None` outside of any `block_on`.
    most: Option<usize>,
}

thread_local! {
    static REGISTERED: RefCell<Registered> = const {
        RefCell::new(Registered { all: Vec::new(), most: None })
    };
    static PARKER: Cell<Option<Arc<Parker>>> = const { Cell::new(None) };
}

/// Has `waker` woken when `source` is ready, if this thread is in [`block_on`] and
/// can wait for so many; else the caller turns to async-io.
pub(crate) fn register(waker: &Waker, source: impl FnOnce() -> Source) -> bool {
    REGISTERED.with_borrow_mut(|registered| {
        let Some(most) = registered.most else {
            return false;
        };
        let source = source();
        let mut all = registered.all.iter_mut();
        if let Some(same) = all.find(|other| other.source == source) {
            same.waker.clone_from(waker);
            return true;
        }
        let room = registered.all.len() < most;
        if room {
            let waker = waker.clone();
            registered.all.push(Registration { source, waker });
        }
        room
    })
}

/// The threads that have waited for a source, and keep it open while they do. Dropped,
/// it has them look again.
#[cfg(unix)]
#[derive(Debug, Default)]
pub(crate) struct Threads(Mutex<Vec<Weak<Parker>>>);

#[cfg(unix)]
impl Threads {
    /// This one is among them; `last` is the one that was told before.
    pub(crate) fn add_current(&self, last: &mut Weak<Parker>) {
        let parker = PARKER.take();
        if let Some(parker) = &parker
            && last.as_ptr() != Arc::as_ptr(parker)
        {
            *last = Arc::downgrade(parker);
            let mut threads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            threads.retain(|other| other.strong_count() > 0 && !other.ptr_eq(last));
            threads.push(last.clone());
        }
        PARKER.set(parker);
    }
}

#[cfg(unix)]
impl Drop for Threads {
    fn drop(&mut self) {
        let threads = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        for parker in threads.iter().filter_map(Weak::upgrade) {
            parker.wake_by_ref();
        }
    }
}

/// Wakes a thread that sleeps in [`block_on`].
#[derive(Debug)]
pub(crate) struct Parker {
    notified: AtomicBool,
    sleeps: AtomicBool,
    alarm: system::Alarm,
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let first = !self.notified.swap(true, Ordering::SeqCst);
        if first && self.sleeps.load(Ordering::SeqCst) {
            self.alarm.ring();
        }
    }
}

impl Parker {
    /// Sleeps until it is woken, something that is registered is ready, or
    /// `deadline`. Where it has been woken already, it only looks what is ready, if it
    /// is to.
    fn park(&self, deadline: Option<Instant>, look: bool) {
        self.sleeps.store(true, Ordering::SeqCst);
        let ready = match self.notified.load(Ordering::SeqCst) {
            false => self.wait(deadline),
            true if look => self.wait(Some(Instant::now())),
            true => Few::new(),
        };
        // Before it wakes itself: nobody need ring for one who is awake.
        self.sleeps.store(false, Ordering::SeqCst);
        ready.into_iter().for_each(Waker::wake);
    }

    /// The wakers of what has become ready.
    fn wait(&self, deadline: Option<Instant>) -> Few<Waker> {
        REGISTERED.with_borrow_mut(|registered| {
            let sources = registered.all.iter().map(|one| &one.source);
            let ready = system::wait(&self.alarm, sources, deadline);
            let mut woken = Few::new();
            // From the back, so that the places before stay what they are.
            for index in ready.into_iter().rev() {
                if index < registered.all.len() {
                    woken.push(registered.all.swap_remove(index).waker);
                }
            }
            woken
        })
    }
}

/// Ends the thread's waiting, in order also when a poll panics.
struct Waiting {
    /// How many sources the outer one may have.
    outer: Option<usize>,
    parker: Arc<Parker>,
}

impl Waiting {
    fn begin(parker: Arc<Parker>, most: usize) -> Waiting {
        let outer = pass_on(Some(most));
        Waiting { outer, parker }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        pass_on(self.outer);
        // What woke the outer one may have been taken for the inner one's.
        self.parker.notified.store(true, Ordering::SeqCst);
        PARKER.set(Some(self.parker.clone()));
    }
}

/// From here on another `block_on` waits, or none: for `most` sources. Nobody waits any more
/// for those that are registered, of which others must hear. Returns how many there could be
/// before.
fn pass_on(most: Option<usize>) -> Option<usize> {
    let (before, left) = REGISTERED.with_borrow_mut(|registered| {
        let before = std::mem::replace(&mut registered.most, most);
        let left: Few<_> = registered.all.drain(..).collect();
        (before, left)
    });
    left.into_iter().for_each(|one| one.waker.wake());
    before
}

/// Runs a future on this thread until it is done. As any executor's `block_on`, but
/// the thread itself waits for the sockets and pipes of the connections that the
/// future drives: no other thread has to wake it.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    block_on_few(future, usize::MAX)
}

/// The same, but the thread itself waits for `most` sockets and pipes at the most; for the
/// rest async-io does, and wakes it.
pub(crate) fn block_on_few<T>(future: impl Future<Output = T>, most: usize) -> T {
    match run(future, None, most) {
        Some(value) => value,
        None => unreachable!("without a deadline it ends with the future"),
    }
}

/// As [`block_on`], but gives up at `deadline`: `None`, and the future is dropped.
pub fn block_on_until<T>(future: impl Future<Output = T>, deadline: Option<Instant>) -> Option<T> {
    run(future, deadline, usize::MAX)
}

fn run<T>(future: impl Future<Output = T>, deadline: Option<Instant>, most: usize) -> Option<T> {
    let Some(parker) = parker() else {
        // Without descriptors to wake by: async-io has had its own for long.
        return async_io::block_on(async {
            let timer = deadline.map_or_else(async_io::Timer::never, async_io::Timer::at);
            match futures_util::future::select(pin!(future), timer).await {
                futures_util::future::Either::Left((value, _)) => Some(value),
                futures_util::future::Either::Right(_) => None,
            }
        });
    };
    let waker = Waker::from(parker.clone());
    let mut context = Context::from_waker(&waker);
    let waiting = Waiting::begin(parker, most.min(system::most()));
    // Dropped before `waiting`: a future that leaves may still register.
    let mut future = pin!(future);
    let mut turns = 0_u32;
    loop {
        waiting.parker.notified.store(false, Ordering::SeqCst);
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return Some(value);
        }
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return None;
        }
        // A future that wakes itself each time keeps nobody from the sources.
        turns = turns.wrapping_add(1);
        let look = turns.is_multiple_of(LOOK_EVERY);
        waiting.parker.park(deadline, look);
    }
}

/// This thread's, which a `block_on` within another shares.
fn parker() -> Option<Arc<Parker>> {
    let parker = match PARKER.take() {
        Some(parker) => parker,
        None => Arc::new(Parker {
            notified: AtomicBool::new(false),
            sleeps: AtomicBool::new(false),
            alarm: system::Alarm::new()
                .inspect_err(|error| tracing::warn!(%error, "this thread waits by way of another"))
                .ok()?,
        }),
    };
    PARKER.set(Some(parker.clone()));
    Some(parker)
}
