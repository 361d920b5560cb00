//! Claiming an address and listening on it.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::claim::{Claim, Held};
use super::directory::{self, Directory};
use super::lock::{Lock, Outcome};
use super::socket::{self, Answer};
use crate::address::{Address, Place, Trust};
use crate::error::Holder;
use crate::{Access, Endpoint, Error, ListenOptions, Peer};

/// A socket that listens, and the claim on its address.
#[derive(Debug)]
#[must_use = "dropped, it gives the endpoint back"]
pub struct Listener {
    // First, so that when both are dropped a client finds nothing rather than
    // a socket that refuses it.
    claim: Claim,
    socket: UnixListener,
}

impl Listener {
    /// Takes a socket that listens already, as one that was passed when a
    /// service manager started this program.
    ///
    /// It is made non-blocking and closed in child programs. Its file and mode
    /// stay the affair of whoever made it, and the claim removes nothing;
    /// clients must be checked as ever.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for a socket without a name, to which no one
    /// could connect; [`Error::Io`] if the system does not take it.
    pub fn adopt(socket: UnixListener) -> Result<Listener, Error> {
        let failed = |source| Error::io("taking over", "the socket that was passed", source);
        socket.set_nonblocking(true).map_err(failed)?;
        rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)
            .map_err(|errno| failed(errno.into()))?;
        let name = socket.local_addr().map_err(failed)?;
        let Some(place) = place_of(&name) else {
            return Err(Error::Unsupported {
                what: "a socket without a name".to_owned(),
                hint: "pass one that is bound to a path",
            });
        };
        let address = Address::from(place);
        tracing::debug!(%address, "listening on a socket that was passed");
        Ok(Listener {
            claim: Claim::new(address, None),
            socket,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> &Address {
        self.claim.address()
    }

    /// The socket (non-blocking, closed in child programs), to be given to a
    /// runtime, and the claim, to be kept for as long as it listens.
    pub fn into_parts(self) -> (UnixListener, Claim) {
        (self.socket, self.claim)
    }
}

pub(crate) fn listen(endpoint: &Endpoint, options: &ListenOptions) -> Result<Listener, Error> {
    let mut addresses = endpoint.addresses()?.into_iter();
    let Some(address) = addresses.next() else {
        return Err(Error::NotFound { tried: Vec::new() });
    };
    let listener = match &*address.place {
        Place::Path { path, trust } => {
            listen_at_path(&address, path, *trust, addresses.as_slice(), options)?
        }
        #[cfg(any(target_os = "linux", target_os = "android"))]
        Place::Abstract(_) => listen_at_abstract(&address, options)?,
        Place::Url(url) => return Err(url.unsupported()),
    };
    tracing::debug!(%address, access = %options.access, "listening");
    Ok(listener)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn listen_at_abstract(address: &Address, options: &ListenOptions) -> Result<Listener, Error> {
    if options.access == Access::Anyone {
        return Err(Error::AccessTooWide {
            address: address.clone(),
        });
    }
    // The system itself lets only one bind, and forgets the name with it.
    let claim = Claim::new(address.clone(), None);
    let fd = new_socket(address)?;
    bind(&fd, address)?;
    start(fd, claim, options)
}

fn listen_at_path(
    address: &Address,
    path: &Path,
    trust: Trust,
    others: &[Address],
    options: &ListenOptions,
) -> Result<Listener, Error> {
    let Some(name) = path.file_name() else {
        return Err(Error::NotASocket {
            address: address.clone(),
            found: "a directory",
        });
    };
    if trust == (Trust::Private { create: true }) {
        directory::create(path)?;
    }
    let directory = directory::open(path, trust, address).map_err(|error| match error {
        // Removed between the two steps, or the runtime directory went away.
        Error::NotFound { .. } => Error::io("opening the directory", address, Errno::NOENT),
        other => other,
    })?;
    if trust == (Trust::Private { create: true }) {
        directory::guard(&directory);
    }
    if trust != Trust::Given && options.access != Access::SameUser {
        tracing::warn!(%address, "only this user can reach the directory; for others use a path");
    }
    let mut lock = match Lock::acquire(&directory, name, address)? {
        Outcome::Held(lock) => lock,
        Outcome::Taken(holder) => return Err(in_use(address, holder)),
        Outcome::Denied(source) => {
            // Another user's, then: the most telling answer is who listens.
            return Err(match socket::ask(&socket::name_of(address)?) {
                Answer::Live(peer) => in_use(address, held_by(peer)),
                _ => Error::PermissionDenied {
                    doing: "lock",
                    address: address.clone(),
                    source,
                },
            });
        }
    };
    lock.sign();
    let held = Held {
        directory,
        lock,
        name: name.to_owned(),
        socket: None,
    };
    // From here on, whatever fails gives the lock back.
    let mut claim = Claim::new(address.clone(), Some(held));
    for other in others {
        refuse_if_live(other)?;
    }
    let fd = new_socket(address)?;
    let mode = match options.access {
        Access::SameUser => Mode::RUSR | Mode::WUSR,
        _ => Mode::from_raw_mode(0o666),
    };
    if let Some(held) = claim.held() {
        clear(&held.directory, name, address)?;
        // On Linux the mode of the socket is that of its file from the first
        // moment on, less the umask, so that nobody ever sees a wider one.
        // Elsewhere it is set below, before anyone can connect.
        if cfg!(any(target_os = "linux", target_os = "android")) {
            rustix::fs::fchmod(&fd, mode)
                .map_err(|errno| Error::io("setting the mode", address, errno))?;
        }
        bind(&fd, address)?;
        let made = stat(&held.directory, name)
            .map_err(|errno| Error::io("examining the new socket", address, errno))?;
        held.socket = Some(made);
        if Mode::from_raw_mode(made.st_mode) != mode {
            set_mode(&held.directory, name, &made, mode, address)?;
        }
    }
    start(fd, claim, options)
}

/// The name of a user has several places: whoever listens at another has it.
fn refuse_if_live(other: &Address) -> Result<(), Error> {
    let (path, trust) = match &*other.place {
        Place::Path { path, trust } => (path, trust),
        #[cfg(any(target_os = "linux", target_os = "android"))]
        Place::Abstract(_) => return Ok(()),
        Place::Url(_) => return Ok(()),
    };
    // A place that is not there or cannot be trusted is nobody's.
    if directory::open(path, *trust, other).is_err() {
        return Ok(());
    }
    match socket::ask(&socket::name_of(other)?) {
        Answer::Live(peer) => Err(in_use(other, held_by(peer))),
        _ => Ok(()),
    }
}

/// Removes what a server that ended left at the address; the lock is ours.
fn clear(directory: &Directory, name: &OsStr, address: &Address) -> Result<(), Error> {
    let there = match stat(directory, name) {
        Ok(there) => there,
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(Error::io("examining what is there", address, errno)),
    };
    let found = match FileType::from_raw_mode(there.st_mode) {
        FileType::Socket => None,
        FileType::Symlink => Some("a symbolic link"),
        FileType::Directory => Some("a directory"),
        FileType::RegularFile => Some("a file"),
        _ => Some("something else"),
    };
    if let Some(found) = found {
        return Err(Error::NotASocket {
            address: address.clone(),
            found,
        });
    }
    match socket::ask(&socket::name_of(address)?) {
        Answer::Live(peer) => return Err(in_use(address, held_by(peer))),
        Answer::Gone => return Ok(()),
        Answer::Silent => {}
        Answer::Unknown(errno) => return Err(denied_or("connect to", address, errno)),
    }
    match rustix::fs::unlinkat(&directory.fd, name, AtFlags::empty()) {
        Ok(()) => {
            tracing::debug!(%address, "took over a socket that a server left behind");
            Ok(())
        }
        Err(Errno::NOENT) => Ok(()),
        Err(errno) => {
            tracing::warn!(%address, error = %errno, "could not remove a stale socket");
            Err(denied_or("remove the stale socket", address, errno))
        }
    }
}

/// Sets the mode of the socket's file and of nothing else, should someone who
/// may write to the directory have put a link there meanwhile.
fn set_mode(
    directory: &Directory,
    name: &OsStr,
    made: &Stat,
    mode: Mode,
    address: &Address,
) -> Result<(), Error> {
    let failed = |errno| Error::io("setting the mode", address, errno);
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        use std::os::fd::AsRawFd as _;
        // The system has no call for it before Linux 6.6, but a way.
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&directory.fd, name, flags, Mode::empty()).map_err(failed)?;
        let opened = rustix::fs::fstat(&file).map_err(failed)?;
        if (opened.st_dev, opened.st_ino) != (made.st_dev, made.st_ino) {
            return Err(in_use(address, Holder::default()));
        }
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        rustix::fs::chmod(path, mode).map_err(failed)
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        let _ = (made, OFlags::empty());
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chmodat(&directory.fd, name, mode, flags).map_err(failed)
    }
}

fn new_socket(address: &Address) -> Result<OwnedFd, Error> {
    socket::new().map_err(|errno| Error::io("making a socket", address, errno))
}

fn bind(fd: impl AsFd, address: &Address) -> Result<(), Error> {
    let name = socket::name_of(address)?;
    tracing::trace!(%address, "bind");
    match rustix::net::bind(fd, &name) {
        Ok(()) => Ok(()),
        // Someone who does not know of the lock was faster.
        Err(Errno::ADDRINUSE) => Err(match socket::ask(&name) {
            Answer::Live(peer) => in_use(address, held_by(peer)),
            _ => in_use(address, Holder::default()),
        }),
        Err(errno) => Err(denied_or("bind", address, errno)),
    }
}

fn start(fd: OwnedFd, claim: Claim, options: &ListenOptions) -> Result<Listener, Error> {
    rustix::net::listen(&fd, i32::from(options.backlog))
        .map_err(|errno| Error::io("listening", claim.address(), errno))?;
    Ok(Listener {
        claim,
        socket: UnixListener::from(fd),
    })
}

fn place_of(name: &std::os::unix::net::SocketAddr) -> Option<Place> {
    if let Some(path) = name.as_pathname() {
        return Some(Place::Path {
            path: path.to_owned(),
            trust: Trust::Given,
        });
    }
    #[cfg(target_os = "linux")]
    if let Some(name) = std::os::linux::net::SocketAddrExt::as_abstract_name(name) {
        return Some(Place::Abstract(String::from_utf8_lossy(name).into_owned()));
    }
    None
}

pub(super) fn stat(directory: &Directory, name: &OsStr) -> Result<Stat, Errno> {
    rustix::fs::statat(&directory.fd, name, AtFlags::SYMLINK_NOFOLLOW)
}

pub(super) fn in_use(address: &Address, holder: Holder) -> Error {
    Error::AddressInUse {
        address: address.clone(),
        holder,
    }
}

fn held_by(peer: Option<Peer>) -> Holder {
    match peer {
        Some(peer) => Holder {
            user: Some(peer.user),
            process: peer.process,
        },
        None => Holder::default(),
    }
}

pub(super) fn denied_or(doing: &'static str, address: &Address, errno: Errno) -> Error {
    match errno {
        Errno::ACCESS | Errno::PERM | Errno::ROFS => Error::PermissionDenied {
            doing,
            address: address.clone(),
            source: errno.into(),
        },
        _ => Error::io(doing, address, errno),
    }
}
