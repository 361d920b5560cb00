//! The deadlines of a connection: a fixed table.

use crate::time::Time;

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

#[derive(Debug, Clone)]
pub(super) struct Timers([Time; ALL.len()]);

impl Timers {
    pub(super) const fn new() -> Timers {
        Timers([Time::NEVER; ALL.len()])
    }

    #[inline]
    pub(super) fn set(&mut self, timer: Timer, at: Time) {
        if let Some(slot) = self.0.get_mut(timer as usize) {
            *slot = at;
        }
    }

    /// Sets `timer` unless it is set to an earlier time.
    #[inline]
    pub(super) fn set_earlier(&mut self, timer: Timer, at: Time) {
        if at < self.at(timer) {
            self.set(timer, at);
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
        self.0.get(timer as usize).copied().unwrap_or(Time::NEVER)
    }

    /// The earliest, if any is set.
    pub(super) fn next(&self) -> Option<Time> {
        self.0.iter().copied().min().filter(|at| *at != Time::NEVER)
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
