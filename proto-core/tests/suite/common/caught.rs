//! A real side with small limits, and what must happen when its peer breaks the
//! protocol.

use super::builder;
use super::raw::{Script, Seen, hello, whole};
use sealpipe_core::{AckLevel, Close, ConnectionError, Message, Role, SendErrorReason, Violation};

pub const MAX: usize = 4_096;

/// The real side accepts 4,096 bytes a message, 8,192 in all and 3 messages.
pub fn script(sealed: bool, role: Role) -> Script {
    let config = builder(sealed)
        .max_message(MAX)
        .receive_window(2 * MAX, 3)
        .build()
        .expect("valid");
    Script::open(config.into(), role, hello([0; 16]))
}

/// The script writes `bytes` and must be caught at it.
pub fn caught(
    name: &str,
    script: &mut Script,
    bytes: &[u8],
    violation: Violation,
    delivered: usize,
) {
    let code = match violation {
        Violation::MessageTooLarge { .. } | Violation::NoCredit => Close::LIMIT,
        Violation::Flood => Close::FLOOD,
        _ => Close::VIOLATION,
    };
    script.write(bytes);
    let expected = ConnectionError::Violation(violation);
    assert_eq!(script.side.connection.end(), Some(&expected), "{name}");
    let seen = script.read();
    match &seen[..] {
        [
            ..,
            Seen::Close {
                code: told,
                delivered: below,
                reason,
            },
        ] => {
            assert_eq!(*told, code, "{name}");
            assert_eq!(
                *below,
                script.side.received.len() as u64 + delivered as u64,
                "{name}"
            );
            assert!(!reason.is_empty());
        }
        other => panic!("{name}: no CLOSE: {other:?}"),
    }
    assert_eq!(
        seen.iter()
            .filter(|seen| matches!(seen, Seen::Close { .. }))
            .count(),
        1
    );
    let before = script.side.received.len();
    script.side.take(true);
    assert_eq!(
        script.side.received.len() - before,
        delivered,
        "{name}: what had come whole is delivered"
    );
    assert_eq!(script.side.closed(), Some(&expected), "{name}");
    // The same error for ever, and nothing more to do.
    let again = script.wrap(&whole(0, AckLevel::None, b"x"));
    script.side.input.fill_from(&again);
    assert_eq!(
        script
            .side
            .connection
            .handle_input(script.now, &mut script.side.input),
        Err(expected.clone())
    );
    let refused = script
        .side
        .connection
        .send(script.now, Message::new("x"))
        .expect_err("ended");
    assert_eq!(refused.reason, SendErrorReason::Closed(expected.clone()));
    assert_eq!(script.side.connection.poll_timeout(), None, "{name}");
    assert!(
        script.side.connection.is_drained() && script.read().is_empty(),
        "{name}"
    );
    script.side.take(true);
    assert_eq!(
        script.side.closed(),
        Some(&expected),
        "{name}: still the last event"
    );
}

pub fn each(run: impl Fn(bool, Role)) {
    for sealed in [false, true] {
        for role in [Role::Initiator, Role::Responder] {
            run(sealed, role);
        }
    }
}
