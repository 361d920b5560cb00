//! Taking connections: the handshakes run side by side in the background, and
//! `accept` yields finished ones, so that a silent peer holds up nobody.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub(crate) use unix::{identify, next_client, waiting};
#[cfg(windows)]
pub(crate) use windows::{next_client, verified, waiting};

use crate::{
    Connection, Error, Runtime,
    opening::{Opening, Sessions},
    transport::Transport,
};
use bytes::Buf as _;
use futures_channel::mpsc;
use futures_core::Stream;
use futures_util::future::{AbortHandle, abortable};
use sealpipe_core::{
    Config, Connection as Core, ConnectionError, Mismatch, Role, SendBuf, wire::Status,
};
use sealpipe_endpoint::{Access, Address, Endpoint, Peer};
use std::{
    fmt,
    future::{Future, poll_fn},
    marker::PhantomData,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

/// How long accepting rests when the process or the system is out of something.
pub(crate) const PAUSE: Duration = Duration::from_millis(50);

/// How to listen.
#[derive(Debug, Clone)]
#[must_use]
pub struct ListenOptions<R> {
    config: Arc<Config>,
    access: Access,
    handshakes: usize,
    #[cfg(feature = "websocket")]
    door: crate::websocket::Door,
    runtime: PhantomData<fn() -> R>,
}

impl<R: Runtime> ListenOptions<R> {
    /// The defaults: clients of the same user, 512 handshakes at once.
    pub fn new(config: impl Into<Arc<Config>>) -> ListenOptions<R> {
        ListenOptions {
            config: config.into(),
            access: Access::SameUser,
            handshakes: 512,
            #[cfg(feature = "websocket")]
            door: crate::websocket::Door::default(),
            runtime: PhantomData,
        }
    }

    /// Who may connect. The same user unless set.
    pub fn access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// How many handshakes may run at once, those that are done and wait for `accept`
    /// among them. Who comes when all are taken is told to try again later.
    pub fn max_handshakes(mut self, handshakes: usize) -> Self {
        self.handshakes = handshakes;
        self
    }

    /// The certificate of a listener at a `wss://` URL, and whom it asks for one.
    #[cfg(feature = "websocket")]
    pub fn tls(mut self, config: impl Into<Arc<crate::websocket::rustls::ServerConfig>>) -> Self {
        self.door.tls = Some(config.into());
        self
    }

    /// The web pages that may connect to a listener at a URL, each by its origin, as
    /// `https://example.org`. None unless set: any page could, in a browser of somebody
    /// who can reach the listener. Programs have no origin, and need none.
    #[cfg(feature = "websocket")]
    pub fn origins<S: Into<String>>(mut self, origins: impl IntoIterator<Item = S>) -> Self {
        self.door.origins = origins.into_iter().map(Into::into).collect();
        self
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    #[cfg(feature = "websocket")]
    pub(crate) fn allowed(&self) -> &Access {
        &self.access
    }

    /// Claims the endpoint and listens.
    ///
    /// # Errors
    /// [`Error::Endpoint`] if the address is in use (it says by whom), or cannot
    /// be had; [`Error::Io`] if the runtime cannot take the socket or pipe. At a URL,
    /// with the feature `websocket`, `Error::WebSocket` too.
    ///
    /// # Panics
    /// With tokio, outside of a runtime with I/O and time, as everything of tokio's.
    pub fn bind(&self, endpoint: &Endpoint) -> Result<Listener<R>, Error> {
        #[cfg(feature = "websocket")]
        if let Some(url) = endpoint.as_url() {
            return crate::websocket::listen(url, self.door.clone(), self);
        }
        self.listen(sealpipe_endpoint::listen(endpoint, &self.access)?)
    }

    /// Accepts on what listens already: a claim made with
    /// [`sealpipe_endpoint::ListenOptions`], or on Unix a socket that a service
    /// manager passed: `sealpipe_endpoint::activated`, or `Listener::adopt` there.
    ///
    /// # Errors
    /// [`Error::Io`] if the runtime cannot take the socket or pipe.
    ///
    /// # Panics
    /// As [`bind`](Self::bind).
    pub fn listen(&self, listener: sealpipe_endpoint::Listener) -> Result<Listener<R>, Error> {
        let address = listener.address().clone();
        #[cfg(unix)]
        {
            let (socket, claim) = waiting::<R>(listener)?;
            let start = |intake| Ok(vec![unix::start(socket, intake)]);
            let mut listener = self.listen_with(address, start)?;
            listener.claim = Some(claim);
            Ok(listener)
        }
        #[cfg(windows)]
        return self.listen_with(address, |intake| windows::start(listener, intake));
    }

    /// Has clients taken in by what `start` starts.
    pub(crate) fn listen_with(
        &self,
        address: Address,
        start: impl FnOnce(Intake<R>) -> Result<Vec<AbortHandle>, Error>,
    ) -> Result<Listener<R>, Error> {
        let (ready, accepted) = mpsc::unbounded();
        let intake = Intake {
            config: self.config.clone(),
            access: self.access.clone(),
            address: address.clone(),
            handshakes: Handshakes {
                running: Arc::default(),
                max: self.handshakes,
            },
            ready,
            sessions: Arc::default(),
        };
        let acceptors = start(intake)?;
        tracing::debug!(%address, "accepting");
        Ok(Listener {
            address,
            accepted,
            acceptors,
            #[cfg(unix)]
            claim: None,
        })
    }
}

/// A claimed endpoint. Dropped, it gives the endpoint back; connections that
/// were accepted live on. A socket that has a path is free at once; an abstract one, a
/// named pipe and a URL when the tasks that accept have seen it.
#[must_use = "dropped, it gives the endpoint back"]
pub struct Listener<R: Runtime> {
    address: Address,
    accepted: mpsc::UnboundedReceiver<(Connection<R>, Permit)>,
    acceptors: Vec<AbortHandle>,
    /// Given back when this is dropped.
    #[cfg(unix)]
    claim: Option<sealpipe_endpoint::Claim>,
}

impl<R: Runtime> Listener<R> {
    /// Claims the endpoint and listens to clients of the same user. With several
    /// keys in `config`, clients may use any of them.
    ///
    /// # Errors
    /// As [`ListenOptions::bind`].
    ///
    /// # Panics
    /// As [`ListenOptions::bind`].
    pub fn bind(endpoint: &Endpoint, config: impl Into<Arc<Config>>) -> Result<Listener<R>, Error> {
        ListenOptions::new(config).bind(endpoint)
    }

    /// The next connection whose handshake is done. Dropping the future loses
    /// none.
    ///
    /// # Errors
    /// [`Error::ListenerClosed`] if listening became impossible; what failed was
    /// logged.
    pub async fn accept(&mut self) -> Result<Connection<R>, Error> {
        poll_fn(|context| self.poll_accept(context))
            .await
            .ok_or(Error::ListenerClosed)
    }

    fn poll_accept(&mut self, context: &mut Context<'_>) -> Poll<Option<Connection<R>>> {
        let next = Pin::new(&mut self.accepted).poll_next(context);
        // Its place among the handshakes is free with this.
        next.map(|next| next.map(|(connection, _permit)| connection))
    }

    /// The connections, as a stream.
    pub fn incoming(&mut self) -> Incoming<'_, R> {
        Incoming(self)
    }

    /// Where it listens.
    pub fn address(&self) -> &Address {
        &self.address
    }
}

impl<R: Runtime> Drop for Listener<R> {
    fn drop(&mut self) {
        self.acceptors.iter().for_each(AbortHandle::abort);
        #[cfg(unix)]
        drop(self.claim.take());
    }
}

impl<R: Runtime> fmt::Debug for Listener<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// The connections of a [`Listener`], as a stream that ends only if listening
/// becomes impossible.
#[derive(Debug)]
pub struct Incoming<'a, R: Runtime>(&'a mut Listener<R>);

