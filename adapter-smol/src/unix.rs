//! A Unix socket as two directions of a stream.

use async_io::Async;
use sealpipe_core::SendBuf;
use sealpipe_driver::{ReadHalf, Spare, WriteHalf};
use sealpipe_endpoint::{receive, transmit};
use std::{
    io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
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

impl AsFd for SocketHalf {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.get_ref().as_fd()
    }
}

impl ReadHalf for SocketHalf {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        spare: &mut Spare<'_>,
    ) -> Poll<io::Result<usize>> {
        loop {
            match receive(self.0.get_ref(), spare) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
            ready!(self.0.poll_readable(context))?;
        }
    }
}

impl WriteHalf for SocketHalf {
    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        output: &mut SendBuf,
    ) -> Poll<io::Result<usize>> {
        loop {
            match transmit(self.0.get_ref(), output) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
            ready!(self.0.poll_writable(context))?;
        }
    }
}
