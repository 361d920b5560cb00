//! What can go wrong, in types that let a caller decide, and words that let a
//! person act.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::Address;
use crate::identity::{Access, User};

/// What went wrong. Each message says what happened, where, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name that cannot be used for an endpoint.
    #[error(
        "{name:?} cannot name an endpoint: {reason}; \
         use 1 to 64 of A-Z a-z 0-9 . _ - that do not begin with a dot"
    )]
    InvalidName {
        /// The name as given.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },

    /// A pipe or abstract socket name that the system would not take, or no URL.
    #[error("{name:?} is not a usable {what}: {reason}")]
    InvalidAddress {
        /// The text as given.
        name: String,
        /// What it was to be.
        what: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },

    /// An entry of [`Access::Users`] that means no user on this system.
    #[error("{user} is not a user of this system; {hint}")]
    InvalidUser {
        /// The entry.
        user: User,
        /// What to give instead.
        hint: &'static str,
    },

    /// This system has no endpoints of that kind.
    #[error("{what} cannot be used on this system; {hint}")]
    Unsupported {
        /// What was asked for.
        what: String,
        /// What to use instead.
        hint: &'static str,
    },

    /// A service manager passed something else than sockets to listen on.
    #[error(
        "a service manager passed {what}: {found}; have it pass Unix stream sockets that \
         listen (of systemd, a path for ListenStream=), and take them once"
    )]
    Activation {
        /// What was passed.
        what: String,
        /// What it turned out to be.
        found: &'static str,
    },

    /// Neither the path nor its short form fits into a socket address.
    #[error(
        "the path {} is too long for a socket: {} bytes, and {limit} fit; use a shorter one",
        path.display(),
        path.as_os_str().len()
    )]
    PathTooLong {
        /// The path.
        path: PathBuf,
        /// How many bytes this system takes.
        limit: usize,
    },

    /// Nothing is at any of the endpoint's addresses.
    #[error("no server at {}; start it, or check the name", List(tried))]
    NotFound {
        /// Every address that was asked, in order.
        tried: Vec<Address>,
    },

    /// A socket is there and nobody listens on it.
    #[error(
        "nobody listens on {address}: its server has ended without removing it; \
         start the server again, it takes the address over"
    )]
    Refused {
        /// Where.
        address: Address,
    },

    /// A server is there and has no room for another client just now.
    #[error("the server at {address} is busy; try again in a moment")]
    Busy {
        /// Where.
        address: Address,
    },

    /// Another program listens there.
    #[error("{address} is in use by {holder}; end that program or choose another name")]
    AddressInUse {
        /// Where.
        address: Address,
        /// Who has it, as far as the system says.
        holder: Holder,
    },

    /// The system does not let this user do that.
    #[error("not allowed to {doing} {address}: {source}; check who owns it and its permissions")]
    PermissionDenied {
        /// What was tried.
        doing: &'static str,
        /// Where.
        address: Address,
        /// What the system said.
        source: io::Error,
    },

    /// The other side runs as a user that the policy does not allow.
    #[error("{}", wrong_user(.found, .wanted, .address.as_ref()))]
    WrongUser {
        /// Who it is.
        found: User,
        /// Who was to be there.
        wanted: Access,
        /// Where, if known: see [`Error::at`].
        address: Option<Address>,
    },

    /// A directory that cannot hold the endpoint.
    #[error("the directory {} cannot hold the endpoint: {reason}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },

    /// Something else than a socket is at the address. It is never removed.
    #[error("{address} is {found}, not a socket to connect to; remove it or choose another name")]
    NotASocket {
        /// Where.
        address: Address,
        /// What is there.
        found: &'static str,
    },

    /// Something else than a FIFO is at the path. It is never removed.
    #[error("{address} is {found}, not a FIFO; choose another name, or remove it")]
    NotAFifo {
        /// Where.
        address: Address,
        /// What is there.
        found: &'static str,
    },

    /// [`Access::Anyone`] was asked for where nothing but the check of the
    /// peer guards.
    #[error(
        "{address} has no permissions of its own, so its peer must be checked; \
         use Access::SameUser or Access::Users, or a socket with a path"
    )]
    AccessTooWide {
        /// Where.
        address: Address,
    },

    /// The system does not yet know who the client is.
    #[error(
        "the identity of the client is not known before its first byte was read; read, then ask"
    )]
    IdentityNotYet,

    /// Any other error of the system.
    #[error("{doing} failed at {place}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// Where.
        place: String,
        /// What the system said.
        source: io::Error,
    },
}

/// The kind of an [`Error`], to match on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The caller asked for what cannot be: a bad name, a path too long, a
    /// kind of endpoint of another system, a policy that cannot hold there.
    Invalid,
    /// No server is there.
    NotFound,
    /// A socket is there that nobody listens on.
    Refused,
    /// A server is there, without room for now.
    Busy,
    /// Another program has the address.
    AddressInUse,
    /// The system forbids it.
    PermissionDenied,
    /// The other side is a user that the policy does not allow.
    WrongUser,
    /// A directory or file that cannot be trusted with an endpoint is there.
    Untrusted,
    /// Asked for a client's identity before its first byte was read.
    IdentityNotYet,
    /// Anything else that the system reported.
    Io,
}

