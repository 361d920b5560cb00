//! Messages that come: `recv`, and the `Stream`.

use crate::{
    Error, Incoming, Runtime,
    call::{First, Now},
    connection::Owner,
    waiting::Waiting,
};
use futures_util::FutureExt;
use sealpipe_core::session::{Interest, Place};
use std::{
    pin::Pin,
    task::{Context, Poll},
};

/// A message, or `None` at an orderly end.
pub(crate) type Received<R> = Result<Option<Incoming<R>>, Error>;

/// What `recv` returns: by hand, for a message that is there already goes straight to the
/// caller. An `async fn` would put it together with what comes the long way first.
#[must_use = "futures do nothing unless they are polled"]
pub(crate) struct Recv<'a, R: Runtime> {
    owner: &'a Owner<R>,
    waiting: Waiting<'a, R>,
}

pub(crate) fn recv<R: Runtime>(owner: &Owner<R>) -> Recv<'_, R> {
    Recv {
        owner,
        waiting: Waiting::new(&owner.shared),
    }
}

impl<R: Runtime> Future for Recv<'_, R> {
    type Output = Received<R>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Received<R>> {
        // Who has waited has a place to leave, too.
        if self.waiting.waits() {
            return self.poll_waiting(context);
        }
        let ready = |message| Poll::Ready(Ok(Some(message)));
        take_ready_or(self.owner, ready, || self.poll_waiting(context))
    }
}

impl<R: Runtime> Recv<'_, R> {
    #[inline(never)]
    fn poll_waiting(&mut self, context: &mut Context<'_>) -> Poll<Received<R>> {
        let poll = self
            .waiting
            .poll(context, Interest::Message, First::Look, |session| {
                session.poll_recv()
            });
        poll.map(|received| Ok(Incoming::of(received?, &self.owner.shared)))
    }
}

/// Makes something of the next message, if it was read already, or else waits.
#[inline(always)]
pub(crate) fn take_ready_or<R: Runtime, T>(
    owner: &Owner<R>,
    ready: impl FnOnce(Incoming<R>) -> T,
    wait: impl FnOnce() -> T,
) -> T {
    let shared = &owner.shared;
    let message = shared.session(|session| session.take_ready());
    match Incoming::of(message, shared) {
        Some(message) => ready(message),
        None => wait(),
    }
}

pub(crate) fn try_recv<R: Runtime>(owner: &Owner<R>) -> Option<Received<R>> {
    recv(owner).now_or_never()
}

/// The `Stream` side of a handle.
#[derive(Default)]
pub(crate) struct Reading {
    pub(crate) place: Place,
    /// It has told why the connection has ended.
    end_told: bool,
}

/// An error is the last item: who collects a stream must come to an end.
pub(crate) fn poll_next<R: Runtime>(
    owner: &Owner<R>,
    reading: &mut Reading,
    context: &Context<'_>,
) -> Poll<Option<Result<Incoming<R>, Error>>> {
    if reading.end_told {
        return Poll::Ready(None);
    }
    let shared = &owner.shared;
    let poll = shared.poll_wait(
        context,
        Now::default(),
        &mut reading.place,
        Interest::Message,
        First::Look,
        |session| session.poll_recv(),
    );
    poll.map(|received| match received {
        Ok(message) => Incoming::of(message, shared).map(Ok),
        Err(end) => {
            reading.end_told = true;
            Some(Err(Error::Connection(end)))
        }
    })
}
