#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod executor;
mod io;
pub mod ipcez;
mod local;
#[cfg(any(windows, feature = "websocket"))]
mod reactor;
mod runtime;
#[cfg(feature = "websocket")]
mod tcp;
#[cfg(unix)]
mod unix;
mod waiting;
#[cfg(windows)]
mod windows;

pub use local::LocalStream;
pub use runtime::Smol;
pub use waiting::{block_on, block_on_until};

#[cfg(feature = "websocket")]
pub use sealpipe_driver::websocket;

/// A connection to one peer; see [`sealpipe_driver::Connection`].
pub type Connection = sealpipe_driver::Connection<Smol>;
/// A claimed endpoint that accepts clients; see [`sealpipe_driver::Listener`].
pub type Listener = sealpipe_driver::Listener<Smol>;
/// How to connect; see [`sealpipe_driver::ConnectOptions`].
pub type ConnectOptions = sealpipe_driver::ConnectOptions<Smol>;
/// How to listen; see [`sealpipe_driver::ListenOptions`].
pub type ListenOptions = sealpipe_driver::ListenOptions<Smol>;
/// The sending half of a connection; see [`sealpipe_driver::Sender`].
pub type Sender = sealpipe_driver::Sender<Smol>;
/// The receiving half of a connection; see [`sealpipe_driver::Receiver`].
pub type Receiver = sealpipe_driver::Receiver<Smol>;
/// A message that was received; see [`sealpipe_driver::Incoming`].
pub type Incoming = sealpipe_driver::Incoming<Smol>;
/// The verdict on a message; see [`sealpipe_driver::Verdict`].
pub type Verdict = sealpipe_driver::Verdict<Smol>;
/// A message that was queued; see [`sealpipe_driver::Delivery`].
pub type Delivery = sealpipe_driver::Delivery<Smol>;
/// Room for one message; see [`sealpipe_driver::Permit`].
pub type Permit = sealpipe_driver::Permit<Smol>;
/// The connections of a listener as a stream; see
/// [`sealpipe_driver::IncomingConnections`].
pub type IncomingConnections<'a> = sealpipe_driver::IncomingConnections<'a, Smol>;
/// A request of the peer's; see [`sealpipe_driver::Request`].
pub type Request = sealpipe_driver::Request<Smol>;
/// Events that were asked for; see [`sealpipe_driver::Subscription`].
pub type Subscription = sealpipe_driver::Subscription<Smol>;
/// A client that connects again; see [`sealpipe_driver::ReconnectingClient`].
pub type ReconnectingClient = sealpipe_driver::ReconnectingClient<Smol>;
/// A subscription that outlasts connections; see
/// [`sealpipe_driver::LastingSubscription`].
pub type LastingSubscription = sealpipe_driver::LastingSubscription<Smol>;
/// A running server; see [`sealpipe_driver::Server`].
pub type Server = sealpipe_driver::Server<Smol>;
/// How a server is to behave; see [`sealpipe_driver::ServerOptions`].
pub type ServerOptions = sealpipe_driver::ServerOptions<Smol>;
/// A client of a server; see [`sealpipe_driver::Client`].
pub type Client = sealpipe_driver::Client<Smol>;

/// A claimed endpoint that accepts clients, without the protocol; see
/// [`sealpipe_driver::LocalListener`] and [`LocalStream`].
pub type LocalListener = sealpipe_driver::LocalListener<Smol>;

/// What a server does with what comes; see [`sealpipe_driver::Handler`].
pub use sealpipe_driver::Handler;
pub use sealpipe_driver::{
    Change, ClientId, Error, Event, Happening, Observer, Report, RequestError, Response, SendError,
    ServerEvent, ServerEvents, SubscribeError, Update, vocabulary::*,
};
