//! Messages that gather, and go out in few writes: `feed` and `flush`, and the `Sink`.

use crate::{
    Connection, Error, Runtime, SendError, Sender,
    call::{First, Now},
    connection::Owner,
    sending::not_ready,
    timeout::timeout,
    waiting::Waiting,
};
use bytes::Bytes;
use futures_sink::Sink;
use sealpipe_core::{
    Message, SendErrorReason,
    session::{Interest, Place},
};
use std::{
    future::poll_fn,
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

/// So much gathers before it is written.
const GATHER: usize = 32 << 10;

/// What `feed` returns: by hand, for a message that only gathers is fed from where it stands,
/// and nothing is moved. An `async fn` would move it, and what has come of it.
#[must_use = "futures do nothing unless they are polled"]
pub(crate) struct Feed<'a, R: Runtime> {
    owner: &'a Owner<R>,
    message: Message,
    state: FeedState<'a>,
}

enum FeedState<'a> {
    New,
    /// Boxed: it is seldom, and every future that feeds would be three times as large.
    Waiting(Pin<Box<dyn Future<Output = Result<(), SendError>> + Send + 'a>>),
    Done,
}

pub(crate) fn feed<R: Runtime>(owner: &Owner<R>, message: Message) -> Feed<'_, R> {
    Feed {
        owner,
        message,
        state: FeedState::New,
    }
}

impl<R: Runtime> Future for Feed<'_, R> {
    type Output = Result<(), SendError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if matches!(self.state, FeedState::New) && feed_through(self.owner, &self.message) {
            self.state = FeedState::Done;
            return Poll::Ready(Ok(()));
        }
        self.poll_waiting(context)
    }
}

impl<R: Runtime> Feed<'_, R> {
    #[inline(never)]
    fn poll_waiting(&mut self, context: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        loop {
            match &mut self.state {
                FeedState::New => {
                    let message = mem::replace(&mut self.message, Message::new(Bytes::new()));
                    let mut message = Some(message);
                    let fed = feed_now(self.owner, &mut message);
                    self.state = match message {
                        Some(message) if fed.is_none() => {
                            FeedState::Waiting(Box::pin(feed_when_ready(self.owner, message)))
                        }
                        _ => FeedState::Done,
                    };
                    if let Some(fed) = fed {
                        return Poll::Ready(fed);
                    }
                }
                FeedState::Waiting(waiting) => {
                    let fed = ready!(waiting.as_mut().poll(context));
                    self.state = FeedState::Done;
                    return Poll::Ready(fed);
                }
                // Polled again after its end, it has nothing more to say.
                FeedState::Done => return Poll::Pending,
            }
        }
    }
}

/// Feeds a small message that only gathers, if nothing has to go before it: so most go.
#[inline]
pub(crate) fn feed_through<R: Runtime>(owner: &Owner<R>, message: &Message) -> bool {
    let shared = &owner.shared;
    shared.feed(|session| session.feed_through(message, GATHER))
}

/// Feeds the message if there is room, or tells why there will not be any; else it stays
/// where it is. Nothing is driven.
pub(crate) fn feed_now<R: Runtime>(
    owner: &Owner<R>,
    message: &mut Option<Message>,
) -> Option<Result<(), SendError>> {
    owner.shared.feed(|session| {
        let room = session.poll_room(GATHER)?;
        let message = message.take()?;
        Some(match room {
            Ok(()) => session
                .feed(message, GATHER)
                .map(|_| ())
                .map_err(SendError::not_taken),
            Err(reason) => Err(SendError::handed_back(message, reason)),
        })
    })
}

/// Feeds the message once there is room.
async fn feed_when_ready<R: Runtime>(owner: &Owner<R>, message: Message) -> Result<(), SendError> {
    let limit = message.deadline().unwrap_or(owner.config.send_timeout());
    let mut message = Some(message);
    let fed = async {
        loop {
            let mut waiting = Waiting::new(&owner.shared);
            // Fed in there, it would be written alone, right after what had gathered.
            let room = poll_fn(|context| {
                waiting.poll(context, Interest::Gather(GATHER), First::Write, |session| {
                    session.poll_room(GATHER).map(drop)
                })
            });
            room.await;
            // If another has not taken the room.
            if let Some(fed) = feed_now(owner, &mut message) {
                return fed;
            }
        }
    };
    let fed = timeout::<R, _>(limit, fed).await;
    match (fed, message) {
        (Err(_), Some(message)) => Err(SendError::handed_back(message, SendErrorReason::Full)),
        (fed, _) => fed.unwrap_or(Ok(())),
    }
}

