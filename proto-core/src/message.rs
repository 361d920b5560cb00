//! Messages, and what becomes of them.

use crate::{
    time::Time,
    wire::{Extension, MAX_REASON, MAX_TOPIC},
};
use alloc::{string::String, sync::Arc, vec::Vec};
use bytes::Bytes;
use core::{fmt, time::Duration};

/// What a message is (PROTOCOL.md, section 6.2). A plain program needs only
/// [`Kind::Message`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A message on its own.
    Message,
    /// Asks for a reply; carries a correlation id.
    Request,
    /// Answers a request.
    Reply,
    /// Answers a request with an error.
    Error,
    /// Something happened; carries a topic.
    Event,
    /// Asks for events; carries a correlation id and a topic pattern.
    Subscribe,
    /// Takes a subscription back.
    Unsubscribe,
}

impl Kind {
    #[inline]
    pub(crate) const fn to_bits(self) -> u8 {
        self as u8
    }

    #[inline]
    pub(crate) const fn from_bits(bits: u8) -> Option<Kind> {
        Some(match bits {
            0 => Kind::Message,
            1 => Kind::Request,
            2 => Kind::Reply,
            3 => Kind::Error,
            4 => Kind::Event,
            5 => Kind::Subscribe,
            6 => Kind::Unsubscribe,
            _ => return None,
        })
    }

    /// Whether this kind carries a correlation id.
    #[inline]
    pub const fn has_correlation(self) -> bool {
        !matches!(self, Kind::Message | Kind::Event)
    }

    /// Whether this kind asks for a reply or an error.
    #[inline]
    pub const fn is_answered(self) -> bool {
        matches!(self, Kind::Request | Kind::Subscribe | Kind::Unsubscribe)
    }

    /// Whether this kind carries a topic.
    #[inline]
    pub const fn has_topic(self) -> bool {
        matches!(self, Kind::Event | Kind::Subscribe | Kind::Unsubscribe)
    }
}

/// What the sender of a message wants to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum AckLevel {
    /// Nothing: the message is done when it has been handed to the system.
    #[default]
    None,
    /// When it is in the peer's queue.
    Received,
    /// What the peer's program made of it: accepted or rejected.
    Processed,
}

impl AckLevel {
    #[inline]
    pub(crate) const fn to_bits(self) -> u8 {
        self as u8
    }

    #[inline]
    pub(crate) const fn from_bits(bits: u8) -> Option<AckLevel> {
        Some(match bits {
            0 => AckLevel::None,
            1 => AckLevel::Received,
            2 => AckLevel::Processed,
            _ => return None,
        })
    }
}

/// What became of a message that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// Level *none*: handed to the operating system.
    Sent,
    /// Level *received*: in the peer's queue.
    Received,
    /// Level *processed*: the peer's program accepted it.
    Processed,
    /// Level *processed*: the peer's program rejected it.
    Rejected(Rejection),
    /// The peer's program never got it and never will: safe to try again.
    NotSent,
    /// The deadline passed, or the connection ended, when the peer may or may
    /// not have had it.
    Unknown,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Sent => f.write_str("sent"),
            Outcome::Received => f.write_str("received"),
            Outcome::Processed => f.write_str("processed"),
            Outcome::Rejected(rejection) => write!(f, "rejected: {rejection}"),
            Outcome::NotSent => f.write_str("not sent"),
            Outcome::Unknown => f.write_str("unknown"),
        }
    }
}

/// Why a program did not accept a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// 1 to 255 are the protocol's ([`Rejection::UNSPECIFIED`],
    /// [`Rejection::DROPPED`]), from 256 on the program's own.
    pub code: u64,
    /// For people; at most 256 bytes, the rest is cut off.
    pub reason: String,
}

impl Rejection {
    /// Nothing more said.
    pub const UNSPECIFIED: u64 = 1;
    /// The program dropped the message without an answer.
    pub const DROPPED: u64 = 2;

    /// A rejection with a program's own `code` (0 would mean acceptance and is
    /// turned into [`Rejection::UNSPECIFIED`]).
    pub fn new(code: u64, reason: impl Into<String>) -> Rejection {
        let code = if code == 0 {
            Rejection::UNSPECIFIED
        } else {
            code.min(crate::wire::varint::MAX)
        };
        let mut reason = reason.into();
        cut(&mut reason, MAX_REASON);
        Rejection { code, reason }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "code {}", self.code)?;
        if self.reason.is_empty() {
            Ok(())
        } else {
            write!(f, ", {}", self.reason)
        }
    }
}

/// Shortens `text` to at most `max` bytes, at a character's boundary.
pub(crate) fn cut(text: &mut String, max: usize) {
    let mut end = max.min(text.len());
    while !text.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    text.truncate(end);
}

