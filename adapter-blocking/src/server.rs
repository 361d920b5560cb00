//! A server whose handlers block: one thread for itself, one for each client.

use crate::{Error, Incoming, Request, RequestError, SendError};
use bytes::Bytes;
use sealpipe_core::{
    Close, Config, ConnectionError, Message, Outcome, Rejection, Stats,
    service::{PatternError, RemoteError},
    session::Backlog,
};
use sealpipe_driver::{ClientId, Observer, Report, Response, ServerEvent, ServerEvents};
use sealpipe_endpoint::{Access, Address, Endpoint, Peer};
use sealpipe_smol::{Smol, block_on};
use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::Arc,
    thread,
    time::{Duration, SystemTime},
};

/// What a server does with messages and requests. One handler serves all clients,
/// each on a thread of its own, which takes one message or request after the other.
///
/// A handler that panics ends its client's connection and nothing else.
pub trait Handler: Send + Sync + 'static {
    /// A message came. Its sender is told that it was processed when this returns,
    /// or that it was rejected, and why. To answer earlier or later than that, take
    /// the [verdict](Incoming::take_verdict) out of it.
    ///
    /// # Errors
    /// Why it is rejected.
    fn message(&self, client: &Client, message: &mut Incoming) -> Result<(), Rejection> {
        let _ = (client, message);
        let none = "this server takes no messages";
        Err(Rejection::new(Rejection::UNSPECIFIED, none))
    }

    /// A request came. To answer it elsewhere, [take](Request::take) it and return
    /// [`Response::Later`].
    ///
    /// # Errors
    /// What is answered instead of a reply.
    fn request(&self, client: &Client, request: &mut Request) -> Result<Response, RemoteError> {
        let _ = (client, request);
        let none = "this server answers no requests";
        Err(RemoteError::new(RemoteError::NO_HANDLER, none))
    }
}

/// Takes no messages and answers no requests: for a server that only publishes, or
/// [relays](ServerOptions::relay).
impl Handler for () {}

/// For a handler that others reach too.
impl<H: Handler> Handler for Arc<H> {
    fn message(&self, client: &Client, message: &mut Incoming) -> Result<(), Rejection> {
        (**self).message(client, message)
    }

    fn request(&self, client: &Client, request: &mut Request) -> Result<Response, RemoteError> {
        (**self).request(client, request)
    }
}

/// The same as the driver's handler: it blocks the thread that polls it.
struct Blocks<H>(H);

impl<H: Handler> sealpipe_driver::Handler<Smol> for Blocks<H> {
    async fn message(
        &self,
        client: &sealpipe_driver::Client<Smol>,
        message: &mut Incoming,
    ) -> Result<(), Rejection> {
        self.0.message(&Client(client.clone()), message)
    }

    async fn request(
        &self,
        client: &sealpipe_driver::Client<Smol>,
        request: &mut sealpipe_driver::Request<Smol>,
    ) -> Result<Response, RemoteError> {
        let mut taken = Request(request.take());
        let client = Client(client.clone());
        let asked = || self.0.request(&client, &mut taken);
        let response = catch_unwind(AssertUnwindSafe(asked));
        // Back in its place also if the handler panicked: it is answered then.
        *request = taken.0;
        response.unwrap_or_else(|panic| resume_unwind(panic))
    }
}

/// A client of a server; see [`sealpipe_driver::Client`].
#[derive(Debug, Clone)]
pub struct Client(sealpipe_driver::Client<Smol>);

impl Client {
    /// Its name, which no other client of this server ever has.
    pub fn id(&self) -> ClientId {
        self.0.id()
    }

    /// Its server: for handlers that publish, look at other clients, or stop it.
    pub fn server(&self) -> Server {
        Server(self.0.server().clone())
    }

    /// Who it is.
    pub fn peer(&self) -> Option<&Peer> {
        self.0.peer()
    }

    /// Since when it has been connected.
    pub fn since(&self) -> SystemTime {
        self.0.since()
    }

    /// Counters and gauges of its connection.
    pub fn stats(&self) -> Stats {
        self.0.stats()
    }

    /// Whether its connection stands.
    pub fn is_connected(&self) -> bool {
        self.0.is_connected()
    }

    /// Waits until its connection has ended, and says why.
    pub fn closed(&self) -> ConnectionError {
        block_on(self.0.closed())
    }

