//! From the queue to frames.

use super::{InFlight, NEW, Outbound, Queued};
use crate::{
    event::{Event, MessageId},
    ledger::Ledger,
    message::{AckLevel, Message, Outcome},
    queue::Queue,
    time::Time,
    wire::{BareHead, DataHead, FrameHeader, FrameType, MIN_FRAGMENT, ShortHead},
};
use alloc::boxed::Box;
use bytes::{Buf, Bytes, BytesMut};

/// Type byte and the longest length of a frame's header.
const FRAME_HEADER: usize = 5;
/// Payloads up to this are small: many of them are written in one go.
const SMALL: usize = 4 << 10;

impl Outbound {
    /// Writes messages, one frame each, as long as there are small ones and `out`
    /// stays below `end`. This is where many small messages spend their time: what
    /// can be counted once for all of them is.
    pub(in crate::connection) fn write_small(&mut self, now: Time, out: &mut BytesMut, end: usize) {
        if self.begun {
            return;
        }
        let largest = self.peer_max.min(SMALL);
        let may_messages = self.credit_messages.saturating_sub(self.used_messages);
        let may_bytes = self.credit_bytes.saturating_sub(self.used_bytes);
        let (mut seq, mut count, mut bytes) = (self.next_seq, 0usize, 0usize);
        while let Some(queued) = self.queue.get(count) {
            let message = &queued.message;
            let n = message.payload.len();
            let sum = bytes.saturating_add(n);
            let covered = (count as u64) < may_messages && sum as u64 <= may_bytes;
            let plain = message.topic.is_none() && queued.number == NEW;
            if n > largest || !plain || !covered {
                break;
            }
            let Some(head) = short_head(message, seq, now).filter(|head| {
                let len = head.len().saturating_add(n);
                out.len().saturating_add(len) <= end
            }) else {
                break;
            };
            head.append_to(out);
            out.extend_from_slice(&message.payload);
            if self.will_track(message, queued.id.is_some()) {
                let kept = self
                    .kept
                    .as_deref_mut()
                    .and_then(|kept| kept.keep(message, None));
                track(&mut self.in_flight, &mut self.sending, seq, queued, kept);
            }
            (seq, count, bytes) = (seq.saturating_add(1), count.saturating_add(1), sum);
        }
        self.queue.drop_front(count);
        self.queue_bytes = self.queue_bytes.saturating_sub(bytes);
        self.next_seq = seq;
        self.used_messages = self.used_messages.saturating_add(count as u64);
        self.used_bytes = self.used_bytes.saturating_add(bytes as u64);
        self.counts.sent = self.counts.sent.saturating_add(count as u64);
    }

    /// Writes a small message whose outcome nobody asks for past the queue, if that is
    /// empty and the message may go; says whether it did. To keep it until the output is
    /// filled would cost as much again.
    #[inline(always)]
    pub(in crate::connection) fn write_one(
        &mut self,
        message: &Message,
        out: &mut BytesMut,
    ) -> bool {
        let n = message.payload.len();
        // What a session may send again stays in the queue until it is put out.
        let first = self.queue.is_empty() && self.cancels.is_empty() && self.kept.is_none();
        let leaves = !self.will_track(message, false) && message.topic.is_none();
        if !first || !leaves || n > SMALL || !self.covers(n) {
            return false;
        }
        let (seq, extension) = (self.next_seq, message.extension);
        if let Some(head) = BareHead::new(seq, message.kind, message.ack, extension, n) {
            head.append_to(out);
        } else {
            // Seldom. It has no deadline: the time does not matter.
            let Some(head) = short_head(message, seq, Time::ZERO) else {
                return false;
            };
            head.append_to(out);
        }
        out.extend_from_slice(&message.payload);
        self.start(NEW, n);
        self.counts.sent = self.counts.sent.wrapping_add(1);
        self.at_once = self.at_once.saturating_add(1);
        self.at_once_bytes = self.at_once_bytes.saturating_add(n);
        self.queue_bytes = self.queue_bytes.saturating_add(n);
        true
    }

    /// Tracks message `seq`, of level *none* and already in the output, which is sent when
    /// that has been written up to `end`.
    pub(in crate::connection) fn expect_written(
        &mut self,
        seq: u64,
        message: &Message,
        deadline: Time,
        end: u64,
    ) -> MessageId {
        let id = self.take_id();
        let entry = InFlight::new(Some(id), message, deadline, None);
        self.in_flight.push(seq, entry);
        self.sending.push_back((end, seq));
        id
    }

    /// Whether messages were [written at once](Self::write_one) and wait to be put out.
    #[inline]
    pub(in crate::connection) fn wrote_at_once(&self) -> bool {
        self.at_once > 0
    }

    /// What was written at once has been put out.
    pub(in crate::connection) fn put_out(&mut self) {
        let bytes = core::mem::take(&mut self.at_once_bytes);
        self.queue_bytes = self.queue_bytes.saturating_sub(bytes);
        self.at_once = 0;
    }

    /// A message takes its number, unless it has one, and its credit.
    #[inline]
    fn start(&mut self, number: u64, size: usize) {
        if number == NEW {
            self.next_seq = self.next_seq.saturating_add(1);
        }
        self.used_messages = self.used_messages.saturating_add(1);
        self.used_bytes = self.used_bytes.saturating_add(size as u64);
    }

