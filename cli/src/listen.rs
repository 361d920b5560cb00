//! `sealpipe listen`.

use crate::{
    args::Listen,
    exec::{Exec, Refused},
    exit::{Code, Failure},
    key,
    output::{End, Format, Output},
    stop,
    text::note,
};
use bytes::Bytes;
use sealpipe_driver::{
    Client, Handler, Happening, Incoming, Request, Response, Runtime, ServerEvent, ServerOptions,
    vocabulary::{Received, Rejection, RemoteError},
};
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// How long goodbyes may take in all: somewhat more than each may.
const GOODBYES: Duration = Duration::from_secs(6);
/// How long the last message may take to be printed: as good as forever.
const PRINTING: Duration = Duration::from_secs(365 * 86_400);
/// How long commands may run on when the listener is to end.
const COMMANDS: Duration = Duration::from_secs(30);

pub(crate) async fn run<R: Runtime>(args: Listen) -> Result<(), Failure> {
    let config = key::config(&args.common, None)?;
    let endpoint = &args.common.endpoint;
    let stop_timeout = match args.exec {
        Some(_) => COMMANDS,
        None => GOODBYES,
    };
    // Commands and their pipes are tokio's, whatever drives the connections.
    let tokio = tokio::runtime::Handle::current();
    let mut options = ServerOptions::<R>::new(config)
        .access(args.common.access())
        .relay(true)
        .stop_timeout(stop_timeout)
        .observer(observe)
        .spawner(move |task| drop(tokio.spawn(task)));
    if let Some(text) = args.stop_message {
        options = options.stop_message(text);
    }
    if let Some(idle) = args.idle {
        options = options.idle_timeout(idle);
    }
    let (output, mut ended) = Output::start(args.count)?;
    let desk = Desk {
        output: output.clone(),
        format: Format::new(args.json),
        echo: args.echo,
        exec: args
            .exec
            .map(|command| Exec::new(command, args.common.max_message())),
        tickets: AtomicU64::new(args.count.unwrap_or(u64::MAX)),
    };
    let asked = stop::asked();
    let server = options
        .start(endpoint, desk)
        .map_err(|error| Failure::of(&error, format_args!("cannot listen on {endpoint}")))?;
    note(format_args!("listening on {}", server.address()));
    let result = tokio::select! {
        end = &mut ended => end.unwrap_or(End::Count).result(),
        () = asked => Ok(()),
        report = server.stopped() => match report.failed {
            false => Ok(()),
            true => Err(Failure::new(
                Code::Local,
                format!("cannot listen on {endpoint} any more; look at the line above"),
            )),
        },
    };
    // Every connection says goodbye, so that the senders know where they are.
    let _ = tokio::time::timeout(stop_timeout + GOODBYES, server.stop(stop_timeout)).await;
    // A reader of stdout that has stalled is not waited for.
    let _ = tokio::time::timeout(GOODBYES, output.flushed()).await;
    match ended.try_recv() {
        Ok(end) => result.and(end.result()),
        Err(_) => result,
    }
}

fn observe(event: &ServerEvent) {
    if let Happening::Disconnected { client, reason } = &event.what
        && !reason.is_orderly()
    {
        tracing::warn!(connection = %client, error = %reason, "a connection ended early");
    }
}

/// What every connection works with.
struct Desk<R: Runtime> {
    output: Output<R>,
    format: Format,
    echo: bool,
    exec: Option<Exec>,
    /// How many more messages are wanted.
    tickets: AtomicU64,
}

impl<R: Runtime> Desk<R> {
    /// The line of a message, if one more is wanted.
    fn line(&self, client: &Client<R>, message: &Received) -> Result<String, &'static str> {
        let take = |left: u64| left.checked_sub(1);
        let left = self
            .tickets
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .map_err(|_| "the listener has as many messages as it was to print, and ends")?;
        if left == 1 {
            // What is still in the queues is for somebody else.
            client.server().begin_stop(PRINTING);
        }
        Ok(self.format.line(client.id(), message.seq, &message.payload))
    }

    /// Sends something back for a message.
    async fn send_back(&self, client: &Client<R>, payload: impl Into<Bytes>) {
        if let Err(error) = client.send(payload.into()).await
            && client.is_connected()
        {
            tracing::warn!(connection = %client.id(), %error, "a message could not be sent back");
        }
    }
}

impl<R: Runtime> Handler<R> for Desk<R> {
    async fn message(
        &self,
        client: &Client<R>,
        message: &mut Incoming<R>,
    ) -> Result<(), Rejection> {
        let line = self.line(client, message);
        let line = line.map_err(|why| Rejection::new(Rejection::UNSPECIFIED, why))?;
        let Some(exec) = &self.exec else {
            // The next one is taken before this one is flushed.
            let verdict = message.take_verdict();
            self.output.print(line, Some(verdict)).await;
            if self.echo {
                self.output.flushed().await;
                self.send_back(client, message.payload.clone()).await;
            }
            return Ok(());
        };
        self.output.print(line, None).await;
        let printed = exec.run(&message.payload).await?;
        message.take_verdict().accept();
        if self.echo {
            self.send_back(client, printed).await;
        }
        Ok(())
    }

    async fn request(
        &self,
        client: &Client<R>,
        request: &mut Request<R>,
    ) -> Result<Response, RemoteError> {
        let line = self.line(client, request);
        let line = line.map_err(|why| RemoteError::new(RemoteError::SHUTTING_DOWN, why))?;
        self.output.print(line, None).await;
        if let Some(exec) = &self.exec {
            return tokio::select! {
                printed = exec.run(&request.payload) => Ok(printed?.into()),
                // Nobody is left to tell.
                () = request.cancelled() => Err(RemoteError::new(RemoteError::DEADLINE, "")),
            };
        }
        match self.echo {
            true => Ok(request.payload.clone().into()),
            false => Err(RemoteError::new(
                RemoteError::NO_HANDLER,
                "this listener answers no requests; start it with --echo or --exec",
            )),
        }
    }
}

impl From<Refused> for Rejection {
    fn from(refused: Refused) -> Rejection {
        Rejection::new(refused.code, refused.reason)
    }
}

impl From<Refused> for RemoteError {
    fn from(refused: Refused) -> RemoteError {
        RemoteError::new(refused.code, refused.reason).with_details(refused.output)
    }
}
