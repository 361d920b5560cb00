//! What can go wrong, and whose fault it is.

use crate::{
    key::KeyId,
    message::Message,
    message::{AckLevel, Kind},
    wire::{FrameType, Mode, Preface, Status, Wire},
};
use alloc::string::String;
use core::fmt;

/// Why a connection ended: the content of the one last event, and of every
/// error after it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// Both sides finished; nothing was lost.
    #[error("the connection is finished: both sides have sent all and closed it")]
    Finished,
    /// This side closed.
    #[error("this side closed the connection ({0})")]
    ClosedLocally(Close),
    /// The peer closed.
    #[error("the peer closed the connection ({0})")]
    ClosedByPeer(Close),
    /// The stream ended, or broke, without the peer's CLOSE.
    #[error(
        "the connection was lost {0}: the stream ended without the peer's goodbye; \
         the other program has probably ended or crashed"
    )]
    Lost(Lost),
    /// The peer broke the protocol.
    #[error(
        "the peer broke the protocol: {0}; it may be another program or a version with a fault"
    )]
    Violation(Violation),
    /// The two sides are not set up alike.
    #[error("{0}")]
    Mismatch(Mismatch),
    /// The responder refused, in its preface.
    #[error("the listener refused the connection: {0}")]
    Refused(Status),
    /// A record or a handshake message did not open.
    #[error("{0}; nothing of it was used")]
    Authentication(Sealed),
    /// A deadline of the connection passed.
    #[error("{0}")]
    Timeout(Timeout),
    /// The keys have sealed or opened all the records they may.
    #[error("the connection has used up its keys; connect again for new ones")]
    KeysUsedUp,
    /// Something on this side failed that does not fail.
    #[error("internal error: {0}")]
    Internal(&'static str),
}

/// Whose doing the end of a connection was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// Nobody's: the end was asked for.
    None,
    /// The peer, or what sits between.
    Peer,
    /// The way the two sides are set up.
    Setup,
    /// This side.
    Local,
}

impl ConnectionError {
    /// Whose doing it was.
    pub fn fault(&self) -> Fault {
        match self {
            ConnectionError::Finished | ConnectionError::ClosedLocally(_) => Fault::None,
            ConnectionError::ClosedByPeer(close) if close.is_orderly() => Fault::None,
            ConnectionError::ClosedByPeer(_)
            | ConnectionError::Lost(_)
            | ConnectionError::Violation(_)
            | ConnectionError::Timeout(_) => Fault::Peer,
            ConnectionError::Mismatch(_)
            | ConnectionError::Refused(_)
            | ConnectionError::Authentication(_) => Fault::Setup,
            ConnectionError::KeysUsedUp | ConnectionError::Internal(_) => Fault::Local,
        }
    }

    /// Whether the end was an orderly one: finished, or closed by either side
    /// with nothing wrong.
    pub fn is_orderly(&self) -> bool {
        self.fault() == Fault::None
    }
}

/// What CLOSE carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    /// PROTOCOL.md, section 7.2; from 256 on the program's own.
    pub code: u64,
    /// For people; at most 256 bytes.
    pub reason: String,
}

impl Close {
    /// Done, nothing went wrong.
    pub const DONE: u64 = 0;
    /// The program ended the connection or dropped it.
    pub const GOING_AWAY: u64 = 1;
    /// The peer broke the protocol.
    pub const VIOLATION: u64 = 2;
    /// A size or a credit was exceeded.
    pub const LIMIT: u64 = 3;
    /// A deadline of the connection passed.
    pub const TIME: u64 = 4;
    /// A record did not open.
    pub const AUTHENTICATION: u64 = 5;
    /// The keys are used up.
    pub const KEYS: u64 = 6;
    /// Too many control frames that carry nothing forward.
    pub const FLOOD: u64 = 7;
    /// Internal error.
    pub const INTERNAL: u64 = 8;
    /// The first of the program's own codes.
    pub const APPLICATION: u64 = 256;