impl<R: Runtime> Stream for Incoming<'_, R> {
    type Item = Connection<R>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Connection<R>>> {
        self.0.poll_accept(context)
    }
}

/// Runs a task until it is aborted.
pub(crate) fn spawn<R: Runtime>(task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
    let (task, abort) = abortable(task);
    R::spawn(async {
        // An error means that it was aborted.
        let _ = task.await;
    });
    abort
}

/// How many handshakes run or wait for `accept`, and how many may.
#[derive(Clone)]
struct Handshakes {
    running: Arc<AtomicUsize>,
    max: usize,
}

/// A place among the handshakes, kept until `accept` takes the connection.
pub(crate) struct Permit(Arc<AtomicUsize>);

impl Handshakes {
    fn permit(&self) -> Option<Permit> {
        self.running
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |running| {
                (running < self.max).then_some(running.saturating_add(1))
            })
            .is_ok()
            .then(|| Permit(self.running.clone()))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// From a stream that was accepted to a connection that is ready.
pub(crate) struct Intake<R: Runtime> {
    config: Arc<Config>,
    access: Access,
    address: Address,
    handshakes: Handshakes,
    /// The permits bound it.
    ready: mpsc::UnboundedSender<(Connection<R>, Permit)>,
    sessions: Arc<Sessions<R>>,
}

// Not derived: that would ask the runtime to be `Clone` in the same breath.
impl<R: Runtime> Clone for Intake<R> {
    fn clone(&self) -> Intake<R> {
        Intake {
            config: self.config.clone(),
            access: self.access.clone(),
            address: self.address.clone(),
            handshakes: self.handshakes.clone(),
            ready: self.ready.clone(),
            sessions: self.sessions.clone(),
        }
    }
}

impl<R: Runtime> Intake<R> {
    #[cfg(feature = "websocket")]
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// A place among the handshakes, if one is free.
    pub(crate) fn permit(&self) -> Option<Permit> {
        let permit = self.handshakes.permit();
        if permit.is_none() {
            tracing::warn!(address = %self.address, "too many handshakes at once, a client was sent away");
        }
        permit
    }

