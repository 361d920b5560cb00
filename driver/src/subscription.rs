//! Events that a program has asked its peer for.

use crate::{
    RequestError, Runtime,
    call::{First, Now},
    connection::Owner,
};
use futures_core::Stream;
use sealpipe_core::{
    ConnectionError, Kind, Message, Received,
    service::{Pattern, PatternError},
    session::{Backlog, Interest, Next, Place, Session, SubscriptionId},
};
use std::{
    fmt,
    future::poll_fn,
    ops::Deref,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

/// A subscription could not be had, or has ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The pattern is not one.
    #[error("{0}")]
    Pattern(#[from] PatternError),
    /// The peer did not agree, or could not be asked.
    #[error("the peer did not take the subscription: {0}")]
    Refused(#[from] RequestError),
    /// The subscriber did not take its events as fast as they came.
    #[error(
        "the subscription has ended: its backlog was full; take events faster, or let it be \
         larger or drop the oldest"
    )]
    Overrun,
    /// The connection has ended.
    #[error("the subscription has ended: {0}")]
    Connection(ConnectionError),
}

/// What a publisher sent about a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    received: Received,
    missed: u64,
}

impl Event {
    /// What it is about.
    pub fn topic(&self) -> &str {
        self.received.topic.as_deref().unwrap_or_default()
    }

    /// How many events of this subscription, or for others of this connection, were
    /// dropped before this one, because this side was too slow for them.
    pub fn missed(&self) -> u64 {
        self.missed
    }
}

impl Deref for Event {
    type Target = Received;

    fn deref(&self) -> &Received {
        &self.received
    }
}

/// The events that match a pattern, as they come: also a `Stream`. Dropped, it takes
/// the subscription back.
///
/// What has come and is not taken stays in a [`Backlog`].
#[must_use = "dropped, it takes the subscription back"]
pub struct Subscription<R: Runtime> {
    owner: Arc<Owner<R>>,
    id: SubscriptionId,
    pattern: Pattern,
    place: Place,
    /// The `Stream` side has told why it has ended.
    end_told: bool,
}

pub(crate) async fn subscribe<R: Runtime>(
    owner: &Arc<Owner<R>>,
    pattern: &str,
    backlog: Backlog,
) -> Result<Subscription<R>, SubscribeError> {
    let pattern = Pattern::new(pattern)?;
    // Before the peer knows of it, so that no event finds nobody. Dropped before the
    // peer has agreed, this takes the subscription back.
    let subscription = Subscription {
        id: owner
            .shared
            .session(|session| session.open_subscription(&pattern, backlog)),
        owner: owner.clone(),
        place: Place::default(),
        end_told: false,
        pattern,
    };
    let pattern = Arc::<str>::from(subscription.pattern());
    let message = Message::subscription(Kind::Subscribe, 0, pattern);
    // A pattern has been checked for its length.
    let message = message.map_err(|_| SubscribeError::Overrun)?;
    crate::request::request(owner, message).await?;
    Ok(subscription)
}

impl<R: Runtime> Subscription<R> {
    /// The next event; `None` when the peer has finished, or either side has closed,
    /// and nothing is wrong. Dropping the future loses none.
    ///
    /// # Errors
    /// [`SubscribeError::Overrun`] if the subscriber was too slow and had chosen to
    /// end then; [`SubscribeError::Connection`] if the connection has ended in a way
    /// that was not orderly. What had come before has then been handed out.
    pub async fn recv(&mut self) -> Result<Option<Event>, SubscribeError> {
        poll_fn(|context| self.poll_recv(context)).await
    }

    /// What was subscribed to.
    pub fn pattern(&self) -> &str {
        self.pattern.as_str()
    }

    pub(crate) fn owner(&self) -> &Owner<R> {
        &self.owner
    }

    fn poll_recv(&mut self, context: &Context<'_>) -> Poll<Result<Option<Event>, SubscribeError>> {
        let Subscription {
            owner, id, place, ..
        } = self;
        let (shared, id) = (&owner.shared, *id);
        let poll = shared.poll_wait(
            context,
            Now::default(),
            place,
            Interest::Event(id),
            First::Look,
            |session| next(session, id),
        );
        if poll.is_ready() {
            shared.with(Session::hand_out);
        }
        poll
    }
}

fn next(
    session: &mut Session,
    id: SubscriptionId,
) -> Option<Result<Option<Event>, SubscribeError>> {
    match session.next_event(id) {
        Next::Event(mail) => {
            let missed = mail.missed.saturating_add(mail.item.missed());
            Some(Ok(Some(Event {
                received: mail.item,
                missed,
            })))
        }
        Next::Overrun => Some(Err(SubscribeError::Overrun)),
        Next::Empty => match session.connection().end() {
            Some(end) if !end.is_orderly() => Some(Err(SubscribeError::Connection(end.clone()))),
            None if !session.connection().peer_finished() => None,
            _ => Some(Ok(None)),
        },
    }
}

impl<R: Runtime> Stream for Subscription<R> {
    type Item = Result<Event, SubscribeError>;

    /// An error is the last item.
    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.end_told {
            return Poll::Ready(None);
        }
        let poll = self.poll_recv(context);
        self.end_told = matches!(poll, Poll::Ready(Err(_)));
        poll.map(Result::transpose)
    }
}

impl<R: Runtime> Drop for Subscription<R> {
    fn drop(&mut self) {
        let shared = &self.owner.shared;
        shared.with(|session, waiters| session.close_subscription(self.id, waiters));
        shared.leave(&mut self.place);
    }
}

impl<R: Runtime> fmt::Debug for Subscription<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("pattern", &self.pattern())
            .finish_non_exhaustive()
    }
}
