//! Two honest connections, driven by arbitrary operations in arbitrary order: what
//! the programs want, which bytes move, when time passes, where the stream breaks.
//! Then both come to their end, and what each was told is compared with what the
//! other did.
#![no_main]

mod input;
mod invariants;
mod resume;

use bytes::Buf;
use core::time::Duration;
use input::{Input, Op};
use libfuzzer_sys::fuzz_target;
use sealpipe_core::{
    AckLevel, Close, Config, Kind, Message, MessageId, Outcome, RecvBuf, Rejection, Role,
    SendErrorReason, Time,
};
use sealpipe_fuzz::common::{Side, builder, seconds};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// A message as its sender remembers it.
struct Sent {
    id: Option<MessageId>,
    ack: AckLevel,
    size: usize,
    outcome: Option<Outcome>,
    /// Withdrawn for sure.
    cancelled: bool,
    /// Withdrawn, and perhaps too late.
    unwanted: bool,
    /// A deadline that can pass.
    short: bool,
}

struct Party {
    side: Side,
    /// The responder's end of a stream over which the initiator resumes.
    fresh: Option<Side>,
    max_message: usize,
    /// By tag: sides number theirs from 0.
    sent: Vec<Sent>,
    /// The tags of what this side's program got, with sequence numbers.
    got: Vec<(usize, u64)>,
    owed: Vec<(u64, usize, usize)>,
    /// Verdicts by the other side's tags.
    verdicts: BTreeMap<usize, Result<(), Rejection>>,
    pings: usize,
    pongs: usize,
    finishes: bool,
    /// The program closed or abandoned before the end.
    closes: bool,
    /// The program's stream is closed.
    gone: bool,
    read_end: bool,
    looked: usize,
}

struct World {
    now: Time,
    parties: [Party; 2],
    /// What `[i]` wrote and the other has not read.
    wires: [VecDeque<u8>; 2],
    /// Nothing more can be written, and after what is there comes the end.
    broken: [bool; 2],
    cut: bool,
    /// A cut does not end what was open.
    resumes: bool,
    streams: u64,
    limits: [(usize, usize, usize); 2],
}

/// Longer than all the time that an input can let pass.
const LONG: Duration = Duration::from_secs(100_000_000);

fn byte(tag: usize, at: usize) -> u8 {
    (tag.wrapping_mul(31) ^ at.wrapping_mul(7) ^ at >> 8) as u8
}

impl World {
    fn new(input: &Input) -> World {
        let now = seconds(1);
        let mut limits = Vec::new();
        let mut party = |i: usize, role: Role| {
            let drawn = input.limits[i];
            let unit = if input.start & 2 == 0 { 32 } else { 2 << 10 };
            let max_message = 8 + usize::from(drawn.max_message) * unit;
            let window = max_message + usize::from(drawn.window) * unit;
            let window_messages = 1 + usize::from(drawn.window_messages % 8);
            let queue_messages = 1 + usize::from(drawn.queue_messages % 12);
            limits.push((window, window_messages, queue_messages));
            let config: Config = builder(input.start & 1 == 1)
                .max_message(max_message)
                .receive_window(window, window_messages)
                .send_queue(usize::from(drawn.queue) * 2 * unit, queue_messages)
                .handshake_timeout(LONG)
                .record_timeout(LONG)
                .message_timeout(LONG)
                .send_timeout(LONG)
                .keepalive(Some(Duration::from_secs(30)), None)
                .resumption(input.start & 4 != 0)
                .resume_timeout(LONG)
                .build()
                .expect("valid");
            Party {
                side: Side::new(Arc::new(config), role, i as u64, now),
                fresh: None,
                max_message,
                sent: Vec::new(),
                got: Vec::new(),
                owed: Vec::new(),
                verdicts: BTreeMap::new(),
                pings: 0,
                pongs: 0,
                finishes: false,
                closes: false,
                gone: false,
                read_end: false,
                looked: 0,
            }
        };
        let parties = [party(0, Role::Initiator), party(1, Role::Responder)];
        World {
            now,
            parties,
            wires: Default::default(),
            broken: [false; 2],
            cut: false,
            resumes: input.start & 4 != 0,
            streams: 0,
            limits: [limits[0], limits[1]],
        }
    }

