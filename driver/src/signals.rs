//! The session, those who wait on it, and how the transport wakes them.

use crate::shared::lock;
use futures_util::task::ArcWake;
use sealpipe_core::session::{Session, Waiters};
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

/// Under one lock: whoever calls into the session may have somebody to wake.
pub(crate) struct State {
    pub(crate) session: Session,
    pub(crate) waiters: Waiters,
}

/// What the transport's waker needs. Apart from the stream, which holds that waker: the two
/// would keep each other. A stream of the program's own may hold it for longer than the
/// connection lives; what an ended session still has is small.
pub(crate) struct Signals {
    pub(crate) state: Mutex<State>,
    /// The transport holds our waker, which has not been woken yet.
    ///
    /// Set before the waker is handed over, which publishes it; cleared before the state
    /// is locked to wake somebody, so that whoever locks it afterwards sees that.
    pub(crate) read_armed: AtomicBool,
    pub(crate) write_armed: AtomicBool,
}

impl Signals {
    /// Who drives next asks the transport itself.
    pub(crate) fn disarm(&self) {
        self.read_armed.store(false, Ordering::SeqCst);
        self.write_armed.store(false, Ordering::SeqCst);
    }

    /// Whether the transport wakes somebody as soon as there is something to do.
    pub(crate) fn attend(&self, session: &Session) -> bool {
        let [read, write] =
            [&self.read_armed, &self.write_armed].map(|armed| armed.load(Ordering::SeqCst));
        session.is_attended(read, write)
    }
}

impl ArcWake for Signals {
    /// One waker serves both directions: which of them is ready is found out by
    /// whoever drives.
    fn wake_by_ref(signals: &Arc<Self>) {
        let blocked = signals.write_armed.load(Ordering::SeqCst);
        signals.disarm();
        let woken = {
            let State { session, waiters } = &mut *lock(&signals.state);
            session.handle_ready(blocked, waiters);
            waiters.take_woken()
        };
        woken.wake();
    }
}
