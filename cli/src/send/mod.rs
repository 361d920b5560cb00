//! `sealpipe send`.

mod input;
mod replies;
mod tally;

use crate::{
    args::{Ack, Send},
    connect::connect,
    exit::{Code, Failure, of_error},
    output::{Format, Output},
    text::note,
};
use input::{Input, Item};
use replies::Replies;
use sealpipe_driver::{
    Connection, Error, Runtime, SendError,
    vocabulary::{Close, Message, SendErrorReason},
};
use std::{
    convert::Infallible,
    time::{Duration, Instant},
};
use tally::{Fate, Tally};
use tokio::sync::{Notify, mpsc};

/// How long to be polite to a peer from which nothing more is wanted.
const GOODBYE: Duration = Duration::from_secs(5);

pub(crate) async fn run<R: Runtime>(args: Send) -> Result<(), Failure> {
    if args.ack() != Ack::None {
        let instead = "leave --ack away, or use --wire native at both ends";
        args.common.wire.needs_native("acks", instead)?;
    }
    let mut tally = Tally::new(&args)?;
    let input = Input::open(&args)?;
    let result = match connect::<R>(&args.common, &args.reach).await {
        Ok(connection) => converse(&args, &connection, input, &mut tally).await,
        Err(failure) => {
            // What was to be sent is accounted for, too.
            input.into_rest(|index| tally.not_sent(index));
            Err(failure)
        }
    };
    let mut code = tally.end();
    if let Err(failure) = result {
        if let Some(message) = failure.message {
            note(format_args!("sealpipe: {message}"));
        }
        code = code.worse(failure.code);
    }
    // The last line, for scripts.
    note(format_args!("{tally}"));
    match code {
        Code::Done => Ok(()),
        code => Err(Failure::silent(code)),
    }
}

/// Sends everything, and receives replies meanwhile.
async fn converse<R: Runtime>(
    args: &Send,
    connection: &Connection<R>,
    mut input: Input,
    tally: &mut Tally,
) -> Result<(), Failure> {
    let output = match args.expect_reply {
        true => Some((Output::start(None)?.0, Format::new(args.json))),
        false => None,
    };
    let replies = Replies::new(output);
    let ended = Notify::new();
    let receiving = async {
        replies.receive(connection).await;
        // A peer that has only finished still takes messages.
        if connection.end().is_some() {
            ended.notify_one();
        }
        std::future::pending::<Infallible>().await
    };
    let sending = async {
        let (queue, fates) = mpsc::unbounded_channel();
        let (fed, ()) = tokio::join!(
            feed(args, connection, &mut input, &ended, queue),
            tally.collect(fates),
        );
        let fed = fed.map_err(|error| lost(args, &error));
        let answered = match args.expect_reply {
            true => replies.wait(tally.delivered(), args.reach.timeout).await,
            false => Ok(()),
        };
        replies.flushed().await;
        let ended = match &fed {
            Ok(()) => end(args, connection).await,
            Err(_) => Ok(()),
        };
        fed.and(answered).and(ended)
    };
    tokio::select! {
        result = sending => result,
        never = receiving => match never {},
    }
}

/// Queues message after message, as long as there are any and the connection
/// stands.
async fn feed<R: Runtime>(
    args: &Send,
    connection: &Connection<R>,
    input: &mut Input,
    ended: &Notify,
    queue: mpsc::UnboundedSender<(u64, Fate<R>)>,
) -> Result<(), Error> {
    let tell = |index, fate| {
        // The other half of `join!` takes them until this one is done.
        let _ = queue.send((index, fate));
    };
    loop {
        let item = tokio::select! {
            biased;
            item = input.next() => item,
            () = ended.notified() => match connection.end() {
                // A goodbye harms only if there is more to send.
                Some(end) if end.is_orderly() => {
                    note(format_args!(
                        "sealpipe: nothing more can be sent to {}: {end}",
                        args.common.endpoint
                    ));
                    continue;
                }
                Some(end) => return Err(Error::Connection(end)),
                None => continue,
            },
        };
        let Some(item) = item else {
            return Ok(());
        };
        let index = item.index();
        match queue_one(args, connection, item).await {
            Ok(fate) => tell(index, fate),
            Err(error) => {
                tell(index, Fate::Over);
                // What has been read so far is known not to have been sent.
                input.rest(|index| tell(index, Fate::Over));
                return Err(error);
            }
        }
    }
}

/// Queues one message. An error ends it all.
async fn queue_one<R: Runtime>(
    args: &Send,
    connection: &Connection<R>,
    item: Item,
) -> Result<Fate<R>, Error> {
    let (payload, max) = match item {
        Item::Message { payload, .. } => (payload, args.common.max_message()),
        Item::TooLarge { length, .. } => {
            return Ok(Fate::TooLarge {
                length,
                max: args.common.max_message(),
            });
        }
        Item::Unreadable { error, .. } => return Ok(Fate::Unreadable(error)),
    };
    debug_assert!(payload.len() <= max);
    let timeout = args.reach.timeout;
    let message = Message::new(payload)
        .with_ack(args.ack().into())
        .with_deadline(timeout);
    let message = match connection.try_send(message) {
        Ok(delivery) => return Ok(Fate::Queued(delivery)),
        Err(SendError::NotTaken {
            message,
            reason: SendErrorReason::Full,
        }) => *message,
        Err(error) => return refused(error),
    };
    let started = Instant::now();
    let permit = match connection.reserve().await {
        Ok(permit) => permit,
        Err(error @ Error::Timeout { .. }) => return Ok(Fate::NoRoom(error)),
        Err(error) => return Err(error),
    };
    // The time that it waited for room is part of its time.
    let left = timeout.saturating_sub(started.elapsed());
    match permit.send(message.with_deadline(left)) {
        Ok(delivery) => Ok(Fate::Queued(delivery)),
        Err(error) => refused(error),
    }
}

/// A message was not taken: because of itself, or because it is all over?
fn refused<R: Runtime>(error: SendError) -> Result<Fate<R>, Error> {
    match error {
        SendError::NotTaken {
            reason: SendErrorReason::Closed(end),
            ..
        } => Err(Error::Connection(end)),
        error => Ok(Fate::Refused(error)),
    }
}

fn lost(args: &Send, error: &Error) -> Failure {
    Failure::of(
        error,
        format_args!(
            "the connection to {} ended before everything was sent; \
             send again what is counted as notsent",
            args.common.endpoint
        ),
    )
}

/// Ends the connection, everything being sent.
async fn end<R: Runtime>(args: &Send, connection: &Connection<R>) -> Result<(), Failure> {
    let finish = tokio::time::timeout(
        match args.ack() {
            // Only the end tells whether all has arrived.
            Ack::None if args.common.wire.is_native() => args.reach.timeout,
            _ => args.reach.timeout.min(GOODBYE),
        },
        connection.finish(),
    );
    let error = match finish.await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => Some(error),
        Err(_) => None,
    };
    let why = match &error {
        Some(error) => error.to_string(),
        None => "the peer did not end its side in time".into(),
    };
    if args.ack() != Ack::None || !args.common.wire.is_native() {
        // Every message has its outcome already, or nothing could tell more.
        tracing::debug!(why, "the connection did not end in order");
        connection.close(Close::new(Close::GOING_AWAY, "")).await;
        return Ok(());
    }
    Err(Failure::new(
        Code::Unknown.worse(error.as_ref().map_or(Code::Unknown, of_error)),
        format!(
            "some of the messages sent to {} may not have arrived: {why}; \
             use --ack to know of each",
            args.common.endpoint
        ),
    ))
}