    /// As [`Connection::send`](crate::Connection::send).
    ///
    /// # Errors
    /// As [`Connection::send`](crate::Connection::send).
    pub fn send(&self, message: impl Into<Message>) -> Result<Outcome, SendError> {
        block_on(self.0.send(message))
    }

    /// As [`Connection::feed`](crate::Connection::feed).
    ///
    /// # Errors
    /// As [`Connection::feed`](crate::Connection::feed).
    pub fn feed(&self, message: impl Into<Message>) -> Result<(), SendError> {
        block_on(self.0.feed(message))
    }

    /// As [`Connection::flush`](crate::Connection::flush).
    ///
    /// # Errors
    /// As [`Connection::flush`](crate::Connection::flush).
    pub fn flush(&self) -> Result<(), Error> {
        block_on(self.0.flush())
    }

    /// As [`Connection::request`](crate::Connection::request).
    ///
    /// # Errors
    /// As [`Connection::request`](crate::Connection::request).
    pub fn request(
        &self,
        payload: impl Into<Bytes>,
        deadline: Duration,
    ) -> Result<Bytes, RequestError> {
        block_on(self.0.request(payload, deadline))
    }

    /// Ends its connection.
    pub fn disconnect(&self, why: Close) {
        block_on(self.0.disconnect(why));
    }
}

/// How a server is to behave; see [`sealpipe_driver::ServerOptions`].
#[derive(Debug)]
#[must_use]
pub struct ServerOptions(sealpipe_driver::ServerOptions<Smol>);

