//! Taking connections.

use crate::{Connection, Error, Interrupter, calls::Calls};
use sealpipe_core::Config;
use sealpipe_endpoint::{Access, Address, Endpoint};
use sealpipe_smol::Smol;
use std::{sync::Arc, time::Duration};

/// How to listen; as [`sealpipe_driver::ListenOptions`].
#[derive(Debug, Clone)]
#[must_use]
pub struct ListenOptions(pub(crate) sealpipe_driver::ListenOptions<Smol>);

impl ListenOptions {
    /// The defaults: clients of the same user, 512 handshakes at once.
    pub fn new(config: impl Into<Arc<Config>>) -> ListenOptions {
        ListenOptions(sealpipe_driver::ListenOptions::new(config))
    }

    /// Who may connect. The same user unless set.
    pub fn access(self, access: Access) -> Self {
        ListenOptions(self.0.access(access))
    }

    /// How many handshakes may run at once. Who comes when all are taken is told
    /// to try again later.
    pub fn max_handshakes(self, handshakes: usize) -> Self {
        ListenOptions(self.0.max_handshakes(handshakes))
    }

    /// The certificate of a listener at a `wss://` URL, and whom it asks for one.
    #[cfg(feature = "websocket")]
    pub fn tls(self, config: impl Into<Arc<crate::websocket::rustls::ServerConfig>>) -> Self {
        ListenOptions(self.0.tls(config))
    }

    /// The web pages that may connect to a listener at a URL, each by its origin; see
    /// [`sealpipe_driver::ListenOptions::origins`].
    #[cfg(feature = "websocket")]
    pub fn origins<S: Into<String>>(self, origins: impl IntoIterator<Item = S>) -> Self {
        ListenOptions(self.0.origins(origins))
    }

    /// Claims the endpoint and listens.
    ///
    /// # Errors
    /// [`Error::Endpoint`] if the address is in use (it says by whom), or cannot
    /// be had; [`Error::Io`] if the system does not take the socket or pipe.
    pub fn bind(&self, endpoint: &Endpoint) -> Result<Listener, Error> {
        self.0.bind(endpoint).map(Listener::new)
    }

    /// Accepts on what listens already: a claim made with
    /// [`sealpipe_endpoint::ListenOptions`], or on Unix a socket that a service
    /// manager passed: `sealpipe_endpoint::activated`, or `Listener::adopt` there.
    ///
    /// # Errors
    /// [`Error::Io`] if the system does not take the socket or pipe.
    pub fn listen(&self, listener: sealpipe_endpoint::Listener) -> Result<Listener, Error> {
        self.0.listen(listener).map(Listener::new)
    }
}

/// A claimed endpoint. Dropped, it gives the endpoint back; connections that
/// were accepted live on. Handshakes run side by side in the background, so that a
/// silent client holds up nobody.
#[derive(Debug)]
#[must_use = "dropped, it gives the endpoint back"]
pub struct Listener {
    inner: sealpipe_driver::Listener<Smol>,
    calls: Arc<Calls>,
}

impl Listener {
    fn new(inner: sealpipe_driver::Listener<Smol>) -> Listener {
        Listener {
            inner,
            calls: Arc::default(),
        }
    }

    /// Claims the endpoint and listens to clients of the same user. With several
    /// keys in `config`, clients may use any of them.
    ///
    /// # Errors
    /// As [`ListenOptions::bind`].
    pub fn bind(endpoint: &Endpoint, config: impl Into<Arc<Config>>) -> Result<Listener, Error> {
        ListenOptions::new(config).bind(endpoint)
    }

    /// The next connection whose handshake is done.
    ///
    /// # Errors
    /// [`Error::ListenerClosed`] if listening became impossible; what failed was
    /// logged. [`Error::Timeout`] and [`Error::Interrupted`] as for
    /// [`Connection::recv`].
    pub fn accept(&mut self) -> Result<Connection, Error> {
        let limit = self.calls.reading();
        self.calls
            .run(limit, self.inner.accept())
            .map_err(|ended| ended.error("accepting"))?
            .map(Connection::new)
    }

    /// The connections, until listening becomes impossible, a call takes longer
    /// than the timeout, or another thread ends it.
    pub fn incoming(&mut self) -> Incoming<'_> {
        Incoming(self)
    }

    /// How long [`accept`](Self::accept) waits; `None`, for as long as it takes,
    /// unless set.
    pub fn set_timeout(&self, timeout: Option<Duration>) {
        self.calls.set_read_timeout(timeout);
    }

    /// How long [`accept`](Self::accept) waits.
    pub fn timeout(&self) -> Option<Duration> {
        self.calls.read_timeout()
    }

    /// Ends [`accept`](Self::accept) from another thread.
    pub fn interrupter(&self) -> Interrupter {
        Interrupter(self.calls.clone())
    }

    /// Where it listens.
    pub fn address(&self) -> &Address {
        self.inner.address()
    }
}

/// The connections of a [`Listener`].
#[derive(Debug)]
pub struct Incoming<'a>(&'a mut Listener);

impl Iterator for Incoming<'_> {
    type Item = Connection;

    fn next(&mut self) -> Option<Connection> {
        self.0.accept().ok()
    }
}
