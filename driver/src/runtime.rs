//! What a runtime must give.

use bytes::{BytesMut, buf::Limit};
use sealpipe_core::{SendBuf, Time};
use std::{
    fmt,
    future::Future,
    io,
    task::{Context, Poll},
};

/// Room to read into; see [`RecvBuf::spare`](sealpipe_core::RecvBuf::spare).
pub type Spare<'a> = Limit<&'a mut BytesMut>;

/// The direction of a stream that bytes come in by.
pub trait ReadHalf: Send + 'static {
    /// Reads once into `spare`; says how many bytes came, 0 at the end of the
    /// stream.
    ///
    /// # Errors
    /// What the system reports. After [`io::ErrorKind::Interrupted`] it is tried
    /// again; anything else ends the stream.
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        spare: &mut Spare<'_>,
    ) -> Poll<io::Result<usize>>;

    /// Whether a read that left some of its room free says that there was no more,
    /// so that the next only waits, without a system call.
    fn ends_short(&self) -> bool {
        false
    }
}

/// The direction of a stream that bytes go out by.
pub trait WriteHalf: Send + 'static {
    /// Writes some of `output`, in one vectored write where the system has that,
    /// and advances it by what went; says how many bytes that were.
    ///
    /// # Errors
    /// As [`ReadHalf::poll_read`].
    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        output: &mut SendBuf,
    ) -> Poll<io::Result<usize>>;

    /// Whether what was written may stay in a buffer of the stream's own until it
    /// is flushed.
    fn is_buffered(&self) -> bool {
        false
    }

    /// Waits until the system has what was written.
    ///
    /// # Errors
    /// As [`ReadHalf::poll_read`].
    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Ends this direction, and leaves the other one: the peer reads what was written,
    /// which was flushed, and then the end. `false`, the default, if the stream can only
    /// be closed whole, as a named pipe.
    ///
    /// # Errors
    /// As [`ReadHalf::poll_read`].
    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<bool>> {
        Poll::Ready(Ok(false))
    }
}

/// A future that is ready at a time, which can be moved.
pub trait Timer: Future<Output = ()> + Send + Unpin + 'static {
    /// Sets another time.
    fn reset(&mut self, at: Time);
}

/// A runtime: a clock, timers, background tasks, and streams that wake.
pub trait Runtime: Copy + fmt::Debug + Send + Sync + Sized + 'static {
    /// One direction of a socket or pipe. On Windows its handle is asked for, to
    /// learn who the client is.
    #[cfg(unix)]
    type Read: ReadHalf;
    /// One direction of a socket or pipe. Its handle is asked for, to learn who
    /// the client is.
    #[cfg(windows)]
    type Read: ReadHalf + std::os::windows::io::AsHandle;
    /// The other direction.
    type Write: WriteHalf;
    /// A timer.
    type Timer: Timer;
    /// A stream of bytes, with the runtime's own traits.
    type LocalStream: From<crate::LocalHalves<Self>> + Send;

    /// The time, from any origin that does not change.
    fn now() -> Time;

    /// A timer that is ready at `at`.
    fn timer(at: Time) -> Self::Timer;

    /// Runs a task in the background until it is done.
    fn spawn(task: impl Future<Output = ()> + Send + 'static);

    /// Runs the task that looks after a connection, which wakes those who wait on it: where
    /// tasks are not to hold each other up, apart from others, which may run the program's
    /// own code. It never blocks, and never takes long.
    fn look_after(task: impl Future<Output = ()> + Send + 'static) {
        Self::spawn(task);
    }

    /// Takes over a connected stream: non-blocking, or overlapped.
    ///
    /// # Errors
    /// What the runtime reports.
    fn stream(stream: sealpipe_endpoint::Stream) -> io::Result<(Self::Read, Self::Write)>;

    /// A socket that listens.
    #[cfg(unix)]
    type Listener: Send + Sync + 'static;

    /// Takes over a socket that listens: non-blocking.
    ///
    /// # Errors
    /// What the runtime reports.
    #[cfg(unix)]
    fn listener(socket: std::os::unix::net::UnixListener) -> io::Result<Self::Listener>;

    /// The next client's stream, non-blocking.
    ///
    /// # Errors
    /// What the system reports; see
    /// [`accept_error_kind`](sealpipe_endpoint::accept_error_kind).
    #[cfg(unix)]
    fn accept(
        listener: &Self::Listener,
    ) -> impl Future<Output = io::Result<sealpipe_endpoint::Stream>> + Send;

    /// An instance of a pipe that waits for a client.
    #[cfg(windows)]
    type Instance: Send + 'static;

    /// Takes over an instance of a pipe: overlapped.
    ///
    /// # Errors
    /// What the runtime reports.
    #[cfg(windows)]
    fn instance(pipe: std::os::windows::io::OwnedHandle) -> io::Result<Self::Instance>;

    /// Waits for a client.
    ///
    /// # Errors
    /// What the system reports; see
    /// [`accept_error_kind`](sealpipe_endpoint::accept_error_kind).
    #[cfg(windows)]
    fn client_came(instance: &mut Self::Instance) -> impl Future<Output = io::Result<()>> + Send;

    /// The stream to the client that came.
    ///
    /// # Errors
    /// What the runtime reports.
    #[cfg(windows)]
    fn accepted(instance: Self::Instance) -> io::Result<(Self::Read, Self::Write)>;

    /// Connects over TCP, without delay for small writes.
    ///
    /// # Errors
    /// What the system reports; `Unsupported`, unless a runtime can do it.
    #[cfg(feature = "websocket")]
    fn connect_tcp(
        _: std::net::SocketAddr,
    ) -> impl Future<Output = io::Result<Box<dyn crate::websocket::ByteStream>>> + Send {
        async { Err(io::ErrorKind::Unsupported.into()) }
    }

    /// Takes over a TCP socket that listens: non-blocking. What it accepts has no delay
    /// for small writes.
    ///
    /// # Errors
    /// As [`connect_tcp`](Self::connect_tcp).
    #[cfg(feature = "websocket")]
    fn listen_tcp(_: std::net::TcpListener) -> io::Result<Box<dyn crate::websocket::TcpAccept>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Streams of bytes of another kind that a runtime can read and write.
pub trait FromIo<I>: Runtime {
    /// The two directions of `io`.
    fn halves(io: I) -> (Box<dyn ReadHalf>, Box<dyn WriteHalf>);
}

/// A clock for runtimes that have none of their own.
pub mod clock {
    use sealpipe_core::Time;
    use std::{
        sync::OnceLock,
        time::{Duration, Instant},
    };

    fn origin() -> Instant {
        static ORIGIN: OnceLock<Instant> = OnceLock::new();
        *ORIGIN.get_or_init(Instant::now)
    }

    /// Nanoseconds since the first call.
    pub fn now() -> Time {
        let elapsed = Instant::now().saturating_duration_since(origin());
        // 584 years fit.
        Time::from_nanos(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX))
    }

    /// The same moment on the system's clock; `None` if that does not reach so far.
    pub fn instant(time: Time) -> Option<Instant> {
        origin().checked_add(Duration::from_nanos(time.as_nanos()))
    }
}
