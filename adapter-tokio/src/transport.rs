//! Streams of every kind, as two directions.

use crate::shared::Transport;
use tokio::io::{AsyncRead, AsyncWrite};

/// Any stream of bytes.
pub(crate) fn any(io: impl AsyncRead + AsyncWrite + Send + 'static) -> Transport {
    let (read, write) = tokio::io::split(Box::pin(io));
    Transport {
        read: Box::new(read),
        write: Box::new(write),
        flushes: true,
        verify: None,
    }
}

#[cfg(unix)]
pub(crate) fn unix(stream: tokio::net::UnixStream) -> Transport {
    let (read, write) = stream.into_split();
    Transport {
        read: Box::new(read),
        write: Box::new(write),
        flushes: false,
        verify: None,
    }
}
