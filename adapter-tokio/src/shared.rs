//! One connection, shared by those who wait on it: the drive loop.
//!
//! Whoever waits moves the bytes. Each direction has one driver at a time, who
//! holds its lock; the session's lock is never held across I/O.

use crate::clock;
use sealpipe_core::{
    Connection as Core, RecvBuf, SendBuf, Time,
    session::{Interest, Place, Session, Waiters},
};
use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::io::{poll_read_buf, poll_write_buf};

/// A lock that no panic of a user's waker can poison for others.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(std::sync::TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(std::sync::TryLockError::WouldBlock) => None,
    }
}

/// Called once, with the first bytes read and before they are looked at.
pub(crate) type Verify = Box<dyn FnOnce() -> bool + Send>;

/// The two directions of a stream.
pub(crate) struct Transport {
    pub(crate) read: Box<dyn AsyncRead + Send + Unpin>,
    pub(crate) write: Box<dyn AsyncWrite + Send + Unpin>,
    /// Whether what was written must be flushed.
    pub(crate) flushes: bool,
    /// On Windows a client is known only after it has sent something.
    pub(crate) verify: Option<Verify>,
}

struct Reader {
    io: Option<Box<dyn AsyncRead + Send + Unpin>>,
    verify: Option<Verify>,
    buf: RecvBuf,
}

struct Writer {
    io: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    buf: SendBuf,
    /// Whether the stream has a buffer of its own.
    flushes: bool,
    unflushed: bool,
}

/// Who is woken by the transport, and whether it will.
struct Signals {
    waiters: Mutex<Waiters>,
    /// The transport holds our waker, which has not been woken yet.
    read_armed: AtomicBool,
    write_armed: AtomicBool,
}

impl Signals {
    fn ready(&self, armed: &AtomicBool) {
        armed.store(false, Ordering::SeqCst);
        let woken = {
            let mut waiters = lock(&self.waiters);
            waiters.wake_driver();
            waiters.take_woken()
        };
        wake_all(woken);
    }
}

struct ReadReady(Arc<Signals>);

impl Wake for ReadReady {
    fn wake(self: Arc<Self>) {
        self.0.ready(&self.0.read_armed);
    }
}

struct WriteReady(Arc<Signals>);

impl Wake for WriteReady {
    fn wake(self: Arc<Self>) {
        self.0.ready(&self.0.write_armed);
    }
}

fn wake_all(woken: Vec<Waker>) {
    woken.into_iter().for_each(Waker::wake);
}

/// What driving one direction has brought.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Something moved; look again.
    Progress,
    /// Nothing more can move until the transport is ready, or another moves it.
    Pending,
}

pub(crate) struct Shared {
    session: Mutex<Session>,
    reader: Mutex<Reader>,
    writer: Mutex<Writer>,
    /// Somebody who had something to write found the writer's lock taken.
    write_again: AtomicBool,
    signals: Arc<Signals>,
    read_waker: Waker,
    write_waker: Waker,
}

impl Shared {
    pub(crate) fn new(core: Core, transport: Transport) -> Shared {
        let signals = Arc::new(Signals {
            waiters: Mutex::new(Waiters::new()),
            read_armed: AtomicBool::new(false),
            write_armed: AtomicBool::new(false),
        });
        Shared {
            session: Mutex::new(Session::new(core)),
            reader: Mutex::new(Reader {
                io: Some(transport.read),
                verify: transport.verify,
                buf: RecvBuf::new(),
            }),
            writer: Mutex::new(Writer {
                io: Some(transport.write),
                buf: SendBuf::new(),
                flushes: transport.flushes,
                unflushed: false,
            }),
            write_again: AtomicBool::new(false),
            read_waker: Waker::from(Arc::new(ReadReady(signals.clone()))),
            write_waker: Waker::from(Arc::new(WriteReady(signals.clone()))),
            signals,
        }
    }

    /// Calls into the session where that wakes nobody.
    pub(crate) fn session<T>(&self, call: impl FnOnce(&mut Session) -> T) -> T {
        call(&mut lock(&self.session))
    }

