//! Bytes through a socket, for adapters whose runtime has no call of its own.
#![allow(unsafe_code)]

use std::io::{self, IoSlice};
use std::os::fd::AsFd;

use bytes::{Buf, BufMut};
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags};

/// The most blocks that one write takes.
const BLOCKS: usize = 64;

#[cfg(not(target_vendor = "apple"))]
const SEND: SendFlags = SendFlags::NOSIGNAL;
/// There the socket itself is told, by [`prepare`](super::prepare).
#[cfg(target_vendor = "apple")]
const SEND: SendFlags = SendFlags::empty();

/// Reads once from a stream socket into `room`; says how many bytes came, 0 at the
/// end of the stream (or if there is no room).
///
/// # Errors
///
/// What the system reports; [`io::ErrorKind::WouldBlock`] when nothing has come
/// and the socket is non-blocking.
pub fn receive(socket: impl AsFd, room: &mut impl BufMut) -> io::Result<usize> {
    // SAFETY: nothing but the system writes there, and it writes whole bytes only:
    // none that was initialised becomes uninitialised.
    let spare = unsafe { room.chunk_mut().as_uninit_slice_mut() };
    let ((received, _), _) = rustix::net::recv(socket, spare, RecvFlags::empty())?;
    let n = received.len();
    // SAFETY: the system has just written so many bytes at the front of that room.
    unsafe { room.advance_mut(n) };
    tracing::trace!(bytes = n, "recv");
    Ok(n)
}

/// Writes some of `output` to a stream socket in one call, and advances it by what
/// went; says how many bytes that were. A peer that has gone is an error, never
/// a signal.
///
/// # Errors
///
/// What the system reports; [`io::ErrorKind::WouldBlock`] when the socket is
/// non-blocking and takes nothing now.
pub fn transmit(socket: impl AsFd, output: &mut impl Buf) -> io::Result<usize> {
    let n = if output.chunk().len() == output.remaining() {
        rustix::net::send(socket, output.chunk(), SEND)?
    } else {
        let mut blocks = [IoSlice::new(&[]); BLOCKS];
        let count = output.chunks_vectored(&mut blocks);
        let blocks = blocks.get(..count).unwrap_or_default();
        rustix::net::sendmsg(socket, blocks, &mut SendAncillaryBuffer::default(), SEND)?
    };
    output.advance(n);
    tracing::trace!(bytes = n, "send");
    Ok(n)
}
