//! The shared secret and the name by which it is told apart.

use alloc::boxed::Box;
use blake2::{Blake2s256, Digest};
use core::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Hashed before the key, so that an id says nothing about any other use of it.
const ID_LABEL: &[u8; 18] = b"sealpipe-key-id-v1";

/// A 32-byte secret that both sides hold. Random bytes, never a password.
///
/// The bytes are wiped when the key is dropped and are never printed: `Debug`
/// shows the [`KeyId`].
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    // Boxed so that moving a key leaves no copy of the bytes behind.
    bytes: Box<[u8; 32]>,
}

impl Key {
    /// A key from 32 random bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Key {
        Key {
            bytes: Box::new(bytes),
        }
    }

    /// A key from 64 hexadecimal digits; white space around them is ignored.
    ///
    /// # Errors
    /// [`KeyError`] if there are not exactly 64 digits. The text is not repeated.
    pub fn from_hex(text: &str) -> Result<Key, KeyError> {
        let text = text.trim().as_bytes();
        if text.len() != 64 {
            return Err(KeyError::Length { found: text.len() });
        }
        let mut key = Key::from_bytes([0; 32]);
        for (position, (byte, pair)) in key.bytes.iter_mut().zip(text.chunks_exact(2)).enumerate() {
            let mut value = 0u8;
            for digit in pair {
                let digit = char::from(*digit).to_digit(16).ok_or(KeyError::Digit {
                    position: position.saturating_mul(2),
                })?;
                value = value.wrapping_shl(4) | u8::try_from(digit).unwrap_or(0);
            }
            *byte = value;
        }
        Ok(key)
    }

    /// The name of this key: eight bytes of a hash, safe to print and to send
    /// (PROTOCOL.md, section 2).
    pub fn id(&self) -> KeyId {
        let digest = Blake2s256::new()
            .chain_update(ID_LABEL)
            .chain_update(*self.bytes)
            .finalize();
        let mut id = [0; 8];
        for (to, from) in id.iter_mut().zip(digest) {
            *to = from;
        }
        KeyId(id)
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.bytes
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

impl ZeroizeOnDrop for Key {}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id())
    }
}

/// Names a [`Key`] without telling it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct KeyId(pub [u8; 8]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text is not a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Not 64 digits.
    #[error("a key is 64 hexadecimal digits (32 random bytes), found {found} characters")]
    Length {
        /// How many characters there were.
        found: usize,
    },
    /// A character that is not a hexadecimal digit.
    #[error(
        "a key is 64 hexadecimal digits, but there is another character at or after position {position}"
    )]
    Digit {
        /// Where, counted from 0.
        position: usize,
    },
}