/// A message to be sent.
///
/// ```
/// use sealpipe_core::{AckLevel, Message};
/// let message = Message::new("hello").with_ack(AckLevel::Processed);
/// assert_eq!(message.size(), 5);
/// ```
///
/// `Debug` shows its length, never its bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    pub(crate) payload: Bytes,
    pub(crate) topic: Option<Arc<str>>,
    pub(crate) correlation: u64,
    /// Counted from when it is queued; [`Time::NEVER`] for the connection's own.
    pub(crate) deadline: Time,
    /// Without the time left for a request, which is the deadline's.
    pub(crate) extension: Extension,
    pub(crate) kind: Kind,
    pub(crate) ack: AckLevel,
}

impl Message {
    /// A message on its own, with no ack asked.
    pub fn new(payload: impl Into<Bytes>) -> Message {
        Message {
            payload: payload.into(),
            topic: None,
            correlation: 0,
            deadline: Time::NEVER,
            extension: Extension::default(),
            kind: Kind::Message,
            ack: AckLevel::None,
        }
    }

    /// A message of a kind that carries a correlation id and no topic:
    /// [`Kind::Request`], [`Kind::Reply`] or [`Kind::Error`].
    ///
    /// # Errors
    /// [`MessageError::Kind`] for other kinds.
    pub fn correlated(
        kind: Kind,
        correlation: u64,
        payload: impl Into<Bytes>,
    ) -> Result<Message, MessageError> {
        if !kind.has_correlation() || kind.has_topic() {
            return Err(MessageError::Kind(kind));
        }
        Ok(Message {
            kind,
            correlation: checked(correlation)?,
            ..Message::new(payload)
        })
    }

    /// A request. Its correlation id is set when it is
    /// [asked](crate::session::Session::ask); an event loop of one's own that keeps
    /// count itself uses [`correlated`](Self::correlated).
    pub fn request(payload: impl Into<Bytes>) -> Message {
        Message {
            kind: Kind::Request,
            ..Message::new(payload)
        }
    }

    /// An event about `topic`.
    ///
    /// # Errors
    /// [`MessageError::Topic`] if the topic is empty or above 255 bytes.
    pub fn event(
        topic: impl Into<Arc<str>>,
        payload: impl Into<Bytes>,
    ) -> Result<Message, MessageError> {
        Ok(Message {
            kind: Kind::Event,
            topic: Some(checked_topic(topic.into())?),
            ..Message::new(payload)
        })
    }

    /// Asks for the events that match `pattern`, or takes that back:
    /// [`Kind::Subscribe`] or [`Kind::Unsubscribe`].
    ///
    /// # Errors
    /// [`MessageError`] for other kinds, and for a pattern that is empty or
    /// above 255 bytes.
    pub fn subscription(
        kind: Kind,
        correlation: u64,
        pattern: impl Into<Arc<str>>,
    ) -> Result<Message, MessageError> {
        if !kind.has_correlation() || !kind.has_topic() {
            return Err(MessageError::Kind(kind));
        }
        let topic = Some(checked_topic(pattern.into())?);
        Ok(Message {
            kind,
            correlation: checked(correlation)?,
            topic,
            ..Message::new(Bytes::new())
        })
    }

    /// The same with another ack level.
    #[must_use]
    pub fn with_ack(mut self, ack: AckLevel) -> Message {
        self.ack = ack;
        self
    }

    /// The same with a deadline of its own, counted from when it is queued,
    /// instead of [`ConfigBuilder::send_timeout`](crate::ConfigBuilder::send_timeout).
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Message {
        self.deadline = Time::ZERO.saturating_add(deadline).min(Time::LAST);
        self
    }

    /// Its own deadline, counted from when it is queued; `None` if it has none.
    pub fn deadline(&self) -> Option<Duration> {
        let own = self.deadline != Time::NEVER;
        own.then(|| self.deadline.saturating_since(Time::ZERO))
    }

    /// The same with a count of events that were dropped before this one, for a
    /// subscriber that is too slow.
    #[must_use]
    pub fn with_missed(mut self, missed: u64) -> Message {
        self.extension = self.extension.with_missed(missed);
        self
    }

    /// Payload plus topic, in bytes: what limits and credit count.
    #[inline]
    pub fn size(&self) -> usize {
        self.payload
            .len()
            .saturating_add(self.topic.as_ref().map_or(0, |topic| topic.len()))
    }

    /// What goes out at `now` beside the payload: a request's deadline travels as
    /// the time that is left.
    #[inline]
    pub(crate) fn extension_at(&self, now: Time) -> Extension {
        if self.kind == Kind::Request && self.deadline != Time::NEVER {
            let left = self.deadline.saturating_since(now);
            return self.extension.with_time_left(left);
        }
        self.extension
    }

