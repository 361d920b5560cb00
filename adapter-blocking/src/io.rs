//! Streams of any kind that block: one thread reads, another writes, and the
//! connection itself waits for neither.
//!
//! There are two, for the one that reads must never wait for a write: two peers that
//! both did would wait for each other.

use sealpipe_core::SendBuf;
use sealpipe_driver::{ByteQueue, FromIo, ReadHalf, Spare, WriteHalf};
use sealpipe_smol::Smol;
use std::{
    io::{self, Read, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    thread,
};

/// How much is read at once.
const READ: usize = 16 << 10;

/// One direction: a thread at one end, the connection at the other.
#[derive(Default)]
struct Pipe {
    state: Mutex<State>,
    /// What the thread waits for.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    bytes: ByteQueue,
    /// The thread writes what it has taken.
    writes: bool,
    /// The connection has let go of its end.
    closed: bool,
    /// The thread has ended.
    ended: bool,
    /// Why, if that is an error that has not been told yet.
    error: Option<io::Error>,
    waker: Option<Waker>,
}

impl Pipe {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Blocks the thread until `ready`.
    fn wait_until(&self, ready: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        self.changed
            .wait_while(self.lock(), |state| !ready(state))
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes something that the connection may wait for.
    fn update(&self, change: impl FnOnce(&mut State)) {
        let waker = {
            let mut state = self.lock();
            change(&mut state);
            state.waker.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }

    fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }
}

/// Reads until the stream or the connection ends.
fn read_all(pipe: &Pipe, mut reader: impl Read) -> io::Result<()> {
    let mut room = [0; READ];
    loop {
        let n = match reader.read(&mut room) {
            Ok(0) => return Ok(()),
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        tracing::trace!(bytes = n, "read for a connection");
        if pipe
            .wait_until(|state| !state.bytes.is_full() || state.closed)
            .closed
        {
            return Ok(());
        }
        pipe.update(|state| state.bytes.extend(room.get(..n).unwrap_or(&room)));
    }
}

/// Writes until the connection has ended, and what it left behind has gone out.
fn write_all(pipe: &Pipe, mut writer: impl Write) -> io::Result<()> {
    loop {
        let taken = {
            let mut state = pipe.wait_until(|state| !state.bytes.is_empty() || state.closed);
            state.writes = true;
            std::mem::take(&mut state.bytes)
        };
        if taken.is_empty() {
            return Ok(());
        }
        // There is room again.
        pipe.update(|_| {});
        let (front, back) = taken.as_slices();
        writer.write_all(front)?;
        writer.write_all(back)?;
        writer.flush()?;
        tracing::trace!(bytes = front.len() + back.len(), "wrote for a connection");
        pipe.update(|state| state.writes = false);
    }
}

/// What threads read and write, as the two directions of a stream.
pub(crate) struct Threads {
    inlet: Inlet,
    outlet: Outlet,
}

struct Inlet(Arc<Pipe>);
struct Outlet(Arc<Pipe>);

impl Threads {
    /// Starts them.
    pub(crate) fn start(
        reader: impl Read + Send + 'static,
        writer: impl Write + Send + 'static,
    ) -> io::Result<Threads> {
        // Made first: dropped, they end the thread that has started already.
        let threads = Threads {
            inlet: Inlet(Arc::default()),
            outlet: Outlet(Arc::default()),
        };
        let Threads { inlet, outlet } = &threads;
        spawn("sealpipe-write", &outlet.0, |pipe| write_all(pipe, writer))?;
        spawn("sealpipe-read", &inlet.0, |pipe| read_all(pipe, reader))?;
        Ok(threads)
    }
}

/// Tells the connection that a thread has ended, also if a reader or writer panics.
struct Ends(Arc<Pipe>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.update(|state| state.ended = true);
    }
}

fn spawn(
    name: &str,
    pipe: &Arc<Pipe>,
    work: impl FnOnce(&Pipe) -> io::Result<()> + Send + 'static,
) -> io::Result<()> {
    let ends = Ends(pipe.clone());
    let thread = thread::Builder::new().name(String::from(name));
    let work = move || {
        let result = work(&ends.0);
        ends.0.lock().error = result.err();
    };
    thread.spawn(work).map(drop)
}

impl FromIo<Threads> for Smol {
    fn halves(threads: Threads) -> (Box<dyn ReadHalf>, Box<dyn WriteHalf>) {
        (Box::new(threads.inlet), Box::new(threads.outlet))
    }
}

impl ReadHalf for Inlet {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        spare: &mut Spare<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut state = self.0.lock();
        if state.bytes.is_empty() {
            if let Some(error) = state.error.take() {
                return Poll::Ready(Err(error));
            }
            if state.ended {
                return Poll::Ready(Ok(0));
            }
            state.waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        let n = state.bytes.read(spare);
        drop(state);
        self.0.changed.notify_one();
        Poll::Ready(Ok(n))
    }
}

impl Outlet {
    /// What the connection is told once the thread has ended.
    fn check(state: &mut State) -> io::Result<()> {
        match state.error.take() {
            Some(error) => Err(error),
            None if state.ended => Err(io::ErrorKind::BrokenPipe.into()),
            None => Ok(()),
        }
    }
}

impl WriteHalf for Outlet {
    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        output: &mut SendBuf,
    ) -> Poll<io::Result<usize>> {
        let mut state = self.0.lock();
        Outlet::check(&mut state)?;
        if state.bytes.is_full() {
            state.waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        let written = state.bytes.write(output);
        drop(state);
        self.0.changed.notify_one();
        Poll::Ready(Ok(written))
    }

    fn is_buffered(&self) -> bool {
        true
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.lock();
        Outlet::check(&mut state)?;
        if state.bytes.is_empty() && !state.writes {
            return Poll::Ready(Ok(()));
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }

    /// The thread lets go of the writer, which ends a child's standard input.
    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<bool>> {
        self.0.close();
        Poll::Ready(Ok(true))
    }
}

impl Drop for Inlet {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.0.close();
    }
}
