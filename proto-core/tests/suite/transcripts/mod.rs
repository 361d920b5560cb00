//! The transcripts of PROTOCOL.md, sections 12 and 13, byte for byte.

mod other_wires;
mod resumed;

use bytes::{Buf, Bytes};
use core::convert::Infallible;
use rand_core::{TryCryptoRng, TryRng};
use sealpipe_core::{
    AckLevel, Close, Config, ConfigBuilder, Connection, Key, Kind, Message, MessageId, Outcome,
    Received, RecvBuf, Role, SendBuf, Time,
    service::{Pattern, RemoteError},
    session::{Answer, Backlog, Next, Session, Waiters},
};
use std::{fmt::Write, sync::Arc, time::Duration};

const PROTOCOL: &str = include_str!("../../../../PROTOCOL.md");

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

/// A side with the limits and the randomness of section 12.
fn connection(config: ConfigBuilder, role: Role) -> (&'static str, Connection) {
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
    (name, connection)
}

struct Side {
    name: &'static str,
    session: Session,
    waiters: Waiters,
    input: RecvBuf,
    output: SendBuf,
}

impl Side {
    fn new(config: ConfigBuilder, role: Role) -> Side {
        let (name, connection) = connection(config, role);
        Side {
            name,
            session: Session::new(connection),
            waiters: Waiters::new(),
            input: RecvBuf::new(),
            output: SendBuf::new(),
        }
    }

    /// The next message, which must be there.
    fn recv(&mut self) -> Received {
        self.session.poll_recv().unwrap().unwrap().unwrap()
    }

    fn close(&mut self) {
        let close = Close::new(Close::GOING_AWAY, "bye");
        self.session.with(&mut self.waiters, |connection| {
            connection.close(Time::ZERO, close)
        });
    }

    /// The answer, which must be there.
    fn answer(&mut self, id: MessageId) -> Received {
        match self.session.take_answer(id) {
            Some(Answer::Replied(answer)) => answer,
            other => panic!("{other:?}"),
        }
    }

    /// Answers with `payload` what was asked.
    fn reply(&mut self, asked: &Received, kind: Kind, payload: impl Into<Bytes>) {
        let answer = Message::correlated(kind, asked.correlation().unwrap(), payload).unwrap();
        self.session.send_untracked(Time::ZERO, answer).unwrap();
        if asked.ack == AckLevel::Processed {
            let settled = self.session.settle(asked.seq, Ok(()), &mut self.waiters);
            settled.unwrap();
        }
    }
}

/// Both sides, and what they have written.
struct Pair {
    initiator: Side,
    responder: Side,
    lines: Vec<(&'static str, Vec<u8>)>,
}

impl Pair {
    fn new(config: impl Fn() -> ConfigBuilder) -> Pair {
        Pair {
            initiator: Side::new(config(), Role::Initiator),
            responder: Side::new(config(), Role::Responder),
            lines: Vec::new(),
        }
    }

    /// One write of the initiator's, which the responder reads.
    fn forth(&mut self) {
        self.lines
            .push(carry(&mut self.initiator, &mut self.responder));
    }

    /// The other way.
    fn back(&mut self) {
        self.lines
            .push(carry(&mut self.responder, &mut self.initiator));
    }

    /// The initiator has closed.
    fn part(mut self) -> Vec<(&'static str, Vec<u8>)> {
        self.forth();
        self.back();
        assert!(self.initiator.session.is_drained() && self.responder.session.is_drained());
        self.lines
    }
}

fn carry(from: &mut Side, to: &mut Side) -> (&'static str, Vec<u8>) {
    let (now, mut bytes) = (Time::ZERO, Vec::new());
    while from
        .session
        .poll_transmit(now, &mut from.output, &mut from.waiters)
    {
        bytes.extend_from_slice(from.output.chunk());
        let n = from.output.chunk().len();
        from.output.advance(n);
    }
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let n = to.input.fill_from(rest);
        rest = &rest[n..];
        to.session.handle_input(now, &mut to.input, &mut to.waiters);
    }
    to.session.handle_idle(&mut to.waiters);
    (from.name, bytes)
}

fn run(config: impl Fn() -> ConfigBuilder) -> Vec<(&'static str, Vec<u8>)> {
    let mut pair = Pair::new(config);
    let message = Message::new("hello").with_ack(AckLevel::Processed);
    let id = pair.initiator.session.send(Time::ZERO, message).unwrap();
    pair.forth();
    pair.back();
    pair.forth();
    let message = pair.responder.recv();
    assert_eq!(message.payload, "hello");
    let Side {
        session, waiters, ..
    } = &mut pair.responder;
    session.settle(message.seq, Ok(()), waiters).unwrap();
    pair.back();
    let outcome = pair.initiator.session.take_outcome(id);
    assert_eq!(outcome, Some(Outcome::Processed));
    pair.initiator.close();
    pair.part()
}

fn run_asking() -> Vec<(&'static str, Vec<u8>)> {
    let mut pair = Pair::new(Config::plain);
    let ask = |pair: &mut Pair, message| pair.initiator.session.ask(Time::ZERO, message).unwrap();
    let request = |text| Message::request(text).with_deadline(Duration::from_secs(5));
    let id = ask(&mut pair, request("how are you?"));
    pair.forth();
    pair.back();
    pair.forth();
    let asked = pair.responder.recv();
    assert_eq!(asked.time_left(), Some(Duration::from_secs(5)));
    pair.responder.reply(&asked, Kind::Reply, "well");
    pair.back();
    assert_eq!(pair.initiator.answer(id).payload, "well");

    let id = ask(&mut pair, request("no"));
    pair.forth();
    let asked = pair.responder.recv();
    let error = RemoteError::new(300, "no thanks").with_details(&b"\xff"[..]);
    pair.responder.reply(&asked, Kind::Error, error.encode());
    pair.back();
    let answer = pair.initiator.answer(id);
    assert_eq!(answer.kind, Kind::Error);
    assert_eq!(RemoteError::decode(&answer.payload), error);

    let pattern = Pattern::new("jobs/*").unwrap();
    let subscription = pair
        .initiator
        .session
        .open_subscription(&pattern, Backlog::default());
    let subscribe = Message::subscription(Kind::Subscribe, 0, pattern.as_str()).unwrap();
    let id = ask(&mut pair, subscribe);
    pair.forth();
    let asked = pair.responder.recv();
    assert_eq!(asked.topic.as_deref(), Some("jobs/*"));
    pair.responder.reply(&asked, Kind::Reply, "");
    let event = Message::event("jobs/7", "done").unwrap().with_missed(2);
    pair.responder
        .session
        .send_untracked(Time::ZERO, event)
        .unwrap();
    pair.back();
    assert_eq!(pair.initiator.answer(id).kind, Kind::Reply);
    let Next::Event(event) = pair.initiator.session.next_event(subscription) else {
        panic!("no event")
    };
    assert_eq!(event.item.missed(), 2);

    let Side {
        session, waiters, ..
    } = &mut pair.initiator;
    session.close_subscription(subscription, waiters);
    pair.forth();
    let asked = pair.responder.recv();
    assert_eq!(asked.kind, Kind::Unsubscribe);
    pair.responder.reply(&asked, Kind::Reply, "");
    pair.back();
    pair.initiator.close();
    pair.part()
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

#[test]
fn sealed() {
    let key: [u8; 32] = core::array::from_fn(|index| index as u8);
    check(
        "### 12.2 Sealed",
        &run(|| Config::sealed(Key::from_bytes(key))),
    );
}

#[test]
fn asking() {
    check("### 12.4 Requests and a subscription", &run_asking());
}
