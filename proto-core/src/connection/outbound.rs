//! Messages on their way out: the queue, the one that is being cut into
//! fragments, those that wait for their outcome, and the peer's credit.

mod frames;
mod resume;

use crate::{
    config::Config,
    connection::inbox::Lane,
    error::Violation,
    event::{Event, MessageId},
    ledger::Ledger,
    message::{AckLevel, Message, Outcome, Rejection},
    queue::Queue,
    stats::Stats,
    time::Time,
    wire::Hello,
};
use alloc::{boxed::Box, string::String};
use core::num::NonZeroU64;
use resume::Kept;

struct Queued {
    /// Its deadline is a point in time by now.
    message: Message,
    id: Option<MessageId>,
    /// [`NEW`], or the one under which it was sent before.
    number: u64,
}

/// Not sent yet: it takes the next number.
const NEW: u64 = u64::MAX;

/// A message that was handed out whole and has an outcome or a RESULT to come.
struct InFlight {
    /// Who waits for its outcome, until that is told.
    id: Option<MessageId>,
    deadline: Time,
    ack: AckLevel,
    /// It may be taken past messages before it.
    overtakes: bool,
    /// Its outcome was told: what comes after that is not counted again.
    told: bool,
    /// The peer has been told that nobody waits for it.
    cancelled: bool,
    /// The message itself, where it may have to be sent again.
    kept: Option<Box<Message>>,
}

impl InFlight {
    fn new(
        id: Option<MessageId>,
        message: &Message,
        deadline: Time,
        kept: Option<Box<Message>>,
    ) -> InFlight {
        InFlight {
            id,
            deadline,
            ack: message.ack,
            overtakes: Lane::of(message.kind) != Lane::Messages,
            told: false,
            cancelled: false,
            kept,
        }
    }
}

/// How far `finish` has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finish {
    No,
    Wanted,
    Sent,
}

pub(super) struct Outbound {
    queue: Queue<Queued>,
    /// Also of those that were written at once.
    queue_bytes: usize,
    /// How many were written at once and are not in the output yet, and their sizes.
    at_once: usize,
    at_once_bytes: usize,
    reserved_messages: usize,
    reserved_bytes: usize,
    /// The message at the front of the queue is being cut into fragments; its
    /// payload shrinks.
    begun: bool,
    in_flight: Ledger<InFlight>,
    /// Messages of level *none* that are sent when so many bytes have been written.
    sending: Queue<(u64, u64)>,
    pub(super) cancels: Queue<u64>,
    next_id: NonZeroU64,
    next_seq: u64,
    acked: u64,
    credit_bytes: u64,
    credit_messages: u64,
    used_bytes: u64,
    used_messages: u64,
    peer_max: usize,
    pub(super) finish: Finish,
    /// The end has kept something from being sent.
    pub(super) cut_off: bool,
    /// The session can be resumed.
    kept: Option<Box<Kept>>,
    counts: Counts,
}

/// This direction's part of [`Stats`].
#[derive(Default)]
struct Counts {
    sent: u64,
    acknowledged: u64,
    /// What was sent over streams before this one.
    earlier_bytes: u64,
    processed: u64,
    rejected: u64,
    not_sent: u64,
    unknown: u64,
}

