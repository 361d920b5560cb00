//! Small messages that come together: checked against the credit once, and counted once,
//! for all.

use super::Inbound;
use crate::{
    config::Config,
    message::{AckLevel, Received},
    wire::{DataHead, FrameHeader},
};
use bytes::Bytes;
use core::ops::Range;

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

/// The whole, small messages that a block is made of.
pub(in crate::connection) struct SmallMessages<'a> {
    block: &'a Bytes,
    /// Where the next frame begins.
    at: usize,
    header: Option<FrameHeader>,
}

impl<'a> SmallMessages<'a> {
    pub(in crate::connection) fn new(first: FrameHeader, block: &'a Bytes) -> SmallMessages<'a> {
        SmallMessages {
            block,
            at: 0,
            header: Some(first),
        }
    }

    /// Where the body of the next frame is. All sums are within the block.
    #[inline(always)]
    fn body(&self) -> Option<Range<usize>> {
        let header = self.header?;
        let body = self.at.wrapping_add(header.header_len);
        Some(body..body.wrapping_add(header.body_len))
    }

    #[inline(always)]
    fn go_on(&mut self, at: usize) {
        self.at = at;
        self.header = self.block.get(at..).and_then(FrameHeader::decode_short);
    }

    /// The next message, if it has nothing beside its payload and the run takes it.
    #[inline(always)]
    fn next(&mut self, run: &mut Run) -> Option<Received> {
        let body = self.body()?;
        let end = body.end;
        let front = self.block.get(body)?;
        let (seq, ack, length) = DataHead::decode_bare(front)?;
        let n = front.len().saturating_sub(length);
        if !run.count(seq, ack, n) {
            return None;
        }
        self.go_on(end);
        let payload = self.block.slice(end.saturating_sub(n)..end);
        Some(Received::bare(seq, ack, payload))
    }

    /// The body of the next one, whatever it has.
    pub(in crate::connection) fn next_body(&mut self) -> Option<Bytes> {
        let range = self.body()?;
        self.block.get(range.clone())?;
        self.go_on(range.end);
        Some(self.block.slice(range))
    }
}

struct InRun<'a, 'b> {
    messages: &'a mut SmallMessages<'b>,
    run: &'a mut Run,
}

impl Iterator for InRun<'_, '_> {
    type Item = Received;

    #[inline(always)]
    fn next(&mut self) -> Option<Received> {
        self.messages.next(self.run)
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

    /// Takes in the messages of a block as long as they make a run.
    #[inline(always)]
    pub(in crate::connection) fn run_on(
        &mut self,
        messages: &mut SmallMessages<'_>,
        run: &mut Run,
    ) {
        // Not one by one: what is pushed is put together elsewhere, and moved.
        self.inbox.extend_bare(InRun { messages, run });
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
