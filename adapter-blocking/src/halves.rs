//! Owned halves of a connection.

use crate::{Connection, Delivery, Error, Incoming, Interrupter, Permit, RequestError, SendError};
use bytes::Bytes;
use sealpipe_core::{Close, ConnectionError, Message, Outcome, Stats};
use sealpipe_endpoint::Peer;
use std::time::Duration;

/// The sending half.
#[derive(Debug)]
pub struct Sender(pub(crate) Connection);

/// The receiving half.
#[derive(Debug)]
pub struct Receiver(pub(crate) Connection);

impl Sender {
    /// Another sender over the same connection.
    #[must_use]
    pub fn try_clone(&self) -> Sender {
        Sender(self.0.try_clone())
    }

    /// As [`Connection::send`].
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub fn send(&self, message: impl Into<Message>) -> Result<Outcome, SendError> {
        self.0.send(message)
    }

    /// As [`Connection::queue`].
    ///
    /// # Errors
    /// As [`Connection::queue`].
    pub fn queue(&self, message: impl Into<Message>) -> Result<Delivery, SendError> {
        self.0.queue(message)
    }

    /// As [`Connection::try_send`].
    ///
    /// # Errors
    /// As [`Connection::try_send`].
    pub fn try_send(&self, message: impl Into<Message>) -> Result<Delivery, SendError> {
        self.0.try_send(message)
    }

    /// As [`Connection::feed`].
    ///
    /// # Errors
    /// As [`Connection::feed`].
    pub fn feed(&self, message: impl Into<Message>) -> Result<(), SendError> {
        self.0.feed(message)
    }

    /// As [`Connection::flush`].
    ///
    /// # Errors
    /// As [`Connection::flush`].
    pub fn flush(&self) -> Result<(), Error> {
        self.0.flush()
    }

    /// As [`Connection::reserve`].
    ///
    /// # Errors
    /// As [`Connection::reserve`].
    pub fn reserve(&self) -> Result<Permit, Error> {
        self.0.reserve()
    }

    /// As [`Connection::request`].
    ///
    /// # Errors
    /// As [`Connection::request`].
    pub fn request(
        &self,
        payload: impl Into<Bytes>,
        deadline: Duration,
    ) -> Result<Bytes, RequestError> {
        self.0.request(payload, deadline)
    }

    /// As [`Connection::finish`].
    ///
    /// # Errors
    /// As [`Connection::finish`].
    pub fn finish(&self) -> Result<(), Error> {
        self.0.finish()
    }

    /// As [`Connection::close`].
    pub fn close(&self, why: Close) {
        self.0.close(why);
    }

    /// As [`Connection::ping`].
    ///
    /// # Errors
    /// As [`Connection::ping`].
    pub fn ping(&self) -> Result<Duration, Error> {
        self.0.ping()
    }

    /// As [`Connection::set_read_timeout`]: here only for [`closed`](Self::closed).
    pub fn set_read_timeout(&self, timeout: Option<Duration>) {
        self.0.set_read_timeout(timeout);
    }

    /// As [`Connection::read_timeout`].
    pub fn read_timeout(&self) -> Option<Duration> {
        self.0.read_timeout()
    }

    /// As [`Connection::write_timeout`].
    pub fn write_timeout(&self) -> Option<Duration> {
        self.0.write_timeout()
    }

    /// As [`Connection::set_write_timeout`].
    pub fn set_write_timeout(&self, timeout: Option<Duration>) {
        self.0.set_write_timeout(timeout);
    }

    /// As [`Connection::interrupter`].
    pub fn interrupter(&self) -> Interrupter {
        self.0.interrupter()
    }

    /// As [`Connection::is_connected`].
    pub fn is_connected(&self) -> bool {
        self.0.is_connected()
    }

    /// As [`Connection::end`].
    pub fn end(&self) -> Option<ConnectionError> {
        self.0.end()
    }

    /// As [`Connection::closed`].
    ///
    /// # Errors
    /// As [`Connection::closed`].
    pub fn closed(&self) -> Result<ConnectionError, Error> {
        self.0.closed()
    }

    /// As [`Connection::stats`].
    pub fn stats(&self) -> Stats {
        self.0.stats()
    }

    /// As [`Connection::peer`].
    pub fn peer(&self) -> Option<&Peer> {
        self.0.peer()
    }
}

impl Receiver {
    /// As [`Connection::end`].
    pub fn end(&self) -> Option<ConnectionError> {
        self.0.end()
    }

    /// As [`Connection::closed`].
    ///
    /// # Errors
    /// As [`Connection::closed`].
    pub fn closed(&self) -> Result<ConnectionError, Error> {
        self.0.closed()
    }

    /// As [`Connection::recv`].
    ///
    /// # Errors
    /// As [`Connection::recv`].
    pub fn recv(&mut self) -> Result<Option<Incoming>, Error> {
        self.0.recv()
    }

    /// As [`Connection::try_recv`].
    pub fn try_recv(&mut self) -> Option<Result<Option<Incoming>, Error>> {
        self.0.try_recv()
    }

    /// As [`Connection::messages`].
    pub fn messages(&mut self) -> impl Iterator<Item = Result<Incoming, Error>> + '_ {
        self.0.messages()
    }

    /// As [`Connection::set_read_timeout`].
    pub fn set_read_timeout(&self, timeout: Option<Duration>) {
        self.0.set_read_timeout(timeout);
    }

    /// As [`Connection::read_timeout`].
    pub fn read_timeout(&self) -> Option<Duration> {
        self.0.read_timeout()
    }

    /// As [`Connection::interrupter`].
    pub fn interrupter(&self) -> Interrupter {
        self.0.interrupter()
    }

    /// As [`Connection::peer`].
    pub fn peer(&self) -> Option<&Peer> {
        self.0.peer()
    }
}
