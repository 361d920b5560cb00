//! Streams of bytes, as tokio's.

use crate::{ConnectOptions, Tokio};
use sealpipe_driver::{
    Error, LocalHalves,
    vocabulary::{Config, Endpoint, Peer},
};
use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream of bytes to one peer: a Unix socket, or a Windows named pipe.
///
/// [`LocalStream::connect`] finds a server of the same user,
/// [`ConnectOptions::open`](crate::ConnectOptions::open) also one that starts later, or
/// is another user's; [`LocalListener`](crate::LocalListener) accepts clients.
/// [`tokio::io::split`] gives its two directions.
///
/// On Windows the client's user is known, and checked, only with the first bytes that are
/// read from it; a pipe has no half-close, so that `shutdown` does no more than flush and the
/// peer sees the end when the stream is dropped.
///
/// ```
/// use sealpipe_tokio::{Endpoint, LocalListener, LocalStream};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # #[cfg(unix)] let own = tempfile::tempdir()?;
/// # #[cfg(unix)] let endpoint = Endpoint::path(own.path().join("socket"));
/// # #[cfg(windows)] let endpoint = Endpoint::name(&format!("doc-tokio-{}", std::process::id()))?;
/// let mut listener = LocalListener::bind(&endpoint)?;
/// let mut client = LocalStream::connect(&endpoint).await?;
/// let mut server = listener.accept().await?;
/// client.write_all(b"hello").await?;
/// drop(client);
/// let mut text = String::new();
/// server.read_to_string(&mut text).await?;
/// assert_eq!(text, "hello");
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct LocalStream(LocalHalves<Tokio>);

impl LocalStream {
    /// Connects to the server of the same user at `endpoint`, which must run. One that
    /// has no room just now is tried again for up to 30 s.
    ///
    /// # Errors
    /// As [`ConnectOptions::open`].
    ///
    /// # Panics
    /// Outside of a runtime with I/O and time, as everything of tokio's.
    pub async fn connect(endpoint: &Endpoint) -> Result<LocalStream, Error> {
        ConnectOptions::new(Config::default()).open(endpoint).await
    }

    /// Who is at the other end. On Windows a client is known only after something was
    /// read from it.
    pub fn peer(&self) -> Option<&Peer> {
        self.0.peer()
    }
}

impl From<LocalHalves<Tokio>> for LocalStream {
    fn from(halves: LocalHalves<Tokio>) -> LocalStream {
        LocalStream(halves)
    }
}

impl AsyncRead for LocalStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.0.read.io).poll_read(context, buffer))?;
        if buffer.filled().len() == before {
            return Poll::Ready(Ok(()));
        }
        let verified = self.0.verify();
        if verified.is_err() {
            buffer.set_filled(before);
        }
        Poll::Ready(verified)
    }
}

impl AsyncWrite for LocalStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0.write.io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0.write.io).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.write.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.write.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.write.io).poll_shutdown(context)
    }
}
