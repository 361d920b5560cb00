//! Sockets that a service manager passed when it started this program, by the
//! protocol of systemd: descriptors from 3 on, told of in the environment.
#![allow(unsafe_code)]

use std::os::fd::{BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, sockopt};

use crate::{Error, Listener};

/// The first that is passed.
const FIRST: RawFd = 3;

/// Whether they have an owner already.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The sockets that a service manager passed to this program, in the order of its
/// configuration (systemd's `ListenStream=`); none if `LISTEN_PID` names another
/// process, or nobody. They can be taken once.
///
/// Each must be a Unix stream socket that listens; it is made non-blocking, and closed
/// in child programs. The environment stays as it is: a child is another process, to
/// which `LISTEN_PID` does not apply.
///
/// # Errors
///
/// [`Error::Activation`] if something else was passed, and then none is taken: the
/// descriptors stay open, and as they are. [`Error::Io`] and [`Error::Unsupported`] as
/// for [`Listener::adopt`]; those that were passed are closed then.
pub fn activated() -> Result<Vec<Listener>, Error> {
    let own = std::process::id().to_string();
    let ours = std::env::var_os("LISTEN_PID").is_some_and(|process| process == *own);
    let Some(count) = std::env::var_os("LISTEN_FDS").filter(|_| ours) else {
        return Ok(Vec::new());
    };
    let end = count
        .to_str()
        .and_then(|count| count.parse::<u16>().ok())
        .map(|count| FIRST + RawFd::from(count))
        .ok_or_else(|| unfit(format!("LISTEN_FDS={}", count.display()), "no number"))?;
    (FIRST..end).try_for_each(check)?;
    if TAKEN.swap(true, Ordering::SeqCst) {
        return Err(unfit("sockets".to_owned(), "taken already"));
    }
    (FIRST..end)
        .map(|fd| {
            // SAFETY: it is open, as was just seen, and this program's own, as the
            // environment says; nothing else takes it, for that is done once.
            Listener::adopt(UnixListener::from(unsafe { OwnedFd::from_raw_fd(fd) }))
        })
        .collect()
}

/// Whether it is a Unix stream socket that listens.
fn check(fd: RawFd) -> Result<(), Error> {
    // SAFETY: it is used for calls that only look, and that say if it is not open.
    let socket = unsafe { BorrowedFd::borrow_raw(fd) };
    let found = match sockopt::socket_type(socket) {
        Ok(SocketType::STREAM) => match rustix::net::getsockname(socket) {
            Ok(name) if name.address_family() != AddressFamily::UNIX => "a socket of the network",
            Ok(_) if !listens(socket) => "a socket that does not listen",
            Ok(_) => return Ok(()),
            Err(_) => "a socket without a name",
        },
        Ok(_) => "no stream socket",
        Err(Errno::BADF) => "not open",
        Err(_) => "no socket",
    };
    Err(unfit(format!("descriptor {fd}"), found))
}

/// Apple's systems do not tell; there it shows when accepting fails.
fn listens(socket: BorrowedFd<'_>) -> bool {
    #[cfg(target_vendor = "apple")]
    let listens = {
        let _ = socket;
        true
    };
    #[cfg(not(target_vendor = "apple"))]
    let listens = sockopt::socket_acceptconn(socket) == Ok(true);
    listens
}

fn unfit(what: String, found: &'static str) -> Error {
    Error::Activation { what, found }
}
