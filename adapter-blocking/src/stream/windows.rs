//! Named pipes: the halves of `sealpipe-endpoint`, waited for.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::Shutdown;
use std::os::windows::io::{AsHandle, BorrowedHandle, OwnedHandle};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use sealpipe_endpoint::{
    Access, Address, Claim, Connected, Endpoint, Event, ListenOptions, Peer, PipeEnd, PipeEvent,
    PipeInstance, PipeReader, PipeWriter, client_of, pipe_end, pipe_halves, server_of, wait_any,
};

use super::LocalStream;

/// Instances of a pipe that wait for a client at any time: as many can connect
/// at once without trying again.
const WAITING: usize = 8;

#[derive(Clone)]
pub(super) struct Stream(Arc<Shared>);

/// What all clones of a stream share.
///
/// The locks are held for calls that return at once, never while waiting, so
/// that several threads can wait for one event. The settings are not locked
/// within a half.
struct Shared {
    local: Addr,
    peer: Addr,
    settings: Mutex<Settings>,
    reading: Half<Reading>,
    writing: Half<Writing>,
}

/// What may change while others wait.
#[derive(Clone)]
struct Settings {
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
    nonblocking: bool,
    read_shut: bool,
    write_shut: bool,
    /// Set once these are out of date.
    changed: Arc<Event>,
}

/// One direction.
struct Half<T> {
    /// None once both directions are shut, which closes the pipe.
    half: Mutex<Option<T>>,
    /// Its event, for waiting without the lock.
    event: PipeEvent,
}

struct Reading {
    reader: PipeReader,
    /// For whom the first read is to check the client.
    unchecked: Option<Access>,
}

struct Writing {
    writer: PipeWriter,
    /// How many writes were taken. The next is only once the one before has
    /// gone out.
    taken: u64,
}

impl Stream {
    pub(super) fn connected(connected: Connected) -> io::Result<Stream> {
        let halves = pipe_halves(connected.stream)?;
        Stream::new(halves, None, None, Some(connected.address))
    }

    pub(super) fn pair() -> io::Result<(Stream, Stream)> {
        let mut random = [0; 16];
        getrandom::fill(&mut random)?;
        let number = u128::from_ne_bytes(random);
        let endpoint = Endpoint::pipe(&format!(r"\\.\pipe\sealpipe-pair-{number:032x}"))?;
        let (first, _) = ListenOptions::new().listen(&endpoint)?.into_parts();
        let connected = sealpipe_endpoint::connect(&endpoint, &Access::SameUser)?;
        let mut instance = PipeInstance::new(first)?;
        instance.try_connect()?;
        let one = Stream::new(instance.into_halves()?, None, None, None)?;
        let other = Stream::new(pipe_halves(connected.stream)?, None, None, None)?;
        Ok((one, other))
    }

    fn new(
        (reader, writer): (PipeReader, PipeWriter),
        unchecked: Option<Access>,
        local: Addr,
        peer: Addr,
    ) -> io::Result<Stream> {
        let read_event = reader.event().clone();
        let write_event = writer.event().clone();
        Ok(Stream(Arc::new(Shared {
            local,
            peer,
            settings: Mutex::new(Settings {
                read_timeout: None,
                write_timeout: None,
                nonblocking: false,
                read_shut: false,
                write_shut: false,
                changed: Arc::new(Event::new()?),
            }),
            reading: Half {
                half: Mutex::new(Some(Reading { reader, unchecked })),
                event: read_event,
            },
            writing: Half {
                half: Mutex::new(Some(Writing { writer, taken: 0 })),
                event: write_event,
            },
        })))
    }

    pub(super) fn try_clone(&self) -> io::Result<Stream> {
        Ok(self.clone())
    }

    pub(super) fn local_addr(&self) -> io::Result<Addr> {
        Ok(self.0.local.clone())
    }

    pub(super) fn peer_addr(&self) -> io::Result<Addr> {
        Ok(self.0.peer.clone())
    }

    pub(super) fn peer(&self) -> io::Result<Peer> {
        let pipe = self.handle()?;
        let peer = match pipe_end(&pipe)? {
            PipeEnd::Client => server_of(&pipe),
            PipeEnd::Server => client_of(&pipe),
        };
        Ok(peer?)
    }

    /// Another handle of the pipe.
    fn handle(&self) -> io::Result<OwnedHandle> {
        match &*lock(&self.0.reading.half) {
            Some(reading) => reading.reader.as_handle().try_clone_to_owned(),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    pub(super) fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.change(|settings| settings.read_timeout = timeout)
    }

    pub(super) fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.change(|settings| settings.write_timeout = timeout)
    }

