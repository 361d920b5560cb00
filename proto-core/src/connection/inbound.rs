//! Messages on their way in: the one whose fragments are coming, the queue, the
//! verdicts that are due, and the credit that the peer has.

mod resume;
mod run;

use super::inbox::{Inbox, Lane};
use crate::{
    config::Config,
    error::Violation,
    ledger::Ledger,
    message::{AckLevel, Received, Rejection},
    queue::Queue,
    stats::Stats,
    wire::{DataHead, MIN_FRAGMENT},
};
use alloc::{boxed::Box, string::String};
use bytes::Bytes;
use resume::Continued;
pub(super) use run::{Run, SmallMessages};

/// While input keeps coming, an ACK goes out after so many messages.
const ACK_EVERY: u32 = 64;

/// So many CANCELs may come beyond one for each message.
const SPARE_CANCELS: u64 = 1_024;

/// The message whose fragments are coming.
pub(super) struct Partial {
    head: Received,
    total: usize,
    /// A frame is being read straight into place; whether it is the last.
    pub(super) direct: Option<bool>,
}

/// A verdict that the program has given.
pub(super) struct Verdict {
    pub(super) seq: u64,
    pub(super) code: u64,
    pub(super) reason: String,
}

pub(super) struct Inbound {
    /// Boxed: most connections, most of the time, have none.
    pub(super) partial: Option<Box<Partial>>,
    inbox: Inbox,
    /// Messages that the program has taken and owes a verdict, with their sizes.
    owed: Ledger<usize>,
    /// How many were taken from a lane, owe a verdict, and are not put away; and how
    /// many verdicts the end has cut off.
    lent: usize,
    pub(super) verdicts: Queue<Verdict>,
    next: u64,
    /// How many CANCELs have come.
    cancels: u64,
    /// Nothing more is delivered.
    frozen: bool,
    /// How far the program got, since then.
    delivered: u64,
    /// The limits that the peer has been told.
    granted_bytes: u64,
    granted_messages: u64,
    used_bytes: u64,
    used_messages: u64,
    /// The limits that it may be told: what this stream began with, and what was freed since.
    limit_bytes: u64,
    limit_messages: u64,
    /// So little credit is left that the peer is told of more as soon as there is.
    pub(super) credit_is_low: bool,
    unacked: u32,
    peer_settled: u64,
    /// The peer has sent FINISH.
    pub(super) finished: bool,
    /// Messages that came whole, and their sizes: for [`Stats`].
    received: u64,
    received_bytes: u64,
    /// The session can be resumed, or follows one that could.
    continued: Option<Box<Continued>>,
}

impl Inbound {
    pub(super) const fn new(config: &Config) -> Inbound {
        Inbound {
            partial: None,
            inbox: Inbox::new(),
            owed: Ledger::new(),
            lent: 0,
            verdicts: Queue::new(),
            next: 0,
            cancels: 0,
            delivered: 0,
            frozen: false,
            granted_bytes: config.window_bytes as u64,
            granted_messages: config.window_messages as u64,
            used_bytes: 0,
            used_messages: 0,
            limit_bytes: config.window_bytes as u64,
            limit_messages: config.window_messages as u64,
            credit_is_low: false,
            unacked: 0,
            peer_settled: 0,
            finished: false,
            received: 0,
            received_bytes: 0,
            continued: None,
        }
    }

    /// The number that is expected next.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// What CLOSE says: messages from this number on have not reached the program.
    pub(super) fn delivered(&self) -> u64 {
        if !self.frozen {
            return self.next;
        }
        // The peer must not send again what was taken past others; what it has been
        // told of already, it does not.
        let told = !self.has_unacked() && self.lent == 0;
        self.delivered
            .max(if told { 0 } else { self.inbox.taken() })
    }

    #[inline]
    pub(super) fn waiting(&self) -> usize {
        self.inbox.len()
    }

