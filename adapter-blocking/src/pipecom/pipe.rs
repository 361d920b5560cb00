//! Where a listener is.

use std::fmt;

use super::{Error, Listener, system};

/// Where a listener is: a name, understood on the system that it is used on.
///
/// On Unix it is a path, relative to the current directory at the time when this is
/// made; the FIFOs are there and at the same path with `_ack` behind it. On Windows
/// it is the name of a pipe, with `\\.\pipe\` put before it unless it is there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pipe(pub(super) system::Place);

impl Pipe {
    /// The pipe of that name.
    ///
    /// # Errors
    /// [`Error::InvalidPipe`] if it is empty, or what no file or pipe can be called.
    pub fn new(name: &str) -> Result<Pipe, Error> {
        let invalid = |reason| Error::InvalidPipe {
            pipe: name.to_owned(),
            reason,
        };
        if name.is_empty() {
            return Err(invalid("it is empty".to_owned()));
        }
        if name.contains('\0') {
            return Err(invalid("it has a NUL in it".to_owned()));
        }
        system::Place::new(name).map(Pipe).map_err(invalid)
    }
}

/// The full path or pipe name.
impl fmt::Display for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a message can be sent to: a name, a [`Pipe`], or the handle of a listener
/// of this program.
pub trait Target {
    /// Where that is.
    ///
    /// # Errors
    /// As [`Pipe::new`].
    fn pipe(&self) -> Result<Pipe, Error>;
}

impl Target for str {
    fn pipe(&self) -> Result<Pipe, Error> {
        Pipe::new(self)
    }
}

impl Target for String {
    fn pipe(&self) -> Result<Pipe, Error> {
        Pipe::new(self)
    }
}

impl Target for Pipe {
    fn pipe(&self) -> Result<Pipe, Error> {
        Ok(self.clone())
    }
}

impl Target for Listener {
    fn pipe(&self) -> Result<Pipe, Error> {
        Ok(self.address().clone())
    }
}