impl Outbound {
    pub(super) fn new() -> Outbound {
        Outbound {
            queue: Queue::new(),
            queue_bytes: 0,
            at_once: 0,
            at_once_bytes: 0,
            reserved_messages: 0,
            reserved_bytes: 0,
            begun: false,
            in_flight: Ledger::new(),
            sending: Queue::new(),
            cancels: Queue::new(),
            next_id: NonZeroU64::MIN,
            next_seq: 0,
            acked: 0,
            credit_bytes: 0,
            credit_messages: 0,
            used_bytes: 0,
            used_messages: 0,
            peer_max: usize::MAX,
            cut_off: false,
            finish: Finish::No,
            kept: None,
            counts: Counts::default(),
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

    /// How many messages have an outcome or a RESULT to come.
    #[inline(always)]
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Whether something is kept of `message` when it has gone out.
    #[inline(always)]
    pub(super) fn will_track(&self, message: &Message, tracked: bool) -> bool {
        is_tracked(message.ack, tracked, self.kept.is_some())
    }

    /// Whether what asks for an ack is kept, to be sent again.
    pub(super) fn keeps(&self) -> bool {
        self.kept.is_some()
    }

    /// Whether one more message fits beside `others` that are not in the queue.
    #[inline(always)]
    pub(super) fn has_room(&self, config: &Config, others: usize) -> bool {
        let messages = self
            .queue
            .len()
            .saturating_add(self.at_once)
            .saturating_add(self.reserved_messages)
            .saturating_add(others);
        let kept = self.kept.as_ref().map_or(0, |kept| kept.bytes);
        let bytes = self
            .queue_bytes
            .saturating_add(self.reserved_bytes)
            .saturating_add(kept);
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

    #[inline(always)]
    pub(super) fn push(&mut self, message: Message, tracked: bool) -> Option<MessageId> {
        let id = tracked.then(|| self.take_id());
        self.queue_bytes = self.queue_bytes.saturating_add(message.size());
        self.queue.push_back(Queued {
            message,
            id,
            number: NEW,
        });
        id
    }

    #[inline]
    fn take_id(&mut self) -> MessageId {
        let id = MessageId(self.next_id);
        self.next_id = self.next_id.saturating_add(1);
        id
    }

    /// The sizes of the messages that wait to be sent.
    #[inline]
    pub(super) fn queued_bytes(&self) -> usize {
        self.queue_bytes
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
                .any(|(_, entry)| entry.ack == AckLevel::Processed)
    }

    /// Whether a DATA frame could go out now.
    #[inline]
    pub(super) fn can_send(&self) -> bool {
        self.begun
            || self.queue.front().is_some_and(|queued| {
                let size = queued.message.size();
                self.covers(size) || size > self.peer_max
            })
    }

    #[inline]
    fn covers(&self, size: usize) -> bool {
        size <= self.peer_max
            && self.used_messages < self.credit_messages
            && self.used_bytes.saturating_add(size as u64) <= self.credit_bytes
    }

    /// The number after the last message that was handed out whole.
    pub(super) fn whole(&self) -> u64 {
        match self.queue.front() {
            Some(queued) if queued.number != NEW => queued.number,
            _ => self.next_seq.saturating_sub(u64::from(self.begun)),
        }
    }

    pub(super) fn next_id(&self) -> MessageId {
        MessageId(self.next_id)
    }

    pub(super) fn end(&self) -> u64 {
        self.next_seq
    }

    /// All messages below this number have their outcome.
    pub(super) fn settled(&self) -> u64 {
        let first = self.in_flight.first().unwrap_or(self.acked);
        first.min(self.acked)
    }

    /// Gives back memory that holds nothing.
    pub(super) fn release(&mut self) {
        self.queue.release();
        self.in_flight.release();
        self.sending.release();
        self.cancels.release();
    }

    /// Takes an ACK; says whether it carried anything forward.
    pub(super) fn on_ack(
        &mut self,
        next: u64,
        events: &mut Queue<Event>,
    ) -> Result<bool, Violation> {
        if next < self.acked || next > self.whole() {
            return Err(Violation::Ack);
        }
        let (counts, kept) = (&mut self.counts, &mut self.kept);
        counts.acknowledged = counts
            .acknowledged
            .saturating_add(next.saturating_sub(self.acked));
        self.in_flight.remove_where(self.acked, next, |entry| {
            let settled = entry.ack == AckLevel::Received;
            if settled {
                Kept::forget(kept, entry);
                counts.tell(entry.id, Outcome::Received, events);
            }
            settled
        });
        let advanced = next > self.acked;
        self.acked = next;
        Ok(advanced)
    }

    /// Takes a RESULT.
    pub(super) fn on_result(
        &mut self,
        seq: u64,
        code: u64,
        reason: &str,
        events: &mut Queue<Event>,
    ) -> Result<(), Violation> {
        let Some(entry) = self
            .in_flight
            .get_mut(seq)
            .filter(|entry| entry.ack == AckLevel::Processed)
        else {
            let repeated = self.kept.as_mut().is_some_and(|kept| kept.repeats(seq));
            return if repeated {
                Ok(())
            } else {
                Err(Violation::Result)
            };
        };
        Kept::forget(&mut self.kept, entry);
        let id = self.in_flight.remove(seq).and_then(|entry| entry.id);
        let outcome = if code == 0 {
            self.counts.processed = self.counts.processed.saturating_add(1);
            Outcome::Processed
        } else {
            self.counts.rejected = self.counts.rejected.saturating_add(1);
            Outcome::Rejected(Rejection {
                code,
                reason: String::from(reason),
            })
        };
        self.counts.tell(id, outcome, events);
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
    pub(super) fn cancel(&mut self, id: MessageId, events: &mut Queue<Event>) -> bool {
        let index = self.queue.iter().position(|queued| queued.id == Some(id));
        if let Some(index) = index {
            let sure = self
                .queue
                .get(index)
                .is_some_and(|queued| queued.number == NEW);
            self.drop_queued(index, events);
            return sure;
        }
        let mut sent = self.in_flight.iter_mut();
        if let Some((seq, entry)) = sent.find(|(_, entry)| entry.id == Some(id) && !entry.cancelled)
        {
            entry.cancelled = true;
            self.cancels.push_back(seq);
        }
        false
    }

    /// Drops a message that was not handed out whole. If it was begun, the peer is
    /// told to forget it.
    fn drop_queued(&mut self, index: usize, events: &mut Queue<Event>) {
        let Some(queued) = self.queue.remove(index) else {
            return;
        };
        self.queue_bytes = self.queue_bytes.saturating_sub(queued.message.size());
        let number = queued.number;
        if index == 0 && core::mem::take(&mut self.begun) {
            if let Some(kept) = &mut self.kept {
                kept.whole = None;
            }
            let last = self.next_seq.saturating_sub(1);
            self.cancels
                .push_back(if number == NEW { last } else { number });
        }
        let outcome = if number == NEW {
            Outcome::NotSent
        } else {
            // It was sent before, and the peer may have it after all.
            Outcome::Unknown
        };
        self.counts.tell(queued.id, outcome, events);
    }

    /// Ends what has reached its deadline; returns the earliest that has not.
    pub(super) fn expire(&mut self, now: Time, events: &mut Queue<Event>) -> Time {
        let mut next = Time::NEVER;
        let mut index = 0usize;
        while let Some(queued) = self.queue.get(index) {
            let deadline = queued.message.deadline;
            if deadline <= now {
                self.drop_queued(index, events);
            } else {
                next = next.min(deadline);
                index = index.saturating_add(1);
            }
        }
        for (_, entry) in self.in_flight.iter_mut() {
            if entry.id.is_some() && entry.deadline <= now {
                entry.told = true;
                self.counts.tell(entry.id.take(), Outcome::Unknown, events);
            } else if entry.id.is_some() {
                next = next.min(entry.deadline);
            }
        }
        next
    }

    /// Nothing more is begun; what is queued or unfinished was not sent.
    pub(super) fn drop_unsent(&mut self, events: &mut Queue<Event>) {
        self.cut_off |= !self.queue.is_empty();
        while !self.queue.is_empty() {
            self.drop_queued(0, events);
        }
        self.queue.release();
    }

    /// The connection has ended: every message gets its outcome. `delivered` is
    /// what the peer's CLOSE said.
    pub(super) fn settle_all(&mut self, delivered: Option<u64>, events: &mut Queue<Event>) {
        self.cut_off |= self.wrote_at_once();
        self.drop_unsent(events);
        for (seq, entry) in self.in_flight.iter_mut().filter(|(_, entry)| !entry.told) {
            let outcome = match (delivered, entry.ack) {
                (Some(delivered), AckLevel::None) if seq >= delivered && entry.overtakes => {
                    Outcome::Unknown
                }
                (Some(delivered), _) if seq >= delivered => Outcome::NotSent,
                (Some(_), AckLevel::Received) => Outcome::Received,
                (Some(_), AckLevel::None) => Outcome::Sent,
                _ => Outcome::Unknown,
            };
            self.counts.tell(entry.id, outcome, events);
        }
        self.put_out();
        self.in_flight = Ledger::new();
        self.sending = Queue::new();
        self.cancels = Queue::new();
        self.kept = None;
    }

    /// Counts a message that went out in part, and of which nothing is kept.
    pub(super) fn count_unknown(&mut self) {
        self.counts.unknown = self.counts.unknown.saturating_add(1);
    }

    /// This direction's part.
    pub(super) fn stats(&self) -> Stats {
        Stats {
            messages_sent: self.counts.sent,
            bytes_sent: self.counts.earlier_bytes.saturating_add(self.used_bytes),
            acknowledged: self.counts.acknowledged,
            processed: self.counts.processed,
            rejected: self.counts.rejected,
            not_sent: self.counts.not_sent,
            unknown: self.counts.unknown,
            queued: self.queue.len().saturating_add(self.at_once),
            queued_bytes: self.queue_bytes,
            ..Stats::default()
        }
    }
}

impl Counts {
    /// Reports and counts an outcome.
    fn tell(&mut self, id: Option<MessageId>, outcome: Outcome, events: &mut Queue<Event>) {
        match outcome {
            Outcome::NotSent => self.not_sent = self.not_sent.saturating_add(1),
            Outcome::Unknown => self.unknown = self.unknown.saturating_add(1),
            _ => {}
        }
        if let Some(id) = id {
            events.push_back(Event::Outcome { id, outcome });
        }
    }
}

/// Whether a message that goes out has an outcome or a RESULT to come, or may have
/// to be sent again.
#[inline]
fn is_tracked(ack: AckLevel, tracked: bool, keeps: bool) -> bool {
    match ack {
        AckLevel::None => tracked,
        AckLevel::Received => tracked || keeps,
        AckLevel::Processed => true,
    }
}
