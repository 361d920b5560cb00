//! Two FIFOs under one name, as PipeCom talks over: `x` for messages and `x_ack`
//! for what is answered to them.
//!
//! Whoever listens holds a lock on `x.lock`, as with sockets: that, and not the
//! presence of a FIFO, says whether a listener is alive. Senders take turns by a
//! lock on `x_ack.lock`. Both end with the process that holds them.

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::directory::{self, Directory};
use super::listen::{denied_or, in_use, stat};
use super::lock::{self, Lock, Outcome};
use crate::address::{Address, Place, Trust};
use crate::error::Holder;
use crate::{Access, Error, Peer, User};

/// How long a listener waits for a sender that has its turn while nobody reads.
const TURN_TIME: Duration = Duration::from_secs(1);
/// How long between two looks.
const TURN_PAUSE: Duration = Duration::from_millis(1);

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fifo {
    /// From senders to the listener, at the path itself.
    Message,
    /// From the listener to senders, at the path with `_ack` behind it.
    Ack,
}

/// The place of two FIFOs, with its directory held open. It makes nothing.
#[derive(Debug)]
pub struct FifoPair {
    directory: Directory,
    path: PathBuf,
    message: OsString,
    ack: OsString,
}

impl FifoPair {
    /// The place at that path.
    ///
    /// # Errors
    ///
    /// [`Error::NotAFifo`] if the path has no file name; [`Error::Directory`] and
    /// [`Error::PermissionDenied`] if its directory cannot be used.
    pub fn at(path: impl Into<PathBuf>) -> Result<FifoPair, Error> {
        let path = path.into();
        let Some(message) = path.file_name().map(OsStr::to_owned) else {
            return Err(Error::NotAFifo {
                address: address_of(path),
                found: "a directory",
            });
        };
        let mut ack = message.clone();
        ack.push("_ack");
        let directory = directory::open(&path, Trust::Given, &address_of(path.clone()))?;
        Ok(FifoPair {
            directory,
            path,
            message,
            ack,
        })
    }

    /// Where one of them is.
    #[must_use]
    pub fn address(&self, fifo: Fifo) -> Address {
        address_of(self.path.with_file_name(self.name(fifo)))
    }

    /// Looks whether a FIFO of that owner is at the path: a listener's, or what one left
    /// behind. Nobody can notice that, as they could if it were opened.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`]; [`Error::NotAFifo`] and [`Error::WrongUser`] if what is
    /// there cannot be trusted; [`Error::PermissionDenied`]; [`Error::Io`].
    pub fn look(&self, owner: &Access) -> Result<(), Error> {
        let address = self.address(Fifo::Message);
        match stat(&self.directory, &self.message) {
            Ok(found) => trusted(&found, &address, owner),
            Err(Errno::NOENT) => Err(Error::NotFound {
                tried: vec![address],
            }),
            Err(errno) => Err(denied_or("examine", &address, errno)),
        }
    }

    /// Whether a FIFO is at the path.
    fn is_there(&self) -> bool {
        stat(&self.directory, &self.message).is_ok_and(|found| is_fifo(&found))
    }

    /// Opens one for reading. It does not wait for a writer, and neither do
    /// reads.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`]; [`Error::NotAFifo`] and [`Error::WrongUser`] if what is
    /// there cannot be trusted; [`Error::PermissionDenied`]; [`Error::Io`].
    pub fn open_reader(&self, fifo: Fifo, owner: &Access) -> Result<OwnedFd, Error> {
        self.open(fifo, OFlags::RDONLY, owner).map(|(fd, _)| fd)
    }

    /// Opens one for writing, if somebody has it open for reading. Writes do not
    /// wait.
    ///
    /// # Errors
    ///
    /// As [`open_reader`](Self::open_reader), and [`Error::Refused`] if nobody
    /// reads.
    pub fn open_writer(&self, fifo: Fifo, owner: &Access) -> Result<OwnedFd, Error> {
        self.open(fifo, OFlags::WRONLY, owner).map(|(fd, _)| fd)
    }

