//! `sealpipe publish`.

use crate::{
    args::Publish,
    connect::connect,
    exit::{Code, Failure, of_send},
};
use sealpipe_driver::{
    Runtime,
    vocabulary::{AckLevel, Close, Message},
};

pub(crate) async fn run<R: Runtime>(args: Publish) -> Result<(), Failure> {
    let event = Message::event(args.topic, args.text)
        .map_err(|error| Failure::new(Code::Usage, error.to_string()))?
        .with_ack(AckLevel::Processed)
        .with_deadline(args.reach.timeout);
    let instead = "use `sealpipe send`";
    args.common.wire.needs_native("events", instead)?;
    let connection = connect::<R>(&args.common, &args.reach).await?;
    connection.send(event).await.map_err(|error| {
        Failure::new(
            of_send(&error),
            format!("the event to {}: {error}", args.common.endpoint),
        )
    })?;
    connection.close(Close::new(Close::DONE, "")).await;
    Ok(())
}