    /// What to close with. The reason is cut to 256 bytes.
    pub fn new(code: u64, reason: impl Into<String>) -> Close {
        let mut reason = reason.into();
        crate::message::cut(&mut reason, crate::wire::MAX_REASON);
        Close {
            code: code.min(crate::wire::varint::MAX),
            reason,
        }
    }

    /// Whether nothing went wrong on the side that sent it.
    pub fn is_orderly(&self) -> bool {
        self.code == Close::DONE || self.code == Close::GOING_AWAY
    }
}

impl fmt::Display for Close {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let meaning = match self.code {
            Close::DONE => "done",
            Close::GOING_AWAY => "going away",
            Close::VIOLATION => "protocol violation",
            Close::LIMIT => "limit exceeded",
            Close::TIME => "deadline passed",
            Close::AUTHENTICATION => "a record did not open",
            Close::KEYS => "keys used up",
            Close::FLOOD => "flood of control frames",
            Close::INTERNAL => "internal error",
            code if code >= Close::APPLICATION => "the program's own",
            _ => "unknown code",
        };
        write!(f, "code {}, {meaning}", self.code)?;
        if self.reason.is_empty() {
            Ok(())
        } else {
            write!(f, ": {}", self.reason)
        }
    }
}

/// When the stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Lost {
    /// Before the peer sent a byte.
    Silent,
    /// After some of the preface.
    Preface,
    /// Between preface and the end of the handshake.
    Handshake,
    /// Between two messages.
    Idle,
    /// Inside a frame, a record or a message.
    Truncated,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Lost::Silent => "before the peer had sent a byte",
            Lost::Preface => "inside the peer's preface",
            Lost::Handshake => "during the handshake",
            Lost::Idle => "between two messages",
            Lost::Truncated => "in the middle of a message or frame, which is discarded",
        })
    }
}

/// What did not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Sealed {
    /// A message of the handshake.
    Handshake,
    /// A record.
    Record,
    /// A message of [`Wire::LegacySealed`].
    Message,
}

impl fmt::Display for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Sealed::Handshake => {
                "the handshake could not be opened: the keys differ, or the bytes were changed, repeated or reordered on their way"
            }
            Sealed::Record => {
                "a record could not be opened: the keys differ, or the bytes were changed, repeated or reordered on their way"
            }
            Sealed::Message => {
                "a sealed message could not be opened: the keys differ, or the bytes were changed on their way"
            }
        })
    }
}

/// The two sides are not set up alike.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Mismatch {
    /// Not a sealpipe peer.
    #[error(
        "the other side does not speak sealpipe: it sent {}, which is no sealpipe preface",
        Shown(found)
    )]
    Magic {
        /// The first bytes that came; those that had not come are zero.
        found: [u8; 8],
    },
    /// Another version of the protocol.
    #[error(
        "the peer speaks version {peer} of the protocol and this side version {own}; update the older program"
    )]
    Version {
        /// This side's.
        own: u8,
        /// The peer's.
        peer: u8,
    },
    /// One side seals and the other does not.
    #[error(
        "the peer is set to {peer} and this side to {own}; give both the same key, or neither one"
    )]
    Mode {
        /// This side's.
        own: Mode,
        /// The peer's.
        peer: Mode,
    },
    /// The peer speaks sealpipe's own protocol, and this side another system's.
    #[error(
        "the other side speaks sealpipe's native wire and this side is set to {own}; set both to the same"
    )]
    Wire {
        /// This side's.
        own: Wire,
    },
    /// Both seal, with different keys.
    #[error("the peer uses key {peer} and this side {own}; give both programs the same key")]
    Key {
        /// This side's first key.
        own: KeyId,
        /// The peer's.
        peer: KeyId,
    },
}

impl Mismatch {
    /// What differs between this side's preface and the peer's, if anything does.
    pub(crate) fn between(own: &Preface, peer: &Preface) -> Option<Mismatch> {
        if own.version != peer.version {
            Some(Mismatch::Version {
                own: own.version,
                peer: peer.version,
            })
        } else if own.mode != peer.mode {
            Some(Mismatch::Mode {
                own: own.mode,
                peer: peer.mode,
            })
        } else if own.mode == Mode::Sealed && own.key != peer.key {
            Some(Mismatch::Key {
                own: own.key,
                peer: peer.key,
            })
        } else {
            None
        }
    }
}

