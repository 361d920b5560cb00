//! Connections over WebSockets: the way to another machine.
//!
//! With the feature `websocket`, an [`Endpoint::url`](sealpipe_endpoint::Endpoint::url)
//! can stand wherever an endpoint can: connect to it, listen at it, serve it, and come
//! back to it. What a connection over it has is what every connection has.
//!
//! ```
//! use sealpipe_core::{AckLevel, Config, Key, Message};
//! use sealpipe_driver::{Connection, Error, Listener, Runtime};
//! use sealpipe_endpoint::Endpoint;
//!
//! async fn serve<R: Runtime>(key: Key) -> Result<(), Box<dyn std::error::Error>> {
//!     let config = Config::sealed(key).build()?;
//!     let mut listener = Listener::<R>::bind(&Endpoint::url("ws://0.0.0.0:8080/app")?, config)?;
//!     let connection = listener.accept().await?;
//!     while let Some(message) = connection.recv().await? {
//!         message.accept();
//!     }
//!     Ok(())
//! }
//!
//! async fn send<R: Runtime>(key: Key) -> Result<(), Box<dyn std::error::Error>> {
//!     let config = Config::sealed(key).build()?;
//!     let endpoint = Endpoint::url("ws://example.org:8080/app")?;
//!     let connection = Connection::<R>::connect(&endpoint, config).await?;
//!     connection.send(Message::new("hello").with_ack(AckLevel::Processed)).await?;
//!     connection.finish().await?;
//!     Ok(())
//! }
//! ```
//!
//! # What travels
//!
//! The native protocol is a stream of bytes, and so is a WebSocket to it: what one write
//! has, at most 64 KiB, is a binary message; the payloads of the messages that come are
//! the stream, however they were cut. Messages above 64 KiB are refused, and so is text.
//! That a peer is dead which the system does not tell of is found out by
//! [`keepalive`](sealpipe_core::ConfigBuilder::keepalive).
//!
//! For peers of another make, a [`Wire`](sealpipe_core::Wire) of length-prefixed messages
//! becomes one binary message each, without the prefix: `Wire::Be32` is what ipcez speaks,
//! and any program that has WebSockets. Text that comes is taken as its bytes. Such a wire
//! has no keepalive, and no limit to how slowly a message may come; a dead peer is noticed
//! when something is sent to it.
//!
//! Nothing larger than [`max_message`](sealpipe_core::ConfigBuilder::max_message) is taken
//! in, and one message at a time waits to go out beside what the connection counts; a peer
//! that does not read has its writers wait. Pings are answered, a peer that sends a
//! thousand of them (or of messages with nothing in them) in a second is closed, and so is one whose
//! frames come to no message within eight times the largest and 64 KiB. When the
//! connection has ended, the WebSocket is closed with its own handshake, for which
//! [`close_timeout`](sealpipe_core::ConfigBuilder::close_timeout) is left.
//!
//! A WebSocket has one goodbye for both directions: the end of one is the end of the other,
//! where a socket would go on in one. A peer that closes with the code of an error has not
//! ended in order, and the connection is lost.
//!
//! tungstenite, which is below this, logs by the crate `log`, at level trace whole frames:
//! what they carry, unless it is sealed. Where that level is on, leave it out
//! (`tungstenite=debug`).
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
mod meter;
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
    /// The next client, and where it comes from. One that cannot be had is let go of, and
    /// is no error.
    ///
    /// # Errors
    /// What the system reports of the listening socket; see
    /// [`accept_error_kind`](sealpipe_endpoint::accept_error_kind). It is asked again
    /// whatever that is.
    fn poll_accept(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<(Box<dyn ByteStream>, SocketAddr)>>;
}
