//! Streams of bytes between two programs of one machine, with the interface of
//! std's `UnixListener` and `UnixStream` on both systems.
//!
//! ```
//! use sealpipe_blocking::{LocalListener, LocalStream};
//! use std::io::{Read, Write};
//!
//! # fn main() -> std::io::Result<()> {
//! # #[cfg(unix)] let own = tempfile::tempdir()?;
//! # #[cfg(unix)] let place = own.path().join("app.sock");
//! # #[cfg(windows)] let place = format!("doc-stream-{}", std::process::id());
//! let listener = LocalListener::bind(&place)?;
//! let mut client = LocalStream::connect(&place)?;
//! let (mut server, _) = listener.accept()?;
//! client.write_all(b"hello")?;
//! drop(client);
//! let mut text = String::new();
//! server.read_to_string(&mut text)?;
//! assert_eq!(text, "hello");
//! # Ok(()) }
//! ```
//!
//! # Where to meet
//!
//! What [`bind`](LocalListener::bind) and [`connect`](LocalStream::connect) take
//! is a name as `app`, for which each system has a place (see [`Endpoint`]), or
//! that place itself: a path with a separator in it on Unix, a full pipe name
//! (`\\.\pipe\…`) on Windows. A name serves both systems.
//!
//! # What differs from std
//!
//! - Only programs of the same user get through, in either direction, unless
//!   [`bind_with`](LocalListener::bind_with) or
//!   [`connect_with`](LocalStream::connect_with) say otherwise.
//! - Binding takes over what a program that was killed has left behind, and
//!   dropping the listener removes what it made.
//! - A server without room for another client is tried again; std waits in the
//!   system.
//!
//! # What differs on Windows
//!
//! - A pipe has no half-close. [`shutdown`](LocalStream::shutdown) of one half is
//!   known on this side only; the peer sees the end once both are shut, or the
//!   last clone of the stream is dropped.
//! - Who the client is, Windows says only after something was read from it. So
//!   the check of a client is done by the first read, which fails for another
//!   user with `PermissionDenied` and closes the stream. What is written before
//!   goes to whomever the permissions of the pipe let in, which are made for the
//!   same users.
//! - What a non-blocking write took, or one that ended by a timeout, is written
//!   in the background, and is lost if the stream is dropped or the thread that
//!   wrote it ends before. `flush` waits for it. A blocking write returns
//!   when nothing is left to do.
//! - What is set from another thread (a timeout, or not to block) takes effect
//!   on calls that wait already. On Unix it concerns later calls only.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
use unix as system;
#[cfg(windows)]
use windows as system;

use std::ffi::OsStr;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use sealpipe_endpoint::{Access, Backoff, Connected, Endpoint, ErrorKind, ListenOptions, Peer};

/// A stream of bytes to one peer: a Unix socket, or a Windows named pipe.
///
/// It can be read and written through a shared reference, from several threads
/// at once. The connection ends when the last clone is dropped.
pub struct LocalStream(system::Stream);

impl LocalStream {
    /// Connects to the server of the same user at a name or place (see the
    /// [module](self#where-to-meet)).
    ///
    /// # Errors
    ///
    /// As [`connect_with`](Self::connect_with).
    pub fn connect(place: impl AsRef<OsStr>) -> io::Result<LocalStream> {
        LocalStream::connect_with(&endpoint_of(place.as_ref())?, &Access::SameUser, None)
    }

    /// As [`connect`](Self::connect), within a time.
    ///
    /// # Errors
    ///
    /// As [`connect_with`](Self::connect_with).
    pub fn connect_timeout(place: impl AsRef<OsStr>, timeout: Duration) -> io::Result<LocalStream> {
        let endpoint = endpoint_of(place.as_ref())?;
        LocalStream::connect_with(&endpoint, &Access::SameUser, Some(timeout))
    }

    /// Connects to a server that `server` allows. One that has no room just now
    /// is tried again, without a timeout for as long as it takes.
    ///
    /// # Errors
    ///
    /// `NotFound` when there is no server; `ConnectionRefused` when there is only
    /// what one left behind; `PermissionDenied` when it is another user's or
    /// does not let this one in; `TimedOut`; `InvalidInput` for a timeout of zero
    /// and for what names no place on this system; anything else that the system
    /// reports. The [`sealpipe_endpoint::Error`] is inside.
    pub fn connect_with(
        endpoint: &Endpoint,
        server: &Access,
        timeout: Option<Duration>,
    ) -> io::Result<LocalStream> {
        check_timeout(timeout)?;
        system::Stream::connected(reach(endpoint, server, timeout)?).map(LocalStream)
    }

    /// Two streams that are connected to each other.
    ///
    /// # Errors
    ///
    /// What the system reports.
    pub fn pair() -> io::Result<(LocalStream, LocalStream)> {
        let (one, other) = system::Stream::pair()?;
        Ok((LocalStream(one), LocalStream(other)))
    }

