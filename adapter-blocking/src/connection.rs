//! One connection, and how to get one.

use crate::{
    Delivery, Error, Incoming, Interrupter, Permit, Receiver, RequestError, SendError, Sender,
    SubscribeError, Subscription,
    calls::{Calls, Limit},
    io::Threads,
};
use bytes::Bytes;
use sealpipe_core::{
    Close, Config, ConnectionError, Message, Outcome, Role, Stats, session::Backlog,
};
use sealpipe_endpoint::{Access, Endpoint, Peer};
use sealpipe_smol::{Smol, block_on};
use std::{
    io::{Read, Write},
    sync::Arc,
    time::Duration,
};

/// How to connect; as [`sealpipe_driver::ConnectOptions`].
#[derive(Debug, Clone)]
#[must_use]
pub struct ConnectOptions(pub(crate) sealpipe_driver::ConnectOptions<Smol>);

impl ConnectOptions {
    /// The defaults: the server must run, and be the same user's; a busy one is
    /// tried again for up to 30 s.
    pub fn new(config: impl Into<Arc<Config>>) -> ConnectOptions {
        ConnectOptions(sealpipe_driver::ConnectOptions::new(config))
    }

    /// Whose server is acceptable. The same user's unless set.
    pub fn server(self, access: sealpipe_endpoint::Access) -> Self {
        ConnectOptions(self.0.server(access))
    }

    /// How long connecting may take in all, with every attempt and the handshake.
    pub fn timeout(self, timeout: Duration) -> Self {
        ConnectOptions(self.0.timeout(timeout))
    }

    /// How many attempts to make at most. As many as the time allows unless set;
    /// 0 is taken as 1.
    pub fn attempts(self, attempts: u32) -> Self {
        ConnectOptions(self.0.attempts(attempts))
    }

    /// Whether to wait for a server that is not there yet.
    pub fn wait_for_server(self, wait: bool) -> Self {
        ConnectOptions(self.0.wait_for_server(wait))
    }

    /// Whom a client of a `wss://` URL trusts, and how it shows who it is itself; those
    /// that the system trusts, and not at all, unless set.
    #[cfg(feature = "websocket")]
    pub fn tls(self, config: impl Into<Arc<crate::websocket::rustls::ClientConfig>>) -> Self {
        ConnectOptions(self.0.tls(config))
    }

    /// Connects: tries, then tries again with jittered back-off where that can
    /// help.
    ///
    /// # Errors
    /// [`Error::Endpoint`] if there is nothing to connect to, or it is another
    /// user's; [`Error::Connection`] if the handshake fails; [`Error::Timeout`]
    /// with what the last attempt met.
    pub fn connect(&self, endpoint: &Endpoint) -> Result<Connection, Error> {
        block_on(self.0.connect(endpoint)).map(Connection::new)
    }
}

/// A connection to one peer. Every method takes `&self`, and any number of threads
/// may call them at once; [`try_clone`](Self::try_clone) gives another handle with
/// time limits of its own, [`split`](Self::split) one for each direction.
///
/// When the last handle is dropped, what is queued still goes out in the
/// background, then the peer is told that this side goes away; all of that for at
/// most [`close_timeout`](sealpipe_core::ConfigBuilder::close_timeout), and only
/// while the program runs. [`finish`](Self::finish) to be sure.
#[derive(Debug)]
pub struct Connection {
    pub(crate) inner: Arc<sealpipe_driver::Connection<Smol>>,
    pub(crate) calls: Arc<Calls>,
}

impl Connection {
    pub(crate) fn new(connection: sealpipe_driver::Connection<Smol>) -> Connection {
        Connection {
            inner: Arc::new(connection),
            calls: Arc::default(),
        }
    }

    /// Connects to the server at `endpoint`, which must run and be the same
    /// user's. [`ConnectOptions`] can wait for it, or allow other users.
    ///
    /// # Errors
    /// [`Error`] if there is no server, it is another user's, or the handshake
    /// fails: another key, plain against sealed, another version.
    pub fn connect(
        endpoint: &Endpoint,
        config: impl Into<Arc<Config>>,
    ) -> Result<Connection, Error> {
        ConnectOptions::new(config).connect(endpoint)
    }

