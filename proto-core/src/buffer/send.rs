//! Bytes on their way out.

use crate::queue::Queue;
use bytes::{Buf, Bytes, BytesMut};

/// Output that the connection has made and the driver has not written yet.
///
/// [`Connection::poll_transmit`](crate::Connection::poll_transmit) fills it; the
/// driver writes what it holds, in one vectored write where the system has that,
/// and says by [`Buf::advance`] how much went. One buffer belongs to one
/// connection. It holds no memory while it is empty and
/// [`release`](Self::release)d.
#[derive(Debug, Default)]
pub struct SendBuf {
    /// In order, before `tail`.
    chunks: Queue<Bytes>,
    /// Frames that are being put together.
    tail: BytesMut,
    remaining: usize,
    written: u64,
}

impl SendBuf {
    /// An empty buffer.
    pub fn new() -> SendBuf {
        SendBuf::default()
    }

    /// Gives back memory that holds nothing. For when the connection is idle.
    pub fn release(&mut self) {
        if self.remaining == 0 {
            self.chunks.release();
            self.tail = BytesMut::new();
        }
    }

    /// How many bytes have been written so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// How many bytes have been made so far.
    #[inline]
    pub(crate) fn made(&self) -> u64 {
        self.written.saturating_add(self.remaining as u64)
    }

    /// Appends by writing to the tail.
    #[inline]
    pub(crate) fn with_tail<T>(&mut self, write: impl FnOnce(&mut BytesMut) -> T) -> T {
        let before = self.tail.len();
        let value = write(&mut self.tail);
        self.remaining = self
            .remaining
            .saturating_add(self.tail.len().saturating_sub(before));
        value
    }

    /// Appends all of `bytes`, and leaves it empty. Where it can, it takes the memory, and
    /// gives its own for it.
    pub(crate) fn append(&mut self, bytes: &mut BytesMut) {
        self.remaining = self.remaining.saturating_add(bytes.len());
        if self.tail.is_empty() {
            core::mem::swap(&mut self.tail, bytes);
        } else {
            self.tail.extend_from_slice(bytes);
        }
        bytes.clear();
    }

    /// Appends a block without copying it.
    pub(crate) fn push(&mut self, block: Bytes) {
        if !self.tail.is_empty() {
            self.chunks.push_back(self.tail.split().freeze());
        }
        self.remaining = self.remaining.saturating_add(block.len());
        self.chunks.push_back(block);
    }
}

impl Buf for SendBuf {
    fn remaining(&self) -> usize {
        self.remaining
    }

    fn chunk(&self) -> &[u8] {
        self.chunks.front().map_or(&self.tail, |first| first)
    }

    /// # Panics
    /// Never: `n` is clamped to what is there.
    fn advance(&mut self, n: usize) {
        let mut n = n.min(self.remaining);
        self.remaining = self.remaining.saturating_sub(n);
        self.written = self.written.saturating_add(n as u64);
        while let Some(first) = self.chunks.front_mut() {
            if n < first.len() {
                first.advance(n);
                return;
            }
            n = n.saturating_sub(first.len());
            self.chunks.pop_front();
        }
        if n >= self.tail.len() {
            self.tail.clear();
        } else {
            self.tail.advance(n);
        }
    }

    #[cfg(feature = "std")]
    fn chunks_vectored<'a>(&'a self, slices: &mut [std::io::IoSlice<'a>]) -> usize {
        let blocks = self
            .chunks
            .iter()
            .map(|block| &block[..])
            .chain([&self.tail[..]]);
        let mut count = 0usize;
        for (slice, block) in slices
            .iter_mut()
            .zip(blocks.filter(|block| !block.is_empty()))
        {
            *slice = std::io::IoSlice::new(block);
            count = count.saturating_add(1);
        }
        count
    }
}
