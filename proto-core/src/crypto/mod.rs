//! Sealed mode: the handshake, and the cipher of its records.

mod cipher;
mod handshake;
mod record;
#[cfg(feature = "ring")]
mod ring;

#[cfg(feature = "ring")]
pub use self::ring::Ring;
pub use cipher::{ChaChaPoly, CipherProvider, OpenError, RecordCipher};
pub(crate) use handshake::{Handshake, HandshakeError};
pub(crate) use record::{Opener, Sealer};
