//! Exit codes: one place that says which error gives which.

use sealpipe_core::{Sealed, SendErrorReason};
#[cfg(feature = "websocket")]
use sealpipe_driver::vocabulary::WebSocketError;
use sealpipe_driver::{
    Error, RequestError, SendError, SubscribeError,
    vocabulary::{Close, ConnectionError, EndpointError, ErrorKind, RemoteError, Status},
};
use std::fmt;

/// How the program ends. Scripts rely on these numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    /// All is well.
    Done = 0,
    /// Something on this side failed that is none of the others.
    Local = 1,
    /// The command line, or what it names, cannot be used. The number is also
    /// that of the parser of the command line.
    Usage = 2,
    /// Nothing there, refused, in use.
    Nothing = 3,
    /// Key, mode or identity mismatch.
    Mismatch = 4,
    /// A deadline passed, or an outcome is unknown.
    Unknown = 5,
    /// Rejected, too large, or answered with an error.
    Rejected = 6,
    /// The peer broke the protocol.
    Protocol = 7,
}

impl Code {
    /// Which one counts where several apply: what must be looked into first.
    pub(crate) fn worse(self, other: Code) -> Code {
        let rank = |code| match code {
            Code::Done => 0,
            Code::Nothing => 1,
            Code::Rejected => 2,
            Code::Unknown => 3,
            Code::Mismatch => 4,
            Code::Protocol => 5,
            Code::Usage => 6,
            Code::Local => 7,
        };
        if rank(other) > rank(self) {
            other
        } else {
            self
        }
    }
}

/// The end of the program, when it is not a good one.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    /// What, where, and what to do; nothing if that was said already.
    pub(crate) message: Option<String>,
}

impl Failure {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Failure {
        Failure {
            code,
            message: Some(message.into()),
        }
    }

    /// Where everything there is to say has been said.
    pub(crate) fn silent(code: Code) -> Failure {
        Failure {
            code,
            message: None,
        }
    }

    /// An error of the adapter, with what it kept from being done.
    pub(crate) fn of(error: &Error, what: fmt::Arguments<'_>) -> Failure {
        let hint = match error {
            #[cfg(feature = "websocket")]
            Error::WebSocket(WebSocketError::Unprotected { .. }) => {
                "; here that is --key-file, or --anyone"
            }
            _ => "",
        };
        Failure::new(of_error(error), format!("{what}: {error}{hint}"))
    }
}

/// Of an error of the adapter.
pub(crate) fn of_error(error: &Error) -> Code {
    match error {
        Error::Endpoint(error) => of_endpoint(error),
        Error::Connection(error) => of_connection(error),
        Error::Timeout { .. } => Code::Unknown,
        Error::Wire(_) => Code::Usage,
        #[cfg(feature = "websocket")]
        Error::WebSocket(error) => of_websocket(error),
        Error::Io { .. } | Error::ListenerClosed => Code::Local,
        _ => Code::Local,
    }
}

/// Of a WebSocket that did not come about.
#[cfg(feature = "websocket")]
fn of_websocket(error: &WebSocketError) -> Code {
    match error {
        WebSocketError::Host { .. } => Code::Nothing,
        // Whoever is there is not the one who was asked for, or no WebSocket.
        WebSocketError::Tls { .. }
        | WebSocketError::Status { .. }
        | WebSocketError::Handshake { .. } => Code::Mismatch,
        WebSocketError::NoRoots { .. } => Code::Local,
        _ => Code::Usage,
    }
}

/// Of an endpoint that cannot be had.
pub(crate) fn of_endpoint(error: &EndpointError) -> Code {
    match error.kind() {
        ErrorKind::Invalid => Code::Usage,
        ErrorKind::NotFound | ErrorKind::Refused | ErrorKind::Busy => Code::Nothing,
        // To the one who wants to listen, the name is refused.
        ErrorKind::AddressInUse => Code::Nothing,
        // The system refuses, or what is there is no endpoint of anybody's.
        ErrorKind::PermissionDenied | ErrorKind::Untrusted => Code::Nothing,
        ErrorKind::WrongUser => Code::Mismatch,
        ErrorKind::IdentityNotYet | ErrorKind::Io => Code::Local,
        _ => Code::Local,
    }
}

