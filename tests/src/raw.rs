//! The bare streams under a connection, for tests that speak the wire by hand.

use sealpipe_endpoint::{Access, Claim, Endpoint};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

/// One end of a Unix socket or a named pipe.
pub type Raw = Box<dyn Duplex>;

/// Both directions of a stream.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Connects with no handshake.
///
/// # Panics
/// If there is no server.
#[cfg(unix)]
pub fn connect(endpoint: &Endpoint) -> Raw {
    let connected = sealpipe_endpoint::connect(endpoint, &Access::SameUser).expect("a server");
    Box::new(tokio::net::UnixStream::from_std(connected.stream).expect("a runtime"))
}

/// Connects with no handshake.
///
/// # Panics
/// If there is no server for two seconds.
#[cfg(windows)]
pub async fn connect_patiently(endpoint: &Endpoint) -> Raw {
    use std::os::windows::io::IntoRawHandle;
    // Between two instances a pipe is busy for a moment.
    let start = std::time::Instant::now();
    let connected = loop {
        match sealpipe_endpoint::connect(endpoint, &Access::SameUser) {
            Err(error) if error.is_retryable(false) && start.elapsed().as_secs() < 10 => {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            result => break result.expect("a server"),
        }
    };
    let handle = connected.stream.into_raw_handle();
    // SAFETY: endpoint opens pipes for overlapped use, and the handle is handed over.
    let pipe = unsafe { tokio::net::windows::named_pipe::NamedPipeClient::from_raw_handle(handle) };
    Box::new(pipe.expect("a runtime"))
}

/// Connects with no handshake.
///
/// # Panics
/// If there is no server.
#[cfg(unix)]
pub async fn connect_patiently(endpoint: &Endpoint) -> Raw {
    connect(endpoint)
}

/// A listener with no handshake.
pub struct Listener {
    #[cfg(unix)]
    socket: tokio::net::UnixListener,
    #[cfg(windows)]
    waiting: tokio::net::windows::named_pipe::NamedPipeServer,
    _claim: Claim,
}

#[cfg(windows)]
fn instance(
    handle: std::os::windows::io::OwnedHandle,
) -> tokio::net::windows::named_pipe::NamedPipeServer {
    use std::os::windows::io::IntoRawHandle;
    let handle = handle.into_raw_handle();
    // SAFETY: endpoint makes instances for overlapped use, and the handle is handed over.
    unsafe { tokio::net::windows::named_pipe::NamedPipeServer::from_raw_handle(handle) }
        .expect("a runtime")
}

impl Listener {
    /// Claims the endpoint.
    ///
    /// # Panics
    /// If that cannot be.
    pub fn bind(endpoint: &Endpoint) -> Listener {
        let listener = sealpipe_endpoint::listen(endpoint, &Access::SameUser).expect("a listener");
        let (first, claim) = listener.into_parts();
        Listener {
            #[cfg(unix)]
            socket: tokio::net::UnixListener::from_std(first).expect("a runtime"),
            #[cfg(windows)]
            waiting: instance(first),
            _claim: claim,
        }
    }

    /// The next client.
    ///
    /// # Panics
    /// If the system reports an error.
    pub async fn accept(&mut self) -> Raw {
        #[cfg(unix)]
        return Box::new(self.socket.accept().await.expect("a client").0);
        #[cfg(windows)]
        {
            self.waiting.connect().await.expect("a client");
            let next = instance(self._claim.next_instance().expect("another instance"));
            Box::new(std::mem::replace(&mut self.waiting, next))
        }
    }
}

/// Reads to the end of the stream, however that is told, and returns what came.
///
/// # Panics
/// If it does not end within `limit`.
pub async fn read_to_end(stream: &mut Raw, limit: Duration) -> Vec<u8> {
    let mut bytes = Vec::new();
    tokio::time::timeout(limit, async {
        // A reset is an end, too.
        while let Ok(1..) = stream.read_buf(&mut bytes).await {}
    })
    .await
    .expect("the other side does not close the stream");
    bytes
}