    /// A connection over any stream of bytes that blocks: a child's standard streams,
    /// TLS, a serial line. Who is at the other end is up to the caller;
    /// [`peer`](Self::peer) does not know.
    ///
    /// It takes two threads, one that reads and one that writes: nothing else could
    /// answer the peer, or keep time limits, while the stream blocks. Sockets and pipes
    /// of the system's need none: see `from_std` on Unix and `from_handle` on Windows.
    ///
    /// Once the connection has ended and what it had to say is written, `writer` is
    /// dropped; `reader` only when it returns, for nothing can end its call. A child
    /// that ends with its input closes its output; over a socket, have the drop of
    /// `writer` shut both directions down.
    ///
    /// # Errors
    /// [`Error::Connection`] if the handshake fails; [`Error::Io`] if the threads cannot
    /// be started.
    pub fn from_io(
        reader: impl Read + Send + 'static,
        writer: impl Write + Send + 'static,
        role: Role,
        config: impl Into<Arc<Config>>,
    ) -> Result<Connection, Error> {
        let threads = Threads::start(reader, writer).map_err(|source| Error::Io {
            doing: "starting the threads of a stream",
            source,
        })?;
        let connection = sealpipe_driver::Connection::from_io(threads, role, config);
        block_on(connection).map(Connection::new)
    }

    /// A connection over a Unix socket that was opened elsewhere, whose other end
    /// must satisfy `access`.
    ///
    /// # Errors
    /// [`Error::Endpoint`] if the peer is another user's; [`Error::Connection`] if
    /// the handshake fails; [`Error::Io`] if the system does not take the socket.
    #[cfg(unix)]
    pub fn from_std(
        stream: std::os::unix::net::UnixStream,
        role: Role,
        access: &Access,
        config: impl Into<Arc<Config>>,
    ) -> Result<Connection, Error> {
        let connection = sealpipe_driver::Connection::from_std(stream, role, access, config);
        block_on(connection).map(Connection::new)
    }

    /// A connection over a named pipe that was opened elsewhere, either end of it, with
    /// `FILE_FLAG_OVERLAPPED`. Who is at the other end must satisfy `access`: a server is
    /// checked at once, a client with the first bytes that come from it.
    ///
    /// # Errors
    /// [`Error::Endpoint`] if the server is another user's; [`Error::Connection`] if the
    /// handshake fails; [`Error::Io`] if the handle is no such pipe.
    #[cfg(windows)]
    pub fn from_handle(
        pipe: std::os::windows::io::OwnedHandle,
        role: Role,
        access: &Access,
        config: impl Into<Arc<Config>>,
    ) -> Result<Connection, Error> {
        let connection = sealpipe_driver::Connection::from_handle(pipe, role, access, config);
        block_on(connection).map(Connection::new)
    }

    /// Two ends of one connection in memory, for tests.
    ///
    /// # Errors
    /// [`Error::Connection`] if `config` does not get along with itself, which
    /// does not happen.
    pub fn pair(config: impl Into<Arc<Config>>) -> Result<(Connection, Connection), Error> {
        let (a, b) = block_on(sealpipe_driver::Connection::pair(config))?;
        Ok((Connection::new(a), Connection::new(b)))
    }

    /// Another handle of the same connection, with time limits and an
    /// [`Interrupter`] of its own.
    #[must_use]
    pub fn try_clone(&self) -> Connection {
        Connection {
            inner: self.inner.clone(),
            calls: Arc::new(self.calls.again()),
        }
    }

    /// Owned halves, for two threads. The connection ends when both are dropped.
    pub fn split(self) -> (Sender, Receiver) {
        (Sender(self.try_clone()), Receiver(self))
    }

    // --- Blocking --------------------------------------------------------------------

