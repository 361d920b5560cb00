//! What was sent and may be lost with its stream: kept, and sent again
//! (PROTOCOL.md, section 7.3).

use super::{Finish, InFlight, NEW, Outbound, Queued};
use crate::{
    error::Violation,
    event::Event,
    message::{AckLevel, Message, Outcome},
    queue::Queue,
    wire::Hello,
};
use alloc::boxed::Box;
use bytes::Bytes;

/// So many CANCELs are repeated at most: they are news for the peer's program, and
/// many at once would look like a flood.
const CANCELS: usize = 256;

/// What a session that can be resumed has beside others.
#[derive(Default)]
pub(super) struct Kept {
    /// The sizes of the messages that were sent and are kept.
    pub(super) bytes: usize,
    /// The payload of the message that has begun.
    pub(super) whole: Option<Bytes>,
    /// The *settled* that the peer was told last.
    told: u64,
    /// The peer may repeat so many RESULTs, for messages below this number.
    repeats: u64,
    repeats_below: u64,
}

impl Kept {
    /// The message that goes out, as it is to be kept; `whole` is its payload, where
    /// that has been cut up. What asks for no ack is not kept.
    #[cold]
    pub(super) fn keep(&mut self, message: &Message, whole: Option<Bytes>) -> Option<Box<Message>> {
        if message.ack == AckLevel::None {
            return None;
        }
        let mut message = message.clone();
        if let Some(whole) = whole {
            message.payload = whole;
        }
        self.bytes = self.bytes.saturating_add(message.size());
        Some(Box::new(message))
    }

    /// It need not be sent again.
    pub(super) fn forget(kept: &mut Option<Box<Kept>>, entry: &mut InFlight) {
        if let (Some(kept), Some(message)) = (kept, entry.kept.take()) {
            kept.bytes = kept.bytes.saturating_sub(message.size());
        }
    }

    /// Whether a RESULT that nothing waits for repeats what the stream before this
    /// one had brought.
    pub(super) fn repeats(&mut self, seq: u64) -> bool {
        let may = self.repeats > 0 && seq < self.repeats_below;
        self.repeats = self.repeats.saturating_sub(u64::from(may));
        may
    }
}

impl Outbound {
    /// The session can be resumed from here on, or cannot.
    pub(in super::super) fn keep(&mut self, on: bool) {
        self.kept = on.then(|| {
            Box::new(Kept {
                told: self.settled(),
                ..Kept::default()
            })
        });
    }

    /// How far *settled* has come since the peer was told.
    #[inline]
    pub(in super::super) fn untold(&self) -> u64 {
        match &self.kept {
            Some(kept) => self.settled().saturating_sub(kept.told),
            None => 0,
        }
    }

    /// The peer is told *settled*.
    #[inline]
    pub(in super::super) fn tell_settled(&mut self) -> u64 {
        let settled = self.settled();
        if let Some(kept) = &mut self.kept {
            kept.told = settled;
        }
        settled
    }

    /// The stream is lost. What has a number waits among those in flight; what had
    /// begun and has none waits in the queue, whole.
    pub(in super::super) fn suspend(&mut self) {
        if core::mem::take(&mut self.begun)
            && let Some(front) = self.queue.front_mut()
        {
            if let Some(whole) = self.kept.as_mut().and_then(|kept| kept.whole.take()) {
                let sent = whole.len().saturating_sub(front.message.payload.len());
                self.queue_bytes = self.queue_bytes.saturating_add(sent);
                front.message.payload = whole;
            }
            if front.number == NEW {
                // It was never whole on any stream: another may have its number.
                self.next_seq = self.next_seq.saturating_sub(1);
            }
        }
        while let Some(Queued { message, .. }) =
            self.queue.front().filter(|queued| queued.number != NEW)
        {
            let size = message.size();
            let Some(queued) = self.queue.pop_front() else {
                break;
            };
            self.queue_bytes = self.queue_bytes.saturating_sub(size);
            let kept = self.kept.as_deref_mut();
            let kept = kept.and_then(|kept| kept.keep(&queued.message, None));
            super::frames::track(
                &mut self.in_flight,
                &mut self.sending,
                queued.number,
                &queued,
                kept,
            );
        }
        self.sending = Queue::new();
        self.cancels = Queue::new();
        self.counts.earlier_bytes = self.counts.earlier_bytes.saturating_add(self.used_bytes);
        (self.used_bytes, self.used_messages) = (0, 0);
        (self.credit_bytes, self.credit_messages) = (0, 0);
        if self.finish == Finish::Sent {
            self.finish = Finish::Wanted;
        }
    }

    /// The session goes on: the peer has all below `peer.next`, and gets the rest.
    pub(in super::super) fn resume(
        &mut self,
        peer: &Hello,
        events: &mut Queue<Event>,
    ) -> Result<(), Violation> {
        self.cancels = Queue::new();
        let settled = self.settled();
        self.on_ack(peer.next, events)
            .map_err(|_| Violation::Resume)?;
        self.open(peer);
        let counts = &mut self.counts;
        self.in_flight.remove_where(0, peer.next, |entry| {
            let written = entry.ack == AckLevel::None;
            if written {
                counts.tell(entry.id.take(), Outcome::Sent, events);
            }
            written
        });
        while let Some((number, entry)) = self.in_flight.pop_last(peer.next) {
            self.send_again(number, entry, events);
        }
        let cancelled = self.in_flight.iter().filter(|(_, entry)| entry.cancelled);
        for (seq, _) in cancelled.take(CANCELS) {
            self.cancels.push_back(seq);
        }
        if let Some(kept) = &mut self.kept {
            kept.told = settled;
            kept.repeats = peer.next.saturating_sub(settled);
            kept.repeats_below = peer.next;
        }
        Ok(())
    }

    /// The peer has begun a new session. What it had of the old one is lost, or is
    /// sent again.
    pub(in super::super) fn restart(
        &mut self,
        peer: &Hello,
        redeliver: bool,
        events: &mut Queue<Event>,
    ) {
        self.cancels = Queue::new();
        if !redeliver {
            self.drop_unsent(events);
        }
        while let Some((_, mut entry)) = self.in_flight.pop_last(0) {
            if redeliver && let Some(message) = &mut entry.kept {
                message.extension = message.extension.with_redelivered();
                self.send_again(NEW, entry, events);
            } else {
                self.lost(entry, events);
            }
        }
        // That was the old session's.
        self.cut_off = false;
        self.open(peer);
        self.start_at(peer.next);
    }

    /// Messages are numbered from here on.
    pub(in super::super) fn start_at(&mut self, number: u64) {
        (self.next_seq, self.acked) = (number, number);
    }

    /// Back to the front of the queue, if somebody still waits for it and it was
    /// kept.
    fn send_again(&mut self, number: u64, mut entry: InFlight, events: &mut Queue<Event>) {
        match entry.kept.take() {
            Some(message) if !entry.told && !entry.cancelled => {
                let size = message.size();
                if let Some(kept) = &mut self.kept {
                    kept.bytes = kept.bytes.saturating_sub(size);
                }
                self.queue_bytes = self.queue_bytes.saturating_add(size);
                self.queue.push_front(Queued {
                    message: *message,
                    id: entry.id,
                    number,
                });
            }
            message => {
                entry.kept = message;
                self.lost(entry, events);
            }
        }
    }

    fn lost(&mut self, mut entry: InFlight, events: &mut Queue<Event>) {
        Kept::forget(&mut self.kept, &mut entry);
        if !entry.told {
            self.counts.tell(entry.id, Outcome::Unknown, events);
        }
    }
}
