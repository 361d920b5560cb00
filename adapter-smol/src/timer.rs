//! A timer, for which the thread waits that is in this crate's `block_on`; elsewhere
//! async-io does.

use crate::waiting::Entry;
use sealpipe_core::Time;
use sealpipe_driver::{Timer, clock};
use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

/// A timer, of async-io's or of a thread's own.
#[derive(Debug)]
pub struct SmolTimer {
    /// `None`: never.
    at: Option<Instant>,
    waits: Waits,
}

/// Who wakes it.
#[derive(Debug)]
enum Waits {
    Nobody,
    Thread(Entry),
    AsyncIo(async_io::Timer),
}

impl SmolTimer {
    pub(crate) fn at(at: Time) -> SmolTimer {
        SmolTimer {
            at: clock::instant(at),
            waits: Waits::Nobody,
        }
    }
}

impl Future for SmolTimer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let Some(at) = this.at else {
            return Poll::Pending;
        };
        let waits = std::mem::replace(&mut this.waits, Waits::Nobody);
        if at <= Instant::now() {
            return Poll::Ready(());
        }
        let (earlier, timer) = match waits {
            Waits::Nobody => (None, None),
            Waits::Thread(entry) => (Some(entry), None),
            Waits::AsyncIo(timer) => (None, Some(timer)),
        };
        if let Some(entry) = Entry::new(at, context.waker(), earlier) {
            this.waits = Waits::Thread(entry);
            return Poll::Pending;
        }
        let mut timer = timer.unwrap_or_else(|| async_io::Timer::at(at));
        let poll = Pin::new(&mut timer).poll(context).map(drop);
        this.waits = Waits::AsyncIo(timer);
        poll
    }
}

impl Timer for SmolTimer {
    fn reset(&mut self, at: Time) {
        *self = SmolTimer::at(at);
    }
}
