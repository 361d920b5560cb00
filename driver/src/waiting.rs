//! A call that waits on a connection, and leaves it in order.

use crate::{
    Runtime,
    call::{First, Now},
    shared::Shared,
};
use sealpipe_core::session::{Interest, Place, Session};
use std::task::{Context, Poll};

/// A future that leaves its place when it is dropped.
pub(crate) struct Waiting<'a, R: Runtime> {
    shared: &'a Shared<R>,
    place: Place,
    /// Polled, and not done.
    waits: bool,
    /// The time of the call, for its first poll.
    pub(crate) now: Now,
}

impl<'a, R: Runtime> Waiting<'a, R> {
    pub(crate) fn new(shared: &'a Shared<R>) -> Waiting<'a, R> {
        Waiting {
            shared,
            place: Place::default(),
            waits: false,
            now: Now::default(),
        }
    }

    /// Whether it was polled, and is not done.
    pub(crate) fn waits(&self) -> bool {
        self.waits
    }

    pub(crate) fn poll<T>(
        &mut self,
        context: &Context<'_>,
        interest: Interest,
        first: First,
        ready: impl FnMut(&mut Session) -> Option<T>,
    ) -> Poll<T> {
        let now = std::mem::take(&mut self.now);
        let poll = self
            .shared
            .poll_wait(context, now, &mut self.place, interest, first, ready);
        self.waits = poll.is_pending();
        poll
    }
}

impl<R: Runtime> Drop for Waiting<'_, R> {
    fn drop(&mut self) {
        if self.waits {
            self.shared.leave(&mut self.place);
        }
    }
}
