//! A client that connects again, for plain threads.

use crate::{
    ConnectOptions, Connection, Error, EventError, Incoming, Interrupter, RequestError, SendError,
    SubscribeError,
    calls::{Calls, Limit},
    request::interrupted,
};
use bytes::Bytes;
use sealpipe_core::{Message, Outcome, session::Backlog};
use sealpipe_driver::{Change, Update};
use sealpipe_endpoint::Endpoint;
use sealpipe_smol::Smol;
use std::{future::Future, sync::Arc, time::Duration};

/// A client that connects when it is first used, and again when it is used after a
/// loss or a disconnect; see [`sealpipe_driver::ReconnectingClient`]. Clones share
/// the connection, and have time limits and an [`Interrupter`] of their own.
#[derive(Debug)]
pub struct ReconnectingClient {
    inner: sealpipe_driver::ReconnectingClient<Smol>,
    calls: Arc<Calls>,
}

impl Clone for ReconnectingClient {
    /// With the same time limits to begin with.
    fn clone(&self) -> ReconnectingClient {
        ReconnectingClient {
            inner: self.inner.clone(),
            calls: Arc::new(self.calls.again()),
        }
    }
}

impl ReconnectingClient {
    /// A client of the server at `endpoint`; `options` say how long each connecting
    /// may take and how often it is tried. Nothing happens yet.
    pub fn new(endpoint: Endpoint, options: ConnectOptions) -> ReconnectingClient {
        ReconnectingClient {
            inner: sealpipe_driver::ReconnectingClient::new(endpoint, options.0),
            calls: Arc::default(),
        }
    }

    /// The same, telling `observe` whenever it is connected or has lost that. To be
    /// called before the client is used: later it changes nothing.
    #[must_use]
    pub fn with_observer(self, observe: impl Fn(&Change) + Send + Sync + 'static) -> Self {
        ReconnectingClient {
            inner: self.inner.with_observer(observe),
            calls: self.calls,
        }
    }

    /// How long [`recv`](Self::recv) waits, connecting included; `None`, for as long as
    /// it takes, unless set.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) {
        self.calls.set_read_timeout(timeout);
    }

    /// How long the other calls wait at most, connecting included; `None`, the default,
    /// for as long as the options and the configuration say.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) {
        self.calls.set_write_timeout(timeout);
    }

    /// How long [`recv`](Self::recv) waits.
    pub fn read_timeout(&self) -> Option<Duration> {
        self.calls.read_timeout()
    }

    /// How long the other calls wait.
    pub fn write_timeout(&self) -> Option<Duration> {
        self.calls.write_timeout()
    }

    /// Ends this handle's calls from another thread.
    pub fn interrupter(&self) -> Interrupter {
        Interrupter(self.calls.clone())
    }

    /// The connection that stands, or a new one: a handle of its own, with this one's time
    /// limits.
    ///
    /// # Errors
    /// As [`ConnectOptions::connect`]; [`Error::Timeout`] after the write timeout,
    /// [`Error::Interrupted`] if another thread ended the call.
    pub fn connection(&self) -> Result<Connection, Error> {
        let limit = self.calls.writing();
        let inner = self.run("connecting", limit, self.inner.connection())?;
        Ok(Connection {
            inner,
            calls: Arc::new(self.calls.again()),
        })
    }

    /// As [`Connection::send`](crate::Connection::send); what surely was not sent is
    /// sent again over the next connection.
    ///
    /// # Errors
    /// As [`Connection::send`](crate::Connection::send);
    /// [`SendError::NotConnected`] if there is no server; [`SendError::Unknown`] after
    /// the write timeout, or if another thread ended the call.
    pub fn send(&self, message: impl Into<Message>) -> Result<Outcome, SendError> {
        let sent = self
            .calls
            .run(self.calls.writing(), self.inner.send(message));
        sent.unwrap_or(Err(SendError::Unknown(None)))
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
        let limit = self.calls.writing();
        let asked = self.calls.run(limit, self.inner.request(payload, deadline));
        asked.unwrap_or_else(|_| Err(interrupted()))
    }

    /// The next message of the server's, over whichever connection it comes.
    ///
    /// # Errors
    /// As [`ConnectOptions::connect`], if there is no server any more. [`Error::Timeout`]
    /// after the read timeout, [`Error::Interrupted`] if another thread ended the call:
    /// nothing is lost, and the next call goes on.
    pub fn recv(&self) -> Result<Incoming, Error> {
        self.run("receiving", self.calls.reading(), self.inner.recv())
    }

    /// Asks for the events that match `pattern`, on every connection anew.
    ///
    /// # Errors
    /// As [`Connection::subscribe`](crate::Connection::subscribe).
    pub fn subscribe(&self, pattern: &str) -> Result<LastingSubscription, SubscribeError> {
        self.subscribe_with(pattern, Backlog::default())
    }

    /// The same with a backlog of one's own.
    ///
    /// # Errors
    /// As [`Connection::subscribe`](crate::Connection::subscribe).
    pub fn subscribe_with(
        &self,
        pattern: &str,
        backlog: Backlog,
    ) -> Result<LastingSubscription, SubscribeError> {
        let limit = self.calls.writing();
        match self
            .calls
            .run(limit, self.inner.subscribe_with(pattern, backlog))
        {
            Ok(inner) => Ok(LastingSubscription {
                inner: inner?,
                calls: Arc::new(self.calls.again()),
            }),
            Err(_) => Err(interrupted().into()),
        }
    }

    /// Ends the connection, if there is one, when all that was sent has arrived. The
    /// next use makes another one.
    ///
    /// # Errors
    /// As [`Connection::finish`](crate::Connection::finish), but a call that ends early
    /// lets go of the connection.
    pub fn finish(&self) -> Result<(), Error> {
        let limit = self.calls.writing();
        self.run("finishing the connection", limit, self.inner.finish())
    }

    fn run<T>(
        &self,
        doing: &'static str,
        limit: Limit,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let done = self.calls.run(limit, call);
        done.unwrap_or_else(|ended| Err(ended.error(doing)))
    }
}

/// A subscription that outlasts connections.
#[derive(Debug)]
#[must_use = "dropped, it takes the subscription back"]
pub struct LastingSubscription {
    inner: sealpipe_driver::LastingSubscription<Smol>,
    calls: Arc<Calls>,
}

impl LastingSubscription {
    /// What comes next. Waits for as long as it takes, or the handle's read timeout.
    ///
    /// # Errors
    /// [`EventError::Ended`] if the subscriber was too slow, the server does not agree
    /// any more, or there is no server any more; [`EventError::Call`] after the read
    /// timeout, or if another thread ended the call: nothing is lost, and the next call
    /// goes on.
    pub fn recv(&mut self) -> Result<Update, EventError> {
        let limit = self.calls.reading();
        match self.calls.run(limit, self.inner.recv()) {
            Ok(update) => Ok(update?),
            Err(ended) => Err(EventError::Call(ended.error("waiting for an event"))),
        }
    }

    /// What was subscribed to.
    pub fn pattern(&self) -> &str {
        self.inner.pattern()
    }

    /// How long [`recv`](Self::recv) waits; `None`, for as long as it takes, unless the
    /// client's handle had a read timeout.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) {
        self.calls.set_read_timeout(timeout);
    }

    /// How long [`recv`](Self::recv) waits.
    pub fn read_timeout(&self) -> Option<Duration> {
        self.calls.read_timeout()
    }

    /// Ends the calls from another thread.
    pub fn interrupter(&self) -> Interrupter {
        Interrupter(self.calls.clone())
    }
}
