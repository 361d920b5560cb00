#![doc = include_str!("../README.md")]
//!
//! # Accepting
//!
//! On a Unix socket, whole:
//!
//! ```
//! # #[cfg(unix)] fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use sealpipe_endpoint::{connect, listen, Access, Endpoint};
//! let endpoint = Endpoint::name("app")?;
//! # let own = tempfile::tempdir()?;
//! # let endpoint = endpoint.within(sealpipe_endpoint::Environment::new([], own.path()));
//!
//! // The server: claims the name for this user alone.
//! let listener = listen(&endpoint, &Access::SameUser)?;
//! println!("listening on {}", listener.address());
//! let (socket, claim) = listener.into_parts();
//!
//! // The client: one attempt, which checks whose server answers.
//! let connected = connect(&endpoint, &Access::SameUser)?;
//! println!("connected to {} as {}", connected.address, connected.peer.user);
//!
//! // The server again: accept, ask who it is, check.
//! let (stream, _) = socket.accept()?;
//! let peer = sealpipe_endpoint::peer_of(&stream)?;
//! Access::SameUser.check(&peer)?;
//!
//! drop(claim); // gives the name back
//! # Ok(()) }
//! # #[cfg(not(unix))] fn main() {}
//! ```
//!
//! # Where a name lies
//!
//! [`Endpoint::name`] maps a name to one documented place per system, and
//! [`Endpoint::addresses`] says which: a listener binds at the first, a client
//! asks at each in that order.
//!
//! | system | places |
//! |---|---|
//! | Linux, BSD | `$XDG_RUNTIME_DIR/<name>.sock`; `/run/user/<uid>/<name>.sock`; `/tmp/<name>-<uid>/<name>.sock` |
//! | macOS | `<name>.sock` in the user's own temporary directory (`getconf DARWIN_USER_TEMP_DIR`); `/tmp/<name>-<uid>/<name>.sock` |
//! | Windows | `\\.\pipe\<SID of the user>\<name>`; in an app container `\\.\pipe\LOCAL\<SID of the user>\<name>` before it |
//!
//! A runtime directory counts only where it is a real directory that belongs
//! to the user with no access for anyone else; `/run/user/<uid>` stands in
//! where a job runs without the variable. The directory below `/tmp` is made
//! with mode 0700, verified without following links, and stays behind on
//! purpose, so that no one else can take its name.
//!
//! A Unix socket's path may take 107 bytes on Linux and 103 on macOS and the
//! BSDs. Where it would be longer, both sides derive the same short form:
//! `sealpipe-<hash>.sock` in the runtime directory, or
//! `/tmp/sealpipe-<uid>/<hash>.sock`, with the 64-bit FNV-1a hash of the name
//! or of the absolute path. Two names that met there by chance would not share
//! a socket: the second to start would be told that the address is in use.
//!
//! Each of these places belongs to one user, so a name (and a shortened path)
//! connects programs of one user. A wider [`Access`] needs an
//! [`Endpoint::path`] in a directory that the others can reach, or on Windows
//! an [`Endpoint::pipe`].
//!
//! # What is logged
//!
//! Through `tracing`: `warn` for trouble that is survived, `debug` for claims,
//! releases and connections, `trace` for system calls. Never any payload.

#![deny(unsafe_code, unsafe_op_in_unsafe_fn)]
#![deny(missing_docs)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

mod address;
mod backoff;
mod endpoint;
mod error;
mod identity;
mod inspect;
mod io_errors;
mod old_places;
mod options;
mod signals;
mod url;

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

pub use address::Address;
pub use backoff::Backoff;
pub use endpoint::Endpoint;
pub use error::{Error, ErrorKind, Holder};
pub use identity::{Access, Peer, User};
pub use inspect::{Found, Inspected, Inspection, inspect};
pub use io_errors::{AcceptErrorKind, accept_error_kind, is_end_of_stream};
pub use options::{Connected, ListenOptions};
pub use signals::IpcezSignals;
pub use url::Url;

#[cfg(unix)]
pub use unix::{
    Claim, Environment, Fifo, FifoClaim, FifoPair, Listener, Stream, Turn, activated, peer_of,
    prepare, receive, transmit,
};
#[cfg(windows)]
pub use windows::{
    Claim, Event, Listener, PipeEnd, PipeEvent, PipeInstance, PipeReader, PipeWriter, Stream,
    WAIT_MOST, client_of, permissions_of, pipe_end, pipe_halves, server_of, wait_any,
};

/// Claims the endpoint and listens on it, with the default [`ListenOptions`].
///
/// # Errors
///
/// As [`ListenOptions::listen`].
pub fn listen(endpoint: &Endpoint, access: &Access) -> Result<Listener, Error> {
    ListenOptions::new().access(access.clone()).listen(endpoint)
}

/// Makes one attempt to connect: asks at each of the endpoint's addresses in
/// turn and takes the first that answers, once its server is one that `server`
/// allows.
///
/// It never waits. The handle is non-blocking (overlapped on Windows) and not
/// inherited by child processes. Whether to try again is said by
/// [`Error::is_retryable`], and when by [`Backoff`].
///
/// On Unix the server's identity is that of the process that called
/// `listen(2)`, at that time: a server that lets go of its privileges should
/// do so before it listens. On Windows it is the owner of the pipe.
///
/// # Errors
///
/// [`Error::NotFound`] when there is nothing at any address;
/// [`Error::Refused`] when all there is was left behind by a server that
/// ended; [`Error::Busy`] when the server has no room just now;
/// [`Error::WrongUser`] when the server is another user's;
/// [`Error::Directory`], [`Error::NotASocket`] and [`Error::PermissionDenied`]
/// when what is there cannot be trusted or reached;
/// [`Error::AccessTooWide`] for [`Access::Anyone`] on an abstract socket;
/// [`Error::Unsupported`] for the other system's kind of endpoint;
/// [`Error::Io`] for anything else that the system reports.
pub fn connect(endpoint: &Endpoint, server: &Access) -> Result<Connected, Error> {
    #[cfg(unix)]
    return unix::connect(endpoint, server);
    #[cfg(windows)]
    return windows::connect(endpoint, server);
}
