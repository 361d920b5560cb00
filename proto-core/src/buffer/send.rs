//! Bytes on their way out.

use alloc::{boxed::Box, collections::VecDeque};
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
    parts: Option<Box<Parts>>,
    remaining: usize,
    written: u64,
}

#[derive(Debug, Default)]
struct Parts {
    /// In order, before `tail`.
    chunks: VecDeque<Bytes>,
    /// Frames that are being put together.
    tail: BytesMut,
}

impl SendBuf {
    /// An empty buffer.
    pub fn new() -> SendBuf {
        SendBuf::default()
    }

    /// Gives back memory that holds nothing. For when the connection is idle.
    pub fn release(&mut self) {
        if self.remaining == 0 {
            self.parts = None;
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
        let tail = &mut self.parts.get_or_insert_default().tail;
        let before = tail.len();
        let value = write(tail);
        self.remaining = self
            .remaining
            .saturating_add(tail.len().saturating_sub(before));
        value
    }

    /// Appends all of `bytes`, and leaves it empty. Where it can, it takes the memory, and
    /// gives its own for it.
    pub(crate) fn append(&mut self, bytes: &mut BytesMut) {
        self.remaining = self.remaining.saturating_add(bytes.len());
        let tail = &mut self.parts.get_or_insert_default().tail;
        if tail.is_empty() {
            core::mem::swap(tail, bytes);
        } else {
            tail.extend_from_slice(bytes);
        }
        bytes.clear();
    }

    /// Appends a block without copying it.
    pub(crate) fn push(&mut self, block: Bytes) {
        self.remaining = self.remaining.saturating_add(block.len());
        let parts = self.parts.get_or_insert_default();
        if !parts.tail.is_empty() {
            parts.chunks.push_back(parts.tail.split().freeze());
        }
        parts.chunks.push_back(block);
    }
}

impl Buf for SendBuf {
    fn remaining(&self) -> usize {
        self.remaining
    }

    fn chunk(&self) -> &[u8] {
        let Some(parts) = &self.parts else { return &[] };
        parts.chunks.front().map_or(&parts.tail, |first| first)
    }

    /// # Panics
    /// Never: `n` is clamped to what is there.
    fn advance(&mut self, n: usize) {
        let mut n = n.min(self.remaining);
        self.remaining = self.remaining.saturating_sub(n);
        self.written = self.written.saturating_add(n as u64);
        let Some(parts) = &mut self.parts else { return };
        while let Some(first) = parts.chunks.front_mut() {
            if n < first.len() {
                first.advance(n);
                return;
            }
            n = n.saturating_sub(first.len());
            parts.chunks.pop_front();
        }
        if n >= parts.tail.len() {
            parts.tail.clear();
        } else {
            parts.tail.advance(n);
        }
    }

    #[cfg(feature = "std")]
    fn chunks_vectored<'a>(&'a self, slices: &mut [std::io::IoSlice<'a>]) -> usize {
        let blocks = self.parts.iter().flat_map(|parts| {
            let chunks = parts.chunks.iter().map(|block| &block[..]);
            chunks.chain([&parts.tail[..]])
        });
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
