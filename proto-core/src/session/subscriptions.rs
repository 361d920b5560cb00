//! Subscriptions of this side's: which events are for whom, until they are taken.

use crate::{
    message::{Kind, Received},
    queue::Queue,
    service::{Mail, Mailbox, Offered, Overflow, Pattern, Topics},
};
use alloc::{collections::BTreeMap, vec::Vec};

/// Names a subscription among those of its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionId(u64);

/// How many events wait for their subscriber at most, and what happens to more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// Messages.
    pub messages: usize,
    /// Bytes of topics and payloads; one event always fits.
    pub bytes: usize,
    /// [`Overflow::Block`] holds up all events of the connection, and so its
    /// publisher; [`Overflow::Disconnect`] ends the subscription.
    pub overflow: Overflow,
}

impl Default for Backlog {
    /// 1,024 messages or 1 MiB, then the publisher waits. A server that publishes drops
    /// the oldest instead, unless set: say so where you set its backlog.
    fn default() -> Backlog {
        Backlog {
            messages: 1_024,
            bytes: 1 << 20,
            overflow: Overflow::Block,
        }
    }
}

#[derive(Debug)]
struct Subscription {
    pattern: Pattern,
    mailbox: Mailbox<Received>,
    backlog: Backlog,
    /// Was too slow, and gets no more.
    overrun: bool,
}

/// What the subscriber of an event gets.
#[derive(Debug)]
pub enum Next {
    /// An event, and how many were dropped before it on this side.
    Event(Mail<Received>),
    /// Nothing yet.
    Empty,
    /// Nothing any more: it was too slow.
    Overrun,
}

#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    next: u64,
    topics: Topics<SubscriptionId>,
    open: BTreeMap<SubscriptionId, Subscription>,
    /// Patterns that are wanted, or not any more, and the peer has not been told.
    pub(super) untold: Queue<(Kind, Pattern)>,
}

impl Subscriptions {
    pub(super) fn open(&mut self, pattern: &Pattern, backlog: Backlog) -> SubscriptionId {
        let id = SubscriptionId(self.next);
        self.next = self.next.saturating_add(1);
        self.topics.insert(pattern, id);
        self.untold.retain(|(_, untold)| untold != pattern);
        let Backlog {
            messages,
            bytes,
            overflow,
        } = backlog;
        let subscription = Subscription {
            pattern: pattern.clone(),
            mailbox: Mailbox::new(messages, bytes, overflow),
            backlog,
            overrun: false,
        };
        self.open.insert(id, subscription);
        id
    }

    /// Whether an event can be handed out: nobody for whom it is makes it wait.
    pub(super) fn has_room(&self, event: &Received) -> bool {
        let (mut room, size) = (true, event.size());
        self.each(event, |subscription| {
            let blocks = subscription.backlog.overflow == Overflow::Block;
            room &= !blocks || subscription.mailbox.has_room(size);
        });
        room
    }

    fn each(&self, event: &Received, mut each: impl FnMut(&Subscription)) {
        let topic = event.topic.as_deref().unwrap_or_default();
        self.topics.matching(topic, |id| {
            if let Some(subscription) = self.open.get(id) {
                each(subscription);
            }
        });
    }

    /// Hands an event out; says to whom.
    pub(super) fn hand_out(&mut self, event: &Received) -> Vec<SubscriptionId> {
        let (topic, size) = (event.topic.as_deref().unwrap_or_default(), event.size());
        let mut given = Vec::new();
        self.topics.matching(topic, |id| given.push(*id));
        for id in &given {
            let Some(subscription) = self.open.get_mut(id).filter(|one| !one.overrun) else {
                continue;
            };
            let offered = subscription.mailbox.offer(event.clone(), size);
            subscription.overrun = matches!(offered, Offered::Overrun(_));
        }
        given
    }

    pub(super) fn take(&mut self, id: SubscriptionId) -> Next {
        let Some(subscription) = self.open.get_mut(&id) else {
            return Next::Overrun;
        };
        match subscription.mailbox.pop() {
            Some(mail) => Next::Event(mail),
            None if subscription.overrun => Next::Overrun,
            None => {
                subscription.mailbox.release();
                Next::Empty
            }
        }
    }

    /// Nobody takes these events any more.
    pub(super) fn close(&mut self, id: SubscriptionId) {
        let Some(closed) = self.open.remove(&id) else {
            return;
        };
        self.topics.remove(&closed.pattern, &id);
        if !self.wants(&closed.pattern) {
            self.untold.retain(|(_, untold)| *untold != closed.pattern);
            self.untold.push_back((Kind::Unsubscribe, closed.pattern));
        }
    }

    /// The peer is to be asked for everything again.
    pub(super) fn renew(&mut self) {
        self.untold = Queue::new();
        for one in self.open.values() {
            let told = self.untold.iter().any(|(_, told)| *told == one.pattern);
            if !told {
                self.untold
                    .push_back((Kind::Subscribe, one.pattern.clone()));
            }
        }
    }

    /// Whether somebody has subscribed to exactly this.
    fn wants(&self, pattern: &Pattern) -> bool {
        self.open.values().any(|one| one.pattern == *pattern)
    }
}
