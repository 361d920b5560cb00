//! Bytes on their way in.

use alloc::boxed::Box;
use bytes::{BufMut, Bytes, BytesMut, buf::Limit};

/// The first read of a connection, before its peer is known to be one.
const FIRST_READ: usize = 2 << 10;
/// A read after a quiet time, and the one before a large payload.
const SMALL_READ: usize = 8 << 10;
/// The largest read: where small messages come in batches.
const LARGE_READ: usize = 64 << 10;
/// Messages up to this are small, and share blocks.
pub(crate) const SMALL: usize = 1 << 10;
/// What small messages share. One of them pins no more than this.
const SLAB: usize = 4 << 10;
/// A message that has begun gets this much room at once …
const ASSEMBLY_START: usize = 256 << 10;
/// … and later this many times what has come, never more than it declared.
const ASSEMBLY_FACTOR: usize = 8;

/// Input that the driver has read and the connection has not used up.
///
/// The driver reads into [`spare`](Self::spare) and then calls
/// [`Connection::handle_input`](crate::Connection::handle_input). One buffer
/// belongs to one connection. It holds no memory while it is empty and
/// [`release`](Self::release)d.
#[derive(Debug, Default)]
pub struct RecvBuf {
    /// Bytes as they came.
    scratch: BytesMut,
    /// How many bytes of `scratch` have been used up. Counting is cheaper than
    /// cutting them off one frame at a time.
    used: usize,
    /// How large the block under `scratch` has been: what a piece cut from it
    /// pins at most.
    block: usize,
    /// How much the next read into `scratch` may take.
    read_size: usize,
    /// The payload of the message that is coming in, if that comes in pieces.
    assembly: Option<Box<Assembly>>,
    slab: BytesMut,
    /// The connection takes no more for now.
    held: bool,
}

#[derive(Debug)]
struct Assembly {
    payload: BytesMut,
    /// Length of the payload when it is whole.
    total: usize,
    /// Plain mode: the current frame's part is read straight to its place, until
    /// the payload has this length.
    direct_until: usize,
}

impl RecvBuf {
    /// An empty buffer.
    pub fn new() -> RecvBuf {
        RecvBuf::default()
    }

    /// An empty buffer in place of one that was [`release`](Self::release)d and
    /// [empty](Self::is_empty), and so was dropped.
    pub fn rested() -> RecvBuf {
        RecvBuf {
            read_size: SMALL_READ,
            ..RecvBuf::default()
        }
    }

    /// Room for the next read, never empty. What the driver writes here counts as
    /// received.
    ///
    /// How much is offered follows what came before, so that small messages are
    /// read in batches and large payloads without a copy.
    pub fn spare(&mut self) -> Limit<&mut BytesMut> {
        let missing = self.direct_missing();
        let size = self.read_size.max(FIRST_READ);
        if missing == 0 {
            self.cut_used();
            self.scratch.reserve(size);
            self.block = self.block.max(self.scratch.capacity());
        }
        match &mut self.assembly {
            Some(assembly) if missing > 0 => {
                assembly.grow(1);
                let payload = &mut assembly.payload;
                let room = payload.capacity().saturating_sub(payload.len());
                payload.limit(missing.min(room))
            }
            _ => (&mut self.scratch).limit(size),
        }
    }

    /// Appends bytes that were read elsewhere, as many as [`spare`](Self::spare)
    /// has room for; says how many. Hand in the rest after
    /// [`Connection::handle_input`](crate::Connection::handle_input).
    pub fn fill_from(&mut self, bytes: &[u8]) -> usize {
        let mut spare = self.spare();
        let n = spare.remaining_mut().min(bytes.len());
        spare.put_slice(bytes.get(..n).unwrap_or_default());
        n
    }

    /// Whether the connection takes no more for now, because its program does not keep
    /// up: read nothing, and hand this in again when messages were taken. Only on
    /// another [wire](crate::Wire) than sealpipe's own, which has credit instead.
    #[inline]
    pub fn is_held(&self) -> bool {
        self.held
    }

    pub(crate) fn hold(&mut self, held: bool) {
        self.held = held;
    }

    /// Gives back memory that holds nothing. For when the connection is idle.
    pub fn release(&mut self) {
        self.cut_used();
        if self.scratch.is_empty() {
            self.scratch = BytesMut::new();
            self.block = 0;
            self.read_size = SMALL_READ;
        }
        self.slab = BytesMut::new();
    }

    /// Whether nothing waits in it and it is not [held](Self::is_held): it may be dropped,
    /// and a [rested](Self::rested) one made for the next read.
    pub fn is_empty(&self) -> bool {
        self.bytes().is_empty() && self.assembly.is_none() && !self.held
    }

