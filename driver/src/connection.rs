//! One connection: the API.

use crate::{
    Delivery, Error, FromIo, Incoming, Permit, ReadHalf, RequestError, Runtime, SendError,
    SubscribeError, Subscription, WriteHalf,
    call::First,
    ending,
    feeding::{self, Gather},
    memory,
    opening::Opening,
    receiving::{self, Reading},
    shared::Shared,
    timeout::timeout,
    transport::Transport,
    waiting::Waiting,
};
use bytes::Bytes;
use futures_util::future::try_join;
use sealpipe_core::{
    Close, Config, ConnectionError, Message, Outcome, Role, SendErrorReason, Stats,
    session::{Backlog, Interest},
};
use sealpipe_endpoint::{Access, Endpoint, Peer};
use std::{
    fmt,
    future::{Future, poll_fn},
    sync::{Arc, OnceLock},
    time::Duration,
};

/// Ends the connection when the program has let go of all its handles.
pub(crate) struct Owner<R: Runtime> {
    pub(crate) shared: Arc<Shared<R>>,
    pub(crate) peer: Arc<OnceLock<Peer>>,
    pub(crate) config: Arc<Config>,
    /// Boxed: plain connections have none.
    pub(crate) handshake_hash: Option<Box<[u8; 32]>>,
}

impl<R: Runtime> Owner<R> {
    pub(crate) fn end(&self) -> Option<ConnectionError> {
        self.shared
            .session(|session| session.connection().end().cloned())
    }

    /// The program is done with it: what is queued still goes out, then the goodbye.
    pub(crate) fn abandon(&self) {
        let now = R::now();
        self.shared.with(|session, waiters| {
            session.with(waiters, |core| core.abandon(now));
            waiters.wake_background();
        });
        self.shared.flush(now);
    }
}

impl<R: Runtime> Drop for Owner<R> {
    fn drop(&mut self) {
        self.abandon();
    }
}

/// A connection to one peer. Cheap to share by reference: every method takes
/// `&self`, and any number of tasks may call them at once. [`split`](Self::split)
/// gives owned halves.
///
/// Every future of it may be dropped at any point: no message is lost, cut or
/// doubled by that. What a dropped [`finish`](Self::finish) or [`close`](Self::close)
/// has begun goes on.
///
/// # Dropping
///
/// When the last handle is dropped (halves and subscriptions are such, too), what is
/// queued still goes out in the background, then the peer is told that this side goes
/// away; all of that for at most
/// [`close_timeout`](sealpipe_core::ConfigBuilder::close_timeout), and only while the
/// runtime runs. [`finish`](Self::finish) to be sure.
pub struct Connection<R: Runtime> {
    pub(crate) owner: Arc<Owner<R>>,
    /// Of the `Stream` side.
    pub(crate) reading: Reading,
    /// Of the `Sink` side.
    pub(crate) gather: Gather,
}

impl<R: Runtime> fmt::Debug for Connection<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("peer", &self.peer())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl<R: Runtime> Connection<R> {
    /// Connects to the server at `endpoint`, which must run and be the same
    /// user's. [`ConnectOptions`](crate::ConnectOptions) can wait for it, or allow
    /// other users.
    ///
    /// # Errors
    /// [`Error`] if there is no server, it is another user's, or the handshake
    /// fails: another key, plain against sealed, another version.
    pub async fn connect(
        endpoint: &Endpoint,
        config: impl Into<Arc<Config>>,
    ) -> Result<Connection<R>, Error> {
        crate::ConnectOptions::<R>::new(config)
            .connect(endpoint)
            .await
    }

    /// A connection over any stream of bytes: a socket pair, a child's standard
    /// streams, TLS: whatever the runtime can read and write. Who is at the other
    /// end is up to the caller; [`peer`](Self::peer) does not know.
    ///
    /// # Errors
    /// [`Error::Connection`] if the handshake fails.
    pub async fn from_io<I>(
        io: I,
        role: Role,
        config: impl Into<Arc<Config>>,
    ) -> Result<Connection<R>, Error>
    where
        R: FromIo<I>,
    {
        let transport = Transport::any(R::halves(io));
        Connection::establish(transport, role, config.into(), Arc::default()).await
    }

