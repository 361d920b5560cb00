//! What can go wrong in this crate.

use sealpipe_core::{ConnectionError, Message, Outcome, Rejection, SendErrorReason, WireError};
use std::{io, time::Duration};

/// A connection could not be made, or has ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The endpoint: nothing there, in use, another user's, …
    #[error(transparent)]
    Endpoint(#[from] sealpipe_endpoint::Error),
    /// The connection failed, or has ended.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// A WebSocket could not be had.
    #[cfg(feature = "websocket")]
    #[error(transparent)]
    WebSocket(#[from] crate::websocket::WebSocketError),
    /// The wire cannot carry what was asked for.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// An operation took too long.
    #[error("{doing} took longer than {limit:?}{}", why_late(last.as_deref()))]
    Timeout {
        /// What took too long.
        doing: &'static str,
        /// How long it was given.
        limit: Duration,
        /// What the last attempt met, where there were several.
        last: Option<Box<Error>>,
    },
    /// The operating system reported something unexpected.
    #[error("{doing} failed: {source}")]
    Io {
        /// What failed.
        doing: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A blocking call was ended by another thread.
    #[error("{doing} was ended by another thread of this program")]
    Interrupted {
        /// What was ended.
        doing: &'static str,
    },
    /// This side has finished: it sends no more.
    #[error("this side has finished sending; connect again to send more")]
    FinishedSending,
    /// Nothing can be accepted any more.
    #[error("listening has become impossible; what failed was logged; bind again")]
    ListenerClosed,
}

/// For code that speaks of `io::Error`: one of the kind that std's sockets would report,
/// with this error and its words inside.
impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        let kind = match error {
            Error::Endpoint(error) => return error.into(),
            Error::Connection(ref error) => kind_of(error),
            Error::Timeout { .. } => io::ErrorKind::TimedOut,
            Error::Wire(_) => io::ErrorKind::Unsupported,
            Error::Io { ref source, .. } => source.kind(),
            Error::FinishedSending => io::ErrorKind::BrokenPipe,
            // Not `Interrupted`: std tries again by itself then.
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}

fn kind_of(error: &ConnectionError) -> io::ErrorKind {
    match error {
        ConnectionError::Lost(_) => io::ErrorKind::ConnectionReset,
        ConnectionError::Refused(_) => io::ErrorKind::ConnectionRefused,
        ConnectionError::Timeout(_) => io::ErrorKind::TimedOut,
        ConnectionError::Violation(_) => io::ErrorKind::InvalidData,
        ConnectionError::Authentication(_) | ConnectionError::Mismatch(_) => {
            io::ErrorKind::PermissionDenied
        }
        ConnectionError::Finished
        | ConnectionError::ClosedByPeer(_)
        | ConnectionError::ClosedLocally(_) => io::ErrorKind::NotConnected,
        _ => io::ErrorKind::Other,
    }
}

fn why_late(last: Option<&Error>) -> String {
    match last {
        Some(last) => format!("; the last attempt met: {last}"),
        None => String::from("; raise the time limit, or look whether the peer hangs"),
    }
}

impl Error {
    pub(crate) fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io { doing, source }
    }

    /// Why the connection has ended, if that is what this is.
    pub fn connection(&self) -> Option<&ConnectionError> {
        match self {
            Error::Connection(error) => Some(error),
            _ => None,
        }
    }
}

/// As that of [`Error`].
impl From<SendError> for io::Error {
    fn from(error: SendError) -> io::Error {
        let kind = match &error {
            SendError::NotTaken { reason, .. } => match reason {
                SendErrorReason::Full => io::ErrorKind::WouldBlock,
                SendErrorReason::TooLarge { .. } => io::ErrorKind::InvalidInput,
                SendErrorReason::Finished => io::ErrorKind::BrokenPipe,
                SendErrorReason::Closed(end) => kind_of(end),
                _ => io::ErrorKind::Other,
            },
            SendError::NotSent(Some(end)) | SendError::Unknown(Some(end)) => kind_of(end),
            SendError::NotSent(None) | SendError::Unknown(None) => io::ErrorKind::TimedOut,
            SendError::Rejected(_) | SendError::NotConnected(_) => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}

/// A message did not reach the level of acknowledgement that it asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// It was not taken, and comes back whole.
    #[error("{reason}")]
    NotTaken {
        /// The message.
        message: Box<Message>,
        /// Why it was not taken.
        reason: SendErrorReason,
    },
    /// The peer's program rejected it.
    #[error("the peer's program rejected the message: {0}")]
    Rejected(Rejection),
    /// It never reached the peer's program and never will: safe to try again.
    #[error("the message was not sent{}", because(.0.as_ref()))]
    NotSent(Option<ConnectionError>),
    /// There was no connection to send it over, and none could be made.
    #[error("the message was not sent: {0}")]
    NotConnected(#[source] Box<Error>),
    /// It may or may not have reached the peer's program.
    #[error("it is not known what became of the message{}", because(.0.as_ref()))]
    Unknown(Option<ConnectionError>),
}

fn because(end: Option<&ConnectionError>) -> String {
    match end {
        Some(end) => format!(": {end}"),
        None => String::from(
            ": its deadline passed (raise it, or look whether the peer hangs), or the call was ended",
        ),
    }
}

impl SendError {
    /// What became of the message.
    pub fn outcome(&self) -> Outcome {
        match self {
            SendError::Rejected(rejection) => Outcome::Rejected(rejection.clone()),
            SendError::NotTaken { .. } | SendError::NotSent(_) | SendError::NotConnected(_) => {
                Outcome::NotSent
            }
            SendError::Unknown(_) => Outcome::Unknown,
        }
    }

    pub(crate) fn handed_back(message: Message, reason: SendErrorReason) -> SendError {
        SendError::NotTaken {
            message: Box::new(message),
            reason,
        }
    }

    pub(crate) fn not_taken(error: sealpipe_core::SendError) -> SendError {
        SendError::NotTaken {
            message: Box::new(error.message),
            reason: error.reason,
        }
    }

    pub(crate) fn not_connected(error: Error) -> SendError {
        SendError::NotConnected(Box::new(error))
    }

    /// Sorts an outcome into success and failure.
    pub(crate) fn check(
        outcome: Outcome,
        end: Option<&ConnectionError>,
    ) -> Result<Outcome, SendError> {
        match outcome {
            Outcome::Rejected(rejection) => Err(SendError::Rejected(rejection)),
            Outcome::NotSent => Err(SendError::NotSent(end.cloned())),
            Outcome::Unknown => Err(SendError::Unknown(end.cloned())),
            reached => Ok(reached),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sealpipe_core::Lost;

    #[test]
    fn an_io_error_is_of_the_kind_that_std_would_report_and_keeps_the_words() {
        let lost = Error::Connection(ConnectionError::Lost(Lost::Idle));
        let words = lost.to_string();
        let error = io::Error::from(lost);
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(error.to_string(), words);
        // std's own calls try again after `Interrupted`.
        let doing = "receiving";
        let ended = io::Error::from(Error::Interrupted { doing });
        assert_eq!(ended.kind(), io::ErrorKind::Other);
        let late = io::Error::from(SendError::Unknown(None));
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        let denied = Error::io(doing)(io::ErrorKind::PermissionDenied.into());
        assert_eq!(
            io::Error::from(denied).kind(),
            io::ErrorKind::PermissionDenied
        );
    }
}
