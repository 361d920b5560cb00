//! The blocking adapter, each of its calls on a thread of its own.

use crate::{
    Raw,
    api::{self, Adapter},
};
use sealpipe_blocking::{ConnectOptions, Incoming, Interrupter, Json, ListenOptions};
use sealpipe_driver::{
    Error, RequestError, SendError,
    vocabulary::{
        Access, Address, Close, Config, ConnectionError, Endpoint, Message, Outcome, Peer, Role,
        Stats, rustls,
    },
};
use sealpipe_smol::Smol;
use serde::{Serialize, de::DeserializeOwned};
use std::{
    fmt,
    future::Future,
    io::{self, Read, Write},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf},
    runtime::Handle,
    sync::watch,
    task::spawn_blocking,
};

/// sealpipe-blocking.
#[derive(Debug, Clone, Copy)]
pub struct Blocking;

/// Makes a call on a thread of its own.
async fn call<T: Send + 'static>(blocks: impl FnOnce() -> T + Send + 'static) -> T {
    spawn_blocking(blocks).await.expect("a call returns")
}

/// Makes a call by a handle that is used for nothing else, and ends it if the future
/// is dropped.
async fn call_by<T: Send + 'static>(
    interrupter: Interrupter,
    blocks: impl FnOnce() -> T + Send + 'static,
) -> T {
    let mut ends = Ends(Some(interrupter));
    let result = call(blocks).await;
    ends.0 = None;
    result
}

struct Ends(Option<Interrupter>);

impl Drop for Ends {
    fn drop(&mut self) {
        if let Some(interrupter) = &self.0 {
            interrupter.interrupt();
        }
    }
}

impl Blocking {
    /// A connection over streams that block.
    ///
    /// # Errors
    /// As `Connection::from_io`.
    pub async fn from_io(
        reader: impl Read + Send + 'static,
        writer: impl Write + Send + 'static,
        role: Role,
        config: impl Into<Arc<Config>>,
    ) -> Result<Connection, Error> {
        let config = config.into();
        call(move || sealpipe_blocking::Connection::from_io(reader, writer, role, config))
            .await
            .map(Connection)
    }
}

impl Adapter for Blocking {
    const NAME: &'static str = "blocking";
    type Runtime = Smol;
    type Connection = Connection;
    type Listener = Listener;

    fn bind(endpoint: &Endpoint, config: impl Into<Arc<Config>>) -> Result<Listener, Error> {
        sealpipe_blocking::Listener::bind(endpoint, config).map(Listener::new)
    }

    fn bind_with(
        endpoint: &Endpoint,
        access: Access,
        tls: Option<Arc<rustls::ServerConfig>>,
        config: impl Into<Arc<Config>>,
    ) -> Result<Listener, Error> {
        let options = ListenOptions::new(config).access(access);
        let listener = match tls {
            Some(tls) => options.tls(tls).bind(endpoint),
            None => options.bind(endpoint),
        };
        listener.map(Listener::new)
    }

    async fn connect_with(
        endpoint: &Endpoint,
        server: Access,
        tls: Option<Arc<rustls::ClientConfig>>,
        config: impl Into<Arc<Config>> + Send,
    ) -> Result<Connection, Error> {
        let mut options = ConnectOptions::new(config).server(server);
        if let Some(tls) = tls {
            options = options.tls(tls);
        }
        let endpoint = endpoint.clone();
        call(move || options.connect(&endpoint))
            .await
            .map(Connection)
    }

    fn listen(
        listener: sealpipe_endpoint::Listener,
        handshakes: usize,
        config: impl Into<Arc<Config>>,
    ) -> Result<Listener, Error> {
        ListenOptions::new(config)
            .max_handshakes(handshakes)
            .listen(listener)
            .map(Listener::new)
    }

    async fn connect_within(
        limit: Duration,
        waits: bool,
        endpoint: &Endpoint,
        config: impl Into<Arc<Config>> + Send,
    ) -> Result<Connection, Error> {
        let options = ConnectOptions::new(config).timeout(limit);
        let (options, endpoint) = (options.wait_for_server(waits), endpoint.clone());
        call(move || options.connect(&endpoint))
            .await
            .map(Connection)
    }

