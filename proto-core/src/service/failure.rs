//! What an error reply says (PROTOCOL.md, section 6.8).

use crate::{
    message::cut,
    wire::varint::{self, Reader},
};
use alloc::{string::String, vec::Vec};
use bytes::{BufMut, Bytes};
use core::fmt;

/// Why a request, or a subscription, was not answered with a reply: the payload of
/// a message of [`Kind::Error`](crate::Kind::Error), which the *other* side sent.
///
/// `Debug` shows the length of the details, never their bytes.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
pub struct RemoteError {
    /// 1 to 255 are the protocol's (the constants of this type), from 256 on the
    /// program's own.
    pub code: u64,
    /// For people; at most [`RemoteError::MAX_MESSAGE`] bytes travel.
    pub message: String,
    /// For programs: whatever both sides agree on.
    pub details: Bytes,
}

impl RemoteError {
    /// Nothing more is known; or the error reply itself was malformed, and its
    /// payload is in the details.
    pub const UNSPECIFIED: u64 = 1;
    /// Nobody answers requests there.
    pub const NO_HANDLER: u64 = 2;
    /// What was to answer broke down: it panicked or ended without an answer.
    pub const FAILED: u64 = 3;
    /// The request's deadline passed before there was an answer.
    pub const DEADLINE: u64 = 4;
    /// A limit of the other side is reached: try again later, and less often.
    pub const BUSY: u64 = 5;
    /// The request does not fit what is expected there.
    pub const MALFORMED: u64 = 6;
    /// The other side is shutting down.
    pub const SHUTTING_DOWN: u64 = 7;
    /// The pattern is not one, or there are too many subscriptions.
    pub const NO_TOPIC: u64 = 8;

    /// What travels of a message, in bytes of UTF-8.
    pub const MAX_MESSAGE: usize = 1_024;

    /// An error with a program's own `code` and no details. 0 is turned into
    /// [`RemoteError::UNSPECIFIED`]; a message that is too long is cut off.
    pub fn new(code: u64, message: impl Into<String>) -> RemoteError {
        let mut message = message.into();
        cut(&mut message, Self::MAX_MESSAGE);
        RemoteError {
            code: code.clamp(Self::UNSPECIFIED, varint::MAX),
            message,
            details: Bytes::new(),
        }
    }

    /// The same with `details` for programs. They count towards the largest
    /// message that the other side accepts.
    #[must_use]
    pub fn with_details(mut self, details: impl Into<Bytes>) -> RemoteError {
        self.details = details.into();
        self
    }

    /// The payload of an error reply.
    pub fn encode(&self) -> Bytes {
        let mut message = self.message.clone();
        cut(&mut message, Self::MAX_MESSAGE);
        let mut out = Vec::new();
        varint::encode(self.code.max(Self::UNSPECIFIED), &mut out);
        varint::encode(message.len() as u64, &mut out);
        out.put_slice(message.as_bytes());
        out.put_slice(&self.details);
        out.into()
    }

    /// What a payload says. One that is malformed becomes
    /// [`RemoteError::UNSPECIFIED`] with all of it as details: an error is never
    /// lost.
    pub fn decode(payload: &Bytes) -> RemoteError {
        RemoteError::parse(payload).unwrap_or_else(|| RemoteError {
            code: Self::UNSPECIFIED,
            message: String::new(),
            details: payload.clone(),
        })
    }

    fn parse(payload: &Bytes) -> Option<RemoteError> {
        let mut reader = Reader::new(payload);
        let code = reader.varint()?;
        let len = reader.varint()?;
        let message = core::str::from_utf8(reader.bytes(len)?).ok()?;
        if code == 0 || message.len() > Self::MAX_MESSAGE {
            return None;
        }
        Some(RemoteError {
            code,
            message: message.into(),
            details: payload.slice_ref(reader.rest()),
        })
    }

    /// What the protocol's codes mean.
    fn meaning(&self) -> &'static str {
        match self.code {
            Self::NO_HANDLER => "nobody answers requests there",
            Self::FAILED => "the handler failed",
            Self::DEADLINE => "the deadline passed",
            Self::BUSY => "a limit is reached, try again later",
            Self::MALFORMED => "the request does not fit what is expected",
            Self::SHUTTING_DOWN => "shutting down",
            Self::NO_TOPIC => "the subscription is not accepted",
            256.. => "the program's own error",
            _ => "an error of which nothing more is known",
        }
    }
}

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the other side answered: ")?;
        if self.message.is_empty() {
            f.write_str(self.meaning())?;
        } else {
            f.write_str(&self.message)?;
        }
        write!(f, " (code {})", self.code)
    }
}

impl fmt::Debug for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteError")
            .field("code", &self.code)
            .field("message", &self.message)
            .field("details", &self.details.len())
            .finish()
    }
}
