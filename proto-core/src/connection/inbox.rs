//! Messages that came whole and wait for the program.

use crate::{
    message::{AckLevel, Kind, Received},
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
    pub(super) fn of(kind: Kind) -> Lane {
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
    /// Nothing from this number on has been taken whose sender is told of it.
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

    /// Such as are neither replies nor events.
    #[inline(always)]
    pub(super) fn extend_bare(&mut self, messages: impl Iterator<Item = Received>) {
        self.messages.extend(messages);
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.messages
            .len()
            .saturating_add(self.replies.len())
            .saturating_add(self.events.len())
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.replies.is_empty() && self.events.is_empty()
    }

    #[inline]
    pub(super) fn queue(&self, lane: Lane) -> &Queue<Received> {
        match lane {
            Lane::Messages => &self.messages,
            Lane::Replies => &self.replies,
            Lane::Events => &self.events,
        }
    }

    /// Where the next one is, in the order in which the peer sent them.
    #[inline(always)]
    pub(super) fn next_lane(&self) -> Lane {
        if self.replies.is_empty() && self.events.is_empty() {
            return Lane::Messages;
        }
        self.find_first_lane()
    }

    #[cold]
    fn find_first_lane(&self) -> Lane {
        self.find_first().map_or(Lane::Messages, |(_, lane)| lane)
    }

    /// The next of one lane.
    #[inline(always)]
    pub(super) fn take_from(&mut self, lane: Lane) -> Option<Received> {
        let first = self.queue(lane).front()?;
        let (seq, ack) = (first.seq, first.ack);
        self.pop(lane, seq, ack)
    }

    /// The same where number and ack level have been looked at.
    #[inline(always)]
    pub(super) fn pop(&mut self, lane: Lane, seq: u64, ack: AckLevel) -> Option<Received> {
        if ack != AckLevel::None {
            self.taken = self.taken.max(seq.saturating_add(1));
        }
        self.lane(lane).pop_front()
    }

    /// The number of the next in the order in which the peer sent them.
    pub(super) fn first(&self) -> Option<u64> {
        self.find_first().map(|(seq, _)| seq)
    }

    /// The lowest number, and where it stands.
    fn find_first(&self) -> Option<(u64, Lane)> {
        [Lane::Messages, Lane::Replies, Lane::Events]
            .into_iter()
            .filter_map(|lane| Some((self.queue(lane).front()?.seq, lane)))
            .min_by_key(|(seq, _)| *seq)
    }

    /// Nothing from this number on has been taken whose sender is told of it.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// Whether message `seq` is here.
    pub(super) fn holds(&self, seq: u64) -> bool {
        [Lane::Messages, Lane::Replies, Lane::Events]
            .into_iter()
            .any(|lane| {
                let queue = self.queue(lane);
                let index = queue.partition_point(|message| message.seq < seq);
                queue.get(index).is_some_and(|message| message.seq == seq)
            })
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
