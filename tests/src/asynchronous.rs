//! The adapters whose API is made of futures.

use crate::{
    Raw,
    api::{Adapter, Connection, Listener, Permit},
};
use sealpipe_driver::{
    ConnectOptions, Delivery, Error, Format, FromIo, Incoming, Json, ListenOptions, Request,
    RequestError, Runtime, SendError,
    vocabulary::{
        Access, Address, Close, Config, ConnectionError, Endpoint, Message, Outcome, Peer, Role,
        Stats, rustls,
    },
};
use sealpipe_smol::Smol;
use sealpipe_tokio::Tokio;
use serde::{Serialize, de::DeserializeOwned};
use std::{sync::Arc, time::Duration};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt, TokioAsyncReadCompatExt};

/// An adapter whose API is made of futures: its runtime.
pub trait Asynchronous: FromIo<Self::Stream> {
    /// See [`Adapter::NAME`].
    const NAME: &'static str;
    /// A raw stream of the tests, with the traits of that runtime.
    type Stream: Send;

    /// Gives it those.
    fn stream_of(raw: Raw) -> Self::Stream;

    /// A stream of the adapter's, with tokio's traits.
    fn raw_of(stream: Self::LocalStream) -> Raw;

    /// Whom a stream of the adapter's knows to be at the other end.
    fn peer_of(stream: &Self::LocalStream) -> Option<&Peer>;
}

impl Asynchronous for Tokio {
    const NAME: &'static str = "tokio";
    type Stream = Raw;

    fn stream_of(raw: Raw) -> Raw {
        raw
    }

    fn raw_of(stream: sealpipe_tokio::LocalStream) -> Raw {
        Box::new(stream)
    }

    fn peer_of(stream: &sealpipe_tokio::LocalStream) -> Option<&Peer> {
        stream.peer()
    }
}

impl Asynchronous for Smol {
    const NAME: &'static str = "smol";
    type Stream = Compat<Raw>;

    fn stream_of(raw: Raw) -> Compat<Raw> {
        raw.compat()
    }

    fn raw_of(stream: sealpipe_smol::LocalStream) -> Raw {
        Box::new(stream.compat())
    }

    fn peer_of(stream: &sealpipe_smol::LocalStream) -> Option<&Peer> {
        stream.peer()
    }
}

impl<R: Asynchronous> Adapter for R {
    const NAME: &'static str = R::NAME;
    type Runtime = R;
    type Connection = sealpipe_driver::Connection<R>;
    type Listener = sealpipe_driver::Listener<R>;

    fn bind(endpoint: &Endpoint, config: impl Into<Arc<Config>>) -> Result<Self::Listener, Error> {
        sealpipe_driver::Listener::bind(endpoint, config)
    }

    fn bind_with(
        endpoint: &Endpoint,
        access: Access,
        tls: Option<Arc<rustls::ServerConfig>>,
        config: impl Into<Arc<Config>>,
    ) -> Result<Self::Listener, Error> {
        let options = ListenOptions::new(config).access(access);
        match tls {
            Some(tls) => options.tls(tls).bind(endpoint),
            None => options.bind(endpoint),
        }
    }

    async fn connect_with(
        endpoint: &Endpoint,
        server: Access,
        tls: Option<Arc<rustls::ClientConfig>>,
        config: impl Into<Arc<Config>> + Send,
    ) -> Result<Self::Connection, Error> {
        let options = ConnectOptions::new(config).server(server);
        match tls {
            Some(tls) => options.tls(tls).connect(endpoint).await,
            None => options.connect(endpoint).await,
        }
    }

    fn listen(
        listener: sealpipe_endpoint::Listener,
        handshakes: usize,
        config: impl Into<Arc<Config>>,
    ) -> Result<Self::Listener, Error> {
        ListenOptions::new(config)
            .max_handshakes(handshakes)
            .listen(listener)
    }