macro_rules! options {
    ($($(#[$doc:meta])* $name:ident($($argument:ident: $type:ty),*);)+) => {
        $($(#[$doc])* pub fn $name(self, $($argument: $type),*) -> Self {
            ServerOptions(self.0.$name($($argument),*))
        })+
    };
}

impl ServerOptions {
    /// The defaults: clients of the same user, 1,024 at once, until it is stopped.
    pub fn new(config: impl Into<Arc<Config>>) -> ServerOptions {
        let options = sealpipe_driver::ServerOptions::new(config);
        ServerOptions(options.spawner(|task| {
            // Without a thread the task is dropped: the client is let go.
            let started = thread::Builder::new()
                .name("sealpipe-server".into())
                .spawn(|| block_on(task));
            if let Err(error) = started {
                tracing::error!(%error, "no thread for a client");
            }
        }))
    }

    options! {
        /// Who may connect. The same user unless set.
        access(access: Access);
        /// How many clients, and so threads, there may be at once; 1,024 unless set.
        /// Who comes when there are so many is told to try again later.
        max_clients(clients: usize);
        /// Stops after so many messages and requests.
        max_messages(messages: u64);
        /// Stops when no client has sent anything for so long.
        idle_timeout(idle: Duration);
        /// How long what is queued may take when the server stops by itself; 5 s
        /// unless set.
        stop_timeout(timeout: Duration);
        /// How many messages a client may send a second in the long run, and `burst`
        /// at once; a client that sends more waits.
        rate_limit(per_second: u32, burst: u32);
        /// How many patterns one client may subscribe to; 64 unless set.
        max_subscriptions(subscriptions: usize);
        /// What may wait for a subscriber that is slow, and what happens to more. Unless
        /// set, 1,024 events or 1 MiB, then the oldest are dropped, and the subscriber is
        /// told how many. [`Backlog::default`] is not that: with it publishing waits for
        /// the slowest.
        backlog(backlog: Backlog);
        /// Sends the events that a client publishes to the others that have
        /// subscribed to them. Unless set, they are rejected.
        relay(relay: bool);
    }

    /// The certificate of a server at a `wss://` URL; see
    /// [`ListenOptions::tls`](crate::ListenOptions::tls).
    #[cfg(feature = "websocket")]
    pub fn tls(self, config: impl Into<Arc<crate::websocket::rustls::ServerConfig>>) -> Self {
        ServerOptions(self.0.tls(config))
    }

    /// The web pages that may connect to a server at a URL; see
    /// [`sealpipe_driver::ListenOptions::origins`].
    #[cfg(feature = "websocket")]
    pub fn origins<S: Into<String>>(self, origins: impl IntoIterator<Item = S>) -> Self {
        ServerOptions(self.0.origins(origins))
    }

    /// Stops when a client sends this message, which no handler sees.
    pub fn stop_message(self, message: impl Into<Bytes>) -> Self {
        ServerOptions(self.0.stop_message(message))
    }

    /// Tells `observer` of everything that happens; see also [`Server::events`].
    pub fn observer(self, observer: impl Observer) -> Self {
        ServerOptions(self.0.observer(observer))
    }

    /// Everything that will happen, from [`Happening::Started`](crate::Happening) on;
    /// see also [`Server::events`].
    pub fn events(&self) -> impl Iterator<Item = ServerEvent> + Send + use<> {
        blocking(self.0.events())
    }

    /// Claims the endpoint and serves clients there.
    ///
    /// # Errors
    /// As [`ListenOptions::bind`](crate::ListenOptions::bind).
    pub fn start(self, endpoint: &Endpoint, handler: impl Handler) -> Result<Server, Error> {
        self.0.start(endpoint, Blocks(handler)).map(Server)
    }

    /// Serves clients of what listens already; see
    /// [`ListenOptions::listen`](crate::ListenOptions::listen).
    ///
    /// # Errors
    /// As [`ListenOptions::listen`](crate::ListenOptions::listen).
    pub fn serve(
        self,
        listener: sealpipe_endpoint::Listener,
        handler: impl Handler,
    ) -> Result<Server, Error> {
        self.0.serve(listener, Blocks(handler)).map(Server)
    }
}

/// A running server: a handle, of which clones are the same server; see
/// [`sealpipe_driver::Server`]. It runs until it is [stopped](Self::stop), also when
/// all handles are dropped.
#[derive(Debug, Clone)]
pub struct Server(sealpipe_driver::Server<Smol>);

impl Server {
    /// Serves clients of the same user at `endpoint`, with every default; see
    /// [`ServerOptions`].
    ///
    /// # Errors
    /// As [`ListenOptions::bind`](crate::ListenOptions::bind).
    pub fn start(
        endpoint: &Endpoint,
        config: impl Into<Arc<Config>>,
        handler: impl Handler,
    ) -> Result<Server, Error> {
        ServerOptions::new(config).start(endpoint, handler)
    }

    /// Where it listens.
    pub fn address(&self) -> &Address {
        self.0.address()
    }

    /// Whether it accepts clients: it has not been stopped.
    pub fn is_running(&self) -> bool {
        self.0.is_running()
    }

    /// The clients that are connected now.
    pub fn clients(&self) -> Vec<Client> {
        self.0.clients().into_iter().map(Client).collect()
    }

    /// The client of that name, if it is connected.
    pub fn client(&self, id: ClientId) -> Option<Client> {
        self.0.client(id).map(Client)
    }

    /// What happens from now on; the iterator blocks, and ends with the server.
    pub fn events(&self) -> impl Iterator<Item = ServerEvent> + Send + use<> {
        blocking(self.0.events())
    }

    /// How its life has been so far.
    pub fn report(&self) -> Report {
        self.0.report()
    }

    /// Begins to stop: no more clients are accepted and no more messages taken;
    /// what is queued is sent, for at most `within`; then connections are closed,
    /// each when its handler has returned: a thread cannot be ended. What was not
    /// taken is reported to its senders as not sent. Called again, it can only make that
    /// time shorter.
    pub fn begin_stop(&self, within: Duration) {
        self.0.begin_stop(within);
    }

    /// [Stops](Self::begin_stop), and waits for the end. Not from a handler, which the
    /// end waits for: that one may [begin](Self::begin_stop) it.
    pub fn stop(&self, within: Duration) -> Report {
        block_on(self.0.stop(within))
    }

    /// Waits until it has stopped, whatever made it stop. Not from a handler, as
    /// [`stop`](Self::stop).
    pub fn stopped(&self) -> Report {
        block_on(self.0.stopped())
    }

    /// Sends an event to every client that has subscribed to a pattern that matches
    /// `topic`, once; says to how many. See [`ServerOptions::backlog`] for those that
    /// are slow. In a handler, events for that handler's own client go out when it
    /// returns, or when with [`Overflow::Block`](crate::Overflow::Block) no more fit into
    /// the backlog.
    ///
    /// # Errors
    /// [`PatternError`] if that is no topic to publish to.
    pub fn publish(&self, topic: &str, payload: impl Into<Bytes>) -> Result<usize, PatternError> {
        block_on(self.0.publish(topic, payload))
    }
}

fn blocking(mut events: ServerEvents) -> impl Iterator<Item = ServerEvent> + Send {
    std::iter::from_fn(move || block_on(events.recv()))
}