    async fn pair(
        config: impl Into<Arc<Config>> + Send,
    ) -> Result<(Connection, Connection), Error> {
        let config = config.into();
        let (a, b) = call(|| sealpipe_blocking::Connection::pair(config)).await?;
        Ok((Connection(a), Connection(b)))
    }

    async fn over(
        stream: Raw,
        role: Role,
        config: impl Into<Arc<Config>> + Send,
    ) -> Result<Connection, Error> {
        let (reader, writer) = blocking_halves(stream);
        Blocking::from_io(reader, writer, role, config).await
    }

    async fn from_handle(
        stream: sealpipe_endpoint::Stream,
        role: Role,
        access: &Access,
        config: impl Into<Arc<Config>> + Send,
    ) -> Result<Connection, Error> {
        let (access, config) = (access.clone(), config.into());
        call(move || {
            #[cfg(unix)]
            return sealpipe_blocking::Connection::from_std(stream, role, &access, config);
            #[cfg(windows)]
            return sealpipe_blocking::Connection::from_handle(stream, role, &access, config);
        })
        .await
        .map(Connection)
    }
}

/// A listener of sealpipe-blocking's.
#[derive(Debug)]
pub struct Listener {
    accepting: Arc<Mutex<Accepting>>,
    interrupter: Interrupter,
    address: Address,
}

#[derive(Debug)]
struct Accepting {
    listener: sealpipe_blocking::Listener,
    /// Until a future takes it: the one that asked for it may have been dropped.
    accepted: Option<Result<sealpipe_blocking::Connection, Error>>,
}

impl Listener {
    fn new(listener: sealpipe_blocking::Listener) -> Listener {
        Listener {
            interrupter: listener.interrupter(),
            address: listener.address().clone(),
            accepting: Arc::new(Mutex::new(Accepting {
                listener,
                accepted: None,
            })),
        }
    }
}

impl api::Listener for Listener {
    type Connection = Connection;

    async fn accept(&mut self) -> Result<Connection, Error> {
        let (accepting, interrupter) = (self.accepting.clone(), self.interrupter.clone());
        let given_up = Arc::<AtomicBool>::default();
        let mut ends = Ends(Some(interrupter.clone()));
        // Dropped first: a call that has not begun yet must see it.
        let _marks = Marks(given_up.clone());
        call(move || {
            // When the call before, which may have been ended, has returned.
            let mut accepting = lock(&accepting);
            interrupter.clear();
            if given_up.load(Ordering::SeqCst) {
                interrupter.interrupt();
            }
            if accepting.accepted.is_none() {
                let accepted = accepting.listener.accept();
                if !matches!(accepted, Err(Error::Interrupted { .. })) {
                    accepting.accepted = Some(accepted);
                }
            }
        })
        .await;
        ends.0 = None;
        let accepted = lock(&self.accepting).accepted.take();
        accepted.expect("nobody has interrupted it").map(Connection)
    }

