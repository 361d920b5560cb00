//! Requests: this side's, and the peer's.

use crate::{
    Incoming, Runtime, SendError,
    call::First,
    connection::Owner,
    sending::{ASK, not_ready, take_in},
    shared::Shared,
    timeout::timeout,
    waiting::Waiting,
};
use bytes::Bytes;
use sealpipe_core::{
    ConnectionError, Kind, Message, MessageId, Outcome, Received, Rejection, SendErrorReason, Time,
    service::RemoteError,
    session::{Answer, Interest, Session},
};
use std::{fmt, future::poll_fn, ops::Deref, time::Duration};

/// A request was not answered with a reply.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The peer's program answered with an error.
    #[error("{0}")]
    Remote(RemoteError),
    /// The request was not taken, did not reach the peer's program, was rejected by
    /// it without an answer, or it is not known whether it reached it.
    #[error("the request failed: {0}")]
    Send(#[from] SendError),
    /// The peer's program took the request, and no reply came in time, or before the
    /// connection ended for the given reason.
    #[error("the peer's program took the request and {}", why_no_reply(.0.as_ref()))]
    NoReply(Option<ConnectionError>),
    /// The request cannot be written in its format, or the reply cannot be read.
    #[cfg(feature = "serde")]
    #[error(transparent)]
    Format(#[from] crate::FormatError),
}

pub(crate) async fn ask<R: Runtime>(
    owner: &Owner<R>,
    payload: Bytes,
    deadline: Duration,
) -> Result<Bytes, RequestError> {
    let message = Message::request(payload).with_deadline(deadline);
    request(owner, message).await.map(|reply| reply.payload)
}

/// Asks, and waits for the reply. Dropped, it tells the peer that nobody waits.
pub(crate) async fn request<R: Runtime>(
    owner: &Owner<R>,
    message: Message,
) -> Result<Received, RequestError> {
    let mut waiting = Waiting::new(&owner.shared);
    let id = take_in(owner, &mut waiting, message, ASK).await?;
    let forget = ForgetAnswer {
        shared: &owner.shared,
        id,
    };
    let (answer, end) = poll_fn(|context| {
        waiting.poll(context, Interest::Outcome(id), First::Write, |session| {
            let answer = session.take_answer(id)?;
            Some((answer, session.connection().end().cloned()))
        })
    })
    .await;
    // Told: there is nothing left to forget.
    std::mem::forget(forget);
    match answer {
        Answer::Replied(reply) if reply.kind == Kind::Error => {
            Err(RequestError::Remote(RemoteError::decode(&reply.payload)))
        }
        Answer::Replied(reply) => Ok(reply),
        Answer::Failed(Outcome::Processed) => Err(RequestError::NoReply(end)),
        Answer::Failed(outcome) => Err(failed(outcome, end.as_ref())),
    }
}

fn failed(outcome: Outcome, end: Option<&ConnectionError>) -> RequestError {
    match SendError::check(outcome, end) {
        Err(error) => RequestError::Send(error),
        Ok(_) => RequestError::NoReply(end.cloned()),
    }
}

fn why_no_reply(end: Option<&ConnectionError>) -> String {
    match end {
        Some(end) => format!("did not reply before the connection ended: {end}"),
        None => String::from("did not reply in time; allow it more time, or look at what it does"),
    }
}

struct ForgetAnswer<'a, R: Runtime> {
    shared: &'a Shared<R>,
    id: MessageId,
}

impl<R: Runtime> Drop for ForgetAnswer<'_, R> {
    fn drop(&mut self) {
        // Who waits for the transport leaves after this, and sees to the writing.
        self.shared
            .session(|session| session.forget_answer(self.id));
    }
}

/// A request of the peer's, which owes an answer: [`reply`](Self::reply) or
/// [`fail`](Self::fail), from any task and in any order. Dropped without either, it
/// fails with a rejection. A subscription is such a request, too: its kind tells.
#[must_use = "a request that is dropped without an answer fails"]
pub struct Request<R: Runtime> {
    incoming: Incoming<R>,
    received: Time,
}

impl<R: Runtime> Request<R> {
    /// Gives a message back that is not a request.
    ///
    /// # Errors
    /// The message.
    pub(crate) fn new(incoming: Incoming<R>) -> Result<Request<R>, Incoming<R>> {
        if !incoming.kind.is_answered() {
            return Err(incoming);
        }
        let received = R::now();
        Ok(Request { incoming, received })
    }

