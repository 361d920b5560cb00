//! PipeCom over a pipe that keeps messages apart: one message a connection, answered
//! on that same connection, so that no sender can take another's acknowledgement.

mod listen;
mod send;

pub(super) use listen::Port;
pub(super) use send::attempt;

use std::{
    fmt, io,
    os::windows::io::AsHandle as _,
    sync::atomic::{AtomicBool, Ordering},
};

use sealpipe_endpoint::{Endpoint, Event, PipeEvent, wait_any};

use super::deadline::Deadline;

const PREFIX: &str = r"\\.\pipe\";

/// A full pipe name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Place(Endpoint);

impl Place {
    pub(super) fn new(name: &str) -> Result<Place, String> {
        let has_prefix = name
            .get(..PREFIX.len())
            .is_some_and(|prefix| prefix.eq_ignore_ascii_case(PREFIX));
        let endpoint = match has_prefix {
            true => Endpoint::pipe(name),
            false => Endpoint::pipe(&format!("{PREFIX}{name}")),
        };
        endpoint.map(Place).map_err(|error| error.to_string())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Tells a listener to stop, which may be waiting.
#[derive(Debug)]
pub(super) struct Stop {
    asked: AtomicBool,
    event: Event,
}

impl Stop {
    pub(super) fn new() -> io::Result<Stop> {
        Ok(Stop {
            asked: AtomicBool::new(false),
            event: Event::new()?,
        })
    }

    pub(super) fn ask(&self) {
        self.asked.store(true, Ordering::SeqCst);
        self.event.set();
    }

    fn is_asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }
}

/// Tries until it would not block; `None` if that does not come in time.
fn until<T, H>(
    half: &mut H,
    deadline: Deadline,
    event: fn(&H) -> &PipeEvent,
    mut attempt: impl FnMut(&mut H) -> io::Result<T>,
) -> io::Result<Option<T>> {
    loop {
        match attempt(half) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => return result.map(Some),
        }
        if deadline.is_over() {
            return Ok(None);
        }
        wait_any(&[event(half).as_handle()], deadline.left())?;
    }
}
