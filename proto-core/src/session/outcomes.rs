//! Outcomes that are kept until they are asked for.

use crate::{event::MessageId, message::Outcome};
use alloc::collections::VecDeque;

/// Ids only rise, and most outcomes come in that order.
#[derive(Debug, Default)]
pub(super) struct Outcomes(VecDeque<Slot>);

#[derive(Debug)]
struct Slot {
    id: MessageId,
    state: State,
}

#[derive(Debug)]
enum State {
    Expected,
    Told(Outcome),
    /// Nobody asks any more.
    Done,
}

impl Outcomes {
    /// Somebody will ask for the outcome of `id`, the latest so far.
    pub(super) fn expect(&mut self, id: MessageId) {
        self.0.push_back(Slot {
            id,
            state: State::Expected,
        });
    }

    /// Says whether somebody waits for it.
    pub(super) fn told(&mut self, id: MessageId, outcome: Outcome) -> bool {
        match self.find(id) {
            Some(Slot {
                state: state @ State::Expected,
                ..
            }) => {
                *state = State::Told(outcome);
                true
            }
            _ => false,
        }
    }

    /// The outcome, if it is known; once.
    pub(super) fn take(&mut self, id: MessageId) -> Option<Outcome> {
        let slot = self.find(id)?;
        let State::Told(_) = slot.state else {
            return None;
        };
        let State::Told(outcome) = core::mem::replace(&mut slot.state, State::Done) else {
            return None;
        };
        self.drop_done();
        Some(outcome)
    }

    pub(super) fn forget(&mut self, id: MessageId) {
        if let Some(slot) = self.find(id) {
            slot.state = State::Done;
            self.drop_done();
        }
    }

    fn find(&mut self, id: MessageId) -> Option<&mut Slot> {
        let index = self.0.partition_point(|slot| slot.id < id);
        self.0.get_mut(index).filter(|slot| slot.id == id)
    }

    fn drop_done(&mut self) {
        while self
            .0
            .front()
            .is_some_and(|slot| matches!(slot.state, State::Done))
        {
            self.0.pop_front();
        }
    }

    /// Gives back memory that holds nothing.
    pub(super) fn release(&mut self) {
        if self.0.is_empty() {
            self.0 = VecDeque::new();
        }
    }
}
