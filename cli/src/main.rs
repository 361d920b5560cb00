//! The command line of sealpipe: `sealpipe --help`.

#![forbid(unsafe_code)]

mod args;
mod connect;
mod demo;
mod doctor;
mod exec;
mod exit;
mod key;
mod listen;
mod logs;
mod output;
mod ping;
mod publish;
mod request;
mod round_trips;
mod send;
mod stop;
mod subscribe;
mod text;
mod wire;

use args::{Arguments, Command, Runtime};
use clap::Parser;
use exit::{Code, Failure};
use sealpipe_smol::Smol;
use sealpipe_tokio::Tokio;
use std::{future::Future, process::ExitCode, time::Duration};
use tokio::runtime;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments) {
        Ok(()) => ExitCode::from(Code::Done as u8),
        Err(failure) => {
            if let Some(message) = &failure.message {
                text::note(format_args!("sealpipe: {message}"));
            }
            ExitCode::from(failure.code as u8)
        }
    }
}

fn run(arguments: Arguments) -> Result<(), Failure> {
    logs::start(arguments.verbose)?;
    let verbose = arguments.verbose;
    let runtime = arguments.runtime;
    if let Command::Demo = arguments.command {
        let all = [Runtime::Tokio, Runtime::Smol, Runtime::Blocking];
        return all
            .into_iter()
            .filter(|one| runtime.is_none_or(|only| only == *one))
            .try_for_each(|one| match one {
                Runtime::Tokio => block_on(one, 1, demo::run::<Tokio>(one, verbose)),
                Runtime::Smol | Runtime::Blocking => {
                    block_on(one, 1, demo::run::<Smol>(one, verbose))
                }
            });
    }
    let runtime = runtime.unwrap_or(Runtime::Tokio);
    match runtime {
        Runtime::Tokio => command::<Tokio>(runtime, arguments.command),
        // Plain threads drive the same connection: see `block_on`. The types of
        // sealpipe-blocking would add time limits, and need each command twice.
        Runtime::Smol | Runtime::Blocking => command::<Smol>(runtime, arguments.command),
    }
}

fn command<R: sealpipe_driver::Runtime>(runtime: Runtime, command: Command) -> Result<(), Failure> {
    // With one conversation at a time, the thread that waits drives the I/O
    // itself; a listener has many.
    match command {
        Command::Demo => Ok(()),
        Command::DemoListener => block_on(runtime, 1, demo::listener::run::<R>()),
        Command::Listen(listen) => block_on(runtime, 2, listen::run::<R>(listen)),
        Command::Send(send) => block_on(runtime, 1, send::run::<R>(send)),
        Command::Request(request) => block_on(runtime, 1, request::run::<R>(request)),
        Command::Publish(publish) => block_on(runtime, 1, publish::run::<R>(publish)),
        Command::Subscribe(subscribe) => block_on(runtime, 1, subscribe::run::<R>(subscribe)),
        // It waits for one answer at a time, for which it needs no runtime.
        Command::Doctor(doctor) => doctor::run(&doctor),
        Command::Ping(ping) => block_on(runtime, 1, ping::run::<R>(ping)),
    }
}

/// Runs a command. Signals, stdin and pauses come from tokio in any case; what
/// differs is what drives the connections: tokio, async-io, or this thread, which
/// waits for its sockets and pipes itself as sealpipe-blocking's callers do.
fn block_on<T>(
    runtime: Runtime,
    threads: usize,
    future: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let mut builder = match (runtime, threads) {
        (Runtime::Tokio | Runtime::Smol, 1) => runtime::Builder::new_current_thread(),
        _ => runtime::Builder::new_multi_thread(),
    };
    let tokio = builder.enable_all().build().map_err(|error| {
        Failure::new(
            Code::Local,
            format!(
                "tokio cannot start: {error}; look whether the system is short of threads or files"
            ),
        )
    })?;
    let result = match runtime {
        Runtime::Tokio | Runtime::Smol => tokio.block_on(future),
        Runtime::Blocking => {
            let _entered = tokio.enter();
            sealpipe_smol::block_on(future)
        }
    };
    // A goodbye may still be on its way out.
    tokio.shutdown_timeout(Duration::from_millis(100));
    result
}
