//! Requests of this side's that wait for their replies.
//!
//! A request is a message of level *processed*, so that it keeps its credit until
//! its handler is done, can be withdrawn until then, and has an outcome where no
//! reply comes. Its correlation id is the number of its [`MessageId`].

use crate::{
    event::MessageId,
    ledger::Ledger,
    message::{Outcome, Received},
    time::Time,
};

/// What came of a request.
#[derive(Debug)]
pub enum Answer {
    /// The reply, or the error that was sent instead: see its kind.
    Replied(Received),
    /// None came, and this is what became of the request. [`Outcome::Processed`]:
    /// the peer's program is done with it and did not reply in time.
    Failed(Outcome),
}

#[derive(Debug)]
enum State {
    Sent,
    /// The verdict has come before the reply, which may have to wait for credit.
    Accepted,
    Done(Answer),
}

#[derive(Debug)]
struct Request {
    deadline: Time,
    state: State,
}

#[derive(Debug)]
pub(super) struct Requests {
    open: Ledger<Request>,
    /// No accepted request has its deadline before this.
    earliest: Time,
}

impl Requests {
    pub(super) const fn new() -> Requests {
        Requests {
            open: Ledger::new(),
            earliest: Time::NEVER,
        }
    }

    /// Request `id`, the latest so far, was queued.
    pub(super) fn sent(&mut self, id: MessageId, deadline: Time) {
        let state = State::Sent;
        self.open.push(id.0.get(), Request { deadline, state });
    }

    /// A reply came. Gives it back if nobody waits for it; else says for whom it
    /// is.
    pub(super) fn replied(&mut self, reply: Received) -> Result<MessageId, Received> {
        let id = reply.correlation().and_then(core::num::NonZeroU64::new);
        let Some(id) = id.map(MessageId) else {
            return Err(reply);
        };
        match self.open.get_mut(id.0.get()) {
            Some(Request { state, .. }) if !matches!(state, State::Done(_)) => {
                *state = State::Done(Answer::Replied(reply));
                Ok(id)
            }
            _ => Err(reply),
        }
    }

    /// A message has its outcome. Gives it back if it is not a request's; else
    /// says whether the request is done by that.
    pub(super) fn told(&mut self, id: MessageId, outcome: Outcome) -> Result<bool, Outcome> {
        let Some(request) = self.open.get_mut(id.0.get()) else {
            return Err(outcome);
        };
        match (&request.state, outcome) {
            (State::Done(_), _) => Ok(false),
            (_, Outcome::Processed) => {
                request.state = State::Accepted;
                self.earliest = self.earliest.min(request.deadline);
                Ok(false)
            }
            (_, outcome) => {
                request.state = State::Done(Answer::Failed(outcome));
                Ok(true)
            }
        }
    }

    /// When [`expire`](Self::expire) must be called at the latest.
    pub(super) fn next_timeout(&self) -> Time {
        self.earliest
    }

    /// Gives up those that were accepted and have reached their deadline; with
    /// [`Time::NEVER`], all that were accepted.
    pub(super) fn expire(&mut self, now: Time, mut done: impl FnMut(MessageId)) {
        if self.earliest > now {
            return;
        }
        self.earliest = Time::NEVER;
        for (number, request) in self.open.iter_mut() {
            if !matches!(request.state, State::Accepted) {
                continue;
            }
            if request.deadline > now {
                self.earliest = self.earliest.min(request.deadline);
                continue;
            }
            request.state = State::Done(Answer::Failed(Outcome::Processed));
            if let Some(number) = core::num::NonZeroU64::new(number) {
                done(MessageId(number));
            }
        }
    }

    /// What came of a request, once that is known; once.
    pub(super) fn take(&mut self, id: MessageId) -> Option<Answer> {
        match self.open.get_mut(id.0.get())?.state {
            State::Done(_) => self.forget(id),
            State::Sent | State::Accepted => None,
        }
    }

    /// Nobody waits any more. What had come of it, if anything.
    pub(super) fn forget(&mut self, id: MessageId) -> Option<Answer> {
        match self.open.remove(id.0.get())?.state {
            State::Done(answer) => Some(answer),
            State::Sent | State::Accepted => None,
        }
    }

    /// Gives back memory that holds nothing.
    pub(super) fn release(&mut self) {
        self.open.release();
    }
}
