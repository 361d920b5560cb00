//! Sealed records (PROTOCOL.md, section 5).

use super::{CipherProvider, OpenError, RecordCipher};
use crate::wire::TAG;
use alloc::boxed::Box;
use bytes::{BufMut, BytesMut};

/// Records per direction before the keys count as used up.
const MAX_RECORDS: u64 = 1 << 48;

/// Noise's nonce for ChaChaPoly: four zero bytes, then the counter.
fn nonce(counter: u64) -> [u8; 12] {
    let [a, b, c, d, e, f, g, h] = counter.to_le_bytes();
    [0, 0, 0, 0, a, b, c, d, e, f, g, h]
}

/// Seals one direction.
pub(crate) struct Sealer {
    cipher: Box<dyn RecordCipher>,
    counter: u64,
}

impl Sealer {
    pub(crate) fn new(provider: &dyn CipherProvider, key: &[u8; 32]) -> Sealer {
        Sealer {
            cipher: provider.cipher(key),
            counter: 0,
        }
    }

    /// Whether one record is left, for CLOSE.
    pub(crate) fn is_used_up(&self) -> bool {
        self.counter >= MAX_RECORDS.saturating_sub(1)
    }

    /// Begins a record at the end of `out`; frames are appended after it.
    pub(crate) fn begin(out: &mut BytesMut) -> usize {
        let start = out.len();
        out.put_u16(0);
        start
    }

    /// Seals what was appended since `begin` returned `start`. Appends nothing if
    /// that is nothing, more than a record holds, or past the last counter; the
    /// caller sees to it that this cannot be.
    pub(crate) fn end(&mut self, start: usize, out: &mut BytesMut) -> Option<()> {
        let record = out.get_mut(start..)?;
        let (header, data) = record.split_first_chunk_mut::<2>()?;
        let length = u16::try_from(data.len())
            .ok()
            .filter(|length| *length > 0)?;
        if self.counter >= MAX_RECORDS {
            return None;
        }
        *header = length.to_be_bytes();
        let tag = self.cipher.seal(&nonce(self.counter), header, data)?;
        self.counter = self.counter.saturating_add(1);
        out.put_slice(&tag);
        Some(())
    }
}

/// Opens one direction.
pub(crate) struct Opener {
    cipher: Box<dyn RecordCipher>,
    counter: u64,
}

impl Opener {
    /// The bytes before the ciphertext.
    pub(crate) const HEADER: usize = 2;

    pub(crate) fn new(provider: &dyn CipherProvider, key: &[u8; 32]) -> Opener {
        Opener {
            cipher: provider.cipher(key),
            counter: 0,
        }
    }

    /// The length that the record at the front of `input` declares for its
    /// plaintext, once it is there.
    pub(crate) fn declared(input: &[u8]) -> Option<usize> {
        input
            .first_chunk::<2>()
            .map(|bytes| usize::from(u16::from_be_bytes(*bytes)))
    }

    /// Opens in place the record at the front of `input`, which has it whole:
    /// afterwards the plaintext stands where the ciphertext was.
    pub(crate) fn open(&mut self, input: &mut [u8], length: usize) -> Result<(), OpenError> {
        if self.counter >= MAX_RECORDS {
            return Err(OpenError);
        }
        let (header, rest) = input.split_first_chunk_mut::<2>().ok_or(OpenError)?;
        let data = rest
            .get_mut(..length.saturating_add(TAG))
            .ok_or(OpenError)?;
        self.cipher.open(&nonce(self.counter), header, data)?;
        self.counter = self.counter.saturating_add(1);
        Ok(())
    }
}
