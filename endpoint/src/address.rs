//! One concrete place to listen or to connect.

use std::fmt;
use std::path::Path;
#[cfg(unix)]
use std::path::PathBuf;

use crate::Url;

/// One concrete place: a socket's path, an abstract socket, a full pipe name,
/// or the URL of a WebSocket. It prints as what one would type.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// Boxed, for every error may have one.
    pub(crate) place: Box<Place>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    #[cfg(unix)]
    Path { path: PathBuf, trust: Trust },
    #[cfg(any(target_os = "linux", target_os = "android"))]
    Abstract(String),
    #[cfg(windows)]
    Pipe(String),
    /// Not one of the system's own: see [`Url`].
    Url(Url),
}

/// What the directory of a socket must be.
#[cfg(unix)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Trust {
    /// The user said the path exactly and answers for its directory.
    Given,
    /// Derived from a name: the directory must be this user's alone.
    Private {
        /// Whether a listener may make it.
        create: bool,
    },
}

impl From<Place> for Address {
    fn from(place: Place) -> Address {
        Address {
            place: Box::new(place),
        }
    }
}

impl Address {
    /// The path of a Unix socket, if it is one.
    #[must_use]
    pub fn as_path(&self) -> Option<&Path> {
        match &*self.place {
            #[cfg(unix)]
            Place::Path { path, .. } => Some(path),
            _ => None,
        }
    }

    /// The URL of a WebSocket, if it is one.
    #[must_use]
    pub fn as_url(&self) -> Option<&Url> {
        match &*self.place {
            Place::Url(url) => Some(url),
            _ => None,
        }
    }

    /// The full name of a Windows pipe, if it is one.
    #[must_use]
    pub fn as_pipe(&self) -> Option<&str> {
        match &*self.place {
            #[cfg(windows)]
            Place::Pipe(name) => Some(name),
            _ => None,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.place {
            #[cfg(unix)]
            Place::Path { path, .. } => path.display().fmt(f),
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Place::Abstract(name) => write!(f, "the abstract socket @{name}"),
            #[cfg(windows)]
            Place::Pipe(name) => f.write_str(name),
            Place::Url(url) => url.fmt(f),
        }
    }
}
