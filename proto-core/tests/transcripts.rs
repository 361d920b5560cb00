//! The transcripts of PROTOCOL.md, section 12, byte for byte.

use bytes::Buf;
use core::convert::Infallible;
use rand_core::{TryCryptoRng, TryRng};
use sealpipe_core::{
    AckLevel, Close, Config, ConfigBuilder, Connection, Event, Key, Message, Outcome, RecvBuf,
    Role, SendBuf, Time,
};
use std::{fmt::Write, sync::Arc};

const PROTOCOL: &str = include_str!("../../PROTOCOL.md");

/// The randomness that section 12 gives each side.
struct Fixed {
    ephemeral: u8,
    drawn: bool,
}

impl TryRng for Fixed {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        panic!("the core draws bytes")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        panic!("the core draws bytes")
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        bytes.fill(if self.drawn { 0xc3 } else { self.ephemeral });
        self.drawn = true;
        Ok(())
    }
}

impl TryCryptoRng for Fixed {}

struct Side {
    name: &'static str,
    connection: Connection,
    input: RecvBuf,
    output: SendBuf,
}

impl Side {
    fn new(config: ConfigBuilder, role: Role) -> Side {
        let config = config
            .max_message(4_096)
            .receive_window(8_192, 16)
            .build()
            .unwrap();
        let (name, ephemeral) = match role {
            Role::Initiator => ("initiator", 0xa1),
            Role::Responder => ("responder", 0xb2),
        };
        let mut rng = Fixed {
            ephemeral,
            drawn: false,
        };
        let connection = Connection::new(Arc::new(config), role, &mut rng, Time::ZERO).unwrap();
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

fn run(config: impl Fn() -> ConfigBuilder) -> Vec<(&'static str, Vec<u8>)> {
    let mut initiator = Side::new(config(), Role::Initiator);
    let mut responder = Side::new(config(), Role::Responder);
    let mut lines = Vec::new();
    let message = Message::new("hello").with_ack(AckLevel::Processed);
    let id = initiator.connection.send(Time::ZERO, message).unwrap();
    initiator.write(&mut lines);
    responder.read(&lines);
    responder.write(&mut lines);
    initiator.read(&lines);
    initiator.write(&mut lines);
    responder.read(&lines);
    let message = responder.connection.recv().unwrap();
    assert_eq!(message.payload, "hello");
    responder.connection.settle(message.seq, Ok(())).unwrap();
    responder.write(&mut lines);
    initiator.read(&lines);
    let mut events = std::iter::from_fn(|| initiator.connection.poll_event());
    assert!(events.any(|event| event
        == Event::Outcome {
            id,
            outcome: Outcome::Processed
        }));
    initiator
        .connection
        .close(Time::ZERO, Close::new(Close::GOING_AWAY, "bye"));
    initiator.write(&mut lines);
    responder.read(&lines);
    responder.write(&mut lines);
    initiator.read(&lines);
    assert!(initiator.connection.is_drained() && responder.connection.is_drained());
    lines
}

/// Compares with the block under `heading`.
fn check(heading: &str, lines: &[(&str, Vec<u8>)]) {
    let mut block = String::new();
    for (side, bytes) in lines {
        write!(block, "{side}: ").unwrap();
        bytes
            .iter()
            .for_each(|byte| write!(block, "{byte:02x}").unwrap());
        block.push('\n');
    }
    let section = PROTOCOL.split(heading).nth(1).unwrap_or_default();
    let written = section
        .split("```")
        .nth(1)
        .unwrap_or_default()
        .trim_start_matches("text")
        .trim_start();
    assert!(
        written == block,
        "PROTOCOL.md says under \"{heading}\":\n{written}\nbut what goes over the wire is:\n{block}"
    );
}

#[test]
fn plain() {
    check("### 12.1 Plain", &run(Config::plain));
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

#[test]
fn sealed() {
    let key: [u8; 32] = core::array::from_fn(|index| index as u8);
    check(
        "### 12.2 Sealed",
        &run(|| Config::sealed(Key::from_bytes(key))),
    );
}