    /// Runs the handshake in the background.
    fn shake_hands(&self, transport: Transport<R>, peer: Arc<OnceLock<Peer>>, permit: Permit) {
        let intake = self.clone();
        R::spawn(async move { intake.open(transport, peer, permit).await });
    }

    /// Runs the handshake, and hands the connection to `accept`.
    pub(crate) async fn open(
        &self,
        transport: Transport<R>,
        peer: Arc<OnceLock<Peer>>,
        permit: Permit,
    ) {
        let config = self.config.clone();
        let opening = Opening::begin(transport, Role::Responder, config, peer, None);
        let opened = match opening {
            Ok(opening) => opening.finish(&self.sessions).await,
            Err(error) => Err(error),
        };
        match opened {
            // The stream of a connection that was accepted before.
            Ok(None) => {}
            Ok(Some(connection)) => {
                // An error means that the listener has gone, and the connection with it.
                let _ = self.ready.unbounded_send((connection, permit));
            }
            Err(error) if is_visit(&error) => {
                let address = &self.address;
                tracing::debug!(%address, %error, "a visitor did not stay for the handshake");
            }
            Err(error) => {
                let address = &self.address;
                tracing::warn!(%address, %error, "a client did not get through the handshake");
            }
        }
    }

    /// What a client is told that is sent away: 16 bytes, which any stream takes at
    /// once; or nothing, on a wire that has no word for it.
    fn refusal(&self, status: Status) -> Option<SendBuf> {
        let now = R::now();
        let mut output = SendBuf::new();
        let config = self.config.clone();
        if let Ok(mut core) = Core::new(config, Role::Responder, &mut getrandom::SysRng, now) {
            core.refuse(status);
            core.poll_transmit(now, &mut output);
        }
        output.has_remaining().then_some(output)
    }
}

/// Somebody looked whether there is a server, and went; perhaps having asked for
/// version 0, which every server answers with its own (PROTOCOL.md, section 2).
const fn is_visit(error: &Error) -> bool {
    matches!(
        error,
        Error::Connection(
            ConnectionError::Lost(_) | ConnectionError::Mismatch(Mismatch::Version { peer: 0, .. })
        )
    )
}
