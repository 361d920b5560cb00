//! Messages on their way out, and what becomes of them.

use crate::{
    Error, Runtime, SendError,
    call::{First, Now},
    connection::{Owner, reason_to_error},
    shared::Shared,
    timeout::timeout,
    waiting::Waiting,
};
use futures_core::FusedFuture;
use futures_util::future::Either;
use sealpipe_core::{
    ConnectionError, Kind, Message, MessageId, Outcome, SendErrorReason, Time,
    session::{Interest, Place, Session},
};
use std::{
    fmt,
    future::{Future, poll_fn, ready},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

pub(crate) async fn send<R: Runtime>(
    owner: &Owner<R>,
    message: Message,
) -> Result<Outcome, SendError> {
    let mut waiting = Waiting::new(&owner.shared);
    let id = match owner.shared.send_through(&mut waiting.now, &message) {
        Some(Fate::Known(Outcome::Sent)) => return Ok(Outcome::Sent),
        Some(Fate::Known(outcome)) => return SendError::check(outcome, owner.end().as_ref()),
        Some(Fate::Awaited(id)) => id,
        None => take_in(owner, &mut waiting, message, SEND).await?,
    };
    // Dropped from here on, the message goes on; only its outcome is forgotten.
    let forget = Forget {
        shared: &owner.shared,
        id,
    };
    let (outcome, end) = poll_fn(|context| {
        waiting.poll(context, Interest::Outcome(id), First::Write, |session| {
            take(session, id)
        })
    })
    .await;
    // Told: there is nothing left to forget.
    std::mem::forget(forget);
    SendError::check(outcome, end.as_ref())
}

pub(crate) async fn queue<R: Runtime>(
    owner: &Owner<R>,
    message: Message,
) -> Result<Delivery<R>, SendError> {
    let mut waiting = Waiting::new(&owner.shared);
    let fate = match owner.shared.send_through(&mut waiting.now, &message) {
        Some(fate) => fate,
        None => Fate::Awaited(take_in(owner, &mut waiting, message, SEND).await?),
    };
    Ok(Delivery::new(&owner.shared, fate))
}

/// The two ways into a session's queue: at once, and into reserved room.
#[derive(Clone, Copy)]
pub(crate) struct Entrance {
    now: fn(&mut Session, Time, Message) -> Result<MessageId, sealpipe_core::SendError>,
    reserved: fn(&mut Session, Time, Message, usize) -> Result<MessageId, sealpipe_core::SendError>,
}

/// For a message whose outcome will be asked for.
pub(crate) const SEND: Entrance = Entrance {
    now: Session::send,
    reserved: Session::send_reserved,
};

/// For a message whose answer will be asked for.
pub(crate) const ASK: Entrance = Entrance {
    now: Session::ask,
    reserved: Session::ask_reserved,
};

/// Queues a message now, or else when there is room for it. The wait for room is part of
/// the time that the message has.
pub(crate) fn take_in<'a, R: Runtime>(
    owner: &'a Owner<R>,
    waiting: &'a mut Waiting<'_, R>,
    message: Message,
    entrance: Entrance,
) -> impl Future<Output = Result<MessageId, SendError>> + Send {
    let now = waiting.now.get::<R>();
    let taken = owner
        .shared
        .session(|session| (entrance.now)(session, now, message));
    match taken {
        // Boxed: it is seldom, and every future that sends would be twice as large.
        Err(error) if error.reason == SendErrorReason::Full => Either::Left(Box::pin(
            wait_for_room(owner, waiting, error.message, entrance),
        )),
        taken => Either::Right(ready(taken.map_err(SendError::not_taken))),
    }
}