    /// Takes the turn to send; `None` if another sender has it.
    ///
    /// # Errors
    ///
    /// [`Error::PermissionDenied`], [`Error::Directory`] and [`Error::Io`] if there
    /// can be no lock.
    pub fn take_turn(&self) -> Result<Option<Turn<'_>>, Error> {
        let address = self.address(Fifo::Ack);
        match Lock::acquire(&self.directory, &self.ack, &address)? {
            Outcome::Held(lock) => Ok(Some(Turn { lock, pair: self })),
            Outcome::Taken(_) => Ok(None),
            Outcome::Denied(source) => Err(Error::PermissionDenied {
                doing: "lock",
                address,
                source,
            }),
        }
    }

    /// Whether nobody has the turn to send. Who sends all the same knows of no turns.
    #[must_use]
    pub fn is_turn_free(&self) -> bool {
        match Lock::acquire_existing(&self.directory, &self.ack) {
            Some(lock) => {
                lock.release();
                true
            }
            None => !Lock::is_there(&self.directory, &self.ack),
        }
    }

    /// Removes the file of turns, if nobody has a turn and nobody listens. Who has one does
    /// it when giving that up.
    fn clear_turns(&self) {
        let lock = Lock::acquire_existing(&self.directory, &self.ack);
        drop(lock.map(|lock| Turn { lock, pair: self }));
    }

    /// Makes the FIFOs, or takes over those that are there, and holds them for as
    /// long as the claim lives. Gives the reading end of the messages with it.
    ///
    /// A listener that knows of no lock is known only by its reading when this
    /// looks, which it may notice as an end without a message.
    ///
    /// # Errors
    ///
    /// [`Error::AddressInUse`] when another program listens;
    /// [`Error::NotAFifo`] and [`Error::WrongUser`] when something else is there, or
    /// another user's; [`Error::InvalidUser`] for [`Access::Users`], for a FIFO cannot
    /// tell one user from another; otherwise as [`take_turn`](Self::take_turn).
    pub fn claim(self, access: &Access) -> Result<(FifoClaim, OwnedFd), Error> {
        let mode = match access {
            Access::SameUser => Mode::RUSR | Mode::WUSR,
            Access::Anyone => Mode::from_raw_mode(0o666),
            Access::Users(users) => {
                return Err(Error::InvalidUser {
                    user: users.first().cloned().unwrap_or(User::Uid(0)),
                    hint: "a FIFO does not tell who writes: allow the same user, or anyone",
                });
            }
        };
        let address = self.address(Fifo::Message);
        let mut lock = match Lock::acquire(&self.directory, &self.message, &address)? {
            Outcome::Held(lock) => lock,
            Outcome::Taken(holder) => return Err(in_use(&address, holder)),
            Outcome::Denied(source) => {
                return Err(Error::PermissionDenied {
                    doing: "lock",
                    address,
                    source,
                });
            }
        };
        lock.sign();
        // From here on, whatever fails gives back what there is so far.
        let mut claim = FifoClaim {
            pair: self,
            lock,
            made: Vec::new(),
            turns: None,
            process: std::process::id(),
        };
        if claim.is_read()? {
            return Err(in_use(&address, Holder::default()));
        }
        if mode.contains(Mode::WOTH) {
            claim.turns = Some(claim.open_turns(mode)?);
        }
        // The answers first: who sees the messages' one may count on both.
        drop(claim.have(Fifo::Ack, mode)?);
        let messages = claim.have(Fifo::Message, mode)?;
        if let Some(turns) = claim.turns.take() {
            turns.release();
        }
        tracing::debug!(%address, %access, "listening on a FIFO");
        Ok((claim, messages))
    }

    fn name(&self, fifo: Fifo) -> &OsStr {
        match fifo {
            Fifo::Message => &self.message,
            Fifo::Ack => &self.ack,
        }
    }

    fn open(&self, fifo: Fifo, access: OFlags, owner: &Access) -> Result<(OwnedFd, Stat), Error> {
        let flags = access | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(&self.directory.fd, self.name(fifo), flags, Mode::empty());
        tracing::trace!(path = %self.path.display(), ?fifo, ?access, ?opened, "open");
        let address = self.address(fifo);
        let fd = match opened {
            Ok(fd) => fd,
            Err(Errno::NOENT) => {
                return Err(Error::NotFound {
                    tried: vec![address],
                });
            }
            // Also of a socket; what is there is told below for all others.
            Err(Errno::NXIO) => return Err(Error::Refused { address }),
            Err(Errno::LOOP | Errno::MLINK) => {
                return Err(Error::NotAFifo {
                    address,
                    found: "a symbolic link",
                });
            }
            Err(Errno::ISDIR) => {
                return Err(Error::NotAFifo {
                    address,
                    found: "a directory",
                });
            }
            Err(errno) => return Err(denied_or("open", &address, errno)),
        };
        let opened = rustix::fs::fstat(&fd)
            .map_err(|errno| Error::io("examining what is there", &address, errno))?;
        trusted(&opened, &address, owner)?;
        Ok((fd, opened))
    }
}

/// The turn to send, held until this is dropped.
#[derive(Debug)]
pub struct Turn<'a> {
    lock: Lock,
    pair: &'a FifoPair,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // A listener that ends while somebody has the turn leaves the file to them.
        let listened = self.pair.is_there();
        if !listened {
            self.lock.remove(&self.pair.directory);
        }
        self.lock.release();
        // It may have ended between the look and the release.
        if listened && !self.pair.is_there() {
            self.pair.clear_turns();
        }
    }
}

