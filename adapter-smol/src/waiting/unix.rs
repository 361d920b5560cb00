//! Waiting with poll(2).

use super::Few;
use crate::unix::Socket;
use async_io::Async;
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
    mut sources: impl ExactSizeIterator<Item = &'a Source>,
    deadline: Option<Instant>,
) -> Few<usize> {
    // Of their descriptors only: of two who wait, each would else see that the other holds
    // the socket.
    let hold = |source: &Source| {
        let io = source.socket.upgrade().map(|socket| socket.io.clone())?;
        Some((io, source.writes))
    };
    if sources.len() == 1 {
        // The rule where messages go to and fro: nothing is gathered.
        let held = sources.next().and_then(hold);
        let ready = held.is_none_or(|(io, writes)| {
            let mut polled = [poll_fd(&io, writes), ear(alarm)];
            let told = look(alarm, &mut polled, deadline);
            let [fd, _] = polled;
            !told || !fd.revents().is_empty()
        });
        return ready.then_some(0).into_iter().collect();
    }
    let (mut held, mut gone) = (Few::new(), Few::new());
    for (index, source) in sources.enumerate() {
        match hold(source) {
            Some(source) => held.push(source),
            None => gone.push(index),
        }
    }
    if !gone.is_empty() {
        // To be struck off.
        return gone;
    }
    let sources = held.iter().map(|(io, writes)| poll_fd(io, *writes));
    let mut polled: Few<PollFd<'_>> = sources.chain([ear(alarm)]).collect();
    let told = look(alarm, &mut polled, deadline);
    let ready =
        |(index, fd): (usize, &PollFd<'_>)| (!told || !fd.revents().is_empty()).then_some(index);
    let sources = polled.iter().enumerate().take(held.len());
    sources.filter_map(ready).collect()
}

fn poll_fd(io: &Async<UnixStream>, writes: bool) -> PollFd<'_> {
    let flags = if writes {
        PollFlags::OUT
    } else {
        PollFlags::IN
    };
    PollFd::new(io.get_ref(), flags)
}

fn ear(alarm: &Alarm) -> PollFd<'_> {
    PollFd::new(&alarm.ear, PollFlags::IN)
}

/// Waits for what is polled, of which the last is the alarm's. `false` if the system does
/// not tell: rather look at everything than never again.
fn look(alarm: &Alarm, polled: &mut [PollFd<'_>], deadline: Option<Instant>) -> bool {
    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    match poll(polled, left.and_then(timespec).as_ref()) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(errno) => {
            tracing::error!(error = %io::Error::from(errno), "poll(2) failed");
            return false;
        }
    }
    if polled.last().is_some_and(|ear| !ear.revents().is_empty()) {
        alarm.hush();
    }
    true
}

/// `None`, for as long as it takes, if it is longer than the system can count.
fn timespec(time: Duration) -> Option<Timespec> {
    Timespec::try_from(time).ok()
}
