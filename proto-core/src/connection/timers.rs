//! The deadlines of a connection: a fixed table, in two parts.

use crate::time::Time;
use alloc::boxed::Box;
use core::time::Duration;

/// A deadline that is noticed so late: this side was held up.
const HELD_UP: Duration = Duration::from_millis(50);
/// How long it may take then to read what came in, or to hear an answer.
const GRACE: Duration = Duration::from_secs(1);

/// What a deadline is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Timer {
    // Those of a connection that is open, and idle or not, come first.
    /// Received messages must be acknowledged.
    Ack,
    /// A PING is due.
    Keepalive,
    /// Something must have come from the peer.
    Silence,
    // Of the rest, none is set any more where a connection has been idle for long.
    /// The handshake must be done.
    Handshake,
    /// A frame or record that has begun must be whole.
    Record,
    /// A message that has begun must be whole.
    Message,
    /// A PING that was put off may go out.
    Ping,
    /// The peer must have answered CLOSE.
    Close,
    /// A message that was sent may have reached its deadline. May be early.
    Send,
    /// A suspended session must have been resumed.
    Resume,
}

impl Timer {
    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// So many have their place at any time; the others, while one of them is set.
const STEADY: usize = 3;
const OTHER: usize = ALL.len() - STEADY;

/// In the order in which they are taken.
const ALL: [Timer; 10] = [
    Timer::Handshake,
    Timer::Record,
    Timer::Message,
    Timer::Ack,
    Timer::Keepalive,
    Timer::Ping,
    Timer::Silence,
    Timer::Close,
    Timer::Send,
    Timer::Resume,
];

/// Those that end the connection because the peer has not sent something.
const PEERS: [Timer; 4] = [
    Timer::Handshake,
    Timer::Record,
    Timer::Message,
    Timer::Silence,
];

/// A connection is idle most of the time: what is seldom set has a box of its own.
#[derive(Debug)]
pub(super) struct Timers {
    steady: [Time; STEADY],
    other: Option<Box<[Time; OTHER]>>,
    /// A bit for each that was put off: once is enough.
    put_off: u16,
}

impl Timers {
    pub(super) const fn new() -> Timers {
        Timers {
            steady: [Time::NEVER; STEADY],
            other: None,
            put_off: 0,
        }
    }

    #[inline]
    pub(super) fn set(&mut self, timer: Timer, at: Time) {
        self.put(timer, at);
        self.put_off &= !timer.bit();
    }

    #[inline]
    fn put(&mut self, timer: Timer, at: Time) {
        let index = timer as usize;
        match self.steady.get_mut(index) {
            Some(slot) => *slot = at,
            None => self.put_other(index.saturating_sub(STEADY), at),
        }
    }

    fn put_other(&mut self, index: usize, at: Time) {
        if self.other.is_none() && at == Time::NEVER {
            return;
        }
        let other = self
            .other
            .get_or_insert_with(|| Box::new([Time::NEVER; OTHER]));
        if let Some(slot) = other.get_mut(index) {
            *slot = at;
        }
    }

    /// Sets `timer` unless it is set to an earlier time.
    #[inline]
    pub(super) fn set_earlier(&mut self, timer: Timer, at: Time) {
        if at < self.at(timer) {
            // Still the same: a peer that trickles bytes gets no second grace.
            self.put(timer, at);
        }
    }

    #[inline]
    pub(super) fn clear(&mut self, timer: Timer) {
        self.set(timer, Time::NEVER);
    }

    pub(super) fn clear_all(&mut self) {
        *self = Timers::new();
    }

    #[inline]
    pub(super) fn at(&self, timer: Timer) -> Time {
        let index = timer as usize;
        let slot = self.steady.get(index).or_else(|| {
            let other = self.other.as_ref()?;
            other.get(index.saturating_sub(STEADY))
        });
        slot.copied().unwrap_or(Time::NEVER)
    }

    fn iter(&self) -> impl Iterator<Item = Time> {
        let other = self.other.iter().flat_map(|other| other.iter());
        self.steady.iter().chain(other).copied()
    }

    /// The earliest, if any is set.
    pub(super) fn next(&self) -> Option<Time> {
        self.iter().min().filter(|at| *at != Time::NEVER)
    }

    /// Gives back memory that holds nothing.
    pub(super) fn release(&mut self) {
        let other = self.other.as_ref();
        if other.is_some_and(|other| other.iter().all(|at| *at == Time::NEVER)) {
            self.other = None;
        }
    }

    /// Where this side was held up, what the peer sent in time may be still unread: it is
    /// waited for once more.
    pub(super) fn give_grace(&mut self, now: Time) {
        let again = now.saturating_add(GRACE);
        if again == Time::NEVER {
            return;
        }
        for timer in PEERS {
            let late = now.saturating_since(self.at(timer));
            if late >= HELD_UP && self.put_off & timer.bit() == 0 {
                self.put(timer, again);
                self.put_off |= timer.bit();
            }
        }
    }

    /// Takes one that is due.
    pub(super) fn take_due(&mut self, now: Time) -> Option<Timer> {
        let due = ALL
            .into_iter()
            .find(|timer| self.at(*timer) <= now && self.at(*timer) != Time::NEVER)?;
        self.clear(due);
        Some(due)
    }
}
