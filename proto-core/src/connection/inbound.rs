//! Messages on their way in: the one whose fragments are coming, the queue, the
//! verdicts that are due, and the credit that the peer has.

use crate::{
    config::Config,
    error::Violation,
    message::{AckLevel, Received, Rejection},
    stats::Stats,
    wire::{DataHead, MIN_FRAGMENT},
};
use alloc::{
    boxed::Box,
    collections::{BTreeMap, VecDeque},
    string::String,
    sync::Arc,
};
use bytes::Bytes;

/// While input keeps coming, an ACK goes out after so many messages.
const ACK_EVERY: u32 = 64;

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
    inbox: VecDeque<Received>,
    /// Messages that the program has taken and owes a verdict, with their sizes.
    owed: BTreeMap<u64, usize>,
    pub(super) verdicts: VecDeque<Verdict>,
    next: u64,
    /// Taken back by the peer before they were whole, or skipped: none of the
    /// program's business.
    delivered: u64,
    /// Set once nothing more is delivered.
    frozen: bool,
    granted_bytes: u64,
    granted_messages: u64,
    used_bytes: u64,
    used_messages: u64,
    freed_bytes: u64,
    freed_messages: u64,
    unacked: u32,
    peer_settled: u64,
    /// The peer has sent FINISH.
    pub(super) finished: bool,
}

impl Inbound {
    pub(super) const fn new(config: &Config) -> Inbound {
        Inbound {
            partial: None,
            inbox: VecDeque::new(),
            owed: BTreeMap::new(),
            verdicts: VecDeque::new(),
            next: 0,
            delivered: 0,
            frozen: false,
            granted_bytes: config.window_bytes as u64,
            granted_messages: config.window_messages as u64,
            used_bytes: 0,
            used_messages: 0,
            freed_bytes: 0,
            freed_messages: 0,
            unacked: 0,
            peer_settled: 0,
            finished: false,
        }
    }

    /// The number that is expected next.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Messages from this number on have not reached the program.
    pub(super) fn delivered(&self) -> u64 {
        if self.frozen {
            self.delivered
        } else {
            self.next
        }
    }

    pub(super) fn waiting(&self) -> usize {
        self.inbox.len()
    }

    /// Whether the program has taken and settled all that came.
    pub(super) fn is_settled(&self) -> bool {
        self.inbox.is_empty()
            && self.owed.is_empty()
            && self.verdicts.is_empty()
            && self.partial.is_none()
    }

