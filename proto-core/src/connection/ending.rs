//! Finishing, closing, failing (PROTOCOL.md, sections 7 and 10).

use super::{Connection, Finish, Phase, timers::Timer};
use crate::{
    error::{Close, ConnectionError, Timeout},
    queue::Queue,
    time::Time,
};
use alloc::boxed::Box;

/// How far this side's CLOSE has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Farewell {
    None,
    /// After everything that is queued.
    WhenSent(Box<Close>),
    /// As soon as the stream takes it.
    Due(Box<Close>),
    Sent(Box<Close>),
}

impl Farewell {
    pub(super) const fn is_said(&self) -> bool {
        !matches!(self, Farewell::None)
    }

    /// What operations return once this side is closing.
    pub(super) fn announced(&self) -> Option<ConnectionError> {
        match self {
            Farewell::Due(close) | Farewell::Sent(close) => {
                Some(ConnectionError::ClosedLocally(Close::clone(close)))
            }
            _ => None,
        }
    }
}

impl Connection {
    /// This side sends no more messages. What is queued goes out; the peer's
    /// messages go on coming. When the peer has finished too, and every message
    /// has been received and has its outcome, the connection ends with
    /// [`ConnectionError::Finished`].
    pub fn finish(&mut self, now: Time) {
        self.advance(now);
        if self.end.is_none()
            && self.farewell == Farewell::None
            && self.outbound.finish == Finish::No
        {
            self.outbound.finish = Finish::Wanted;
            self.check_finished();
        }
    }

    /// Ends both directions now. What is queued is not sent; what was received
    /// and not taken is dropped, and its sender is told that it can send it
    /// again. The end comes with the peer's CLOSE, or after the close timeout.
    pub fn close(&mut self, now: Time, close: Close) {
        self.advance(now);
        if self.end.is_some() || matches!(self.farewell, Farewell::Due(_) | Farewell::Sent(_)) {
            return;
        }
        self.inbound.freeze();
        if !self.was_open {
            self.raw.clear();
            return self.end_with(ConnectionError::ClosedLocally(close), None);
        }
        self.say_goodbye(close);
    }

    /// The program has gone: what is queued still goes out, then CLOSE; nothing
    /// more is received. All of it within the close timeout.
    pub fn abandon(&mut self, now: Time) {
        self.advance(now);
        let finished = self.outbound.finish == Finish::Sent
            && self.inbound.finished
            && self.inbound.is_settled();
        let code = if finished {
            Close::DONE
        } else {
            Close::GOING_AWAY
        };
        let close = Close::new(code, "");
        if !self.was_open {
            return self.close(now, close);
        }
        if self.end.is_none() && self.farewell == Farewell::None {
            self.inbound.freeze();
            self.farewell = Farewell::WhenSent(Box::new(close));
            self.arm_close_timer();
            self.check_finished();
        }
    }

    fn arm_close_timer(&mut self) {
        self.timers.set_earlier(
            Timer::Close,
            self.now.saturating_add(self.config.close_timeout),
        );
    }

    /// Sends CLOSE and waits for the peer's.
    fn say_goodbye(&mut self, close: Close) {
        self.phase = Phase::Closing;
        self.outbound.drop_unsent(&mut self.events);
        self.outbound.cancels = Queue::new();
        if self.foreign.is_some() {
            self.arm_close_timer();
            return self.leave_foreign(close);
        }
        self.farewell = Farewell::Due(Box::new(close));
        // Only the close timeout counts from here on.
        for timer in [
            Timer::Keepalive,
            Timer::Ping,
            Timer::Silence,
            Timer::Record,
            Timer::Message,
        ] {
            self.timers.clear(timer);
        }
        self.arm_close_timer();
    }

    /// Whether a step towards the end is due.
    #[inline]
    pub(super) fn check_finished(&mut self) {
        if self.is_ending() {
            self.go_on_ending();
        }
    }

    #[inline]
    pub(super) fn is_ending(&self) -> bool {
        self.outbound.finish == Finish::Sent || self.farewell.is_said()
    }

    fn go_on_ending(&mut self) {
        if self.phase != Phase::Open {
            return;
        }
        if let Farewell::WhenSent(close) = &self.farewell {
            if self.outbound.is_drained() {
                let close = Close::clone(close);
                self.say_goodbye(close);
            }
            return;
        }
        if self.foreign.is_none() && self.is_complete() && !self.inbound.has_unacked() {
            self.say_goodbye(Close::new(Close::DONE, ""));
        }
    }

