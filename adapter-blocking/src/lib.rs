#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod calls;
mod connection;
mod halves;
mod io;
mod listener;
mod sending;
pub mod stream;

pub use calls::Interrupter;
pub use connection::{ConnectOptions, Connection};
pub use halves::{Receiver, Sender};
pub use listener::{Incoming as IncomingConnections, ListenOptions, Listener};
pub use sending::{Delivery, Permit};
pub use stream::{LocalAddr, LocalIncoming, LocalListener, LocalStream};

/// A message that was received; see [`sealpipe_driver::Incoming`].
pub type Incoming = sealpipe_driver::Incoming<sealpipe_smol::Smol>;
/// The verdict on a message; see [`sealpipe_driver::Verdict`].
pub type Verdict = sealpipe_driver::Verdict<sealpipe_smol::Smol>;

pub use sealpipe_driver::{Error, SendError, vocabulary::*};
