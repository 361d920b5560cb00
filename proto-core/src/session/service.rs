//! What a session keeps for programs that ask and answer, not only send.

use super::{
    Session,
    requests::{Answer, Requests},
    waiters::{Interest, Waiters},
};
use crate::{
    connection::inbox::Lane,
    error::{SendError, SendErrorReason},
    event::MessageId,
    message::{AckLevel, Message, Outcome},
    time::Time,
};
use alloc::{boxed::Box, collections::BTreeSet};

/// There from the first request on, so that others cost nothing.
#[derive(Debug)]
pub(super) struct Service {
    requests: Requests,
    /// Requests of the peer's that it has withdrawn and that are not settled.
    cancelled: BTreeSet<u64>,
}

impl Service {
    fn new() -> Service {
        Service {
            requests: Requests::new(),
            cancelled: BTreeSet::new(),
        }
    }
}

impl Session {
    fn service(&mut self) -> &mut Service {
        self.service.get_or_insert_with(|| Box::new(Service::new()))
    }

    // --- Asking -------------------------------------------------------------------

    /// Queues a message that asks for a reply: of [`Kind::Request`],
    /// [`Kind::Subscribe`] or [`Kind::Unsubscribe`]. Its correlation id and its ack
    /// level are set here; its deadline is also the reply's.
    ///
    /// From the first call on, replies are handed out by
    /// [`take_answer`](Self::take_answer) alone.
    ///
    /// [`Kind::Request`]: crate::Kind::Request
    /// [`Kind::Subscribe`]: crate::Kind::Subscribe
    /// [`Kind::Unsubscribe`]: crate::Kind::Unsubscribe
    ///
    /// # Errors
    /// As [`Connection::send`](crate::Connection::send).
    pub fn ask(&mut self, now: Time, message: Message) -> Result<MessageId, SendError> {
        self.ask_with(now, message, |session, message| {
            session.connection.send(now, message)
        })
    }

    /// The same into reserved room.
    ///
    /// # Errors
    /// As [`Connection::send_reserved`](crate::Connection::send_reserved).
    pub fn ask_reserved(
        &mut self,
        now: Time,
        message: Message,
        size: usize,
    ) -> Result<MessageId, SendError> {
        self.ask_with(now, message, |session, message| {
            session.connection.send_reserved(now, message, size)
        })
    }

    fn ask_with(
        &mut self,
        now: Time,
        mut message: Message,
        send: impl FnOnce(&mut Session, Message) -> Result<MessageId, SendError>,
    ) -> Result<MessageId, SendError> {
        message.correlation = self.connection.next_id().0.get();
        message.ack = AckLevel::Processed;
        let deadline = self.connection.deadline_of(now, &message);
        let id = send(self, message)
            .inspect_err(|error| self.room_wanted |= error.reason == SendErrorReason::Full)?;
        self.service().requests.sent(id, deadline);
        Ok(id)
    }

    /// What came of what was asked, once that is known; it is told once.
    pub fn take_answer(&mut self, id: MessageId) -> Option<Answer> {
        let answer = self.service.as_mut()?.requests.take(id)?;
        if let Answer::Replied(reply) = &answer {
            self.connection.put_away(reply);
        }
        Some(answer)
    }

    /// Nobody waits for the answer any more: the peer is told so, if it can
    /// matter to it.
    pub fn forget_answer(&mut self, id: MessageId) {
        let Some(service) = &mut self.service else {
            return;
        };
        match service.requests.forget(id) {
            Some(Answer::Replied(reply)) => self.connection.put_away(&reply),
            Some(Answer::Failed(_)) => {}
            None => {
                self.connection.cancel(id);
            }
        }
    }

    // --- Answering ----------------------------------------------------------------

    /// Whether the peer has withdrawn message `seq`, which is not settled yet:
    /// nobody waits for what comes of it.
    pub fn is_cancelled(&self, seq: u64) -> bool {
        let cancelled = self.service.as_ref().map(|service| &service.cancelled);
        cancelled.is_some_and(|cancelled| cancelled.contains(&seq))
    }

    /// The peer has withdrawn a message.
    pub(super) fn on_cancelled(&mut self, seq: u64, waiters: &mut Waiters) {
        let connection = &self.connection;
        let service = self.service.get_or_insert_with(|| Box::new(Service::new()));
        // So there are never more than the window allows.
        service
            .cancelled
            .retain(|seq| connection.is_unsettled(*seq));
        service.cancelled.insert(seq);
        waiters.wake_for(|interest| interest == Interest::Cancelled(seq));
    }

    pub(super) fn on_settled(&mut self, seq: u64) {
        if let Some(service) = &mut self.service {
            service.cancelled.remove(&seq);
        }
    }

    // --- What comes ---------------------------------------------------------------

    /// Hands replies to those who wait for them. To be called before the outcomes
    /// are sorted: a reply is worth more.
    pub(super) fn sort_lanes(&mut self, waiters: &mut Waiters) {
        let Some(service) = &mut self.service else {
            return;
        };
        while let Some(reply) = self.connection.take_from(Lane::Replies) {
            match service.requests.replied(reply) {
                Ok(id) => waiters.wake_for(|interest| interest == Interest::Outcome(id)),
                // Whoever asked has gone.
                Err(reply) => self.connection.put_away(&reply),
            }
        }
    }

    /// An outcome that is a request's, or is given back.
    pub(super) fn on_outcome(
        &mut self,
        id: MessageId,
        outcome: Outcome,
        waiters: &mut Waiters,
    ) -> Option<Outcome> {
        let Some(service) = &mut self.service else {
            return Some(outcome);
        };
        match service.requests.told(id, outcome) {
            Ok(done) => {
                if done {
                    waiters.wake_for(|interest| interest == Interest::Outcome(id));
                }
                None
            }
            Err(outcome) => Some(outcome),
        }
    }

    /// Whether replies have come that somebody may wait for.
    #[inline]
    pub(super) fn has_in_lanes(&self) -> bool {
        self.service.is_some() && self.connection.has(Lane::Replies)
    }

    /// Requests that reach their deadline.
    pub(super) fn expire_requests(&mut self, now: Time, waiters: &mut Waiters) {
        if let Some(service) = &mut self.service {
            service.requests.expire(now, |id| {
                waiters.wake_for(|interest| interest == Interest::Outcome(id));
            });
        }
    }

    /// When a request reaches its deadline, at the earliest.
    pub(super) fn next_request_timeout(&self) -> Time {
        match &self.service {
            Some(service) => service.requests.next_timeout(),
            None => Time::NEVER,
        }
    }

    /// Gives back memory that holds nothing.
    pub(super) fn release_service(&mut self) {
        if let Some(service) = &mut self.service {
            service.requests.release();
        }
    }
}
