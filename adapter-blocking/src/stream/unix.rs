//! Unix sockets: std's own, traced, and with the check of the peer.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sealpipe_endpoint::{Access, Claim, Connected, Peer};

use super::{LocalListener, LocalStream};

pub(super) struct Stream(UnixStream);

impl Stream {
    pub(super) fn connected(connected: Connected) -> io::Result<Stream> {
        Stream::blocking(connected.stream)
    }

    pub(super) fn pair() -> io::Result<(Stream, Stream)> {
        let (one, other) = UnixStream::pair()?;
        tracing::trace!(?one, ?other, "socketpair");
        for stream in [&one, &other] {
            sealpipe_endpoint::prepare(stream)?;
        }
        Ok((Stream(one), Stream(other)))
    }

    fn blocking(socket: UnixStream) -> io::Result<Stream> {
        let stream = Stream(socket);
        stream.set_nonblocking(false)?;
        Ok(stream)
    }

    pub(super) fn try_clone(&self) -> io::Result<Stream> {
        self.traced("dup", self.0.try_clone()).map(Stream)
    }

    pub(super) fn local_addr(&self) -> io::Result<Addr> {
        self.traced("getsockname", self.0.local_addr())
    }

    pub(super) fn peer_addr(&self) -> io::Result<Addr> {
        self.traced("getpeername", self.0.peer_addr())
    }

    pub(super) fn peer(&self) -> io::Result<Peer> {
        Ok(sealpipe_endpoint::peer_of(&self.0)?)
    }

    pub(super) fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.traced("set SO_RCVTIMEO", self.0.set_read_timeout(timeout))
    }

    pub(super) fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.traced("set SO_SNDTIMEO", self.0.set_write_timeout(timeout))
    }

    pub(super) fn read_timeout(&self) -> io::Result<Option<Duration>> {
        self.traced("get SO_RCVTIMEO", self.0.read_timeout())
    }

    pub(super) fn write_timeout(&self) -> io::Result<Option<Duration>> {
        self.traced("get SO_SNDTIMEO", self.0.write_timeout())
    }

    pub(super) fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.traced("set FIONBIO", self.0.set_nonblocking(nonblocking))
    }

    pub(super) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.traced("shutdown", self.0.shutdown(how))
    }

    pub(super) fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.traced("get SO_ERROR", self.0.take_error())
    }

    pub(super) fn read_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.traced("readv", (&self.0).read_vectored(buffers))
    }

    pub(super) fn write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.traced("writev", (&self.0).write_vectored(slices))
    }

    /// Whatever was taken is the system's.
    pub(super) fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    fn traced<T: fmt::Debug>(&self, call: &str, result: io::Result<T>) -> io::Result<T> {
        traced(&self.0, call, result)
    }
}

pub(super) struct Listener {
    // First, so that a client finds nothing rather than a socket that refuses it.
    claim: Arc<Claim>,
    socket: UnixListener,
    access: Access,
}

impl Listener {
    pub(super) fn new(
        listener: sealpipe_endpoint::Listener,
        access: Access,
    ) -> io::Result<Listener> {
        let (socket, claim) = listener.into_parts();
        let listener = Listener {
            claim: Arc::new(claim),
            socket,
            access,
        };
        listener.set_nonblocking(false)?;
        Ok(listener)
    }

    pub(super) fn accept(&self) -> io::Result<(Stream, Addr)> {
        loop {
            let (socket, peer) = self.traced("accept", self.socket.accept())?;
            match self.check(&socket) {
                // Some systems hand on what was set for the listener.
                Ok(()) => return Ok((Stream::blocking(socket)?, peer)),
                Err(error) => tracing::warn!(%error, "a client was refused"),
            }
        }
    }

    fn check(&self, socket: &UnixStream) -> Result<(), sealpipe_endpoint::Error> {
        sealpipe_endpoint::prepare(socket)?;
        let peer = sealpipe_endpoint::peer_of(socket)?;
        self.access
            .check(&peer)
            .map_err(|error| error.at(self.claim.address()))
    }

    pub(super) fn local_addr(&self) -> io::Result<Addr> {
        self.traced("getsockname", self.socket.local_addr())
    }

    pub(super) fn try_clone(&self) -> io::Result<Listener> {
        Ok(Listener {
            claim: self.claim.clone(),
            socket: self.traced("dup", self.socket.try_clone())?,
            access: self.access.clone(),
        })
    }

    pub(super) fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.traced("set FIONBIO", self.socket.set_nonblocking(nonblocking))
    }

    pub(super) fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.traced("get SO_ERROR", self.socket.take_error())
    }

    fn traced<T: fmt::Debug>(&self, call: &str, result: io::Result<T>) -> io::Result<T> {
        traced(&self.socket, call, result)
    }
}

pub(super) type Addr = SocketAddr;

pub(super) fn is_unnamed(address: &Addr) -> bool {
    address.is_unnamed()
}

pub(super) fn as_pathname(address: &Addr) -> Option<&Path> {
    address.as_pathname()
}

pub(super) fn fmt(address: &Addr, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    fmt::Debug::fmt(address, f)
}

fn traced<T: fmt::Debug>(
    socket: &impl AsRawFd,
    call: &str,
    result: io::Result<T>,
) -> io::Result<T> {
    tracing::trace!(fd = socket.as_raw_fd(), ?result, "{call}");
    result
}

impl AsFd for LocalListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.socket.as_fd()
    }
}

impl AsRawFd for LocalListener {
    fn as_raw_fd(&self) -> RawFd {
        self.0.socket.as_raw_fd()
    }
}

impl AsFd for LocalStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.0.as_fd()
    }
}

impl AsRawFd for LocalStream {
    fn as_raw_fd(&self) -> RawFd {
        self.0.0.as_raw_fd()
    }
}

/// Takes a stream as it is: whoever connected it has checked the peer.
impl From<UnixStream> for LocalStream {
    fn from(socket: UnixStream) -> LocalStream {
        LocalStream(Stream(socket))
    }
}

/// Takes a socket as it is: whoever connected it has checked the peer.
impl From<OwnedFd> for LocalStream {
    fn from(socket: OwnedFd) -> LocalStream {
        UnixStream::from(socket).into()
    }
}

impl From<LocalStream> for UnixStream {
    fn from(stream: LocalStream) -> UnixStream {
        stream.0.0
    }
}

impl From<LocalStream> for OwnedFd {
    fn from(stream: LocalStream) -> OwnedFd {
        stream.0.0.into()
    }
}

/// Takes a socket that listens already, as one that was passed when a service
/// manager started this program, for clients of the same user.
impl TryFrom<UnixListener> for LocalListener {
    type Error = io::Error;

    fn try_from(socket: UnixListener) -> io::Result<LocalListener> {
        let listener = sealpipe_endpoint::Listener::adopt(socket)?;
        Listener::new(listener, Access::SameUser).map(LocalListener)
    }
}
