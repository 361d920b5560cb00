//! Handlers, clients and a server that the tests of servers share.

use crate::{Place, eventually, place};
use sealpipe_driver::{
    Client, Connection, Delivery, Handler, Incoming, Request, Response, Runtime, Server,
    ServerOptions, Verdict,
    vocabulary::{AckLevel, Config, Message, Rejection, RemoteError},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::{Notify, mpsc};

/// A message whose handling is waited for.
pub fn processed(payload: &'static str) -> Message {
    Message::new(payload).with_ack(AckLevel::Processed)
}

/// A client with every default.
///
/// # Panics
/// If there is no server.
pub async fn connect<R: Runtime>(place: &Place) -> Connection<R> {
    Connection::connect(&place.endpoint, Config::default())
        .await
        .expect("a connection")
}

/// Takes messages but "no", answers requests with themselves, upside down.
#[derive(Debug)]
pub struct Simple;

impl<R: Runtime> Handler<R> for Simple {
    async fn message(&self, _: &Client<R>, message: &mut Incoming<R>) -> Result<(), Rejection> {
        match &message.payload[..] {
            b"no" => Err(Rejection::new(300, "not this one")),
            _ => Ok(()),
        }
    }

    async fn request(
        &self,
        client: &Client<R>,
        request: &mut Request<R>,
    ) -> Result<Response, RemoteError> {
        assert!(client.is_connected() && client.server().is_running());
        match &request.payload[..] {
            b"no" => Err(RemoteError::new(301, "not this either")),
            payload => Ok(payload.iter().rev().copied().collect::<Vec<u8>>().into()),
        }
    }
}

/// Gives every verdict away.
#[derive(Debug)]
pub struct GivesAway<R: Runtime>(pub mpsc::UnboundedSender<Verdict<R>>);

impl<R: Runtime> Handler<R> for GivesAway<R> {
    async fn message(&self, _: &Client<R>, message: &mut Incoming<R>) -> Result<(), Rejection> {
        let _ = self.0.send(message.take_verdict());
        Ok(())
    }
}

/// Counts the messages that come, and waits with each until it is let go.
#[derive(Debug, Clone, Default)]
pub struct Waits {
    /// Lets it go.
    pub go: Arc<Notify>,
    /// How many have come.
    pub came: Arc<AtomicU64>,
}

impl<R: Runtime> Handler<R> for Waits {
    async fn message(&self, _: &Client<R>, _: &mut Incoming<R>) -> Result<(), Rejection> {
        self.came.fetch_add(1, Ordering::SeqCst);
        self.go.notified().await;
        Ok(())
    }
}

/// Waits until so many have come.
pub async fn until(came: &AtomicU64, count: u64) {
    while came.load(Ordering::SeqCst) < count {
        tokio::task::yield_now().await;
    }
}

/// Waits until the connections have ended; the handlers run on.
pub async fn gone<R: Runtime>(server: &Server<R>) {
    let none = || {
        let clients = server.clients();
        !clients.iter().any(Client::is_connected)
    };
    eventually(Duration::from_secs(20), "the client has gone", none).await;
}

/// A server that is busy with the message of its only client.
#[derive(Debug)]
pub struct Busy<R: Runtime> {
    /// Where it is.
    pub place: Place,
    /// It.
    pub server: Server<R>,
    /// Its client.
    pub client: Connection<R>,
    /// The message.
    pub taken: Delivery<R>,
    /// Lets the handler go.
    pub go: Arc<Notify>,
}

/// A server with these options, once it is busy.
///
/// # Panics
/// If it does not start.
pub async fn busy<R: Runtime>(options: ServerOptions<R>) -> Busy<R> {
    let (place, handler) = (place(), Waits::default());
    let Waits { go, came } = handler.clone();
    let server = options.start(&place.endpoint, handler).expect("a server");
    let client = connect(&place).await;
    let taken = client.try_send(processed("taken")).expect("room");
    until(&came, 1).await;
    Busy {
        place,
        server,
        client,
        taken,
        go,
    }
}
