//! Waiting for events.

use super::Few;
use async_io::os::windows::Waitable;
use sealpipe_endpoint::{Event, PipeEvent, WAIT_MOST, wait_any};
use std::{io, os::windows::io::AsHandle, sync::Arc, time::Instant};

/// How many sources one thread waits for: all that the system can but the alarm.
pub(super) const fn most() -> usize {
    WAIT_MOST - 1
}

/// The event of a direction of a pipe.
pub(crate) struct Source(pub(crate) Arc<Waitable<PipeEvent>>);

impl PartialEq for Source {
    fn eq(&self, other: &Source) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// Rouses a thread that waits.
#[derive(Debug)]
pub(super) struct Alarm(Event);

impl Alarm {
    pub(super) fn new() -> io::Result<Alarm> {
        Event::new().map(Alarm)
    }

    pub(super) fn ring(&self) {
        self.0.set();
    }
}

/// Which of the sources is ready; none if the alarm rang, or at the deadline.
pub(super) fn wait<'a>(
    alarm: &Alarm,
    sources: impl Iterator<Item = &'a Source>,
    deadline: Option<Instant>,
) -> Few<usize> {
    // The alarm first: of several that are set, the first is told.
    let handles: Few<_> = [alarm.0.as_handle()]
        .into_iter()
        .chain(sources.map(|source| source.0.as_handle()))
        .collect();
    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    match wait_any(&handles, left) {
        Ok(Some(0)) => {
            alarm.0.reset();
            Few::new()
        }
        Ok(index) => index
            .map(|index| index.saturating_sub(1))
            .into_iter()
            .collect(),
        Err(error) => {
            tracing::error!(%error, "waiting for events failed");
            // Rather look at everything than never again.
            (0..handles.len().saturating_sub(1)).collect()
        }
    }
}
