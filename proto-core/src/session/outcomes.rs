//! Outcomes that are kept until they are asked for.

use crate::{event::MessageId, ledger::Ledger, message::Outcome};

/// `None` until the outcome is known. What nobody asks for any more is not here.
#[derive(Debug)]
pub(super) struct Outcomes(Ledger<Option<Outcome>>);

impl Outcomes {
    pub(super) const fn new() -> Outcomes {
        Outcomes(Ledger::new())
    }

    /// Somebody will ask for the outcome of `id`, the latest so far.
    pub(super) fn expect(&mut self, id: MessageId) {
        self.0.push(id.0.get(), None);
    }

    /// Says whether somebody waits for it.
    pub(super) fn told(&mut self, id: MessageId, outcome: Outcome) -> bool {
        match self.0.get_mut(id.0.get()) {
            Some(place) => {
                *place = Some(outcome);
                true
            }
            None => false,
        }
    }

    /// The outcome, if it is known; once.
    pub(super) fn take(&mut self, id: MessageId) -> Option<Outcome> {
        let id = id.0.get();
        self.0.get_mut(id)?.as_ref()?;
        self.0.remove(id)?
    }

    pub(super) fn forget(&mut self, id: MessageId) {
        self.0.remove(id.0.get());
    }

    /// Gives back memory that holds nothing.
    pub(super) fn release(&mut self) {
        self.0.release();
    }
}
