//! What waits for one receiver, within limits.

use crate::queue::Queue;

/// What becomes of a message for which a [`Mailbox`] has no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Overflow {
    /// Whoever offers it keeps it, and waits until there is room.
    #[default]
    Block,
    /// The oldest ones make room for it; the receiver is told how many.
    DropOldest,
    /// The receiver is too slow and is to be disconnected.
    Disconnect,
}

/// What became of a message that was offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Offered<T> {
    /// It is in the box.
    Taken,
    /// [`Overflow::DropOldest`]: it is in the box, and so many older ones are not
    /// any more.
    Dropped(u64),
    /// [`Overflow::Block`]: there is no room; here it is again.
    Full(T),
    /// [`Overflow::Disconnect`]: there is no room; here it is again. What is in the
    /// box stays there.
    Overrun(T),
}

/// A message out of a [`Mailbox`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail<T> {
    /// The message.
    pub item: T,
    /// Its size, as it was offered.
    pub size: usize,
    /// How many were dropped between the one taken before and this one.
    pub missed: u64,
}

/// A queue for one receiver, bounded in messages and bytes.
///
/// ```
/// use sealpipe_core::service::{Mailbox, Offered, Overflow};
/// let mut mailbox = Mailbox::new(2, 100, Overflow::DropOldest);
/// assert_eq!(mailbox.offer("a", 10), Offered::Taken);
/// assert_eq!(mailbox.offer("b", 10), Offered::Taken);
/// assert_eq!(mailbox.offer("c", 10), Offered::Dropped(1));
/// let mail = mailbox.pop().ok_or("empty")?;
/// assert_eq!((mail.item, mail.missed), ("b", 1));
/// # Ok::<(), &str>(())
/// ```
#[derive(Debug)]
pub struct Mailbox<T> {
    items: Queue<(T, usize)>,
    bytes: usize,
    /// Dropped since the last pop: all of them stood before what is first now.
    missed: u64,
    max_messages: usize,
    max_bytes: usize,
    overflow: Overflow,
}

impl<T> Mailbox<T> {
    /// An empty box for at most `messages` (at least 1) of together at most `bytes`
    /// bytes. An empty box takes one message of any size, or a large one would
    /// never get through.
    pub fn new(messages: usize, bytes: usize, overflow: Overflow) -> Mailbox<T> {
        Mailbox {
            items: Queue::new(),
            bytes: 0,
            missed: 0,
            max_messages: messages.max(1),
            max_bytes: bytes,
            overflow,
        }
    }

    /// Puts `item` of `size` bytes in, or does what the box's [`Overflow`] says.
    pub fn offer(&mut self, item: T, size: usize) -> Offered<T> {
        let mut dropped = 0_u64;
        while !self.has_room(size) {
            match self.overflow {
                Overflow::Block => return Offered::Full(item),
                Overflow::Disconnect => return Offered::Overrun(item),
                // Ends at the latest when the box is empty.
                Overflow::DropOldest => drop(self.take()),
            }
            dropped = dropped.saturating_add(1);
        }
        self.items.push_back((item, size));
        self.bytes = self.bytes.saturating_add(size);
        self.missed = self.missed.saturating_add(dropped);
        match dropped {
            0 => Offered::Taken,
            dropped => Offered::Dropped(dropped),
        }
    }

    /// Takes the oldest message.
    pub fn pop(&mut self) -> Option<Mail<T>> {
        let (item, size) = self.take()?;
        Some(Mail {
            item,
            size,
            missed: core::mem::take(&mut self.missed),
        })
    }

    fn take(&mut self) -> Option<(T, usize)> {
        let (item, size) = self.items.pop_front()?;
        self.bytes = self.bytes.saturating_sub(size);
        Some((item, size))
    }

    /// Whether a message of `size` bytes fits as things are.
    pub fn has_room(&self, size: usize) -> bool {
        let bytes = self.bytes.checked_add(size);
        self.is_empty()
            || (self.len() < self.max_messages
                && bytes.is_some_and(|bytes| bytes <= self.max_bytes))
    }

    /// Gives back memory that holds nothing, for a receiver that is idle.
    pub fn release(&mut self) {
        self.items.release();
    }

    /// How many messages are in it.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The sizes of its messages together.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}
