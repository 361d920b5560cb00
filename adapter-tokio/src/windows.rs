//! Named pipes as two directions of a stream.

use crate::{Error, shared::Transport};
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
pub(crate) enum Pipe {
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

impl AsHandle for Pipe {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        let raw = either!(self, end => end.as_raw_handle());
        // SAFETY: the handle belongs to `self`, which the result borrows, and
        // tokio closes it only when it is dropped.
        unsafe { BorrowedHandle::borrow_raw(raw) }
    }
}

/// One of the two directions.
pub(crate) struct Half(Arc<Pipe>);

impl AsyncRead for Half {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(either!(&*self.0, end => end.poll_read_ready(context)))?;
            match either!(&*self.0, end => end.try_read_buf(buf)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result.map(|_| ())),
            }
        }
    }
}

impl AsyncWrite for Half {
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
        // Flushing a pipe means waiting until the peer has read: not here.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn halves(pipe: &Arc<Pipe>) -> Transport {
    Transport {
        read: Box::new(Half(pipe.clone())),
        write: Box::new(Half(pipe.clone())),
        flushes: false,
        verify: None,
    }
}

/// The client's end of a pipe that endpoint opened.
pub(crate) fn client(handle: OwnedHandle) -> Result<Transport, Error> {
    let raw = handle.into_raw_handle();
    // SAFETY: endpoint opens pipes for overlapped use, and the handle's ownership
    // is handed over here.
    let client = unsafe { NamedPipeClient::from_raw_handle(raw) }
        .map_err(Error::io("registering the pipe with tokio"))?;
    Ok(halves(&Arc::new(Pipe::Client(client))))
}

/// An instance of a pipe that endpoint made, for a client to come.
pub(crate) fn instance(handle: OwnedHandle) -> Result<NamedPipeServer, Error> {
    let raw = handle.into_raw_handle();
    // SAFETY: endpoint makes instances for overlapped use, and the handle's
    // ownership is handed over here.
    unsafe { NamedPipeServer::from_raw_handle(raw) }
        .map_err(Error::io("registering the pipe with tokio"))
}

/// A pipe whose client has connected; `verify` is called when it has sent its
/// first bytes.
pub(crate) fn server(
    pipe: NamedPipeServer,
    verify: impl FnOnce(BorrowedHandle<'_>) -> bool + Send + 'static,
) -> Transport {
    let pipe = Arc::new(Pipe::Server(pipe));
    let mut transport = halves(&pipe);
    transport.verify = Some(Box::new(move || verify(pipe.as_handle())));
    transport
}
