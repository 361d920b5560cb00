//! The record cipher behind a small trait, so that a faster implementation of
//! the same algorithm can take its place.

use alloc::boxed::Box;
use chacha20poly1305::{AeadInPlace, ChaCha20Poly1305, KeyInit};

/// An implementation of ChaCha20-Poly1305 (RFC 8439).
pub trait CipherProvider: Send + Sync {
    /// A cipher with this key. Implementations wipe what they keep of it.
    fn cipher(&self, key: &[u8; 32]) -> Box<dyn RecordCipher>;

    /// For people.
    fn name(&self) -> &'static str;
}

/// ChaCha20-Poly1305 with one key.
pub trait RecordCipher: Send + Sync {
    /// Encrypts `data` in place and returns the tag.
    ///
    /// # Errors
    /// `None` only if `data` is longer than the algorithm allows, some 256 GB.
    fn seal(&self, nonce: &[u8; 12], associated: &[u8], data: &mut [u8]) -> Option<[u8; 16]>;

    /// Decrypts in place: `data` is the ciphertext followed by its 16-byte tag,
    /// afterwards the plaintext followed by 16 bytes of no meaning.
    ///
    /// # Errors
    /// [`OpenError`] if the tag does not match; `data` must not be used then.
    fn open(&self, nonce: &[u8; 12], associated: &[u8], data: &mut [u8]) -> Result<(), OpenError>;
}

/// The tag does not match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the tag does not match: another key, or the bytes were changed")]
pub struct OpenError;

/// The default implementation: the crate `chacha20poly1305`.
#[derive(Debug, Clone, Copy, Default)]
pub struct ChaChaPoly;

impl CipherProvider for ChaChaPoly {
    fn cipher(&self, key: &[u8; 32]) -> Box<dyn RecordCipher> {
        Box::new(Cipher(ChaCha20Poly1305::new(key.into())))
    }

    fn name(&self) -> &'static str {
        "chacha20poly1305"
    }
}

/// Wiped on drop by `chacha20poly1305` itself.
struct Cipher(ChaCha20Poly1305);

impl RecordCipher for Cipher {
    fn seal(&self, nonce: &[u8; 12], associated: &[u8], data: &mut [u8]) -> Option<[u8; 16]> {
        let tag = self
            .0
            .encrypt_in_place_detached(nonce.into(), associated, data)
            .ok()?;
        Some(tag.into())
    }

    fn open(&self, nonce: &[u8; 12], associated: &[u8], data: &mut [u8]) -> Result<(), OpenError> {
        let (data, tag) = data.split_last_chunk_mut::<16>().ok_or(OpenError)?;
        self.0
            .decrypt_in_place_detached(nonce.into(), associated, data, (&*tag).into())
            .map_err(|_| OpenError)
    }
}
