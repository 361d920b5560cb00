//! What implements futures' traits, as the two directions of a stream.

use bytes::{Buf, BufMut};
use futures_io::{AsyncRead, AsyncWrite};
use sealpipe_core::SendBuf;
use sealpipe_driver::{ReadHalf, Spare, WriteHalf};
use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

/// How much one read takes: the traits want memory that holds something, and
/// making more of it so would cost more than it brings.
const READ: usize = 8 << 10;
/// The most blocks that one write takes.
const BLOCKS: usize = 64;

/// A direction of some stream, which may buffer what is written.
pub(crate) struct Any<Io>(pub(crate) Io);

impl<Io: AsyncRead + Send + Unpin + 'static> ReadHalf for Any<Io> {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        spare: &mut Spare<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut room = [0; READ];
        let size = spare.remaining_mut().min(READ);
        let room = room.get_mut(..size).unwrap_or_default();
        let n = ready!(Pin::new(&mut self.0).poll_read(context, room))?;
        spare.put_slice(room.get(..n).unwrap_or_default());
        Poll::Ready(Ok(n))
    }
}

impl<Io: AsyncWrite + Send + Unpin + 'static> WriteHalf for Any<Io> {
    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        output: &mut SendBuf,
    ) -> Poll<io::Result<usize>> {
        let mut blocks = [IoSlice::new(&[]); BLOCKS];
        let count = output.chunks_vectored(&mut blocks);
        let blocks = blocks.get(..count).unwrap_or_default();
        let n = ready!(Pin::new(&mut self.0).poll_write_vectored(context, blocks))?;
        output.advance(n);
        Poll::Ready(Ok(n))
    }

    fn is_buffered(&self) -> bool {
        true
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        Pin::new(&mut self.0).poll_close(context).map_ok(|()| true)
    }
}
