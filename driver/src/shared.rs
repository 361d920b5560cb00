//! One connection, shared by those who wait on it: the drive loop.
//!
//! Whoever waits moves the bytes. Each direction has one driver at a time, who
//! holds its lock; the session's lock is never held across I/O.

mod streams;

#[cfg(windows)]
use crate::transport::{Half, Verify};
use crate::{
    ReadHalf, Runtime, WriteHalf,
    call::{Call, First, Now},
    sending::Fate,
    signals::{Signals, State},
    transport::{Read, Transport},
    writer::Writer,
};
use bytes::{Buf, BufMut};
use futures_util::task::waker_ref;
use sealpipe_core::{
    AckLevel, Connection as Core, Message, Outcome, RecvBuf, Time,
    session::{Duty, Interest, Place, Session, Waiters},
};
use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

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

struct Reader<R: Runtime> {
    io: Option<Read<R>>,
    #[cfg(windows)]
    verify: Option<Verify>,
    /// None from one [release](Shared::release) to the next read: most are idle.
    buf: Option<Box<RecvBuf>>,
}

fn rested() -> Box<RecvBuf> {
    Box::new(RecvBuf::rested())
}

#[cfg(windows)]
impl<R: Runtime> Reader<R> {
    /// Whether the client that has sent its first bytes may talk to us.
    fn verify(&mut self) -> bool {
        use std::os::windows::io::AsHandle;
        match (&self.io, self.verify.take()) {
            (Some(Half::Native(io)), Some(verify)) => verify(io.as_handle()),
            _ => true,
        }
    }
}

/// What driving one direction has brought.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Something moved; look again.
    Progress,
    /// Nothing more can move until the transport is ready, or another moves it.
    Pending,
    /// The same, but the transport has woken us already, and holds no waker: others are
    /// to have their turn, then it is to be asked again.
    Yield,
}

pub(crate) struct Shared<R: Runtime> {
    reader: Mutex<Reader<R>>,
    writer: Mutex<Writer<R>>,
    /// Somebody who was to read found the reader's lock taken.
    read_again: AtomicBool,
    /// Somebody who had something to write found the writer's lock taken.
    write_again: AtomicBool,
    signals: Arc<Signals>,
}

impl<R: Runtime> Shared<R> {
    pub(crate) fn new(core: Core, transport: Transport<R>) -> Shared<R> {
        let signals = Arc::new(Signals {
            state: Mutex::new(State {
                session: Session::new(core),
                waiters: Waiters::new(),
            }),
            read_armed: AtomicBool::new(false),
            write_armed: AtomicBool::new(false),
        });
        Shared {
            reader: Mutex::new(Reader {
                io: Some(transport.read),
                #[cfg(windows)]
                verify: transport.verify,
                buf: Some(Box::default()),
            }),
            writer: Mutex::new(Writer::new(transport.write)),
            read_again: AtomicBool::new(false),
            write_again: AtomicBool::new(false),
            signals,
        }
    }

    /// Calls into the session where that wakes nobody.
    pub(crate) fn session<T>(&self, call: impl FnOnce(&mut Session) -> T) -> T {
        call(&mut lock(&self.signals.state).session)
    }

    /// Calls into the session for what only gathers: the background sees to it if the program
    /// does not.
    #[inline]
    pub(crate) fn feed<T>(&self, call: impl FnOnce(&mut Session) -> T) -> T {
        let mut state = lock(&self.signals.state);
        let State { session, waiters } = &mut *state;
        let value = call(session);
        if session.watch_fed(waiters) {
            let woken = waiters.take_woken();
            drop(state);
            woken.wake();
        }
        value
    }

    /// Calls into the session, then wakes whom that concerns, with no lock held.
    pub(crate) fn with<T>(&self, call: impl FnOnce(&mut Session, &mut Waiters) -> T) -> T {
        let (value, woken) = {
            let State { session, waiters } = &mut *lock(&self.signals.state);
            (call(session, waiters), waiters.take_woken())
        };
        woken.wake();
        value
    }

