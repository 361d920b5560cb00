//! One endpoint string, wherever the other program is: the way of ipcez.
//!
//! ```
//! use sealpipe_driver::{Runtime, ipcez};
//!
//! # async fn example<R: Runtime>() -> Result<(), Box<dyn std::error::Error>> {
//! // A path or a pipe's name is local; "ws://localhost:8080/" or wss:// is remote.
//! let socket = ipcez::connect::<R>("/tmp/ipcez.sock").await?;
//! socket.on_message(|message| async move {
//!     match message {
//!         Ok(message) => println!("received {} bytes", message.len()),
//!         Err(error) => eprintln!("it is over: {error}"), // once, and last
//!     }
//! });
//! socket.send("hello").await?;
//! socket.disconnect().await;
//! # Ok(()) }
//! ```
//!
//! # The endpoint
//!
//! What begins with `ws://` or `wss://` is remote, and takes the feature `websocket`.
//! Anything else is local: the path of a Unix socket, or on Windows the name of a pipe,
//! which gets `\\.\pipe\` in front unless it has it. Two variables of the environment have
//! a say about local endpoints; one that is not set is found out:
//!
//! | variable | may be | not set |
//! |---|---|---|
//! | `target` | `local`, `remote` | what the endpoint is |
//! | `os` | `linux` (any Unix), `windows` | this system |
//!
//! Another value is a [`ConnectError::Variable`], and what this system cannot do a
//! [`ConnectError::Unsupported`]; [`connect`] and [`Listener::bind`] also say on standard
//! error what to do about either. `Windows_NT`, which Windows itself gives to `OS`, is
//! `windows`.
//!
//! # The wire
//!
//! [`connect`] and [`Listener::bind`] speak ipcez's own wire, so that either side can be
//! moved over first: a length of 32 bits, big-endian, and up to 4 MiB; over a WebSocket,
//! one binary message each. Nothing of it is acknowledged within the stream, nor sealed.
//!
//! With [`connect_with`] and [`Listener::bind_with`] both sides can speak any other, the
//! native one above all: [`Socket::send`] then returns when the message is in the peer's
//! queue, and a key seals all of it, over a WebSocket end to end.
//!
//! ```
//! # use sealpipe_core::{Config, Key};
//! # use sealpipe_driver::{ConnectOptions, Runtime, ipcez};
//! # async fn example<R: Runtime>() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config::sealed(Key::from_hex(&"5a".repeat(32))?).build()?;
//! let socket = ipcez::connect_with::<R>("ws://example.org/", &ConnectOptions::new(config)).await?;
//! socket.send("hello").await?; // it has arrived
//! # Ok(()) }
//! ```
//!
//! # What an original signals, and gets
//!
//! An original's `send_message` waits for an acknowledgement outside of the stream. A
//! local [`Listener`] on ipcez's wire gives it for each message that was read, and says
//! that there is something to read, which an original's `message_handler` waits for. It
//! must be given the endpoint as the clients give it, for the names of the signals are
//! made of that. Signals are the endpoint's: with several originals at one endpoint, each
//! may take what was meant for another; and on Windows they stay set, so that an original
//! waits only for the first. Neither can be helped from this side.
//!
//! An original's own acknowledgement is not waited for: it names no message.
//!
//! ipcez 0.1.0 has faults of its own, locally, which no peer can mend: later than ten
//! milliseconds after its last look at the stream, it writes nothing before a byte of the
//! peer's has come, and puts that byte behind those that follow, so that it loses its place
//! in what it reads; and where the stream has it wait in the middle of a message it writes
//! that message's length again, which on Windows it may do for ever. Here, such a peer is
//! one that sends other messages than it meant to, or falls silent; move it over too. Over
//! a WebSocket it has none of these, and makes empty messages of the end.

mod place;
mod socket;

pub use place::{Os, Target, Variables};
pub use socket::{Listener, Socket};

use crate::{ConnectOptions, Runtime};
use sealpipe_core::{Config, Wire};
use sealpipe_endpoint::Access;
use std::io::{self, Write};

/// The largest message of ipcez's wire.
pub const MAX_MESSAGE: usize = 4 << 20;

/// No connection came about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// A variable of the environment has a value that means nothing.
    #[error(
        "the environment variable `{name}` is {value:?}, and may be {allowed}; \
         set it to one of these, or unset it to have it found out"
    )]
    Variable {
        /// Which one.
        name: &'static str,
        /// What it is.
        value: String,
        /// What it may be.
        allowed: &'static str,
    },
    /// The environment asks for what this system cannot do, or the endpoint is not.
    #[error(
        "the environment has target={target} and os={os}, which does not go together with this \
         system and the endpoint {endpoint:?}; {hint}"
    )]
    Unsupported {
        /// Where the other program is.
        target: Target,
        /// What runs there.
        os: Os,
        /// The endpoint.
        endpoint: String,
        /// What to do.
        hint: &'static str,
    },
    /// There was no connection, or the endpoint cannot be listened at.
    #[error(transparent)]
    Connection(#[from] crate::Error),
    /// The endpoint is none.
    #[error(transparent)]
    Endpoint(#[from] sealpipe_endpoint::Error),
}

/// ipcez's own wire, plain: what [`connect`] speaks.
pub fn config() -> Config {
    let builder = Config::plain().wire(Wire::Be32).max_message(MAX_MESSAGE);
    // These limits get along with each other.
    builder.build().unwrap_or_default()
}

/// Connects to the endpoint on ipcez's wire. What the environment says wrong about it is
/// told on standard error, too.
///
/// A local server must run, and be the same user's. A remote one has nothing to show who
/// it is over `ws://`, which is taken on the loopback only; see
/// [`Access::Anyone`] and [`connect_with`].
///
/// # Errors
/// [`ConnectError`].
pub async fn connect<R: Runtime>(endpoint: &str) -> Result<Socket<R>, ConnectError> {
    let mut options = ConnectOptions::new(config());
    let found = place::resolve(endpoint, &Variables::current()).inspect_err(guide)?;
    if found.as_url().is_some_and(|url| url.is_loopback()) {
        options = options.server(Access::Anyone);
    }
    let connection = options.connect(&found).await?;
    Ok(Socket::new(connection, None))
}

/// Connects as the options say. Nothing is written to standard error.
///
/// # Errors
/// [`ConnectError`].
pub async fn connect_with<R: Runtime>(
    endpoint: &str,
    options: &ConnectOptions<R>,
) -> Result<Socket<R>, ConnectError> {
    let endpoint = place::resolve(endpoint, &Variables::current())?;
    let connection = options.connect(&endpoint).await?;
    Ok(Socket::new(connection, None))
}

/// Tells a person what to do about the environment.
fn guide(error: &ConnectError) {
    if let ConnectError::Variable { .. } | ConnectError::Unsupported { .. } = error {
        // There may be no standard error; the caller has the same.
        let _ = writeln!(
            io::stderr(),
            "sealpipe: cannot start the connection: {error}"
        );
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_configuration_is_of_ipcezs_wire() {
        let config = super::config();
        assert_eq!(config.wire(), sealpipe_core::Wire::Be32);
        assert_eq!(config.max_message(), super::MAX_MESSAGE);
    }
}
