#![doc = include_str!("../README.md")]
#![deny(unsafe_op_in_unsafe_fn)]
#![cfg_attr(unix, forbid(unsafe_code))]

mod background;
mod clock;
mod connect;
mod connection;
mod error;
mod halves;
mod incoming;
mod listener;
mod sending;
mod shared;
mod transport;
#[cfg(windows)]
mod windows;

pub use connect::ConnectOptions;
pub use connection::Connection;
pub use error::{Error, SendError};
pub use halves::{Receiver, Sender};
pub use incoming::{Incoming, Verdict};
pub use listener::{Incoming as IncomingConnections, ListenOptions, Listener};
pub use sending::{Delivery, Permit};

#[cfg(feature = "ring")]
pub use sealpipe_core::Ring;
pub use sealpipe_core::{
    AckLevel, Close, Config, ConfigBuilder, ConfigError, ConnectionError, Key, KeyError, KeyId,
    Kind, Message, MessageError, Mismatch, Outcome, Received, Rejection, Role, SendErrorReason,
    Stats, wire::Status,
};
pub use sealpipe_endpoint::{
    Access, Address, Endpoint, Error as EndpointError, ErrorKind, Peer, User,
};