    /// Whether the program has taken and settled all that came.
    pub(super) fn is_settled(&self) -> bool {
        self.inbox.is_empty()
            && self.owed.is_empty()
            && self.lent == 0
            && self.verdicts.is_empty()
            && self.partial.is_none()
    }

    /// Whether the program has given its verdict on all that it has taken.
    pub(super) fn is_decided(&self) -> bool {
        self.owed.is_empty()
    }

    /// A DATA frame with FIRST, of a message with a payload of `total` bytes:
    /// checks it against every limit, and takes its credit.
    #[inline]
    pub(super) fn admit(
        &mut self,
        head: &DataHead<'_>,
        total: u64,
        config: &Config,
    ) -> Result<(), Violation> {
        if self.partial.is_some() {
            return Err(Violation::FirstInsideMessage);
        }
        if self.finished {
            return Err(Violation::DataAfterFinish);
        }
        if head.seq != self.next && !self.may_skip_to(head.seq) {
            return Err(Violation::MessageNumber {
                found: head.seq,
                expected: self.next,
            });
        }
        let size = total.saturating_add(head.topic.map_or(0, str::len) as u64);
        if size > config.max_message as u64 {
            return Err(Violation::MessageTooLarge {
                size,
                max: config.max_message as u64,
            });
        }
        let used_bytes = self.used_bytes.saturating_add(size);
        if self.used_messages >= self.granted_messages || used_bytes > self.granted_bytes {
            return Err(Violation::NoCredit);
        }
        self.next = head.seq;
        self.used_messages = self.used_messages.saturating_add(1);
        self.used_bytes = used_bytes;
        Ok(())
    }

    /// Keeps a message whose payload is yet to come.
    pub(super) fn expect_more(&mut self, head: Received, total: usize) {
        self.partial = Some(Box::new(Partial {
            head,
            total,
            direct: None,
        }));
    }

    /// A fragment of `n` bytes that is not the first, with `have` bytes of the
    /// payload before it.
    pub(super) fn check_more(&self, fin: bool, n: usize, have: usize) -> Result<(), Violation> {
        let partial = self
            .partial
            .as_ref()
            .ok_or(Violation::FragmentWithoutFirst)?;
        if n == 0 {
            return Err(Violation::TinyFragment);
        }
        check_fragment(fin, n, have, partial.total)
    }

    /// The message whose fragments were coming is whole.
    pub(super) fn complete(&mut self, payload: Bytes) {
        if let Some(partial) = self.partial.take() {
            let mut message = partial.head;
            message.payload = payload;
            self.received(message);
        }
    }

    /// A message has come whole.
    #[inline(always)]
    pub(super) fn received(&mut self, message: Received) {
        self.next = self.next.wrapping_add(1);
        self.received = self.received.wrapping_add(1);
        self.received_bytes = self.received_bytes.wrapping_add(message.size() as u64);
        if self.frozen {
            return;
        }
        if message.ack != AckLevel::None {
            self.unacked = self.unacked.saturating_add(1);
        }
        self.inbox.push(message);
    }

    /// A message on a wire that has nothing but payloads.
    pub(super) fn received_bare(&mut self, payload: Bytes) {
        self.used_messages = self.used_messages.saturating_add(1);
        self.used_bytes = self.used_bytes.saturating_add(payload.len() as u64);
        self.received(Received::bare(self.next, AckLevel::None, payload));
    }

    /// Whether what the program has not taken is less than the window, for wires on
    /// which the peer knows nothing of that.
    pub(super) fn has_room(&self, config: &Config) -> bool {
        // It began with the whole window.
        let nothing_waits =
            self.limit_messages.saturating_sub(self.used_messages) >= config.window_messages as u64;
        nothing_waits
            || (self.used_messages < self.limit_messages && self.used_bytes < self.limit_bytes)
    }

