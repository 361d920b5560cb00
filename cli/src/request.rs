//! `sealpipe request`.

use crate::{
    args::Request,
    connect::connect,
    exit::{Failure, of_request},
    output::{Format, write},
};
use sealpipe_driver::{Runtime, vocabulary::Close};

pub(crate) async fn run<R: Runtime>(args: Request) -> Result<(), Failure> {
    let instead = "use `sealpipe send --expect-reply`, which takes what comes back for the reply";
    args.common.wire.needs_native("requests", instead)?;
    let connection = connect::<R>(&args.common, &args.reach).await?;
    let reply = connection.request(args.text, args.reach.timeout).await;
    let reply = reply.map_err(|error| {
        Failure::new(
            of_request(&error),
            format!("the request to {}: {error}", args.common.endpoint),
        )
    })?;
    match args.raw {
        true => write(&reply)?,
        false => write(Format::Text.line(1, 0, &reply).as_bytes())?,
    }
    connection.close(Close::new(Close::DONE, "")).await;
    Ok(())
}
