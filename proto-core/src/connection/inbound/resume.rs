//! What the peer may ask for again when its stream is lost: the RESULTs that it
//! may not have seen (PROTOCOL.md, section 7.3).

use super::{super::resume::SETTLED_EVERY, Inbound, Verdict};
use crate::{config::Config, error::Violation, queue::Queue, wire::Hello};
use alloc::{boxed::Box, collections::BTreeMap, string::String};

/// What a session has that can be resumed, or follows one that could.
#[derive(Default)]
pub(super) struct Continued {
    /// The session can be resumed.
    keeps: bool,
    /// RESULTs that were sent and that the peer has not counted as settled.
    sent: BTreeMap<u64, Verdict>,
    /// This stream is not the session's first: numbers may be left out.
    gaps: bool,
    /// The peer may say once more that it has finished.
    finish_again: bool,
    /// Messages below this number belong to an earlier session of this
    /// connection: nobody waits for their RESULTs.
    start: u64,
}

impl Continued {
    /// RESULTs below this number have arrived.
    pub(super) fn forget(&mut self, settled: u64) {
        if self
            .sent
            .first_key_value()
            .is_some_and(|(seq, _)| *seq < settled)
        {
            self.sent = self.sent.split_off(&settled);
        }
    }
}

impl Inbound {
    /// The session can be resumed from here on, or cannot.
    pub(in super::super) fn keep(&mut self, on: bool) {
        if on {
            self.continued.get_or_insert_default().keeps = true;
        } else if let Some(continued) = &mut self.continued {
            continued.keeps = false;
            continued.sent = BTreeMap::new();
        }
    }

    /// A RESULT goes out.
    #[inline]
    pub(in super::super) fn result_sent(&mut self, verdict: Verdict) {
        if let Some(continued) = self.continued.as_mut().filter(|c| c.keeps) {
            continued.sent.insert(verdict.seq, verdict);
        }
    }

    /// So many RESULTs are kept that the peer gets no more credit until it says
    /// that it has them. Not below what it may leave unsaid.
    #[inline]
    pub(super) fn keeps_too_much(&self, config: &Config) -> bool {
        self.continued
            .as_ref()
            .is_some_and(|c| c.sent.len() >= config.window_messages.max(usize::from(SETTLED_EVERY)))
    }

    /// Whether a number above the one that is due may come: the messages between
    /// were lost with a stream, and are not sent again.
    #[cold]
    pub(super) fn may_skip_to(&self, number: u64) -> bool {
        number > self.next && self.continued.as_ref().is_some_and(|c| c.gaps)
    }

    #[cold]
    pub(super) fn may_finish_again(&mut self) -> bool {
        self.continued
            .as_mut()
            .is_some_and(|c| core::mem::take(&mut c.finish_again))
    }

    /// Whether FINISH has come over this stream.
    pub(in super::super) fn has_finished(&self) -> bool {
        self.finished && !self.continued.as_ref().is_some_and(|c| c.finish_again)
    }

    /// A RESULT is to go out, if the session that waits for it has not ended.
    #[inline]
    pub(super) fn owe_result(&mut self, seq: u64, code: u64, reason: String) {
        if self.continued.as_ref().is_none_or(|c| seq >= c.start) {
            self.verdicts.push_back(Verdict { seq, code, reason });
        }
    }

    /// Whether the peer has said that all its messages have their outcome.
    pub(in super::super) fn peer_is_settled(&self) -> bool {
        self.peer_settled == self.next
    }

    /// Nothing more is delivered.
    pub(in super::super) fn is_frozen(&self) -> bool {
        self.frozen
    }

    /// How much the peer could start now: bytes and messages.
    pub(in super::super) fn free_credit(&self) -> (u64, u64) {
        (
            self.limit_bytes.saturating_sub(self.used_bytes),
            self.limit_messages.saturating_sub(self.used_messages),
        )
    }

    /// The stream is lost, and with it what has come of a message.
    pub(in super::super) fn suspend(&mut self) {
        if let Some(partial) = self.partial.take() {
            let topic = partial.head.size();
            self.free(partial.total.saturating_add(topic));
        }
        self.unacked = 0;
    }

    /// Another stream has begun, in whose HELLO the peer was told `credit`. It
    /// counts from there.
    fn begin_stream(&mut self, credit: (u64, u64)) {
        let (bytes, messages) = self.free_credit();
        (self.granted_bytes, self.granted_messages) = credit;
        (self.used_bytes, self.used_messages) = (0, 0);
        // Some may have been freed since the peer was told.
        self.limit_bytes = bytes.max(credit.0);
        self.limit_messages = messages.max(credit.1);
    }

    /// The session goes on.
    pub(in super::super) fn resume(
        &mut self,
        credit: (u64, u64),
        peer: &Hello,
    ) -> Result<(), Violation> {
        self.on_settled(peer.settled)
            .map_err(|_| Violation::Resume)?;
        // One that was to be repeated may have arrived the first time.
        self.verdicts.retain(|verdict| verdict.seq >= peer.settled);
        self.begin_stream(credit);
        let finished = self.finished;
        if let Some(continued) = &mut self.continued {
            continued.gaps = true;
            continued.finish_again = finished;
            // Before those that were never sent.
            while let Some((_, verdict)) = continued.sent.pop_last() {
                self.verdicts.push_front(verdict);
            }
        }
        Ok(())
    }

    /// The peer has begun a new session. What had come can still be taken; nobody
    /// waits for verdicts on it.
    pub(in super::super) fn restart(&mut self, credit: (u64, u64)) {
        self.begin_stream(credit);
        let next = self.next;
        self.finished = false;
        self.verdicts = Queue::new();
        self.peer_settled = next;
        self.continued = Some(Box::new(Continued {
            start: next,
            ..Continued::default()
        }));
    }
}