    /// Another value for the same stream: what is set or shut on one holds for
    /// both.
    ///
    /// # Errors
    ///
    /// What the system reports.
    pub fn try_clone(&self) -> io::Result<LocalStream> {
        self.0.try_clone().map(LocalStream)
    }

    /// The address of this end: the server's, or none for a client.
    ///
    /// # Errors
    ///
    /// What the system reports.
    pub fn local_addr(&self) -> io::Result<LocalAddr> {
        self.0.local_addr().map(LocalAddr)
    }

    /// The address of the other end: the server's, or none for a client.
    ///
    /// # Errors
    ///
    /// What the system reports.
    pub fn peer_addr(&self) -> io::Result<LocalAddr> {
        self.0.peer_addr().map(LocalAddr)
    }

    /// Who is at the other end.
    ///
    /// # Errors
    ///
    /// `WouldBlock` on Windows for a client of which nothing was read yet: until then
    /// the system does not say. What the system reports.
    pub fn peer(&self) -> io::Result<Peer> {
        self.0.peer()
    }

    /// How long a read may wait before it fails with `WouldBlock`; for as long
    /// as it takes, if `None`.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a timeout of zero; what the system reports.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        check_timeout(timeout)?;
        self.0.set_read_timeout(timeout)
    }

    /// How long a write may wait before it fails with `WouldBlock`; for as long
    /// as it takes, if `None`.
    ///
    /// # Errors
    ///
    /// As [`set_read_timeout`](Self::set_read_timeout).
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        check_timeout(timeout)?;
        self.0.set_write_timeout(timeout)
    }

    /// What [`set_read_timeout`](Self::set_read_timeout) set, to the system's
    /// precision.
    ///
    /// # Errors
    ///
    /// What the system reports.
    pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
        self.0.read_timeout()
    }

    /// What [`set_write_timeout`](Self::set_write_timeout) set, to the system's
    /// precision.
    ///
    /// # Errors
    ///
    /// What the system reports.
    pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
        self.0.write_timeout()
    }

    /// Whether calls fail with `WouldBlock` instead of waiting.
    ///
    /// # Errors
    ///
    /// What the system reports.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.0.set_nonblocking(nonblocking)
    }

    /// Shuts one half of the connection, or both: reads give the end from then
    /// on, writes fail with `BrokenPipe`, and those that wait do so at once.
    ///
    /// On Windows the peer does not see one half shut; it sees the end when both
    /// are.
    ///
    /// # Errors
    ///
    /// What the system reports.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.0.shutdown(how)
    }

    /// The error that the system holds for this socket, once. Windows holds
    /// none.
    ///
    /// # Errors
    ///
    /// What the system reports.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.0.take_error()
    }
}

impl Read for &LocalStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_vectored(&mut [IoSliceMut::new(buffer)])
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.0.read_vectored(buffers)
    }
}

impl Read for LocalStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self).read_vectored(buffers)
    }
}

/// `flush` waits until nothing is written in the background, which happens only
/// on Windows, within the write timeout.
impl Write for &LocalStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// As for `&LocalStream`.
impl Write for LocalStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self).write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&*self).flush()
    }
}

impl fmt::Debug for LocalStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("LocalStream");
        if let Ok(address) = self.local_addr() {
            debug.field("local", &address);
        }
        if let Ok(address) = self.peer_addr() {
            debug.field("peer", &address);
        }
        debug.finish_non_exhaustive()
    }
}

/// A claimed place that accepts clients: a Unix socket, or the instances of a
/// Windows named pipe.
#[must_use = "dropped, it gives the endpoint back"]
pub struct LocalListener(system::Listener);

impl LocalListener {
    /// Claims a name or place (see the [module](self#where-to-meet)) and
    /// listens there, for programs of the same user.
    ///
    /// # Errors
    ///
    /// As [`bind_with`](Self::bind_with).
    pub fn bind(place: impl AsRef<OsStr>) -> io::Result<LocalListener> {
        LocalListener::bind_with(&endpoint_of(place.as_ref())?, &ListenOptions::new())
    }

    /// As [`bind`](Self::bind), for the clients that the options allow.
    ///
    /// # Errors
    ///
    /// Those of [`ListenOptions::listen`]: `AddrInUse` when another program
    /// listens there; `PermissionDenied` when the system forbids it, or what is
    /// there cannot be trusted; `InvalidInput` for what names no place on this
    /// system; anything else that the system reports. The
    /// [`sealpipe_endpoint::Error`] is inside.
    pub fn bind_with(endpoint: &Endpoint, options: &ListenOptions) -> io::Result<LocalListener> {
        let listener = options.listen(endpoint)?;
        system::Listener::new(listener, options.allowed().clone()).map(LocalListener)
    }

