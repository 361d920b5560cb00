//! A connection as ipcez's users know it.

use super::{ConnectError, Variables, config, guide, place};
use crate::{Connection, Error, ListenOptions, Runtime, SendError};
use bytes::Bytes;
use sealpipe_core::{AckLevel, Close, ConnectionError, Message, Wire};
use sealpipe_endpoint::{Address, IpcezSignals};
use std::{
    fmt,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// How long [`Socket::send`] waits for the recipient.
const ACK: Duration = Duration::from_secs(5);

/// A connection that sends messages and hands those that come to one handler.
pub struct Socket<R: Runtime>(Arc<Inner<R>>);

struct Inner<R: Runtime> {
    connection: Connection<R>,
    signals: Option<Arc<IpcezSignals>>,
    /// Messages of the peer's whose signal that something is ready nothing was sent for
    /// yet. An original's own signal wakes its own reader, which must not be woken in vain.
    woken: AtomicU64,
}

impl<R: Runtime> fmt::Debug for Socket<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Socket").field(&self.0.connection).finish()
    }
}

impl<R: Runtime> Socket<R> {
    pub(super) fn new(connection: Connection<R>, signals: Option<Arc<IpcezSignals>>) -> Socket<R> {
        Socket(Arc::new(Inner {
            connection,
            signals,
            woken: AtomicU64::new(0),
        }))
    }

    /// Sends one message. On the native wire it returns when the message is in the peer's
    /// queue, for which it waits 5 s; on ipcez's, when the system has it.
    ///
    /// # Errors
    /// [`SendError`], which says what became of the message: too large, lost with the
    /// connection, or not acknowledged in time.
    pub async fn send(&self, message: impl Into<Bytes>) -> Result<(), SendError> {
        let Inner {
            connection,
            signals,
            woken,
        } = &*self.0;
        let message = Message::new(message);
        let message = match connection.owner.config.wire() {
            Wire::Native => message.with_ack(AckLevel::Received).with_deadline(ACK),
            _ => message,
        };
        connection.send(message).await?;
        if let Some(signals) = signals {
            let taken = woken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |woken| {
                woken.checked_sub(1)
            });
            if taken.is_err() {
                signals.ready();
            }
        }
        Ok(())
    }

    /// Has `handler` called with each message, one after the other, and once with the
    /// error when the connection has ended, whoever ended it; that is its last call. An
    /// orderly end is [`ConnectionError::Finished`] there.
    ///
    /// The handler keeps the connection: it stands until either side disconnects.
    /// Messages go to one handler; a second gets what the first has not taken.
    ///
    /// # Panics
    /// With tokio, outside of a runtime, as everything of tokio's.
    pub fn on_message<F, Fut>(&self, mut handler: F)
    where
        F: FnMut(Result<Bytes, Error>) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send,
    {
        let socket = Socket(self.0.clone());
        R::spawn(async move {
            loop {
                let message = socket.recv().await;
                let last = message.is_err();
                handler(message).await;
                if last {
                    return;
                }
            }
        });
    }

    /// The next message, for a program that needs no handler.
    ///
    /// # Errors
    /// [`Error::Connection`] when the connection has ended.
    pub async fn recv(&self) -> Result<Bytes, Error> {
        let Some(message) = self.0.connection.recv().await? else {
            return Err(ConnectionError::Finished.into());
        };
        if let Some(signals) = &self.0.signals {
            self.0.woken.fetch_add(1, Ordering::Relaxed);
            signals.acked();
        }
        let (message, verdict) = message.into_parts();
        verdict.accept();
        Ok(message.payload)
    }

    /// Ends the connection, also for the handler and for calls that wait.
    pub async fn disconnect(&self) {
        let why = Close::new(Close::DONE, "disconnected");
        self.0.connection.close(why).await;
    }

    /// The connection itself, for what else it can do.
    pub fn connection(&self) -> &Connection<R> {
        &self.0.connection
    }
}

/// A claimed endpoint, whose clients may be originals.
#[derive(Debug)]
pub struct Listener<R: Runtime> {
    listener: crate::Listener<R>,
    signals: Option<Arc<IpcezSignals>>,
}

impl<R: Runtime> Listener<R> {
    /// Listens at the endpoint on ipcez's wire, to clients of the same user. What the
    /// environment says wrong about it is told on standard error, too.
    ///
    /// # Errors
    /// [`ConnectError`].
    ///
    /// # Panics
    /// As [`ListenOptions::bind`].
    pub fn bind(endpoint: &str) -> Result<Listener<R>, ConnectError> {
        Listener::bind_with(endpoint, &ListenOptions::new(config())).inspect_err(guide)
    }

    /// Listens as the options say. Nothing is written to standard error.
    ///
    /// # Errors
    /// [`ConnectError`].
    ///
    /// # Panics
    /// As [`ListenOptions::bind`].
    pub fn bind_with(
        endpoint: &str,
        options: &ListenOptions<R>,
    ) -> Result<Listener<R>, ConnectError> {
        let found = place::resolve(endpoint, &Variables::current())?;
        let listener = options.bind(&found)?;
        let has_signals = options.config().wire() == Wire::Be32 && found.as_url().is_none();
        let claimed = has_signals.then(|| IpcezSignals::claim(endpoint));
        let signals = match claimed.transpose() {
            Ok(signals) => signals.map(Arc::new),
            Err(error) => {
                tracing::warn!(%error, "ipcez's own clients will wait for acks in vain");
                None
            }
        };
        Ok(Listener { listener, signals })
    }

    /// The next client.
    ///
    /// # Errors
    /// As [`Listener::accept`](crate::Listener::accept).
    pub async fn accept(&mut self) -> Result<Socket<R>, Error> {
        let connection = self.listener.accept().await?;
        Ok(Socket::new(connection, self.signals.clone()))
    }

    /// Where it listens.
    pub fn address(&self) -> &Address {
        self.listener.address()
    }
}

impl<R: Runtime> Drop for Listener<R> {
    fn drop(&mut self) {
        // Before the endpoint is given back. Sockets that live on keep the signals, whose
        // names may be the next listener's by the time they go.
        if let Some(signals) = &self.signals {
            signals.unlink();
        }
    }
}
