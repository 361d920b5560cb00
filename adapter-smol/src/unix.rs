//! A Unix socket as two directions of a stream.

use crate::waiting::{self, Source};
use async_io::Async;
use futures_io::{AsyncRead, AsyncWrite};
use sealpipe_core::SendBuf;
use sealpipe_driver::{ReadHalf, Spare, WriteHalf};
use sealpipe_endpoint::{receive, transmit};
use std::{
    io::{self, IoSlice, Read as _, Write as _},
    net::Shutdown,
    os::unix::net::UnixStream,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

/// One direction of a socket.
#[derive(Debug, Clone)]
pub struct SocketHalf(Arc<Async<UnixStream>>);

/// The two directions of a socket that is non-blocking already.
pub(crate) fn halves(stream: UnixStream) -> io::Result<(SocketHalf, SocketHalf)> {
    let stream = Arc::new(Async::new_nonblocking(stream)?);
    Ok((SocketHalf(stream.clone()), SocketHalf(stream)))
}

impl SocketHalf {
    /// Calls `attempt` until it does not say that it would block.
    fn poll<T>(
        &self,
        context: &mut Context<'_>,
        writes: bool,
        mut attempt: impl FnMut(&UnixStream) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            match attempt(self.0.get_ref()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
            let source = || Source {
                socket: self.0.clone(),
                writes,
            };
            if waiting::register(context.waker(), source) {
                return Poll::Pending;
            }
            if writes {
                ready!(self.0.poll_writable(context))?;
            } else {
                ready!(self.0.poll_readable(context))?;
            }
        }
    }
}

impl AsyncRead for SocketHalf {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.poll(context, false, |mut socket| socket.read(buffer))
    }
}

impl AsyncWrite for SocketHalf {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll(context, true, |mut socket| socket.write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll(context, true, |mut socket| socket.write_vectored(slices))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.get_ref().shutdown(Shutdown::Write))
    }
}

impl ReadHalf for SocketHalf {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        spare: &mut Spare<'_>,
    ) -> Poll<io::Result<usize>> {
        self.poll(context, false, |socket| receive(socket, spare))
    }
}

impl WriteHalf for SocketHalf {
    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        output: &mut SendBuf,
    ) -> Poll<io::Result<usize>> {
        self.poll(context, true, |socket| transmit(socket, output))
    }

    fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        Pin::new(self).poll_close(context).map_ok(|()| true)
    }
}
