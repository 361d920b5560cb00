//! One endpoint string, wherever the other program is; see [`sealpipe_driver::ipcez`].
//!
//! ```no_run
//! use sealpipe_blocking::ipcez;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let socket = ipcez::connect("/tmp/ipcez.sock")?;
//! socket.on_message(|message| match message {
//!     Ok(message) => println!("received {} bytes", message.len()),
//!     Err(error) => eprintln!("it is over: {error}"), // once, and last
//! })?;
//! socket.send("hello")?;
//! socket.disconnect();
//! # Ok(()) }
//! ```

use crate::{ConnectOptions, Error, ListenOptions, SendError};
use bytes::Bytes;
pub use sealpipe_driver::ipcez::{ConnectError, MAX_MESSAGE, Os, Target, Variables, config};
use sealpipe_endpoint::Address;
use sealpipe_smol::{Smol, block_on};
use std::{
    io,
    sync::Arc,
    thread::{self, JoinHandle},
};

/// A connection that sends messages and hands those that come to one handler. A clone is
/// another handle of the same.
#[derive(Debug, Clone)]
pub struct Socket(Arc<sealpipe_driver::ipcez::Socket<Smol>>);

/// Connects to the endpoint on ipcez's wire; see [`sealpipe_driver::ipcez::connect`].
///
/// # Errors
/// [`ConnectError`].
pub fn connect(endpoint: &str) -> Result<Socket, ConnectError> {
    block_on(sealpipe_driver::ipcez::connect(endpoint)).map(Socket::new)
}

/// Connects as the options say; see [`sealpipe_driver::ipcez::connect_with`].
///
/// # Errors
/// [`ConnectError`].
pub fn connect_with(endpoint: &str, options: &ConnectOptions) -> Result<Socket, ConnectError> {
    block_on(sealpipe_driver::ipcez::connect_with(endpoint, &options.0)).map(Socket::new)
}

impl Socket {
    fn new(socket: sealpipe_driver::ipcez::Socket<Smol>) -> Socket {
        Socket(Arc::new(socket))
    }

    /// Sends one message; see [`sealpipe_driver::ipcez::Socket::send`].
    ///
    /// # Errors
    /// [`SendError`], which says what became of the message.
    pub fn send(&self, message: impl Into<Bytes>) -> Result<(), SendError> {
        block_on(self.0.send(message))
    }

    /// Has `handler` called with each message, on a thread of its own, which ends after
    /// its call with the error; see [`sealpipe_driver::ipcez::Socket::on_message`].
    ///
    /// # Errors
    /// If the system has no more threads.
    pub fn on_message(
        &self,
        mut handler: impl FnMut(Result<Bytes, Error>) + Send + 'static,
    ) -> io::Result<JoinHandle<()>> {
        let socket = self.clone();
        let thread = thread::Builder::new().name(String::from("sealpipe-ipcez"));
        thread.spawn(move || {
            loop {
                let message = socket.recv();
                let last = message.is_err();
                handler(message);
                if last {
                    return;
                }
            }
        })
    }

    /// The next message, for a program that needs no handler.
    ///
    /// # Errors
    /// [`Error::Connection`] when the connection has ended.
    pub fn recv(&self) -> Result<Bytes, Error> {
        block_on(self.0.recv())
    }

    /// Ends the connection, also for the handler and for calls that wait.
    pub fn disconnect(&self) {
        block_on(self.0.disconnect());
    }
}

/// A claimed endpoint, whose clients may be originals.
#[derive(Debug)]
pub struct Listener(sealpipe_driver::ipcez::Listener<Smol>);

impl Listener {
    /// Listens at the endpoint on ipcez's wire; see
    /// [`sealpipe_driver::ipcez::Listener::bind`].
    ///
    /// # Errors
    /// [`ConnectError`].
    pub fn bind(endpoint: &str) -> Result<Listener, ConnectError> {
        sealpipe_driver::ipcez::Listener::bind(endpoint).map(Listener)
    }

    /// Listens as the options say.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub fn bind_with(endpoint: &str, options: &ListenOptions) -> Result<Listener, ConnectError> {
        sealpipe_driver::ipcez::Listener::bind_with(endpoint, &options.0).map(Listener)
    }

    /// The next client.
    ///
    /// # Errors
    /// As [`Listener::accept`](crate::Listener::accept).
    pub fn accept(&mut self) -> Result<Socket, Error> {
        block_on(self.0.accept()).map(Socket::new)
    }

    /// Where it listens.
    pub fn address(&self) -> &Address {
        self.0.address()
    }
}