    /// The peer takes message `seq` back. `Ok(true)` if the program has it or
    /// will have it.
    pub(super) fn cancel(&mut self, seq: u64) -> Result<bool, Violation> {
        if let Some(partial) = self.partial.take_if(|partial| partial.head.seq == seq) {
            let topic = partial.head.size();
            self.free(partial.total.saturating_add(topic));
            self.next = self.next.saturating_add(1);
            if !self.frozen {
                self.unacked = self.unacked.saturating_add(1);
            }
            return Ok(false);
        }
        if seq >= self.next {
            return Err(Violation::Cancel);
        }
        self.cancels = self.cancels.saturating_add(1);
        if self.cancels > self.next.saturating_add(SPARE_CANCELS) {
            return Err(Violation::Flood);
        }
        Ok(self.is_unsettled(seq))
    }

    /// Whether message `seq`, which came, waits for the program or its verdict.
    pub(super) fn is_unsettled(&self, seq: u64) -> bool {
        self.owed.contains(seq) || self.inbox.holds(seq)
    }

    /// The next message for the program.
    #[inline(always)]
    pub(super) fn take(&mut self) -> Option<Received> {
        // Looked at where it lies: to read what has just been moved, in larger pieces than it
        // was written in, makes the processor wait.
        let lane = self.inbox.next_lane();
        let message = self.inbox.queue(lane).front()?;
        let (seq, ack, size) = (message.seq, message.ack, message.size());
        if ack == AckLevel::Processed {
            self.owed.push(seq, size);
        } else {
            self.free(size);
        }
        self.inbox.pop(lane, seq, ack)
    }

    /// The next message of one lane, which keeps its credit until it is
    /// [`put_away`](Self::put_away).
    #[inline]
    pub(super) fn take_from(&mut self, lane: Lane) -> Option<Received> {
        let message = self.inbox.take_from(lane)?;
        self.lent = self
            .lent
            .saturating_add(usize::from(message.ack == AckLevel::Processed));
        Some(message)
    }

    /// Nobody needs a message any more that was [taken from](Self::take_from) a
    /// lane: its credit, and a verdict if one is due, go out.
    pub(super) fn put_away(&mut self, message: &Received) {
        self.free(message.size());
        if message.ack == AckLevel::Processed {
            self.lent = self.lent.saturating_sub(1);
            self.owe_result(message.seq, 0, String::new());
        }
    }

    pub(super) fn first_of(&self, lane: Lane) -> Option<&Received> {
        self.inbox.queue(lane).front()
    }

