//! Taking connections: the handshakes run side by side in the background, and
//! `accept` yields finished ones, so that a silent peer holds up nobody.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use crate::{Connection, Error, shared::Transport};
use futures_core::Stream;
use sealpipe_core::{Config, Role};
use sealpipe_endpoint::{Access, Address, Endpoint, Peer};
use std::{
    fmt,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::AbortHandle,
};

/// Finished handshakes that wait for `accept`.
const READY: usize = 128;

/// How to listen.
#[derive(Debug, Clone)]
#[must_use]
pub struct ListenOptions {
    config: Arc<Config>,
    access: Access,
    handshakes: usize,
}

impl ListenOptions {
    /// The defaults: clients of the same user, 512 handshakes at once.
    pub fn new(config: impl Into<Arc<Config>>) -> ListenOptions {
        ListenOptions {
            config: config.into(),
            access: Access::SameUser,
            handshakes: 512,
        }
    }

    /// Who may connect. The same user unless set.
    pub fn access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// How many handshakes may run at once. Who comes when all are taken is told
    /// to try again later.
    pub fn max_handshakes(mut self, handshakes: usize) -> Self {
        self.handshakes = handshakes;
        self
    }

    /// Claims the endpoint and listens.
    ///
    /// # Errors
    /// [`Error::Endpoint`] if the address is in use (it says by whom), or cannot
    /// be had.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O and time, as everything of tokio's.
    pub fn bind(&self, endpoint: &Endpoint) -> Result<Listener, Error> {
        let listener = sealpipe_endpoint::listen(endpoint, &self.access)?;
        let address = listener.address().clone();
        let (ready, accepted) = mpsc::channel(READY);
        let intake = Intake {
            config: self.config.clone(),
            access: self.access.clone(),
            address: address.clone(),
            permits: Arc::new(Semaphore::new(self.handshakes)),
            ready,
        };
        #[cfg(unix)]
        let acceptors = unix::start(listener, intake)?;
        #[cfg(windows)]
        let acceptors = windows::start(listener, intake)?;
        tracing::debug!(%address, "listening");
        Ok(Listener {
            address,
            accepted,
            acceptors,
        })
    }
}

/// A claimed endpoint. Dropped, it gives the endpoint back; connections that
/// were accepted live on.
pub struct Listener {
    address: Address,
    accepted: mpsc::Receiver<Connection>,
    acceptors: Vec<AbortHandle>,
}

impl Listener {
    /// Claims the endpoint and listens to clients of the same user. With several
    /// keys in `config`, clients may use any of them.
    ///
    /// # Errors
    /// As [`ListenOptions::bind`].
    ///
    /// # Panics
    /// As [`ListenOptions::bind`].
    pub fn bind(endpoint: &Endpoint, config: impl Into<Arc<Config>>) -> Result<Listener, Error> {
        ListenOptions::new(config).bind(endpoint)
    }

    /// The next connection whose handshake is done. Dropping the future loses
    /// none.
    ///
    /// # Errors
    /// [`Error::ListenerClosed`] if listening became impossible; what failed was
    /// logged.
    pub async fn accept(&mut self) -> Result<Connection, Error> {
        self.accepted.recv().await.ok_or(Error::ListenerClosed)
    }

    /// The connections, as a stream.
    pub fn incoming(&mut self) -> Incoming<'_> {
        Incoming(self)
    }

    /// Where it listens.
    pub fn address(&self) -> &Address {
        &self.address
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.acceptors.iter().for_each(AbortHandle::abort);
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// The connections of a [`Listener`], as a stream that ends only if listening
/// becomes impossible.
#[derive(Debug)]
pub struct Incoming<'a>(&'a mut Listener);

impl Stream for Incoming<'_> {
    type Item = Connection;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Connection>> {
        self.0.accepted.poll_recv(context)
    }
}

/// From a stream that was accepted to a connection that is ready.
#[derive(Clone)]
struct Intake {
    config: Arc<Config>,
    access: Access,
    address: Address,
    permits: Arc<Semaphore>,
    ready: mpsc::Sender<Connection>,
}

impl Intake {
    /// A place among the handshakes, if one is free.
    fn permit(&self) -> Option<OwnedSemaphorePermit> {
        self.permits.clone().try_acquire_owned().ok()
    }

    /// Runs the handshake in the background.
    fn shake_hands(
        &self,
        transport: Transport,
        peer: Arc<OnceLock<Peer>>,
        permit: OwnedSemaphorePermit,
    ) {
        let intake = self.clone();
        tokio::spawn(async move {
            let Intake {
                config,
                ready,
                address,
                ..
            } = intake;
            match Connection::establish(transport, Role::Responder, config, peer).await {
                Ok(connection) => {
                    // An error means that the listener has gone, and the connection with it.
                    let _ = ready.send(connection).await;
                }
                Err(error) => {
                    tracing::warn!(%address, %error, "a client did not get through the handshake")
                }
            }
            drop(permit);
        });
    }
}
