//! What can go wrong, with PipeCom's own codes.

use std::{fmt, io, time::Duration};

use sealpipe_endpoint::{Error as EndpointError, ErrorKind};

/// A message was not acknowledged, or a listener could not be had. Each says where,
/// what happened and what to do; [`code`](Self::code) is what PipeCom calls it, and
/// [`outcome`](Self::outcome) what became of the message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name that can name no pipe.
    #[error("{pipe:?} cannot name a pipe: {reason}; choose another name")]
    InvalidPipe {
        /// The name as given.
        pipe: String,
        /// What is wrong with it.
        reason: String,
    },

    /// The pipe cannot be used: it is in use, another user's, no pipe at all, …
    #[error(transparent)]
    Endpoint(#[from] EndpointError),

    /// There was no listener, as often as was asked for.
    #[error("no listener on {pipe} in {attempts} attempt(s): {last}")]
    Unreachable {
        /// Where.
        pipe: String,
        /// How many were made.
        attempts: u32,
        /// What the last of them met.
        #[source]
        last: Box<EndpointError>,
    },

    /// Time was up.
    #[error("{doing} {pipe} took longer than {limit:?}{}; {outcome}", met(.last.as_deref()))]
    Timeout {
        /// Where.
        pipe: String,
        /// What took too long.
        doing: &'static str,
        /// How long it was given.
        limit: Duration,
        /// What became of the message.
        outcome: Outcome,
        /// What the last attempt met, if there was no listener.
        #[source]
        last: Option<Box<EndpointError>>,
    },

    /// The listener ended or gave up before it acknowledged the message: it ended in
    /// the middle, or could not read the message.
    #[error(
        "the listener on {pipe} did not acknowledge the message: {reason}; {}",
        Outcome::Unknown
    )]
    NotAcknowledged {
        /// Where.
        pipe: String,
        /// What was seen instead of an acknowledgement.
        reason: &'static str,
    },

    /// The message is larger than this side allows.
    #[error(
        "a message of {length} bytes for {pipe} is above the limit of {max}; \
         raise max_message on both sides, or send less"
    )]
    TooLarge {
        /// Where to.
        pipe: String,
        /// Bytes of the message.
        length: usize,
        /// Bytes that are allowed.
        max: usize,
    },

    /// The system reported something unexpected.
    #[error("{doing} {pipe} failed: {source}; {outcome}")]
    Io {
        /// Where.
        pipe: String,
        /// What failed.
        doing: &'static str,
        /// What became of the message, if there was one.
        outcome: Outcome,
        /// What the system said.
        #[source]
        source: io::Error,
    },

    /// The callback panicked, which ended its listener.
    #[error("the callback of the listener on {pipe} panicked; nothing listens there any more")]
    Panicked {
        /// Where it listened.
        pipe: String,
    },
}

/// What PipeCom calls an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    /// `INVALID_PIPE`: the name, or what is there, is no pipe.
    InvalidPipe,
    /// `CONNECTION_FAILED`: nobody listens, or the pipe is in use.
    ConnectionFailed,
    /// `PERMISSION_DENIED`: the system, or the choice of users, forbids it.
    PermissionDenied,
    /// `TIMEOUT`: time was up.
    Timeout,
    /// `UNKNOWN`: anything else.
    Unknown,
}

/// What became of a message that was not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// No callback has seen it and none will: safe to send again.
    NotSent,
    /// A callback may have seen it, may see it yet, or never.
    Unknown,
}

impl Error {
    /// PipeCom's code for it.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Error::InvalidPipe { .. } => Code::InvalidPipe,
            Error::Endpoint(error) => match error.kind() {
                ErrorKind::Invalid | ErrorKind::Untrusted => Code::InvalidPipe,
                ErrorKind::NotFound
                | ErrorKind::Refused
                | ErrorKind::Busy
                | ErrorKind::AddressInUse => Code::ConnectionFailed,
                ErrorKind::PermissionDenied | ErrorKind::WrongUser => Code::PermissionDenied,
                _ => Code::Unknown,
            },
            Error::Unreachable { .. } | Error::NotAcknowledged { .. } => Code::ConnectionFailed,
            Error::Timeout { .. } => Code::Timeout,
            Error::TooLarge { .. } | Error::Io { .. } | Error::Panicked { .. } => Code::Unknown,
        }
    }

    /// What became of the message. Of an error that is not about one it says that
    /// nothing was sent.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            Error::Timeout { outcome, .. } | Error::Io { outcome, .. } => *outcome,
            Error::NotAcknowledged { .. } => Outcome::Unknown,
            _ => Outcome::NotSent,
        }
    }
}

impl Code {
    /// As PipeCom writes it, such as `INVALID_PIPE`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Code::InvalidPipe => "INVALID_PIPE",
            Code::ConnectionFailed => "CONNECTION_FAILED",
            Code::PermissionDenied => "PERMISSION_DENIED",
            Code::Timeout => "TIMEOUT",
            Code::Unknown => "UNKNOWN",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Outcome::NotSent => "nothing was sent, so that it is safe to try again",
            Outcome::Unknown => "whether the message has arrived is not known",
        })
    }
}

fn met(last: Option<&EndpointError>) -> String {
    last.map_or_else(String::new, |error| format!(" (the last attempt: {error})"))
}
