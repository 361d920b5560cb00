//! What all adapters have in common, as the suite sees it: each behaviour is written
//! once over these traits. What is a future here blocks a thread in the blocking
//! adapter; a future that is dropped is there a call that another thread ends.

use crate::Raw;
use sealpipe_driver::{
    Error, Incoming, RequestError, Runtime, SendError,
    vocabulary::{
        Access, Address, Close, Config, ConnectionError, Endpoint, Message, Outcome, Peer, Role,
        Stats, rustls,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use std::{fmt::Debug, future::Future, sync::Arc, time::Duration};

/// An adapter.
pub trait Adapter: Copy + Debug + Send + Sync + 'static {
    /// What it is called, for a process that is told so.
    const NAME: &'static str;
    /// What its messages belong to.
    type Runtime: Runtime;
    /// Its connection.
    type Connection: Connection<Runtime = Self::Runtime>;
    /// Its listener.
    type Listener: Listener<Connection = Self::Connection>;

    /// Claims an endpoint.
    ///
    /// # Errors
    /// As `Listener::bind`.
    fn bind(endpoint: &Endpoint, config: impl Into<Arc<Config>>) -> Result<Self::Listener, Error>;

    /// Claims an endpoint with options: for the URLs of WebSockets.
    ///
    /// # Errors
    /// As `ListenOptions::bind`.
    fn bind_with(
        endpoint: &Endpoint,
        access: Access,
        tls: Option<Arc<rustls::ServerConfig>>,
        config: impl Into<Arc<Config>>,
    ) -> Result<Self::Listener, Error>;

    /// Connects with options: to the URLs of WebSockets.
    ///
    /// # Errors
    /// As `ConnectOptions::connect`.
    fn connect_with(
        endpoint: &Endpoint,
        server: Access,
        tls: Option<Arc<rustls::ClientConfig>>,
        config: impl Into<Arc<Config>> + Send,
    ) -> impl Future<Output = Result<Self::Connection, Error>> + Send;

    /// Accepts on what listens already, with so many handshakes at once at most.
    ///
    /// # Errors
    /// As `ListenOptions::listen`.
    fn listen(
        listener: sealpipe_endpoint::Listener,
        handshakes: usize,
        config: impl Into<Arc<Config>>,
    ) -> Result<Self::Listener, Error>;

    /// Connects.
    ///
    /// # Errors
    /// As `Connection::connect`.
    fn connect(
        endpoint: &Endpoint,
        config: impl Into<Arc<Config>> + Send,
    ) -> impl Future<Output = Result<Self::Connection, Error>> + Send {
        Self::connect_within(Duration::from_secs(30), false, endpoint, config)
    }

    /// Connects, tries for `limit` at most, and `waits` for a server that is not there
    /// yet or does not.
    ///
    /// # Errors
    /// As `ConnectOptions::connect`.
    fn connect_within(
        limit: Duration,
        waits: bool,
        endpoint: &Endpoint,
        config: impl Into<Arc<Config>> + Send,
    ) -> impl Future<Output = Result<Self::Connection, Error>> + Send;

    /// Two ends in memory.
    ///
    /// # Errors
    /// As `Connection::pair`.
    fn pair(
        config: impl Into<Arc<Config>> + Send,
    ) -> impl Future<Output = Result<(Self::Connection, Self::Connection), Error>> + Send;

    /// A connection over a raw stream.
    ///
    /// # Errors
    /// As `Connection::from_io`.
    fn over(
        stream: Raw,
        role: Role,
        config: impl Into<Arc<Config>> + Send,
    ) -> impl Future<Output = Result<Self::Connection, Error>> + Send;

    /// A connection over a socket or pipe that was opened elsewhere.
    ///
    /// # Errors
    /// As `Connection::from_std` and `Connection::from_handle`.
    fn from_handle(
        stream: sealpipe_endpoint::Stream,
        role: Role,
        access: &Access,
        config: impl Into<Arc<Config>> + Send,
    ) -> impl Future<Output = Result<Self::Connection, Error>> + Send;
}

/// A listener.
pub trait Listener: Send + Debug + 'static {
    /// What it accepts.
    type Connection;

    /// The next connection.
    ///
    /// # Errors
    /// As the adapter's.
    fn accept(&mut self) -> impl Future<Output = Result<Self::Connection, Error>> + Send;

    /// Where it listens.
    fn address(&self) -> Address;
}