    /// Answers it. Returns when the reply is queued; what becomes of it is the
    /// asking side's business.
    ///
    /// # Errors
    /// [`SendError::NotTaken`] if the reply is too large, whereupon the asking side
    /// is told so, or the connection has ended. [`SendError::NotSent`] if there is no
    /// room for it before the asking side gives up, or within
    /// [`send_timeout`](sealpipe_core::ConfigBuilder::send_timeout).
    pub async fn reply(self, payload: impl Into<Bytes>) -> Result<(), SendError> {
        self.answer(Kind::Reply, payload.into()).await
    }

    /// Answers it with an error.
    ///
    /// # Errors
    /// As [`reply`](Self::reply).
    pub async fn fail(self, error: RemoteError) -> Result<(), SendError> {
        self.answer(Kind::Error, error.encode()).await
    }

    /// The request, out of a place where it is only borrowed, to be answered
    /// elsewhere. What stays there owes no answer.
    pub fn take(&mut self) -> Request<R> {
        Request {
            incoming: self.incoming.take(),
            received: self.received,
        }
    }

    /// How much is left of the time that the asking side allows; `None` if it set no
    /// limit.
    pub fn time_left(&self) -> Option<Duration> {
        let allowed = self.incoming.time_left()?;
        let passed = R::now().saturating_since(self.received);
        Some(allowed.saturating_sub(passed))
    }

    /// Waits until the asking side has given up (the time that it allows has passed,
    /// or it has withdrawn the request), or the connection has ended. For a handler
    /// that can stop early. Of a request that is answered already it never returns.
    pub async fn cancelled(&self) {
        let Some(shared) = self.incoming.owed() else {
            return std::future::pending().await;
        };
        let seq = self.incoming.seq;
        let mut waiting = Waiting::new(shared);
        let over = poll_fn(|context| {
            waiting.poll(context, Interest::Cancelled(seq), First::Look, |session| {
                is_over(session, seq).then_some(())
            })
        });
        match self.time_left() {
            Some(left) => drop(timeout::<R, _>(left, over).await),
            None => over.await,
        }
    }

    /// Whether the asking side has given up, or the connection has ended.
    pub fn is_cancelled(&self) -> bool {
        let Some(shared) = self.incoming.owed() else {
            return false;
        };
        let late = self.time_left().is_some_and(|left| left.is_zero());
        late || shared.session(|session| is_over(session, self.incoming.seq))
    }

    async fn answer(mut self, kind: Kind, payload: Bytes) -> Result<(), SendError> {
        let correlation = self.incoming.correlation().unwrap_or(0);
        let Ok(mut message) = Message::correlated(kind, correlation, payload) else {
            return Err(SendError::NotSent(None));
        };
        let Some(shared) = self.incoming.owed().cloned() else {
            return Err(SendError::NotSent(None));
        };
        let longest = shared.session(|session| session.connection().config().send_timeout());
        let limit = self.time_left().map_or(longest, |left| left.min(longest));
        let until = R::now().saturating_add(limit);
        let mut waiting = Waiting::new(&shared);
        loop {
            let sent = shared.session(|session| {
                // Nobody waits for it.
                if session.is_cancelled(self.incoming.seq) {
                    return Ok(());
                }
                session.send_untracked(Time::ZERO, message)
            });
            let error = match sent {
                Ok(()) => break,
                Err(error) => error,
            };
            match error.reason {
                SendErrorReason::Full => message = error.message,
                SendErrorReason::TooLarge { size, max, .. } => {
                    let text = format!("the reply of {size} bytes is above the limit of {max}");
                    let why = Rejection::new(Rejection::UNSPECIFIED, text);
                    self.incoming.settle(Err(why));
                    return Err(SendError::not_taken(error));
                }
                _ => return Err(SendError::not_taken(error)),
            }
            let room = poll_fn(|context| {
                waiting.poll(context, Interest::ReplyRoom, First::Write, |session| {
                    session.poll_reply_room()
                })
            });
            let left = until.saturating_since(R::now());
            let room = timeout::<R, _>(left, room).await;
            room.map_err(|_| SendError::NotSent(None))?
                .map_err(not_ready)?;
        }
        // Both go out in one write.
        self.incoming.settle(Ok(()));
        Ok(())
    }
}

/// Whether nobody waits any more for what comes of message `seq`.
fn is_over(session: &Session, seq: u64) -> bool {
    session.is_cancelled(seq) || session.connection().end().is_some()
}

impl<R: Runtime> Deref for Request<R> {
    type Target = Received;

    fn deref(&self) -> &Received {
        &self.incoming
    }
}

impl<R: Runtime> fmt::Debug for Request<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("seq", &self.incoming.seq)
            .field("bytes", &self.incoming.payload.len())
            .field("time_left", &self.time_left())
            .finish_non_exhaustive()
    }
}
