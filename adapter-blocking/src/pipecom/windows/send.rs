//! The sender's side of a pipe that keeps messages apart.

use std::time::Duration;

use sealpipe_endpoint::{
    Backoff, Connected, Error as EndpointError, ErrorKind, PipeReader, PipeWriter, connect,
    is_end_of_stream, pipe_halves,
};

use super::until;
use crate::pipecom::{
    Outcome,
    deadline::seed,
    listener::ACK,
    sending::{Failed, Task},
};

/// One attempt to have a message acknowledged.
pub(in crate::pipecom) fn attempt(task: &Task<'_>) -> Result<(), Failed> {
    let connected = reach(task)?;
    let (mut reader, mut writer) = pipe_halves(connected.stream)
        .map_err(|error| task.io("connecting to", Outcome::NotSent, error))?;
    if let Err(error) = writer.try_write_message(task.message.clone()) {
        // Not a byte of it was taken.
        return Err(match is_end_of_stream(&error) {
            true => EndpointError::Refused {
                address: connected.address,
            }
            .into(),
            false => task.io("writing to", Outcome::NotSent, error).into(),
        });
    }
    // The acknowledgement is waited for only once the message is out: its answer would
    // else be to nothing.
    match until(
        &mut writer,
        task.deadline,
        PipeWriter::event,
        PipeWriter::try_flush,
    ) {
        Ok(Some(())) => {}
        Ok(None) => {
            let doing = "waiting for the listener to read from";
            return Err(task.timeout(doing, Outcome::Unknown).into());
        }
        Err(error) => return Err(lost(task, error)),
    }
    let mut answer = Vec::new();
    while answer.len() < ACK.len() {
        let mut bytes = [0; 16];
        let read = until(&mut reader, task.deadline, PipeReader::event, |reader| {
            reader.try_read(&mut bytes)
        });
        match read {
            Ok(Some(0)) => return Err(closed(task)),
            Ok(Some(length)) => {
                answer.extend_from_slice(bytes.get(..length).unwrap_or_default());
            }
            Ok(None) => {
                let doing = "waiting for the acknowledgement from";
                return Err(task.timeout(doing, Outcome::Unknown).into());
            }
            Err(error) => return Err(lost(task, error)),
        }
    }
    if answer != ACK.as_bytes() {
        let reason = "what it answered is no acknowledgement";
        return Err(task.not_acknowledged(reason).into());
    }
    Ok(())
}

/// Connects; a listener that has no room just now is waited for.
fn reach(task: &Task<'_>) -> Result<Connected, Failed> {
    let mut backoff = Backoff::between(Duration::from_millis(1), Duration::from_millis(20), seed());
    loop {
        match connect(&task.pipe.0.0, task.listener) {
            Ok(connected) => return Ok(connected),
            Err(error) if error.kind() != ErrorKind::Busy => return Err(error.into()),
            Err(_) if task.deadline.is_over() => {
                let doing = "waiting for the listener to have room on";
                return Err(task.timeout(doing, Outcome::NotSent).into());
            }
            Err(_) => task.deadline.pause(&mut backoff),
        }
    }
}

fn closed(task: &Task<'_>) -> Failed {
    let reason = "it closed the pipe instead, for it ended or could not read the message";
    task.not_acknowledged(reason).into()
}

fn lost(task: &Task<'_>, error: std::io::Error) -> Failed {
    match is_end_of_stream(&error) {
        true => closed(task),
        false => task.io("talking over", Outcome::Unknown, error).into(),
    }
}
