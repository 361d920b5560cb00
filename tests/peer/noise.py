"""Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s (Noise Protocol Framework, revision 34).

Only what PROTOCOL.md, section 4, needs: the pattern NNpsk0,

    -> psk, e
    <- e, ee

Plain mode never imports `cryptography`; it is looked for when the first sealed
connection is made.
"""
from __future__ import annotations

import hashlib
import hmac
import os
from typing import Optional, Tuple

PROTOCOL_NAME = b"Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s"
HASHLEN = 32
KEYLEN = 32
TAGLEN = 16


class NoiseError(Exception):
    """A message could not be opened, or is too short."""


def blake2s(data: bytes) -> bytes:
    """HASH of the Noise specification, section 12.7."""
    return hashlib.blake2s(data).digest()


def hkdf(chaining_key: bytes, material: bytes, outputs: int) -> Tuple[bytes, ...]:
    """HKDF of the Noise specification, section 4.3, with HMAC-BLAKE2s."""
    def mac(key: bytes, data: bytes) -> bytes:
        return hmac.new(key, data, hashlib.blake2s).digest()

    temp, last, out = mac(chaining_key, material), b"", []
    for number in range(1, outputs + 1):
        last = mac(temp, last + bytes([number]))
        out.append(last)
    return tuple(out)


class CipherState:
    """ChaCha20-Poly1305 with a counted nonce (Noise, section 5.1; PROTOCOL.md, section 5)."""

    def __init__(self, key: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
        self.key = key
        self.counter = 0
        self._aead = ChaCha20Poly1305(key)

    def _nonce(self) -> bytes:
        return bytes(4) + self.counter.to_bytes(8, "little")

    def seal(self, associated: bytes, plaintext: bytes) -> bytes:
        """Encrypt and count."""
        sealed = self._aead.encrypt(self._nonce(), plaintext, associated)
        self.counter += 1
        return sealed

    def open(self, associated: bytes, sealed: bytes) -> bytes:
        """Decrypt and count; the counter stays where it is if this fails."""
        from cryptography.exceptions import InvalidTag
        try:
            plaintext = self._aead.decrypt(self._nonce(), sealed, associated)
        except (InvalidTag, ValueError) as error:
            raise NoiseError("does not open") from error
        self.counter += 1
        return plaintext


class SymmetricState:
    """Chaining key, handshake hash and the handshake's cipher (Noise, section 5.2)."""

    def __init__(self) -> None:
        name = PROTOCOL_NAME
        self.h = name.ljust(HASHLEN, b"\0") if len(name) <= HASHLEN else blake2s(name)
        self.ck = self.h
        self.cipher: Optional[CipherState] = None

    def mix_hash(self, data: bytes) -> None:
        self.h = blake2s(self.h + data)

    def mix_key(self, material: bytes) -> None:
        self.ck, key = hkdf(self.ck, material, 2)
        self.cipher = CipherState(key)

    def mix_key_and_hash(self, material: bytes) -> None:
        self.ck, to_hash, key = hkdf(self.ck, material, 3)
        self.mix_hash(to_hash)
        self.cipher = CipherState(key)

    def encrypt_and_hash(self, plaintext: bytes) -> bytes:
        sealed = self.cipher.seal(self.h, plaintext) if self.cipher else plaintext
        self.mix_hash(sealed)
        return sealed

    def decrypt_and_hash(self, sealed: bytes) -> bytes:
        plaintext = self.cipher.open(self.h, sealed) if self.cipher else sealed
        self.mix_hash(sealed)
        return plaintext

    def split(self) -> Tuple[CipherState, CipherState]:
        """The first seals initiator to responder, the second the other direction."""
        first, second = hkdf(self.ck, b"", 2)
        return CipherState(first), CipherState(second)


class Handshake:
    """Both sides of NNpsk0. Call write and read in turn, then `split`."""

    PATTERN = (("psk", "e"), ("e", "ee"))

    def __init__(self, initiator: bool, psk: bytes, prologue: bytes,
                 ephemeral_secret: Optional[bytes] = None) -> None:
        if len(psk) != KEYLEN:
            raise ValueError("a key has 32 bytes")
        try:
            from cryptography.hazmat.primitives.asymmetric import x25519
        except ImportError as error:
            raise RuntimeError("sealed mode needs the PyPI package `cryptography`") from error
        self._x25519 = x25519
        self._secret = x25519.X25519PrivateKey.from_private_bytes(
            os.urandom(32) if ephemeral_secret is None else ephemeral_secret)
        self._remote: Optional[x25519.X25519PublicKey] = None
        self._psk = psk
        self._initiator = initiator
        self._turn = 0
        self._state = SymmetricState()
        self._state.mix_hash(prologue)

    @property
    def hash(self) -> bytes:
        """The handshake hash h; after message 2 the same on both sides."""
        return self._state.h

    def _public_key_token(self, public: bytes) -> None:
        """Token `e`: with a psk in the pattern it is mixed into the key too (Noise, 9.2)."""
        self._state.mix_hash(public)
        self._state.mix_key(public)

    def _shared_token(self, token: str) -> None:
        if token == "psk":
            self._state.mix_key_and_hash(self._psk)
        else:
            assert self._remote
            try:
                self._state.mix_key(self._secret.exchange(self._remote))
            except ValueError as error:  # an all-zero shared secret
                raise NoiseError("bad public key") from error

    def write_message(self, payload: bytes) -> bytes:
        """Make the next handshake message."""
        assert (self._turn == 0) == self._initiator, "not this side's turn"
        out = b""
        for token in self.PATTERN[self._turn]:
            if token == "e":
                out = self._secret.public_key().public_bytes_raw()
                self._public_key_token(out)
            else:
                self._shared_token(token)
        self._turn += 1
        return out + self._state.encrypt_and_hash(payload)

    def read_message(self, message: bytes) -> bytes:
        """Open the other side's handshake message and return its payload."""
        assert (self._turn == 0) != self._initiator, "not the other side's turn"
        if len(message) < 32 + TAGLEN:
            raise NoiseError("too short")
        public, sealed = message[:32], message[32:]
        for token in self.PATTERN[self._turn]:
            if token == "e":
                self._remote = self._x25519.X25519PublicKey.from_public_bytes(public)
                self._public_key_token(public)
            else:
                self._shared_token(token)
        self._turn += 1
        return self._state.decrypt_and_hash(sealed)

    def split(self) -> Tuple[CipherState, CipherState]:
        """(sending, receiving) for this side."""
        assert self._turn == 2, "the handshake is not complete"
        first, second = self._state.split()
        return (first, second) if self._initiator else (second, first)
