//! Who is at the other end of a socket.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};

use crate::{Error, Peer, User};

pub(crate) fn current_user() -> User {
    User::Uid(rustix::process::geteuid().as_raw())
}

/// Who is at the other end of a connected Unix socket: for a listener who
/// connected, for a client who called `listen(2)`, each as it was at that
/// time.
///
/// # Errors
///
/// [`Error::Io`] if the system does not say, as for a socket that is not
/// connected.
pub fn peer_of(socket: &impl AsFd) -> Result<Peer, Error> {
    credentials(socket.as_fd())
        .map_err(|source| Error::io("asking for the identity of the peer", "the socket", source))
}

/// Not through rustix: its type holds the process id as a number that is never
/// zero, and the kernel gives zero for a peer outside this pid namespace.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn credentials(socket: BorrowedFd<'_>) -> std::io::Result<Peer> {
    let mut found = libc::ucred {
        pid: 0,
        uid: u32::MAX,
        gid: u32::MAX,
    };
    let expected = size_of::<libc::ucred>();
    let mut length = libc::socklen_t::try_from(expected).unwrap_or(0);
    // SAFETY: the descriptor is borrowed for the call; the pointers are to a
    // live ucred and its length, and any bit pattern is a valid ucred.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut found).cast(),
            &raw mut length,
        )
    };
    if result != 0 {
        return Err(std::io::Error::last_os_error());
    }
    // The kernel says (uid_t)-1 where there is no peer.
    if length as usize != expected || found.uid == u32::MAX {
        return Err(std::io::ErrorKind::NotConnected.into());
    }
    Ok(Peer {
        user: User::Uid(found.uid),
        group: Some(found.gid),
        process: u32::try_from(found.pid).ok().filter(|pid| *pid != 0),
    })
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn credentials(socket: BorrowedFd<'_>) -> std::io::Result<Peer> {
    let mut uid = u32::MAX;
    let mut gid = u32::MAX;
    // SAFETY: the descriptor is borrowed for the call, and the pointers are to
    // live integers of the types it writes.
    let result = unsafe { libc::getpeereid(socket.as_raw_fd(), &raw mut uid, &raw mut gid) };
    if result != 0 {
        return Err(std::io::Error::last_os_error());
    }
    Ok(Peer {
        user: User::Uid(uid),
        group: Some(gid),
        process: process(socket),
    })
}

#[cfg(target_vendor = "apple")]
fn process(socket: BorrowedFd<'_>) -> Option<u32> {
    let mut pid: libc::pid_t = 0;
    let mut length = libc::socklen_t::try_from(size_of::<libc::pid_t>()).ok()?;
    // SAFETY: the descriptor is borrowed for the call, and the pointers are to
    // a live pid_t and its length.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_LOCAL,
            libc::LOCAL_PEERPID,
            (&raw mut pid).cast(),
            &raw mut length,
        )
    };
    (result == 0 && pid > 0).then(|| pid.cast_unsigned())
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn process(_socket: BorrowedFd<'_>) -> Option<u32> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn both_ends_of_a_pair_are_this_process() {
        let (a, b) = UnixStream::pair().unwrap();
        for end in [&a, &b] {
            let peer = peer_of(end).unwrap();
            assert_eq!(peer.user, current_user());
            assert_eq!(peer.group, Some(rustix::process::getegid().as_raw()));
            assert!(peer.process.is_none_or(|pid| pid == std::process::id()));
        }
    }

    #[test]
    fn a_socket_without_a_peer_is_an_error() {
        let lonely = super::super::socket::new().unwrap();
        peer_of(&lonely).unwrap_err();
        peer_of(&std::fs::File::open("/dev/null").unwrap()).unwrap_err();
    }
}
