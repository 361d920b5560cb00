//! Messages on their way out: the queue, the one that is being cut into
//! fragments, those that wait for their outcome, and the peer's credit.

use crate::{
    config::Config,
    error::Violation,
    event::{Event, MessageId},
    message::{AckLevel, Message, Outcome, Rejection},
    stats::Stats,
    time::Time,
    wire::{DataHead, FrameHeader, FrameType, Hello, MIN_FRAGMENT},
};
use alloc::{collections::VecDeque, string::String};
use bytes::{Buf, Bytes, BytesMut};
use core::num::NonZeroU64;

/// Type byte and the longest length of a frame's header.
const FRAME_HEADER: usize = 5;

struct Queued {
    message: Message,
    id: Option<MessageId>,
    deadline: Time,
}

/// The message at the front of the queue is being cut into fragments; its payload
/// shrinks.
struct Current {
    seq: u64,
    begun: bool,
}

/// A message that was handed out whole and has an outcome or a RESULT to come.
struct InFlight {
    seq: u64,
    /// Gone once its outcome has been told.
    id: Option<MessageId>,
    deadline: Time,
    ack: AckLevel,
    /// Nothing more is to come.
    done: bool,
    /// The peer has been told that nobody waits for it.
    cancelled: bool,
}

/// How far `finish` has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finish {
    No,
    Wanted,
    Sent,
}

pub(super) struct Outbound {
    queue: VecDeque<Queued>,
    queue_bytes: usize,
    reserved_messages: usize,
    reserved_bytes: usize,
    current: Option<Current>,
    in_flight: VecDeque<InFlight>,
    /// Messages of level *none* that are sent when so many bytes have been written.
    sending: VecDeque<(u64, u64)>,
    pub(super) cancels: VecDeque<u64>,
    next_id: NonZeroU64,
    next_seq: u64,
    acked: u64,
    credit_bytes: u64,
    credit_messages: u64,
    used_bytes: u64,
    used_messages: u64,
    peer_max: usize,
    pub(super) finish: Finish,
}

impl Outbound {
    pub(super) const fn new() -> Outbound {
        Outbound {
            queue: VecDeque::new(),
            queue_bytes: 0,
            reserved_messages: 0,
            reserved_bytes: 0,
            current: None,
            in_flight: VecDeque::new(),
            sending: VecDeque::new(),
            cancels: VecDeque::new(),
            next_id: NonZeroU64::MIN,
            next_seq: 0,
            acked: 0,
            credit_bytes: 0,
            credit_messages: 0,
            used_bytes: 0,
            used_messages: 0,
            peer_max: usize::MAX,
            finish: Finish::No,
        }
    }

    pub(super) fn open(&mut self, peer: &Hello) {
        self.credit_bytes = peer.credit_bytes;
        self.credit_messages = peer.credit_messages;
        self.peer_max = usize::try_from(peer.max_message).unwrap_or(usize::MAX);
    }

    pub(super) fn peer_max(&self) -> usize {
        self.peer_max
    }

    /// Whether one more message fits. `untold` is how many events
    /// the driver has not taken yet: they count, or a driver that never asks
    /// would let them pile up.
    #[inline]
    pub(super) fn has_room(&self, config: &Config, untold: usize) -> bool {
        let messages = self
            .queue
            .len()
            .saturating_add(self.in_flight.len())
            .saturating_add(self.reserved_messages)
            .saturating_add(untold);
        let bytes = self.queue_bytes.saturating_add(self.reserved_bytes);
        messages < config.queue_messages && (bytes == 0 || bytes < config.queue_bytes)
    }

    pub(super) fn reserve(&mut self, size: usize) {
        self.reserved_messages = self.reserved_messages.saturating_add(1);
        self.reserved_bytes = self.reserved_bytes.saturating_add(size);
    }

    pub(super) fn unreserve(&mut self, size: usize) {
        self.reserved_messages = self.reserved_messages.saturating_sub(1);
        self.reserved_bytes = self.reserved_bytes.saturating_sub(size);
    }

    #[inline]
    pub(super) fn push(
        &mut self,
        message: Message,
        deadline: Time,
        tracked: bool,
    ) -> Option<MessageId> {
        let id = tracked.then_some(MessageId(self.next_id));
        if tracked {
            self.next_id = self.next_id.saturating_add(1);
        }
        self.queue_bytes = self.queue_bytes.saturating_add(message.size());
        self.queue.push_back(Queued {
            message,
            id,
            deadline,
        });
        id
    }

    /// Messages that wait to be sent, and their sizes.
    pub(super) fn queued(&self) -> (usize, usize) {
        (self.queue.len(), self.queue_bytes)
    }

