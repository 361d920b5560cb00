//! async-io, as a runtime of sealpipe's.

use crate::{LocalStream, executor, io::Any};
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::AsyncReadExt;
use sealpipe_core::Time;
#[cfg(feature = "websocket")]
use sealpipe_driver::websocket::{ByteStream, TcpAccept};
use sealpipe_driver::{FromIo, ReadHalf, Runtime, Timer, WriteHalf, clock};
use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
};
#[cfg(unix)]
use {
    crate::unix::{self, SocketHalf},
    async_io::Async,
    std::os::unix::net::{UnixListener, UnixStream},
};
#[cfg(windows)]
use {
    crate::windows::{self, Instance, PipeIn, PipeOut},
    std::os::windows::io::OwnedHandle,
};

/// The reactor of `async-io`, under any executor.
#[derive(Debug, Clone, Copy)]
pub struct Smol;

/// A timer of async-io's.
#[derive(Debug)]
pub struct SmolTimer(async_io::Timer);

impl Future for SmolTimer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(context).map(drop)
    }
}

impl Timer for SmolTimer {
    fn reset(&mut self, at: Time) {
        match clock::instant(at) {
            Some(at) => self.0.set_at(at),
            None => self.0 = async_io::Timer::never(),
        }
    }
}

impl Runtime for Smol {
    #[cfg(unix)]
    type Read = SocketHalf;
    #[cfg(unix)]
    type Write = SocketHalf;
    #[cfg(windows)]
    type Read = PipeIn;
    #[cfg(windows)]
    type Write = PipeOut;
    type Timer = SmolTimer;
    type LocalStream = LocalStream;

    fn now() -> Time {
        clock::now()
    }

    fn timer(at: Time) -> SmolTimer {
        SmolTimer(clock::instant(at).map_or_else(async_io::Timer::never, async_io::Timer::at))
    }

    fn spawn(task: impl Future<Output = ()> + Send + 'static) {
        executor::TASKS.spawn(task);
    }

    fn look_after(task: impl Future<Output = ()> + Send + 'static) {
        executor::BACKGROUND.spawn(task);
    }

    #[cfg(unix)]
    fn stream(stream: UnixStream) -> io::Result<(SocketHalf, SocketHalf)> {
        unix::halves(stream)
    }

    #[cfg(unix)]
    type Listener = Async<UnixListener>;

    #[cfg(unix)]
    fn listener(socket: UnixListener) -> io::Result<Async<UnixListener>> {
        Async::new_nonblocking(socket)
    }

    #[cfg(unix)]
    async fn accept(listener: &Async<UnixListener>) -> io::Result<UnixStream> {
        let (stream, _) = listener.read_with(UnixListener::accept).await?;
        stream.set_nonblocking(true)?;
        Ok(stream)
    }

    #[cfg(windows)]
    fn stream(stream: OwnedHandle) -> io::Result<(PipeIn, PipeOut)> {
        windows::halves(sealpipe_endpoint::pipe_halves(stream)?)
    }

    #[cfg(windows)]
    type Instance = Instance;

    #[cfg(windows)]
    fn instance(pipe: OwnedHandle) -> io::Result<Instance> {
        Instance::new(pipe)
    }

    #[cfg(windows)]
    async fn client_came(instance: &mut Instance) -> io::Result<()> {
        instance.connected().await
    }

    #[cfg(windows)]
    fn accepted(instance: Instance) -> io::Result<(PipeIn, PipeOut)> {
        windows::halves(instance.into_halves()?)
    }

    #[cfg(feature = "websocket")]
    async fn connect_tcp(address: std::net::SocketAddr) -> io::Result<Box<dyn ByteStream>> {
        crate::tcp::connect(address).await
    }

    #[cfg(feature = "websocket")]
    fn listen_tcp(socket: std::net::TcpListener) -> io::Result<Box<dyn TcpAccept>> {
        crate::tcp::listen(socket)
    }
}

impl<I: AsyncRead + AsyncWrite + Send + 'static> FromIo<I> for Smol {
    fn halves(io: I) -> (Box<dyn ReadHalf>, Box<dyn WriteHalf>) {
        let (read, write) = Box::pin(io).split();
        (Box::new(Any(read)), Box::new(Any(write)))
    }
}