/// Who has an address. What is here is for people to read; a process id is
/// soon given to another program and proves nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holder {
    /// The user it runs as.
    pub user: Option<User>,
    /// Its process id.
    pub process: Option<u32>,
}

impl Error {
    /// The kind of this error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::InvalidName { .. }
            | Error::InvalidAddress { .. }
            | Error::InvalidUser { .. }
            | Error::Unsupported { .. }
            | Error::Activation { .. }
            | Error::PathTooLong { .. }
            | Error::AccessTooWide { .. } => ErrorKind::Invalid,
            Error::NotFound { .. } => ErrorKind::NotFound,
            Error::Refused { .. } => ErrorKind::Refused,
            Error::Busy { .. } => ErrorKind::Busy,
            Error::AddressInUse { .. } => ErrorKind::AddressInUse,
            Error::PermissionDenied { .. } => ErrorKind::PermissionDenied,
            Error::WrongUser { .. } => ErrorKind::WrongUser,
            Error::Directory { .. } | Error::NotASocket { .. } | Error::NotAFifo { .. } => {
                ErrorKind::Untrusted
            }
            Error::IdentityNotYet => ErrorKind::IdentityNotYet,
            Error::Io { .. } => ErrorKind::Io,
        }
    }

    /// Whether the same attempt may succeed a moment later, so that it is
    /// worth another try after a [`Backoff`](crate::Backoff).
    ///
    /// A busy server always is. One that is not there is only where the caller
    /// means to wait for its start (`wait_for_server`).
    #[must_use]
    pub fn is_retryable(&self, wait_for_server: bool) -> bool {
        match self.kind() {
            ErrorKind::Busy => true,
            ErrorKind::NotFound | ErrorKind::Refused => wait_for_server,
            _ => false,
        }
    }

    /// Adds where it happened to a [`WrongUser`](Error::WrongUser) of
    /// [`Access::check`], which does not know; any other error stays as it is.
    #[must_use]
    pub fn at(self, place: &Address) -> Error {
        match self {
            Error::WrongUser {
                found,
                wanted,
                address: None,
            } => Error::WrongUser {
                found,
                wanted,
                address: Some(place.clone()),
            },
            other => other,
        }
    }

    pub(crate) fn io(
        doing: &'static str,
        place: impl fmt::Display,
        source: impl Into<io::Error>,
    ) -> Error {
        Error::Io {
            doing,
            place: place.to_string(),
            source: source.into(),
        }
    }
}

/// For code that speaks of `io::Error`: one of the kind that std's sockets
/// would report, with this error and its words inside.
impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        let kind = match &error {
            Error::Io { source, .. } => source.kind(),
            error => match error.kind() {
                ErrorKind::Invalid => io::ErrorKind::InvalidInput,
                ErrorKind::NotFound => io::ErrorKind::NotFound,
                ErrorKind::Refused => io::ErrorKind::ConnectionRefused,
                ErrorKind::Busy | ErrorKind::IdentityNotYet => io::ErrorKind::WouldBlock,
                ErrorKind::AddressInUse => io::ErrorKind::AddrInUse,
                ErrorKind::PermissionDenied | ErrorKind::WrongUser | ErrorKind::Untrusted => {
                    io::ErrorKind::PermissionDenied
                }
                ErrorKind::Io => io::ErrorKind::Other,
            },
        };
        io::Error::new(kind, error)
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.process, &self.user) {
            (Some(process), Some(user)) => write!(f, "process {process} of {user}"),
            (Some(process), None) => write!(f, "process {process}"),
            (None, Some(user)) => write!(f, "a program of {user}"),
            (None, None) => write!(f, "another program"),
        }
    }
}

fn wrong_user(found: &User, wanted: &Access, address: Option<&Address>) -> String {
    let place = match address {
        Some(address) => format!(" at {address}"),
        None => String::new(),
    };
    format!(
        "the program on the other side{place} runs as {found}, and only {wanted} is allowed; \
         run both as the same user, or allow that user by name"
    )
}

struct List<'a>(&'a [Address]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, address) in self.0.iter().enumerate() {
            let before = if index == 0 { "" } else { " or " };
            write!(f, "{before}{address}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_an_error_of_io_it_keeps_its_kind_and_words() {
        let denied = Error::io("opening", "there", io::ErrorKind::PermissionDenied);
        let words = denied.to_string();
        let error = io::Error::from(denied);
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(error.to_string(), words);
        let nothing = Error::NotFound { tried: Vec::new() };
        assert_eq!(io::Error::from(nothing).kind(), io::ErrorKind::NotFound);
    }
}