    pub(super) fn read_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(lock(&self.0.settings).read_timeout)
    }

    pub(super) fn write_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(lock(&self.0.settings).write_timeout)
    }

    pub(super) fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.change(|settings| settings.nonblocking = nonblocking)
    }

    pub(super) fn take_error(&self) -> io::Result<Option<io::Error>> {
        Ok(None)
    }

    pub(super) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        let mut both = false;
        self.change(|settings| {
            settings.read_shut |= how != Shutdown::Write;
            settings.write_shut |= how != Shutdown::Read;
            both = settings.read_shut && settings.write_shut;
        })?;
        if both {
            // With the last half the handle is closed, and the peer sees the end.
            drop(lock(&self.0.reading.half).take());
            drop(lock(&self.0.writing.half).take());
            tracing::debug!(pipe = ?self.name(), "both halves are shut, closed");
        }
        Ok(())
    }

    /// Changes the settings, and wakes whoever waits by the old ones.
    fn change(&self, change: impl FnOnce(&mut Settings)) -> io::Result<()> {
        let next = Arc::new(Event::new()?);
        let mut settings = lock(&self.0.settings);
        change(&mut settings);
        std::mem::replace(&mut settings.changed, next).set();
        Ok(())
    }

    pub(super) fn read_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let start = Instant::now();
        loop {
            let settings = lock(&self.0.settings).clone();
            if settings.read_shut {
                return Ok(0);
            }
            let result = match &mut *lock(&self.0.reading.half) {
                Some(reading) => reading.try_read(buffers),
                None => return Ok(0),
            };
            match result {
                Ok(length) => return Ok(length),
                Err(Failure::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    let event = &self.0.reading.event;
                    settings.wait(event, start, settings.read_timeout)?;
                }
                Err(Failure::Io(error)) => return Err(error),
                Err(Failure::Refused(error)) => {
                    let error = match &self.0.local {
                        Some(address) => error.at(address),
                        None => error,
                    };
                    tracing::warn!(%error, "a client was refused");
                    self.shutdown(Shutdown::Both)?;
                    return Err(error.into());
                }
            }
        }
    }

    pub(super) fn write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let start = Instant::now();
        let (length, number) = self.write_until(start, |writing| {
            let length = writing.writer.try_write_vectored(slices)?;
            writing.taken = writing.taken.wrapping_add(1);
            Ok((length, writing.taken))
        })?;
        // Nothing is left in flight if that can be helped, for Windows would
        // cancel it when this thread ends.
        let flushed = self.write_until(start, |writing| {
            if writing.taken == number {
                writing.writer.try_flush()
            } else {
                Ok(())
            }
        });
        match flushed {
            // Taken all the same: the next write waits for it.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(length),
            result => result.map(|()| length),
        }
    }

    pub(super) fn flush(&self) -> io::Result<()> {
        self.write_until(Instant::now(), |writing| writing.writer.try_flush())
    }

    fn write_until<T>(
        &self,
        start: Instant,
        mut attempt: impl FnMut(&mut Writing) -> io::Result<T>,
    ) -> io::Result<T> {
        loop {
            let settings = lock(&self.0.settings).clone();
            if settings.write_shut {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            let result = match &mut *lock(&self.0.writing.half) {
                Some(writing) => attempt(writing),
                None => return Err(io::ErrorKind::BrokenPipe.into()),
            };
            match result {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let event = &self.0.writing.event;
                    settings.wait(event, start, settings.write_timeout)?;
                }
                result => return result,
            }
        }
    }

    fn name(&self) -> Option<&str> {
        let address = self.0.local.as_ref().or(self.0.peer.as_ref());
        address.and_then(Address::as_pipe)
    }
}

impl Settings {
    /// Waits until the half is worth another attempt or these are out of date.
    fn wait(&self, half: &PipeEvent, start: Instant, timeout: Option<Duration>) -> io::Result<()> {
        if self.nonblocking {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let left = timeout.map(|timeout| timeout.saturating_sub(start.elapsed()));
        if left == Some(Duration::ZERO) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        wait(&[half.as_handle(), self.changed.as_handle()], left)
    }
}

/// Why a read failed.
enum Failure {
    Io(io::Error),
    /// The client is not one that may connect, or nobody can say who it is.
    Refused(sealpipe_endpoint::Error),
}

impl Reading {
    /// Reads what is there, to one buffer after another.
    fn try_read(&mut self, buffers: &mut [IoSliceMut<'_>]) -> Result<usize, Failure> {
        let mut total = 0_usize;
        for buffer in buffers {
            match self.reader.try_read(buffer) {
                Ok(length) => {
                    total = total.saturating_add(length);
                    if length < buffer.len() {
                        break;
                    }
                }
                // It will be there at the next call, too.
                Err(_) if total > 0 => break,
                Err(error) => return Err(Failure::Io(error)),
            }
        }
        if total > 0
            && let Some(access) = &self.unchecked
        {
            if *access != Access::Anyone {
                client_of(&self.reader)
                    .and_then(|peer| access.check(&peer))
                    .map_err(Failure::Refused)?;
            }
            self.unchecked = None;
        }
        Ok(total)
    }
}

/// A pipe of which nobody knows whether it is the server's end or the client's:
/// whoever connected it has checked the peer. It must have been opened with
/// `FILE_FLAG_OVERLAPPED` and be connected.
impl TryFrom<OwnedHandle> for LocalStream {
    type Error = io::Error;

