//! `--wire pipecom`: what both sides need, and `listen`. PipeCom runs on plain threads.

use crate::{
    args::{Common, Listen, Runtime},
    exit::{Code, Failure, of_endpoint},
    output::{Format, write},
    stop,
    text::note,
};
use sealpipe_blocking::pipecom::{Error, ListenOptions, Pipe};
use std::sync::{Arc, Mutex, PoisonError};

/// What to run on: there is no choice.
pub(crate) fn runtime(asked: Option<Runtime>) -> Result<Runtime, Failure> {
    match asked {
        None | Some(Runtime::Blocking) => Ok(Runtime::Blocking),
        Some(other) => Err(usage(format_args!(
            "it runs on plain threads, not on {}; leave --runtime away, or say blocking",
            other.name()
        ))),
    }
}

/// What it has not got.
pub(crate) fn usage(what: impl std::fmt::Display) -> Failure {
    Failure::new(
        Code::Usage,
        format!("--wire pipecom cannot do that: {what}"),
    )
}

/// Where, once it is sure that nothing is to be sealed.
pub(crate) fn pipe(common: &Common) -> Result<Pipe, Failure> {
    if common.secret.key_file.is_some() || common.secret.build_key {
        return Err(usage("it seals nothing; leave the key away"));
    }
    Pipe::new(&common.endpoint.to_string())
        .map_err(|error| Failure::new(of(&error), error.to_string()))
}

/// How an error ends the program.
pub(crate) fn of(error: &Error) -> Code {
    match error {
        Error::InvalidPipe { .. } => Code::Usage,
        Error::Endpoint(error) => of_endpoint(error),
        Error::Unreachable { .. } => Code::Nothing,
        Error::Timeout { .. } | Error::NotAcknowledged { .. } => Code::Unknown,
        Error::TooLarge { .. } => Code::Rejected,
        _ => Code::Local,
    }
}

/// Receives messages and prints each as one line, which acknowledges it.
pub(crate) async fn listen(args: Listen) -> Result<(), Failure> {
    if args.echo || args.exec.is_some() {
        return Err(usage(
            "it has no replies and no rejections; leave --echo and --exec away",
        ));
    }
    let pipe = pipe(&args.common)?;
    let mut options = ListenOptions::new()
        .access(args.common.access())
        .max_message(args.common.max_message())
        .max_messages(args.count)
        .idle_timeout(args.idle);
    if let Some(text) = &args.stop_message {
        options = options.stop_message(Some(text));
    }
    let format = Format::new(args.json);
    let unwritten = Arc::new(Mutex::new(None));
    let print = {
        let unwritten = unwritten.clone();
        let mut sequence = 0;
        move |text: &str| {
            if let Err(failure) = write(format.line(1, sequence, text.as_bytes()).as_bytes()) {
                *unwritten.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
                // What was not printed must not be acknowledged: this ends the
                // listener before it does that.
                std::panic::resume_unwind(Box::new(()));
            }
            sequence += 1;
            None
        }
    };
    let asked = stop::asked();
    let failed =
        |error: Error| Failure::new(of(&error), format!("cannot listen on {pipe}: {error}"));
    let listener = options.listen(&pipe, print).map_err(failed)?;
    note(format_args!("listening on {pipe}"));
    let stopper = listener.stopper();
    let mut ended = tokio::task::spawn_blocking(|| listener.join());
    let ended = tokio::select! {
        ended = &mut ended => ended,
        () = asked => {
            stopper.stop();
            ended.await
        }
    };
    match (
        unwritten
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take(),
        ended,
    ) {
        (Some(failure), _) => Err(failure),
        (None, Ok(ended)) => ended.map(drop).map_err(failed),
        (None, Err(error)) => Err(Failure::new(Code::Local, error.to_string())),
    }
}
