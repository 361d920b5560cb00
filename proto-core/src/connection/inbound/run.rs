//! Small messages that come together: checked against the credit once, and counted once,
//! for all.

use super::Inbound;
use crate::{
    config::Config,
    message::{AckLevel, Received},
};

/// What may come in one go with nothing more to be looked at, and what has so far.
#[derive(Default)]
pub(in crate::connection) struct Run {
    may_messages: u64,
    may_bytes: u64,
    max_message: usize,
    /// The number of the first.
    next: u64,
    messages: u64,
    bytes: u64,
    /// How many of them ask to be acknowledged.
    to_ack: u32,
}

impl Run {
    /// How many messages have come.
    pub(in crate::connection) fn len(&self) -> u64 {
        self.messages
    }

    /// Counts a message with a payload of `n` bytes and no topic, if it is the next and may
    /// come; else [`admit`](Inbound::admit) has to look at it.
    #[inline(always)]
    pub(in crate::connection) fn count(&mut self, seq: u64, ack: AckLevel, n: usize) -> bool {
        // A small message and what fits the credit: the sums cannot overflow.
        let bytes = self.bytes.wrapping_add(n as u64);
        let next = seq == self.next.wrapping_add(self.messages);
        let covered = self.messages < self.may_messages && bytes <= self.may_bytes;
        if !next || !covered || n > self.max_message {
            return false;
        }
        self.messages = self.messages.wrapping_add(1);
        self.bytes = bytes;
        let to_ack = u32::from(ack != AckLevel::None);
        self.to_ack = self.to_ack.wrapping_add(to_ack);
        true
    }
}

impl Inbound {
    /// Begins a run.
    pub(in crate::connection) fn begin_run(&self, config: &Config) -> Run {
        let stopped = self.finished || self.frozen || self.partial.is_some();
        let messages = self.granted_messages.saturating_sub(self.used_messages);
        Run {
            may_messages: if stopped { 0 } else { messages },
            may_bytes: self.granted_bytes.saturating_sub(self.used_bytes),
            max_message: config.max_message,
            next: self.next,
            messages: 0,
            bytes: 0,
            to_ack: 0,
        }
    }

    /// Takes in a message that was counted in a run.
    #[inline(always)]
    pub(in crate::connection) fn run_on(&mut self, message: Received) {
        self.inbox.push_bare(message);
    }

    /// Counts what has come in a run.
    pub(in crate::connection) fn end_run(&mut self, run: &Run) {
        self.next = self.next.wrapping_add(run.messages);
        self.used_messages = self.used_messages.saturating_add(run.messages);
        self.used_bytes = self.used_bytes.saturating_add(run.bytes);
        self.received = self.received.wrapping_add(run.messages);
        self.received_bytes = self.received_bytes.wrapping_add(run.bytes);
        self.unacked = self.unacked.saturating_add(run.to_ack);
    }
}
