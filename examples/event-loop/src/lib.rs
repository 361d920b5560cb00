//! An echo server for a thousand clients on one thread: `mio` says when a socket
//! or pipe is ready, the core says what to do. A model for event loops of your
//! own.
//!
//! | file | one idea |
//! |---|---|
//! | `client.rs` | one connection: read, answer, write, and when to come back |
//! | `server.rs` | the loop: which connection is ready or due, who is accepted |
//! | `unix.rs`, `windows.rs` | a listener over what `sealpipe-endpoint` made |

#![deny(unsafe_code)]

mod client;
mod server;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

pub use mio::Waker;
pub use server::Server;
#[cfg(unix)]
use unix::{Listener, Stream, peer_of};
#[cfg(windows)]
use windows::{Listener, Stream, peer_of};