    /// A connection over a Unix socket that was opened elsewhere, whose other end
    /// must satisfy `access`.
    ///
    /// # Errors
    /// As [`from_io`](Self::from_io); [`Error::Endpoint`] if the peer is another
    /// user's; [`Error::Io`] if the runtime cannot take the socket.
    #[cfg(unix)]
    pub async fn from_std(
        stream: std::os::unix::net::UnixStream,
        role: Role,
        access: &Access,
        config: impl Into<Arc<Config>>,
    ) -> Result<Connection<R>, Error> {
        stream
            .set_nonblocking(true)
            .map_err(Error::io("making the socket non-blocking"))?;
        sealpipe_endpoint::prepare(&stream)?;
        let peer = sealpipe_endpoint::peer_of(&stream)?;
        access.check(&peer)?;
        let halves = R::stream(stream).map_err(Error::io("registering the socket"))?;
        let peer = Arc::new(peer.into());
        Connection::establish(Transport::native(halves), role, config.into(), peer).await
    }

    /// A connection over a named pipe that was opened elsewhere, either end of it, with
    /// `FILE_FLAG_OVERLAPPED`. Who is at the other end must satisfy `access`: a server is
    /// checked at once, a client with the first bytes that come from it.
    ///
    /// # Errors
    /// As [`from_io`](Self::from_io); [`Error::Endpoint`] if the server is another
    /// user's; [`Error::Io`] if the handle is no such pipe, or the runtime cannot take it.
    #[cfg(windows)]
    pub async fn from_handle(
        pipe: std::os::windows::io::OwnedHandle,
        role: Role,
        access: &Access,
        config: impl Into<Arc<Config>>,
    ) -> Result<Connection<R>, Error> {
        use sealpipe_endpoint::PipeEnd;
        let end = sealpipe_endpoint::pipe_end(&pipe).map_err(Error::io("taking over a pipe"))?;
        let server = match end {
            PipeEnd::Client => Some(sealpipe_endpoint::server_of(&pipe)?),
            PipeEnd::Server => None,
        };
        if let Some(server) = &server {
            access.check(server)?;
        }
        let halves = R::stream(pipe).map_err(Error::io("registering the pipe"))?;
        let (transport, peer) = match server {
            Some(server) => (Transport::native(halves), Arc::new(server.into())),
            None => Transport::unverified(halves, access.clone(), None),
        };
        Connection::establish(transport, role, config.into(), peer).await
    }

    /// Two ends of one connection in memory, for tests.
    ///
    /// # Errors
    /// [`Error::Connection`] if `config` does not get along with itself, which
    /// does not happen.
    pub async fn pair(
        config: impl Into<Arc<Config>>,
    ) -> Result<(Connection<R>, Connection<R>), Error> {
        let config = config.into();
        let [a, b] = memory::pair().map(|(read, write)| {
            let halves: (Box<dyn ReadHalf>, Box<dyn WriteHalf>) = (Box::new(read), Box::new(write));
            Transport::any(halves)
        });
        let a = Connection::establish(a, Role::Initiator, config.clone(), Arc::default());
        let b = Connection::establish(b, Role::Responder, config, Arc::default());
        try_join(a, b).await
    }

    /// Runs the handshake. Dropping the future closes the stream.
    pub(crate) async fn establish(
        transport: Transport<R>,
        role: Role,
        config: Arc<Config>,
        peer: Arc<OnceLock<Peer>>,
    ) -> Result<Connection<R>, Error> {
        let opening = Opening::begin(transport, role, config, peer, None)?;
        opening.alone().await
    }

    pub(crate) fn new(owner: Owner<R>) -> Connection<R> {
        Connection {
            owner: Arc::new(owner),
            reading: Reading::default(),
            gather: Gather::default(),
        }
    }

    pub(crate) fn shared(&self) -> &Shared<R> {
        &self.owner.shared
    }

    // --- Sending -------------------------------------------------------------------