    fn address(&self) -> Address {
        self.address.clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says that a future was dropped.
struct Marks(Arc<AtomicBool>);

impl Drop for Marks {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A connection of sealpipe-blocking's.
#[derive(Debug)]
pub struct Connection(sealpipe_blocking::Connection);

impl Connection {
    /// A call by a handle of its own, so that it can be ended alone.
    async fn call<T: Send + 'static>(
        &self,
        blocks: impl FnOnce(&sealpipe_blocking::Connection) -> T + Send + 'static,
    ) -> T {
        let own = self.0.try_clone();
        call_by(own.interrupter(), move || blocks(&own)).await
    }
}

impl api::Connection for Connection {
    type Runtime = Smol;
    type Delivery = Delivery;
    type Permit = Permit;

    async fn send(&self, message: impl Into<Message> + Send) -> Result<Outcome, SendError> {
        let message = message.into();
        self.call(|own| own.send(message)).await
    }

    fn try_send(&self, message: impl Into<Message>) -> Result<Delivery, SendError> {
        let own = self.0.try_clone();
        let delivery = own.try_send(message)?;
        Ok(Delivery::new(delivery, own.interrupter()))
    }

    async fn feed(&self, message: impl Into<Message> + Send) -> Result<(), SendError> {
        let message = message.into();
        self.call(|own| own.feed(message)).await
    }

    async fn flush(&self) -> Result<(), Error> {
        self.call(|own| own.flush()).await
    }

    async fn reserve(&self) -> Result<Permit, Error> {
        let reserve = |own: &sealpipe_blocking::Connection| (own.reserve(), own.interrupter());
        let (permit, interrupter) = self.call(reserve).await;
        Ok(Permit(permit?, interrupter))
    }

    async fn recv(&self) -> Result<Option<Incoming>, Error> {
        self.call(|own| own.recv()).await
    }

    fn try_recv(&self) -> Option<Result<Option<Incoming>, Error>> {
        self.0.try_recv()
    }

    async fn request_json<A: DeserializeOwned + Send + 'static>(
        &self,
        value: impl Serialize + Send + Sync + 'static,
        deadline: Duration,
    ) -> Result<A, RequestError> {
        self.call(move |own| own.request_as(Json, &value, deadline))
            .await
    }

    async fn finish(&self) -> Result<(), Error> {
        self.call(|own| own.finish()).await
    }

    async fn close(&self, why: Close) {
        self.call(|own| own.close(why)).await;
    }

    async fn ping(&self) -> Result<Duration, Error> {
        self.call(|own| own.ping()).await
    }

    fn is_connected(&self) -> bool {
        self.0.is_connected()
    }

    fn end(&self) -> Option<ConnectionError> {
        self.0.end()
    }

    async fn closed(&self) -> Result<ConnectionError, Error> {
        self.call(|own| own.closed()).await
    }

    fn peer(&self) -> Option<&Peer> {
        self.0.peer()
    }

    fn stats(&self) -> Stats {
        self.0.stats()
    }

    fn handshake_hash(&self) -> Option<[u8; 32]> {
        self.0.handshake_hash()
    }
}

/// Room for one message.
#[derive(Debug)]
pub struct Permit(sealpipe_blocking::Permit, Interrupter);

impl api::Permit for Permit {
    type Delivery = Delivery;

    fn send(self, message: impl Into<Message>) -> Result<Delivery, SendError> {
        Ok(Delivery::new(self.0.send(message)?, self.1))
    }
}

/// A message that was queued: its outcome is waited for when it is asked for.
pub struct Delivery(Pin<Box<dyn Future<Output = Result<Outcome, SendError>> + Send>>);

impl Delivery {
    fn new(delivery: sealpipe_blocking::Delivery, interrupter: Interrupter) -> Delivery {
        Delivery(Box::pin(call_by(interrupter, move || delivery.wait())))
    }
}

impl Future for Delivery {
    type Output = Result<Outcome, SendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(context)
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Delivery")
    }
}

/// A raw stream as one that blocks. Its end is told to the other side when the writer
/// is dropped, as `from_io` asks for.
fn blocking_halves(stream: Raw) -> (Reader, Writer) {
    let runtime = Handle::current();
    let (read, write) = tokio::io::split(stream);
    let (alive, ended) = watch::channel(());
    let reader = Reader {
        stream: read,
        ended,
        runtime: runtime.clone(),
    };
    let writer = Writer {
        stream: write,
        runtime,
        _alive: alive,
    };
    (reader, writer)
}

struct Reader {
    stream: ReadHalf<Raw>,
    ended: watch::Receiver<()>,
    runtime: Handle,
}

impl Read for Reader {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let (stream, ended) = (&mut self.stream, &mut self.ended);
        self.runtime.block_on(async {
            tokio::select! {
                result = stream.read(room) => result,
                _ = ended.changed() => Ok(0),
            }
        })
    }
}

struct Writer {
    stream: WriteHalf<Raw>,
    runtime: Handle,
    _alive: watch::Sender<()>,
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.runtime.block_on(self.stream.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.runtime.block_on(self.stream.flush())
    }
}
