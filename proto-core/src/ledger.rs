//! What is numbered upwards and settled in about that order.

use alloc::{boxed::Box, collections::VecDeque};

/// So many settled entries may stand between others before they are dropped.
const SETTLED: usize = 32;

/// Entries by rising numbers. Each is settled once; where one takes long, those
/// behind it do not wait for it and do not stay for its sake. One pointer once it is
/// [`release`](Self::release)d.
#[derive(Debug)]
pub(crate) struct Ledger<T>(Option<Box<Places<T>>>);

#[derive(Debug)]
struct Places<T> {
    /// A settled entry leaves its place empty. The first place never is.
    places: VecDeque<(u64, Option<T>)>,
    open: usize,
}

impl<T> Ledger<T> {
    pub(crate) const fn new() -> Ledger<T> {
        Ledger(None)
    }

    /// How many are not settled.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |ledger| ledger.open)
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The lowest number that is not settled.
    #[inline]
    pub(crate) fn first(&self) -> Option<u64> {
        self.0.as_ref()?.first()
    }

    /// `number` is above all before it.
    #[inline]
    pub(crate) fn push(&mut self, number: u64, entry: T) {
        match &mut self.0 {
            Some(ledger) => ledger.push(number, entry),
            None => self.push_first(number, entry),
        }
    }

    #[cold]
    fn push_first(&mut self, number: u64, entry: T) {
        self.0.get_or_insert_default().push(number, entry);
    }

    pub(crate) fn contains(&self, number: u64) -> bool {
        self.0
            .as_ref()
            .and_then(|ledger| ledger.places.get(ledger.index_of(number)))
            .is_some_and(|(found, entry)| *found == number && entry.is_some())
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, number: u64) -> Option<&mut T> {
        self.0.as_mut()?.find(number)?.as_mut()
    }

    /// Settles one.
    #[inline]
    pub(crate) fn remove(&mut self, number: u64) -> Option<T> {
        let ledger = self.0.as_mut()?;
        let entry = ledger.find(number)?.take()?;
        ledger.open = ledger.open.saturating_sub(1);
        ledger.tidy();
        Some(entry)
    }

    /// Takes away the last one, if its number is not below `start`.
    pub(crate) fn pop_last(&mut self, start: u64) -> Option<(u64, T)> {
        let ledger = self.0.as_mut()?;
        while ledger.places.back().is_some_and(|(last, _)| *last >= start) {
            if let Some((number, Some(entry))) = ledger.places.pop_back() {
                ledger.open = ledger.open.saturating_sub(1);
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
        let Some(ledger) = &mut self.0 else { return };
        let first = ledger.index_of(start);
        for (_, place) in ledger
            .places
            .iter_mut()
            .skip(first)
            .take_while(|(number, _)| *number < end)
        {
            if place.as_mut().is_some_and(&mut settle) {
                *place = None;
                ledger.open = ledger.open.saturating_sub(1);
            }
        }
        ledger.tidy();
    }

    /// Those that are not settled.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        let places = self.0.iter().flat_map(|ledger| ledger.places.iter());
        places.filter_map(|(number, entry)| Some((*number, entry.as_ref()?)))
    }

    /// As [`iter`](Self::iter).
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (u64, &mut T)> {
        let places = self
            .0
            .iter_mut()
            .flat_map(|ledger| ledger.places.iter_mut());
        places.filter_map(|(number, entry)| Some((*number, entry.as_mut()?)))
    }

    /// Gives back memory that holds nothing.
    pub(crate) fn release(&mut self) {
        if self.is_empty() {
            self.0 = None;
        }
    }
}

impl<T> Places<T> {
    #[inline]
    fn first(&self) -> Option<u64> {
        self.places.front().map(|(number, _)| *number)
    }

    #[inline]
    fn push(&mut self, number: u64, entry: T) {
        self.places.push_back((number, Some(entry)));
        self.open = self.open.saturating_add(1);
    }

    /// Where `number` stands, or would.
    fn index_of(&self, number: u64) -> usize {
        self.places.partition_point(|(found, _)| *found < number)
    }

    #[inline]
    fn find(&mut self, number: u64) -> Option<&mut Option<T>> {
        // The oldest is the one that is asked for most.
        let index = match self.first()? {
            first if first == number => 0,
            _ => self.index_of(number),
        };
        let (found, place) = self.places.get_mut(index)?;
        (*found == number).then_some(place)
    }

    #[inline]
    fn tidy(&mut self) {
        if self.open == 0 {
            // The rule where messages are few.
            return self.places.clear();
        }
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
}

impl<T> Default for Places<T> {
    fn default() -> Places<T> {
        Places {
            places: VecDeque::new(),
            open: 0,
        }
    }
}
