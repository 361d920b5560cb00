//! tokio's named pipes as two directions of a stream.

use bytes::BufMut;
use sealpipe_core::SendBuf;
use sealpipe_driver::{ReadHalf, Spare, WriteHalf};
use std::{
    io,
    os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, IntoRawHandle, OwnedHandle},
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::net::windows::named_pipe::{NamedPipeClient, NamedPipeServer};

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

impl ReadHalf for PipeHalf {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        spare: &mut Spare<'_>,
    ) -> Poll<io::Result<usize>> {
        debug_assert!(spare.has_remaining_mut(), "no room to read into");
        loop {
            ready!(either!(&*self.0, end => end.poll_read_ready(context)))?;
            match either!(&*self.0, end => end.try_read_buf(spare)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }
}

impl WriteHalf for PipeHalf {
    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        output: &mut SendBuf,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(either!(&*self.0, end => end.poll_write_ready(context)))?;
            // mio writes one block at a time: it copies into a buffer of its own.
            match either!(&*self.0, end => end.try_write(bytes::Buf::chunk(output))) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => {
                    return Poll::Ready(result.inspect(|n| bytes::Buf::advance(output, *n)));
                }
            }
        }
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