    /// Sends a message and waits for what it asks for: level *none*, that the
    /// system has it; *received*, that it is in the peer's queue; *processed*,
    /// the verdict of the peer's program. While the queue is full, waits for room.
    ///
    /// Ends after [`send_timeout`](sealpipe_core::ConfigBuilder::send_timeout)
    /// (30 s unless set), or the message's own deadline instead, with
    /// [`SendError::NotSent`] or [`SendError::Unknown`]. Dropped while it waits for
    /// room, the future takes its message with it; dropped later, the message goes
    /// on.
    ///
    /// # Errors
    /// [`SendError`], which says what became of the message.
    // Not an `async fn`: the future is then one state machine less around the message.
    pub fn send(
        &self,
        message: impl Into<Message>,
    ) -> impl Future<Output = Result<Outcome, SendError>> + Send {
        crate::sending::send(&self.owner, message.into())
    }

    /// Queues a message, once there is room for it, and flushes what the system
    /// takes: [`send`](Self::send) without waiting for the outcome, which the
    /// [`Delivery`] is a future of. Dropped while it waits for room, this takes its
    /// message with it.
    ///
    /// # Errors
    /// [`SendError::NotTaken`], with the message in it, if there is no room within its
    /// deadline, or else `send_timeout`, it is too large, or the connection has ended.
    pub async fn queue(&self, message: impl Into<Message>) -> Result<Delivery<R>, SendError> {
        crate::sending::queue(&self.owner, message.into()).await
    }

    /// Queues a message without waiting, and flushes what the system takes.
    ///
    /// # Errors
    /// [`SendError::NotTaken`], with the message in it, if there is no room, it is
    /// too large, or the connection has ended.
    pub fn try_send(&self, message: impl Into<Message>) -> Result<Delivery<R>, SendError> {
        crate::sending::try_send(&self.owner, message.into())
    }

    /// Takes a message without writing it, once there is room. What is fed gathers, and is
    /// written together: by [`flush`](Self::flush), by the next call that sends or has to
    /// wait, or by the next `feed` once 32 KiB have gathered; else in the background, after
    /// some 50 ms. For many small messages in a row that takes a fraction of what
    /// [`queue`](Self::queue) takes for each.
    ///
    /// What becomes of a message is only counted in [`Stats`], a rejection too; its deadline
    /// is for the wait for room. [`finish`](Self::finish) and dropping the connection write
    /// what was fed, [`close`](Self::close) does not. Dropped while it waits for room,
    /// the future takes its message with it.
    ///
    /// # Errors
    /// [`SendError::NotTaken`], with the message in it, if there is no room within its
    /// deadline, or else `send_timeout`, it is too large, or the connection has ended.
    pub fn feed(
        &self,
        message: impl Into<Message>,
    ) -> impl Future<Output = Result<(), SendError>> + Send {
        feeding::feed(&self.owner, message.into())
    }

    /// Waits until the system has everything that was fed and queued, also by others; so it
    /// waits, too, where the peer's window is full. That the peer has it, only
    /// [`finish`](Self::finish) or an acknowledgement says.
    ///
    /// # Errors
    /// [`Error::Connection`] if the connection has ended before all was written: the rest is
    /// lost. With resumption, what a lost stream took along of level *none* is not told.
    /// [`Error::Timeout`] if it takes longer than `send_timeout`: what is unwritten stays
    /// queued, and still goes out.
    pub async fn flush(&self) -> Result<(), Error> {
        feeding::flush(&self.owner).await
    }

    /// Waits for room for one message, and keeps it: [`Permit::send`] does not
    /// wait, so a message is only made when it can go.
    ///
    /// # Errors
    /// [`Error`] if the connection has ended or was finished; [`Error::Timeout`] if
    /// there is no room within `send_timeout`.
    pub async fn reserve(&self) -> Result<Permit<R>, Error> {
        crate::sending::reserve(&self.owner).await
    }

    // --- Asking the peer's program ---------------------------------------------------

    /// Asks the peer's program, and waits for its reply for at most `deadline`,
    /// which it is told. Any number of requests may be under way, in both
    /// directions. Dropped, the future withdraws the request; a handler that looks
    /// learns of that.
    ///
    /// The peer receives it as a message that is an
    /// [`Incoming::into_request`](Incoming::into_request).
    ///
    /// Replies share the window with messages. A program that asks must also
    /// receive, or be sent no more than its window holds: once messages that it does
    /// not take fill the window, its replies wait behind it.
    ///
    /// # Errors
    /// [`RequestError`]: the peer's program answered with an error, or something
    /// went wrong on the way; what is known of the request is in it.
    pub async fn request(
        &self,
        payload: impl Into<Bytes>,
        deadline: Duration,
    ) -> Result<Bytes, RequestError> {
        crate::request::ask(&self.owner, payload.into(), deadline).await
    }

