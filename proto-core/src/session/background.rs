//! When the background looks after a connection, and what it does.

use super::{Session, Waiters};
use crate::{buffer::RecvBuf, error::ConnectionError, time::Time};
use core::time::Duration;

/// When the background looks next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Look {
    /// After a program's call has left the transport without anybody who waits for it, or
    /// something has come to a program that nobody waits for: whether the program has come
    /// back, else the background takes over. To do so at once would cost a task switch for
    /// every message.
    Left,
    /// Where the transport has called on a waiter: whether it came. Later, so that the timer
    /// is seldom the next of its processor: to set that costs more than the rest of a small
    /// message.
    Called,
    /// Whether the program has done nothing for so long: then the connection is idle, and
    /// gives back its memory.
    Idle,
}

impl Look {
    const fn after(self) -> Duration {
        Duration::from_millis(match self {
            Look::Left => 2,
            Look::Called => 8,
            Look::Idle => 50,
        })
    }
}

/// Where nobody reads although somebody waits or uses the connection, the background reads all
/// each time that it looks for so often in a row. Who waits may have been put aside.
const PATIENCE: u8 = 4;

/// What the background is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duty {
    /// Drive the connection, then sleep until there is something to do.
    Drive,
    /// Sleep; the program is driving.
    Sleep,
}

impl Session {
    /// Whether nothing is to be done until the transport wakes somebody: it holds
    /// a waker for reading, or also one for writing if there is something to write.
    pub fn is_attended(&self, read_armed: bool, write_armed: bool) -> bool {
        read_armed && (write_armed || !(self.wants_transmit() || self.connection.owes_ack()))
    }

    /// A program's call leaves. If nobody waits for the transport now (it is not
    /// `attended`), another waiter takes over, or else the background before long.
    pub fn leave(&mut self, attended: bool, waiters: &mut Waiters) {
        self.active = true;
        if attended {
            self.look_by(
                self.connection.now().saturating_add(Look::Idle.after()),
                waiters,
            );
            return self.watch_timers(waiters);
        }
        if waiters.anyone() {
            waiters.wake_driver();
        }
        self.look_by(
            self.connection.now().saturating_add(Look::Left.after()),
            waiters,
        );
        waiters.set_watched(Some(Look::Left));
    }

    /// The transport is ready: one of those who wait drives it, or the background.
    /// `blocked`: it may be writing that was waited for.
    ///
    /// A program that uses the connection comes back by itself, and is the better driver: the
    /// background only looks before long whether it has. What could not be written goes at
    /// once, unless it was fed.
    pub fn handle_ready(&mut self, blocked: bool, waiters: &mut Waiters) {
        let writes = blocked && !self.fed;
        if self.is_active() && !waiters.anyone() && !writes {
            waiters.expect_driver();
            waiters.engage(Look::Left);
        } else {
            waiters.wake_driver();
        }
    }

    /// Whether the program has used the connection since the background looked.
    const fn is_active(&self) -> bool {
        self.active || self.fed
    }

    /// Whether the program is there to drive: the background, which has read for it, leaves
    /// the rest to it.
    pub fn is_used(&self, waiters: &Waiters) -> bool {
        let comes = self.is_active() || waiters.anyone();
        comes && self.unread % PATIENCE != PATIENCE - 1 && !self.ended && !self.write_failed
    }

    /// The background has driven; `handed_over`: not to the end, since the program
    /// [is there](Self::is_used) for the rest. Says whether the connection is idle; else the
    /// background looks before long.
    pub fn rest(&mut self, now: Time, handed_over: bool, waiters: &mut Waiters) -> bool {
        if handed_over {
            waiters.expect_driver();
            waiters.call();
        } else if !self.is_active() || self.ended {
            return true;
        }
        // Or the next call would wake it to say so.
        self.background_at = now.saturating_add(Look::Left.after());
        waiters.set_watched(Some(Look::Left));
        false
    }

