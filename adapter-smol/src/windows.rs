//! A named pipe as two directions of a stream: endpoint's overlapped halves, and
//! a `Waitable` on the event of each.

use crate::{
    reactor,
    waiting::{self, Source},
};
use async_io::os::windows::Waitable;
use futures_io::{AsyncRead, AsyncWrite};
use sealpipe_core::SendBuf;
use sealpipe_driver::{ReadHalf, Spare, WriteHalf};
use sealpipe_endpoint::{PipeEvent, PipeInstance, PipeReader, PipeWriter};
use std::{
    future::poll_fn,
    io::{self, IoSlice},
    os::windows::io::{AsHandle, BorrowedHandle, OwnedHandle},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

/// An event that async-io waits for.
#[derive(Debug)]
struct Event(Arc<Waitable<PipeEvent>>);

impl Event {
    fn new(event: &PipeEvent) -> io::Result<Event> {
        Ok(Event(Arc::new(Waitable::new(event.clone())?)))
    }

    /// Calls `attempt` until it does not say that it would block. The event is only
    /// a hint.
    fn poll<T>(
        &self,
        context: &mut Context<'_>,
        mut attempt: impl FnMut() -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            match attempt() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
            if waiting::register(context.waker(), || Source(self.0.clone())) {
                return Poll::Pending;
            }
            ready!(reactor::rouse_if_pending(
                self.0.poll_ready(context),
                context
            ))?;
        }
    }
}

/// The direction that bytes come in by.
#[derive(Debug)]
pub struct PipeIn {
    // First: it stops waiting before the operation ends.
    event: Event,
    pipe: PipeReader,
}

/// The direction that bytes go out by.
#[derive(Debug)]
pub struct PipeOut {
    event: Event,
    pipe: PipeWriter,
}

pub(crate) fn halves((reader, writer): (PipeReader, PipeWriter)) -> io::Result<(PipeIn, PipeOut)> {
    let read = PipeIn {
        event: Event::new(reader.event())?,
        pipe: reader,
    };
    let write = PipeOut {
        event: Event::new(writer.event())?,
        pipe: writer,
    };
    Ok((read, write))
}

impl AsHandle for PipeIn {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.pipe.as_handle()
    }
}

impl AsyncRead for PipeIn {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let PipeIn { event, pipe } = &mut *self;
        event.poll(context, || pipe.try_read(buffer))
    }
}

impl AsyncWrite for PipeOut {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let PipeOut { event, pipe } = &mut *self;
        event.poll(context, || pipe.try_write_vectored(slices))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        WriteHalf::poll_flush(&mut *self, context)
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(self, context)
    }
}

impl ReadHalf for PipeIn {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        spare: &mut Spare<'_>,
    ) -> Poll<io::Result<usize>> {
        let PipeIn { event, pipe } = self;
        event.poll(context, || pipe.try_read_buf(spare))
    }
}

impl WriteHalf for PipeOut {
    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        output: &mut SendBuf,
    ) -> Poll<io::Result<usize>> {
        let PipeOut { event, pipe } = self;
        event.poll(context, || pipe.try_write_buf(output))
    }

    /// The pipe is to be kept until what it took has been written.
    fn is_buffered(&self) -> bool {
        true
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let PipeOut { event, pipe } = self;
        event.poll(context, || pipe.try_flush())
    }
}

/// An instance of a pipe that waits for its client.
#[derive(Debug)]
pub struct Instance {
    event: Event,
    pipe: PipeInstance,
}

impl Instance {
    pub(crate) fn new(pipe: OwnedHandle) -> io::Result<Instance> {
        let pipe = PipeInstance::new(pipe)?;
        let event = Event::new(pipe.event())?;
        Ok(Instance { event, pipe })
    }

    pub(crate) async fn connected(&mut self) -> io::Result<()> {
        let Instance { event, pipe } = self;
        poll_fn(|context| event.poll(context, || pipe.try_connect())).await
    }

    pub(crate) fn into_halves(self) -> io::Result<(PipeReader, PipeWriter)> {
        self.pipe.into_halves()
    }
}