    async fn connect_within(
        limit: Duration,
        waits: bool,
        endpoint: &Endpoint,
        config: impl Into<Arc<Config>> + Send,
    ) -> Result<Self::Connection, Error> {
        let options = ConnectOptions::new(config).timeout(limit);
        options.wait_for_server(waits).connect(endpoint).await
    }

    async fn pair(
        config: impl Into<Arc<Config>> + Send,
    ) -> Result<(Self::Connection, Self::Connection), Error> {
        sealpipe_driver::Connection::pair(config).await
    }

    async fn over(
        stream: Raw,
        role: Role,
        config: impl Into<Arc<Config>> + Send,
    ) -> Result<Self::Connection, Error> {
        sealpipe_driver::Connection::from_io(R::stream_of(stream), role, config).await
    }

    async fn from_handle(
        stream: sealpipe_endpoint::Stream,
        role: Role,
        access: &Access,
        config: impl Into<Arc<Config>> + Send,
    ) -> Result<Self::Connection, Error> {
        #[cfg(unix)]
        let connection = sealpipe_driver::Connection::from_std(stream, role, access, config);
        #[cfg(windows)]
        let connection = sealpipe_driver::Connection::from_handle(stream, role, access, config);
        connection.await
    }
}

impl<R: Runtime> Listener for sealpipe_driver::Listener<R> {
    type Connection = sealpipe_driver::Connection<R>;

    async fn accept(&mut self) -> Result<Self::Connection, Error> {
        self.accept().await
    }

    fn address(&self) -> Address {
        self.address().clone()
    }
}

impl<R: Runtime> Connection for sealpipe_driver::Connection<R> {
    type Runtime = R;
    type Delivery = Delivery<R>;
    type Permit = sealpipe_driver::Permit<R>;

    async fn send(&self, message: impl Into<Message> + Send) -> Result<Outcome, SendError> {
        self.send(message).await
    }

    fn try_send(&self, message: impl Into<Message>) -> Result<Delivery<R>, SendError> {
        self.try_send(message)
    }

    async fn feed(&self, message: impl Into<Message> + Send) -> Result<(), SendError> {
        self.feed(message).await
    }

    async fn flush(&self) -> Result<(), Error> {
        self.flush().await
    }

    async fn reserve(&self) -> Result<Self::Permit, Error> {
        self.reserve().await
    }

    async fn recv(&self) -> Result<Option<Incoming<R>>, Error> {
        self.recv().await
    }

    fn try_recv(&self) -> Option<Result<Option<Incoming<R>>, Error>> {
        self.try_recv()
    }

    async fn request_json<A: DeserializeOwned + Send + 'static>(
        &self,
        value: impl Serialize + Send + Sync + 'static,
        deadline: Duration,
    ) -> Result<A, RequestError> {
        Json::request(self, &value, deadline).await
    }

    async fn finish(&self) -> Result<(), Error> {
        self.finish().await
    }

    async fn close(&self, why: Close) {
        self.close(why).await;
    }

    async fn ping(&self) -> Result<Duration, Error> {
        self.ping().await
    }

    fn is_connected(&self) -> bool {
        self.is_connected()
    }

    fn end(&self) -> Option<ConnectionError> {
        self.end()
    }

    async fn closed(&self) -> Result<ConnectionError, Error> {
        Ok(self.closed().await)
    }

    fn peer(&self) -> Option<&Peer> {
        self.peer()
    }

    fn stats(&self) -> Stats {
        self.stats()
    }

    fn handshake_hash(&self) -> Option<[u8; 32]> {
        self.handshake_hash()
    }
}

impl<R: Runtime> Permit for sealpipe_driver::Permit<R> {
    type Delivery = Delivery<R>;

    fn send(self, message: impl Into<Message>) -> Result<Delivery<R>, SendError> {
        self.send(message)
    }
}

/// The next message, which is a request.
///
/// # Panics
/// If it is not, or the connection has ended.
pub async fn next_request<R: Runtime>(connection: &sealpipe_driver::Connection<R>) -> Request<R> {
    let message = connection.recv().await.expect("no loss").expect("no end");
    message.into_request().expect("a request")
}
