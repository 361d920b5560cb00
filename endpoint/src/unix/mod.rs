//! Unix sockets: where they lie, claiming them, and who is at the other end; and
//! FIFOs, likewise.

mod activation;
mod claim;
mod connect;
mod credentials;
#[cfg(target_vendor = "apple")]
mod darwin;
mod directory;
mod environment;
mod fifo;
mod inspect;
mod listen;
mod lock;
mod places;
#[cfg(target_os = "linux")]
mod semaphore;
mod socket;
mod transfer;

pub use activation::activated;
pub use claim::Claim;
pub(crate) use connect::connect;
pub(crate) use credentials::current_user;
pub use credentials::peer_of;
pub use environment::Environment;
pub use fifo::{Fifo, FifoClaim, FifoPair, Turn};
pub(crate) use inspect::inspect;
pub use listen::Listener;
pub(crate) use listen::listen;
pub(crate) use places::{addresses, passed_over};
#[cfg(target_os = "linux")]
pub(crate) use semaphore::Semaphore;
pub use socket::prepare;
pub use transfer::{receive, transmit};

/// The connected handle on this system: a non-blocking Unix socket.
pub type Stream = std::os::unix::net::UnixStream;
