//! What a connection tells its driver.

use crate::{error::ConnectionError, message::Outcome, wire::Hello};
use core::{num::NonZeroU64, time::Duration};

/// Names a message that this side sent, among those of its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(pub(crate) NonZeroU64);

/// Something that happened, in the order in which it did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The handshake is done; messages flow.
    Open(Opened),
    /// A tracked message has its outcome. Comes exactly once for each.
    Outcome {
        /// Which message.
        id: MessageId,
        /// What became of it.
        outcome: Outcome,
    },
    /// The peer withdrew a message that it had sent; a verdict on it is still
    /// due if it asked for one.
    Cancelled {
        /// The message's number.
        seq: u64,
    },
    /// The answer to [`Connection::ping`](crate::Connection::ping).
    Pong {
        /// From the PING's being handed out to its answer.
        round_trip: Duration,
    },
    /// The peer will send no more messages. Those that came can still be received.
    PeerFinished,
    /// The stream was lost, and the connection waits to be resumed over another one
    /// ([`ConfigBuilder::resumption`](crate::ConfigBuilder::resumption)): why. Comes
    /// again when an attempt to resume fails in a way that a further attempt may
    /// mend.
    Suspended(ConnectionError),
    /// A suspended connection goes on where it was cut.
    Resumed(Opened),
    /// A suspended connection goes on with a new session, since the peer does not
    /// know the old one any more: its process was restarted, or it has given the
    /// session up. Outcomes of what is lost come after this
    /// ([`ConfigBuilder::redeliver`](crate::ConfigBuilder::redeliver)).
    Restarted(Opened),
    /// Responder: the peer asks to resume a session. Nothing more happens until
    /// [`Connection::answer_resume`](crate::Connection::answer_resume).
    ResumeAsked {
        /// The [session](crate::Connection::session) that it names.
        session: [u8; 16],
    },
    /// Responder: the peer has proved that it means it. The suspended connection
    /// is to [adopt](crate::Connection::adopt) this one.
    ResumeReady,
    /// The connection has ended. The last event; it is held back until every
    /// message that came before has been received.
    Closed(ConnectionError),
}

/// What the handshake brought.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Opened {
    /// What the peer said of itself.
    pub peer: Hello,
    /// Sealed mode: the Noise handshake hash, the same on both sides and on no
    /// other connection, for channel binding.
    pub handshake_hash: Option<[u8; 32]>,
}