/// The claim of a listener on two FIFOs. Dropped, it removes those that are still
/// the ones that it made or took over. A process that was forked from the one that
/// listens removes nothing.
#[derive(Debug)]
pub struct FifoClaim {
    pair: FifoPair,
    lock: Lock,
    made: Vec<(Fifo, Stat)>,
    /// The turn to send, held until there is something to send to: nobody removes its
    /// file meanwhile, and nobody afterwards.
    turns: Option<Lock>,
    process: u32,
}

impl FifoClaim {
    /// The place that is claimed.
    #[must_use]
    pub fn pair(&self) -> &FifoPair {
        &self.pair
    }

    /// Makes one or takes it over, and opens it for reading.
    fn have(&mut self, fifo: Fifo, mode: Mode) -> Result<OwnedFd, Error> {
        let address = self.pair.address(fifo);
        match make(&self.pair, fifo, mode) {
            Ok(()) => {}
            Err(Errno::EXIST) => tracing::debug!(%address, "taking over a FIFO"),
            Err(errno) => return Err(denied_or("make", &address, errno)),
        }
        let (fd, opened) = self.pair.open(fifo, OFlags::RDONLY, &Access::SameUser)?;
        self.made.push((fifo, opened));
        // Of a sender that made it, or less the umask.
        if Mode::from_raw_mode(opened.st_mode) != mode {
            rustix::fs::fchmod(&fd, mode)
                .map_err(|errno| Error::io("setting the mode", &address, errno))?;
        }
        Ok(fd)
    }

    /// Whether a listener that knows of no lock reads the messages.
    fn is_read(&self) -> Result<bool, Error> {
        match self.pair.open_writer(Fifo::Message, &Access::SameUser) {
            Ok(_) => Ok(true),
            Err(Error::Refused { .. } | Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Lets everyone take turns who may send. Nobody reads yet, so that no sender keeps
    /// its turn for long.
    fn open_turns(&self, mode: Mode) -> Result<Lock, Error> {
        let address = self.pair.address(Fifo::Ack);
        let started = Instant::now();
        loop {
            match Lock::acquire(&self.pair.directory, &self.pair.ack, &address)? {
                Outcome::Held(lock) => {
                    return match lock.set_mode(mode) {
                        Ok(()) => Ok(lock),
                        Err(errno) => {
                            Err(Error::io("setting the mode of the lock", &address, errno))
                        }
                    };
                }
                Outcome::Taken(_) if started.elapsed() < TURN_TIME => thread::sleep(TURN_PAUSE),
                Outcome::Taken(holder) => return Err(in_use(&address, holder)),
                Outcome::Denied(source) => {
                    return Err(Error::PermissionDenied {
                        doing: "lock",
                        address,
                        source,
                    });
                }
            }
        }
    }
}

impl Drop for FifoClaim {
    fn drop(&mut self) {
        if std::process::id() != self.process {
            return;
        }
        let directory = &self.pair.directory;
        for (fifo, made) in &self.made {
            let name = self.pair.name(*fifo);
            if !lock::is_at(directory, name, made) {
                continue;
            }
            match rustix::fs::unlinkat(&directory.fd, name, AtFlags::empty()) {
                Ok(()) => tracing::debug!(address = %self.pair.address(*fifo), "released"),
                Err(error) => {
                    let address = self.pair.address(*fifo);
                    tracing::warn!(%address, %error, "could not remove the FIFO");
                }
            }
        }
        // Whoever gives up a turn removes its file, once the FIFO is gone; nobody may have
        // had one since.
        match self.turns.take() {
            Some(lock) => drop(Turn {
                lock,
                pair: &self.pair,
            }),
            None if !self.made.is_empty() => self.pair.clear_turns(),
            None => {}
        }
        self.lock.remove(directory);
    }
}

#[cfg(not(target_vendor = "apple"))]
fn make(pair: &FifoPair, fifo: Fifo, mode: Mode) -> Result<(), Errno> {
    rustix::fs::mkfifoat(&pair.directory.fd, pair.name(fifo), mode)
}

#[cfg(target_vendor = "apple")]
fn make(pair: &FifoPair, fifo: Fifo, mode: Mode) -> Result<(), Errno> {
    super::darwin::make_fifo(&pair.path.with_file_name(pair.name(fifo)), mode)
}

fn is_fifo(found: &Stat) -> bool {
    FileType::from_raw_mode(found.st_mode) == FileType::Fifo
}

/// Whether it is a FIFO, and whose.
fn trusted(found: &Stat, address: &Address, owner: &Access) -> Result<(), Error> {
    if !is_fifo(found) {
        return Err(Error::NotAFifo {
            address: address.clone(),
            found: match FileType::from_raw_mode(found.st_mode) {
                FileType::Symlink => "a symbolic link",
                FileType::Directory => "a directory",
                _ => "something else",
            },
        });
    }
    let peer = Peer::new(User::Uid(found.st_uid));
    owner.check(&peer).map_err(|error| error.at(address))
}

fn address_of(path: PathBuf) -> Address {
    let trust = Trust::Given;
    Place::Path { path, trust }.into()
}
