//! tokio's named pipes as two directions of a stream.

use crate::io::{Half, WriteEnd};
use std::{
    io,
    os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, IntoRawHandle, OwnedHandle},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::windows::named_pipe::{NamedPipeClient, NamedPipeServer},
};

/// What both ends of a pipe can do.
enum Pipe {
    Client(NamedPipeClient),
    Server(NamedPipeServer),
}

macro_rules! either {
    ($pipe:expr, $end:ident => $call:expr) => {
        match $pipe {
            Pipe::Client($end) => $call,
            Pipe::Server($end) => $call,
        }
    };
}

/// One of the two directions of a pipe.
pub struct PipeHalf(Arc<Pipe>);

impl AsHandle for PipeHalf {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        let raw = either!(&*self.0, end => end.as_raw_handle());
        // SAFETY: the handle belongs to `self`, which the result borrows, and
        // tokio closes it only when it is dropped.
        unsafe { BorrowedHandle::borrow_raw(raw) }
    }
}

impl AsHandle for Half<PipeHalf> {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.io.as_handle()
    }
}

impl AsyncRead for PipeHalf {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(either!(&*self.0, end => end.poll_read_ready(context)))?;
            match either!(&*self.0, end => end.try_read_buf(buffer)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result.map(drop)),
            }
        }
    }
}

/// It takes one block at a time, for mio copies what it writes into a buffer of its
/// own.
impl AsyncWrite for PipeHalf {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(either!(&*self.0, end => end.poll_write_ready(context)))?;
            match either!(&*self.0, end => end.try_write(bytes)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl WriteEnd for PipeHalf {
    /// Waits until mio has written what it took, for a program that ends takes that
    /// with it. Only a further write tells: an empty one, which its reader may see as
    /// the end that comes next.
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        ready!(Pin::new(self).poll_write(context, &[]))?;
        // A pipe can only be closed whole.
        Poll::Ready(Ok(false))
    }
}

/// The client's end of a pipe that endpoint opened.
pub(crate) fn client(handle: OwnedHandle) -> io::Result<(PipeHalf, PipeHalf)> {
    let raw = handle.into_raw_handle();
    // SAFETY: endpoint opens pipes for overlapped use, and the handle's ownership
    // is handed over here.
    let client = unsafe { NamedPipeClient::from_raw_handle(raw) }?;
    Ok(halves(Pipe::Client(client)))
}

/// An instance of a pipe that endpoint made, for a client to come.
pub(crate) fn instance(handle: OwnedHandle) -> io::Result<NamedPipeServer> {
    let raw = handle.into_raw_handle();
    // SAFETY: endpoint makes instances for overlapped use, and the handle's
    // ownership is handed over here.
    unsafe { NamedPipeServer::from_raw_handle(raw) }
}

/// A pipe whose client has connected.
pub(crate) fn server(pipe: NamedPipeServer) -> (PipeHalf, PipeHalf) {
    halves(Pipe::Server(pipe))
}

fn halves(pipe: Pipe) -> (PipeHalf, PipeHalf) {
    let pipe = Arc::new(pipe);
    (PipeHalf(pipe.clone()), PipeHalf(pipe))
}
