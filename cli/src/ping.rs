//! `sealpipe ping`.

use crate::{
    args::Ping,
    connect::connect,
    exit::Failure,
    output::write,
    round_trips::{RoundTrips, Shown},
};
use sealpipe_driver::{Runtime, vocabulary::Close};
use std::fmt;

pub(crate) async fn run<R: Runtime>(args: Ping) -> Result<(), Failure> {
    let instead = "use `sealpipe doctor` to see whether a server is there";
    args.common.wire.needs_native("pings", instead)?;
    let connection = connect::<R>(&args.common, &args.reach).await?;
    let endpoint = &args.common.endpoint;
    let mut times = Vec::new();
    for number in 1..=args.count {
        if number > 1 {
            tokio::time::sleep(args.interval).await;
        }
        let time = connection.ping().await.map_err(|error| {
            Failure::of(
                &error,
                format_args!("no answer from {endpoint} to ping {number}"),
            )
        })?;
        times.push(time);
        print(format_args!("ping {number}: {}", Shown(time)))?;
    }
    connection.close(Close::new(Close::DONE, "")).await;
    let mode = match connection.handshake_hash() {
        Some(_) => "sealed",
        None => "plain",
    };
    let times = RoundTrips::new(times);
    print(format_args!(
        "{} round trips to {endpoint}, {mode}: min {}, median {}, p99 {}, max {}",
        args.count,
        Shown(times.min()),
        Shown(times.percentile(50)),
        Shown(times.percentile(99)),
        Shown(times.max()),
    ))
}

pub(crate) fn print(line: fmt::Arguments<'_>) -> Result<(), Failure> {
    write(format!("{line}\n").as_bytes())
}
