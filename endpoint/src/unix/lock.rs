//! The lock that says who may touch a socket's path.
//!
//! Whoever wants to make, replace or remove the socket `x` first locks the
//! file `x.lock` (flock, which the system lets go of when its holder ends,
//! however it ends). The file is removed by its holder while it holds it. So
//! one that opens the file may come to lock a file that is no longer at that
//! path; it sees that by comparing device and inode, and begins again.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::directory::Directory;
use crate::error::Holder;
use crate::{Address, Error, User};

/// How often a lock file may vanish under a starter before it gives up. Each
/// time, another program has come and gone in that very moment.
const ATTEMPTS: usize = 1000;

/// The most that a lock file ever holds, in bytes.
const LONGEST: i64 = 32;

/// The lock, held for as long as this lives.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    name: OsString,
}

/// What came of asking for the lock.
pub(super) enum Outcome {
    Held(Lock),
    /// Someone else has it.
    Taken(Holder),
    /// The lock file is another user's or not allowed to be opened.
    Denied(std::io::Error),
}

impl Lock {
    pub(super) fn acquire(
        directory: &Directory,
        socket: &OsStr,
        address: &Address,
    ) -> Result<Outcome, Error> {
        let name = name_of(socket);
        for _ in 0..ATTEMPTS {
            // Made only if it is not there: in a directory that is shared, Linux
            // does not let one open another user's file so as to make it.
            let opened = open(directory, &name, OFlags::empty()).or_else(|errno| match errno {
                Errno::NOENT => open(directory, &name, OFlags::CREATE),
                _ => Err(errno),
            });
            let file = match opened {
                Ok(file) => file,
                // Made and removed by others between the system's own steps.
                Err(Errno::NOENT | Errno::INTR) => continue,
                Err(Errno::LOOP | Errno::MLINK | Errno::ISDIR | Errno::NXIO) => {
                    return Err(not_ours(address));
                }
                Err(errno @ (Errno::ACCESS | Errno::PERM)) => {
                    return Ok(Outcome::Denied(errno.into()));
                }
                Err(errno) => return Err(Error::io("opening the lock file", address, errno)),
            };
            let opened = rustix::fs::fstat(&file)
                .map_err(|errno| Error::io("examining the lock file", address, errno))?;
            if !is_lock(&opened) {
                return Err(not_ours(address));
            }
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => return Ok(Outcome::Taken(holder(file, &opened))),
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(Error::io("locking", address, errno)),
            }
            if is_at(directory, &name, &opened) {
                tracing::trace!(%address, "locked");
                return Ok(Outcome::Held(Lock { file, name }));
            }
        }
        Err(Error::io(
            "locking",
            address,
            std::io::Error::other("the lock file keeps being removed by another program"),
        ))
    }

    /// The lock, if its file is there and nobody has it.
    pub(super) fn acquire_existing(directory: &Directory, socket: &OsStr) -> Option<Lock> {
        let name = name_of(socket);
        for _ in 0..ATTEMPTS {
            let file = open(directory, &name, OFlags::empty()).ok()?;
            let opened = rustix::fs::fstat(&file).ok().filter(is_lock)?;
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) if is_at(directory, &name, &opened) => return Some(Lock { file, name }),
                Ok(()) | Err(Errno::INTR) => {}
                Err(_) => return None,
            }
        }
        None
    }

    /// Whether its file is there, held by somebody or not.
    pub(super) fn is_there(directory: &Directory, socket: &OsStr) -> bool {
        rustix::fs::statat(&directory.fd, name_of(socket), AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Leaves our process id, for the messages of those who come later.
    pub(super) fn sign(&mut self) {
        let text = format!("{}\n", std::process::id());
        let signed = self
            .file
            .set_len(0)
            .and_then(|()| self.file.write_all(text.as_bytes()));
        if let Err(error) = signed {
            tracing::trace!(%error, "the lock file does not say who holds it");
        }
    }

    /// Lets go of the lock, also where a child that was forked just now has the file
    /// open still.
    pub(super) fn release(&self) {
        if let Err(error) = rustix::fs::flock(&self.file, FlockOperation::Unlock) {
            tracing::warn!(%error, "could not let go of a lock");
        }
    }

    /// Who may open the file.
    pub(super) fn set_mode(&self, mode: Mode) -> Result<(), Errno> {
        rustix::fs::fchmod(&self.file, mode)
    }

    /// Removes the file, which must be done while the lock is held.
    pub(super) fn remove(&self, directory: &Directory) {
        let Ok(ours) = rustix::fs::fstat(&self.file) else {
            return;
        };
        if !is_at(directory, &self.name, &ours) {
            return;
        }
        if let Err(error) = rustix::fs::unlinkat(&directory.fd, &self.name, AtFlags::empty()) {
            tracing::warn!(file = %self.name.display(), %error, "could not remove the lock file");
        }
    }
}

fn name_of(socket: &OsStr) -> OsString {
    let mut name = socket.to_owned();
    name.push(".lock");
    name
}

fn open(directory: &Directory, name: &OsStr, make: OFlags) -> Result<File, Errno> {
    // Non-blocking, for what is there might be a FIFO.
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | make;
    let mode = Mode::RUSR | Mode::WUSR;
    rustix::fs::openat(&directory.fd, name, flags, mode).map(File::from)
}

/// Whether that very file is at that name in the directory.
pub(super) fn is_at(directory: &Directory, name: &OsStr, file: &Stat) -> bool {
    match rustix::fs::statat(&directory.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(there) => (there.st_dev, there.st_ino) == (file.st_dev, file.st_ino),
        Err(_) => false,
    }
}

/// Whether it can be a lock file, which is about to be written to and later
/// removed: a file of its own, not another name of one, with no more in it
/// than a process id.
fn is_lock(file: &Stat) -> bool {
    FileType::from_raw_mode(file.st_mode) == FileType::RegularFile
        && file.st_nlink <= 1
        && file.st_size <= LONGEST
}

fn not_ours(address: &Address) -> Error {
    let path = address.as_path().unwrap_or(Path::new(""));
    let name = path.file_name().unwrap_or_default();
    Error::Directory {
        path: path.parent().unwrap_or(Path::new(".")).to_owned(),
        reason: format!(
            "{}.lock in it is not a lock file; remove it, or choose another name",
            name.display()
        ),
    }
}

fn holder(file: File, stat: &Stat) -> Holder {
    let mut text = String::new();
    let read = file.take(32).read_to_string(&mut text);
    Holder {
        user: Some(User::Uid(stat.st_uid)),
        process: read.ok().and_then(|_| text.trim().parse().ok()),
    }
}
