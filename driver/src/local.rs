//! Streams of bytes, without the protocol: what connections run on, for programs that
//! have a protocol of their own.

use crate::{Error, Runtime, listener};
use sealpipe_endpoint::{Access, Address, Claim, Endpoint, ListenOptions, Peer};
use std::{fmt, io, sync::OnceLock};

/// The two directions of a stream, which an adapter makes its `LocalStream` of.
pub struct LocalHalves<R: Runtime> {
    /// The direction that bytes come in by.
    pub read: R::Read,
    /// The direction that bytes go out by.
    pub write: R::Write,
    pub(crate) peer: OnceLock<Peer>,
    /// For whom a client is to be checked that is known only later.
    #[cfg_attr(unix, allow(dead_code))]
    unchecked: Option<(Access, Address)>,
}

impl<R: Runtime> LocalHalves<R> {
    pub(crate) fn new((read, write): (R::Read, R::Write), peer: Peer) -> LocalHalves<R> {
        LocalHalves {
            read,
            write,
            peer: peer.into(),
            unchecked: None,
        }
    }

    /// Who is at the other end. On Windows a client is known only after something was
    /// read from it.
    pub fn peer(&self) -> Option<&Peer> {
        self.peer.get()
    }

    /// Checks the peer, if that could not be done before. For adapters: to be called
    /// when bytes were read, before they are handed out.
    ///
    /// # Errors
    /// `PermissionDenied` if the peer is another user's, now and with all that comes later.
    pub fn verify(&mut self) -> io::Result<()> {
        #[cfg(windows)]
        if let Some((access, address)) = &self.unchecked {
            let peer = listener::verified(&self.read, access, Some(address))?;
            let _ = self.peer.set(peer);
            self.unchecked = None;
        }
        Ok(())
    }
}

impl<R: Runtime> fmt::Debug for LocalHalves<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalHalves")
            .field("peer", &self.peer())
            .finish_non_exhaustive()
    }
}

/// A claimed endpoint that accepts clients, whose streams of bytes are left to the
/// program. Dropped, it gives the endpoint back.
#[must_use = "dropped, it gives the endpoint back"]
pub struct LocalListener<R: Runtime> {
    // First, so that a client finds nothing rather than a socket that refuses it.
    claim: Claim,
    access: Access,
    #[cfg(unix)]
    socket: R::Listener,
    #[cfg(windows)]
    waiting: Vec<R::Instance>,
}

impl<R: Runtime> LocalListener<R> {
    /// Claims the endpoint and listens to clients of the same user.
    ///
    /// # Errors
    /// As [`bind_with`](Self::bind_with).
    ///
    /// # Panics
    /// With tokio, outside of a runtime with I/O and time, as everything of tokio's.
    pub fn bind(endpoint: &Endpoint) -> Result<LocalListener<R>, Error> {
        LocalListener::bind_with(endpoint, &ListenOptions::new())
    }

    /// As [`bind`](Self::bind), for the clients that the options allow.
    ///
    /// # Errors
    /// [`Error::Endpoint`] if the address is in use (it says by whom), or cannot be
    /// had; [`Error::Io`] if the runtime cannot take the socket or pipe.
    ///
    /// # Panics
    /// As [`bind`](Self::bind).
    pub fn bind_with(
        endpoint: &Endpoint,
        options: &ListenOptions,
    ) -> Result<LocalListener<R>, Error> {
        LocalListener::listen(options.listen(endpoint)?, options.allowed().clone())
    }

    /// Accepts the clients that `access` allows on what listens already.
    ///
    /// # Errors
    /// [`Error::Io`] if the runtime cannot take the socket or pipe.
    ///
    /// # Panics
    /// As [`bind`](Self::bind).
    pub fn listen(
        listener: sealpipe_endpoint::Listener,
        access: Access,
    ) -> Result<LocalListener<R>, Error> {
        let (waiting, claim) = listener::waiting::<R>(listener)?;
        Ok(LocalListener {
            claim,
            access,
            #[cfg(unix)]
            socket: waiting,
            #[cfg(windows)]
            waiting,
        })
    }

    /// The next client. Dropping the future loses none. On Unix one of a user that is
    /// not allowed is sent away; on Windows the first read of its stream finds that
    /// out, and fails with `PermissionDenied`.
    ///
    /// # Errors
    /// [`Error::ListenerClosed`] if listening became impossible; what failed was
    /// logged. [`Error::Io`] if the runtime cannot take the client's stream.
    pub async fn accept(&mut self) -> Result<R::LocalStream, Error> {
        #[cfg(unix)]
        loop {
            let Some(stream) = listener::next_client::<R>(&self.socket, self.claim.address()).await
            else {
                return Err(Error::ListenerClosed);
            };
            match listener::identify(&stream, &self.access, self.claim.address()) {
                Ok(peer) => {
                    let halves =
                        R::stream(stream).map_err(Error::io("registering a client's socket"))?;
                    return Ok(LocalHalves::new(halves, peer).into());
                }
                Err(error) => tracing::warn!(%error, "a client was refused"),
            }
        }
        #[cfg(windows)]
        {
            let LocalListener { waiting, claim, .. } = self;
            let came = waiting
                .iter_mut()
                .map(|pipe| Box::pin(listener::next_client::<R>(pipe, claim)));
            let (pipe, _, _) = futures_util::future::select_all(came).await;
            let (read, write) =
                R::accepted(pipe).map_err(Error::io("registering a client's pipe"))?;
            let halves = LocalHalves {
                read,
                write,
                peer: OnceLock::new(),
                unchecked: Some((self.access.clone(), self.claim.address().clone())),
            };
            Ok(halves.into())
        }
    }

    /// Where it listens.
    pub fn address(&self) -> &Address {
        self.claim.address()
    }
}

impl<R: Runtime> fmt::Debug for LocalListener<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalListener")
            .field("address", self.address())
            .finish_non_exhaustive()
    }
}
