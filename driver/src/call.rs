//! One poll of the program's: what it waits for, and what it has found.

use crate::{Runtime, signals::Signals};
use sealpipe_core::{
    Time,
    session::{Interest, Place, Session, Waiters},
};
use std::task::Waker;

/// The time, read when it is asked for first: most calls need it once, some never.
#[derive(Default)]
pub(crate) struct Now(Option<Time>);

impl Now {
    pub(crate) fn at(time: Time) -> Now {
        Now(Some(time))
    }

    pub(crate) fn get<R: Runtime>(&mut self) -> Time {
        *self.0.get_or_insert_with(R::now)
    }
}

/// What a poll begins with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum First {
    /// Looks whether what it waits for is there.
    Look,
    /// Writes what was just queued, whose outcome cannot be there before.
    Write,
}

/// A poll of the program's that drives, and looks at the session whenever that is
/// locked anyway.
pub(crate) struct Call<'a, T, F> {
    pub(crate) signals: &'a Signals,
    pub(crate) waker: &'a Waker,
    pub(crate) place: &'a mut Place,
    pub(crate) interest: Interest,
    pub(crate) ready: F,
    pub(crate) value: Option<T>,
    /// There was something to write when it looked last.
    pub(crate) writes: bool,
    /// Its place is taken, with the waker of this poll.
    pub(crate) waits: bool,
    /// Its place is given back, and the transport is looked after.
    pub(crate) left: bool,
}

impl<T, F: FnMut(&mut Session) -> Option<T>> Call<'_, T, F> {
    pub(crate) fn look(&mut self, session: &mut Session, waiters: &mut Waiters, idle: bool) {
        if self.value.is_none() {
            self.value = (self.ready)(session);
        }
        self.writes = session.wants_transmit();
        if self.value.is_none() {
            if idle {
                waiters.wait(self.place, self.interest, self.waker);
                session.watch_timers(waiters);
                self.waits = true;
            }
        } else if !self.writes && !self.left {
            waiters.leave(self.place);
            let attended = self.signals.attend(session);
            // Others must find the transport's lock free when they are woken.
            if attended || !waiters.anyone() {
                session.leave(attended, waiters);
                self.left = true;
            }
        }
    }
}