    /// Asks the peer for events about the topics that `pattern` matches: `*` is one
    /// segment between slashes, `**` any number of them. 1,024 events or 1 MiB wait
    /// for the subscriber, then the publisher waits.
    ///
    /// From the first subscription on, [`recv`](Self::recv) yields no events.
    ///
    /// # Errors
    /// [`SubscribeError`] if it is no pattern, the peer does not agree, or the
    /// connection has ended.
    pub async fn subscribe(&self, pattern: &str) -> Result<Subscription<R>, SubscribeError> {
        self.subscribe_with(pattern, Backlog::default()).await
    }

    /// The same with a backlog of one's own.
    ///
    /// # Errors
    /// As [`subscribe`](Self::subscribe).
    pub async fn subscribe_with(
        &self,
        pattern: &str,
        backlog: Backlog,
    ) -> Result<Subscription<R>, SubscribeError> {
        crate::subscription::subscribe(&self.owner, pattern, backlog).await
    }

    // --- Receiving -------------------------------------------------------------------

    /// The next message, in the order in which the peer sent them; `None` when
    /// the peer has finished, or either side has closed, and nothing is wrong.
    /// Waits for as long as it takes; a peer that hangs is found out by
    /// [`keepalive`](sealpipe_core::ConfigBuilder::keepalive).
    ///
    /// # Errors
    /// [`Error::Connection`] if the connection ended in another way; what had come
    /// before has then been received.
    pub fn recv(&self) -> impl Future<Output = Result<Option<Incoming<R>>, Error>> + Send {
        receiving::recv(&self.owner)
    }

    /// What [`recv`](Self::recv) would return now; `None` if it would wait.
    ///
    /// It is no way to wait: what comes is only seen once the runtime has had its turn,
    /// so a task that asks again and again must await something in between.
    pub fn try_recv(&self) -> Option<Result<Option<Incoming<R>>, Error>> {
        receiving::try_recv(&self.owner)
    }

    /// Sends a small message that has to wait for nothing, or gives it back. For adapters:
    /// to try takes no preparation.
    #[doc(hidden)]
    pub fn send_through(&self, message: Message) -> Result<Delivery<R>, Message> {
        crate::sending::send_through(&self.owner, message)
    }

    /// Feeds a small message that only gathers, if nothing has to go before it; says whether
    /// it did. For adapters: to try takes no preparation.
    #[doc(hidden)]
    #[inline]
    pub fn feed_through(&self, message: &Message) -> bool {
        feeding::feed_through(&self.owner, message)
    }

    /// What [`feed`](Self::feed) would return now; `None` if it would wait, and the message
    /// stays where it is. For adapters: to try takes no preparation.
    #[doc(hidden)]
    pub fn feed_now(&self, message: &mut Option<Message>) -> Option<Result<(), SendError>> {
        feeding::feed_now(&self.owner, message)
    }

    /// The next message, if it was read already, or else what `wait` brings. For adapters: to
    /// ask for it takes no preparation.
    ///
    /// # Errors
    /// That of `wait`.
    #[doc(hidden)]
    #[inline(always)]
    pub fn take_ready_or(
        &self,
        wait: impl FnOnce() -> Result<Option<Incoming<R>>, Error>,
    ) -> Result<Option<Incoming<R>>, Error> {
        receiving::take_ready_or(&self.owner, |message| Ok(Some(message)), wait)
    }

    // --- Ending ------------------------------------------------------------------------

    /// Sends no more messages, and waits until all that were sent have arrived
    /// and have their outcome, and the peer has finished or gone too. Messages of
    /// the peer's can still be received meanwhile, by another task.
    ///
    /// # Errors
    /// [`Error::Timeout`] after `send_timeout`, whereupon the connection is
    /// closed; [`Error::Connection`] if it ended before everything had arrived.
    pub async fn finish(&self) -> Result<(), Error> {
        ending::finish(&self.owner).await
    }

    /// Ends both directions now. What is queued is not sent; what was received
    /// and not taken is dropped, and its sender learns that. Returns when the peer
    /// has answered, or after `close_timeout`.
    pub async fn close(&self, why: Close) {
        ending::close(&self.owner, why).await;
    }