    /// Writes the header of the next DATA frame, of at most `room` bytes with
    /// its payload, and returns the payload. `None` if nothing may be sent, or a
    /// fragment of the least size does not fit.
    pub(in crate::connection) fn next_fragment(
        &mut self,
        now: Time,
        room: usize,
        out: &mut BytesMut,
        events: &mut Queue<Event>,
    ) -> Option<Bytes> {
        let size = self.turn_to_next(events)?;
        let Queued {
            message, number, ..
        } = self.queue.front_mut()?;
        let number = *number;
        let left = message.payload.len();
        let head = (!self.begun).then(|| DataHead {
            seq: if number == NEW { self.next_seq } else { number },
            kind: message.kind,
            ack: message.ack,
            total: None,
            correlation: message
                .kind
                .has_correlation()
                .then_some(message.correlation),
            topic: message.topic.as_deref(),
            extension: message.extension_at(now),
        });
        let head_len = head.as_ref().map_or(0, DataHead::encoded_len);
        if FRAME_HEADER.saturating_add(head_len).saturating_add(left) <= room {
            write_head(head.as_ref(), true, head_len.saturating_add(left), out);
            if !core::mem::take(&mut self.begun) {
                self.start(number, size);
            }
            return self.completed();
        }
        let head = head.map(|head| DataHead {
            total: Some(left as u64),
            ..head
        });
        let head_len = head.as_ref().map_or(0, DataHead::encoded_len);
        let n = room
            .saturating_sub(FRAME_HEADER)
            .saturating_sub(head_len)
            .min(left);
        if n < MIN_FRAGMENT || n == left {
            return None;
        }
        write_head(head.as_ref(), false, head_len.saturating_add(n), out);
        let payload = message.payload.slice(..n);
        if let Some(kept) = self.kept.as_mut().filter(|_| !self.begun) {
            kept.whole = Some(message.payload.clone());
        }
        message.payload.advance(n);
        self.queue_bytes = self.queue_bytes.saturating_sub(n);
        if !core::mem::replace(&mut self.begun, true) {
            self.start(number, size);
        }
        Some(payload)
    }

    /// Hands out the next message whole, for wires without frames.
    pub(in crate::connection) fn next_whole(&mut self) -> Option<Bytes> {
        let size = self.queue.front()?.message.size();
        self.start(NEW, size);
        self.completed()
    }

    /// The size of the message at the front of the queue, if the credit covers it.
    fn turn_to_next(&mut self, events: &mut Queue<Event>) -> Option<usize> {
        loop {
            let size = self.queue.front()?.message.size();
            if self.begun || self.covers(size) {
                return Some(size);
            }
            if size <= self.peer_max {
                return None;
            }
            // Queued before the peer had said what it accepts.
            self.drop_queued(0, events);
        }
    }

    /// The last fragment of the message at the front of the queue was made;
    /// returns its payload.
    fn completed(&mut self) -> Option<Bytes> {
        let queued = self.queue.pop_front()?;
        let whole = self.kept.as_mut().and_then(|kept| kept.whole.take());
        self.queue_bytes = self.queue_bytes.saturating_sub(queued.message.size());
        self.counts.sent = self.counts.sent.saturating_add(1);
        if self.will_track(&queued.message, queued.id.is_some()) {
            let seq = match queued.number {
                NEW => self.next_seq.saturating_sub(1),
                number => number,
            };
            let kept = self.kept.as_deref_mut();
            let kept = kept.and_then(|kept| kept.keep(&queued.message, whole));
            track(&mut self.in_flight, &mut self.sending, seq, &queued, kept);
        }
        Some(queued.message.payload)
    }

    /// What was made since the last call ends at this offset of the output.
    pub(in crate::connection) fn mark_made(&mut self, made: u64) {
        for (end, _) in self
            .sending
            .iter_mut()
            .rev()
            .take_while(|(end, _)| *end == u64::MAX)
        {
            *end = made;
        }
    }

    /// So many bytes of the output have been written. Says whether that settled
    /// anything.
    #[inline]
    pub(in crate::connection) fn on_written(
        &mut self,
        written: u64,
        events: &mut Queue<Event>,
    ) -> bool {
        let mut settled = false;
        while let Some((_, seq)) = self.sending.front().filter(|(end, _)| *end <= written) {
            if let Some(entry) = self.in_flight.remove(*seq) {
                self.counts.tell(entry.id, Outcome::Sent, events);
            }
            self.sending.pop_front();
            settled = true;
        }
        settled
    }
}

#[inline(always)]
fn short_head(message: &Message, seq: u64, now: Time) -> Option<ShortHead> {
    ShortHead::new(
        seq,
        message.kind,
        message.ack,
        message
            .kind
            .has_correlation()
            .then_some(message.correlation),
        message.extension_at(now),
        message.payload.len(),
    )
}

/// Notes a message that goes out.
#[inline(never)]
pub(super) fn track(
    in_flight: &mut Ledger<InFlight>,
    sending: &mut Queue<(u64, u64)>,
    seq: u64,
    queued: &Queued,
    kept: Option<Box<Message>>,
) {
    let message = &queued.message;
    let entry = InFlight::new(queued.id, message, message.deadline, kept);
    in_flight.push(seq, entry);
    if message.ack == AckLevel::None {
        sending.push_back((u64::MAX, seq));
    }
}

/// Writes what stands before the payload in a DATA frame with a body of `body`
/// bytes.
fn write_head(head: Option<&DataHead<'_>>, fin: bool, body: usize, out: &mut BytesMut) {
    let first = head.is_some();
    FrameHeader::encode(FrameType::Data { first, fin }, body, out);
    if let Some(head) = head {
        head.encode(out);
    }
}
