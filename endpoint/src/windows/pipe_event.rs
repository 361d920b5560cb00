//! The events of operations on pipes: those that are done with serve the next ones.
//!
//! They are not closed for a reason that Wine gives. Its thread for registered waits
//! (`RegisterWaitForSingleObject`, by which async-io waits) hears of the end of a wait
//! only later, and until then waits for whatever has got the handle's number since. That
//! may be the end of another thread's `WriteFile`: if the wait takes it away, the call
//! reports `ERROR_INVALID_HANDLE` after it has written everything.
#![allow(unsafe_code)]

use std::io;
use std::mem::ManuallyDrop;
use std::os::windows::io::{AsHandle, BorrowedHandle};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::wait::Event;

/// How many wait at most to be used again: what 500 connections use.
const MOST: usize = 1_000;

static UNUSED: Mutex<Vec<Event>> = Mutex::new(Vec::new());

/// Says when to look at a pipe again, for waiting with `WaitForSingleObject` and its
/// like. It is a hint, and may now and then be set for nothing.
///
/// A clone can be kept for longer than what it belongs to, and means nothing then.
#[derive(Clone, Debug)]
pub struct PipeEvent(Arc<Kept>);

/// Goes to the unused ones with its last holder: nobody waits twice for one event.
#[derive(Debug)]
struct Kept(ManuallyDrop<Event>);

impl PipeEvent {
    /// One that is set.
    pub(super) fn take() -> io::Result<PipeEvent> {
        let unused = unused().pop();
        let event = unused.map_or_else(Event::new, Ok)?;
        event.set();
        Ok(PipeEvent(Arc::new(Kept(ManuallyDrop::new(event)))))
    }

    pub(super) fn set(&self) {
        self.0.0.set();
    }

    pub(super) fn reset(&self) {
        self.0.0.reset();
    }
}

impl AsHandle for PipeEvent {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.0.0.as_handle()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // SAFETY: this is the end of the only place that it is in.
        let event = unsafe { ManuallyDrop::take(&mut self.0) };
        let mut unused = unused();
        if unused.len() < MOST {
            unused.push(event);
        }
    }
}

fn unused() -> MutexGuard<'static, Vec<Event>> {
    UNUSED.lock().unwrap_or_else(PoisonError::into_inner)
}
