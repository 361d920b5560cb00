//! What a session keeps for those who ask and answer, with a peer that writes what it
//! likes.

use crate::common;
use common::raw::{Script, control, frame, hello, whole};
use common::{config, seconds};
use sealpipe_core::session::{Session, Waiters};
use sealpipe_core::wire::{DataHead, Extension, Frame};
use sealpipe_core::{AckLevel, Kind, Message, RecvBuf, Role};

fn reply(seq: u64) -> Vec<u8> {
    let head = DataHead {
        seq,
        kind: Kind::Reply,
        ack: AckLevel::None,
        total: None,
        correlation: Some(1_000),
        topic: None,
        extension: Extension::default(),
    };
    let mut body = Vec::new();
    head.encode(&mut body);
    frame(0x32, &body)
}

/// Or every reply that nobody waits for could leave something behind.
#[test]
fn what_is_done_with_cannot_be_withdrawn() {
    let now = seconds(1);
    let script = Script::open(config(false), Role::Responder, hello([0; 16]));
    let mut session = Session::new(script.side.connection);
    let mut waiters = Waiters::new();
    let mut input = RecvBuf::new();
    let mut feed = |session: &mut Session, bytes: &[u8]| {
        input.fill_from(bytes);
        session.handle_input(now, &mut input, &mut waiters);
        assert_eq!(session.connection().end(), None);
    };
    session.ask(now, Message::request("")).expect("room");
    // It waits for a program that does not take it.
    feed(&mut session, &whole(0, AckLevel::Processed, b"stays"));
    feed(&mut session, &reply(1));
    feed(&mut session, &control(Frame::Cancel { seq: 1 }));
    feed(&mut session, &control(Frame::Cancel { seq: 0 }));
    assert!(session.is_cancelled(0));
    assert!(!session.is_cancelled(1));
}
