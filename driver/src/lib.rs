#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod background;
mod call;
mod connect;
mod connection;
mod ending;
mod error;
mod feeding;
mod halves;
mod incoming;
pub mod ipcez;
mod listener;
mod local;
mod memory;
mod opening;
mod receiving;
mod reconnecting;
mod request;
mod runtime;
mod sending;
mod server;
mod shared;
mod signals;
mod subscription;
mod timeout;
mod transport;
#[cfg(feature = "serde")]
mod typed;
mod waiting;
#[cfg(feature = "websocket")]
pub mod websocket;
mod writer;

pub use connect::ConnectOptions;
pub use connection::Connection;
pub use error::{Error, SendError};
pub use halves::{Receiver, Sender};
pub use incoming::{Incoming, Verdict};
pub use listener::{Incoming as IncomingConnections, ListenOptions, Listener};
pub use local::{LocalHalves, LocalListener};
pub use memory::ByteQueue;
pub use reconnecting::{Change, LastingSubscription, ReconnectingClient, Update};
pub use request::{Request, RequestError};
pub use runtime::{FromIo, ReadHalf, Runtime, Spare, Timer, WriteHalf, clock};
pub use sending::{Delivery, Permit};
pub use server::{
    Client, ClientId, Handler, Happening, Observer, Report, Response, Server, ServerEvent,
    ServerEvents, ServerOptions,
};
pub use subscription::{Event, SubscribeError, Subscription};
#[cfg(feature = "serde")]
pub use typed::{Content, Format, FormatError, Json};

/// The words of the core and of endpoints that every adapter's users need.
pub mod vocabulary {
    #[cfg(feature = "serde")]
    pub use crate::typed::{Content, Format, FormatError, Json};
    #[cfg(feature = "websocket")]
    pub use crate::websocket::{WebSocketError, rustls};
    #[cfg(feature = "ring")]
    pub use sealpipe_core::Ring;
    pub use sealpipe_core::{
        AckLevel, Asked, CipherProvider, Close, Config, ConfigBuilder, ConfigError,
        ConnectionError, Fault, Key, KeyError, KeyId, Kind, Lost, Message, MessageError, Mismatch,
        Outcome, Received, Rejection, Role, Sealed, SendErrorReason, Stats, Timeout, Violation,
        Wire, WireError,
        service::{Overflow, Pattern, PatternError, RemoteError},
        session::Backlog,
        wire::{Extension, FrameType, Mode, Status},
    };
    pub use sealpipe_endpoint::{
        Access, Address, Endpoint, Error as EndpointError, ErrorKind, Holder,
        ListenOptions as EndpointListenOptions, Listener as EndpointListener, Peer, Url, User,
    };
    #[cfg(unix)]
    pub use sealpipe_endpoint::{Environment, activated};
}
