//! Streams of bytes, with futures' traits.

use crate::{ConnectOptions, Smol};
use futures_io::{AsyncRead, AsyncWrite};
use sealpipe_driver::{
    Error, LocalHalves,
    vocabulary::{Config, Endpoint, Peer},
};
use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

/// A stream of bytes to one peer: a Unix socket, or a Windows named pipe.
///
/// [`LocalStream::connect`] finds a server of the same user,
/// [`ConnectOptions::open`](crate::ConnectOptions::open) also one that starts later, or
/// is another user's; [`LocalListener`](crate::LocalListener) accepts clients.
/// futures' `AsyncReadExt::split` gives its two directions.
///
/// On Windows the client's user is known, and checked, only with the first bytes that are
/// read from it; a pipe has no half-close, so that `close` does no more than flush and the
/// peer sees the end when the stream is dropped,
/// whereupon what was written and not flushed is lost.
///
/// ```
/// use futures_util::{AsyncReadExt, AsyncWriteExt};
/// use sealpipe_smol::{Endpoint, LocalListener, LocalStream, block_on};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # #[cfg(unix)] let own = tempfile::tempdir()?;
/// # #[cfg(unix)] let endpoint = Endpoint::path(own.path().join("socket"));
/// # #[cfg(windows)] let endpoint = Endpoint::name(&format!("doc-smol-{}", std::process::id()))?;
/// block_on(async {
///     let mut listener = LocalListener::bind(&endpoint)?;
///     let mut client = LocalStream::connect(&endpoint).await?;
///     let mut server = listener.accept().await?;
///     client.write_all(b"hello").await?;
///     client.flush().await?;
///     drop(client);
///     let mut text = String::new();
///     server.read_to_string(&mut text).await?;
///     assert_eq!(text, "hello");
/// #   Ok(())
/// })
/// # }
/// ```
#[derive(Debug)]
pub struct LocalStream(LocalHalves<Smol>);

impl LocalStream {
    /// Connects to the server of the same user at `endpoint`, which must run. One that
    /// has no room just now is tried again for up to 30 s.
    ///
    /// # Errors
    /// As [`ConnectOptions::open`].
    pub async fn connect(endpoint: &Endpoint) -> Result<LocalStream, Error> {
        ConnectOptions::new(Config::default()).open(endpoint).await
    }

    /// Who is at the other end. On Windows a client is known only after something was
    /// read from it.
    pub fn peer(&self) -> Option<&Peer> {
        self.0.peer()
    }
}

impl From<LocalHalves<Smol>> for LocalStream {
    fn from(halves: LocalHalves<Smol>) -> LocalStream {
        LocalStream(halves)
    }
}

impl AsyncRead for LocalStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let n = ready!(Pin::new(&mut self.0.read).poll_read(context, buffer))?;
        if n > 0 {
            self.0.verify()?;
        }
        Poll::Ready(Ok(n))
    }
}

impl AsyncWrite for LocalStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(Pin::new(&mut self.0.write), context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0.write).poll_write_vectored(context, slices)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(Pin::new(&mut self.0.write), context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.write).poll_close(context)
    }
}