async fn wait_for_room<R: Runtime>(
    owner: &Owner<R>,
    waiting: &mut Waiting<'_, R>,
    message: Message,
    entrance: Entrance,
) -> Result<MessageId, SendError> {
    let limit = message.deadline().unwrap_or(owner.config.send_timeout());
    let until = waiting.now.get::<R>().saturating_add(limit);
    let size = message.size();
    let room = poll_fn(|context| {
        waiting.poll(
            context,
            Interest::Room,
            First::Write,
            |session| match session.reserve(size) {
                Err(SendErrorReason::Full) => None,
                result => Some(result),
            },
        )
    });
    let reserved = timeout::<R, _>(limit, room).await;
    match reserved.unwrap_or(Err(SendErrorReason::Full)) {
        Ok(()) if until <= R::now() => {
            let shared = &owner.shared;
            shared.with(|session, waiters| session.unreserve(size, waiters));
            Err(SendError::NotTaken {
                message: Box::new(message),
                reason: SendErrorReason::Full,
            })
        }
        Ok(()) => {
            let now = R::now();
            // Of a request without a deadline the peer is told none.
            let message = if message.deadline().is_some() || message.kind() != Kind::Request {
                message.with_deadline(until.saturating_since(now))
            } else {
                message
            };
            owner
                .shared
                .session(|session| (entrance.reserved)(session, now, message, size))
                .map_err(SendError::not_taken)
        }
        Err(reason) => Err(SendError::NotTaken {
            message: Box::new(message),
            reason,
        }),
    }
}

/// The outcome, and why the connection has ended if it has.
fn take(session: &mut Session, id: MessageId) -> Option<(Outcome, Option<ConnectionError>)> {
    let outcome = session.take_outcome(id)?;
    Some((outcome, session.connection().end().cloned()))
}

struct Forget<'a, R: Runtime> {
    shared: &'a Shared<R>,
    id: MessageId,
}

impl<R: Runtime> Drop for Forget<'_, R> {
    fn drop(&mut self) {
        self.shared
            .session(|session| session.forget_outcome(self.id));
    }
}

/// Sends a message past the queue, or gives it back.
pub(crate) fn send_through<R: Runtime>(
    owner: &Owner<R>,
    message: Message,
) -> Result<Delivery<R>, Message> {
    match owner.shared.send_through(&mut Now::default(), &message) {
        Some(fate) => Ok(Delivery::new(&owner.shared, fate)),
        None => Err(message),
    }
}

pub(crate) fn try_send<R: Runtime>(
    owner: &Owner<R>,
    message: Message,
) -> Result<Delivery<R>, SendError> {
    let message = match send_through(owner, message) {
        Ok(delivery) => return Ok(delivery),
        Err(message) => message,
    };
    let now = R::now();
    let sent = owner.shared.session(|session| session.send(now, message));
    let id = sent.map_err(SendError::not_taken)?;
    Ok(Delivery::new(&owner.shared, Fate::Awaited(id)))
}

pub(crate) fn not_ready(reason: SendErrorReason) -> SendError {
    match reason {
        SendErrorReason::Closed(end) => SendError::NotSent(Some(end)),
        reason => SendError::not_connected(reason_to_error(reason)),
    }
}

pub(crate) async fn reserve<R: Runtime>(owner: &Owner<R>) -> Result<Permit<R>, Error> {
    let size = owner.config.max_message();
    let mut waiting = Waiting::new(&owner.shared);
    let room = poll_fn(|context| {
        waiting.poll(context, Interest::Room, First::Write, |session| {
            // The peer may accept less than this side would send.
            match session.reserve(size) {
                Err(SendErrorReason::TooLarge { max, .. }) => match session.reserve(max) {
                    Err(SendErrorReason::Full) => None,
                    result => Some(result.map(|()| max)),
                },
                Err(SendErrorReason::Full) => None,
                result => Some(result.map(|()| size)),
            }
        })
    });
    let limit = owner.config.send_timeout();
    match timeout::<R, _>(limit, room).await {
        Ok(Ok(size)) => Ok(Permit {
            shared: Some(owner.shared.clone()),
            size,
        }),
        Ok(Err(reason)) => Err(reason_to_error(reason)),
        Err(_) => Err(Error::Timeout {
            doing: "waiting for room in the send queue",
            limit,
            last: None,
        }),
    }
}

/// Room for one message. Dropped, it gives the room back.
#[must_use = "dropped, it gives the room back"]
pub struct Permit<R: Runtime> {
    shared: Option<Arc<Shared<R>>>,
    size: usize,
}