    /// How long [`recv`](Self::recv) and [`closed`](Self::closed) wait; `None`, for as
    /// long as it takes, unless set.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) {
        self.calls.set_read_timeout(timeout);
    }

    /// How long the other calls wait at most; `None`, the default, for as long as the
    /// configuration says (30 s unless set there), which a longer time does not extend.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) {
        self.calls.set_write_timeout(timeout);
    }

    /// How long [`recv`](Self::recv) and [`closed`](Self::closed) wait.
    pub fn read_timeout(&self) -> Option<Duration> {
        self.calls.read_timeout()
    }

    /// How long the other calls wait.
    pub fn write_timeout(&self) -> Option<Duration> {
        self.calls.write_timeout()
    }

    /// Ends this handle's calls from another thread.
    pub fn interrupter(&self) -> Interrupter {
        Interrupter(self.calls.clone())
    }

    // --- Sending ---------------------------------------------------------------------

    /// Sends a message and waits for what it asks for: level *none*, that the
    /// system has it; *received*, that it is in the peer's queue; *processed*,
    /// the verdict of the peer's program. While the queue is full, waits for room.
    ///
    /// Ends after the write timeout,
    /// [`send_timeout`](sealpipe_core::ConfigBuilder::send_timeout) (30 s unless
    /// set), or the message's own deadline.
    ///
    /// # Errors
    /// [`SendError`], which says what became of the message.
    pub fn send(&self, message: impl Into<Message>) -> Result<Outcome, SendError> {
        let limit = self.calls.writing();
        self.queue_within(limit, message)?.wait_within(limit)
    }

    /// Queues a message, once there is room for it, and does not wait for its
    /// outcome.
    ///
    /// # Errors
    /// [`SendError::NotTaken`], with the message in it, if there is no room within its
    /// deadline, or else `send_timeout`, it is too large, or the connection has ended;
    /// [`SendError::NotSent`] after the write timeout, or if the call was ended.
    pub fn queue(&self, message: impl Into<Message>) -> Result<Delivery, SendError> {
        self.queue_within(self.calls.writing(), message)
    }

    fn queue_within(
        &self,
        limit: Limit,
        message: impl Into<Message>,
    ) -> Result<Delivery, SendError> {
        let message = match self.inner.send_through(message.into()) {
            Ok(sent) => return Ok(self.delivery(sent)),
            Err(message) => message,
        };
        match self.calls.run(limit, self.inner.queue(message)) {
            Ok(queued) => Ok(self.delivery(queued?)),
            Err(_) => Err(SendError::NotSent(None)),
        }
    }

    /// Queues a message without waiting, and flushes what the system takes.
    ///
    /// # Errors
    /// [`SendError::NotTaken`], with the message in it, if there is no room, it is
    /// too large, or the connection has ended.
    pub fn try_send(&self, message: impl Into<Message>) -> Result<Delivery, SendError> {
        Ok(self.delivery(self.inner.try_send(message)?))
    }

    /// Takes a message without writing it, once there is room. What is fed gathers, and is
    /// written together: by [`flush`](Self::flush), by the next call that sends or has to
    /// wait, or by the next `feed` once 32 KiB have gathered; else in the background, after
    /// some 50 ms. For many small messages in a row that takes a fraction of what
    /// [`queue`](Self::queue) takes for each.
    ///
    /// What becomes of a message is only counted in [`Stats`], a rejection too; its deadline
    /// is for the wait for room. [`finish`](Self::finish) and dropping the connection write
    /// what was fed, [`close`](Self::close) does not.
    ///
    /// # Errors
    /// As [`queue`](Self::queue): handed back with [`SendError::NotTaken`], but not after the
    /// write timeout, or if the call was ended.
    pub fn feed(&self, message: impl Into<Message>) -> Result<(), SendError> {
        let message = message.into();
        if self.inner.feed_through(&message) {
            return Ok(());
        }
        self.feed_when_ready(message)
    }

    #[inline(never)]
    fn feed_when_ready(&self, message: Message) -> Result<(), SendError> {
        let mut message = Some(message);
        if let Some(fed) = self.inner.feed_now(&mut message) {
            return fed;
        }
        let fed = async {
            match message {
                Some(message) => self.inner.feed(message).await,
                None => Ok(()),
            }
        };
        let fed = self.calls.run(self.calls.writing(), fed);
        fed.unwrap_or(Err(SendError::NotSent(None)))
    }

    /// Waits until the system has everything that was fed and queued, also by others; so it
    /// waits, too, where the peer's window is full. That the peer has it, only
    /// [`finish`](Self::finish) or an acknowledgement says.
    ///
    /// # Errors
    /// [`Error::Connection`] if the connection has ended before all was written: the rest is
    /// lost. With resumption, what a lost stream took along of level *none* is not told.
    /// [`Error::Timeout`] if it takes longer than the write timeout or `send_timeout`,
    /// [`Error::Interrupted`] if another thread ended the call: what is unwritten stays
    /// queued, and still goes out.
    pub fn flush(&self) -> Result<(), Error> {
        let limit = self.calls.writing();
        self.run("writing what was fed", limit, self.inner.flush())?
    }

    fn delivery(&self, inner: sealpipe_driver::Delivery<Smol>) -> Delivery {
        Delivery {
            inner,
            calls: self.calls.clone(),
        }
    }

    /// Waits for room for one message, and keeps it: [`Permit::send`] does not
    /// wait.
    ///
    /// # Errors
    /// [`Error`] if the connection has ended or was finished, or the call ended
    /// early.
    pub fn reserve(&self) -> Result<Permit, Error> {
        let limit = self.calls.writing();
        let inner = self.run("waiting for room", limit, self.inner.reserve())??;
        Ok(Permit {
            inner,
            calls: self.calls.clone(),
        })
    }

    // --- Asking the peer's program ------------------------------------------------

    /// Asks the peer's program, and waits for its reply for at most `deadline`, which
    /// it is told. Any number of threads may ask at once, in both directions. The
    /// peer receives a message of which it makes a [`Request`](crate::Request).
    ///
    /// # Errors
    /// [`RequestError`]: the peer's program answered with an error, or something
    /// went wrong on the way, or the call ended early, which withdraws the request.
    pub fn request(
        &self,
        payload: impl Into<Bytes>,
        deadline: Duration,
    ) -> Result<Bytes, RequestError> {
        let limit = self.calls.writing();
        let asked = self.calls.run(limit, self.inner.request(payload, deadline));
        asked.unwrap_or_else(|_| Err(crate::request::interrupted()))
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
    pub fn subscribe(&self, pattern: &str) -> Result<Subscription, SubscribeError> {
        self.subscribe_with(pattern, Backlog::default())
    }

    /// The same with a backlog of one's own.
    ///
    /// # Errors
    /// As [`subscribe`](Self::subscribe).
    pub fn subscribe_with(
        &self,
        pattern: &str,
        backlog: Backlog,
    ) -> Result<Subscription, SubscribeError> {
        let limit = self.calls.writing();
        let asked = self.inner.subscribe_with(pattern, backlog);
        match self.calls.run(limit, asked) {
            Ok(inner) => Ok(Subscription {
                inner: inner?,
                calls: Arc::new(self.calls.again()),
            }),
            Err(_) => Err(crate::request::interrupted().into()),
        }
    }

    // --- Receiving ---------------------------------------------------------------------

    /// The next message, in the order in which the peer sent them; `None` when
    /// the peer has finished, or either side has closed, and nothing is wrong.
    ///
    /// # Errors
    /// [`Error::Connection`] if the connection ended in another way; what had come
    /// before has then been received. [`Error::Timeout`] after the read timeout,
    /// [`Error::Interrupted`] if another thread ended the call: nothing is lost, and
    /// the next call goes on.
    pub fn recv(&self) -> Result<Option<Incoming>, Error> {
        self.inner.take_ready_or(|| self.recv_when_ready())
    }

    #[inline(never)]
    fn recv_when_ready(&self) -> Result<Option<Incoming>, Error> {
        let limit = self.calls.reading();
        self.run("receiving", limit, self.inner.recv())?
    }

    /// What [`recv`](Self::recv) would return now; `None` if it would wait.
    ///
    /// What comes is seen a moment later than by `recv`, which waits for it itself.
    pub fn try_recv(&self) -> Option<Result<Option<Incoming>, Error>> {
        self.inner.try_recv()
    }

    /// The messages, until the connection ends. An error is the last item.
    pub fn messages(&self) -> impl Iterator<Item = Result<Incoming, Error>> + '_ {
        let mut ended = false;
        std::iter::from_fn(move || {
            if ended {
                return None;
            }
            let next = self.recv().transpose();
            ended = !matches!(next, Some(Ok(_)));
            next
        })
    }

    // --- Ending --------------------------------------------------------------------------

    /// Sends no more messages, and waits until all that were sent have arrived
    /// and have their outcome, and the peer has finished or gone too. Messages of
    /// the peer's can still be received meanwhile, by another thread.
    ///
    /// # Errors
    /// [`Error::Timeout`] after `send_timeout`, whereupon the connection is
    /// closed, or after the write timeout, if that is shorter: it is then finished, and
    /// another call goes on waiting; [`Error::Connection`] if it ended before everything
    /// had arrived.
    pub fn finish(&self) -> Result<(), Error> {
        let limit = self.calls.writing();
        self.run("finishing the connection", limit, self.inner.finish())?
    }

    /// Ends both directions now, and every call of other threads. What is queued is
    /// not sent; what was received and not taken is dropped, and its sender learns
    /// that. Returns when the peer has answered, or after `close_timeout`.
    pub fn close(&self, why: Close) {
        // Not to be ended early: it ends by itself.
        block_on(self.inner.close(why));
    }

    // --- Asking --------------------------------------------------------------------------

    /// Measures a round trip to the peer's protocol, which answers even if its
    /// program is busy elsewhere.
    ///
    /// # Errors
    /// [`Error`] if the connection has ended, or no answer comes in time.
    pub fn ping(&self) -> Result<Duration, Error> {
        let limit = self.calls.writing();
        self.run("waiting for the answer to a ping", limit, self.inner.ping())?
    }

    /// Whether the connection stands. Its loss is noticed within milliseconds.
    pub fn is_connected(&self) -> bool {
        self.inner.is_connected()
    }

    /// Why the connection has ended, once it has.
    pub fn end(&self) -> Option<ConnectionError> {
        self.inner.end()
    }

    /// Waits until the connection has ended, and says why. Messages that come meanwhile
    /// stay for [`recv`](Self::recv).
    ///
    /// # Errors
    /// [`Error::Timeout`] after the read timeout, [`Error::Interrupted`] if another
    /// thread ended the call.
    pub fn closed(&self) -> Result<ConnectionError, Error> {
        let limit = self.calls.reading();
        self.run("waiting for the end", limit, self.inner.closed())
    }

    /// Whether the stream was lost and the connection waits to go on over another one
    /// ([`resumption`](sealpipe_core::ConfigBuilder::resumption)). What is sent
    /// meanwhile is queued.
    pub fn is_suspended(&self) -> bool {
        self.inner.is_suspended()
    }

    /// Who is at the other end; `None` over a stream that was handed in, and over a
    /// WebSocket.
    pub fn peer(&self) -> Option<&Peer> {
        self.inner.peer()
    }

    /// Counters and gauges.
    pub fn stats(&self) -> Stats {
        self.inner.stats()
    }

    /// Sealed mode: a hash that is the same on both sides and on no other
    /// connection, for channel binding.
    pub fn handshake_hash(&self) -> Option<[u8; 32]> {
        self.inner.handshake_hash()
    }

    fn run<T>(
        &self,
        doing: &'static str,
        limit: Limit,
        call: impl Future<Output = T>,
    ) -> Result<T, Error> {
        self.calls
            .run(limit, call)
            .map_err(|ended| ended.error(doing))
    }
}
