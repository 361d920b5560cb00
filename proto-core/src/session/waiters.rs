//! Who waits for what on one connection.

use super::SubscriptionId;
use crate::event::MessageId;
use alloc::vec::Vec;
use core::task::Waker;

/// What a waiter waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Interest {
    /// A message, or that none will come.
    Message,
    /// What became of a message that was sent, or its answer.
    Outcome(MessageId),
    /// Room for one more message to send.
    Room,
    /// The peer's withdrawing its message of this number.
    Cancelled(u64),
    /// An event of a subscription.
    Event(SubscriptionId),
    /// The program's last verdict.
    Decided,
    /// Any step of the connection: open, answered, ended.
    Progress,
}

#[derive(Debug)]
struct Waiter {
    interest: Interest,
    waker: Waker,
    /// Woken because the transport is ready, and not seen since: the duty to
    /// drive it goes on to another if this one leaves.
    duty: bool,
}

/// A place among the [`Waiters`]; give it back by [`Waiters::leave`].
#[derive(Debug, Default)]
pub struct Place(Option<usize>);

impl Place {
    /// Whether its holder waits.
    pub const fn is_taken(&self) -> bool {
        self.0.is_some()
    }
}

/// Everybody who waits on one connection.
///
/// The transport's readiness wakes *one* of them, who then drives the connection
/// for all; whoever drives wakes those for whom something has come. A runtime
/// keeps one waker per direction of a transport, so the waker that it is given
/// belongs to the connection and ends here, and nobody is stranded when a future
/// is dropped: its duty passes to the next waiter, or else to the background.
///
/// Methods that wake put the wakers aside; take them by
/// [`take_woken`](Self::take_woken) and wake them when no lock is held.
#[derive(Debug, Default)]
pub struct Waiters {
    waiters: Vec<Option<Waiter>>,
    background: Option<Waker>,
    woken: Vec<Waker>,
    /// Somebody was called on to drive since the background looked.
    called: bool,
    /// The background looks before long.
    watched: bool,
}

impl Waiters {
    /// Nobody.
    pub const fn new() -> Waiters {
        Waiters {
            waiters: Vec::new(),
            background: None,
            woken: Vec::new(),
            called: false,
            watched: false,
        }
    }

    /// Takes, or keeps, a place.
    pub fn wait(&mut self, place: &mut Place, interest: Interest, waker: &Waker) {
        let current = place
            .0
            .and_then(|index| self.waiters.get_mut(index))
            .and_then(Option::as_mut);
        if let Some(waiter) = current {
            waiter.waker.clone_from(waker);
            waiter.interest = interest;
            waiter.duty = false;
            return;
        }
        let waiter = Some(Waiter {
            interest,
            waker: waker.clone(),
            duty: false,
        });
        let free = self.waiters.iter().position(Option::is_none);
        match free.and_then(|index| self.waiters.get_mut(index).map(|slot| (index, slot))) {
            Some((index, slot)) => {
                *slot = waiter;
                place.0 = Some(index);
            }
            None => {
                place.0 = Some(self.waiters.len());
                self.waiters.push(waiter);
            }
        }
    }

    /// Gives a place back. If its holder had been woken to drive, that duty
    /// passes on.
    pub fn leave(&mut self, place: &mut Place) {
        let Some(index) = place.0.take() else { return };
        let waiter = self.waiters.get_mut(index).and_then(Option::take);
        while self.waiters.last().is_some_and(Option::is_none) {
            self.waiters.pop();
        }
        if waiter.is_some_and(|waiter| waiter.duty) {
            self.wake_driver();
        }
    }

    /// Gives back memory that holds nothing.
    pub(super) fn release(&mut self) {
        if self.waiters.is_empty() {
            self.waiters = Vec::new();
        }
    }

    /// Whether anybody but the background waits.
    pub fn anyone(&self) -> bool {
        !self.waiters.is_empty()
    }

    /// Sets who is woken when nobody waits.
    pub fn set_background(&mut self, waker: &Waker) {
        match &mut self.background {
            Some(background) => background.clone_from(waker),
            None => self.background = Some(waker.clone()),
        }
    }

    /// Wakes the background.
    pub fn wake_background(&mut self) {
        self.woken.extend(self.background.clone());
    }

    /// The transport is ready: wakes one waiter to drive it, or the background.
    ///
    /// A waiter may be a future that its task has put aside and does not poll: the
    /// background looks before long whether anybody has driven.
    pub fn wake_driver(&mut self) {
        if !self.anyone() {
            return self.wake_background();
        }
        // If all have been woken already, whoever runs first drives.
        if let Some(waiter) = self
            .waiters
            .iter_mut()
            .flatten()
            .find(|waiter| !waiter.duty)
        {
            waiter.duty = true;
            self.woken.push(waiter.waker.clone());
        }
        self.called = true;
        if !self.watched {
            self.watched = true;
            self.wake_background();
        }
    }

    /// Whether somebody was called on to drive since the last time that this was
    /// asked.
    pub(super) fn take_called(&mut self) -> bool {
        core::mem::take(&mut self.called)
    }

    /// Whether the background will look before long.
    pub(super) fn set_watched(&mut self, watched: bool) {
        self.watched = watched;
    }

    /// Wakes those for whom something has come.
    pub(super) fn wake_for(&mut self, matches: impl Fn(Interest) -> bool) {
        for waiter in self
            .waiters
            .iter()
            .flatten()
            .filter(|waiter| matches(waiter.interest))
        {
            self.woken.push(waiter.waker.clone());
        }
    }

    /// The wakers that were put aside.
    pub fn take_woken(&mut self) -> Vec<Waker> {
        core::mem::take(&mut self.woken)
    }
}
