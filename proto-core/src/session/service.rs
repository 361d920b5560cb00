//! What a session keeps for programs that ask and answer, not only send.

use super::{
    Session,
    requests::{Answer, Requests},
    subscriptions::{Backlog, Next, SubscriptionId, Subscriptions},
    waiters::{Interest, Waiters},
};
use crate::{
    connection::inbox::Lane,
    error::{SendError, SendErrorReason},
    event::MessageId,
    message::{AckLevel, Message, Outcome},
    service::Pattern,
    time::Time,
};
use alloc::{boxed::Box, collections::BTreeSet};

/// There from the first request on, of either side, so that others cost nothing.
#[derive(Debug)]
pub(super) struct Service {
    /// From the first request of this side's on.
    requests: Option<Requests>,
    /// Requests of the peer's that it has withdrawn and that are not settled.
    cancelled: BTreeSet<u64>,
    /// From the first subscription on.
    subscriptions: Option<Subscriptions>,
}

impl Service {
    fn new() -> Service {
        Service {
            requests: None,
            cancelled: BTreeSet::new(),
            subscriptions: None,
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
        let requests = &mut self.service().requests;
        requests
            .get_or_insert_with(Requests::new)
            .sent(id, deadline);
        Ok(id)
    }

    /// What came of what was asked, once that is known; it is told once.
    pub fn take_answer(&mut self, id: MessageId) -> Option<Answer> {
        let answer = self.requests()?.take(id)?;
        if let Answer::Replied(reply) = &answer {
            self.connection.put_away(reply);
        }
        Some(answer)
    }

    /// Nobody waits for the answer any more: the peer is told so, if it can
    /// matter to it.
    pub fn forget_answer(&mut self, id: MessageId) {
        let Some(requests) = self.requests() else {
            return;
        };
        match requests.forget(id) {
            Some(Answer::Replied(reply)) => self.connection.put_away(&reply),
            Some(Answer::Failed(_)) => {}
            None => {
                self.connection.cancel(id);
            }
        }
    }

    fn requests(&mut self) -> Option<&mut Requests> {
        self.service.as_mut()?.requests.as_mut()
    }

    // --- Subscribing ----------------------------------------------------------------

    /// Keeps events that match `pattern` for a subscriber, once the peer sends them:
    /// [ask](Self::ask) it for them next. From the first call on, events are handed
    /// out by [`next_event`](Self::next_event) alone.
    pub fn open_subscription(&mut self, pattern: &Pattern, backlog: Backlog) -> SubscriptionId {
        let subscriptions = self.service().subscriptions.get_or_insert_default();
        subscriptions.open(pattern, backlog)
    }

    /// The next event of a subscription. There may be room then for what waits
    /// behind it: [`hand_out`](Self::hand_out).
    pub fn next_event(&mut self, id: SubscriptionId) -> Next {
        match self.subscriptions() {
            Some(subscriptions) => subscriptions.take(id),
            None => Next::Overrun,
        }
    }

    /// Hands out events that waited for room.
    pub fn hand_out(&mut self, waiters: &mut Waiters) {
        if self.has_in_lanes() {
            self.sort_lanes(waiters);
        }
    }

    /// The subscriber has gone. The peer is told when there is room in the queue.
    pub fn close_subscription(&mut self, id: SubscriptionId, waiters: &mut Waiters) {
        if let Some(subscriptions) = self.subscriptions() {
            subscriptions.close(id);
        }
        self.sort_lanes(waiters);
    }

    /// The peer is another process and knows nothing of them.
    pub(super) fn subscribe_again(&mut self, waiters: &mut Waiters) {
        if let Some(subscriptions) = self.subscriptions() {
            subscriptions.renew();
        }
        self.sort_lanes(waiters);
    }

    fn subscriptions(&mut self) -> Option<&mut Subscriptions> {
        self.service.as_mut()?.subscriptions.as_mut()
    }

    // --- Answering ----------------------------------------------------------------

    /// Whether the peer has withdrawn message `seq`, which is not settled yet:
    /// nobody waits for what comes of it.
    pub fn is_cancelled(&self, seq: u64) -> bool {
        let cancelled = self.service.as_ref().map(|service| &service.cancelled);
        cancelled.is_some_and(|cancelled| cancelled.contains(&seq))
    }

    /// As [`poll_room`](Self::poll_room), for a reply of level *none*: what waits for
    /// its outcome takes no room from it, so requests under way do not keep a side from
    /// answering.
    ///
    /// # Errors
    /// Why there will not be any more.
    pub fn poll_reply_room(&mut self) -> Option<Result<(), SendErrorReason>> {
        let room = self.connection.check_untracked_room();
        if room == Err(SendErrorReason::Full) {
            self.room_wanted = true;
            return None;
        }
        Some(room)
    }

    /// The peer has withdrawn a message.
    pub(super) fn on_cancelled(&mut self, seq: u64, waiters: &mut Waiters) {
        let connection = &self.connection;
        let service = self.service.get_or_insert_with(|| Box::new(Service::new()));
        if service.cancelled.contains(&seq) {
            return;
        }
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

    /// Hands replies and events to those who wait for them. To be called before the
    /// outcomes are sorted: a reply is worth more.
    pub(super) fn sort_lanes(&mut self, waiters: &mut Waiters) {
        let Some(service) = &mut self.service else {
            return;
        };
        let connection = &mut self.connection;
        while let Some(requests) = &mut service.requests
            && let Some(reply) = connection.take_from(Lane::Replies)
        {
            match requests.replied(reply) {
                Ok(id) => waiters.wake_for(|interest| interest == Interest::Outcome(id)),
                // Whoever asked has gone.
                Err(reply) => connection.put_away(&reply),
            }
        }
        let Some(subscriptions) = &mut service.subscriptions else {
            return;
        };
        while let Some(event) = connection.first_of(Lane::Events)
            && subscriptions.has_room(event)
            && let Some(event) = connection.take_from(Lane::Events)
        {
            for id in subscriptions.hand_out(&event) {
                waiters.wake_for(|interest| interest == Interest::Event(id));
            }
            connection.put_away(&event);
        }
        while let Some((kind, pattern)) = subscriptions.untold.front() {
            // No request has this id: the answer is nobody's.
            let sent = Message::subscription(*kind, 0, pattern.as_str())
                .map(|message| connection.send_untracked(Time::ZERO, message));
            if let Ok(Err(error)) = sent
                && error.reason == SendErrorReason::Full
            {
                break;
            }
            subscriptions.untold.pop_front();
        }
    }

    /// An outcome that is a request's, or is given back.
    pub(super) fn on_outcome(
        &mut self,
        id: MessageId,
        outcome: Outcome,
        waiters: &mut Waiters,
    ) -> Option<Outcome> {
        let Some(requests) = self.requests() else {
            return Some(outcome);
        };
        match requests.told(id, outcome) {
            Ok(done) => {
                if done {
                    waiters.wake_for(|interest| interest == Interest::Outcome(id));
                }
                None
            }
            Err(outcome) => Some(outcome),
        }
    }

    /// Whether replies or events have come that somebody may wait for, or the peer
    /// is to be told that nobody does.
    #[inline]
    pub(super) fn has_in_lanes(&self) -> bool {
        let Some(service) = &self.service else {
            return false;
        };
        (service.requests.is_some() && self.connection.has(Lane::Replies))
            || service.subscriptions.as_ref().is_some_and(|subscriptions| {
                self.connection.has(Lane::Events) || !subscriptions.untold.is_empty()
            })
    }

    /// Requests that reach their deadline.
    pub(super) fn expire_requests(&mut self, now: Time, waiters: &mut Waiters) {
        if let Some(requests) = self.requests() {
            requests.expire(now, |id| {
                waiters.wake_for(|interest| interest == Interest::Outcome(id));
            });
        }
    }

    /// When a request reaches its deadline, at the earliest.
    pub(super) fn next_request_timeout(&self) -> Time {
        let requests = self
            .service
            .as_ref()
            .and_then(|service| service.requests.as_ref());
        requests.map_or(Time::NEVER, Requests::next_timeout)
    }

    /// Gives back memory that holds nothing.
    pub(super) fn release_service(&mut self) {
        if let Some(requests) = self.requests() {
            requests.release();
        }
    }
}
