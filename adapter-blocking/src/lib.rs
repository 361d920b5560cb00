#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod calls;
mod connection;
mod halves;
mod io;
pub mod ipcez;
mod listener;
mod reconnecting;
mod request;
mod sending;
mod server;
pub mod stream;

pub use calls::Interrupter;
pub use connection::{ConnectOptions, Connection};
pub use halves::{Receiver, Sender};
pub use listener::{Incoming as IncomingConnections, ListenOptions, Listener};
pub use reconnecting::{LastingSubscription, ReconnectingClient};
pub use request::{EventError, Request, Subscription};
pub use sending::{Delivery, Permit};
pub use server::{Client, Handler, Server, ServerOptions};
pub use stream::{LocalAddr, LocalIncoming, LocalListener, LocalStream};

#[cfg(feature = "websocket")]
pub use sealpipe_driver::websocket;

/// A message that was received; see [`sealpipe_driver::Incoming`].
pub type Incoming = sealpipe_driver::Incoming<sealpipe_smol::Smol>;
/// The verdict on a message; see [`sealpipe_driver::Verdict`].
pub type Verdict = sealpipe_driver::Verdict<sealpipe_smol::Smol>;

pub use sealpipe_driver::{
    Change, ClientId, Error, Event, Happening, Observer, Report, RequestError, Response, SendError,
    ServerEvent, SubscribeError, Update, vocabulary::*,
};
