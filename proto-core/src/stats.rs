//! Counters of a connection.

/// What has gone through a connection since it was made. Counters only rise;
/// gauges say how things are now. What was told as unknown when its deadline
/// passed is not counted again as not sent; a verdict that comes later still is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Messages handed to the driver whole; also small ones that were fed and wait to be
    /// written.
    pub messages_sent: u64,
    /// Sizes of the messages that were begun, in bytes.
    pub bytes_sent: u64,
    /// Messages received whole.
    pub messages_received: u64,
    /// Their sizes, in bytes.
    pub bytes_received: u64,
    /// Messages that the peer has acknowledged as received.
    pub acknowledged: u64,
    /// Messages that the peer's program accepted.
    pub processed: u64,
    /// Messages that the peer's program rejected.
    pub rejected: u64,
    /// Messages that surely never reached the peer's program.
    pub not_sent: u64,
    /// Messages of unknown outcome.
    pub unknown: u64,
    /// Gauge: messages that wait to be sent.
    pub queued: usize,
    /// Gauge: sizes of those, in bytes.
    pub queued_bytes: usize,
    /// Gauge: messages received that the program has not taken yet.
    pub waiting: usize,
}
