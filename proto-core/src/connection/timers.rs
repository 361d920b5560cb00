//! The deadlines of a connection: a fixed table.

use crate::time::Time;
use core::time::Duration;

/// A deadline that is noticed so late: this side was held up.
const HELD_UP: Duration = Duration::from_millis(50);
/// How long it may take then to read what came in, or to hear an answer.
const GRACE: Duration = Duration::from_secs(1);

/// What a deadline is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Timer {
    /// The handshake must be done.
    Handshake,
    /// A frame or record that has begun must be whole.
    Record,
    /// A message that has begun must be whole.
    Message,
    /// Received messages must be acknowledged.
    Ack,
    /// A PING is due.
    Keepalive,
    /// A PING that was put off may go out.
    Ping,
    /// Something must have come from the peer.
    Silence,
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

#[derive(Debug, Clone)]
pub(super) struct Timers {
    at: [Time; ALL.len()],
    /// A bit for each that was put off: once is enough.
    put_off: u16,
}

impl Timers {
    pub(super) const fn new() -> Timers {
        Timers {
            at: [Time::NEVER; ALL.len()],
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
        if let Some(slot) = self.at.get_mut(timer as usize) {
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
        self.at.get(timer as usize).copied().unwrap_or(Time::NEVER)
    }

    /// The earliest, if any is set.
    pub(super) fn next(&self) -> Option<Time> {
        self.at
            .iter()
            .copied()
            .min()
            .filter(|at| *at != Time::NEVER)
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