    /// Whether both sides have finished and nothing is left to be settled.
    pub(super) fn is_complete(&self) -> bool {
        self.outbound.finish == Finish::Sent
            && self.outbound.is_settled()
            && self.inbound.has_finished()
            && self.inbound.is_settled()
    }

    /// The peer's CLOSE.
    pub(super) fn on_close(&mut self, close: Close, delivered: u64) {
        let both = self.outbound.finish == Finish::Sent && self.inbound.finished;
        let finished = close.code == Close::DONE && both;
        let error = match (&self.farewell, finished) {
            // A program may close with "done" without having finished.
            (Farewell::Due(own) | Farewell::Sent(own), _) if own.code != Close::DONE || !both => {
                ConnectionError::ClosedLocally(Close::clone(own))
            }
            (_, true) => ConnectionError::Finished,
            _ => ConnectionError::ClosedByPeer(close),
        };
        if !matches!(self.farewell, Farewell::Sent(_)) {
            // An answer, unless this side was about to say it anyway.
            let code = if finished {
                Close::DONE
            } else {
                Close::GOING_AWAY
            };
            if !matches!(self.farewell, Farewell::Due(_)) {
                self.farewell = Farewell::Due(Box::new(Close::new(code, "")));
            }
        }
        self.end_with(error, Some(delivered));
    }

    /// Something is wrong: says so to the peer where that can be, and ends.
    pub(super) fn fail(&mut self, error: ConnectionError) {
        let close = match &error {
            ConnectionError::Violation(violation) => Some(Close::new(
                violation.close_code(),
                alloc::string::ToString::to_string(violation),
            )),
            ConnectionError::Authentication(_) => Some(Close::new(Close::AUTHENTICATION, "")),
            ConnectionError::Timeout(_) => Some(Close::new(Close::TIME, "")),
            ConnectionError::KeysUsedUp => Some(Close::new(Close::KEYS, "")),
            ConnectionError::Internal(what) => Some(Close::new(Close::INTERNAL, *what)),
            _ => None,
        };
        match close {
            Some(close)
                if self.was_open
                    && self.foreign.is_none()
                    && !matches!(self.farewell, Farewell::Sent(_)) =>
            {
                self.farewell = Farewell::Due(Box::new(close));
            }
            _ => {}
        }
        self.end_with(error, None);
    }

    /// The end: every message gets its outcome, and nothing more happens but that
    /// a CLOSE may be left to write.
    pub(super) fn end_with(&mut self, error: ConnectionError, delivered: Option<u64>) {
        self.quiet = false;
        if self.end.is_some() {
            return;
        }
        if self.outlives(&error) {
            return self.suspend(error);
        }
        self.phase = Phase::Closed;
        self.setup = None;
        self.resume = None;
        if let Some(keys) = &mut self.keys {
            keys.opener = None;
        }
        self.pong = None;
        self.ping = None;
        self.inbound.end();
        self.timers.clear_all();
        self.all_arrived = match &self.foreign {
            None => self.outbound.has_all_arrived(delivered),
            // Nobody says more than that the system has it.
            Some(_) => self.outbound.is_drained() && !self.unwritten,
        };
        self.outbound.settle_all(delivered, &mut self.events);
        if matches!(self.farewell, Farewell::WhenSent(_)) {
            self.farewell = Farewell::None;
        }
        self.end = Some(Box::new(error));
    }

    pub(super) fn on_timer(&mut self, timer: Timer) {
        match timer {
            Timer::Handshake => self.fail(ConnectionError::Timeout(Timeout::Handshake)),
            Timer::Record => self.fail(ConnectionError::Timeout(Timeout::Record)),
            Timer::Message => self.fail(ConnectionError::Timeout(Timeout::Message)),
            Timer::Silence => self.fail(ConnectionError::Timeout(Timeout::Silence)),
            Timer::Ack if self.inbound.has_unacked() => self.inbound.ack_now(),
            Timer::Ack => {}
            Timer::Keepalive => self.start_ping(false),
            // It is due again now that the timer is not set.
            Timer::Ping => {}
            Timer::Close => {
                let close = match &self.farewell {
                    Farewell::Due(close) | Farewell::Sent(close) | Farewell::WhenSent(close) => {
                        Close::clone(close)
                    }
                    Farewell::None => Close::new(Close::GOING_AWAY, ""),
                };
                self.end_with(ConnectionError::ClosedLocally(close), None);
                // The peer does not read: there is no sense in writing more.
                self.farewell = Farewell::None;
            }
            Timer::Resume => self.give_up(),
            Timer::Send => {
                let next = self.outbound.expire(self.now, &mut self.events);
                self.timers.set(Timer::Send, next);
                self.check_finished();
            }
        }
    }
}
