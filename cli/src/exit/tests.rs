//! Each error, constructed, and the code it gives.

use super::*;
use sealpipe_core::{KeyId, Lost, Mismatch, Rejection, Timeout, Violation, wire::Mode};
use sealpipe_driver::vocabulary::{Access, Address, Endpoint, Message, User};
use std::{io, time::Duration};

fn address() -> Address {
    let name = if cfg!(windows) {
        r"\\.\pipe\x"
    } else {
        "/x.sock"
    };
    let endpoint: Endpoint = name.parse().unwrap();
    endpoint.addresses().unwrap().remove(0)
}

fn system() -> io::Error {
    io::Error::other("no")
}

#[test]
fn endpoints() {
    use EndpointError as E;
    let (address, path) = (address, || std::path::PathBuf::from("/x"));
    let user = || User::current().unwrap();
    let cases = [
        (
            E::InvalidName {
                name: "?".into(),
                reason: "",
            },
            Code::Usage,
        ),
        (
            E::InvalidAddress {
                name: "?".into(),
                what: "",
                reason: "",
            },
            Code::Usage,
        ),
        (
            E::Unsupported {
                what: "?".into(),
                hint: "",
            },
            Code::Usage,
        ),
        (
            E::PathTooLong {
                path: path(),
                limit: 1,
            },
            Code::Usage,
        ),
        (
            E::NotFound {
                tried: vec![address()],
            },
            Code::Nothing,
        ),
        (E::Refused { address: address() }, Code::Nothing),
        (E::Busy { address: address() }, Code::Nothing),
        (
            E::AddressInUse {
                address: address(),
                holder: Default::default(),
            },
            Code::Nothing,
        ),
        (
            E::PermissionDenied {
                doing: "",
                address: address(),
                source: system(),
            },
            Code::Nothing,
        ),
        (
            E::WrongUser {
                found: user(),
                wanted: Access::SameUser,
                address: None,
            },
            Code::Mismatch,
        ),
        (
            E::Directory {
                path: path(),
                reason: "".into(),
            },
            Code::Nothing,
        ),
        (
            E::NotASocket {
                address: address(),
                found: "",
            },
            Code::Nothing,
        ),
        (E::IdentityNotYet, Code::Local),
        (
            E::Io {
                doing: "",
                place: "".into(),
                source: system(),
            },
            Code::Local,
        ),
    ];
    for (error, code) in cases {
        assert_eq!(of_error(&Error::Endpoint(error)), code);
    }
}

