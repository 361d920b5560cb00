//! `sealpipe subscribe`.

use crate::{
    args::Subscribe,
    connect::connect,
    exit::{Code, Failure, of_subscription},
    output::{End, Format, Output},
    stop,
    text::note,
};
use sealpipe_driver::{Runtime, SubscribeError, vocabulary::Close};

pub(crate) async fn run<R: Runtime>(args: Subscribe) -> Result<(), Failure> {
    let asked = stop::asked();
    let endpoint = &args.common.endpoint;
    let instead = "use `sealpipe send --expect-reply` with what the server takes for one";
    args.common.wire.needs_native("subscriptions", instead)?;
    let connection = connect::<R>(&args.common, &args.reach).await?;
    let failed = |error: SubscribeError| {
        Failure::new(
            of_subscription(&error),
            format!("the events of {endpoint}: {error}"),
        )
    };
    let subscribing = connection.subscribe(&args.pattern);
    let mut events = match tokio::time::timeout(args.reach.timeout, subscribing).await {
        Ok(subscribed) => subscribed.map_err(failed)?,
        Err(_) => {
            let why = format!("{endpoint} does not answer a subscription; look what it does");
            return Err(Failure::new(Code::Unknown, why));
        }
    };
    let (output, mut ended) = Output::<R>::start(args.count)?;
    let format = Format::new(args.json);
    note(format_args!("subscribed to {} at {endpoint}", args.pattern));
    tokio::pin!(asked);
    let result = loop {
        let event = tokio::select! {
            biased;
            end = &mut ended => break end.unwrap_or(End::Count).result(),
            () = &mut asked => break Ok(()),
            event = events.recv() => event,
        };
        match event {
            Ok(Some(event)) => {
                if event.missed() > 0 {
                    note(format_args!("{} events were missed", event.missed()));
                }
                let line = format.event(event.topic(), event.missed(), &event.payload);
                output.print(line, None).await;
            }
            Ok(None) => {
                output.flushed().await;
                break match (args.count, ended.try_recv()) {
                    (_, Ok(end)) => end.result(),
                    (None, _) => Ok(()),
                    (Some(count), _) => Err(Failure::new(
                        Code::Nothing,
                        format!("{endpoint} has ended before there were {count} events"),
                    )),
                };
            }
            Err(error) => {
                output.flushed().await;
                break Err(failed(error));
            }
        }
    };
    connection.close(Close::new(Close::DONE, "")).await;
    result
}
