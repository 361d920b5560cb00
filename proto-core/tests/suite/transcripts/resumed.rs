//! The transcript of a session that goes on over a second stream.

use super::{Fixed, check, connection};
use bytes::Buf;
use sealpipe_core::{
    AckLevel, Config, ConfigBuilder, Connection, Event, Message, Outcome, RecvBuf, Role, SendBuf,
    Time,
};

struct Side {
    name: &'static str,
    connection: Connection,
    input: RecvBuf,
    output: SendBuf,
}

impl Side {
    fn new(config: ConfigBuilder, role: Role) -> Side {
        let (name, connection) = connection(config, role);
        Side {
            name,
            connection,
            input: RecvBuf::new(),
            output: SendBuf::new(),
        }
    }

    fn write(&mut self, lines: &mut Vec<(&'static str, Vec<u8>)>) {
        let mut bytes = Vec::new();
        while self.connection.poll_transmit(Time::ZERO, &mut self.output) {
            bytes.extend_from_slice(self.output.chunk());
            let n = self.output.chunk().len();
            self.output.advance(n);
        }
        lines.push((self.name, bytes));
    }

    fn read(&mut self, lines: &[(&'static str, Vec<u8>)]) {
        let (_, bytes) = lines.last().unwrap();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let n = self.input.fill_from(rest);
            rest = &rest[n..];
            let _ = self.connection.handle_input(Time::ZERO, &mut self.input);
        }
        self.connection.handle_idle();
    }
}

/// A stream is lost, and another follows.
fn run_resumed() -> Vec<(&'static str, Vec<u8>)> {
    let config = || Config::plain().resumption(true);
    let mut initiator = Side::new(config(), Role::Initiator);
    let mut responder = Side::new(config(), Role::Responder);
    let mut lines = Vec::new();
    let first = Message::new("first").with_ack(AckLevel::Processed);
    initiator.connection.send(Time::ZERO, first).unwrap();
    initiator.write(&mut lines);
    responder.read(&lines);
    responder.write(&mut lines);
    initiator.read(&lines);
    initiator.write(&mut lines);
    responder.read(&lines);
    let message = responder.connection.recv().unwrap();
    responder.connection.settle(message.seq, Ok(())).unwrap();
    responder.write(&mut lines);
    let second = Message::new("second").with_ack(AckLevel::Received);
    initiator.connection.send(Time::ZERO, second).unwrap();
    initiator.write(&mut lines);
    // Neither of the last two arrives.
    for side in [&mut initiator, &mut responder] {
        side.connection.handle_eof(Time::ZERO, &side.input);
        (side.input, side.output) = (RecvBuf::new(), SendBuf::new());
    }
    let mut rng = Fixed {
        ephemeral: 0xa1,
        drawn: false,
    };
    initiator.connection.resume(&mut rng, Time::ZERO).unwrap();
    let mut fresh = Side::new(config(), Role::Responder);
    initiator.write(&mut lines);
    fresh.read(&lines);
    let point = responder.connection.resume_point();
    fresh.connection.answer_resume(Time::ZERO, point);
    (responder.input, responder.output) = (fresh.input, fresh.output);
    responder
        .connection
        .adopt(Time::ZERO, &mut fresh.connection)
        .unwrap();
    responder.write(&mut lines);
    initiator.read(&lines);
    initiator.write(&mut lines);
    responder.read(&lines);
    assert_eq!(responder.connection.recv().unwrap().payload, "second");
    responder.write(&mut lines);
    initiator.read(&lines);
    let outcomes = std::iter::from_fn(|| initiator.connection.poll_event());
    let outcomes: Vec<Outcome> = outcomes
        .filter_map(|event| match event {
            Event::Outcome { outcome, .. } => Some(outcome),
            _ => None,
        })
        .collect();
    assert_eq!(outcomes, [Outcome::Processed, Outcome::Received]);
    lines
}

#[test]
fn resumed() {
    check("### 12.3 Plain, resumed", &run_resumed());
}