/// A connection.
pub trait Connection: Send + Sync + Debug + 'static {
    /// What its messages belong to.
    type Runtime: Runtime;
    /// A message that was queued.
    type Delivery: Future<Output = Result<Outcome, SendError>> + Send + Unpin + Debug + 'static;
    /// Room for one message.
    type Permit: Permit<Delivery = Self::Delivery>;

    /// Sends a message and waits for its outcome.
    ///
    /// # Errors
    /// As the adapter's; so all of these.
    fn send(
        &self,
        message: impl Into<Message> + Send,
    ) -> impl Future<Output = Result<Outcome, SendError>> + Send;

    /// Queues a message without waiting.
    ///
    /// # Errors
    /// See [`send`](Self::send).
    fn try_send(&self, message: impl Into<Message>) -> Result<Self::Delivery, SendError>;

    /// Queues a message without writing it.
    ///
    /// # Errors
    /// See [`send`](Self::send).
    fn feed(
        &self,
        message: impl Into<Message> + Send,
    ) -> impl Future<Output = Result<(), SendError>> + Send;

    /// Waits until everything is written.
    ///
    /// # Errors
    /// See [`send`](Self::send).
    fn flush(&self) -> impl Future<Output = Result<(), Error>> + Send;

    /// Waits for room.
    ///
    /// # Errors
    /// See [`send`](Self::send).
    fn reserve(&self) -> impl Future<Output = Result<Self::Permit, Error>> + Send;

    /// The next message.
    ///
    /// # Errors
    /// See [`send`](Self::send).
    fn recv(&self) -> impl Future<Output = Result<Option<Incoming<Self::Runtime>>, Error>> + Send;

    /// As [`try_recv`](sealpipe_driver::Connection::try_recv).
    fn try_recv(&self) -> Option<Result<Option<Incoming<Self::Runtime>>, Error>>;

    /// Asks with a value, as JSON, and has a value for the reply.
    ///
    /// # Errors
    /// As [`request_as`](sealpipe_blocking::Connection::request_as).
    fn request_json<A: DeserializeOwned + Send + 'static>(
        &self,
        value: impl Serialize + Send + Sync + 'static,
        deadline: Duration,
    ) -> impl Future<Output = Result<A, RequestError>> + Send;

    /// Sends no more, and waits until all has arrived.
    ///
    /// # Errors
    /// See [`send`](Self::send).
    fn finish(&self) -> impl Future<Output = Result<(), Error>> + Send;

    /// Ends both directions.
    fn close(&self, why: Close) -> impl Future<Output = ()> + Send;

    /// Measures a round trip.
    ///
    /// # Errors
    /// See [`send`](Self::send).
    fn ping(&self) -> impl Future<Output = Result<Duration, Error>> + Send;

    /// Whether it stands.
    fn is_connected(&self) -> bool;

    /// Why it has ended.
    fn end(&self) -> Option<ConnectionError>;

    /// Waits until it has ended.
    ///
    /// # Errors
    /// See [`send`](Self::send).
    fn closed(&self) -> impl Future<Output = Result<ConnectionError, Error>> + Send;

    /// Who is at the other end.
    fn peer(&self) -> Option<&Peer>;

    /// Counters and gauges.
    fn stats(&self) -> Stats;

    /// The same on both sides.
    fn handshake_hash(&self) -> Option<[u8; 32]>;
}

/// Room for one message.
pub trait Permit: Send + Debug + 'static {
    /// A message that was queued.
    type Delivery;

    /// Queues a message.
    ///
    /// # Errors
    /// As the adapter's.
    fn send(self, message: impl Into<Message>) -> Result<Self::Delivery, SendError>;
}
