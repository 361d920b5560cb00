//! Waiting with poll(2).

use super::Few;
use crate::unix::Socket;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Resource, getrlimit},
};
use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    sync::{OnceLock, Weak},
    time::{Duration, Instant},
};

/// How many sources one thread waits for. The system takes no more at once than there may
/// be descriptors; one is the alarm's.
pub(super) fn most() -> usize {
    static MOST: OnceLock<usize> = OnceLock::new();
    *MOST.get_or_init(|| {
        let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let most = usize::try_from(descriptors).unwrap_or(usize::MAX);
        most.saturating_sub(1).min(1_024)
    })
}

/// A direction of a socket. Weak: who waits keeps no socket open that its holder has
/// let go of.
pub(crate) struct Source {
    pub(crate) socket: Weak<Socket>,
    pub(crate) writes: bool,
}

impl PartialEq for Source {
    fn eq(&self, other: &Source) -> bool {
        Weak::ptr_eq(&self.socket, &other.socket) && self.writes == other.writes
    }
}

/// Rouses a thread from poll(2).
#[derive(Debug)]
pub(super) struct Alarm {
    bell: UnixStream,
    ear: UnixStream,
}

impl Alarm {
    pub(super) fn new() -> io::Result<Alarm> {
        let (bell, ear) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        ear.set_nonblocking(true)?;
        Ok(Alarm { bell, ear })
    }

    pub(super) fn ring(&self) {
        // An error means that it rings already.
        let _ = (&self.bell).write(&[1]);
    }

    fn hush(&self) {
        while (&self.ear).read(&mut [0; 64]).is_ok_and(|n| n > 0) {}
    }
}

/// Which of the sources are ready, or gone; none if the alarm rang, or at the deadline.
pub(super) fn wait<'a>(
    alarm: &Alarm,
    sources: impl Iterator<Item = &'a Source>,
    deadline: Option<Instant>,
) -> Few<usize> {
    let (mut held, mut gone) = (Few::new(), Few::new());
    for (index, source) in sources.enumerate() {
        // Of its descriptor only: of two who wait, each would else see that the other
        // holds it.
        match source.socket.upgrade().map(|socket| socket.io.clone()) {
            Some(io) => held.push((io, source.writes)),
            None => gone.push(index),
        }
    }
    if !gone.is_empty() {
        // To be struck off.
        return gone;
    }
    let sources = held.iter().map(|(io, writes)| {
        let flags = if *writes {
            PollFlags::OUT
        } else {
            PollFlags::IN
        };
        PollFd::new(io.get_ref(), flags)
    });
    let mut polled: Few<PollFd<'_>> = sources
        .chain([PollFd::new(&alarm.ear, PollFlags::IN)])
        .collect();
    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    match poll(&mut polled, left.and_then(timespec).as_ref()) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(errno) => {
            // Rather look at everything than never again.
            tracing::error!(error = %io::Error::from(errno), "poll(2) failed");
            return (0..polled.len().saturating_sub(1)).collect();
        }
    }
    if polled.pop().is_some_and(|ear| !ear.revents().is_empty()) {
        alarm.hush();
    }
    let ready = |(index, fd): (usize, &PollFd<'_>)| (!fd.revents().is_empty()).then_some(index);
    polled.iter().enumerate().filter_map(ready).collect()
}

/// `None`, for as long as it takes, if it is longer than the system can count.
fn timespec(time: Duration) -> Option<Timespec> {
    Timespec::try_from(time).ok()
}
