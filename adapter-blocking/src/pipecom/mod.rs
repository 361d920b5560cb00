//! PipeCom.

mod codec;
mod deadline;
mod error;
mod listener;
mod pipe;
mod sending;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
use unix as system;
#[cfg(windows)]
use windows as system;

pub use error::{Code, Error, Outcome};
pub use listener::{End, ListenOptions, Listener, Reason, Stopper};
pub use pipe::{Pipe, Target};
pub use sending::{SendOptions, send};
