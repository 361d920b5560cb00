//! Reaching a server.

use crate::{
    Connection, Error, LocalHalves, Runtime,
    background::Dial,
    opening::Opening,
    timeout::{sleep, timeout},
    transport::Transport,
};
use sealpipe_core::{Config, ConnectionError, Role, wire::Status};
use sealpipe_endpoint::{Access, Backoff, Endpoint, Peer};
use std::{
    future::Future,
    marker::PhantomData,
    sync::{Arc, OnceLock},
    time::Duration,
};

/// How to connect.
///
/// ```
/// # use sealpipe_core::Config;
/// # use sealpipe_driver::{ConnectOptions, Error, Runtime};
/// # use sealpipe_endpoint::Endpoint;
/// # use std::time::Duration;
/// # async fn example<R: Runtime>() -> Result<(), Error> {
/// let connection = ConnectOptions::<R>::new(Config::default())
///     .wait_for_server(true)
///     .timeout(Duration::from_secs(10))
///     .connect(&Endpoint::name("app")?)
///     .await?;
/// # Ok(()) }
/// ```
/// With an adapter's `ConnectOptions` the runtime goes without saying.
#[derive(Debug, Clone)]
#[must_use]
pub struct ConnectOptions<R> {
    config: Arc<Config>,
    server: Access,
    timeout: Duration,
    attempts: Option<u32>,
    wait: bool,
    #[cfg(feature = "websocket")]
    tls: Option<Arc<crate::websocket::rustls::ClientConfig>>,
    runtime: PhantomData<fn() -> R>,
}

impl<R: Runtime> ConnectOptions<R> {
    /// The defaults: the server must run, and be the same user's; a busy one is
    /// tried again for up to 30 s.
    pub fn new(config: impl Into<Arc<Config>>) -> ConnectOptions<R> {
        ConnectOptions {
            config: config.into(),
            server: Access::SameUser,
            timeout: Duration::from_secs(30),
            attempts: None,
            wait: false,
            #[cfg(feature = "websocket")]
            tls: None,
            runtime: PhantomData,
        }
    }

    /// Whose server is acceptable. The same user's unless set.
    pub fn server(mut self, access: Access) -> Self {
        self.server = access;
        self
    }

    /// How long connecting may take in all, with every attempt and the handshake.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How many attempts to make at most. As many as the time allows unless set;
    /// 0 is taken as 1.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = Some(attempts);
        self
    }

    /// Whether to wait for a server that is not there yet.
    pub fn wait_for_server(mut self, wait: bool) -> Self {
        self.wait = wait;
        self
    }

    /// Whom a client of a `wss://` URL trusts, and how it shows who it is itself; those
    /// that the system trusts, and not at all, unless set.
    #[cfg(feature = "websocket")]
    pub fn tls(mut self, config: impl Into<Arc<crate::websocket::rustls::ClientConfig>>) -> Self {
        self.tls = Some(config.into());
        self
    }

    pub(crate) fn send_timeout(&self) -> Duration {
        self.config.send_timeout()
    }

    /// Connects: tries, then tries again with jittered back-off where that can
    /// help.
    ///
    /// # Errors
    /// [`Error::Endpoint`] if there is nothing to connect to, or it is another
    /// user's; [`Error::Connection`] if the handshake fails; [`Error::Timeout`]
    /// with what the last attempt met. To a URL, with the feature `websocket`,
    /// `Error::WebSocket` too.
    pub async fn connect(&self, endpoint: &Endpoint) -> Result<Connection<R>, Error> {
        self.try_for_long(|| self.attempt(endpoint)).await
    }

    /// Connects likewise, without a handshake: what goes over the stream is up to the
    /// program. The configuration has no say.
    ///
    /// # Errors
    /// As [`connect`](Self::connect), but for what the handshake would find.
    pub async fn open(&self, endpoint: &Endpoint) -> Result<R::LocalStream, Error> {
        let open = || async { self.reach(endpoint).map(R::LocalStream::from) };
        self.try_for_long(open).await
    }

    async fn try_for_long<T, F: Future<Output = Result<T, Error>>>(
        &self,
        attempt: impl Fn() -> F,
    ) -> Result<T, Error> {
        let mut last = None;
        match timeout::<R, _>(self.timeout, self.attempt_all(attempt, &mut last)).await {
            Ok(result) => result,
            Err(_) => Err(Error::Timeout {
                doing: "connecting",
                limit: self.timeout,
                last: last.map(Box::new),
            }),
        }
    }

    async fn attempt_all<T, F: Future<Output = Result<T, Error>>>(
        &self,
        attempt: impl Fn() -> F,
        last: &mut Option<Error>,
    ) -> Result<T, Error> {
        let mut backoff =
            Backoff::new(R::now().as_nanos() ^ u64::from(std::process::id()).rotate_left(32));
        let mut left = self.attempts.map(|attempts| attempts.max(1));
        loop {
            let error = match attempt().await {
                Ok(connected) => return Ok(connected),
                Err(error) => error,
            };
            if let Some(left) = &mut left {
                *left -= 1;
            }
            if left == Some(0) || !self.is_worth_another(&error) {
                return Err(error);
            }
            tracing::debug!(%error, "connecting again");
            *last = Some(error);
            sleep::<R>(backoff.next_delay()).await;
        }
    }

    fn is_worth_another(&self, error: &Error) -> bool {
        match error {
            Error::Endpoint(error) => error.is_retryable(self.wait),
            Error::Connection(ConnectionError::Refused(Status::Busy)) => true,
            // A server that ends, or begins: it took the stream and let it go.
            Error::Connection(ConnectionError::Refused(Status::ShuttingDown)) => self.wait,
            Error::Connection(ConnectionError::Lost(sealpipe_core::Lost::Silent)) => self.wait,
            _ => false,
        }
    }

    async fn attempt(&self, endpoint: &Endpoint) -> Result<Connection<R>, Error> {
        let (transport, peer) = self.transport(endpoint).await?;
        let dial = self.config.resumption().then(|| self.dial(endpoint));
        let (config, peer) = (self.config.clone(), Arc::new(peer));
        let opening = Opening::begin(transport, Role::Initiator, config, peer, dial)?;
        opening.alone().await
    }

    /// Reaches the same server again, whose identity is checked as before.
    fn dial(&self, endpoint: &Endpoint) -> Dial<R> {
        let (options, endpoint) = (self.clone(), endpoint.clone());
        Box::new(move || {
            let (options, endpoint) = (options.clone(), endpoint.clone());
            Box::pin(async move { Ok(options.transport(&endpoint).await?.0) })
        })
    }

    /// A stream to the server, and who that is, where the system says so.
    async fn transport(
        &self,
        endpoint: &Endpoint,
    ) -> Result<(Transport<R>, OnceLock<Peer>), Error> {
        #[cfg(feature = "websocket")]
        if let Some(url) = endpoint.as_url() {
            let (tls, config) = (self.tls.as_ref(), &self.config);
            let halves = crate::websocket::connect::<R>(url, &self.server, tls, config).await?;
            return Ok((halves.into_transport(), OnceLock::new()));
        }
        let LocalHalves {
            read, write, peer, ..
        } = self.reach(endpoint)?;
        Ok((Transport::native((read, write)), peer))
    }

    fn reach(&self, endpoint: &Endpoint) -> Result<LocalHalves<R>, Error> {
        let connected = sealpipe_endpoint::connect(endpoint, &self.server)?;
        let halves = R::stream(connected.stream).map_err(Error::io("registering the stream"))?;
        Ok(LocalHalves::new(halves, connected.peer))
    }
}