    fn try_from(pipe: OwnedHandle) -> io::Result<LocalStream> {
        Stream::new(pipe_halves(pipe)?, None, None, None).map(LocalStream)
    }
}

/// Waits, within the write timeout, until what was taken has been written. A client
/// whose user was not checked yet, for nothing was read from it, is not handed out:
/// that fails with `WouldBlock`.
impl TryFrom<LocalStream> for OwnedHandle {
    type Error = io::Error;

    fn try_from(LocalStream(stream): LocalStream) -> io::Result<OwnedHandle> {
        stream.flush()?;
        let reading = lock(&stream.0.reading.half);
        let unchecked = reading.as_ref().and_then(|half| half.unchecked.as_ref());
        if unchecked.is_some_and(|access| *access != Access::Anyone) {
            return Err(sealpipe_endpoint::Error::IdentityNotYet.into());
        }
        drop(reading);
        stream.handle()
    }
}

#[derive(Clone)]
pub(super) struct Listener(Arc<Instances>);

struct Instances {
    claim: Claim,
    access: Access,
    nonblocking: Mutex<bool>,
    /// Set while it is non-blocking, so that who waits already wakes.
    no_waiting: Event,
    /// Locked while waiting: of several threads that accept, one waits for a
    /// client and the others for it.
    waiting: Mutex<Vec<PipeInstance>>,
}

impl Listener {
    pub(super) fn new(
        listener: sealpipe_endpoint::Listener,
        access: Access,
    ) -> io::Result<Listener> {
        let (first, claim) = listener.into_parts();
        let mut waiting = vec![PipeInstance::new(first)?];
        while waiting.len() < WAITING {
            waiting.push(PipeInstance::new(claim.next_instance()?)?);
        }
        Ok(Listener(Arc::new(Instances {
            claim,
            access,
            nonblocking: Mutex::new(false),
            no_waiting: Event::new()?,
            waiting: Mutex::new(waiting),
        })))
    }

    pub(super) fn accept(&self) -> io::Result<(Stream, Addr)> {
        let mut waiting = if *lock(&self.0.nonblocking) {
            match self.0.waiting.try_lock() {
                Ok(waiting) => waiting,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => return Err(io::ErrorKind::WouldBlock.into()),
            }
        } else {
            lock(&self.0.waiting)
        };
        loop {
            if let Some(instance) = self.0.take_connected(&mut waiting)? {
                let stream = Stream::new(
                    instance.into_halves()?,
                    Some(self.0.access.clone()),
                    Some(self.0.claim.address().clone()),
                    None,
                )?;
                return Ok((stream, None));
            }
            if *lock(&self.0.nonblocking) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let mut events: Vec<_> = (waiting.iter())
                .map(|instance| instance.event().as_handle())
                .collect();
            events.push(self.0.no_waiting.as_handle());
            wait(&events, None)?;
        }
    }

    pub(super) fn local_addr(&self) -> io::Result<Addr> {
        Ok(Some(self.0.claim.address().clone()))
    }

    pub(super) fn try_clone(&self) -> io::Result<Listener> {
        Ok(self.clone())
    }

    pub(super) fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        let mut set = lock(&self.0.nonblocking);
        *set = nonblocking;
        if nonblocking {
            self.0.no_waiting.set();
        } else {
            self.0.no_waiting.reset();
        }
        Ok(())
    }

    pub(super) fn take_error(&self) -> io::Result<Option<io::Error>> {
        Ok(None)
    }
}

impl Instances {
    /// An instance that has its client, if there is one. Another is made in its
    /// place first; if that fails, it stays for the next call.
    fn take_connected(&self, waiting: &mut Vec<PipeInstance>) -> io::Result<Option<PipeInstance>> {
        let mut ready = None;
        for (index, instance) in waiting.iter_mut().enumerate() {
            match instance.try_connect() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => {
                    ready = Some((index, result));
                    break;
                }
            }
        }
        let Some((index, result)) = ready else {
            return Ok(None);
        };
        waiting.push(PipeInstance::new(self.claim.next_instance()?)?);
        // The order is kept, so that who came first is likely to be first here.
        let instance = waiting.remove(index);
        result.map(|()| Some(instance))
    }
}

/// Where an end is, if anywhere.
pub(super) type Addr = Option<Address>;

pub(super) fn is_unnamed(address: &Addr) -> bool {
    address.is_none()
}

pub(super) fn as_pathname(address: &Addr) -> Option<&Path> {
    address.as_ref().and_then(Address::as_pipe).map(Path::new)
}

pub(super) fn fmt(address: &Addr, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match as_pathname(address) {
        Some(path) => write!(f, "{path:?} (pathname)"),
        None => f.write_str("(unnamed)"),
    }
}

fn wait(events: &[BorrowedHandle<'_>], timeout: Option<Duration>) -> io::Result<()> {
    let result = wait_any(events, timeout);
    tracing::trace!(?timeout, ?result, "WaitForMultipleObjects");
    result.map(|_| ())
}

/// What is behind these locks is whole after every step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
