//! Unix sockets.

use mio::{Interest, Registry, Token, net::UnixListener};
use sealpipe_endpoint::{Access, Address, Claim, Endpoint};
use std::{error::Error, io};
pub(crate) use {mio::net::UnixStream as Stream, sealpipe_endpoint::peer_of};

/// A socket that listens, and the claim on its name.
pub(crate) struct Listener {
    claim: Claim,
    socket: UnixListener,
}

impl Listener {
    pub(crate) fn bind(
        endpoint: &Endpoint,
        registry: &Registry,
        token: Token,
    ) -> Result<Listener, Box<dyn Error>> {
        let (socket, claim) = sealpipe_endpoint::listen(endpoint, &Access::SameUser)?.into_parts();
        let mut socket = UnixListener::from_std(socket);
        registry.register(&mut socket, token, Interest::READABLE)?;
        Ok(Listener { claim, socket })
    }

    pub(crate) fn address(&self) -> &Address {
        self.claim.address()
    }

    /// The next client, whose events will bear `token`.
    pub(crate) fn accept(&mut self, registry: &Registry, token: Token) -> io::Result<Stream> {
        let (mut stream, _) = self.socket.accept()?;
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        // Raises buffers where they are small; failing costs speed only.
        let _ = sealpipe_endpoint::prepare(&stream);
        Ok(stream)
    }
}
