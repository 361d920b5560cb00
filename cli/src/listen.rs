//! `sealpipe listen`.

use crate::{
    args::Listen,
    exit::{Code, Failure},
    key,
    output::{End, Format, Output},
    stop,
    text::note,
};
use sealpipe_driver::{
    Connection, Listener, Runtime,
    vocabulary::{Close, Kind, Message, Received, Rejection},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{sync::watch, task::JoinSet};

/// How long the goodbyes may take in all: somewhat more than each may.
const GOODBYES: Duration = Duration::from_secs(6);

/// What every connection works with.
#[derive(Clone)]
struct Desk<R: Runtime> {
    output: Output<R>,
    format: Format,
    echo: bool,
    /// How many more messages are wanted.
    tickets: Arc<AtomicU64>,
    stopping: watch::Receiver<bool>,
}

impl<R: Runtime> Desk<R> {
    /// The right to print one message, if there is one left.
    fn ticket(&self) -> bool {
        let take = |left: u64| left.checked_sub(1);
        self.tickets
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .is_ok()
    }
}

pub(crate) async fn run<R: Runtime>(args: Listen) -> Result<(), Failure> {
    let config = key::config(&args.common, None)?;
    let endpoint = &args.common.endpoint;
    let mut listener = Listener::<R>::bind(endpoint, config)
        .map_err(|error| Failure::of(&error, format_args!("cannot listen on {endpoint}")))?;
    let (output, mut ended) = Output::start(args.count).map_err(|error| {
        Failure::new(
            Code::Local,
            format!("cannot start a thread: {error}; end other programs"),
        )
    })?;
    let (stop, stopping) = watch::channel(false);
    let desk = Desk {
        output,
        format: Format::new(args.json),
        echo: args.echo,
        tickets: Arc::new(AtomicU64::new(args.count.unwrap_or(u64::MAX))),
        stopping,
    };
    let mut connections = JoinSet::new();
    let mut number = 0;
    let asked = stop::asked();
    tokio::pin!(asked);
    note(format_args!("listening on {}", listener.address()));
    let result = loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(connection) => {
                    number += 1;
                    connections.spawn(serve(connection, number, desk.clone()));
                }
                Err(error) => {
                    break Err(Failure::of(&error, format_args!("cannot listen on {endpoint} any more")));
                }
            },
            end = &mut ended => break match end {
                Ok(End::Failed(error)) => Err(Failure::new(
                    Code::Local,
                    format!("writing to stdout failed: {error}; nothing more was accepted"),
                )),
                Ok(End::Count | End::Closed) | Err(_) => Ok(()),
            },
            () = &mut asked => break Ok(()),
            Some(_) = connections.join_next() => {}
        }
    };
    drop(listener);
    drop(desk);
    // Every connection says goodbye, so that the senders know where they are.
    let _ = stop.send(true);
    let goodbyes = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(GOODBYES, goodbyes).await;
    result
}

/// Prints what comes over one connection.
async fn serve<R: Runtime>(connection: Connection<R>, number: u64, mut desk: Desk<R>) {
    let finished = loop {
        let received = tokio::select! {
            biased;
            _ = desk.stopping.wait_for(|stopping| *stopping) => break false,
            received = connection.recv() => received,
        };
        match received {
            Ok(Some(incoming)) => {
                let (message, verdict) = incoming.into_parts();
                if !desk.ticket() {
                    verdict.reject(Rejection::new(
                        Rejection::UNSPECIFIED,
                        "the listener has as many messages as it was to print, and ends",
                    ));
                    continue;
                }
                let line = desk.format.line(number, message.seq, &message.payload);
                desk.output.print(line, verdict).await;
                if desk.echo {
                    desk.output.flushed().await;
                    echo(&connection, number, message).await;
                }
                if desk.tickets.load(Ordering::Relaxed) == 0 {
                    // What is left in the queue is for somebody else.
                    let _ = desk.stopping.wait_for(|stopping| *stopping).await;
                    break false;
                }
            }
            Ok(None) => break true,
            Err(error) => {
                tracing::warn!(connection = number, %error, "a connection ended early");
                return;
            }
        }
    };
    // The verdicts come before the goodbye.
    desk.output.flushed().await;
    if finished {
        if let Err(error) = connection.finish().await {
            tracing::debug!(connection = number, %error, "a connection ended without a goodbye");
        }
    } else {
        connection
            .close(Close::new(Close::GOING_AWAY, "the listener ends"))
            .await;
    }
}

/// Sends a message's bytes back.
async fn echo<R: Runtime>(connection: &Connection<R>, number: u64, message: Received) {
    let payload = message.payload;
    let reply = match (message.kind, message.correlation, message.topic) {
        (Kind::Request, Some(id), _) => Message::correlated(Kind::Reply, id, payload),
        (Kind::Event, _, Some(topic)) => Message::event(topic, payload),
        _ => Ok(Message::new(payload)),
    };
    // What was received is within the limits of what can be sent.
    let Ok(reply) = reply else { return };
    if let Err(error) = connection.send(reply).await
        && !connection.end().is_some_and(|end| end.is_orderly())
    {
        tracing::warn!(connection = number, %error, "a message could not be sent back");
    }
}
