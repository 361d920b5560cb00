//! One side that is fed what a stranger says: why it ended, and what it answered.

use super::{Side, seconds};
use sealpipe_core::wire::{Preface, Status};
use sealpipe_core::{Config, ConnectionError, Role};
use std::sync::Arc;

/// A responder that is fed `bytes`: why it ended, and what it answered.
pub fn responder(config: &Arc<Config>, bytes: &[u8]) -> (Option<ConnectionError>, Vec<u8>) {
    let mut side = Side::new(config.clone(), Role::Responder, 1, seconds(1));
    side.feed(seconds(1), bytes);
    end_of(side)
}

/// An initiator that is answered `bytes`.
pub fn initiator(config: &Arc<Config>, bytes: &[u8]) -> Option<ConnectionError> {
    let mut side = Side::new(config.clone(), Role::Initiator, 1, seconds(1));
    side.take_output(seconds(1));
    side.feed(seconds(1), bytes);
    let (end, written) = end_of(side);
    assert!(
        end.is_none() || written.is_empty(),
        "nothing can be said before it is open"
    );
    end
}

pub fn end_of(mut side: Side) -> (Option<ConnectionError>, Vec<u8>) {
    let answer = side.take_output(seconds(1));
    side.take(true);
    assert!(side.received.is_empty());
    let end = side.closed().cloned();
    assert_eq!(end.as_ref(), side.connection.end());
    if end.is_some() {
        assert_eq!(side.connection.poll_timeout(), None);
        assert!(side.connection.is_drained());
        assert_eq!(
            side.events.len(),
            1,
            "nothing but the end: {:?}",
            side.events
        );
    }
    (end, answer)
}

pub fn status(answer: &[u8]) -> Status {
    assert_eq!(answer.len(), Preface::LEN, "a preface and nothing else");
    Preface::decode(answer)
        .expect("the magic")
        .expect("whole")
        .status
}
