//! The box of one receiver, against a list.

use proptest::collection::vec;
use proptest::prelude::*;
use sealpipe_core::service::{Mail, Mailbox, Offered, Overflow};
use std::collections::VecDeque;

const MESSAGES: usize = 5;
const BYTES: usize = 100;

/// A box as a list of numbered messages: what went missing is told by the gaps in
/// the numbers, and not by counting.
struct Model {
    list: VecDeque<(u64, usize)>,
    overflow: Overflow,
    /// The number that the receiver expects next.
    expected: u64,
}

impl Model {
    fn bytes(&self) -> usize {
        self.list.iter().map(|(_, size)| size).sum()
    }

    fn has_room(&self, size: usize) -> bool {
        self.list.is_empty() || (self.list.len() < MESSAGES && self.bytes() + size <= BYTES)
    }

    fn offer(&mut self, number: u64, size: usize) -> Offered<u64> {
        let before = self.list.len();
        while !self.has_room(size) {
            match self.overflow {
                Overflow::Block => return Offered::Full(number),
                Overflow::Disconnect => return Offered::Overrun(number),
                Overflow::DropOldest => self.list.pop_front(),
            };
        }
        let dropped = (before - self.list.len()) as u64;
        self.list.push_back((number, size));
        if dropped == 0 {
            Offered::Taken
        } else {
            Offered::Dropped(dropped)
        }
    }

    fn pop(&mut self) -> Option<Mail<u64>> {
        let (item, size) = self.list.pop_front()?;
        let missed = item - self.expected;
        self.expected = item + 1;
        Some(Mail { item, size, missed })
    }
}

proptest! {
    #[test]
    fn a_box_does_what_a_list_does(
        overflow in prop_oneof![
            Just(Overflow::Block),
            Just(Overflow::DropOldest),
            Just(Overflow::Disconnect)
        ],
        steps in vec(prop_oneof![
            3 => (0..60_usize).prop_map(Some),
            1 => (95..130_usize).prop_map(Some),
            2 => Just(None)
        ], 0..100),
    ) {
        let mut mailbox = Mailbox::new(MESSAGES, BYTES, overflow);
        let mut model = Model { list: VecDeque::new(), overflow, expected: 0 };
        let mut number = 0;
        for step in steps {
            match step {
                None => prop_assert_eq!(mailbox.pop(), model.pop()),
                Some(size) => {
                    prop_assert_eq!(mailbox.has_room(size), model.has_room(size));
                    let offered = mailbox.offer(number, size);
                    prop_assert_eq!(&offered, &model.offer(number, size));
                    // One that was not taken is offered again, or given up for good.
                    if !matches!(offered, Offered::Full(_) | Offered::Overrun(_)) {
                        number += 1;
                    }
                }
            }
            prop_assert_eq!(mailbox.len(), model.list.len());
            prop_assert_eq!(mailbox.bytes(), model.bytes());
            prop_assert_eq!(mailbox.is_empty(), model.list.is_empty());
            prop_assert!(mailbox.len() <= MESSAGES);
            prop_assert!(mailbox.bytes() <= BYTES || mailbox.len() == 1);
            mailbox.release();
        }
    }
}

#[test]
fn a_message_above_the_limit_gets_through_an_empty_box() {
    for overflow in [Overflow::Block, Overflow::DropOldest, Overflow::Disconnect] {
        let mut mailbox = Mailbox::new(10, 100, overflow);
        assert_eq!(mailbox.offer("large", 1_000), Offered::Taken);
        assert!(!mailbox.has_room(0));
        assert_eq!(mailbox.pop().map(|mail| mail.item), Some("large"));
    }
    let mut mailbox = Mailbox::new(10, 100, Overflow::DropOldest);
    for _ in 0..4 {
        assert_eq!(mailbox.offer("small", 25), Offered::Taken);
    }
    assert_eq!(mailbox.offer("large", usize::MAX), Offered::Dropped(4));
    let large = Mail {
        item: "large",
        size: usize::MAX,
        missed: 4,
    };
    assert_eq!(mailbox.pop(), Some(large));
    assert_eq!((mailbox.pop(), mailbox.bytes()), (None, 0));
}

#[test]
fn a_box_for_no_message_takes_one() {
    let mut mailbox = Mailbox::new(0, 0, Overflow::Disconnect);
    assert_eq!(mailbox.offer(1, 0), Offered::Taken);
    assert_eq!(mailbox.offer(2, 0), Offered::Overrun(2));
    assert_eq!(mailbox.len(), 1);
}