    fn op(&mut self, i: usize, op: Op) {
        let now = self.now;
        let party = &mut self.parties[i];
        if party.gone && !matches!(op, Op::Pass { .. } | Op::Run) {
            return;
        }
        match op {
            Op::Send { size, how } => self.send(i, size.into(), how, None, false),
            Op::SendUntracked { size, how } => self.send(i, size.into(), how, None, true),
            Op::SendUntil { size, how, millis } => {
                self.send(i, size.into(), how, Some(millis), false);
            }
            Op::SendThrough { size, bytes } => self.send_through(i, size.into(), bytes.into()),
            Op::Reserved { size, how, used } => self.reserved(i, size.into(), how, used),
            Op::Recv { most } => self.recv(i, most.into()),
            Op::Settle { which, code } => self.settle(i, which.into(), code),
            Op::Cancel { which } => self.cancel(i, which.into()),
            Op::Finish => {
                party.side.connection.finish(now);
                party.finishes = true;
            }
            Op::Close => {
                party.closes |= party.side.connection.end().is_none();
                party.side.connection.close(now, Close::new(300, "enough"));
            }
            Op::Abandon => {
                party.closes |= party.side.connection.end().is_none();
                party.side.connection.abandon(now);
            }
            Op::Ping => {
                party
                    .side
                    .connection
                    .ping()
                    .expect("the native wire has pings");
                party.pings += 1;
            }
            Op::Idle => party.side.connection.handle_idle(),
            Op::Release => {
                party.side.connection.release();
                party.side.input.release();
                if party.side.input.is_empty() {
                    party.side.input = RecvBuf::rested();
                }
                party.side.output.release();
            }
            Op::Timeout => party.side.connection.handle_timeout(now),
            Op::Pass { millis } => {
                self.now = now.saturating_add(Duration::from_millis(millis.into()));
            }
            Op::Write { bytes } => drop(self.write(i, bytes.into())),
            Op::Read { bytes } => drop(self.read(i, bytes.into())),
            Op::Run => self.run(),
            Op::Cut { drop } => {
                self.cut = true;
                self.broken = [true; 2];
                if drop {
                    self.wires = Default::default();
                }
            }
            Op::Reconnect => drop(self.reconnect()),
        }
        self.look(i);
    }

    fn message(tag: usize, size: usize, how: u8) -> Message {
        let bytes: Vec<u8> = (0..size).map(|at| byte(tag, at)).collect();
        let ack = [AckLevel::None, AckLevel::Received, AckLevel::Processed][usize::from(how % 3)];
        let message = match how / 3 % 3 {
            0 => Message::correlated(Kind::Request, tag as u64, bytes),
            1 => Message::event(format!("{tag}"), bytes),
            _ => Message::subscription(Kind::Subscribe, tag as u64, "t".repeat(size.clamp(1, 255))),
        };
        message.expect("valid").with_ack(ack)
    }

    fn send(&mut self, i: usize, size: usize, how: u8, millis: Option<u8>, untracked: bool) {
        let now = self.now;
        let party = &mut self.parties[i];
        let tag = party.sent.len();
        let size = party.size(size);
        let mut message = Self::message(tag, size, how);
        let (ack, size) = (message.ack(), message.size());
        if let Some(millis) = millis {
            message = message.with_deadline(Duration::from_millis(millis.into()));
        }
        let room = party.side.connection.check_room();
        let result = if untracked {
            party
                .side
                .connection
                .send_untracked(now, message)
                .map(|()| None)
        } else {
            party.side.connection.send(now, message).map(Some)
        };
        match result {
            Ok(id) => {
                // What leaves nothing behind does not wait for what is under way.
                let fleeting = untracked && ack != AckLevel::Processed;
                assert!(room.is_ok() || fleeting && room == Err(SendErrorReason::Full));
                party.accepted(id, ack, size, millis.is_some());
            }
            Err(error) => party.refused(&error.reason, size),
        }
    }

