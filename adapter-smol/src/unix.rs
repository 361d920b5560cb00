//! A Unix socket as two directions of a stream.

use crate::waiting::{self, Parker, Source, Threads};
use async_io::Async;
use bytes::BufMut;
use futures_io::{AsyncRead, AsyncWrite};
use sealpipe_core::SendBuf;
use sealpipe_driver::{ReadHalf, Spare, WriteHalf};
use sealpipe_endpoint::{receive, transmit};
use std::{
    io::{self, IoSlice, Read as _, Write as _},
    net::Shutdown,
    os::unix::net::UnixStream,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll, ready},
};

/// One direction of a socket.
#[derive(Debug)]
pub struct SocketHalf {
    socket: Arc<Socket>,
    /// The last read left room free: there was no more, and a thread that waits itself waits
    /// before it reads again.
    drained: bool,
    /// The thread that waited last.
    thread: Weak<Parker>,
}

/// What both directions hold, and nobody else for long.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) io: Arc<Async<UnixStream>>,
    /// The last field: they are told when the socket has been let go of.
    threads: Threads,
}

/// The two directions of a socket that is non-blocking already.
pub(crate) fn halves(stream: UnixStream) -> io::Result<(SocketHalf, SocketHalf)> {
    let socket = Arc::new(Socket {
        io: Arc::new(Async::new_nonblocking(stream)?),
        threads: Threads::default(),
    });
    let half = |socket| SocketHalf {
        socket,
        drained: false,
        thread: Weak::new(),
    };
    Ok((half(socket.clone()), half(socket)))
}

impl SocketHalf {
    /// Calls `attempt` until it does not say that it would block.
    fn poll<T>(
        &mut self,
        context: &mut Context<'_>,
        writes: bool,
        mut attempt: impl FnMut(&UnixStream) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        // Such a thread asks the system by waiting anyway, and to read in vain first would be a
        // call more. To register with async-io takes several: there it is read first.
        if std::mem::take(&mut self.drained) && self.register(context, writes) {
            return Poll::Pending;
        }
        loop {
            match attempt(self.socket.io.get_ref()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
            ready!(self.poll_ready(context, writes))?;
        }
    }

    /// Has this thread wait for the socket itself, if it can.
    fn register(&mut self, context: &Context<'_>, writes: bool) -> bool {
        let source = || Source {
            socket: Arc::downgrade(&self.socket),
            writes,
        };
        let registered = waiting::register(context.waker(), source);
        if registered {
            self.socket.threads.add_current(&mut self.thread);
        }
        registered
    }

    fn poll_ready(&mut self, context: &mut Context<'_>, writes: bool) -> Poll<io::Result<()>> {
        if self.register(context, writes) {
            Poll::Pending
        } else if writes {
            self.socket.io.poll_writable(context)
        } else {
            self.socket.io.poll_readable(context)
        }
    }
}

impl AsyncRead for SocketHalf {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.poll(context, false, |mut socket| socket.read(buffer))
    }
}

impl AsyncWrite for SocketHalf {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll(context, true, |mut socket| socket.write(bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll(context, true, |mut socket| socket.write_vectored(slices))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.socket.io.get_ref().shutdown(Shutdown::Write))
    }
}

impl ReadHalf for SocketHalf {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        spare: &mut Spare<'_>,
    ) -> Poll<io::Result<usize>> {
        let read = ready!(self.poll(context, false, |socket| receive(socket, spare)))?;
        self.drained = read > 0 && spare.has_remaining_mut();
        Poll::Ready(Ok(read))
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