    /// Whether nothing waits to be sent.
    pub(super) fn is_drained(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether every message has all that it will get.
    pub(super) fn is_settled(&self) -> bool {
        self.is_drained() && self.in_flight.is_empty() && self.acked == self.next_seq
    }

    /// Whether every message has arrived and owes no RESULT; `delivered` is what
    /// the peer's CLOSE said.
    pub(super) fn has_all_arrived(&self, delivered: Option<u64>) -> bool {
        self.is_drained()
            && self.acked.max(delivered.unwrap_or(0)) == self.next_seq
            && delivered.is_none_or(|delivered| delivered == self.next_seq)
            && !self
                .in_flight
                .iter()
                .any(|entry| entry.ack == AckLevel::Processed)
    }

    /// Whether a DATA frame could go out now.
    #[inline]
    pub(super) fn can_send(&self) -> bool {
        self.current.is_some()
            || self
                .queue
                .front()
                .is_some_and(|queued| self.credit_covers(queued))
    }

    #[inline]
    fn credit_covers(&self, queued: &Queued) -> bool {
        let size = queued.message.size();
        size > self.peer_max
            || (self.used_messages < self.credit_messages
                && self.used_bytes.saturating_add(size as u64) <= self.credit_bytes)
    }

    /// The number after the last message that was handed out whole.
    pub(super) fn whole(&self) -> u64 {
        self.current
            .as_ref()
            .map_or(self.next_seq, |current| current.seq)
    }

    pub(super) fn end(&self) -> u64 {
        self.next_seq
    }

    /// All messages below this number have their outcome.
    pub(super) fn settled(&self) -> u64 {
        self.in_flight
            .front()
            .map_or(self.acked, |first| first.seq.min(self.acked))
    }

    /// Writes the header of the next DATA frame, of at most `room` bytes with
    /// its payload, and returns the payload. `None` if nothing may be sent, or a
    /// fragment of the least size does not fit.
    #[inline]
    pub(super) fn next_fragment(
        &mut self,
        room: usize,
        out: &mut BytesMut,
        events: &mut VecDeque<Event>,
        stats: &mut Stats,
    ) -> Option<Bytes> {
        if self.current.is_none() {
            self.begin(events, stats);
        }
        let current = self.current.as_mut()?;
        let message = &mut self.queue.front_mut()?.message;
        let left = message.payload.len();
        let head = (!current.begun).then(|| DataHead {
            seq: current.seq,
            kind: message.kind,
            ack: message.ack,
            total: None,
            correlation: message
                .kind
                .has_correlation()
                .then_some(message.correlation),
            topic: message.topic.as_deref(),
        });
        let head_len = head.as_ref().map_or(0, DataHead::encoded_len);
        let fin = FRAME_HEADER.saturating_add(head_len).saturating_add(left) <= room;
        if fin {
            write_head(head.as_ref(), fin, left, head_len, out);
            let seq = current.seq;
            self.current = None;
            return self.completed(seq, stats);
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
        write_head(head.as_ref(), fin, n, head_len, out);
        current.begun = true;
        let payload = message.payload.slice(..n);
        message.payload.advance(n);
        self.queue_bytes = self.queue_bytes.saturating_sub(n);
        Some(payload)
    }

    /// Turns to the message at the front of the queue, if the credit covers it.
    #[inline]
    fn begin(&mut self, events: &mut VecDeque<Event>, stats: &mut Stats) {
        while let Some(queued) = self.queue.front() {
            if !self.credit_covers(queued) {
                return;
            }
            let size = queued.message.size();
            if size > self.peer_max {
                // Queued before the peer had said what it accepts.
                self.drop_queued(0, events, stats);
                continue;
            }
            self.used_messages = self.used_messages.saturating_add(1);
            self.used_bytes = self.used_bytes.saturating_add(size as u64);
            stats.bytes_sent = stats.bytes_sent.saturating_add(size as u64);
            let seq = self.next_seq;
            self.next_seq = self.next_seq.saturating_add(1);
            self.current = Some(Current { seq, begun: false });
            return;
        }
    }

    /// The last fragment of the message at the front of the queue was made;
    /// returns its payload.
    #[inline]
    fn completed(&mut self, seq: u64, stats: &mut Stats) -> Option<Bytes> {
        let Queued {
            message,
            id,
            deadline,
        } = self.queue.pop_front()?;
        self.queue_bytes = self.queue_bytes.saturating_sub(message.size());
        stats.messages_sent = stats.messages_sent.saturating_add(1);
        let ack = message.ack;
        if id.is_some() || ack == AckLevel::Processed {
            self.in_flight.push_back(InFlight {
                seq,
                id,
                deadline,
                ack,
                done: false,
                cancelled: false,
            });
            if ack == AckLevel::None {
                self.sending.push_back((u64::MAX, seq));
            }
        }
        Some(message.payload)
    }

    /// What was made since the last call ends at this offset of the output.
    pub(super) fn mark_made(&mut self, made: u64) {
        for (end, _) in self
            .sending
            .iter_mut()
            .rev()
            .take_while(|(end, _)| *end == u64::MAX)
        {
            *end = made;
        }
    }

    /// So many bytes of the output have been written.
    pub(super) fn on_written(
        &mut self,
        written: u64,
        events: &mut VecDeque<Event>,
        stats: &mut Stats,
    ) {
        while let Some((_, seq)) = self
            .sending
            .front()
            .copied()
            .filter(|(end, _)| *end <= written)
        {
            self.sending.pop_front();
            if let Some(entry) = find(&mut self.in_flight, seq) {
                entry.done = true;
                tell(entry.id.take(), Outcome::Sent, events, stats);
            }
        }
        self.drop_done();
    }

    fn drop_done(&mut self) {
        while self.in_flight.front().is_some_and(|entry| entry.done) {
            self.in_flight.pop_front();
        }
    }

    /// Gives back memory that holds nothing.
    pub(super) fn release(&mut self) {
        if self.queue.is_empty() {
            self.queue = VecDeque::new();
        }
        if self.in_flight.is_empty() {
            self.in_flight = VecDeque::new();
        }
        if self.sending.is_empty() {
            self.sending = VecDeque::new();
        }
        if self.cancels.is_empty() {
            self.cancels = VecDeque::new();
        }
    }

    /// Takes an ACK; says whether it carried anything forward.
    pub(super) fn on_ack(
        &mut self,
        next: u64,
        events: &mut VecDeque<Event>,
        stats: &mut Stats,
    ) -> Result<bool, Violation> {
        if next < self.acked || next > self.whole() {
            return Err(Violation::Ack);
        }
        let from = self
            .in_flight
            .partition_point(|entry| entry.seq < self.acked);
        let to = self.in_flight.partition_point(|entry| entry.seq < next);
        for entry in self.in_flight.range_mut(from..to.max(from)) {
            if entry.ack == AckLevel::Received {
                entry.done = true;
                tell(entry.id.take(), Outcome::Received, events, stats);
            }
        }
        let advanced = next > self.acked;
        stats.acknowledged = stats
            .acknowledged
            .saturating_add(next.saturating_sub(self.acked));
        self.acked = next;
        self.drop_done();
        Ok(advanced)
    }

    /// Takes a RESULT.
    pub(super) fn on_result(
        &mut self,
        seq: u64,
        code: u64,
        reason: &str,
        events: &mut VecDeque<Event>,
        stats: &mut Stats,
    ) -> Result<(), Violation> {
        let entry = find(&mut self.in_flight, seq)
            .filter(|entry| entry.ack == AckLevel::Processed && !entry.done)
            .ok_or(Violation::Result)?;
        entry.done = true;
        let outcome = if code == 0 {
            Outcome::Processed
        } else {
            Outcome::Rejected(Rejection {
                code,
                reason: String::from(reason),
            })
        };
        match outcome {
            Outcome::Processed => stats.processed = stats.processed.saturating_add(1),
            _ => stats.rejected = stats.rejected.saturating_add(1),
        }
        if let Some(id) = entry.id.take() {
            events.push_back(Event::Outcome { id, outcome });
        }
        self.drop_done();
        Ok(())
    }

    /// Takes a CREDIT; says whether it carried anything forward.
    pub(super) fn on_credit(&mut self, bytes: u64, messages: u64) -> Result<bool, Violation> {
        if bytes < self.credit_bytes || messages < self.credit_messages {
            return Err(Violation::CreditTakenBack);
        }
        let advanced = bytes > self.credit_bytes || messages > self.credit_messages;
        (self.credit_bytes, self.credit_messages) = (bytes, messages);
        Ok(advanced)
    }

    /// Withdraws a message; says whether that surely keeps it from being
    /// delivered.
    pub(super) fn cancel(
        &mut self,
        id: MessageId,
        events: &mut VecDeque<Event>,
        stats: &mut Stats,
    ) -> bool {
        if let Some(index) = self.queue.iter().position(|queued| queued.id == Some(id)) {
            self.drop_queued(index, events, stats);
            return true;
        }
        let mut sent = self.in_flight.iter_mut();
        if let Some(entry) = sent.find(|entry| entry.id == Some(id) && !entry.cancelled) {
            entry.cancelled = true;
            self.cancels.push_back(entry.seq);
        }
        false
    }

    /// Drops a message that was not handed out whole. If it was begun, the peer is
    /// told to forget it.
    fn drop_queued(&mut self, index: usize, events: &mut VecDeque<Event>, stats: &mut Stats) {
        let current = if index == 0 {
            self.current.take()
        } else {
            None
        };
        let Some(queued) = self.queue.remove(index) else {
            return;
        };
        let size = queued.message.size();
        self.queue_bytes = self.queue_bytes.saturating_sub(size);
        match current {
            Some(current) if current.begun => self.cancels.push_back(current.seq),
            Some(current) => {
                // The peer has not heard of it: its number and credit are free.
                self.next_seq = current.seq;
                self.used_messages = self.used_messages.saturating_sub(1);
                self.used_bytes = self.used_bytes.saturating_sub(size as u64);
            }
            None => {}
        }
        tell(queued.id, Outcome::NotSent, events, stats);
    }

    /// Ends what has reached its deadline; returns the earliest that has not.
    pub(super) fn expire(
        &mut self,
        now: Time,
        events: &mut VecDeque<Event>,
        stats: &mut Stats,
    ) -> Time {
        let mut next = Time::NEVER;
        let mut index = 0usize;
        while let Some(queued) = self.queue.get(index) {
            if queued.deadline <= now {
                self.drop_queued(index, events, stats);
            } else {
                next = next.min(queued.deadline);
                index = index.saturating_add(1);
            }
        }
        for entry in self.in_flight.iter_mut().filter(|entry| entry.id.is_some()) {
            if entry.deadline <= now {
                tell(entry.id.take(), Outcome::Unknown, events, stats);
            } else {
                next = next.min(entry.deadline);
            }
        }
        next
    }

    /// Nothing more is begun; what is queued or unfinished was not sent.
    pub(super) fn drop_unsent(&mut self, events: &mut VecDeque<Event>, stats: &mut Stats) {
        while !self.queue.is_empty() {
            self.drop_queued(0, events, stats);
        }
        self.queue = VecDeque::new();
    }

    /// The connection has ended: every message gets its outcome. `delivered` is
    /// what the peer's CLOSE said.
    pub(super) fn settle_all(
        &mut self,
        delivered: Option<u64>,
        events: &mut VecDeque<Event>,
        stats: &mut Stats,
    ) {
        self.drop_unsent(events, stats);
        for mut entry in core::mem::take(&mut self.in_flight) {
            let outcome = match (delivered, entry.ack) {
                (Some(delivered), _) if entry.seq >= delivered => Outcome::NotSent,
                (Some(_), AckLevel::Received) => Outcome::Received,
                (Some(_), AckLevel::None) => Outcome::Sent,
                _ => Outcome::Unknown,
            };
            tell(entry.id.take(), outcome, events, stats);
        }
        self.sending = VecDeque::new();
        self.cancels = VecDeque::new();
    }
}

/// Writes what stands before the `n` bytes of payload in a DATA frame.
#[inline]
fn write_head(
    head: Option<&DataHead<'_>>,
    fin: bool,
    n: usize,
    head_len: usize,
    out: &mut BytesMut,
) {
    let first = head.is_some();
    let frame_type = FrameType::Data { first, fin };
    // Put together on the stack, a head costs one append instead of six.
    let mut small = [0; 48];
    if head_len.saturating_add(FRAME_HEADER) > small.len() {
        FrameHeader::encode(frame_type, head_len.saturating_add(n), out);
        if let Some(head) = head {
            head.encode(out);
        }
        return;
    }
    let mut rest = &mut small[..];
    FrameHeader::encode(frame_type, head_len.saturating_add(n), &mut rest);
    if let Some(head) = head {
        head.encode(&mut rest);
    }
    let left = rest.len();
    let len = small.len().saturating_sub(left);
    out.extend_from_slice(small.get(..len).unwrap_or_default());
}

fn find(in_flight: &mut VecDeque<InFlight>, seq: u64) -> Option<&mut InFlight> {
    let index = in_flight.partition_point(|entry| entry.seq < seq);
    in_flight.get_mut(index).filter(|entry| entry.seq == seq)
}

/// Reports and counts an outcome.
fn tell(id: Option<MessageId>, outcome: Outcome, events: &mut VecDeque<Event>, stats: &mut Stats) {
    match outcome {
        Outcome::NotSent => stats.not_sent = stats.not_sent.saturating_add(1),
        Outcome::Unknown if id.is_some() => stats.unknown = stats.unknown.saturating_add(1),
        _ => {}
    }
    if let Some(id) = id {
        events.push_back(Event::Outcome { id, outcome });
    }
}
