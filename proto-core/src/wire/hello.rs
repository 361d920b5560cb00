//! What each side tells the other before anything else (PROTOCOL.md, 6.1).

use super::{
    MAX_HELLO,
    varint::{self, Reader},
};
use crate::error::Violation;
use bytes::BufMut;

/// Limits, session and what resumption needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hello {
    /// Minor version, for information.
    pub minor: u64,
    /// The largest message this side accepts, payload plus topic, in bytes.
    pub max_message: u64,
    /// Initial credit in bytes.
    pub credit_bytes: u64,
    /// Initial credit in messages.
    pub credit_messages: u64,
    /// The session's id.
    pub session: [u8; 16],
    /// Resumption: the sequence number expected next.
    pub next: u64,
    /// Resumption: the first message without an outcome.
    pub settled: u64,
    /// Resumption asked for, or granted.
    pub resume: bool,
    /// This side keeps what it takes to resume the session.
    pub resumable: bool,
}

impl Hello {
    /// Appends the body of HELLO.
    pub fn encode(&self, out: &mut impl BufMut) {
        let mut item = |id: u64, value: u64| {
            varint::encode(id, out);
            varint::encode(varint::encoded_len(value) as u64, out);
            varint::encode(value, out);
        };
        item(0, self.minor);
        item(1, self.max_message);
        item(2, self.credit_bytes);
        item(3, self.credit_messages);
        varint::encode(4, out);
        varint::encode(16, out);
        out.put_slice(&self.session);
        let mut item = |id: u64, value: u64| {
            varint::encode(id, out);
            varint::encode(varint::encoded_len(value) as u64, out);
            varint::encode(value, out);
        };
        item(5, self.next);
        item(6, self.settled);
        item(7, u64::from(self.resume));
        if self.resumable {
            item(8, 1);
        }
    }

    /// Reads the body of HELLO.
    ///
    /// # Errors
    /// A [`Violation`] if it is too long or malformed, an item is missing or
    /// comes twice, or the credit does not cover the largest message.
    pub fn decode(body: &[u8]) -> Result<Hello, Violation> {
        if body.len() > MAX_HELLO {
            return Err(Violation::HelloTooLong);
        }
        let mut hello = Hello::default();
        let mut seen = 0u16;
        let mut reader = Reader::new(body);
        while !reader.is_empty() {
            let short = Violation::HelloMalformed;
            let id = reader.varint().ok_or(short.clone())?;
            let length = reader.varint().ok_or(short.clone())?;
            let value = reader.bytes(length).ok_or(short.clone())?;
            let Some(bit) = u32::try_from(id)
                .ok()
                .filter(|id| *id < 9)
                .and_then(|id| 1u16.checked_shl(id))
            else {
                continue;
            };
            if seen & bit != 0 {
                return Err(short);
            }
            seen |= bit;
            if id == 4 {
                hello.session = value.try_into().map_err(|_| short)?;
                continue;
            }
            let mut value = Reader::new(value);
            let number = value
                .varint()
                .filter(|_| value.is_empty())
                .ok_or(short.clone())?;
            match id {
                0 => hello.minor = number,
                1 => hello.max_message = number,
                2 => hello.credit_bytes = number,
                3 => hello.credit_messages = number,
                5 => hello.next = number,
                6 => hello.settled = number,
                7 if number <= 1 => hello.resume = number == 1,
                8 if number <= 1 => hello.resumable = number == 1,
                _ => return Err(short),
            }
        }
        if seen & 0b1_1111 != 0b1_1111 {
            return Err(Violation::HelloIncomplete);
        }
        let short = hello.credit_bytes < hello.max_message || hello.credit_messages == 0;
        // A session that goes on may have its window full.
        if short && !hello.resume {
            return Err(Violation::HelloCredit);
        }
        Ok(hello)
    }
}