    /// `None` if another reads, or looks at `read_again` when he lets go of the lock.
    fn lock_reader(&self) -> Option<MutexGuard<'_, Reader<R>>> {
        let reader = try_lock(&self.reader).or_else(|| {
            self.read_again.store(true, Ordering::SeqCst);
            try_lock(&self.reader)
        })?;
        // To look costs nothing, to store as much as to lock.
        if self.read_again.load(Ordering::SeqCst) {
            self.read_again.store(false, Ordering::SeqCst);
        }
        Some(reader)
    }

    /// Reads once, and lets the session take it in. `look` sees the session then, and
    /// whether there is nothing more to read for now.
    pub(crate) fn drive_read(
        &self,
        now: &mut Now,
        look: impl FnOnce(&mut Session, &mut Waiters, bool),
    ) -> Step {
        let Some(mut reader) = self.lock_reader() else {
            return Step::Pending;
        };
        let Reader {
            io: Some(io), buf, ..
        } = &mut *reader
        else {
            return Step::Pending;
        };
        if let Some(buf) = buf.as_deref_mut().filter(|buf| buf.is_held()) {
            let now = now.get::<R>();
            self.with(|session, waiters| {
                // There may be room by now.
                session.handle_input(now, buf, waiters);
                look(session, waiters, buf.is_held());
            });
            return if buf.is_held() {
                Step::Pending
            } else {
                Step::Progress
            };
        }
        let armed = &self.signals.read_armed;
        let poll = if armed.load(Ordering::SeqCst) {
            // It has not been woken since it had nothing.
            Poll::Pending
        } else {
            self.read(io, buf.get_or_insert_with(rested))
        };
        match poll {
            Poll::Pending => {
                self.with(|session, waiters| {
                    session.handle_idle(waiters);
                    look(session, waiters, true);
                });
                drop(reader);
                // Somebody who was woken meanwhile may have found the lock taken.
                if armed.load(Ordering::SeqCst) {
                    Step::Pending
                } else {
                    Step::Yield
                }
            }
            Poll::Ready(result) => {
                let now = now.get::<R>();
                match result {
                    Ok(n) if n > 0 => {
                        tracing::trace!(bytes = n, "read");
                        #[cfg(windows)]
                        if !reader.verify() {
                            let refused = sealpipe_core::wire::Status::Refused;
                            self.with(|session, waiters| {
                                session.with(waiters, |core| core.refuse(refused))
                            });
                        }
                        let buf = reader.buf.get_or_insert_with(rested);
                        self.with(|session, waiters| {
                            session.handle_input(now, buf, waiters);
                            look(session, waiters, false);
                        });
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    end => {
                        if let Err(error) = end
                            && !sealpipe_endpoint::is_end_of_stream(&error)
                        {
                            tracing::debug!(%error, "reading failed");
                        }
                        let buf = reader.buf.get_or_insert_with(rested);
                        self.with(|session, waiters| {
                            session.handle_eof(now, buf, waiters);
                            look(session, waiters, false);
                        });
                        reader.io = None;
                    }
                }
                Step::Progress
            }
        }
    }

    /// Writes for a call that waits for nothing.
    pub(crate) fn flush(&self, now: Time) {
        if self.drive_write(&mut Now::at(now), |_, _| {}) == Step::Yield {
            self.wake_background();
        }
    }

    fn read(&self, io: &mut Read<R>, buf: &mut RecvBuf) -> Poll<io::Result<usize>> {
        let armed = &self.signals.read_armed;
        let waker = waker_ref(&self.signals);
        let mut context = Context::from_waker(&waker);
        let mut spare = buf.spare();
        // Before the poll: a wake-up that comes during it must not be overwritten.
        armed.store(true, Ordering::Release);
        let mut poll = io.poll_read(&mut context, &mut spare);
        if let Poll::Ready(Ok(n @ 1..)) = &mut poll
            && io.ends_short()
            && spare.has_remaining_mut()
        {
            // This leaves our waker with the transport: nobody has to look after it
            // while the program is busy with what came.
            match io.poll_read(&mut context, &mut spare) {
                Poll::Pending => return poll,
                Poll::Ready(Ok(more)) => *n = n.saturating_add(more),
                // It says so again.
                Poll::Ready(Err(_)) => {}
            }
        }
        if poll.is_ready() {
            armed.store(false, Ordering::Release);
        }
        poll
    }

    /// Writes a small message of level *none* past the queue, if nothing is before it: so
    /// most messages of most programs go. `None` if it has to be queued.
    pub(crate) fn send_through(&self, now: &mut Now, message: &Message) -> Option<Fate> {
        if message.ack() != AckLevel::None {
            return None;
        }
        let mut writer = try_lock(&self.writer)?;
        let unbuffered = writer.io.as_ref().is_some_and(|io| !io.is_buffered());
        let send = |session: &mut Session, waiters: &mut Waiters| {
            let seq = session.send_through(message, &mut writer.buf, waiters);
            if seq.is_some() {
                // Here already, in the same lock. What is written now settles the rest, or the
                // outcome is awaited, and that call leaves again.
                session.leave(self.signals.attend(session), waiters);
            }
            seq
        };
        let seq = if unbuffered { self.with(send) } else { None };
        let fate = seq.map(|seq| {
            // What is left in the buffer tells what came of it.
            let _ = writer.write_once(&self.signals);
            if !writer.buf.has_remaining() {
                return Fate::Known(Outcome::Sent);
            }
            let now = now.get::<R>();
            let id = self.session(|session| session.expect_through(now, seq, message, &writer.buf));
            id.map_or(Fate::Known(Outcome::Unknown), Fate::Awaited)
        });
        drop(writer);
        // Somebody who had something to write may have found the lock taken.
        if self.write_again.load(Ordering::SeqCst) {
            self.flush(now.get::<R>());
        }
        fate
    }

    /// Writes all that is there to write and the transport takes. `look` sees the
    /// session whenever it has heard what was written.
    pub(crate) fn drive_write(
        &self,
        now: &mut Now,
        mut look: impl FnMut(&mut Session, &mut Waiters),
    ) -> Step {
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
            // To look costs nothing, to store as much as to lock.
            if self.write_again.load(Ordering::SeqCst) {
                self.write_again.store(false, Ordering::SeqCst);
            }
            let blocked = self.write_all(now, &mut writer, &mut step, &mut look);
            drop(writer);
            if blocked {
                // What was queued meanwhile goes when the transport takes more.
                let woken = !self.signals.write_armed.load(Ordering::SeqCst);
                return match step {
                    Step::Pending if woken => Step::Yield,
                    step => step,
                };
            }
            if !self.write_again.load(Ordering::SeqCst) {
                return step;
            }
        }
    }

    /// Returns whether the transport takes no more for now.
    fn write_all(
        &self,
        now: &mut Now,
        writer: &mut Writer<R>,
        step: &mut Step,
        look: &mut impl FnMut(&mut Session, &mut Waiters),
    ) -> bool {
        let now = now.get::<R>();
        loop {
            // What is in a buffer of the stream's own is not told as written.
            let flush = writer.unflushed && !writer.buf.has_remaining();
            let (more, shut) = if flush {
                (false, false)
            } else {
                self.with(|session, waiters| {
                    let more = session.poll_transmit(now, &mut writer.buf, waiters);
                    let shut = !more && session.connection().wants_shutdown();
                    if !more && !shut {
                        look(session, waiters);
                    }
                    (more, shut)
                })
            };
            if !more && !flush && !shut {
                return false;
            }
            if writer.io.is_none() {
                self.with(|session, waiters| session.handle_write_failed(waiters));
                writer.unflushed = false;
                return false;
            }
            let poll = if shut {
                writer.shut_down(&self.signals).map(|half| {
                    self.with(|session, waiters| session.handle_shutdown(now, half, waiters));
                    true
                })
            } else {
                writer.write_once(&self.signals)
            };
            match poll {
                Poll::Ready(true) => *step = Step::Progress,
                Poll::Ready(false) => {}
                Poll::Pending => return true,
            }
        }
    }

    /// Moves what can be moved, until the call has what it waits for; says whether the
    /// transport is to be asked again in another turn.
    fn drive<T, F>(&self, now: &mut Now, first: First, call: &mut Call<'_, T, F>) -> bool
    where
        F: FnMut(&mut Session) -> Option<T>,
    {
        let write = |now: &mut Now, call: &mut Call<'_, T, F>| {
            self.drive_write(now, |session, waiters| call.look(session, waiters, false))
        };
        // Also if there is nothing to write: a stream may have to be flushed.
        let mut yields = first == First::Write && write(now, call) == Step::Yield;
        loop {
            while call.value.is_none() {
                let step = self.drive_read(now, |session, waiters, idle| {
                    call.look(session, waiters, idle);
                });
                yields |= step == Step::Yield;
                if step != Step::Progress {
                    break;
                }
            }
            if !call.writes {
                return yields;
            }
            // Acks and credit, also when more keeps coming. A write that fails is a
            // reason to read on: to the end.
            let step = write(now, call);
            yields |= step == Step::Yield;
            if call.value.is_some() || step != Step::Progress {
                return yields;
            }
        }
    }

    /// Waits, driving, until `ready` has something. Whoever waits for input leaves
    /// writing until there is nothing to read, so that acks go out in one write.
    pub(crate) fn poll_wait<T>(
        &self,
        context: &Context<'_>,
        mut now: Now,
        place: &mut Place,
        interest: Interest,
        first: First,
        mut ready: impl FnMut(&mut Session) -> Option<T>,
    ) -> Poll<T> {
        // As long as nobody has looked, there may be something to write.
        let (mut value, mut writes) = (None, true);
        if first == First::Look && !place.is_taken() {
            let mut state = lock(&self.signals.state);
            let State { session, waiters } = &mut *state;
            value = ready(session);
            // Nothing was driven: there is nothing to hand over.
            if value.is_some() && session.touch() {
                return value.map_or(Poll::Pending, Poll::Ready);
            }
            writes = session.wants_transmit();
            // The transport wakes somebody as soon as there is anything to drive.
            if value.is_none()
                && !writes
                && self.signals.attend(session)
                && session.is_idle(waiters)
            {
                waiters.wait(place, interest, context.waker());
                session.watch_timers(waiters);
                let woken = waiters.take_woken();
                drop(state);
                woken.wake();
                return Poll::Pending;
            }
        }
        let mut call = Call {
            signals: &self.signals,
            waker: context.waker(),
            place,
            interest,
            ready,
            value,
            writes,
            waits: false,
            left: false,
        };
        if call.value.is_some() {
            // It was there, but there is credit to give, or input that there is room for now.
            self.drive_read(&mut now, |session, waiters, _| {
                call.look(session, waiters, false);
            });
            self.drive(&mut now, First::Write, &mut call);
        } else {
            let yields = self.drive(&mut now, first, &mut call);
            if call.value.is_none() && !call.waits {
                // Another drives; or the transport's waker is set, and should it fire
                // before this place is taken, the background drives, and wakes it.
                self.with(|session, waiters| call.look(session, waiters, true));
            }
            if yields && call.value.is_none() {
                // One of those who wait drives in its next turn; the background sees to it.
                self.with(|session, waiters| session.leave(false, waiters));
            }
        }
        let Call { value, left, .. } = call;
        match value {
            Some(value) => {
                if !left {
                    self.leave(place);
                }
                Poll::Ready(value)
            }
            None => Poll::Pending,
        }
    }

    /// A call of the program's leaves: somebody else must look after the
    /// transport, if nobody does.
    pub(crate) fn leave(&self, place: &mut Place) {
        self.with(|session, waiters| {
            waiters.leave(place);
            session.leave(self.signals.attend(session), waiters);
        });
    }

    /// Whether the transport wakes somebody when there is something to read.
    pub(crate) fn is_read_armed(&self) -> bool {
        self.signals.read_armed.load(Ordering::SeqCst)
    }

    /// Has whoever drives next ask the transport itself.
    pub(crate) fn disarm(&self) {
        self.signals.disarm();
    }

    /// What the background is to do.
    pub(crate) fn background(&self, now: Time) -> Duty {
        self.with(|session, waiters| session.background(now, self.signals.attend(session), waiters))
    }

    /// Has the background act again.
    pub(crate) fn wake_background(&self) {
        self.with(|_, waiters| waiters.wake_background());
    }

    pub(crate) fn set_background(&self, waker: &Waker) {
        lock(&self.signals.state).waiters.set_background(waker);
    }
}