/// Prints bytes as text where they are, else as hexadecimal.
struct Shown<'a>(&'a [u8; 8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let came = self
            .0
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last.saturating_add(1));
        let bytes = self.0.get(..came).unwrap_or_default();
        match core::str::from_utf8(bytes) {
            Ok(text) if text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) => {
                write!(f, "\"{text}\"")
            }
            _ => bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
        }
    }
}

/// A deadline of the connection that passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Timeout {
    /// The handshake was not done in time.
    Handshake,
    /// A record or frame began and did not end in time.
    Record,
    /// A message began and did not end in time.
    Message,
    /// Nothing came for too long, PING or not.
    Silence,
}

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Timeout::Handshake => "the peer did not complete the handshake in time; it hangs or does not speak sealpipe",
            Timeout::Record => "the peer began a frame and did not complete it in time; it hangs",
            Timeout::Message => "the peer began a message and did not complete it in time; it hangs",
            Timeout::Silence => "the peer has been silent for too long and did not answer; it hangs or is suspended",
        })
    }
}

/// How a peer broke the protocol (PROTOCOL.md).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
#[non_exhaustive]
pub enum Violation {
    #[error("an initiator's preface carries a status")]
    InitiatorStatus,
    #[error("the preface inside the handshake differs from the one in clear")]
    PrefaceEcho,
    #[error("a handshake message of {length} bytes; 48 to 1024 are allowed")]
    HandshakeLength { length: usize },
    #[error("HELLO is longer than 512 bytes")]
    HelloTooLong,
    #[error("HELLO is malformed")]
    HelloMalformed,
    #[error("HELLO lacks an item")]
    HelloIncomplete,
    #[error("HELLO gives less credit than its largest message takes")]
    HelloCredit,
    #[error("HELLO names another session")]
    HelloSession,
    #[error("the first frame is not HELLO")]
    HelloMissing,
    #[error("a second HELLO")]
    HelloTwice,
    #[error("an empty record")]
    EmptyRecord,
    #[error("a record ends inside a frame")]
    FrameAcrossRecords,
    #[error("unknown frame type or flags {byte:#04x}")]
    UnknownFrame { byte: u8 },
    #[error("a frame of {length} bytes; the limit is {max}")]
    FrameTooLong { length: u64, max: usize },
    #[error("a malformed {frame_type:?} frame")]
    FrameMalformed { frame_type: FrameType },
    #[error("a malformed message head")]
    MessageMalformed,
    #[error("message {found} where {expected} was due")]
    MessageNumber { found: u64, expected: u64 },
    #[error("a message of {size} bytes; this side accepts {max}")]
    MessageTooLarge { size: u64, max: u64 },
    #[error("a message that its credit does not cover")]
    NoCredit,
    #[error("a fragment below 1024 bytes that is not the last, or an empty one")]
    TinyFragment,
    #[error("the fragments do not add up to the length that was declared")]
    FragmentLength,
    #[error("a fragment with no message begun")]
    FragmentWithoutFirst,
    #[error("a message begins inside another")]
    FirstInsideMessage,
    #[error("DATA after FINISH")]
    DataAfterFinish,
    #[error("FINISH inside a message, twice, or with a wrong number")]
    Finish,
    #[error("an ACK for what was not sent, or one that takes back what it said")]
    Ack,
    #[error("a RESULT for a message that is not waiting for one")]
    Result,
    #[error("a CREDIT that takes back what it gave")]
    CreditTakenBack,
    #[error("a PONG that answers nothing")]
    Pong,
    #[error("a CANCEL for a message that was not begun")]
    Cancel,
    #[error("a CLOSE that counts more messages than were sent")]
    Close,
    #[error("HELLO resumes what was not asked for, or with numbers that cannot be")]
    Resume,
    #[error("bytes behind HELLO, which has not been answered yet")]
    BeforeAnswer,
    #[error("too many control frames that carry nothing forward")]
    Flood,
    #[error(
        "a length of {length} bytes where this side accepts {max}: a larger message, or another \
         wire than the one that this side is set to"
    )]
    LengthPrefix { length: u32, max: usize },
    #[error("a sealed message of {length} bytes; nonce and tag alone are 28")]
    SealedTooShort { length: u32 },
    #[error("a line above {max} bytes, which is what the largest message makes in base64")]
    LineTooLong { max: usize },
    #[error("a line that is not base64")]
    NotBase64,
}