    fn send_through(&mut self, i: usize, size: usize, bytes: usize) {
        let party = &mut self.parties[i];
        if party.fresh.is_some() {
            return;
        }
        let tag = party.sent.len();
        let size = party.size(size);
        let payload: Vec<u8> = (0..size).map(|at| byte(tag, at)).collect();
        let message = Message::correlated(Kind::Reply, tag as u64, payload).expect("valid");
        let (ack, size) = (message.ack(), message.size());
        let Side {
            connection, output, ..
        } = &mut party.side;
        let Some(seq) = connection.write_through(&message, output) else {
            return;
        };
        let n = output.chunk().len().min(bytes);
        if !self.broken[i] {
            self.wires[i].extend(&output.chunk()[..n]);
        }
        output.advance(n);
        let id = match output.has_remaining() {
            true => connection.expect_through(self.now, seq, &message, output),
            false => None,
        };
        party.accepted(id, ack, size, false);
    }

    fn reserved(&mut self, i: usize, size: usize, how: u8, used: bool) {
        let now = self.now;
        let party = &mut self.parties[i];
        let size = party.size(size);
        let message = Self::message(party.sent.len(), size, how);
        let (ack, size) = (message.ack(), message.size());
        if let Err(reason) = party.side.connection.reserve(size) {
            return party.refused(&reason, size);
        }
        if !used {
            return party.side.connection.unreserve(size);
        }
        // Time for the peer to say what it accepts, and for an end.
        self.run();
        let party = &mut self.parties[i];
        match party.side.connection.send_reserved(now, message, size) {
            Ok(id) => party.accepted(Some(id), ack, size, false),
            Err(error) => {
                assert_ne!(
                    error.reason,
                    SendErrorReason::Full,
                    "a permit found no room"
                );
                party.refused(&error.reason, size);
            }
        }
    }

    fn recv(&mut self, i: usize, most: usize) {
        let [a, b] = &mut self.parties;
        let (party, other) = if i == 0 { (a, b) } else { (b, a) };
        for _ in 0..most {
            let Some(message) = party.side.connection.recv() else {
                return;
            };
            assert!(!party.closes, "a message after the program's close");
            let tag = match (message.correlation(), &message.topic) {
                (Some(tag), _) => tag as usize,
                (None, topic) => topic.as_ref().expect("a topic").parse().expect("a tag"),
            };
            let sent = other.sent.get(tag).expect("what was sent");
            assert_eq!((message.ack, message.size()), (sent.ack, sent.size));
            assert!(
                message
                    .payload
                    .iter()
                    .enumerate()
                    .all(|(at, found)| *found == byte(tag, at)),
                "another content"
            );
            if let Some((tag_before, seq_before)) = party.got.last() {
                assert!(*tag_before < tag, "out of order, or twice");
                assert!(*seq_before < message.seq, "numbers do not rise");
            }
            assert!(!sent.cancelled, "delivered, though withdrawn");
            party.got.push((tag, message.seq));
            if message.ack == AckLevel::Processed {
                party.owed.push((message.seq, tag, message.size()));
            } else {
                let settled = party.side.connection.settle(message.seq, Ok(()));
                assert!(settled.is_err(), "a verdict where none is due");
            }
        }
    }

    fn settle(&mut self, i: usize, which: usize, code: u8) {
        let party = &mut self.parties[i];
        if party.owed.is_empty() {
            return;
        }
        let (seq, tag, _) = party.owed.swap_remove(which % party.owed.len());
        let verdict = match code {
            0..128 => Ok(()),
            _ => Err(Rejection::new(code.into(), "r".repeat(code.into()))),
        };
        let ended = party.side.connection.end().is_some();
        let settled = party.side.connection.settle(seq, verdict.clone());
        // Refused only where nobody can be told any more.
        assert_eq!(settled.is_err(), ended);
        if settled.is_ok() {
            party.verdicts.insert(tag, verdict);
        }
    }

    fn cancel(&mut self, i: usize, which: usize) {
        let party = &mut self.parties[i];
        if party.sent.is_empty() {
            return;
        }
        let which = which % party.sent.len();
        let sent = &mut party.sent[which];
        let Some(id) = sent.id else {
            return;
        };
        sent.unwanted = true;
        if party.side.connection.cancel(id) {
            assert_eq!(sent.outcome, None, "withdrawn after its outcome");
            sent.cancelled = true;
        }
    }

