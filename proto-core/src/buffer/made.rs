//! Bytes that were made while there was no output buffer to put them into.

use alloc::boxed::Box;
use bytes::BytesMut;

/// One pointer once it is [`release`](Self::release)d.
#[derive(Debug, Default)]
pub(crate) struct Made(Option<Box<BytesMut>>);

impl Made {
    pub(crate) const fn new() -> Made {
        Made(None)
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |bytes| bytes.len())
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// To add some, or to take all.
    #[inline]
    pub(crate) fn bytes_mut(&mut self) -> &mut BytesMut {
        self.0.get_or_insert_default()
    }

    pub(crate) fn clear(&mut self) {
        if let Some(bytes) = &mut self.0 {
            bytes.clear();
        }
    }

    /// Gives back memory that holds nothing.
    pub(crate) fn release(&mut self) {
        if self.is_empty() {
            self.0 = None;
        }
    }
}
