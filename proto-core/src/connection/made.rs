//! Bytes that were made while there was no output buffer to put them into: it is the
//! driver's.

use alloc::boxed::Box;
use bytes::BytesMut;

/// One pointer once it is [`release`](Self::release)d.
#[derive(Debug, Default)]
pub(super) struct Made(Option<Box<BytesMut>>);

impl Made {
    pub(super) const fn new() -> Made {
        Made(None)
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |bytes| bytes.len())
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// To add some, or to take all.
    #[inline]
    pub(super) fn bytes_mut(&mut self) -> &mut BytesMut {
        self.0.get_or_insert_default()
    }

    pub(super) fn clear(&mut self) {
        if let Some(bytes) = &mut self.0 {
            bytes.clear();
        }
    }

    /// Gives back memory that holds nothing.
    pub(super) fn release(&mut self) {
        if self.is_empty() {
            self.0 = None;
        }
    }
}
