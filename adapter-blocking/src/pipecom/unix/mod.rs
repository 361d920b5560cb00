//! PipeCom over two FIFOs.
//!
//! The acknowledgements of all senders come through one FIFO and say nothing of
//! which message they are for. So a sender must know before it sends that none is
//! under way that belongs to somebody else, above all to a sender that was killed
//! or gave up while its message was being worked on. This is how it does:
//!
//! - Senders take turns by a lock, so that at most one message is under way.
//! - The listener has the FIFO of acknowledgements open for writing from before it
//!   reads the first byte of a message until after it has written the
//!   acknowledgement, or given up on it.
//! - The sender whose turn it is looks whether the FIFO of messages is empty, and
//!   then whether anybody has that of acknowledgements open for writing, in this
//!   order. If neither, nothing is under way: it opens the latter for reading and
//!   sends. Else it waits, and throws away what comes meanwhile.

mod lines;
mod listen;
mod send;

pub(super) use listen::Port;
pub(super) use send::attempt;

use std::{
    fmt,
    io::{self, PipeReader, PipeWriter, Write as _},
    os::fd::AsFd,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::deadline::Deadline;

/// What follows a message, and an acknowledgement.
const LINE_FEED: u8 = b'\n';

/// An absolute path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Place(PathBuf);

impl Place {
    pub(super) fn new(name: &str) -> Result<Place, String> {
        if name.ends_with('/') {
            return Err("it names a directory".to_owned());
        }
        let path = std::path::absolute(name).map_err(|error| error.to_string())?;
        match path.file_name() {
            Some(_) => Ok(Place(path)),
            None => Err("it names a directory".to_owned()),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

/// Tells a listener to stop, which may be waiting.
#[derive(Debug)]
pub(super) struct Stop {
    asked: AtomicBool,
    wake: PipeWriter,
    woken: PipeReader,
}

impl Stop {
    pub(super) fn new() -> io::Result<Stop> {
        let (woken, wake) = io::pipe()?;
        Ok(Stop {
            asked: AtomicBool::new(false),
            wake,
            woken,
        })
    }

    pub(super) fn ask(&self) {
        // Once, so that the pipe never fills.
        if !self.asked.swap(true, Ordering::SeqCst) {
            // The reading end is open for as long as this is.
            let _ = (&self.wake).write(&[0]);
        }
    }

    fn is_asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }
}

/// Waits until something can be done with one of the descriptors; false if not in
/// time.
fn wait(descriptors: &mut [PollFd<'_>], until: Deadline) -> io::Result<bool> {
    loop {
        let left = until.left().map(|left| {
            // A wait of centuries may end early.
            Timespec::try_from(left).unwrap_or(Timespec {
                tv_sec: i64::from(i32::MAX),
                tv_nsec: 0,
            })
        });
        match poll(descriptors, left.as_ref()) {
            Ok(0) if until.is_over() => return Ok(false),
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(true),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// As [`wait`], for bytes to read, or the end.
fn wait_to_read(descriptor: impl AsFd, until: Deadline) -> io::Result<bool> {
    wait(&mut [PollFd::new(&descriptor, PollFlags::IN)], until)
}

/// A read that does not wait.
enum Read {
    Bytes(usize),
    /// Nobody has it open for writing.
    End,
    /// There is nothing just now.
    Nothing,
}

fn read(descriptor: impl AsFd, buffer: &mut [u8]) -> io::Result<Read> {
    loop {
        return match rustix::io::read(&descriptor, &mut *buffer) {
            Ok(0) => Ok(Read::End),
            Ok(length) => Ok(Read::Bytes(length)),
            Err(Errno::AGAIN) => Ok(Read::Nothing),
            Err(Errno::INTR) => continue,
            Err(errno) => Err(errno.into()),
        };
    }
}
