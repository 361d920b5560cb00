//! The command line of sealpipe: `sealpipe --help`.

#![forbid(unsafe_code)]

mod args;
mod connect;
mod demo;
mod exit;
mod key;
mod listen;
mod logs;
mod output;
mod ping;
mod round_trips;
mod send;
mod stop;
mod text;

use args::{Arguments, Command, Runtime};
use clap::Parser;
use exit::{Code, Failure};
use std::{process::ExitCode, time::Duration};
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
    let Runtime::Tokio = arguments.runtime;
    // With one conversation at a time, the thread that waits drives the I/O
    // itself; a listener has many.
    let mut builder = match &arguments.command {
        Command::Listen(_) => runtime::Builder::new_multi_thread(),
        _ => runtime::Builder::new_current_thread(),
    };
    let runtime = builder.enable_all().build().map_err(|error| {
        Failure::new(
            Code::Local,
            format!(
                "tokio cannot start: {error}; look whether the system is short of threads or files"
            ),
        )
    })?;
    let result = runtime.block_on(async {
        match arguments.command {
            Command::Demo => demo::run(arguments.verbose).await,
            Command::DemoListener => demo::listener::run().await,
            Command::Listen(listen) => listen::run(listen).await,
            Command::Send(send) => send::run(send).await,
            Command::Ping(ping) => ping::run(ping).await,
        }
    });
    // A goodbye may still be on its way out.
    runtime.shutdown_timeout(Duration::from_millis(100));
    result
}
