//! What the program sends.

use super::{Connection, Phase, outbound::Finish, timers::Timer};
use crate::{
    buffer::SendBuf,
    error::{SendError, SendErrorReason},
    event::MessageId,
    message::Message,
    time::Time,
};

/// So much is written at once, then messages wait in the queue.
const AT_ONCE: usize = 64 << 10;

impl Connection {
    /// Queues a message and tracks it: its outcome comes as [`Event::Outcome`](crate::Event::Outcome).
    ///
    /// # Errors
    /// [`SendError`], with the message in it, if it is too large, the queue is
    /// full, or the connection has ended or was finished.
    pub fn send(&mut self, now: Time, message: Message) -> Result<MessageId, SendError> {
        let reserved = None;
        self.queue(now, message, true, reserved)
            .map(|id| id.unwrap_or(MessageId(core::num::NonZeroU64::MIN)))
    }

    /// Queues a message whose outcome is only counted in [`Stats`](crate::Stats).
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_untracked(&mut self, now: Time, message: Message) -> Result<(), SendError> {
        self.queue(now, message, false, None).map(|_| ())
    }

    /// As [`send_untracked`](Self::send_untracked), and cannot find the queue full:
    /// the program was told that there was room for this one.
    #[inline]
    pub(crate) fn send_promised(&mut self, message: Message) -> Result<(), SendError> {
        // It has no deadline: the time does not matter.
        self.queue(self.now, message, false, Some(usize::MAX))
            .map(|_| ())
    }

    /// Writes a small message whose outcome nobody asks for to where it goes out next, if
    /// nothing has to go before it and there is room for any message; says whether it did.
    #[inline]
    pub(crate) fn write_behind(&mut self, message: &Message) -> bool {
        let takes = self.writes_at_once() && self.check_send(message.size(), None, true).is_ok();
        let written = takes && self.outbound.write_one(message, self.raw.bytes_mut());
        if written {
            self.quiet = false;
            self.unwritten = true;
        }
        written
    }

    /// Keeps room for one message of up to `size` bytes until
    /// [`send_reserved`](Self::send_reserved) or [`unreserve`](Self::unreserve).
    ///
    /// # Errors
    /// Why there is none.
    pub fn reserve(&mut self, size: usize) -> Result<(), SendErrorReason> {
        self.check_send(size, None, true)?;
        self.outbound.reserve(size);
        Ok(())
    }

    /// Gives back what [`reserve`](Self::reserve) kept.
    pub fn unreserve(&mut self, size: usize) {
        self.outbound.unreserve(size);
    }

    /// Queues a message into the room that `reserve(size)` kept; cannot find the
    /// queue full. The room is given back whatever becomes of it.
    ///
    /// # Errors
    /// [`SendError`] if the message is above `size`, or the connection has ended.
    pub fn send_reserved(
        &mut self,
        now: Time,
        message: Message,
        size: usize,
    ) -> Result<MessageId, SendError> {
        self.outbound.unreserve(size);
        self.queue(now, message, true, Some(size))
            .map(|id| id.unwrap_or(MessageId(core::num::NonZeroU64::MIN)))
    }

    #[inline(always)]
    fn queue(
        &mut self,
        now: Time,
        mut message: Message,
        tracked: bool,
        reserved: Option<usize>,
    ) -> Result<Option<MessageId>, SendError> {
        self.advance(now);
        if let Some(foreign) = &self.foreign
            && let Err(error) = foreign.check(&message)
        {
            let reason = SendErrorReason::Wire(error);
            return Err(SendError { message, reason });
        }
        let stays = self.outbound.will_track(&message, tracked);
        if let Err(reason) = self.check_send(message.size(), reserved, stays) {
            return Err(SendError { message, reason });
        }
        // Nobody waits for an untracked message: it has no deadline.
        if tracked {
            message.deadline = self.deadline_of(self.now, &message);
            self.timers.set_earlier(Timer::Send, message.deadline);
        } else {
            message.deadline = Time::NEVER;
            if self.writes_at_once() && self.outbound.write_one(&message, self.raw.bytes_mut()) {
                self.unwritten = true;
                return Ok(None);
            }
        }
        Ok(self.outbound.push(message, tracked))
    }

    /// Whether a message whose outcome nobody asks for need not wait in the queue for
    /// the next call of [`poll_transmit`](Self::poll_transmit).
    #[inline(always)]
    fn writes_at_once(&self) -> bool {
        self.phase == Phase::Open
            && self.keys.is_none()
            && self.foreign.is_none()
            && (self.raw.is_empty() || self.outbound.wrote_at_once())
            && self.raw.len() < AT_ONCE
    }