pub(crate) async fn flush<R: Runtime>(owner: &Owner<R>) -> Result<(), Error> {
    let limit = owner.config.send_timeout();
    let mut waiting = Waiting::new(&owner.shared);
    let flushed = poll_fn(|context| {
        waiting.poll(context, Interest::Flushed, First::Write, |session| {
            session.poll_flushed()
        })
    });
    match timeout::<R, _>(limit, flushed).await {
        Ok(flushed) => flushed.map_err(Error::Connection),
        Err(_) => Err(Error::Timeout {
            doing: "writing what was fed",
            limit,
            last: None,
        }),
    }
}

// --- The `Sink` -----------------------------------------------------------------------

/// The `Sink` side of a handle.
#[derive(Default)]
pub(crate) struct Gather {
    pub(crate) place: Place,
    /// There was room for one more when the last message was fed: nobody need ask.
    room: bool,
}

/// Room, and not too much gathered: then it is time to write.
fn poll_ready<R: Runtime>(
    owner: &Owner<R>,
    gather: &mut Gather,
    context: &Context<'_>,
) -> Poll<Result<(), SendErrorReason>> {
    // Most messages only gather: nothing is driven.
    if gather.room {
        return Poll::Ready(Ok(()));
    }
    let shared = &owner.shared;
    if let Some(ready) = shared.session(|session| session.poll_room(GATHER)) {
        return Poll::Ready(ready);
    }
    shared.poll_wait(
        context,
        Now::default(),
        &mut gather.place,
        Interest::Gather(GATHER),
        First::Write,
        |session| session.poll_room(GATHER),
    )
}

fn start_send<R: Runtime>(
    owner: &Owner<R>,
    gather: &mut Gather,
    message: Message,
) -> Result<(), SendError> {
    let fed = owner
        .shared
        .session(|session| session.feed(message, GATHER));
    gather.room = matches!(fed, Ok(true));
    fed.map(|_| ()).map_err(SendError::not_taken)
}

/// Until the system has everything.
fn poll_flush<R: Runtime>(
    owner: &Owner<R>,
    gather: &mut Gather,
    context: &Context<'_>,
) -> Poll<Result<(), SendError>> {
    let shared = &owner.shared;
    shared
        .poll_wait(
            context,
            Now::default(),
            &mut gather.place,
            Interest::Flushed,
            First::Write,
            |session| session.poll_flushed(),
        )
        .map(|result| result.map_err(|end| SendError::Unknown(Some(end))))
}

macro_rules! sink {
    ($type:ident) => {
        /// As [`feed`](Connection::feed) and [`flush`](Connection::flush), but without a time
        /// limit. `close` is [`finish`](Connection::finish) without waiting for the peer's end.
        ///
        /// With `SinkExt` in scope, `feed`, `flush` and `send` of a variable of type
        /// `&mut Connection` are the trait's; else they are the connection's own.
        impl<R: Runtime> Sink<Message> for $type<R> {
            type Error = SendError;

            fn poll_ready(
                mut self: Pin<&mut Self>,
                context: &mut Context<'_>,
            ) -> Poll<Result<(), SendError>> {
                let this = &mut *self;
                poll_ready(&this.owner, &mut this.gather, context).map_err(not_ready)
            }

            fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), SendError> {
                let this = &mut *self;
                start_send(&this.owner, &mut this.gather, message)
            }

            fn poll_flush(
                mut self: Pin<&mut Self>,
                context: &mut Context<'_>,
            ) -> Poll<Result<(), SendError>> {
                let this = &mut *self;
                poll_flush(&this.owner, &mut this.gather, context)
            }

            fn poll_close(
                mut self: Pin<&mut Self>,
                context: &mut Context<'_>,
            ) -> Poll<Result<(), SendError>> {
                let this = &mut *self;
                let now = R::now();
                this.owner
                    .shared
                    .with(|session, waiters| session.with(waiters, |core| core.finish(now)));
                poll_flush(&this.owner, &mut this.gather, context)
            }
        }
    };
}

sink!(Sender);
sink!(Connection);
