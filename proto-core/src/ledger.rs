//! What is numbered upwards and settled in about that order.

use crate::queue::Queue;

/// So many settled entries may stand between others before they are dropped.
const SETTLED: usize = 32;

/// Entries by rising numbers. Each is settled once; where one takes long, those
/// behind it do not wait for it and do not stay for its sake.
#[derive(Debug)]
pub(crate) struct Ledger<T> {
    /// A settled entry leaves its place empty. The first place never is.
    places: Queue<(u64, Option<T>)>,
    open: usize,
}

impl<T> Ledger<T> {
    pub(crate) const fn new() -> Ledger<T> {
        Ledger {
            places: Queue::new(),
            open: 0,
        }
    }

    /// How many are not settled.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.open
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.open == 0
    }

    /// The lowest number that is not settled.
    #[inline]
    pub(crate) fn first(&self) -> Option<u64> {
        self.places.front().map(|(number, _)| *number)
    }

    /// `number` is above all before it.
    #[inline]
    pub(crate) fn push(&mut self, number: u64, entry: T) {
        self.places.push_back((number, Some(entry)));
        self.open = self.open.saturating_add(1);
    }

    #[inline]
    fn find(&mut self, number: u64) -> Option<&mut Option<T>> {
        // The oldest is the one that is asked for most.
        let index = match self.first()? {
            first if first == number => 0,
            _ => self.places.partition_point(|(found, _)| *found < number),
        };
        let (found, place) = self.places.get_mut(index)?;
        (*found == number).then_some(place)
    }

    pub(crate) fn contains(&self, number: u64) -> bool {
        let index = self.places.partition_point(|(found, _)| *found < number);
        let place = self.places.get(index);
        place.is_some_and(|(found, entry)| *found == number && entry.is_some())
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, number: u64) -> Option<&mut T> {
        self.find(number)?.as_mut()
    }

    /// Settles one.
    #[inline]
    pub(crate) fn remove(&mut self, number: u64) -> Option<T> {
        let entry = self.find(number)?.take()?;
        self.open = self.open.saturating_sub(1);
        if self.open == 0 {
            // The rule where messages are few.
            while self.places.pop_front().is_some() {}
        } else {
            self.tidy();
        }
        Some(entry)
    }

    /// Takes away the last one, if its number is not below `start`.
    pub(crate) fn pop_last(&mut self, start: u64) -> Option<(u64, T)> {
        while self.places.back().is_some_and(|(last, _)| *last >= start) {
            if let Some((number, Some(entry))) = self.places.pop_back() {
                self.open = self.open.saturating_sub(1);
                return Some((number, entry));
            }
        }
        None
    }

    /// Settles those below `end`, from `start` on, that `settle` says are.
    pub(crate) fn remove_where(
        &mut self,
        start: u64,
        end: u64,
        mut settle: impl FnMut(&mut T) -> bool,
    ) {
        let mut index = self.places.partition_point(|(number, _)| *number < start);
        while let Some((_, place)) = self
            .places
            .get_mut(index)
            .filter(|(number, _)| *number < end)
        {
            if place.as_mut().is_some_and(&mut settle) {
                *place = None;
                self.open = self.open.saturating_sub(1);
            }
            index = index.saturating_add(1);
        }
        self.tidy();
    }

    fn tidy(&mut self) {
        while self
            .places
            .front()
            .is_some_and(|(_, entry)| entry.is_none())
        {
            self.places.pop_front();
        }
        let settled = self.places.len().saturating_sub(self.open);
        if settled > self.open.saturating_add(SETTLED) {
            self.places.retain(|(_, entry)| entry.is_some());
        }
    }

    /// Those that are not settled.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        self.places
            .iter()
            .filter_map(|(number, entry)| Some((*number, entry.as_ref()?)))
    }

    /// As [`iter`](Self::iter).
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (u64, &mut T)> {
        self.places
            .iter_mut()
            .filter_map(|(number, entry)| Some((*number, entry.as_mut()?)))
    }

    /// Gives back memory that holds nothing.
    pub(crate) fn release(&mut self) {
        self.places.release();
    }
}