impl<R: Runtime> Permit<R> {
    /// Queues a message, which cannot find the queue full, and flushes what the
    /// system takes.
    ///
    /// # Errors
    /// [`SendError::NotTaken`], with the message in it, if it is too large or the
    /// connection has ended.
    pub fn send(mut self, message: impl Into<Message>) -> Result<Delivery<R>, SendError> {
        let message = message.into();
        let size = self.size;
        let Some(shared) = self.shared.take() else {
            return Err(SendError::NotTaken {
                message: Box::new(message),
                reason: SendErrorReason::Full,
            });
        };
        let now = R::now();
        let sent = shared.with(|session, waiters| {
            let sent = session.send_reserved(now, message, size);
            // It may have kept more than it took.
            session.with(waiters, |_| sent)
        });
        let id = sent.map_err(SendError::not_taken)?;
        Ok(Delivery::new(&shared, Fate::Awaited(id)))
    }
}

impl<R: Runtime> Drop for Permit<R> {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            shared.with(|session, waiters| session.unreserve(self.size, waiters));
        }
    }
}

impl<R: Runtime> fmt::Debug for Permit<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

/// What becomes of a message that was taken.
#[derive(Debug)]
pub(crate) enum Fate {
    Awaited(MessageId),
    Known(Outcome),
}

/// A message that was queued, or has gone out already: a future of its outcome. The
/// message goes on whether or not this is waited for.
pub struct Delivery<R: Runtime> {
    shared: Arc<Shared<R>>,
    /// `None` once it was told.
    fate: Option<Fate>,
    place: Place,
}

impl<R: Runtime> Delivery<R> {
    fn new(shared: &Arc<Shared<R>>, fate: Fate) -> Delivery<R> {
        if let Fate::Awaited(_) = fate {
            shared.flush(R::now());
            shared.leave(&mut Place::default());
        }
        Delivery {
            shared: shared.clone(),
            fate: Some(fate),
            place: Place::default(),
        }
    }

    /// Whether the message went out at once and asked for no more: to wait for it takes no
    /// preparation. For adapters; `false` says nothing.
    #[doc(hidden)]
    pub fn is_sent(&self) -> bool {
        matches!(self.fate, Some(Fate::Known(Outcome::Sent)))
    }

    /// Withdraws the message. `true` if that surely kept it from being delivered:
    /// its outcome is then [`SendError::NotSent`]. Otherwise it is too late, and
    /// the peer's program is told that nobody waits for it any more.
    pub fn cancel(&self) -> bool {
        let Some(Fate::Awaited(id)) = self.fate else {
            return false;
        };
        let cancelled = self
            .shared
            .with(|session, waiters| session.with(waiters, |core| core.cancel(id)));
        self.shared.flush(R::now());
        self.shared.leave(&mut Place::default());
        cancelled
    }
}

impl<R: Runtime> Future for Delivery<R> {
    type Output = Result<Outcome, SendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Delivery {
            shared,
            fate,
            place,
        } = &mut *self;
        let told = match fate {
            // It is told once: better an error than to wait for ever.
            None => Poll::Ready((Outcome::Unknown, None)),
            Some(Fate::Known(Outcome::Sent)) => Poll::Ready((Outcome::Sent, None)),
            Some(Fate::Known(outcome)) => {
                let end = shared.session(|session| session.connection().end().cloned());
                Poll::Ready((outcome.clone(), end))
            }
            Some(Fate::Awaited(id)) => shared.poll_wait(
                context,
                Now::default(),
                place,
                Interest::Outcome(*id),
                First::Look,
                |session| take(session, *id),
            ),
        };
        told.map(|(outcome, end)| {
            *fate = None;
            SendError::check(outcome, end.as_ref())
        })
    }
}

impl<R: Runtime> FusedFuture for Delivery<R> {
    fn is_terminated(&self) -> bool {
        self.fate.is_none()
    }
}

impl<R: Runtime> Drop for Delivery<R> {
    fn drop(&mut self) {
        if let Some(Fate::Awaited(id)) = self.fate {
            self.shared.session(|session| session.forget_outcome(id));
            self.shared.leave(&mut self.place);
        }
    }
}

impl<R: Runtime> fmt::Debug for Delivery<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("fate", &self.fate)
            .finish_non_exhaustive()
    }
}
