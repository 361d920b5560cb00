//! Answers to what this side has asked, where the peer does what this
//! implementation would not.

use crate::common;

use bytes::Buf;
use common::raw::{Seen, control, frame, frames, hello, hello_body, preface};
use common::{Rng, builder, key};
use sealpipe_core::session::{Answer, Session, Waiters};
use sealpipe_core::wire::{DataHead, Extension, Frame, Mode};
use sealpipe_core::{AckLevel, Connection, Kind, Message, RecvBuf, Role, SendBuf, Time};
use std::sync::Arc;

const NOW: Time = Time::ZERO;

struct Asking {
    session: Session,
    waiters: Waiters,
    output: SendBuf,
}

impl Asking {
    fn read(&mut self, bytes: &[u8]) {
        let mut input = RecvBuf::new();
        assert_eq!(input.fill_from(bytes), bytes.len());
        self.session
            .handle_input(NOW, &mut input, &mut self.waiters);
        self.session.handle_idle(&mut self.waiters);
    }

    fn write(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self
            .session
            .poll_transmit(NOW, &mut self.output, &mut self.waiters)
        {
            bytes.extend_from_slice(self.output.chunk());
            self.output.advance(self.output.chunk().len());
        }
        bytes
    }
}

#[test]
fn a_reply_that_is_owed_a_result_gets_it_before_the_end() {
    let config = Arc::new(builder(false).build().unwrap());
    let connection = Connection::new(config, Role::Responder, &mut Rng(1), NOW).unwrap();
    let mut side = Asking {
        session: Session::new(connection),
        waiters: Waiters::new(),
        output: SendBuf::new(),
    };
    let preface = preface(Mode::Plain, &key());
    let body = hello_body(&hello([5; 16]));
    side.read(&[&preface.encode()[..], &control(Frame::Hello(&body))].concat());
    let id = side.session.ask(NOW, Message::request("?")).unwrap();
    side.session.with(&mut side.waiters, |connection| {
        connection.finish(NOW);
    });
    side.write();

    let head = DataHead {
        seq: 0,
        kind: Kind::Reply,
        ack: AckLevel::Processed,
        total: None,
        correlation: Some(1),
        topic: None,
        extension: Extension::default(),
    };
    let mut reply = Vec::new();
    head.encode(&mut reply);
    let result = Frame::Result {
        seq: 0,
        code: 0,
        reason: "",
    };
    let ack = Frame::Ack {
        next: 1,
        settled: 0,
    };
    side.read(
        &[
            control(result),
            control(ack),
            frame(0x32, &reply),
            control(Frame::Finish { end: 1 }),
        ]
        .concat(),
    );
    let seen = frames(&side.write());
    assert!(
        !seen.iter().any(|frame| matches!(frame, Seen::Close { .. })),
        "{seen:?}"
    );

    assert!(matches!(
        side.session.take_answer(id),
        Some(Answer::Replied(_))
    ));
    let seen = frames(&side.write());
    assert!(
        matches!(
            seen[..],
            [
                Seen::Result {
                    seq: 0,
                    code: 0,
                    ..
                },
                Seen::Close {
                    code: 0,
                    delivered: 1,
                    ..
                }
            ]
        ),
        "{seen:?}"
    );
}
