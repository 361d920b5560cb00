//! Sockets made with their final properties from the start.

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::{Stream, credentials};
use crate::address::{Address, Place};
use crate::{Error, Peer};

/// How much the system is asked to hold of what was written and not read, in bytes.
const BUFFER: usize = 256 * 1024;

/// Sets up a connected or accepted socket: raises the buffer for what is sent, 208 KiB
/// on Linux by default and 8 KiB on macOS; there it also turns off the signal that
/// writing to a peer that has gone would raise.
///
/// [`connect`](crate::connect) has done it already; do it for each accepted
/// socket.
///
/// # Errors
///
/// [`Error::Io`] if the system does not take it.
pub fn prepare(socket: impl AsFd) -> Result<(), Error> {
    use rustix::net::sockopt;
    // A writer that has filled it is then woken while the reader still has something to
    // do. It works without.
    if sockopt::socket_send_buffer_size(&socket).is_ok_and(|size| size < BUFFER) {
        let _ = sockopt::set_socket_send_buffer_size(&socket, BUFFER);
    }
    #[cfg(target_vendor = "apple")]
    {
        let _ = sockopt::set_socket_recv_buffer_size(&socket, BUFFER);
        sockopt::set_socket_nosigpipe(&socket, true)
            .map_err(|errno| Error::io("turning off SIGPIPE", "the socket", errno))?;
    }
    Ok(())
}

/// A new stream socket: non-blocking, and closed in child programs.
pub(super) fn new() -> Result<OwnedFd, Errno> {
    #[cfg(not(target_vendor = "apple"))]
    {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
    }
    // There it cannot be said in the same step; a fork in between would
    // inherit the socket.
    #[cfg(target_vendor = "apple")]
    {
        let flags = SocketFlags::empty();
        let fd = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&fd, true)?;
        rustix::net::sockopt::set_socket_nosigpipe(&fd, true)?;
        Ok(fd)
    }
}

/// The system's form of an address.
pub(super) fn name_of(address: &Address) -> Result<SocketAddrUnix, Error> {
    let name = match &*address.place {
        Place::Path { path, .. } => SocketAddrUnix::new(path.as_path()),
        #[cfg(any(target_os = "linux", target_os = "android"))]
        Place::Abstract(name) => SocketAddrUnix::new_abstract_name(name.as_bytes()),
        Place::Url(url) => return Err(url.unsupported()),
    };
    name.map_err(|errno| Error::io("making a socket address", address, errno))
}

/// One attempt to connect, which never blocks.
pub(super) fn attempt(name: &SocketAddrUnix) -> Result<Stream, Errno> {
    let fd = new()?;
    rustix::net::connect(&fd, name)?;
    Ok(Stream::from(fd))
}

/// What a socket answers when it is asked whether anyone listens.
pub(super) enum Answer {
    /// Someone does.
    Live(Option<Peer>),
    /// Nobody does: it was left behind.
    Silent,
    /// There is no socket.
    Gone,
    /// The system would not tell.
    Unknown(Errno),
}

/// Asks, by connecting and closing at once.
pub(super) fn ask(name: &SocketAddrUnix) -> Answer {
    match attempt(name) {
        Ok(stream) => Answer::Live(credentials::peer_of(&stream).ok()),
        // A full backlog, or a socket of another type: somebody's all the same.
        Err(Errno::AGAIN | Errno::INPROGRESS | Errno::PROTOTYPE) => Answer::Live(None),
        Err(Errno::CONNREFUSED) => Answer::Silent,
        Err(Errno::NOENT) => Answer::Gone,
        Err(errno) => Answer::Unknown(errno),
    }
}
