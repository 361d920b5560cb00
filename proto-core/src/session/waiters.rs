//! Who waits for what on one connection.

use super::{SubscriptionId, background::Look};
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
    /// The same for a reply of level *none*, which takes no room from what waits for its
    /// outcome.
    ReplyRoom,
    /// Room, with fewer than so many bytes waiting to be sent.
    Gather(usize),
    /// That everything has been handed to the driver.
    Flushed,
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
    /// Woken, and not seen since: it will look, and need not be woken again. That
    /// also keeps one who drives from waking itself.
    woken: bool,
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

/// Wakers that were put aside. Nearly always it is one: that costs no memory.
#[derive(Debug, Default)]
#[must_use = "those who wait are to be woken"]
pub enum Woken {
    /// There is nobody to wake.
    #[default]
    Nobody,
    /// One.
    One(Waker),
    /// Several.
    Many(Vec<Waker>),
}

impl Woken {
    fn push(&mut self, waker: &Waker) {
        *self = match core::mem::take(self) {
            Woken::Nobody => Woken::One(waker.clone()),
            Woken::One(first) => Woken::Many(alloc::vec![first, waker.clone()]),
            Woken::Many(mut many) => {
                many.push(waker.clone());
                Woken::Many(many)
            }
        };
    }

    /// Wakes them; no lock may be held.
    pub fn wake(self) {
        match self {
            Woken::Nobody => {}
            Woken::One(waker) => waker.wake(),
            Woken::Many(many) => many.into_iter().for_each(Waker::wake),
        }
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
    woken: Woken,
    /// Somebody is to drive, who was called on or is coming back, and nobody has read since.
    driver_expected: bool,
    /// When the background looks at the latest.
    watched: Option<Look>,
    /// The background was woken to look then, not at once.
    engaged: Option<Look>,
    /// It was woken to act.
    summoned: bool,
}

impl Waiters {
    /// Nobody.
    pub const fn new() -> Waiters {
        Waiters {
            waiters: Vec::new(),
            background: None,
            woken: Woken::Nobody,
            driver_expected: false,
            watched: None,
            engaged: None,
            summoned: false,
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
            waiter.woken = false;
            return;
        }
        let waiter = Some(Waiter {
            interest,
            waker: waker.clone(),
            woken: false,
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

    /// Gives a place back. The duty to drive that its holder may have had passes
    /// on by [`Session::leave`](super::Session::leave).
    pub fn leave(&mut self, place: &mut Place) {
        let Some(index) = place.0.take() else { return };
        if let Some(slot) = self.waiters.get_mut(index) {
            *slot = None;
        }
        while self.waiters.last().is_some_and(Option::is_none) {
            self.waiters.pop();
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

    /// Wakes the background, to act.
    pub fn wake_background(&mut self) {
        self.summoned = true;
        self.rouse_background();
    }

    /// Wakes the background only to set another time for its next look.
    pub(super) fn rouse_background(&mut self) {
        if let Some(background) = &self.background {
            self.woken.push(background);
        }
    }

    /// The transport is ready: wakes one waiter to drive it, or the background if nobody
    /// waits.
    ///
    /// A waiter may be a future that its task has put aside and does not poll: the
    /// background looks before long whether anybody has driven. Nor is anybody else woken
    /// until then where all have been: who comes drives both directions.
    pub fn wake_driver(&mut self) {
        let comes = self.is_coming() && self.watched.is_some();
        if self.call() {
            self.engage(Look::Called);
        } else if !comes {
            self.wake_background();
        }
    }

    /// Has the background look in a while.
    pub(super) fn engage(&mut self, look: Look) {
        if self.watched.is_none_or(|watched| look < watched) {
            self.watched = Some(look);
            self.engaged = Some(look);
            self.rouse_background();
        }
    }

    /// Wakes one waiter to drive, and says whether there is any.
    pub(super) fn call(&mut self) -> bool {
        let mut waiters = self.waiters.iter_mut().flatten();
        let Some(waiter) = waiters.find(|waiter| !waiter.woken) else {
            return false;
        };
        waiter.woken = true;
        self.woken.push(&waiter.waker);
        self.expect_driver();
        true
    }

    /// Somebody is to drive until the background looks next, or it does.
    pub(super) fn expect_driver(&mut self) {
        self.driver_expected = true;
    }

    /// Somebody drives.
    pub(super) fn heed(&mut self) {
        self.driver_expected = false;
    }

    /// Whether somebody who waits was called on to drive, and has not.
    pub(super) fn is_coming(&self) -> bool {
        self.driver_expected && self.anyone()
    }

    /// Whether somebody is to drive and has not.
    pub(super) fn expects_driver(&self) -> bool {
        self.driver_expected
    }

    /// Whether the background was woken to act; once.
    pub(super) fn take_summoned(&mut self) -> bool {
        core::mem::take(&mut self.summoned)
    }

    /// When the background is to look that was woken for it; once.
    pub(super) fn take_engaged(&mut self) -> Option<Look> {
        self.engaged.take()
    }

    /// When the background will look, if by itself.
    pub(super) fn set_watched(&mut self, watched: Option<Look>) {
        self.watched = watched;
    }

    /// Wakes those for whom something has come.
    pub(super) fn wake_for(&mut self, matches: impl Fn(Interest) -> bool) {
        for waiter in self
            .waiters
            .iter_mut()
            .flatten()
            .filter(|waiter| !waiter.woken && matches(waiter.interest))
        {
            waiter.woken = true;
            self.woken.push(&waiter.waker);
        }
    }

    /// Whether anybody waits, and was not woken, for what `matches`.
    pub(super) fn anyone_for(&self, matches: impl Fn(Interest) -> bool) -> bool {
        let mut waiters = self.waiters.iter().flatten();
        waiters.any(|waiter| !waiter.woken && matches(waiter.interest))
    }

    /// The wakers that were put aside.
    pub fn take_woken(&mut self) -> Woken {
        core::mem::take(&mut self.woken)
    }
}