    /// Tracks message `seq`, which was [written through](Self::write_through), and which
    /// the driver could not write at once: its outcome comes as an event. `None` if the
    /// connection has ended meanwhile, and what became of the message is not known.
    pub fn expect_through(
        &mut self,
        now: Time,
        seq: u64,
        message: &Message,
        output: &SendBuf,
    ) -> Option<MessageId> {
        self.advance(now);
        if self.end.is_some() {
            self.outbound.count_unknown();
            return None;
        }
        self.unwritten = true;
        let deadline = self.deadline_of(self.now, message);
        self.timers.set_earlier(Timer::Send, deadline);
        let id = self
            .outbound
            .expect_written(seq, message, deadline, output.made());
        Some(id)
    }

    /// When a message that is queued at `now` must have its outcome.
    #[inline]
    pub(crate) fn deadline_of(&self, now: Time, message: &Message) -> Time {
        let timeout = match message.deadline {
            Time::NEVER => self.config.send_timeout,
            own => own.saturating_since(Time::ZERO),
        };
        now.saturating_add(timeout)
    }

    /// Names the next tracked message.
    pub(crate) fn next_id(&self) -> MessageId {
        self.outbound.next_id()
    }

    #[inline(always)]
    pub(super) fn check_send(
        &self,
        size: usize,
        reserved: Option<usize>,
        stays: bool,
    ) -> Result<(), SendErrorReason> {
        let closing = self.phase == Phase::Closing || self.phase == Phase::Closed;
        if closing || self.outbound.finish != Finish::No || self.farewell.is_said() {
            return Err(self.why_not_send());
        }
        let own = self.config.max_message.min(reserved.unwrap_or(usize::MAX));
        let peer = self.outbound.peer_max();
        if size > own.min(peer) {
            return Err(SendErrorReason::TooLarge {
                size,
                max: own.min(peer),
                by_peer: peer < own,
            });
        }
        if reserved.is_none() && !self.has_room(stays) {
            return Err(SendErrorReason::Full);
        }
        Ok(())
    }

    /// Whether the queue has room for a message that `stays` there until it has its
    /// outcome. What leaves nothing behind need not wait for what does: a reply must get
    /// past requests. Events that the driver has not taken count, or one that never asks
    /// would let them pile up.
    #[inline(always)]
    pub(crate) fn has_room(&self, stays: bool) -> bool {
        let others = match stays {
            true => self.outbound.in_flight().saturating_add(self.events.len()),
            false => 0,
        };
        self.outbound.has_room(&self.config, others)
    }

    /// The connection is closing, or was finished.
    #[cold]
    fn why_not_send(&self) -> SendErrorReason {
        // Where the program has finished, the goodbye is the connection's own.
        let announced = || match self.outbound.finish {
            Finish::No => self.farewell.announced(),
            _ => None,
        };
        let closing = self.phase == Phase::Closing || self.phase == Phase::Closed;
        let end = self.end.as_deref().cloned().or_else(announced);
        let end = end.filter(|_| closing);
        end.map_or(SendErrorReason::Finished, SendErrorReason::Closed)
    }

    /// Whether any message could be queued now. One that leaves nothing behind,
    /// untracked and below level *processed*, is also taken while only those under
    /// way fill the queue: else answers would wait for what waits for them.
    ///
    /// # Errors
    /// Why not.
    #[inline]
    pub fn check_room(&self) -> Result<(), SendErrorReason> {
        self.check_send(0, None, true)
    }

    /// The same for a message below level *processed* whose outcome nobody asks for. Where
    /// it may have to be sent again, it stays as others do.
    pub(crate) fn check_untracked_room(&self) -> Result<(), SendErrorReason> {
        self.check_send(0, None, self.outbound.keeps())
    }

    /// Whether everything that was queued has been written; not while a stream is lost, and
    /// never again once the end has kept something from it.
    #[inline]
    pub fn is_flushed(&self) -> bool {
        let outbound = &self.outbound;
        let drained = outbound.is_drained() && !outbound.cut_off && !self.unwritten;
        drained && outbound.finish != Finish::Wanted && self.phase != Phase::Suspended
    }

    /// Withdraws a message. `true` if that surely kept it from being delivered;
    /// its outcome is then [`NotSent`](crate::Outcome::NotSent). Otherwise it is
    /// too late, the peer is told that nobody waits for it any more, and its
    /// outcome comes as usual.
    pub fn cancel(&mut self, id: MessageId) -> bool {
        if self.end.is_some() {
            return false;
        }
        self.quiet = false;
        let withdrawn = self.outbound.cancel(id, &mut self.events);
        self.check_finished();
        withdrawn
    }
}