    /// Says whether anything was written.
    fn write(&mut self, i: usize, most: usize) -> bool {
        let party = &mut self.parties[i];
        let Side {
            connection, output, ..
        } = party.fresh.as_mut().unwrap_or(&mut party.side);
        let mut left = most;
        while connection.poll_transmit(self.now, output) {
            assert!(output.has_remaining() && !output.chunk().is_empty());
            let n = output.chunk().len().min(left);
            if n == 0 {
                return left < most;
            }
            if !self.broken[i] {
                self.wires[i].extend(&output.chunk()[..n]);
            }
            output.advance(n);
            left -= n;
        }
        assert!(!output.has_remaining());
        assert!(!connection.wants_transmit(), "more to write after all");
        left < most
    }

    /// Says whether anything was read.
    fn read(&mut self, i: usize, most: usize) -> bool {
        let party = &mut self.parties[i];
        let wire = &mut self.wires[1 - i];
        let n = wire.len().min(most);
        let bytes: Vec<u8> = wire.drain(..n).collect();
        let side = party.fresh.as_mut().unwrap_or(&mut party.side);
        side.feed(self.now, &bytes);
        let ends = self.broken[1 - i] && wire.is_empty() && !party.read_end && n < most;
        if ends {
            party.read_end = true;
            party.end_of_stream(self.now);
        }
        self.answer(i);
        n > 0 || ends
    }

    /// Both drivers do what there is to do, their programs nothing.
    fn run(&mut self) {
        for _ in 0..100_000 {
            let mut moved = false;
            for i in [0, 1] {
                if self.parties[i].gone {
                    continue;
                }
                moved |= self.read(i, usize::MAX);
                self.parties[i].side.connection.handle_idle();
                moved |= self.write(i, usize::MAX);
                self.look(i);
                moved |= self.leave(i);
            }
            if !moved {
                return;
            }
        }
        panic!(
            "no end to it: {:?}",
            self.parties.each_ref().map(|p| &p.side.connection)
        );
    }

    /// Closes the stream once the connection has ended and all is written.
    fn leave(&mut self, i: usize) -> bool {
        let party = &mut self.parties[i];
        if party.gone || !party.side.connection.is_drained() || party.side.output.has_remaining() {
            return false;
        }
        party.gone = true;
        self.broken = [true; 2];
        self.wires[1 - i].clear();
        true
    }

    /// The programs come to their end.
    fn finish(&mut self) {
        for _ in 0..10_000 {
            for i in [0, 1] {
                let party = &mut self.parties[i];
                party.side.connection.finish(self.now);
                party.finishes = true;
                self.recv(i, usize::MAX);
                while !self.parties[i].owed.is_empty() {
                    self.settle(i, 0, 0);
                }
                self.look(i);
            }
            let before = self.parties.each_ref().map(|p| p.got.len());
            self.run();
            if self
                .parties
                .iter()
                .all(|p| p.side.closed().is_some() && p.gone)
            {
                return;
            }
            let waiting = self
                .parties
                .iter()
                .any(|p| p.side.connection.has_messages());
            if waiting || self.parties.each_ref().map(|p| p.got.len()) != before {
                continue;
            }
            // Before any time passes: what waits for the other stream would expire.
            if self.reconnect() {
                continue;
            }
            let due = self.parties.iter().filter(|p| !p.gone);
            let due = due.filter_map(|p| p.side.connection.poll_timeout()).min();
            if let Some(due) = due {
                self.now = self.now.max(due);
                for party in &mut self.parties {
                    party.side.connection.handle_timeout(self.now);
                }
            }
        }
        panic!(
            "no end: {:?}",
            self.parties.each_ref().map(|p| &p.side.connection)
        );
    }
}

impl Party {
    /// A size that this side may send, or one that is a little too large.
    fn size(&self, drawn: usize) -> usize {
        let unit = if self.max_message > 8_200 { 16 } else { 1 };
        drawn * unit % (self.max_message + 2)
    }
}

fuzz_target!(|input: Input| {
    let mut world = World::new(&input);
    for (side, op) in &input.ops.0 {
        world.op(*side, *op);
    }
    world.finish();
    world.check();
});
