//! The record cipher by the crate `ring`: faster on small records.

use super::{CipherProvider, OpenError, RecordCipher};
use alloc::boxed::Box;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

/// ring's implementation. Its key is not wiped on drop, for ring has no means
/// to do so.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ring;

impl CipherProvider for Ring {
    fn cipher(&self, key: &[u8; 32]) -> Box<dyn RecordCipher> {
        // `None` cannot be: the key has the length that the algorithm asks for.
        Box::new(Cipher(
            UnboundKey::new(&CHACHA20_POLY1305, key)
                .ok()
                .map(LessSafeKey::new),
        ))
    }

    fn name(&self) -> &'static str {
        "ring"
    }
}

struct Cipher(Option<LessSafeKey>);

impl RecordCipher for Cipher {
    fn seal(&self, nonce: &[u8; 12], associated: &[u8], data: &mut [u8]) -> Option<[u8; 16]> {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let tag = self
            .0
            .as_ref()?
            .seal_in_place_separate_tag(nonce, Aad::from(associated), data)
            .ok()?;
        tag.as_ref().try_into().ok()
    }

    fn open(&self, nonce: &[u8; 12], associated: &[u8], data: &mut [u8]) -> Result<(), OpenError> {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let key = self.0.as_ref().ok_or(OpenError)?;
        key.open_in_place(nonce, Aad::from(associated), data)
            .map(|_| ())
            .map_err(|_| OpenError)
    }
}
