//! Messages that came whole and wait for the program.

use crate::{
    message::{Kind, Received},
    queue::Queue,
};

/// Replies and events may be taken past messages that nobody takes for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    Messages,
    Replies,
    Events,
}

impl Lane {
    #[inline]
    fn of(kind: Kind) -> Lane {
        match kind {
            Kind::Reply | Kind::Error => Lane::Replies,
            Kind::Event => Lane::Events,
            Kind::Message | Kind::Request | Kind::Subscribe | Kind::Unsubscribe => Lane::Messages,
        }
    }
}

#[derive(Default)]
pub(super) struct Inbox {
    messages: Queue<Received>,
    replies: Queue<Received>,
    events: Queue<Received>,
    /// Nothing from this number on has been taken.
    taken: u64,
}

impl Inbox {
    pub(super) const fn new() -> Inbox {
        Inbox {
            messages: Queue::new(),
            replies: Queue::new(),
            events: Queue::new(),
            taken: 0,
        }
    }

    #[inline]
    fn lane(&mut self, lane: Lane) -> &mut Queue<Received> {
        match lane {
            Lane::Messages => &mut self.messages,
            Lane::Replies => &mut self.replies,
            Lane::Events => &mut self.events,
        }
    }

    #[inline]
    pub(super) fn push(&mut self, message: Received) {
        self.lane(Lane::of(message.kind)).push_back(message);
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.messages
            .len()
            .saturating_add(self.replies.len())
            .saturating_add(self.events.len())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether `lane` holds anything.
    #[inline]
    pub(super) fn has(&self, lane: Lane) -> bool {
        match lane {
            Lane::Messages => !self.messages.is_empty(),
            Lane::Replies => !self.replies.is_empty(),
            Lane::Events => !self.events.is_empty(),
        }
    }

    /// The next in the order in which the peer sent them.
    #[inline(always)]
    pub(super) fn take(&mut self) -> Option<Received> {
        if self.replies.is_empty() && self.events.is_empty() {
            return self.take_from(Lane::Messages);
        }
        self.take_first()
    }

    #[cold]
    fn take_first(&mut self) -> Option<Received> {
        let fronts = [Lane::Messages, Lane::Replies, Lane::Events].map(|lane| {
            let front = self.lane(lane).front();
            front.map(|front| (front.seq, lane))
        });
        let first = fronts.into_iter().flatten().min_by_key(|(seq, _)| *seq)?;
        self.take_from(first.1)
    }

    /// The next of one lane.
    #[inline]
    pub(super) fn take_from(&mut self, lane: Lane) -> Option<Received> {
        let message = self.lane(lane).pop_front()?;
        self.taken = self.taken.max(message.seq.saturating_add(1));
        Some(message)
    }

    fn first(&self) -> Option<u64> {
        [&self.messages, &self.replies, &self.events]
            .into_iter()
            .filter_map(|queue| queue.front().map(|front| front.seq))
            .min()
    }

    /// Messages from this number on have not been taken; `next` will come next.
    pub(super) fn delivered(&self, next: u64) -> u64 {
        self.first().map_or(next, |first| first.max(self.taken))
    }

    /// Whether message `seq`, which came, may be here.
    pub(super) fn may_hold(&self, seq: u64) -> bool {
        self.first().is_some_and(|first| first <= seq)
    }

    /// Drops everything.
    pub(super) fn clear(&mut self) {
        *self = Inbox {
            taken: self.taken,
            ..Inbox::new()
        };
    }

    /// Gives back memory that holds nothing.
    pub(super) fn release(&mut self) {
        self.messages.release();
        self.replies.release();
        self.events.release();
    }
}
