//! Named pipes: several instances wait for clients, one of which takes each.
#![allow(unsafe_code)]

use mio::{Interest, Registry, Token};
use sealpipe_endpoint::{Access, Address, Claim, Endpoint, Peer, client_of};
use std::{
    error::Error,
    io::{self, ErrorKind},
    mem,
    os::windows::io::{AsRawHandle, BorrowedHandle, FromRawHandle, IntoRawHandle, OwnedHandle},
};

pub(crate) use mio::windows::NamedPipe as Stream;

/// Instances that wait for a client at any time. A client that finds none free
/// must wait and try again, so a burst of clients wants many.
const WAITING: usize = 64;

/// The instances that wait, and the means to make more.
pub(crate) struct Listener {
    claim: Claim,
    waiting: Vec<Stream>,
    token: Token,
}

impl Listener {
    pub(crate) fn bind(
        endpoint: &Endpoint,
        registry: &Registry,
        token: Token,
    ) -> Result<Listener, Box<dyn Error>> {
        let (first, claim) = sealpipe_endpoint::listen(endpoint, &Access::SameUser)?.into_parts();
        let mut waiting = vec![instance(first, registry, token)?];
        while waiting.len() < WAITING {
            waiting.push(instance(claim.next_instance()?, registry, token)?);
        }
        Ok(Listener {
            claim,
            waiting,
            token,
        })
    }

    pub(crate) fn address(&self) -> &Address {
        self.claim.address()
    }

    /// The next client, whose events will bear `token`. An instance tells by
    /// becoming writable that it has one; `connect` then says so again.
    pub(crate) fn accept(&mut self, registry: &Registry, token: Token) -> io::Result<Stream> {
        for pipe in &mut self.waiting {
            match pipe.connect() {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                // Reading from it will tell the same, to the one who takes it.
                Err(error) => tracing::debug!(%error, "a client left before it was accepted"),
            }
            // Before this one is handed out: the name must never be without one.
            // Where the system has no room for it, accepting rests.
            let next = self
                .claim
                .next_instance()
                .map_err(|error| io::Error::new(ErrorKind::OutOfMemory, error))?;
            let next = instance(next, registry, self.token)?;
            let mut connected = mem::replace(pipe, next);
            registry.reregister(
                &mut connected,
                token,
                Interest::READABLE | Interest::WRITABLE,
            )?;
            return Ok(connected);
        }
        Err(ErrorKind::WouldBlock.into())
    }
}

/// An instance that clients can connect to. Dropped while it writes, it lives on
/// until that is done: what was handed over still goes out.
fn instance(handle: OwnedHandle, registry: &Registry, token: Token) -> io::Result<Stream> {
    // SAFETY: endpoint makes instances for overlapped use, and the handle's
    // ownership is handed over here.
    let mut pipe = unsafe { Stream::from_raw_handle(handle.into_raw_handle()) };
    registry.register(&mut pipe, token, Interest::READABLE | Interest::WRITABLE)?;
    Ok(pipe)
}

/// Who is at the other end; known once it has sent something.
pub(crate) fn peer_of(pipe: &Stream) -> Result<Peer, sealpipe_endpoint::Error> {
    // SAFETY: the pipe, which is borrowed, keeps the handle open.
    client_of(&unsafe { BorrowedHandle::borrow_raw(pipe.as_raw_handle()) })
}
