//! What tokio can read and write, as the two directions of a stream.

use bytes::Buf;
use sealpipe_core::SendBuf;
use sealpipe_driver::{ReadHalf, Spare, WriteHalf};
use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::io::{poll_read_buf, poll_write_buf};

/// A direction of tokio's own, which may buffer what is written.
#[derive(Debug)]
pub struct Half<Io> {
    pub(crate) io: Io,
    pub(crate) buffered: bool,
}

impl<Io: AsyncRead + Send + Unpin + 'static> ReadHalf for Half<Io> {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        spare: &mut Spare<'_>,
    ) -> Poll<io::Result<usize>> {
        poll_read_buf(Pin::new(&mut self.io), context, spare)
    }

    fn ends_short(&self) -> bool {
        // tokio's sockets, where the system tells of each arrival.
        cfg!(unix) && !self.buffered
    }
}

/// How the direction that bytes go out by ends, which differs for pipes.
pub trait WriteEnd: AsyncWrite + Send + Unpin + Sized + 'static {
    /// As [`WriteHalf::poll_shutdown`].
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        Pin::new(self).poll_shutdown(context).map_ok(|()| true)
    }
}

#[cfg(unix)]
impl WriteEnd for tokio::net::unix::OwnedWriteHalf {}

impl<I: AsyncWrite + Send + 'static> WriteEnd for tokio::io::WriteHalf<Pin<Box<I>>> {}

impl<Io: WriteEnd> WriteHalf for Half<Io> {
    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        output: &mut SendBuf,
    ) -> Poll<io::Result<usize>> {
        debug_assert!(output.has_remaining(), "nothing to write");
        let io = Pin::new(&mut self.io);
        if output.chunk().len() < output.remaining() {
            return poll_write_buf(io, context, output);
        }
        // Of one piece, a plain write is cheaper for the system.
        let poll = io.poll_write(context, output.chunk());
        poll.map_ok(|n| {
            output.advance(n);
            n
        })
    }

    fn is_buffered(&self) -> bool {
        self.buffered
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        self.io.poll_end(context)
    }
}
