//! Wires of other systems: how bytes part into messages there, with no state.

pub mod base64;

use super::TAG;
use crate::error::Violation;
use core::fmt;

/// The bytes of a length prefix.
pub const PREFIX: usize = 4;
/// The nonce in front of a message of [`Wire::LegacySealed`].
pub const NONCE: usize = 12;
/// What a message of [`Wire::LegacySealed`] is longer by than its payload.
pub const SEAL: usize = NONCE + TAG;

/// How messages travel: sealpipe's own way, or that of an older system whose
/// programs are moved over one side at a time.
///
/// Both sides must be set to the same wire; a connection never changes it. All but
/// [`Wire::Native`] carry bare messages in order, and nothing else:
///
/// - A connection is open at once. There is no handshake, and no version to agree on.
/// - Messages are of level *none* and without a topic. Asking for more (an ack, a
///   request, a subscription, a ping, resumption) is an error that says so.
/// - The end of the stream between two messages is the peer's orderly end, for there
///   is no goodbye; in the middle of one it is a loss.
/// - There is no credit. While the program has taken less than the
///   [receive window](crate::ConfigBuilder::receive_window) holds, nothing more is
///   read, and the peer's writes wait, as does the news of its end.
/// - There is no keepalive, and so no detection of a peer that hangs while it owes
///   nothing. A message that has begun must be whole within
///   [`message_timeout`](crate::ConfigBuilder::message_timeout).
/// - [`max_message`](crate::ConfigBuilder::max_message) is the limit both ways, and
///   checked before room is taken: memory follows what came, not what was declared.
///
/// Who may connect, and who the server is, is checked on all of them by the operating
/// system's means. On Windows a client is known with its first bytes: a server that
/// speaks first speaks to whomever the pipe's permissions let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Wire {
    /// sealpipe's own protocol (PROTOCOL.md), plain or sealed.
    #[default]
    Native,
    /// A length as u32, little-endian, then the payload.
    ///
    /// **bunctl-ipc** is this with `max_message(10 << 20)` and JSON inside.
    /// **named_pipe_ipc** without a key is this; it sets no limit of its own.
    Le32,
    /// A length as u32, big-endian, then the payload.
    ///
    /// **ipcez**, local, is this with `max_message(4 << 20)`.
    Be32,
    /// **named_pipe_ipc** with a key: a length as u32, little-endian, then a nonce of
    /// 12 bytes, the payload sealed with ChaCha20-Poly1305, and a tag of 16.
    ///
    /// It is here for old peers alone, and weaker than [`Wire::Native`] with a key.
    /// All connections share one static key and nothing binds a message to its place:
    /// who can write to the stream can **repeat, reorder, drop and reflect** messages
    /// unseen, also those of other connections and other days, and a key that leaks
    /// opens every recording. Move both sides to [`Wire::Native`] as soon as you can.
    ///
    /// Takes [`Config::sealed`](crate::Config::sealed) with exactly one key.
    LegacySealed,
    /// A line of base64 (RFC 4648, padded) for each message, ended by a line feed:
    /// **PipeCom**'s encoding, on a stream. Its programs expect text in UTF-8 inside.
    Base64Lines,
}

impl Wire {
    /// The largest payload that it can carry, in bytes.
    pub const fn max_payload(self) -> usize {
        match self {
            Wire::Le32 | Wire::Be32 => u32::MAX as usize,
            Wire::LegacySealed => (u32::MAX as usize).saturating_sub(SEAL),
            Wire::Native | Wire::Base64Lines => usize::MAX,
        }
    }

    /// The length prefix of `length` bytes, where it has one.
    pub const fn prefix(self, length: u32) -> [u8; PREFIX] {
        match self {
            Wire::Be32 => length.to_be_bytes(),
            _ => length.to_le_bytes(),
        }
    }

    /// Finds the message at the front of `input`; `None` if it is not whole yet.
    /// `searched` bytes of it were looked at before, in vain; `max` is the largest
    /// payload. Knows nothing of [`Wire::Native`].
    ///
    /// # Errors
    /// The [`Violation`], as soon as the bytes that are there show it.
    pub fn find(
        self,
        input: &[u8],
        searched: usize,
        max: usize,
    ) -> Result<Option<Span>, Violation> {
        match self {
            Wire::Native => Ok(None),
            Wire::Le32 | Wire::Be32 | Wire::LegacySealed => self.find_prefixed(input, max),
            Wire::Base64Lines => find_line(input, searched, max),
        }
    }

    fn find_prefixed(self, input: &[u8], max: usize) -> Result<Option<Span>, Violation> {
        let Some(prefix) = input.first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        let length = match self {
            Wire::Be32 => u32::from_be_bytes(*prefix),
            _ => u32::from_le_bytes(*prefix),
        };
        // Below 2^32, as `usize` is wherever there are streams.
        let body = usize::try_from(length).unwrap_or(usize::MAX);
        let sealed = self == Wire::LegacySealed;
        let (least, most) = match sealed {
            true => (SEAL, max.saturating_add(SEAL)),
            false => (0, max),
        };
        if body > most {
            return Err(Violation::LengthPrefix { length, max: most });
        }
        if body < least {
            return Err(Violation::SealedTooShort { length });
        }
        Ok(Span::new(PREFIX, body, 0).within(input))
    }
}

fn find_line(input: &[u8], searched: usize, max: usize) -> Result<Option<Span>, Violation> {
    let most = base64::encoded_len(max);
    let feed = input
        .get(searched..)
        .and_then(|rest| rest.iter().position(|byte| *byte == b'\n'))
        .map(|at| at.saturating_add(searched));
    match feed {
        Some(length) if length <= most => Ok(Some(Span::new(0, length, 1))),
        None if input.len() <= most => Ok(None),
        _ => Err(Violation::LineTooLong { max: most }),
    }
}

impl fmt::Display for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Wire::Native => "native",
            Wire::Le32 => "le32",
            Wire::Be32 => "be32",
            Wire::LegacySealed => "le32-sealed",
            Wire::Base64Lines => "base64-lines",
        })
    }
}

/// Where a message lies in the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Where its body begins: base64 or sealed where the wire has it so.
    pub start: usize,
    /// The length of its body.
    pub len: usize,
    /// Where the next message begins.
    pub end: usize,
}

impl Span {
    const fn new(start: usize, len: usize, tail: usize) -> Span {
        Span {
            start,
            len,
            end: start.saturating_add(len).saturating_add(tail),
        }
    }

    fn within(self, input: &[u8]) -> Option<Span> {
        (self.end <= input.len()).then_some(self)
    }
}
