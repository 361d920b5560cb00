//! `sealpipe ping`.

use crate::{
    args::Ping,
    connect::connect,
    exit::{Code, Failure},
    round_trips::{RoundTrips, Shown},
};
use sealpipe_driver::{Runtime, vocabulary::Close};
use std::{
    fmt,
    io::{self, ErrorKind, Write},
};

pub(crate) async fn run<R: Runtime>(args: Ping) -> Result<(), Failure> {
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

/// Prints a line to stdout; if nobody reads that any more, ends quietly.
pub(crate) fn print(line: fmt::Arguments<'_>) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .map_err(|error| match error.kind() {
            ErrorKind::BrokenPipe => Failure::silent(Code::Local),
            _ => Failure::new(
                Code::Local,
                format!("writing to stdout failed: {error}; look whether there is room"),
            ),
        })
}
