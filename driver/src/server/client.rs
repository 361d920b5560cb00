//! One client of a server, as handlers see it.

use super::{Inner, Server};
use crate::{RequestError, Runtime, SendError, Sender};
use bytes::Bytes;
use event_listener::Event;
use futures_util::task::AtomicWaker;
use sealpipe_core::{
    Close, Message, Outcome, Stats,
    service::{Mail, Mailbox, Offered},
};
use sealpipe_endpoint::Peer;
use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

/// Names a client among those that a server has had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub(super) u64);

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A client of a server. Clones are the same client; they keep its name, and do not
/// keep it connected.
pub struct Client<R: Runtime>(Arc<State<R>>);

struct State<R: Runtime> {
    id: ClientId,
    server: Server<R>,
    since: SystemTime,
    sender: Sender<R>,
    /// Events that wait to be sent.
    outbox: Mutex<Mailbox<Message>>,
    /// The task that serves the client.
    task: AtomicWaker,
    /// There is room in the outbox again, or nobody empties it any more.
    room: Event,
    gone: AtomicBool,
}

impl<R: Runtime> Client<R> {
    pub(super) fn new(server: &Arc<Inner<R>>, id: ClientId, sender: Sender<R>) -> Client<R> {
        let backlog = &server.options.backlog;
        let outbox = Mailbox::new(backlog.messages, backlog.bytes, backlog.overflow);
        Client(Arc::new(State {
            id,
            server: Server(server.clone()),
            since: SystemTime::now(),
            sender,
            outbox: Mutex::new(outbox),
            task: AtomicWaker::new(),
            room: Event::new(),
            gone: AtomicBool::new(false),
        }))
    }

    /// Its name, which no other client of this server ever has.
    pub fn id(&self) -> ClientId {
        self.0.id
    }

    /// Its server: for handlers that publish, look at other clients, or stop it.
    pub fn server(&self) -> &Server<R> {
        &self.0.server
    }

    /// Who it is.
    pub fn peer(&self) -> Option<&Peer> {
        self.0.sender.peer()
    }

    /// Since when it has been connected.
    pub fn since(&self) -> SystemTime {
        self.0.since
    }

    /// Counters and gauges of its connection.
    pub fn stats(&self) -> Stats {
        self.0.sender.stats()
    }

    /// Whether its connection stands.
    pub fn is_connected(&self) -> bool {
        self.0.sender.is_connected()
    }

    /// As [`Connection::send`](crate::Connection::send).
    ///
    /// # Errors
    /// As [`Connection::send`](crate::Connection::send).
    pub async fn send(&self, message: impl Into<Message>) -> Result<Outcome, SendError> {
        self.0.sender.send(message).await
    }

    /// As [`Connection::request`](crate::Connection::request).
    ///
    /// # Errors
    /// As [`Connection::request`](crate::Connection::request).
    pub async fn request(
        &self,
        payload: impl Into<Bytes>,
        deadline: Duration,
    ) -> Result<Bytes, RequestError> {
        self.0.sender.request(payload, deadline).await
    }

    /// Ends its connection.
    pub async fn disconnect(&self, why: Close) {
        self.0.sender.close(why).await;
    }

    pub(super) fn sender(&self) -> &Sender<R> {
        &self.0.sender
    }

    pub(super) fn start_disconnect(&self, why: Close) {
        self.0.sender.start_close(why);
    }

    // --- Events -------------------------------------------------------------------

    pub(super) fn task(&self) -> &AtomicWaker {
        &self.0.task
    }

    /// Puts an event into the outbox, as far as its backlog allows.
    pub(super) fn offer(&self, event: Message) -> Offered<Message> {
        let size = event.size();
        let offered = self.outbox(|outbox| outbox.offer(event, size));
        self.0.task.wake();
        offered
    }

    pub(super) fn take_event(&self) -> Option<Mail<Message>> {
        let mail = self.outbox(Mailbox::pop)?;
        self.0.room.notify(usize::MAX);
        Some(mail)
    }

    pub(super) fn has_events(&self) -> bool {
        self.outbox(|outbox| !outbox.is_empty())
    }

    fn outbox<T>(&self, call: impl FnOnce(&mut Mailbox<Message>) -> T) -> T {
        call(&mut crate::shared::lock(&self.0.outbox))
    }

    /// Offers again whenever there is room; `false` if the client has gone.
    pub(super) async fn offer_when_room(&self, mut event: Message) -> bool {
        loop {
            let room = self.0.room.listen();
            if self.0.gone.load(Ordering::SeqCst) {
                return false;
            }
            match self.offer(event) {
                Offered::Full(back) => event = back,
                _ => return true,
            }
            room.await;
        }
    }

    /// Nobody serves it any more.
    pub(super) fn set_gone(&self) {
        self.0.gone.store(true, Ordering::SeqCst);
        self.0.room.notify(usize::MAX);
    }
}

impl<R: Runtime> Clone for Client<R> {
    fn clone(&self) -> Client<R> {
        Client(self.0.clone())
    }
}

impl<R: Runtime> fmt::Debug for Client<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("id", &self.id())
            .field("peer", &self.peer())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