    /// Whether a frame or a message has begun and is not whole.
    pub(crate) fn is_partial(&self) -> bool {
        !self.bytes().is_empty() || self.direct_missing() > 0
    }

    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        self.scratch.get(self.used..).unwrap_or_default()
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        self.scratch.get_mut(self.used..).unwrap_or_default()
    }

    /// Drops the first `n` bytes: they have been used up.
    #[inline]
    pub(crate) fn consume(&mut self, n: usize) {
        self.used = self.used.saturating_add(n).min(self.scratch.len());
    }

    fn cut_used(&mut self) {
        let used = core::mem::take(&mut self.used).min(self.scratch.len());
        if used == self.scratch.len() {
            self.scratch.clear();
        } else if used > 0 {
            bytes::Buf::advance(&mut self.scratch, used);
        }
    }

    /// Drops all input.
    pub(crate) fn clear(&mut self) {
        *self = RecvBuf::default();
    }

    /// Sizes the next read by the last one: where that was filled, more is
    /// waiting.
    pub(crate) fn note_read(&mut self) {
        let filled = self.bytes().len() >= self.read_size.max(FIRST_READ);
        self.read_size = if filled {
            LARGE_READ
        } else {
            self.read_size.max(SMALL_READ)
        };
    }

    /// A large payload has come. If another follows, a small read before it leaves
    /// most of it to be read straight to its place.
    pub(crate) fn expect_large(&mut self) {
        self.read_size = SMALL_READ;
    }

    /// Room for a [block](Self::take_block) that is at least `n` bytes long, of
    /// [`SLAB`] at most: how long it may be.
    #[inline]
    pub(crate) fn block_room(&mut self, n: usize) -> usize {
        if self.slab.capacity() < n {
            self.slab = BytesMut::with_capacity(SLAB);
        }
        self.slab.capacity()
    }

    /// The first `n` bytes, for which there is [room](Self::block_room), as a block of
    /// their own, and drops them here.
    #[inline]
    pub(crate) fn take_block(&mut self, n: usize) -> Bytes {
        let end = self.used.saturating_add(n).min(self.scratch.len());
        let bytes = self.scratch.get(self.used..end).unwrap_or_default();
        self.used = end;
        self.slab.extend_from_slice(bytes);
        self.slab.split().freeze()
    }

    /// The first `n` bytes as a payload of their own, and drops them here.
    ///
    /// Small ones share a slab; what would pin more than four times its size is
    /// copied; the rest is cut off without a copy.
    pub(crate) fn take_payload(&mut self, n: usize) -> Bytes {
        let n = n.min(self.bytes().len());
        if n == 0 {
            return Bytes::new();
        }
        if n <= SMALL {
            self.block_room(n);
            return self.take_block(n);
        }
        if n.saturating_mul(4) >= self.block {
            self.cut_used();
            return self.scratch.split_to(n).freeze();
        }
        let bytes = self.bytes();
        let payload = Bytes::copy_from_slice(bytes.get(..n).unwrap_or(bytes));
        self.consume(n);
        payload
    }

    /// Begins a payload of `total` bytes. The caller has checked `total` against
    /// the limit; room is taken as bytes come.
    pub(crate) fn begin_assembly(&mut self, total: usize) {
        self.assembly = Some(Box::new(Assembly {
            payload: BytesMut::with_capacity(total.min(ASSEMBLY_START)),
            total,
            direct_until: 0,
        }));
    }

    pub(crate) fn assembly_len(&self) -> usize {
        self.assembly
            .as_ref()
            .map_or(0, |assembly| assembly.payload.len())
    }

    /// Moves the first `n` bytes to the end of the payload.
    pub(crate) fn append_to_assembly(&mut self, n: usize) {
        let end = self.used.saturating_add(n).min(self.scratch.len());
        if let (Some(assembly), Some(bytes)) =
            (&mut self.assembly, self.scratch.get(self.used..end))
        {
            assembly.grow(bytes.len());
            assembly.payload.extend_from_slice(bytes);
        }
        self.used = end;
    }

    /// The current frame has `n` more bytes of payload: they are read straight to
    /// their place.
    pub(crate) fn read_direct(&mut self, n: usize) {
        if let Some(assembly) = &mut self.assembly {
            assembly.direct_until = assembly.payload.len().saturating_add(n);
        }
    }

    /// How many bytes the current frame's payload lacks.
    #[inline]
    pub(crate) fn direct_missing(&self) -> usize {
        self.assembly.as_ref().map_or(0, |assembly| {
            assembly.direct_until.saturating_sub(assembly.payload.len())
        })
    }

    /// The payload, whole.
    pub(crate) fn take_assembly(&mut self) -> Bytes {
        self.assembly
            .take()
            .map_or_else(Bytes::new, |assembly| assembly.payload.freeze())
    }

    /// Drops the payload that was coming in. Its frame must be whole.
    pub(crate) fn drop_assembly(&mut self) {
        self.assembly = None;
    }
}

impl Assembly {
    /// Room for at least `n` more bytes of payload. Grown in a few large steps,
    /// so that a message is moved at most a few times, and one that was only
    /// announced takes a small multiple of what has come.
    fn grow(&mut self, n: usize) {
        let needed = self.payload.len().saturating_add(n);
        if needed <= self.payload.capacity() {
            return;
        }
        let room = needed.saturating_mul(ASSEMBLY_FACTOR).max(ASSEMBLY_START);
        let mut grown = BytesMut::with_capacity(room.min(self.total).max(needed));
        grown.extend_from_slice(&self.payload);
        self.payload = grown;
    }
}
