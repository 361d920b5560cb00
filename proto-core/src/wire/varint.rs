//! Variable-length integers (RFC 9000, section 16) and a reader of fields.

use bytes::BufMut;

/// The largest value a varint can carry: 2^62 − 1.
pub const MAX: u64 = (1 << 62) - 1;

/// Appends `value` in its shortest form. Values above [`MAX`] do not occur in
/// this protocol; they are written as `MAX`.
#[inline]
pub fn encode(value: u64, out: &mut impl BufMut) {
    let (number, len) = tagged(value);
    out.put_uint(number, len);
}

/// The number that [`encode`] writes for `value`, and in how many bytes.
#[inline]
pub(crate) const fn tagged(value: u64) -> (u64, usize) {
    match value {
        0..=0x3f => (value, 1),
        0x40..=0x3fff => (value | 0x4000, 2),
        0x4000..=0x3fff_ffff => (value | 0x8000_0000, 4),
        0x4000_0000..=MAX => (value | 0xc000_0000_0000_0000, 8),
        _ => (u64::MAX, 8),
    }
}

/// How many bytes [`encode`] writes for `value`.
#[inline]
pub const fn encoded_len(value: u64) -> usize {
    tagged(value).1
}

/// Takes fields from the front of a byte slice; `None` means that it is too
/// short, and nothing is said about what is left then.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads from `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader(bytes)
    }

    /// One byte.
    #[inline]
    pub fn u8(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// `N` bytes.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    /// A varint of any of the four forms.
    #[inline]
    pub fn varint(&mut self) -> Option<u64> {
        let first = *self.0.first()?;
        Some(match first >> 6 {
            0 => u64::from(self.u8()?),
            1 => u64::from(u16::from_be_bytes(self.array()?) & 0x3fff),
            2 => u64::from(u32::from_be_bytes(self.array()?) & 0x3fff_ffff),
            _ => u64::from_be_bytes(self.array()?) & MAX,
        })
    }

    /// `n` bytes.
    #[inline]
    pub fn bytes(&mut self, n: u64) -> Option<&'a [u8]> {
        let (first, rest) = self.0.split_at_checked(usize::try_from(n).ok()?)?;
        self.0 = rest;
        Some(first)
    }

    /// All that is left.
    #[inline]
    pub const fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// Whether nothing is left.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