    /// The program has what it wanted without driving. Whether it can leave as it
    /// is: nothing is to be written, or the background will look before long; and no
    /// input waits that there is room for now.
    #[inline]
    pub fn touch(&mut self) -> bool {
        if !self.watched {
            let soon = self.connection.now().saturating_add(Look::Left.after());
            self.watched = self.active && self.background_at <= soon;
            self.active = true;
            if !self.watched && self.wants_transmit() {
                return false;
            }
        }
        !self.connection.input_is_due()
    }

    /// Sees to it that the background looks in time for the next deadline.
    pub fn watch_timers(&mut self, waiters: &mut Waiters) {
        if let Some(timeout) = self.poll_timeout() {
            self.look_by(timeout, waiters);
        }
    }

    /// The earliest deadline of the connection and of what is kept here.
    #[inline]
    fn poll_timeout(&self) -> Option<Time> {
        let timeout = self.connection.poll_timeout().unwrap_or(Time::NEVER);
        let at = timeout.min(self.next_request_timeout()).min(self.broken_by);
        (at != Time::NEVER).then_some(at)
    }

    /// What was fed, and written by nobody, is not left until the next deadline: the
    /// background looks before that. Returns whether somebody may have to be woken.
    #[inline]
    pub fn watch_fed(&mut self, waiters: &mut Waiters) -> bool {
        self.fed = true;
        let at = self.connection.now().saturating_add(Look::Idle.after());
        let late = at < self.background_at;
        if late {
            self.look_by(at, waiters);
        }
        late
    }

    fn look_by(&mut self, at: Time, waiters: &mut Waiters) {
        if at < self.background_at {
            self.background_at = at;
            waiters.rouse_background();
        }
    }

    /// The background looks: what it is to do now.
    pub fn background(&mut self, now: Time, attended: bool, waiters: &mut Waiters) -> Duty {
        // What was sent through has told the connection no time: when a call leaves, it
        // must not have the background look earlier than it would anyway.
        self.connection.note_time(now);
        let due = self.poll_timeout().is_some_and(|timeout| timeout <= now);
        if due {
            self.connection.handle_timeout(now);
            self.expire_requests(now, waiters);
            if self.broken_by <= now {
                self.handle_eof(now, &RecvBuf::new(), waiters);
            }
            self.dispatch(waiters);
            if let Some(ConnectionError::ClosedLocally(_)) = self.connection.end() {
                // The goodbye has been waited for already.
                self.linger = now;
            }
        }
        let (summoned, engaged) = (waiters.take_summoned(), waiters.take_engaged());
        if !(summoned || engaged.is_some() || due || self.ended) && now < self.background_at {
            // It was woken because it is to look sooner than it was going to. Each message
            // of a conversation could do that: more than setting the time is too much.
            (self.active, self.watched, self.fed) = (false, false, false);
            return Duty::Sleep;
        }
        let active = self.is_active();
        self.unread = match waiters.expects_driver() {
            true => self.unread.wrapping_add(1),
            false => 0,
        };
        (self.active, self.watched, self.fed) = (false, false, false);
        let again = if due || self.connection.end().is_some() {
            None
        } else if engaged.is_some() && (waiters.is_coming() || !summoned) {
            engaged
        } else if waiters.expects_driver() || !active {
            None
        } else if attended {
            Some(Look::Idle)
        } else if self.wants_transmit() {
            None
        } else {
            // Once: a program that only writes comes back without ever reading.
            waiters.expect_driver();
            Some(Look::Left)
        };
        waiters.set_watched(again);
        // Whoever leaves the transport while the background drives wakes it again: it
        // may have found it taken.
        self.background_at = again.map_or(Time::NEVER, |look| now.saturating_add(look.after()));
        if again.is_some() {
            Duty::Sleep
        } else {
            Duty::Drive
        }
    }

    /// Until when the background sleeps after it has done its duty; `None` for
    /// until it is woken.
    pub fn background_sleeps(&mut self) -> Option<Time> {
        let linger = Some(self.linger).filter(|_| self.ended);
        let timeout = self.poll_timeout().or(linger);
        // What was asked for meanwhile counts, too.
        let at = timeout.unwrap_or(Time::NEVER).min(self.background_at);
        let at = Some(at).filter(|at| *at != Time::NEVER);
        self.background_at = at.unwrap_or(Time::NEVER);
        at
    }
}
