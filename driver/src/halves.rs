//! Owned halves of a connection, and `Stream`.

use crate::{
    Connection, Delivery, Error, Incoming, Permit, RequestError, Runtime, SendError,
    call::First,
    connection::{self, Owner},
    ending,
    feeding::{self, Gather},
    receiving::{self, Reading},
};
use bytes::Bytes;
use futures_core::Stream;
use sealpipe_core::{Close, ConnectionError, Message, Outcome, Stats};
use sealpipe_endpoint::Peer;
use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

/// The sending half. Clones send over the same connection.
pub struct Sender<R: Runtime> {
    pub(crate) owner: Arc<Owner<R>>,
    pub(crate) gather: Gather,
}

/// The receiving half.
pub struct Receiver<R: Runtime> {
    owner: Arc<Owner<R>>,
    reading: Reading,
}

pub(crate) fn split<R: Runtime>(owner: Arc<Owner<R>>) -> (Sender<R>, Receiver<R>) {
    let sender = Sender {
        owner: owner.clone(),
        gather: Gather::default(),
    };
    (
        sender,
        Receiver {
            owner,
            reading: Reading::default(),
        },
    )
}

impl<R: Runtime> Clone for Sender<R> {
    fn clone(&self) -> Sender<R> {
        Sender {
            owner: self.owner.clone(),
            gather: Gather::default(),
        }
    }
}

impl<R: Runtime> Sender<R> {
    /// As [`Connection::send`].
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub fn send(
        &self,
        message: impl Into<Message>,
    ) -> impl Future<Output = Result<Outcome, SendError>> + Send {
        crate::sending::send(&self.owner, message.into())
    }

    /// As [`Connection::queue`].
    ///
    /// # Errors
    /// As [`Connection::queue`].
    pub async fn queue(&self, message: impl Into<Message>) -> Result<Delivery<R>, SendError> {
        crate::sending::queue(&self.owner, message.into()).await
    }

    /// As [`Connection::try_send`].
    ///
    /// # Errors
    /// As [`Connection::try_send`].
    pub fn try_send(&self, message: impl Into<Message>) -> Result<Delivery<R>, SendError> {
        crate::sending::try_send(&self.owner, message.into())
    }

    /// As [`Connection::feed`].
    ///
    /// # Errors
    /// As [`Connection::feed`].
    pub fn feed(
        &self,
        message: impl Into<Message>,
    ) -> impl Future<Output = Result<(), SendError>> + Send {
        feeding::feed(&self.owner, message.into())
    }

    /// As [`Connection::flush`].
    ///
    /// # Errors
    /// As [`Connection::flush`].
    pub async fn flush(&self) -> Result<(), Error> {
        feeding::flush(&self.owner).await
    }

    /// As [`Connection::reserve`].
    ///
    /// # Errors
    /// As [`Connection::reserve`].
    pub async fn reserve(&self) -> Result<Permit<R>, Error> {
        crate::sending::reserve(&self.owner).await
    }

    /// As [`Connection::request`].
    ///
    /// # Errors
    /// As [`Connection::request`].
    pub async fn request(
        &self,
        payload: impl Into<Bytes>,
        deadline: Duration,
    ) -> Result<Bytes, RequestError> {
        crate::request::ask(&self.owner, payload.into(), deadline).await
    }

    /// As [`Connection::finish`].
    ///
    /// # Errors
    /// As [`Connection::finish`].
    pub async fn finish(&self) -> Result<(), Error> {
        ending::finish(&self.owner).await
    }

    /// Waits until no verdict is due on what was received.
    pub(crate) async fn decided(&self) {
        ending::decided(&self.owner).await;
    }

    /// Closes without waiting for the peer's goodbye.
    pub(crate) fn start_close(&self, why: Close) {
        ending::start_close(&self.owner, why);
    }

    /// As [`Connection::close`].
    pub async fn close(&self, why: Close) {
        ending::close(&self.owner, why).await;
    }

    /// As [`Connection::ping`].
    ///
    /// # Errors
    /// As [`Connection::ping`].
    pub async fn ping(&self) -> Result<Duration, Error> {
        connection::ping(&self.owner).await
    }

    /// As [`Connection::is_connected`].
    pub fn is_connected(&self) -> bool {
        self.owner
            .shared
            .session(|session| session.connection().is_open())
    }

    /// As [`Connection::end`].
    pub fn end(&self) -> Option<ConnectionError> {
        self.owner.end()
    }

    /// As [`Connection::closed`].
    pub async fn closed(&self) -> ConnectionError {
        ending::ended(&self.owner, First::Look).await.0
    }

    /// As [`Connection::stats`].
    pub fn stats(&self) -> Stats {
        self.owner
            .shared
            .session(|session| session.connection().stats())
    }

    /// As [`Connection::peer`].
    pub fn peer(&self) -> Option<&Peer> {
        self.owner.peer.get()
    }
}

impl<R: Runtime> Receiver<R> {
    /// As [`Connection::end`].
    pub fn end(&self) -> Option<ConnectionError> {
        self.owner.end()
    }

    /// As [`Connection::closed`].
    pub async fn closed(&self) -> ConnectionError {
        ending::ended(&self.owner, First::Look).await.0
    }

    /// As [`Connection::recv`].
    ///
    /// # Errors
    /// As [`Connection::recv`].
    pub fn recv(&mut self) -> impl Future<Output = Result<Option<Incoming<R>>, Error>> + Send {
        receiving::recv(&self.owner)
    }

    /// As [`Connection::try_recv`].
    pub fn try_recv(&mut self) -> Option<Result<Option<Incoming<R>>, Error>> {
        receiving::try_recv(&self.owner)
    }

    /// As [`Connection::peer`].
    pub fn peer(&self) -> Option<&Peer> {
        self.owner.peer.get()
    }
}

impl<R: Runtime> Stream for Receiver<R> {
    type Item = Result<Incoming<R>, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        receiving::poll_next(&this.owner, &mut this.reading, context)
    }
}

impl<R: Runtime> Stream for Connection<R> {
    type Item = Result<Incoming<R>, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        receiving::poll_next(&this.owner, &mut this.reading, context)
    }
}

impl<R: Runtime> Drop for Sender<R> {
    fn drop(&mut self) {
        self.owner.shared.leave(&mut self.gather.place);
    }
}

impl<R: Runtime> Drop for Receiver<R> {
    fn drop(&mut self) {
        self.owner.shared.leave(&mut self.reading.place);
    }
}

impl<R: Runtime> fmt::Debug for Sender<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("peer", &self.peer())
            .finish_non_exhaustive()
    }
}

impl<R: Runtime> fmt::Debug for Receiver<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("peer", &self.peer())
            .finish_non_exhaustive()
    }
}
