//! What comes in below the WebSocket, counted: frames that make no message are not seen
//! above it.

use super::ByteStream;
use futures_io::{AsyncRead, AsyncWrite};
use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

/// How many reads may follow each other before others have their turn.
const READS: u32 = 32;

/// A stream of bytes that counts what is read.
pub(crate) struct Meter {
    io: Box<dyn ByteStream>,
    read: usize,
    in_a_row: u32,
}

impl Meter {
    pub(crate) fn new(io: Box<dyn ByteStream>) -> Meter {
        Meter {
            io,
            read: 0,
            in_a_row: 0,
        }
    }

    /// How many bytes came that nothing was found in yet.
    pub(crate) fn unaccounted(&self) -> usize {
        self.read
    }

    /// Takes note of what was found in so many bytes.
    pub(crate) fn account(&mut self, bytes: usize) {
        self.read = self.read.saturating_sub(bytes);
    }
}

impl AsyncRead for Meter {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if self.in_a_row >= READS {
            self.in_a_row = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let polled = Pin::new(&mut self.io).poll_read(context, buf);
        if polled.is_pending() {
            self.in_a_row = 0;
        }
        let n = ready!(polled)?;
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.read = self.read.saturating_add(n);
        Poll::Ready(Ok(n))
    }
}

impl AsyncWrite for Meter {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, bufs)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_close(context)
    }
}
