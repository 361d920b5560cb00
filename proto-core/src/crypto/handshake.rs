//! `Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s`, by the crate `snow` (Noise Protocol
//! Framework, revision 34; PROTOCOL.md, section 4).

use crate::{
    key::Key,
    wire::{MAX_HANDSHAKE, MIN_HANDSHAKE, Preface},
};
use alloc::{boxed::Box, vec, vec::Vec};
use snow::{
    Builder, HandshakeState,
    params::{CipherChoice, DHChoice, HashChoice, NoiseParams},
    resolvers::{CryptoResolver, DefaultResolver},
    types::{Cipher, Dh, Hash, Random},
};
use zeroize::{Zeroize, Zeroizing};

const PATTERN: &str = "Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s";

/// The handshake failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HandshakeError {
    /// A message did not open.
    Open,
    /// What cannot be with the parameters used here.
    Internal,
}

/// One side of the handshake.
pub(crate) struct Handshake(HandshakeState);

/// Both directions' keys, initiator's first, and the handshake hash.
pub(crate) struct Split {
    pub(crate) initiator: Zeroizing<[u8; 32]>,
    pub(crate) responder: Zeroizing<[u8; 32]>,
    pub(crate) hash: [u8; 32],
}

impl Handshake {
    pub(crate) fn new(
        initiator: bool,
        key: &Key,
        prologue: &[u8; Preface::LEN],
        ephemeral: &[u8; 32],
    ) -> Result<Handshake, HandshakeError> {
        let params: NoiseParams = PATTERN.parse().map_err(|_| HandshakeError::Internal)?;
        let resolver = Box::new(Resolver(Zeroizing::new(*ephemeral)));
        let builder = Builder::with_resolver(params, resolver)
            .psk(0, key.bytes())
            .and_then(|builder| builder.prologue(prologue))
            .map_err(|_| HandshakeError::Internal)?;
        let state = if initiator {
            builder.build_initiator()
        } else {
            builder.build_responder()
        };
        state.map(Handshake).map_err(|_| HandshakeError::Internal)
    }

    /// The next Noise message, with `payload` in it.
    pub(crate) fn write(&mut self, payload: &[u8]) -> Result<Vec<u8>, HandshakeError> {
        let mut message = vec![0; payload.len().saturating_add(MIN_HANDSHAKE)];
        let length = self
            .0
            .write_message(payload, &mut message)
            .map_err(|_| HandshakeError::Internal)?;
        message.truncate(length);
        Ok(message)
    }

    /// Opens the peer's Noise message; returns its payload.
    pub(crate) fn read(&mut self, message: &[u8]) -> Result<Vec<u8>, HandshakeError> {
        let mut payload = vec![0; MAX_HANDSHAKE];
        let length = self
            .0
            .read_message(message, &mut payload)
            .map_err(|_| HandshakeError::Open)?;
        payload.truncate(length);
        Ok(payload)
    }

    /// The keys, after both messages.
    pub(crate) fn split(mut self) -> Result<Split, HandshakeError> {
        if !self.0.is_handshake_finished() {
            return Err(HandshakeError::Internal);
        }
        let hash = self
            .0
            .get_handshake_hash()
            .try_into()
            .map_err(|_| HandshakeError::Internal)?;
        let (mut initiator, mut responder) = self.0.dangerously_get_raw_split();
        let split = Split {
            initiator: Zeroizing::new(initiator),
            responder: Zeroizing::new(responder),
            hash,
        };
        initiator.zeroize();
        responder.zeroize();
        Ok(split)
    }
}

/// snow's own algorithms, with the randomness that was drawn for this connection.
struct Resolver(Zeroizing<[u8; 32]>);

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(Ephemeral(Some(self.0.clone()))))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        DefaultResolver.resolve_dh(choice)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        DefaultResolver.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        DefaultResolver.resolve_cipher(choice)
    }
}

/// Yields the secret of this side's one ephemeral key, once.
struct Ephemeral(Option<Zeroizing<[u8; 32]>>);

impl Random for Ephemeral {
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), snow::Error> {
        let secret = self.0.take().ok_or(snow::Error::Rng)?;
        if dest.len() != secret.len() {
            return Err(snow::Error::Rng);
        }
        dest.copy_from_slice(&*secret);
        Ok(())
    }
}
