//! How a server is to behave.

use super::{Handler, Observer, Server, ServerEvents, events::Watchers};
use crate::{Error, ListenOptions, Runtime};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use sealpipe_core::{Config, service::Overflow, session::Backlog};
use sealpipe_endpoint::{Access, Endpoint};
use std::{fmt, sync::Arc, time::Duration};

/// Runs a task until it is done.
pub(super) type Spawner = Arc<dyn Fn(BoxFuture<'static, ()>) + Send + Sync>;

pub(super) struct Options {
    pub(super) max_clients: usize,
    pub(super) max_messages: Option<u64>,
    pub(super) idle: Option<Duration>,
    pub(super) stop_message: Option<Bytes>,
    pub(super) stop_timeout: Duration,
    pub(super) rate: Option<(u32, u32)>,
    pub(super) requests: usize,
    pub(super) subscriptions: usize,
    pub(super) backlog: Backlog,
    pub(super) relay: bool,
}

/// How a server is to behave. What one client's connection may take in memory is
/// the configuration's: its windows and queues.
#[must_use]
pub struct ServerOptions<R: Runtime> {
    listen: ListenOptions<R>,
    options: Options,
    watchers: Watchers,
    spawner: Spawner,
}

impl<R: Runtime> ServerOptions<R> {
    /// The defaults: clients of the same user, 1,024 at once, until it is stopped.
    pub fn new(config: impl Into<Arc<Config>>) -> ServerOptions<R> {
        ServerOptions {
            listen: ListenOptions::new(config),
            options: Options {
                max_clients: 1_024,
                max_messages: None,
                idle: None,
                stop_message: None,
                stop_timeout: Duration::from_secs(5),
                rate: None,
                requests: 64,
                subscriptions: 64,
                backlog: Backlog {
                    overflow: Overflow::DropOldest,
                    ..Backlog::default()
                },
                relay: false,
            },
            watchers: Watchers::default(),
            spawner: Arc::new(|task| R::spawn(task)),
        }
    }

    /// Who may connect. The same user unless set.
    pub fn access(mut self, access: Access) -> Self {
        self.listen = self.listen.access(access);
        self
    }

    /// The certificate of a server at a `wss://` URL; see
    /// [`ListenOptions::tls`](crate::ListenOptions::tls).
    #[cfg(feature = "websocket")]
    pub fn tls(mut self, config: impl Into<Arc<crate::websocket::rustls::ServerConfig>>) -> Self {
        self.listen = self.listen.tls(config);
        self
    }

    /// The web pages that may connect to a server at a URL; see
    /// [`ListenOptions::origins`](crate::ListenOptions::origins).
    #[cfg(feature = "websocket")]
    pub fn origins<S: Into<String>>(mut self, origins: impl IntoIterator<Item = S>) -> Self {
        self.listen = self.listen.origins(origins);
        self
    }

    /// How many clients there may be at once; 1,024 unless set. Who comes when there
    /// are so many is told to try again later.
    pub fn max_clients(mut self, clients: usize) -> Self {
        self.options.max_clients = clients;
        self
    }

    /// Stops after so many messages and requests.
    pub fn max_messages(mut self, messages: u64) -> Self {
        self.options.max_messages = Some(messages);
        self
    }

    /// Stops when no client has sent anything for so long: a message, a request, an
    /// event, a subscription.
    pub fn idle_timeout(mut self, idle: Duration) -> Self {
        self.options.idle = Some(idle);
        self
    }

    /// Stops when a client sends this message, which no handler sees.
    pub fn stop_message(mut self, message: impl Into<Bytes>) -> Self {
        self.options.stop_message = Some(message.into());
        self
    }

    /// How long handlers may run on when the server stops by itself; 5 s unless set.
    pub fn stop_timeout(mut self, timeout: Duration) -> Self {
        self.options.stop_timeout = timeout;
        self
    }

    /// How many messages a client may send a second in the long run, and `burst` at
    /// once; a client that sends more waits.
    pub fn rate_limit(mut self, per_second: u32, burst: u32) -> Self {
        self.options.rate = Some((per_second, burst));
        self
    }

    /// How many requests of one client are handled at once, at least one; 64 unless
    /// set. What comes then waits. So many replies of the largest size may be in
    /// memory for each client that does not read them, beside its send queue.
    pub fn max_requests(mut self, requests: usize) -> Self {
        self.options.requests = requests.max(1);
        self
    }

    /// How many patterns one client may subscribe to; 64 unless set.
    pub fn max_subscriptions(mut self, subscriptions: usize) -> Self {
        self.options.subscriptions = subscriptions;
        self
    }

    /// What may wait for a subscriber that is slow, and what happens to more. Unless
    /// set, 1,024 events or 1 MiB, then the oldest are dropped, and the subscriber is
    /// told how many. [`Backlog::default`] is not that: with it publishing waits for the
    /// slowest.
    pub fn backlog(mut self, backlog: Backlog) -> Self {
        self.options.backlog = backlog;
        self
    }

    /// Sends the events that a client publishes to the others that have subscribed
    /// to them. Unless set, they are rejected.
    pub fn relay(mut self, relay: bool) -> Self {
        self.options.relay = relay;
        self
    }

    /// Tells `observer` of everything that happens; see also
    /// [`Server::events`].
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.watchers.observe(observer);
        self
    }

    /// Everything that will happen, from [`Happening::Started`](super::Happening) on;
    /// see also [`Server::events`].
    pub fn events(&self) -> ServerEvents {
        self.watchers.watch()
    }

    /// Runs the server's tasks, one for itself and one for each client, by `spawner`
    /// instead of the runtime's own way. For handlers that block, or an executor of
    /// one's own.
    pub fn spawner(
        mut self,
        spawner: impl Fn(BoxFuture<'static, ()>) + Send + Sync + 'static,
    ) -> Self {
        self.spawner = Arc::new(spawner);
        self
    }

    /// Claims the endpoint and serves clients there.
    ///
    /// # Errors
    /// As [`ListenOptions::bind`].
    ///
    /// # Panics
    /// As [`ListenOptions::bind`].
    pub fn start(self, endpoint: &Endpoint, handler: impl Handler<R>) -> Result<Server<R>, Error> {
        let listener = self.listen.bind(endpoint)?;
        Ok(Server::run(
            listener,
            self.options,
            self.watchers,
            &self.spawner,
            handler,
        ))
    }

    /// Serves clients of what listens already; see [`ListenOptions::listen`].
    ///
    /// # Errors
    /// As [`ListenOptions::listen`].
    ///
    /// # Panics
    /// As [`ListenOptions::bind`].
    pub fn serve(
        self,
        listener: sealpipe_endpoint::Listener,
        handler: impl Handler<R>,
    ) -> Result<Server<R>, Error> {
        let listener = self.listen.listen(listener)?;
        Ok(Server::run(
            listener,
            self.options,
            self.watchers,
            &self.spawner,
            handler,
        ))
    }
}

impl<R: Runtime> fmt::Debug for ServerOptions<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerOptions")
            .field("listen", &self.listen)
            .field("max_clients", &self.options.max_clients)
            .finish_non_exhaustive()
    }
}
