//! The directory of a socket: held open, and verified where it has to be this
//! user's alone.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::Error;
use crate::address::{Address, Trust};

/// A directory that is held open, so that all that is done in it is done in
/// the one that was verified.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) fd: OwnedFd,
}

/// Opens the directory of `path` as that kind of place demands.
pub(super) fn open(path: &Path, trust: Trust, address: &Address) -> Result<Directory, Error> {
    match trust {
        Trust::Given => open_given(parent(path), address),
        Trust::Private { .. } => open_private(parent(path), address),
    }
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// What is wrong with the directory of `path`, for that kind of place.
pub(super) fn trouble(path: &Path, trust: Trust) -> Option<Error> {
    let parent = parent(path);
    let stat = match trust {
        Trust::Given => rustix::fs::stat(parent),
        Trust::Private { .. } => rustix::fs::statat(CWD, parent, AtFlags::SYMLINK_NOFOLLOW),
    };
    let reason = match (stat, trust) {
        (Ok(stat), Trust::Private { .. }) => private(&stat).err()?,
        (Ok(stat), Trust::Given) if open_to_all(&stat) => {
            "anyone may replace the socket in it; take from others the right to write there"
                .to_owned()
        }
        (Ok(_), Trust::Given) => return None,
        // The listener makes it.
        (Err(Errno::NOENT), Trust::Private { .. }) => return None,
        (Err(Errno::NOENT), Trust::Given) => MISSING.to_owned(),
        (Err(errno), _) => errno.to_string(),
    };
    Some(unusable(parent, reason))
}

const MISSING: &str = "it does not exist; make it first, or choose another path";

/// Makes the directory of `path` if it is not there yet. Whoever made it, it
/// is verified when it is opened.
pub(super) fn create(path: &Path) -> Result<(), Error> {
    let Some(parent) = path.parent() else {
        return Ok(());
    };
    match rustix::fs::mkdirat(CWD, parent, Mode::RWXU) {
        Ok(()) => {
            tracing::debug!(directory = %parent.display(), "made the directory for the endpoint");
            Ok(())
        }
        Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(unusable(
            parent,
            format!("it cannot be made ({errno}); check the permissions of the one above it"),
        )),
    }
}

/// Keeps cleaners of temporary directories away: systemd-tmpfiles passes over
/// a directory that someone holds a lock on.
pub(super) fn guard(directory: &Directory) {
    if let Err(error) = rustix::fs::flock(&directory.fd, FlockOperation::NonBlockingLockShared) {
        tracing::trace!(%error, "the directory of the endpoint is not locked against cleaners");
    }
}

/// Whether that is a real directory of this user that is closed to others.
pub(super) fn check_private(path: &Path) -> Result<(), String> {
    match rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => private(&stat),
        Err(Errno::NOENT) => Err("it does not exist".to_owned()),
        Err(errno) => Err(errno.to_string()),
    }
}

fn open_private(path: &Path, address: &Address) -> Result<Directory, Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = match rustix::fs::openat(CWD, path, flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::NOENT) => return Err(missing(address)),
        Err(Errno::LOOP | Errno::MLINK | Errno::NOTDIR) => {
            return Err(unusable(
                path,
                "it is a link or no directory; remove it".to_owned(),
            ));
        }
        // Not readable by us: look at it from outside, to say why.
        Err(errno) => {
            let reason = check_private(path)
                .err()
                .unwrap_or_else(|| errno.to_string());
            return Err(unusable(path, reason));
        }
    };
    let stat = rustix::fs::fstat(&fd)
        .map_err(|errno| Error::io("examining the directory", path.display(), errno))?;
    private(&stat).map_err(|reason| unusable(path, reason))?;
    Ok(Directory { fd })
}

fn open_given(path: &Path, address: &Address) -> Result<Directory, Error> {
    // One may be allowed to make files in a directory that one cannot list.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let access = OFlags::PATH;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let access = OFlags::RDONLY;
    let flags = access | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match rustix::fs::openat(CWD, path, flags, Mode::empty()) {
        Ok(fd) => {
            warn_if_open_to_all(&fd, path);
            Ok(Directory { fd })
        }
        Err(Errno::NOENT) => Err(unusable(path, MISSING.to_owned())),
        Err(Errno::NOTDIR) => Err(unusable(path, "it is not a directory".to_owned())),
        Err(errno @ (Errno::ACCESS | Errno::PERM)) => Err(Error::PermissionDenied {
            doing: "open the directory of",
            address: address.clone(),
            source: errno.into(),
        }),
        Err(errno) => Err(Error::io("opening the directory", path.display(), errno)),
    }
}

/// The user chose that directory, so it is used; but anyone could take the
/// socket's place in it, and only the check of the peer would notice.
fn warn_if_open_to_all(fd: &OwnedFd, path: &Path) {
    let Ok(stat) = rustix::fs::fstat(fd) else {
        return;
    };
    if open_to_all(&stat) {
        let directory = path.display();
        tracing::warn!(%directory, "anyone may replace the socket in this directory");
    }
}

fn open_to_all(stat: &Stat) -> bool {
    let mode = Mode::from_raw_mode(stat.st_mode);
    mode.contains(Mode::WOTH) && !mode.contains(Mode::SVTX)
}

fn private(stat: &Stat) -> Result<(), String> {
    let uid = rustix::process::geteuid().as_raw();
    let mode = Mode::from_raw_mode(stat.st_mode);
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        Err("it is a link or no directory; remove it".to_owned())
    } else if stat.st_uid != uid {
        Err(format!(
            "it belongs to uid {} and not to uid {uid}; have it removed, or use an endpoint elsewhere",
            stat.st_uid
        ))
    } else if mode.intersects(Mode::RWXG | Mode::RWXO) {
        Err(format!(
            "its mode {:03o} lets others in; set it to 700",
            mode.as_raw_mode()
        ))
    } else {
        Ok(())
    }
}

fn missing(address: &Address) -> Error {
    Error::NotFound {
        tried: vec![address.clone()],
    }
}

pub(super) fn unusable(path: &Path, reason: String) -> Error {
    Error::Directory {
        path: path.to_owned(),
        reason,
    }
}
