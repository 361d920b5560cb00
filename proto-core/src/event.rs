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
