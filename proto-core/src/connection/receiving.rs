//! What the program takes, and its verdicts.

use super::{Connection, inbox::Lane};
use crate::{
    error::{ConnectionError, SettleError},
    message::{Received, Rejection},
};

impl Connection {
    /// The next message, in the order in which the peer sent them.
    #[inline]
    pub fn recv(&mut self) -> Option<Received> {
        if self.is_ending() {
            return self.recv_last();
        }
        if self.inbound.credit_is_low {
            self.quiet = false;
        }
        self.inbound.take()
    }

    /// Taking the last messages may be what the end waits for.
    #[cold]
    fn recv_last(&mut self) -> Option<Received> {
        let message = self.inbound.take();
        self.quiet = false;
        self.check_finished();
        message
    }

    /// The next reply or event, past what waits before it. It keeps its credit
    /// until it is [`put_away`](Self::put_away).
    #[inline]
    pub(crate) fn take_from(&mut self, lane: Lane) -> Option<Received> {
        let message = self.inbound.take_from(lane);
        self.quiet = false;
        if self.is_ending() {
            self.check_finished();
        }
        message
    }

    /// What was taken from a lane is not needed any more.
    pub(crate) fn put_away(&mut self, message: &Received) {
        if self.end.is_none() {
            self.inbound.put_away(message);
            self.quiet = false;
            self.check_finished();
        }
    }

    /// What [`take_from`](Self::take_from) would yield.
    pub(crate) fn first_of(&self, lane: Lane) -> Option<&Received> {
        self.inbound.first_of(lane)
    }

    /// Whether a message waits in `lane`.
    #[inline]
    pub(crate) fn has(&self, lane: Lane) -> bool {
        self.inbound.has(lane)
    }

    /// The program's verdict on a message of level *processed* that it has
    /// received: `Ok` accepts it, `Err` rejects it.
    ///
    /// # Errors
    /// [`SettleError`] if none is due, or the connection has ended.
    pub fn settle(&mut self, seq: u64, verdict: Result<(), Rejection>) -> Result<(), SettleError> {
        if let Some(error) = &self.end {
            return Err(SettleError::Closed(ConnectionError::clone(error)));
        }
        self.quiet = false;
        if !self.inbound.settle(seq, verdict) {
            return Err(SettleError::NotWaiting { seq });
        }
        self.check_finished();
        Ok(())
    }

    /// Whether no verdict is due on any message that was received.
    pub fn is_decided(&self) -> bool {
        self.inbound.is_decided()
    }

    /// Whether message `seq` may wait for the program or for its verdict.
    pub(crate) fn is_unsettled(&self, seq: u64) -> bool {
        self.inbound.is_unsettled(seq)
    }
}
