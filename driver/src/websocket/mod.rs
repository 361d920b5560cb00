//! Connections over WebSockets: the way to another machine.
//!
//! With the feature `websocket`, an [`Endpoint::url`](sealpipe_endpoint::Endpoint::url)
//! can stand wherever an endpoint can: connect to it, listen at it, serve it, and come
//! back to it. What a connection over it has is what every connection has.
//!
//! ```
//! use sealpipe_core::{AckLevel, Config, Key, Message};
//! use sealpipe_driver::{Connection, Listener, Runtime};
//! use sealpipe_endpoint::Endpoint;
//!
//! # async fn example<R: Runtime>() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config::sealed(Key::from_hex(&"5a".repeat(32))?).build()?;
//! let endpoint = Endpoint::url("ws://127.0.0.1:8080/app")?;
//! let mut listener = Listener::<R>::bind(&endpoint, config.clone())?;
//! let accepting = listener.accept();
//! let connecting = Connection::<R>::connect(&endpoint, config);
//! let (client, server) = futures_util::future::try_join(connecting, accepting).await?;
//! let message = Message::new("hello").with_ack(AckLevel::Received);
//! futures_util::future::try_join(client.send(message), async {
//!     if let Some(message) = server.recv().await? {
//!         assert_eq!(message.payload, "hello");
//!     }
//! #   server.finish().await?;
//!     Ok(())
//! })
//! .await?;
//! # Ok(()) }
//! ```
//!
//! # What travels
//!
//! The native protocol is a stream of bytes, and so is a WebSocket to it: what one write
//! has, at most 64 KiB, is a binary message; the payloads of the messages that come are
//! the stream, however they were cut. Messages above 64 KiB are refused, and text always
//! is. Pings are answered, and the WebSocket is closed with its own handshake when the
//! connection has ended. That a peer is dead which the system does not tell of is found
//! out by [`keepalive`](sealpipe_core::ConfigBuilder::keepalive).
//!
//! # Who is at the other end
//!
//! A socket or a pipe says whose program is at the other end; TCP does not, not even on
//! one machine. So [`peer`](crate::Connection::peer) is unknown, and unless something
//! else stands for the peer, [`Access::Anyone`](sealpipe_endpoint::Access::Anyone) has to
//! be asked for by name, as wherever another user could be there:
//!
//! | configuration | connecting | listening |
//! |---|---|---|
//! | sealed | the key stands for the server | the key stands for clients |
//! | plain, `wss://` | the certificate stands for the server | `Access::Anyone` |
//! | plain, `ws://` | `Access::Anyone` | `Access::Anyone` |
//!
//! Over plain `ws://` everybody on the way can read and change everything. Sealed, nobody
//! can, with or without TLS.
//!
//! A web page in a browser can connect to any WebSocket that its user can reach, also on
//! the same machine; the browser then says which page it is (`Origin`). A listener refuses
//! all that come so, but for the [`origins`](crate::ListenOptions::origins) that it was
//! told.
//!
//! # TLS
//!
//! `wss://` is rustls with ring. A client trusts whom the system trusts, unless
//! [`ConnectOptions::tls`](crate::ConnectOptions::tls) says otherwise; the certificate
//! must be for the host that the URL names. A listener needs a certificate:
//! [`ListenOptions::tls`](crate::ListenOptions::tls).

mod error;
mod listener;
mod reach;
mod stream;
mod tls;

pub use error::WebSocketError;
pub use futures_rustls::rustls;
pub(crate) use listener::{Door, listen};
pub(crate) use reach::connect;
pub use tls::system_roots;

use futures_io::{AsyncRead, AsyncWrite};
use std::{
    io,
    net::SocketAddr,
    task::{Context, Poll},
};

/// A stream of bytes with futures' traits: TCP, and TLS over it.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<Io: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for Io {}

/// A TCP socket that listens, registered with a runtime.
pub trait TcpAccept: Send {
    /// The next client, and where it comes from.
    ///
    /// # Errors
    /// What the system reports; see
    /// [`accept_error_kind`](sealpipe_endpoint::accept_error_kind).
    fn poll_accept(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<(Box<dyn ByteStream>, SocketAddr)>>;
}