    /// Waits for the next client. On Unix one of a user that is not allowed is
    /// sent away with a warning in the log, and the wait goes on; on Windows its
    /// first read fails. The stream blocks at first, whatever the listener does.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if there is none and the listener is non-blocking; what the
    /// system reports. The listener can be used after any error
    /// ([`accept_error_kind`](sealpipe_endpoint::accept_error_kind) says whether
    /// to rest before).
    pub fn accept(&self) -> io::Result<(LocalStream, LocalAddr)> {
        let (stream, peer) = self.0.accept()?;
        tracing::debug!(listener = ?self, "accepted");
        Ok((LocalStream(stream), LocalAddr(peer)))
    }

    /// The clients as they come, without end: each item is one
    /// [`accept`](Self::accept).
    pub fn incoming(&self) -> LocalIncoming<'_> {
        LocalIncoming(self)
    }

    /// Where it listens.
    ///
    /// # Errors
    ///
    /// What the system reports.
    pub fn local_addr(&self) -> io::Result<LocalAddr> {
        self.0.local_addr().map(LocalAddr)
    }

    /// Another value for the same listener. The place is given back when the
    /// last is dropped.
    ///
    /// # Errors
    ///
    /// What the system reports.
    pub fn try_clone(&self) -> io::Result<LocalListener> {
        self.0.try_clone().map(LocalListener)
    }

    /// Whether accepting fails with `WouldBlock` instead of waiting. On Windows
    /// this ends an accept that waits already; on Unix it concerns later calls
    /// only.
    ///
    /// # Errors
    ///
    /// What the system reports.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.0.set_nonblocking(nonblocking)
    }

    /// The error that the system holds for this socket, once. Windows holds
    /// none.
    ///
    /// # Errors
    ///
    /// What the system reports.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.0.take_error()
    }
}

impl<'a> IntoIterator for &'a LocalListener {
    type Item = io::Result<LocalStream>;
    type IntoIter = LocalIncoming<'a>;

    fn into_iter(self) -> LocalIncoming<'a> {
        self.incoming()
    }
}

impl fmt::Debug for LocalListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("LocalListener");
        if let Ok(address) = self.local_addr() {
            debug.field("local", &address);
        }
        debug.finish_non_exhaustive()
    }
}

/// The clients of a [`LocalListener`], of [`LocalListener::incoming`].
#[derive(Debug)]
#[must_use = "it accepts nothing unless it is iterated"]
pub struct LocalIncoming<'a>(&'a LocalListener);

impl Iterator for LocalIncoming<'_> {
    type Item = io::Result<LocalStream>;

    fn next(&mut self) -> Option<io::Result<LocalStream>> {
        Some(self.0.accept().map(|(stream, _)| stream))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::MAX, None)
    }
}

/// The address of one end of a stream. It prints as std's does.
#[derive(Clone)]
pub struct LocalAddr(system::Addr);

impl LocalAddr {
    /// Whether there is none, as at a client's end.
    #[must_use]
    pub fn is_unnamed(&self) -> bool {
        system::is_unnamed(&self.0)
    }

    /// The path of a Unix socket; on Windows the full name of the pipe, which is
    /// a path as well. It can be given to [`LocalStream::connect`].
    #[must_use]
    pub fn as_pathname(&self) -> Option<&Path> {
        system::as_pathname(&self.0)
    }
}

impl fmt::Debug for LocalAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        system::fmt(&self.0, f)
    }
}

fn endpoint_of(place: &OsStr) -> io::Result<Endpoint> {
    match place.to_str() {
        Some(text) => Ok(text.parse()?),
        // Only a path can be anything but text.
        None => Ok(Endpoint::path(place)),
    }
}

fn check_timeout(timeout: Option<Duration>) -> io::Result<()> {
    if timeout == Some(Duration::ZERO) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a timeout of zero is none at all; give None to wait for as long as it takes",
        ));
    }
    Ok(())
}

/// Tries until there is room.
fn reach(endpoint: &Endpoint, server: &Access, timeout: Option<Duration>) -> io::Result<Connected> {
    let start = Instant::now();
    let mut backoff = Backoff::new(RandomState::new().hash_one(start));
    loop {
        let error = match sealpipe_endpoint::connect(endpoint, server) {
            Ok(connected) => return Ok(connected),
            Err(error) if error.kind() == ErrorKind::Busy => error,
            Err(error) => return Err(error.into()),
        };
        let mut delay = backoff.next_delay();
        if let Some(timeout) = timeout {
            let left = timeout.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Err(io::Error::new(io::ErrorKind::TimedOut, error));
            }
            delay = delay.min(left);
        }
        tracing::trace!(%error, ?delay, "connecting again");
        thread::sleep(delay);
    }
}