    /// The same without waiting for the peer's goodbye.
    pub(crate) fn start_close(&self, why: Close) {
        ending::start_close(&self.owner, why);
    }

    // --- Asking ------------------------------------------------------------------------

    /// Measures a round trip to the peer's protocol, which answers even if its
    /// program is busy elsewhere.
    ///
    /// # Errors
    /// [`Error`] if the connection has ended, no answer comes in time, or the
    /// [wire](sealpipe_core::Wire) has none.
    pub async fn ping(&self) -> Result<Duration, Error> {
        ping(&self.owner).await
    }

    /// Whether the connection stands. Its loss is noticed within milliseconds.
    pub fn is_connected(&self) -> bool {
        self.shared()
            .session(|session| session.connection().is_open())
    }

    /// Whether messages can still be queued on it, to go out now or once it is resumed.
    pub(crate) fn can_send(&self) -> bool {
        self.shared().session(|session| {
            let connection = session.connection();
            let stands = connection.is_open() || connection.is_suspended();
            stands && matches!(connection.check_room(), Ok(()) | Err(SendErrorReason::Full))
        })
    }

    /// Whether the stream was lost and the connection waits to go on over another one
    /// ([`resumption`](sealpipe_core::ConfigBuilder::resumption)). What is sent
    /// meanwhile is queued.
    pub fn is_suspended(&self) -> bool {
        self.shared()
            .session(|session| session.connection().is_suspended())
    }

    /// Why the connection has ended, once it has.
    pub fn end(&self) -> Option<ConnectionError> {
        self.owner.end()
    }

    /// Waits until the connection has ended, and says why. Messages that come meanwhile
    /// stay for [`recv`](Self::recv).
    pub async fn closed(&self) -> ConnectionError {
        ending::ended(&self.owner, First::Look).await.0
    }

    /// Who is at the other end; `None` over a stream that was handed in, and over a
    /// WebSocket.
    pub fn peer(&self) -> Option<&Peer> {
        self.owner.peer.get()
    }

    /// Counters and gauges.
    pub fn stats(&self) -> Stats {
        self.shared()
            .session(|session| session.connection().stats())
    }

    /// Sealed mode: a hash that is the same on both sides and on no other
    /// connection, for channel binding.
    pub fn handshake_hash(&self) -> Option<[u8; 32]> {
        // Of the stream that it goes on over, if it has had several.
        let later = self
            .shared()
            .session(|session| session.opened()?.handshake_hash);
        later.or_else(|| self.owner.handshake_hash.as_deref().copied())
    }

    /// Owned halves, for two tasks. The connection ends when both are dropped, and all
    /// subscriptions.
    pub fn split(self) -> (crate::Sender<R>, crate::Receiver<R>) {
        crate::halves::split(self.owner.clone())
    }
}

pub(crate) async fn ping<R: Runtime>(owner: &Owner<R>) -> Result<Duration, Error> {
    let shared = &owner.shared;
    let asked = shared.session(|session| session.ping())?;
    let limit = owner.config.send_timeout();
    let mut waiting = Waiting::new(shared);
    let answer = poll_fn(|context| {
        waiting.poll(
            context,
            Interest::Progress,
            First::Write,
            |session| match session.round_trip(asked) {
                Some(round_trip) => Some(Ok(round_trip)),
                None => session.connection().end().cloned().map(Err),
            },
        )
    });
    match timeout::<R, _>(limit, answer).await {
        Ok(answer) => answer.map_err(Error::Connection),
        Err(_) => Err(Error::Timeout {
            doing: "waiting for the answer to a ping",
            limit,
            last: None,
        }),
    }
}

/// What `reserve` and `send` report when the connection cannot send.
pub(crate) fn reason_to_error(reason: SendErrorReason) -> Error {
    match reason {
        SendErrorReason::Closed(end) => Error::Connection(end),
        // The only other reason, for there is room.
        _ => Error::FinishedSending,
    }
}

impl<R: Runtime> Drop for Connection<R> {
    fn drop(&mut self) {
        for place in [&mut self.reading.place, &mut self.gather.place] {
            if place.is_taken() {
                self.owner.shared.leave(place);
            }
        }
    }
}