impl Violation {
    /// The code of the CLOSE that answers it.
    pub(crate) fn close_code(&self) -> u64 {
        match self {
            Violation::MessageTooLarge { .. } | Violation::NoCredit => Close::LIMIT,
            Violation::Flood => Close::FLOOD,
            _ => Close::VIOLATION,
        }
    }
}

/// A message was not taken. It comes back whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct SendError {
    /// The message.
    pub message: Message,
    /// Why it was not taken.
    pub reason: SendErrorReason,
}

/// Why a message was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendErrorReason {
    /// No room in the queue; try again when some of it has gone out.
    #[error("the send queue is full; wait for room, or read the peer's answers faster")]
    Full,
    /// Larger than one side allows.
    #[error("a message of {size} bytes is larger than {} accepts ({max} bytes); raise max_message there, or send less", if *.by_peer { "the peer" } else { "this side" })]
    TooLarge {
        /// Payload plus topic.
        size: usize,
        /// The limit.
        max: usize,
        /// Whether the peer set it.
        by_peer: bool,
    },
    /// The wire cannot carry what the message asks for.
    #[error(transparent)]
    Wire(WireError),
    /// `finish` was called before.
    #[error("this side has finished sending")]
    Finished,
    /// The connection has ended.
    #[error(transparent)]
    Closed(ConnectionError),
}

/// The connection's [`Wire`] cannot carry what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the wire {wire} carries bare messages and not {asked}; do without, or set both sides to the \
     native wire"
)]
pub struct WireError {
    /// The wire.
    pub wire: Wire,
    /// What it lacks.
    pub asked: Asked,
}

/// What only sealpipe's own wire has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Asked {
    /// An acknowledgement.
    Ack(AckLevel),
    /// A message that is more than a message: a request, an event, …
    Kind(Kind),
    /// An answer from the peer's protocol.
    Ping,
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Asked::Ack(AckLevel::Processed) => "acks (level processed)",
            Asked::Ack(_) => "acks (level received)",
            Asked::Kind(Kind::Request | Kind::Reply | Kind::Error) => "requests",
            Asked::Kind(Kind::Event) => "events",
            Asked::Kind(_) => "subscriptions",
            Asked::Ping => "pings",
        })
    }
}

/// A connection cannot be resumed, or not over this stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResumeError {
    /// It has not lost its stream, or has ended.
    #[error("the connection is not suspended")]
    NotSuspended,
    /// The initiator resumes, the responder adopts.
    #[error("only the side that connected can resume; a responder adopts the new connection")]
    Role,
    /// Between two calls in the wrong order.
    #[error("the new connection has not been answered with a resume point, or is not confirmed")]
    NotReady,
    /// The session has gone on since the new connection was told where it stands.
    #[error(
        "the session has gone on since its resume point was given; close the new stream, the peer tries again"
    )]
    Stale,
    /// No randomness, no new keys.
    #[error("the random generator failed")]
    Random,
}

/// A verdict was given where none is due.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettleError {
    /// The message is not waiting for a verdict.
    #[error(
        "message {seq} is not waiting for a verdict: it was not delivered, asks for none, or has one"
    )]
    NotWaiting {
        /// Its number.
        seq: u64,
    },
    /// The connection has ended; the sender will be told that the outcome is unknown.
    #[error(transparent)]
    Closed(ConnectionError),
}
