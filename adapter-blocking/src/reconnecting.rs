//! A client that connects again, for plain threads.

use crate::{ConnectOptions, Error, Incoming, RequestError, SendError, SubscribeError};
use bytes::Bytes;
use sealpipe_core::{Message, Outcome, session::Backlog};
use sealpipe_driver::{Change, Update};
use sealpipe_endpoint::Endpoint;
use sealpipe_smol::{Smol, block_on};
use std::time::Duration;

/// A client that connects when it is first used, and again when it is used after a
/// loss or a disconnect; see [`sealpipe_driver::ReconnectingClient`]. Clones share
/// the connection.
#[derive(Debug, Clone)]
pub struct ReconnectingClient(sealpipe_driver::ReconnectingClient<Smol>);

impl ReconnectingClient {
    /// A client of the server at `endpoint`; `options` say how long each connecting
    /// may take and how often it is tried. Nothing happens yet.
    pub fn new(endpoint: Endpoint, options: ConnectOptions) -> ReconnectingClient {
        let inner = sealpipe_driver::ReconnectingClient::new(endpoint, options.0);
        ReconnectingClient(inner)
    }

    /// The same, telling `observe` whenever it is connected or has lost that. To be
    /// called before the client is used: later it changes nothing.
    #[must_use]
    pub fn with_observer(self, observe: impl Fn(&Change) + Send + Sync + 'static) -> Self {
        ReconnectingClient(self.0.with_observer(observe))
    }

    /// As [`Connection::send`](crate::Connection::send); what surely was not sent is
    /// sent again over the next connection.
    ///
    /// # Errors
    /// As [`Connection::send`](crate::Connection::send);
    /// [`SendError::NotConnected`] if there is no server.
    pub fn send(&self, message: impl Into<Message>) -> Result<Outcome, SendError> {
        block_on(self.0.send(message))
    }

    /// As [`Connection::request`](crate::Connection::request); what surely was not
    /// sent is sent again over the next connection.
    ///
    /// # Errors
    /// As [`Connection::request`](crate::Connection::request);
    /// [`SendError::NotConnected`] if there is no server.
    pub fn request(
        &self,
        payload: impl Into<Bytes>,
        deadline: Duration,
    ) -> Result<Bytes, RequestError> {
        block_on(self.0.request(payload, deadline))
    }

    /// The next message of the server's, over whichever connection it comes.
    ///
    /// # Errors
    /// As [`ConnectOptions::connect`], if there is no server any more.
    pub fn recv(&self) -> Result<Incoming, Error> {
        block_on(self.0.recv())
    }

    /// Asks for the events that match `pattern`, on every connection anew.
    ///
    /// # Errors
    /// As [`Connection::subscribe`](crate::Connection::subscribe).
    pub fn subscribe(
        &self,
        pattern: &str,
        backlog: Backlog,
    ) -> Result<LastingSubscription, SubscribeError> {
        block_on(self.0.subscribe(pattern, backlog)).map(LastingSubscription)
    }

    /// Ends the connection, if there is one, when all that was sent has arrived. The
    /// next use makes another one.
    ///
    /// # Errors
    /// As [`Connection::finish`](crate::Connection::finish).
    pub fn finish(&self) -> Result<(), Error> {
        block_on(self.0.finish())
    }
}

/// A subscription that outlasts connections.
#[derive(Debug)]
pub struct LastingSubscription(sealpipe_driver::LastingSubscription<Smol>);

impl LastingSubscription {
    /// What comes next.
    ///
    /// # Errors
    /// [`SubscribeError`] if the subscriber was too slow, the server does not agree
    /// any more, or there is no server any more.
    pub fn recv(&mut self) -> Result<Update, SubscribeError> {
        block_on(self.0.recv())
    }
}