    /// The payload.
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// The ack level.
    pub fn ack(&self) -> AckLevel {
        self.ack
    }

    /// The kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }
}

fn checked(correlation: u64) -> Result<u64, MessageError> {
    if correlation > crate::wire::varint::MAX {
        Err(MessageError::Correlation(correlation))
    } else {
        Ok(correlation)
    }
}

fn checked_topic(topic: Arc<str>) -> Result<Arc<str>, MessageError> {
    if topic.is_empty() || topic.len() > MAX_TOPIC {
        return Err(MessageError::Topic { len: topic.len() });
    }
    Ok(topic)
}

impl From<Bytes> for Message {
    fn from(payload: Bytes) -> Message {
        Message::new(payload)
    }
}

impl From<Vec<u8>> for Message {
    fn from(payload: Vec<u8>) -> Message {
        Message::new(payload)
    }
}

impl From<String> for Message {
    fn from(payload: String) -> Message {
        Message::new(payload)
    }
}

impl From<&'static str> for Message {
    fn from(payload: &'static str) -> Message {
        Message::new(payload)
    }
}

impl From<&'static [u8]> for Message {
    fn from(payload: &'static [u8]) -> Message {
        Message::new(payload)
    }
}

/// A message cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// The kind does not take what it was given.
    #[error("a message of kind {0:?} is not made by this function")]
    Kind(Kind),
    /// The topic is empty or too long.
    #[error("a topic has 1 to 255 bytes, not {len}")]
    Topic {
        /// Its length in bytes.
        len: usize,
    },
    /// The correlation id does not fit the wire.
    #[error("a correlation id is below 2^62, {0} is not")]
    Correlation(u64),
}

/// A message that was received whole.
///
/// The payload may share a block of at most 4 KiB with its neighbours (small
/// payloads) or of at most four times its own length (large ones); copy it if
/// it is to be kept for long.
///
/// `Debug` shows its length, never its bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Received {
    /// The message's number in its direction, from 0.
    pub seq: u64,
    /// What the message is.
    pub kind: Kind,
    /// What the sender wants to be told. At [`AckLevel::Processed`] the program
    /// owes a verdict: [`Connection::settle`](crate::Connection::settle).
    pub ack: AckLevel,
    /// There if the kind has one. No `Option`: by the mark of what is absent the compiler
    /// would tell whether there is a message at all, and move it in pieces for that.
    pub(crate) correlation: u64,
    /// What an event or a subscription is about; there if the kind has one.
    pub topic: Option<Arc<str>>,
    /// What else it carries: see [`time_left`](Self::time_left),
    /// [`missed`](Self::missed) and [`is_redelivered`](Self::is_redelivered).
    pub extension: Extension,
    /// The bytes.
    pub payload: Bytes,
}

impl Received {
    /// One that has nothing beside its payload.
    #[inline(always)]
    pub(crate) fn bare(seq: u64, ack: AckLevel, payload: Bytes) -> Received {
        Received {
            seq,
            kind: Kind::Message,
            ack,
            correlation: 0,
            topic: None,
            extension: Extension::default(),
            payload,
        }
    }

    /// What ties replies to requests; there if the kind has one.
    pub fn correlation(&self) -> Option<u64> {
        self.kind.has_correlation().then_some(self.correlation)
    }

    /// The same without topic, extension and payload: what tells it from others.
    #[must_use]
    pub fn head(&self) -> Received {
        Received {
            topic: None,
            extension: Extension::default(),
            payload: Bytes::new(),
            ..*self
        }
    }

    /// A request: how long its sender will wait for the reply, from when it was
    /// written.
    pub fn time_left(&self) -> Option<Duration> {
        self.extension.time_left()
    }

    /// An event: how many the publisher dropped before it, because this side was
    /// too slow.
    pub fn missed(&self) -> u64 {
        self.extension.missed()
    }

    /// Whether the peer has sent it before, on a session that was lost with this
    /// side's former process, which may have had it:
    /// [`ConfigBuilder::redeliver`](crate::ConfigBuilder::redeliver).
    pub fn is_redelivered(&self) -> bool {
        self.extension.is_redelivered()
    }

    /// Payload plus topic, in bytes.
    #[inline]
    pub fn size(&self) -> usize {
        self.payload
            .len()
            .saturating_add(self.topic.as_ref().map_or(0, |topic| topic.len()))
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("kind", &self.kind)
            .field("ack", &self.ack)
            .field("bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received")
            .field("seq", &self.seq)
            .field("kind", &self.kind)
            .field("ack", &self.ack)
            .field("bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}
