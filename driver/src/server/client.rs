//! One client of a server, as handlers see it.

use super::{Inner, Server};
use crate::{Error, RequestError, Runtime, SendError, Sender, shared::lock};
use bytes::Bytes;
use event_listener::Event;
use futures_sink::Sink;
use futures_util::task::AtomicWaker;
use sealpipe_core::{
    Close, ConnectionError, Message, Outcome, Stats,
    service::{Mailbox, Offered},
};
use sealpipe_endpoint::Peer;
use std::{
    fmt,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
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

    /// As [`Connection::closed`](crate::Connection::closed).
    pub async fn closed(&self) -> ConnectionError {
        self.0.sender.closed().await
    }

    /// As [`Connection::send`](crate::Connection::send).
    ///
    /// # Errors
    /// As [`Connection::send`](crate::Connection::send).
    pub async fn send(&self, message: impl Into<Message>) -> Result<Outcome, SendError> {
        self.0.sender.send(message).await
    }

    /// As [`Connection::feed`](crate::Connection::feed).
    ///
    /// # Errors
    /// As [`Connection::feed`](crate::Connection::feed).
    pub async fn feed(&self, message: impl Into<Message>) -> Result<(), SendError> {
        self.0.sender.feed(message).await
    }

    /// As [`Connection::flush`](crate::Connection::flush).
    ///
    /// # Errors
    /// As [`Connection::flush`](crate::Connection::flush).
    pub async fn flush(&self) -> Result<(), Error> {
        self.0.sender.flush().await
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
        let offered = lock(&self.0.outbox).offer(event, size);
        self.0.task.wake();
        offered
    }

    /// Feeds `sink` events until there are none or it has no room. Ready with whether
    /// any were fed, or the error that the connection has ended with.
    pub(super) fn poll_feed(
        &self,
        mut sink: Pin<&mut Sender<R>>,
        context: &mut Context<'_>,
    ) -> Poll<Result<bool, SendError>> {
        let mut fed = false;
        while self.has_events() {
            match sink.as_mut().poll_ready(context)? {
                Poll::Ready(()) => fed |= self.feed_one(sink.as_mut()),
                Poll::Pending if fed => break,
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(fed))
    }

    /// The outbox is locked meanwhile: several may feed, and events keep their order.
    fn feed_one(&self, sink: Pin<&mut Sender<R>>) -> bool {
        let mut outbox = lock(&self.0.outbox);
        let Some(mail) = outbox.pop() else {
            return false;
        };
        let fed = sink.start_send(mail.item.with_missed(mail.missed));
        // Before anybody is told: who hears of it may publish.
        drop(outbox);
        self.0.room.notify(usize::MAX);
        if let Err(error) = &fed {
            tracing::warn!(client = %self.id(), %error, "an event cannot be sent to a client");
        }
        fed.is_ok()
    }

    pub(super) fn has_events(&self) -> bool {
        !lock(&self.0.outbox).is_empty()
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
            let mut room = pin!(room);
            let mut sink = pin!(self.0.sender.clone());
            let alive = poll_fn(|context| {
                // Who waits moves the events: the client's task may be the one that does,
                // in a handler of its own.
                match self.poll_feed(sink.as_mut(), context) {
                    Poll::Ready(Ok(_)) => {
                        // What the system does not take now goes with what comes later.
                        let _ = sink.as_mut().poll_flush(context);
                        Poll::Ready(true)
                    }
                    Poll::Ready(Err(_)) => Poll::Ready(false),
                    Poll::Pending => room.as_mut().poll(context).map(|()| true),
                }
            });
            if !alive.await {
                return false;
            }
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
