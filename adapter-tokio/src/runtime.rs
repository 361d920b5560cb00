//! tokio, as a runtime of sealpipe's.

use crate::{LocalStream, clock, io::Half};
use sealpipe_core::Time;
#[cfg(feature = "websocket")]
use sealpipe_driver::websocket::{ByteStream, TcpAccept};
use sealpipe_driver::{FromIo, ReadHalf, Runtime, Timer, WriteHalf};
use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Sleep,
};
#[cfg(windows)]
use {
    crate::windows::{self, PipeHalf},
    std::os::windows::io::OwnedHandle,
    tokio::net::windows::named_pipe::NamedPipeServer,
};
#[cfg(unix)]
use {
    std::os::unix::net::{UnixListener, UnixStream},
    tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf},
};

/// The runtime `tokio`, with I/O and time.
#[derive(Debug, Clone, Copy)]
pub struct Tokio;

/// A timer of tokio's.
#[derive(Debug)]
pub struct TokioTimer(Pin<Box<Sleep>>);

impl Future for TokioTimer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(context)
    }
}

impl Timer for TokioTimer {
    fn reset(&mut self, at: Time) {
        self.0.as_mut().reset(clock::instant(at));
    }
}

impl Runtime for Tokio {
    #[cfg(unix)]
    type Read = Half<OwnedReadHalf>;
    #[cfg(unix)]
    type Write = Half<OwnedWriteHalf>;
    #[cfg(windows)]
    type Read = Half<PipeHalf>;
    #[cfg(windows)]
    type Write = Half<PipeHalf>;
    type Timer = TokioTimer;
    type LocalStream = LocalStream;

    fn now() -> Time {
        clock::now()
    }

    fn timer(at: Time) -> TokioTimer {
        TokioTimer(Box::pin(tokio::time::sleep_until(clock::instant(at))))
    }

    fn spawn(task: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(task);
    }

    #[cfg(unix)]
    fn stream(stream: UnixStream) -> io::Result<(Self::Read, Self::Write)> {
        let halves = tokio::net::UnixStream::from_std(stream)?.into_split();
        Ok(unbuffered(halves))
    }

    #[cfg(windows)]
    fn stream(stream: OwnedHandle) -> io::Result<(Self::Read, Self::Write)> {
        windows::client(stream).map(unbuffered)
    }

    #[cfg(unix)]
    type Listener = tokio::net::UnixListener;

    #[cfg(unix)]
    fn listener(socket: UnixListener) -> io::Result<tokio::net::UnixListener> {
        tokio::net::UnixListener::from_std(socket)
    }

    #[cfg(unix)]
    async fn accept(listener: &tokio::net::UnixListener) -> io::Result<UnixStream> {
        listener.accept().await?.0.into_std()
    }

    #[cfg(windows)]
    type Instance = NamedPipeServer;

    #[cfg(windows)]
    fn instance(pipe: OwnedHandle) -> io::Result<NamedPipeServer> {
        windows::instance(pipe)
    }

    #[cfg(windows)]
    async fn client_came(instance: &mut NamedPipeServer) -> io::Result<()> {
        instance.connect().await
    }

    #[cfg(windows)]
    fn accepted(instance: NamedPipeServer) -> io::Result<(Self::Read, Self::Write)> {
        Ok(unbuffered(windows::server(instance)))
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

fn unbuffered<Read, Write>((read, write): (Read, Write)) -> (Half<Read>, Half<Write>) {
    halves(read, write, false)
}

fn halves<Read, Write>(read: Read, write: Write, buffered: bool) -> (Half<Read>, Half<Write>) {
    (
        Half { io: read, buffered },
        Half {
            io: write,
            buffered,
        },
    )
}

impl<I: AsyncRead + AsyncWrite + Send + 'static> FromIo<I> for Tokio {
    fn halves(io: I) -> (Box<dyn ReadHalf>, Box<dyn WriteHalf>) {
        let (read, write) = tokio::io::split(Box::pin(io));
        let (read, write) = halves(read, write, true);
        (Box::new(read), Box::new(write))
    }
}