#[test]
fn connections() {
    use ConnectionError as E;
    let closed = |code| E::ClosedByPeer(Close::new(code, ""));
    let key = KeyId::default();
    let cases = [
        (E::Finished, Code::Nothing),
        (E::ClosedLocally(Close::new(Close::DONE, "")), Code::Nothing),
        (closed(Close::DONE), Code::Nothing),
        (closed(Close::GOING_AWAY), Code::Nothing),
        (closed(Close::VIOLATION), Code::Protocol),
        (closed(Close::LIMIT), Code::Protocol),
        (closed(Close::TIME), Code::Unknown),
        (closed(Close::AUTHENTICATION), Code::Protocol),
        (closed(Close::KEYS), Code::Nothing),
        (closed(Close::FLOOD), Code::Protocol),
        (closed(Close::INTERNAL), Code::Nothing),
        (closed(Close::APPLICATION), Code::Nothing),
        (E::Lost(Lost::Silent), Code::Nothing),
        (E::Lost(Lost::Preface), Code::Nothing),
        (E::Lost(Lost::Handshake), Code::Nothing),
        (E::Lost(Lost::Idle), Code::Unknown),
        (E::Lost(Lost::Truncated), Code::Unknown),
        (E::Violation(Violation::Pong), Code::Protocol),
        (
            E::Mismatch(Mismatch::Magic {
                found: *b"HTTP/1.1",
            }),
            Code::Mismatch,
        ),
        (
            E::Mismatch(Mismatch::Version { own: 1, peer: 2 }),
            Code::Mismatch,
        ),
        (
            E::Mismatch(Mismatch::Mode {
                own: Mode::Plain,
                peer: Mode::Sealed,
            }),
            Code::Mismatch,
        ),
        (
            E::Mismatch(Mismatch::Key {
                own: key,
                peer: key,
            }),
            Code::Mismatch,
        ),
        (E::Refused(Status::Refused), Code::Mismatch),
        (E::Refused(Status::Busy), Code::Nothing),
        (E::Refused(Status::ShuttingDown), Code::Nothing),
        (E::Authentication(Sealed::Handshake), Code::Mismatch),
        (E::Authentication(Sealed::Record), Code::Protocol),
        (E::Authentication(Sealed::Message), Code::Mismatch),
        (E::Timeout(Timeout::Handshake), Code::Unknown),
        (E::Timeout(Timeout::Silence), Code::Unknown),
        (E::KeysUsedUp, Code::Local),
        (E::Internal(""), Code::Local),
    ];
    for (error, code) in cases {
        assert_eq!(
            of_error(&Error::Connection(error.clone())),
            code,
            "{error:?}"
        );
    }
    let late = Error::Timeout {
        doing: "connecting",
        limit: Duration::from_secs(1),
        last: Some(Box::new(Error::ListenerClosed)),
    };
    assert_eq!(of_error(&late), Code::Unknown);
    let failure = Failure::of(&late, format_args!("cannot connect to app"));
    let message = failure.message.unwrap();
    assert!(
        message.contains("the last attempt met: listening"),
        "{message}"
    );
    assert_eq!(of_error(&Error::ListenerClosed), Code::Local);
    let broken = Error::Io {
        doing: "",
        source: system(),
    };
    assert_eq!(of_error(&broken), Code::Local);
}

#[test]
fn messages() {
    let not_taken = |reason| SendError::NotTaken {
        message: Box::new(Message::new("")),
        reason,
    };
    let large = SendErrorReason::TooLarge {
        size: 2,
        max: 1,
        by_peer: true,
    };
    let lost = ConnectionError::Lost(Lost::Idle);
    let broken = ConnectionError::Violation(Violation::Ack);
    let gone = ConnectionError::ClosedByPeer(Close::new(Close::GOING_AWAY, ""));
    let cases = [
        (not_taken(large), Code::Rejected),
        (not_taken(SendErrorReason::Full), Code::Unknown),
        (not_taken(SendErrorReason::Finished), Code::Nothing),
        (
            not_taken(SendErrorReason::Closed(broken.clone())),
            Code::Protocol,
        ),
        (
            SendError::Rejected(Rejection::new(256, "no")),
            Code::Rejected,
        ),
        (SendError::NotSent(None), Code::Unknown),
        (SendError::NotSent(Some(gone.clone())), Code::Nothing),
        (SendError::NotSent(Some(lost.clone())), Code::Unknown),
        (SendError::Unknown(None), Code::Unknown),
        (SendError::Unknown(Some(gone)), Code::Unknown),
        (SendError::Unknown(Some(lost)), Code::Unknown),
        (SendError::Unknown(Some(broken)), Code::Protocol),
    ];
    for (error, code) in cases {
        assert_eq!(of_send(&error), code, "{error:?}");
    }
}

#[test]
fn the_worst_counts() {
    let order = [1, 2, 7, 4, 5, 6, 3, 0].map(|number| {
        let all = [
            Code::Done,
            Code::Local,
            Code::Usage,
            Code::Nothing,
            Code::Mismatch,
            Code::Unknown,
            Code::Rejected,
            Code::Protocol,
        ];
        all.into_iter().find(|code| *code as u8 == number).unwrap()
    });
    for pair in order.windows(2) {
        assert_eq!(pair[0].worse(pair[1]), pair[0]);
        assert_eq!(pair[1].worse(pair[0]), pair[0]);
    }
}
