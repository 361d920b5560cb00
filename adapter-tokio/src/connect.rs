//! Reaching a server.

use crate::{Connection, Error, clock};
use sealpipe_core::{Config, ConnectionError, Role, wire::Status};
use sealpipe_endpoint::{Access, Backoff, Endpoint};
use std::{sync::Arc, time::Duration};

/// How to connect.
///
/// ```
/// # async fn example() -> Result<(), sealpipe_tokio::Error> {
/// use sealpipe_tokio::{Config, ConnectOptions, Endpoint};
/// use std::time::Duration;
/// let connection = ConnectOptions::new(Config::default())
///     .wait_for_server(true)
///     .timeout(Duration::from_secs(10))
///     .connect(&Endpoint::name("app")?)
///     .await?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct ConnectOptions {
    config: Arc<Config>,
    server: Access,
    timeout: Duration,
    attempts: Option<u32>,
    wait: bool,
}

impl ConnectOptions {
    /// The defaults: the server must run, and be the same user's; a busy one is
    /// tried again for up to 30 s.
    pub fn new(config: impl Into<Arc<Config>>) -> ConnectOptions {
        ConnectOptions {
            config: config.into(),
            server: Access::SameUser,
            timeout: Duration::from_secs(30),
            attempts: None,
            wait: false,
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

    /// Connects: tries, then tries again with jittered back-off where that can
    /// help.
    ///
    /// # Errors
    /// [`Error::Endpoint`] if there is nothing to connect to, or it is another
    /// user's; [`Error::Connection`] if the handshake fails; [`Error::Timeout`]
    /// with what the last attempt met.
    pub async fn connect(&self, endpoint: &Endpoint) -> Result<Connection, Error> {
        let mut last = None;
        match tokio::time::timeout(self.timeout, self.attempt_all(endpoint, &mut last)).await {
            Ok(result) => result,
            Err(_) => Err(Error::Timeout {
                doing: "connecting",
                limit: self.timeout,
                last: last.map(Box::new),
            }),
        }
    }

    async fn attempt_all(
        &self,
        endpoint: &Endpoint,
        last: &mut Option<Error>,
    ) -> Result<Connection, Error> {
        let mut backoff =
            Backoff::new(clock::now().as_nanos() ^ u64::from(std::process::id()).rotate_left(32));
        let mut left = self.attempts.map(|attempts| attempts.max(1));
        loop {
            let error = match self.attempt(endpoint).await {
                Ok(connection) => return Ok(connection),
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
            tokio::time::sleep(backoff.next_delay()).await;
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

    async fn attempt(&self, endpoint: &Endpoint) -> Result<Connection, Error> {
        let connected = sealpipe_endpoint::connect(endpoint, &self.server)?;
        #[cfg(unix)]
        let transport = {
            let stream = tokio::net::UnixStream::from_std(connected.stream)
                .map_err(Error::io("registering the socket with tokio"))?;
            crate::transport::unix(stream)
        };
        #[cfg(windows)]
        let transport = crate::windows::client(connected.stream)?;
        let peer = Arc::new(connected.peer.into());
        Connection::establish(transport, Role::Initiator, self.config.clone(), peer).await
    }
}
