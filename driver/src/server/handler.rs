//! What a server does with what comes.

use super::Client;
use crate::{Incoming, Request, Runtime};
use bytes::Bytes;
use sealpipe_core::{Rejection, service::RemoteError};
use std::{future::Future, sync::Arc};

/// What a server does with messages and requests; write the methods as
/// `async fn`. One handler serves all clients at once.
///
/// A client's messages are handled one after the other, in order, and its requests
/// side by side, up to a limit. A handler that panics ends its client's connection
/// and nothing else. A client that goes does not end its handlers: see
/// [`Request::cancelled`] for those that want to stop early.
pub trait Handler<R: Runtime>: Send + Sync + 'static {
    /// A message came. Its sender is told that it was processed when this returns,
    /// or that it was rejected, and why. To answer earlier or later than that, take
    /// the [verdict](Incoming::take_verdict) out of it.
    ///
    /// The client's next messages wait meanwhile, and keep their part of the window,
    /// which replies share: a handler that asks its client and waits for the reply
    /// may wait in vain where the client sends on. Let another task ask.
    fn message(
        &self,
        client: &Client<R>,
        message: &mut Incoming<R>,
    ) -> impl Future<Output = Result<(), Rejection>> + Send {
        let _ = (client, message);
        let none = Rejection::new(Rejection::UNSPECIFIED, "this server takes no messages");
        std::future::ready(Err(none))
    }

    /// A request came. To answer it elsewhere, [take](Request::take) it and return
    /// [`Response::Later`].
    fn request(
        &self,
        client: &Client<R>,
        request: &mut Request<R>,
    ) -> impl Future<Output = Result<Response, RemoteError>> + Send {
        let _ = (client, request);
        let none = RemoteError::new(RemoteError::NO_HANDLER, "this server answers no requests");
        std::future::ready(Err(none))
    }
}

/// Takes no messages and answers no requests: for a server that only publishes, or
/// [relays](super::ServerOptions::relay).
impl<R: Runtime> Handler<R> for () {}

/// For a handler that others reach too.
impl<R: Runtime, H: Handler<R>> Handler<R> for Arc<H> {
    fn message(
        &self,
        client: &Client<R>,
        message: &mut Incoming<R>,
    ) -> impl Future<Output = Result<(), Rejection>> + Send {
        (**self).message(client, message)
    }

    fn request(
        &self,
        client: &Client<R>,
        request: &mut Request<R>,
    ) -> impl Future<Output = Result<Response, RemoteError>> + Send {
        (**self).request(client, request)
    }
}

/// What a handler makes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// The reply.
    Now(Bytes),
    /// The request was taken, and whoever has it answers it.
    Later,
}

macro_rules! from {
    ($($payload:ty),+) => {
        $(impl From<$payload> for Response {
            fn from(payload: $payload) -> Response {
                Response::Now(payload.into())
            }
        })+
    };
}

from!(
    Bytes,
    Vec<u8>,
    String,
    &'static str,
    &'static [u8],
    Box<[u8]>
);
