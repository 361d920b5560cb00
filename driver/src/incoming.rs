//! A message that came, and the verdict it may be owed.

use crate::{Request, Runtime, shared::Shared};
use sealpipe_core::{AckLevel, Received, Rejection, session::Place};
use std::{fmt, ops::Deref, sync::Arc};

/// A message that was received.
///
/// Where its sender asked for level *processed*, it is told what the program made
/// of it: [`accept`](Self::accept) or [`reject`](Self::reject), from any task and
/// in any order. A message that is dropped without either is rejected with
/// [`Rejection::DROPPED`].
#[must_use = "a message that is dropped without a verdict counts as rejected, if its sender asked for one"]
#[repr(C)] // The message first: so it is moved in the pieces in which it was written.
pub struct Incoming<R: Runtime> {
    message: Received,
    /// There while a verdict, or an answer, is due.
    owed: Option<Arc<Shared<R>>>,
}

impl<R: Runtime> Incoming<R> {
    /// A message that may be there. It is looked at where it lies, then moved once and whole:
    /// what is read right after it was moved in other pieces makes the processor wait.
    #[inline(always)]
    pub(crate) fn of(message: Option<Received>, shared: &Arc<Shared<R>>) -> Option<Incoming<R>> {
        let owed = owed(message.as_ref()?, shared);
        message.map(|message| Incoming { message, owed })
    }

    /// The program is done with it. If nobody asked, nothing happens.
    pub fn accept(mut self) {
        self.settle(Ok(()));
    }

    /// The program does not take it. If nobody asked, nothing happens.
    pub fn reject(mut self, rejection: Rejection) {
        self.settle(Err(rejection));
    }

    /// The message itself, and what is left to give the verdict by.
    pub fn into_parts(mut self) -> (Received, Verdict<R>) {
        let verdict = self.take_verdict();
        let head = self.message.head();
        (std::mem::replace(&mut self.message, head), verdict)
    }

    /// Takes the verdict out of it, to give it earlier or later; nothing is due of
    /// the message itself then.
    pub fn take_verdict(&mut self) -> Verdict<R> {
        Verdict(Incoming {
            message: self.message.head(),
            owed: self.owed.take(),
        })
    }

    /// The request that this is, to be answered; any other message is given back. Where
    /// calls block, in sealpipe-blocking, `Request::try_from` makes one that does.
    ///
    /// # Errors
    /// The message, if it is not a request.
    pub fn into_request(self) -> Result<Request<R>, Incoming<R>> {
        Request::new(self)
    }

    /// The message, out of a place where it is only borrowed.
    pub(crate) fn take(&mut self) -> Incoming<R> {
        let head = self.message.head();
        Incoming {
            message: std::mem::replace(&mut self.message, head),
            owed: self.owed.take(),
        }
    }

    /// The connection, while a verdict is due.
    pub(crate) fn owed(&self) -> Option<&Arc<Shared<R>>> {
        self.owed.as_ref()
    }

    pub(crate) fn settle(&mut self, verdict: Result<(), Rejection>) {
        let Some(shared) = self.owed.take() else {
            return;
        };
        let seq = self.message.seq;
        // An error means that the connection has ended: the sender has been told
        // that the outcome is unknown, and there is nobody left to tell.
        let wait = shared.with(|session, waiters| {
            let _ = session.settle(seq, verdict, waiters);
            session.connection().has_messages()
        });
        // With more to be received, the verdict goes out with the next ones.
        if !wait {
            shared.flush(R::now());
        }
        shared.leave(&mut Place::default());
    }
}

#[inline]
fn owed<R: Runtime>(message: &Received, shared: &Arc<Shared<R>>) -> Option<Arc<Shared<R>>> {
    let owed = message.ack == AckLevel::Processed || message.kind.is_answered();
    owed.then(|| shared.clone())
}

impl<R: Runtime> Deref for Incoming<R> {
    type Target = Received;

    fn deref(&self) -> &Received {
        &self.message
    }
}

impl<R: Runtime> fmt::Debug for Incoming<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("seq", &self.seq)
            .field("kind", &self.kind)
            .field("bytes", &self.payload.len())
            .field("verdict_due", &self.owed.is_some())
            .finish_non_exhaustive()
    }
}

impl<R: Runtime> Drop for Incoming<R> {
    fn drop(&mut self) {
        if self.owed.is_some() {
            let why = "the program dropped the message";
            self.settle(Err(Rejection::new(Rejection::DROPPED, why)));
        }
    }
}

/// The verdict on a message whose content was taken out of it. Dropped, it
/// rejects.
#[must_use = "dropped, it rejects the message"]
#[derive(Debug)]
pub struct Verdict<R: Runtime>(Incoming<R>);

impl<R: Runtime> Verdict<R> {
    /// The program is done with the message.
    pub fn accept(self) {
        self.0.accept();
    }

    /// The program does not take it.
    pub fn reject(self, rejection: Rejection) {
        self.0.reject(rejection);
    }
}