    /// Calls into the session, then wakes whom that concerns, with no lock held.
    pub(crate) fn with<T>(&self, call: impl FnOnce(&mut Session, &mut Waiters) -> T) -> T {
        let (value, woken) = {
            let mut session = lock(&self.session);
            let mut waiters = lock(&self.signals.waiters);
            (call(&mut session, &mut waiters), waiters.take_woken())
        };
        if !woken.is_empty() {
            wake_all(woken);
        }
        value
    }

    /// Reads once, and lets the session take it in.
    pub(crate) fn drive_read(&self, now: Time) -> Step {
        let Some(mut reader) = try_lock(&self.reader) else {
            return Step::Pending;
        };
        let Reader {
            io: Some(io),
            verify,
            buf,
        } = &mut *reader
        else {
            return Step::Pending;
        };
        let armed = &self.signals.read_armed;
        // Before the poll: a wake-up that comes during it must not be overwritten.
        armed.store(true, Ordering::SeqCst);
        let mut context = Context::from_waker(&self.read_waker);
        match poll_read_buf(Pin::new(io), &mut context, &mut buf.spare()) {
            Poll::Pending => {
                self.with(|session, waiters| session.handle_idle(now, buf, waiters));
                drop(reader);
                // Somebody who was woken meanwhile found the lock taken.
                if armed.load(Ordering::SeqCst) {
                    Step::Pending
                } else {
                    Step::Progress
                }
            }
            Poll::Ready(result) => {
                armed.store(false, Ordering::SeqCst);
                match result {
                    Ok(n) if n > 0 => {
                        tracing::trace!(bytes = n, "read");
                        if verify.take().is_some_and(|verify| !verify()) {
                            let refused = sealpipe_core::wire::Status::Refused;
                            self.with(|session, waiters| {
                                session.with(waiters, |core| core.refuse(refused))
                            });
                        }
                        self.with(|session, waiters| session.handle_input(now, buf, waiters));
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    end => {
                        if let Err(error) = end
                            && !sealpipe_endpoint::is_end_of_stream(&error)
                        {
                            tracing::debug!(%error, "reading failed");
                        }
                        self.with(|session, waiters| session.handle_eof(now, buf, waiters));
                        reader.io = None;
                    }
                }
                Step::Progress
            }
        }
    }

    /// Writes all that is there to write and the transport takes.
    pub(crate) fn drive_write(&self, now: Time) -> Step {
        let mut step = Step::Pending;
        loop {
            let Some(mut writer) = try_lock(&self.writer) else {
                // Whoever holds it looks here when he lets go of it.
                self.write_again.store(true, Ordering::SeqCst);
                if self.writer.try_lock().is_err() {
                    return step;
                }
                continue;
            };
            self.write_again.store(false, Ordering::SeqCst);
            let blocked = self.write_all(now, &mut writer, &mut step);
            drop(writer);
            let woken = blocked && !self.signals.write_armed.load(Ordering::SeqCst);
            if !woken && !self.write_again.load(Ordering::SeqCst) {
                return step;
            }
            if blocked && !woken {
                // What was queued meanwhile goes when the transport takes more.
                return step;
            }
        }
    }

    /// Returns whether the transport takes no more for now.
    fn write_all(&self, now: Time, writer: &mut Writer, step: &mut Step) -> bool {
        let armed = &self.signals.write_armed;
        let mut context = Context::from_waker(&self.write_waker);
        loop {
            let more =
                self.with(|session, waiters| session.poll_transmit(now, &mut writer.buf, waiters));
            if !more && !writer.unflushed {
                return false;
            }
            let Some(io) = writer.io.as_mut() else {
                self.session(|session| session.handle_write_failed());
                writer.unflushed = false;
                return false;
            };
            // Before the poll: a wake-up that comes during it must not be overwritten.
            armed.store(true, Ordering::SeqCst);
            let poll = if more {
                poll_write_buf(Pin::new(io), &mut context, &mut writer.buf)
            } else {
                Pin::new(io).poll_flush(&mut context).map_ok(|()| 0)
            };
            let Poll::Ready(result) = poll else {
                return true;
            };
            armed.store(false, Ordering::SeqCst);
            match result {
                Ok(0) if !more => {
                    writer.unflushed = false;
                    return false;
                }
                Ok(n) if n > 0 => {
                    tracing::trace!(bytes = n, "wrote");
                    *step = Step::Progress;
                    writer.unflushed = writer.flushes;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                end => {
                    if let Err(error) = end
                        && !sealpipe_endpoint::is_end_of_stream(&error)
                    {
                        tracing::debug!(%error, "writing failed");
                    }
                    writer.io = None;
                    *step = Step::Progress;
                }
            }
        }
    }

    /// Waits, driving, until `ready` has something. Outcomes of what was just
    /// queued want `write_first`; whoever waits for input leaves writing until
    /// there is nothing to read, so that acks go out in one write.
    pub(crate) fn poll_wait<T>(
        &self,
        context: &Context<'_>,
        place: &mut Place,
        interest: Interest,
        write_first: bool,
        mut ready: impl FnMut(&mut Session) -> Option<T>,
    ) -> Poll<T> {
        let mut value = {
            let mut session = lock(&self.session);
            let value = ready(&mut session);
            // Nothing was driven: there is nothing to hand over.
            if value.is_some() && !place.is_taken() && session.touch() {
                return value.map_or(Poll::Pending, Poll::Ready);
            }
            value
        };
        if value.is_none() {
            let now = clock::now();
            if write_first && self.drive_write(now) == Step::Progress {
                value = self.session(&mut ready);
            }
            loop {
                while value.is_none() && self.drive_read(now) == Step::Progress {
                    value = self.session(&mut ready);
                }
                // Acks and credit, also when more keeps coming. A write that fails is
                // a reason to read on: to the end.
                let wrote = self.session(|session| session.wants_transmit())
                    && self.drive_write(now) == Step::Progress;
                if value.is_some() || !wrote {
                    break;
                }
                value = self.session(&mut ready);
            }
            if value.is_none() {
                // The transport's waker is set. Should it fire before this place is
                // taken, the background drives, and wakes it.
                value = self.with(|session, waiters| {
                    let value = ready(session);
                    if value.is_none() {
                        waiters.wait(place, interest, context.waker());
                        session.watch_timers(waiters);
                    }
                    value
                });
            }
        }
        match value {
            Some(value) => {
                self.leave(place);
                Poll::Ready(value)
            }
            None => Poll::Pending,
        }
    }

    /// A call of the program's leaves: somebody else must look after the
    /// transport, if nobody does.
    pub(crate) fn leave(&self, place: &mut Place) {
        let signals = &self.signals;
        self.with(|session, waiters| {
            let write_armed = signals.write_armed.load(Ordering::SeqCst);
            let armed = signals.read_armed.load(Ordering::SeqCst)
                && (write_armed || !session.wants_transmit());
            waiters.leave(place);
            session.leave(armed, waiters);
        });
    }

    pub(crate) fn set_background(&self, waker: &Waker) {
        lock(&self.signals.waiters).set_background(waker);
    }

    /// Gives back the memory of what is empty.
    pub(crate) fn release(&self) {
        self.with(|session, waiters| session.release(waiters));
        if let Some(mut reader) = try_lock(&self.reader) {
            reader.buf.release();
        }
        if let Some(mut writer) = try_lock(&self.writer) {
            writer.buf.release();
        }
    }

    /// Closes the stream if there is no more to be written, or the peer has not
    /// taken it for too long; says whether it is closed.
    pub(crate) fn close_if_drained(&self, now: Time) -> bool {
        let mut writer = lock(&self.writer);
        let flushed =
            writer.io.is_none() || (bytes::Buf::remaining(&writer.buf) == 0 && !writer.unflushed);
        let done =
            self.session(|session| (flushed && session.is_drained()) || session.is_overdue(now));
        if !done {
            return false;
        }
        writer.io = None;
        writer.buf = SendBuf::new();
        drop(writer);
        let mut reader = lock(&self.reader);
        reader.io = None;
        reader.buf = RecvBuf::new();
        true
    }
}
