//! Messages on their way out, and what becomes of them.

use crate::{
    SendError,
    calls::{Calls, Limit},
};
use sealpipe_core::{Message, Outcome};
use sealpipe_smol::Smol;
use std::sync::Arc;

/// Room for one message. Dropped, it gives the room back.
#[must_use = "dropped, it gives the room back"]
#[derive(Debug)]
pub struct Permit {
    pub(crate) inner: sealpipe_driver::Permit<Smol>,
    pub(crate) calls: Arc<Calls>,
}

impl Permit {
    /// Queues a message, which cannot find the queue full, and flushes what the
    /// system takes.
    ///
    /// # Errors
    /// [`SendError::NotTaken`], with the message in it, if it is too large or the
    /// connection has ended.
    pub fn send(self, message: impl Into<Message>) -> Result<Delivery, SendError> {
        Ok(Delivery {
            inner: self.inner.send(message)?,
            calls: self.calls,
        })
    }
}

/// A message that was queued. It goes on whether or not its outcome is waited for.
#[derive(Debug)]
pub struct Delivery {
    pub(crate) inner: sealpipe_driver::Delivery<Smol>,
    pub(crate) calls: Arc<Calls>,
}

impl Delivery {
    /// Waits for what the message asks for, as [`Connection::send`](crate::Connection::send)
    /// does.
    ///
    /// # Errors
    /// [`SendError`], which says what became of the message.
    pub fn wait(self) -> Result<Outcome, SendError> {
        let limit = self.calls.writing();
        self.wait_within(limit)
    }

    pub(crate) fn wait_within(mut self, limit: Limit) -> Result<Outcome, SendError> {
        if self.inner.is_sent() {
            return Ok(Outcome::Sent);
        }
        match self.calls.run(limit, &mut self.inner) {
            Ok(outcome) => outcome,
            // Nobody waits any more: better not sent than unknown.
            Err(_) if self.inner.cancel() => Err(SendError::NotSent(None)),
            Err(_) => Err(SendError::Unknown(None)),
        }
    }

    /// Withdraws the message. `true` if that surely kept it from being delivered:
    /// its outcome is then [`SendError::NotSent`]. Otherwise it is too late, and
    /// the peer's program is told that nobody waits for it any more.
    pub fn cancel(&self) -> bool {
        self.inner.cancel()
    }
}