    /// A DATA frame with FIRST: checks it against every limit. Returns the message,
    /// without its payload, and how long that will be.
    #[inline]
    pub(super) fn begin(
        &mut self,
        head: &DataHead<'_>,
        payload: usize,
        config: &Config,
    ) -> Result<(Received, usize), Violation> {
        if self.partial.is_some() {
            return Err(Violation::FirstInsideMessage);
        }
        if self.finished {
            return Err(Violation::DataAfterFinish);
        }
        if head.seq != self.next {
            return Err(Violation::MessageNumber {
                found: head.seq,
                expected: self.next,
            });
        }
        let total = head.total.unwrap_or(payload as u64);
        let size = total.saturating_add(head.topic.map_or(0, str::len) as u64);
        if size > config.max_message as u64 {
            return Err(Violation::MessageTooLarge {
                size,
                max: config.max_message as u64,
            });
        }
        if self.used_messages >= self.granted_messages
            || self.used_bytes.saturating_add(size) > self.granted_bytes
        {
            return Err(Violation::NoCredit);
        }
        self.used_messages = self.used_messages.saturating_add(1);
        self.used_bytes = self.used_bytes.saturating_add(size);
        let head = Received {
            seq: head.seq,
            kind: head.kind,
            ack: head.ack,
            correlation: head.correlation,
            topic: head.topic.map(Arc::from),
            payload: Bytes::new(),
        };
        // `size` is at most `max_message`, which is a `usize`.
        Ok((head, usize::try_from(total).unwrap_or(usize::MAX)))
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
    pub(super) fn complete(&mut self, payload: Bytes, stats: &mut Stats) {
        if let Some(partial) = self.partial.take() {
            self.received(partial.head, payload, stats);
        }
    }

    /// A message has come whole.
    #[inline]
    pub(super) fn received(&mut self, mut message: Received, payload: Bytes, stats: &mut Stats) {
        message.payload = payload;
        self.next = self.next.saturating_add(1);
        stats.messages_received = stats.messages_received.saturating_add(1);
        stats.bytes_received = stats.bytes_received.saturating_add(message.size() as u64);
        if self.frozen {
            return;
        }
        if message.ack != AckLevel::None {
            self.unacked = self.unacked.saturating_add(1);
        }
        self.inbox.push_back(message);
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
        Ok(
            self.owed.contains_key(&seq)
                || self.inbox.front().is_some_and(|first| first.seq <= seq),
        )
    }

    /// The next message for the program.
    #[inline]
    pub(super) fn take(&mut self) -> Option<Received> {
        let message = self.inbox.pop_front()?;
        if message.ack == AckLevel::Processed {
            self.owed.insert(message.seq, message.size());
        } else {
            self.free(message.size());
        }
        Some(message)
    }

    /// The program's verdict on a message; `false` if none was due.
    pub(super) fn settle(&mut self, seq: u64, verdict: Result<(), Rejection>) -> bool {
        let Some(size) = self.owed.remove(&seq) else {
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
        self.verdicts.push_back(Verdict { seq, code, reason });
        true
    }

    #[inline]
    fn free(&mut self, size: usize) {
        self.freed_messages = self.freed_messages.saturating_add(1);
        self.freed_bytes = self.freed_bytes.saturating_add(size as u64);
    }

    /// Nothing more is delivered; what the program has not taken, it never will.
    pub(super) fn freeze(&mut self) {
        if !self.frozen {
            self.delivered = self.inbox.front().map_or(self.next, |first| first.seq);
            self.frozen = true;
        }
        self.inbox = VecDeque::new();
        // An ACK would claim what has just been dropped. CLOSE says how far the
        // program got.
        self.unacked = 0;
    }

    /// Whether an ACK should go out although nothing else does.
    #[inline]
    pub(super) fn ack_is_due(&self, no_more_input: bool) -> bool {
        self.unacked >= ACK_EVERY || (self.unacked > 0 && no_more_input)
    }

    /// Whether there is something to acknowledge.
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

    /// The peer's *settled*; says whether it carried anything forward.
    pub(super) fn on_settled(&mut self, settled: u64) -> Result<bool, Violation> {
        if settled < self.peer_settled || settled > self.next {
            return Err(Violation::Ack);
        }
        let advanced = settled > self.peer_settled;
        self.peer_settled = settled;
        Ok(advanced)
    }

    /// New limits for the peer, if it should be told.
    #[inline]
    pub(super) fn credit_due(&self, config: &Config) -> Option<(u64, u64)> {
        let bytes = self.freed_bytes.saturating_add(config.window_bytes as u64);
        let messages = self
            .freed_messages
            .saturating_add(config.window_messages as u64);
        if self.frozen
            || self.finished
            || (bytes == self.granted_bytes && messages == self.granted_messages)
        {
            return None;
        }
        let bytes_left = self.granted_bytes.saturating_sub(self.used_bytes);
        let messages_left = self.granted_messages.saturating_sub(self.used_messages);
        let low_bytes = (config.window_bytes / 2).max(config.max_message) as u64;
        let low_messages = (config.window_messages as u64).div_ceil(2);
        (bytes_left < low_bytes || messages_left < low_messages).then_some((bytes, messages))
    }

    /// The peer is told these limits.
    pub(super) fn grant(&mut self, (bytes, messages): (u64, u64)) {
        (self.granted_bytes, self.granted_messages) = (bytes, messages);
    }

    /// Gives back memory that holds nothing.
    pub(super) fn release(&mut self) {
        if self.inbox.is_empty() {
            self.inbox = VecDeque::new();
        }
        if self.verdicts.is_empty() {
            self.verdicts = VecDeque::new();
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