    /// Whether no message waits for the program.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.inbox.is_empty()
    }

    /// Whether a message waits in `lane`.
    #[inline]
    pub(super) fn has(&self, lane: Lane) -> bool {
        !self.inbox.queue(lane).is_empty()
    }

    /// The program's verdict on a message; `false` if none was due.
    pub(super) fn settle(&mut self, seq: u64, verdict: Result<(), Rejection>) -> bool {
        let Some(size) = self.owed.remove(seq) else {
            return false;
        };
        self.free(size);
        let (code, reason) = match verdict {
            Ok(()) => (0, String::new()),
            Err(rejection) => {
                // The fields are public: hold them to the wire's limits here.
                let Rejection { code, reason } = Rejection::new(rejection.code, rejection.reason);
                (code, reason)
            }
        };
        self.owe_result(seq, code, reason);
        true
    }

    #[inline]
    fn free(&mut self, size: usize) {
        self.limit_messages = self.limit_messages.saturating_add(1);
        self.limit_bytes = self.limit_bytes.saturating_add(size as u64);
    }

    /// Nothing more is delivered; what the program has not taken, it never will.
    pub(super) fn freeze(&mut self) {
        if !self.frozen {
            self.delivered = self.inbox.first().unwrap_or(self.next);
            self.frozen = true;
        }
        self.inbox.clear();
        // An ACK would claim what has just been dropped. CLOSE says how far the
        // program got, but for what was taken past that.
        if self.inbox.taken() <= self.delivered {
            self.unacked = 0;
        }
    }

    /// The connection has ended.
    pub(super) fn end(&mut self) {
        self.partial = None;
        // Verdicts that have not gone out never will.
        self.lent = self.lent.saturating_add(self.verdicts.len());
        self.verdicts = Queue::new();
    }

    /// Whether an ACK should go out although nothing else does.
    #[inline]
    pub(super) fn ack_is_due(&self, no_more_input: bool) -> bool {
        self.unacked >= ACK_EVERY || (self.unacked > 0 && no_more_input)
    }

    /// Whether there is something to acknowledge.
    #[inline]
    pub(super) fn has_unacked(&self) -> bool {
        self.unacked > 0
    }

    pub(super) fn ack_now(&mut self) {
        if !self.frozen {
            self.unacked = ACK_EVERY;
        }
    }

    pub(super) fn acked(&mut self) {
        self.unacked = 0;
    }

    /// The peer's FINISH; says whether it is the first.
    pub(super) fn finish(&mut self, end: u64) -> Result<bool, Violation> {
        if self.partial.is_some() || (end != self.next && !self.may_skip_to(end)) {
            return Err(Violation::Finish);
        }
        if self.finished && !self.may_finish_again() {
            return Err(Violation::Finish);
        }
        self.next = end;
        self.ack_now();
        Ok(!core::mem::replace(&mut self.finished, true))
    }

    /// The peer's *settled*; says whether it carried anything forward.
    pub(super) fn on_settled(&mut self, settled: u64) -> Result<bool, Violation> {
        if settled < self.peer_settled || settled > self.next {
            return Err(Violation::Ack);
        }
        let advanced = settled > self.peer_settled;
        self.peer_settled = settled;
        if let Some(continued) = &mut self.continued {
            continued.forget(settled);
        }
        Ok(advanced)
    }

    /// To be called when messages have come.
    #[inline]
    pub(super) fn note_credit(&mut self, config: &Config) {
        let bytes_left = self.granted_bytes.saturating_sub(self.used_bytes);
        let messages_left = self.granted_messages.saturating_sub(self.used_messages);
        let low_bytes = (config.window_bytes / 2).max(config.max_message) as u64;
        let low_messages = (config.window_messages as u64).div_ceil(2);
        self.credit_is_low = bytes_left < low_bytes || messages_left < low_messages;
    }

    /// New limits for the peer, if it should be told.
    #[inline]
    pub(super) fn credit_due(&self, config: &Config) -> Option<(u64, u64)> {
        if !self.credit_is_low || self.frozen || self.finished || self.keeps_too_much(config) {
            return None;
        }
        let limits = (self.limit_bytes, self.limit_messages);
        let told = limits == (self.granted_bytes, self.granted_messages);
        (!told).then_some(limits)
    }

    /// The peer is told these limits.
    pub(super) fn grant(&mut self, (bytes, messages): (u64, u64), config: &Config) {
        (self.granted_bytes, self.granted_messages) = (bytes, messages);
        self.note_credit(config);
    }

    /// Gives back memory that holds nothing.
    pub(super) fn release(&mut self) {
        self.inbox.release();
        self.owed.release();
        self.verdicts.release();
    }

    /// This direction's part.
    pub(super) fn stats(&self, of_the_other: Stats) -> Stats {
        Stats {
            messages_received: self.received,
            bytes_received: self.received_bytes,
            waiting: self.waiting(),
            ..of_the_other
        }
    }
}

/// A fragment of `n` bytes after `have` of `total`.
#[inline]
pub(super) fn check_fragment(
    fin: bool,
    n: usize,
    have: usize,
    total: usize,
) -> Result<(), Violation> {
    if !fin && n < MIN_FRAGMENT {
        return Err(Violation::TinyFragment);
    }
    let sum = have.saturating_add(n);
    if sum > total || fin != (sum == total) {
        return Err(Violation::FragmentLength);
    }
    Ok(())
}
