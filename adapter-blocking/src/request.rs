//! Requests and subscriptions for plain threads.

use crate::{Error, Incoming, Interrupter, SendError, calls::Calls};
use sealpipe_core::{Received, service::RemoteError};
use sealpipe_driver::{Event, RequestError, SubscribeError};
use sealpipe_smol::{Smol, block_on};
use std::{ops::Deref, sync::Arc, time::Duration};

/// A request of the peer's, which owes an answer: [`reply`](Self::reply) or
/// [`fail`](Self::fail), from any thread and in any order. Dropped without either, it
/// fails with a rejection. Made of an [`Incoming`] by `try_from`, which gives back
/// what is not a request.
#[must_use = "a request that is dropped without an answer fails"]
#[derive(Debug)]
pub struct Request(pub(crate) sealpipe_driver::Request<Smol>);

impl TryFrom<Incoming> for Request {
    type Error = Incoming;

    fn try_from(message: Incoming) -> Result<Request, Incoming> {
        message.into_request().map(Request)
    }
}

impl Request {
    /// Answers it. Returns when the reply is queued; what becomes of it is the
    /// asking side's business.
    ///
    /// # Errors
    /// [`SendError::NotTaken`] if the reply is too large, whereupon the asking side
    /// is told so, or the connection has ended.
    pub fn reply(self, payload: impl Into<bytes::Bytes>) -> Result<(), SendError> {
        block_on(self.0.reply(payload))
    }

    /// Answers it with an error.
    ///
    /// # Errors
    /// As [`reply`](Self::reply).
    pub fn fail(self, error: RemoteError) -> Result<(), SendError> {
        block_on(self.0.fail(error))
    }

    /// How much is left of the time that the asking side allows; `None` if it set no
    /// limit.
    pub fn time_left(&self) -> Option<Duration> {
        self.0.time_left()
    }

    /// Whether the asking side has given up, or the connection has ended. For a
    /// handler that can stop early.
    pub fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Blocks until the asking side has given up (the time that it allows has passed,
    /// or it has withdrawn the request), or the connection has ended.
    pub fn wait_cancelled(&self) {
        block_on(self.0.cancelled());
    }

    /// The request, out of a place where it is only borrowed, to be answered
    /// elsewhere. What stays there owes no answer.
    pub fn take(&mut self) -> Request {
        Request(self.0.take())
    }
}

impl Deref for Request {
    type Target = Received;

    fn deref(&self) -> &Received {
        &self.0
    }
}

/// The events that match a pattern, as they come; [`events`](Self::events) iterates over
/// them. Dropped, it takes the subscription back.
#[derive(Debug)]
#[must_use = "dropped, it takes the subscription back"]
pub struct Subscription {
    pub(crate) inner: sealpipe_driver::Subscription<Smol>,
    pub(crate) calls: Arc<Calls>,
}

impl Subscription {
    /// The next event; `None` when the peer has finished, or either side has closed,
    /// and nothing is wrong. Waits for as long as it takes, or the handle's read
    /// timeout.
    ///
    /// # Errors
    /// [`Error::Timeout`] after the read timeout, [`Error::Interrupted`] if another
    /// thread ended the call: nothing is lost, and the next call goes on. Else what
    /// [`Subscription::recv`](sealpipe_driver::Subscription::recv) says.
    pub fn recv(&mut self) -> Result<Option<Event>, EventError> {
        let limit = self.calls.reading();
        match self.calls.run(limit, self.inner.recv()) {
            Ok(event) => Ok(event?),
            Err(ended) => Err(EventError::Call(ended.error("waiting for an event"))),
        }
    }

    /// The events, until there are no more. An error is the last item.
    pub fn events(&mut self) -> impl Iterator<Item = Result<Event, EventError>> + '_ {
        let mut ended = false;
        std::iter::from_fn(move || {
            if ended {
                return None;
            }
            let next = self.recv().transpose();
            ended = !matches!(next, Some(Ok(_)));
            next
        })
    }

    /// What was subscribed to.
    pub fn pattern(&self) -> &str {
        self.inner.pattern()
    }

    /// How long [`recv`](Self::recv) waits; `None`, for as long as it takes, unless
    /// the connection's handle had a read timeout.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) {
        self.calls.set_read_timeout(timeout);
    }

    /// How long [`recv`](Self::recv) waits.
    pub fn read_timeout(&self) -> Option<Duration> {
        self.calls.read_timeout()
    }

    /// Ends the calls from another thread.
    pub fn interrupter(&self) -> Interrupter {
        Interrupter(self.calls.clone())
    }
}

/// Waiting for an event has ended without one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EventError {
    /// The subscription has ended.
    #[error(transparent)]
    Ended(#[from] SubscribeError),
    /// The call has ended: the next one goes on.
    #[error(transparent)]
    Call(Error),
}

/// What a call that asks reports if it ended early.
pub(crate) fn interrupted() -> RequestError {
    RequestError::Send(SendError::Unknown(None))
}