/// Of a connection that did not come about, or has ended.
pub(crate) fn of_connection(error: &ConnectionError) -> Code {
    use sealpipe_core::Lost;
    match error {
        // Nothing went wrong; who still wanted something finds nobody there.
        ConnectionError::Finished | ConnectionError::ClosedLocally(_) => Code::Nothing,
        ConnectionError::ClosedByPeer(close) => of_close(close),
        // It was taken and let go of before it was a connection.
        ConnectionError::Lost(Lost::Silent | Lost::Preface | Lost::Handshake) => Code::Nothing,
        // It stood: what became of the last messages is not known.
        ConnectionError::Lost(_) => Code::Unknown,
        ConnectionError::Violation(_) => Code::Protocol,
        // Also for what does not speak sealpipe at all: it breaks no promise.
        ConnectionError::Mismatch(_) => Code::Mismatch,
        ConnectionError::Refused(status) => match status {
            // This user may not connect: that is about identity.
            Status::Refused => Code::Mismatch,
            Status::Version | Status::Mode | Status::Key | Status::Handshake => Code::Mismatch,
            Status::Busy | Status::ShuttingDown | Status::Accepted => Code::Nothing,
            _ => Code::Nothing,
        },
        // Where there was no handshake, this is how another key shows.
        ConnectionError::Authentication(Sealed::Handshake | Sealed::Message) => Code::Mismatch,
        // The keys agreed; whoever made this record does not keep to the rules.
        ConnectionError::Authentication(_) => Code::Protocol,
        ConnectionError::Timeout(_) => Code::Unknown,
        ConnectionError::KeysUsedUp | ConnectionError::Internal(_) => Code::Local,
        _ => Code::Local,
    }
}

/// Of the peer's goodbye.
fn of_close(close: &Close) -> Code {
    match close.code {
        // The peer says that the rules were broken, by either of the two.
        Close::VIOLATION | Close::LIMIT | Close::FLOOD | Close::AUTHENTICATION => Code::Protocol,
        Close::TIME => Code::Unknown,
        // It went, for whatever reason of its own.
        _ => Code::Nothing,
    }
}

/// Of a message that did not get what it asked for.
pub(crate) fn of_send(error: &SendError) -> Code {
    match error {
        SendError::NotTaken { reason, .. } => match reason {
            SendErrorReason::TooLarge { .. } => Code::Rejected,
            SendErrorReason::Full => Code::Unknown,
            SendErrorReason::Wire(_) => Code::Usage,
            SendErrorReason::Finished => Code::Nothing,
            SendErrorReason::Closed(end) => of_connection(end),
            _ => Code::Local,
        },
        SendError::Rejected(_) => Code::Rejected,
        SendError::NotSent(Some(end)) => of_connection(end),
        // Its deadline passed.
        SendError::NotSent(None) => Code::Unknown,
        // The more telling of the two: that it is unknown, or why.
        SendError::Unknown(end) => {
            let why = end.as_ref().map_or(Code::Unknown, of_connection);
            Code::Unknown.worse(why)
        }
        _ => Code::Local,
    }
}

/// Of a request that was not answered with a reply.
pub(crate) fn of_request(error: &RequestError) -> Code {
    match error {
        // The other side's deadline, as good as this one's.
        RequestError::Remote(error) if error.code == RemoteError::DEADLINE => Code::Unknown,
        RequestError::Remote(_) => Code::Rejected,
        RequestError::Send(error) => of_send(error),
        RequestError::NoReply(_) => Code::Unknown,
        _ => Code::Local,
    }
}

/// Of a subscription that could not be had, or has ended.
pub(crate) fn of_subscription(error: &SubscribeError) -> Code {
    match error {
        SubscribeError::Pattern(_) => Code::Usage,
        SubscribeError::Refused(error) => of_request(error),
        SubscribeError::Connection(end) => of_connection(end),
        _ => Code::Local,
    }
}

#[cfg(test)]
mod tests;
