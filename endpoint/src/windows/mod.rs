//! Named pipes: where they lie, who may open them, and who is at the other
//! end.

mod connect;
mod descriptor;
mod listen;
mod memory;
mod operation;
mod peer;
mod pipe;
mod pipe_event;
mod places;
mod token;
mod wait;

pub(crate) use connect::connect;
pub(crate) use listen::listen;
pub use listen::{Claim, Listener};
pub use peer::{client_of, permissions_of, server_of};
pub use pipe::{PipeEnd, PipeInstance, PipeReader, PipeWriter, pipe_end, pipe_halves};
pub use pipe_event::PipeEvent;
pub(crate) use places::addresses;
pub(crate) use token::current_user;
pub use wait::{Event, WAIT_MOST, wait_any};

/// The connected handle on this system: a pipe opened for overlapped I/O.
pub type Stream = std::os::windows::io::OwnedHandle;
