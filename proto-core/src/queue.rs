//! Queues that cost next to nothing while they are empty.

use alloc::{boxed::Box, collections::VecDeque};

/// First in, first out. Once [`release`](Self::release)d it is one pointer: a
/// connection has many of these, and is idle most of the time.
#[derive(Debug)]
#[expect(
    clippy::box_collection,
    reason = "what is empty shall be one word, not four"
)]
pub(crate) struct Queue<T>(Option<Box<VecDeque<T>>>);

impl<T> Queue<T> {
    pub(crate) const fn new() -> Queue<T> {
        Queue(None)
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |queue| queue.len())
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    pub(crate) fn get(&self, index: usize) -> Option<&T> {
        self.0.as_ref()?.get(index)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        self.0.as_mut()?.get_mut(index)
    }

    #[inline]
    pub(crate) fn front(&self) -> Option<&T> {
        self.get(0)
    }

    #[inline]
    pub(crate) fn front_mut(&mut self) -> Option<&mut T> {
        self.get_mut(0)
    }

    #[inline]
    pub(crate) fn push_back(&mut self, value: T) {
        match &mut self.0 {
            Some(queue) => queue.push_back(value),
            None => self.push_first(value),
        }
    }

    #[cold]
    fn push_first(&mut self, value: T) {
        self.0.get_or_insert_default().push_back(value);
    }

    /// Behind all others.
    #[inline(always)]
    pub(crate) fn extend(&mut self, values: impl Iterator<Item = T>) {
        self.0.get_or_insert_default().extend(values);
    }

    #[inline]
    pub(crate) fn pop_front(&mut self) -> Option<T> {
        self.0.as_mut()?.pop_front()
    }

    /// Before all others.
    pub(crate) fn push_front(&mut self, value: T) {
        self.0.get_or_insert_default().push_front(value);
    }

    pub(crate) fn remove(&mut self, index: usize) -> Option<T> {
        self.0.as_mut()?.remove(index)
    }

    /// Drops the first `count`.
    #[inline]
    pub(crate) fn drop_front(&mut self, count: usize) {
        match &mut self.0 {
            // Many at once are cheaper drained.
            Some(queue) if count > 1 => drop(queue.drain(..count.min(queue.len()))),
            Some(queue) if count == 1 => drop(queue.pop_front()),
            _ => {}
        }
    }

    pub(crate) fn retain(&mut self, keep: impl FnMut(&T) -> bool) {
        if let Some(queue) = &mut self.0 {
            queue.retain(keep);
        }
    }

    #[inline]
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.0.iter().flat_map(|queue| queue.iter())
    }

    #[inline]
    pub(crate) fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut T> {
        self.0.iter_mut().flat_map(|queue| queue.iter_mut())
    }

    /// Where the first is for which `before` does not hold, in a queue in which it
    /// holds for none after that.
    pub(crate) fn partition_point(&self, before: impl FnMut(&T) -> bool) -> usize {
        self.0
            .as_ref()
            .map_or(0, |queue| queue.partition_point(before))
    }

    /// Gives back memory that holds nothing.
    pub(crate) fn release(&mut self) {
        if self.is_empty() {
            self.0 = None;
        }
    }
}

impl<T> Default for Queue<T> {
    fn default() -> Queue<T> {
        Queue::new()
    }
}
