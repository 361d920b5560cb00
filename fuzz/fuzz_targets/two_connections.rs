//! Two honest connections, driven by arbitrary operations in arbitrary order: what
//! the programs want, which bytes move, when time passes, where the stream breaks.
//! Then both come to their end, and what each was told is compared with what the
//! other did.
#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use bytes::Buf;
use core::time::Duration;
use libfuzzer_sys::fuzz_target;
use sealpipe_core::{
    AckLevel, Close, Config, ConnectionError, Event, Kind, Message, MessageId, Outcome, Rejection,
    Role, SendErrorReason, Time,
};
use sealpipe_fuzz::common::{Side, builder, seconds};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

#[derive(Debug, Arbitrary)]
struct Input {
    /// Bit 0: sealed. Bit 1: messages of many frames.
    start: u8,
    limits: [Limits; 2],
    ops: Ops,
}

#[derive(Debug, Clone, Copy, Arbitrary)]
struct Limits {
    /// In units of 32 bytes, or of 2 KiB.
    max_message: u8,
    /// Beyond the largest message, in the same units.
    window: u8,
    window_messages: u8,
    queue: u8,
    queue_messages: u8,
}

#[derive(Debug, Clone, Copy)]
enum Op {
    Send {
        size: u16,
        how: u8,
    },
    SendUntracked {
        size: u16,
        how: u8,
    },
    SendUntil {
        size: u16,
        how: u8,
        millis: u8,
    },
    Reserved {
        size: u16,
        how: u8,
        used: bool,
    },
    Recv {
        most: u8,
    },
    Settle {
        which: u8,
        code: u8,
    },
    Cancel {
        which: u8,
    },
    Finish,
    Close,
    Abandon,
    Ping,
    Idle,
    Release,
    Timeout,
    Pass {
        millis: u16,
    },
    /// This side makes output, and so many bytes of it are written.
    Write {
        bytes: u16,
    },
    /// This side reads so many bytes of what was written to it.
    Read {
        bytes: u16,
    },
    /// Both sides do all that they can without their programs.
    Run,
    /// The stream breaks, with or without what is on its way.
    Cut {
        drop: bool,
    },
}

/// Which side does what. By hand and not derived: one byte for each of them, and
/// as many as the input has.
#[derive(Debug)]
struct Ops(Vec<(usize, Op)>);

impl<'a> Arbitrary<'a> for Ops {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Ops> {
        let mut ops = Vec::new();
        while let Ok(byte) = u8::arbitrary(u)
            && !u.is_empty()
        {
            ops.push((usize::from(byte >> 7), op(byte & 0x1f, u)?));
        }
        Ok(Ops(ops))
    }
}

fn op(which: u8, u: &mut Unstructured<'_>) -> arbitrary::Result<Op> {
    Ok(match which {
        0..=4 => Op::Send {
            size: u.arbitrary()?,
            how: u.arbitrary()?,
        },
        5 => Op::SendUntracked {
            size: u.arbitrary()?,
            how: u.arbitrary()?,
        },
        6 => Op::SendUntil {
            size: u.arbitrary()?,
            how: u.arbitrary()?,
            millis: u.arbitrary()?,
        },
        7 => Op::Reserved {
            size: u.arbitrary()?,
            how: u.arbitrary()?,
            used: u.arbitrary()?,
        },
        8..=9 => Op::Recv {
            most: u.arbitrary()?,
        },
        10..=12 => Op::Settle {
            which: u.arbitrary()?,
            code: u.arbitrary()?,
        },
        13 => Op::Cancel {
            which: u.arbitrary()?,
        },
        14 => Op::Finish,
        15 => Op::Close,
        16 => Op::Abandon,
        17 => Op::Ping,
        18 => Op::Idle,
        19 => Op::Release,
        20 => Op::Timeout,
        21 => Op::Pass {
            millis: u.arbitrary()?,
        },
        22..=25 => Op::Write {
            bytes: u.arbitrary()?,
        },
        26..=29 => Op::Read {
            bytes: u.arbitrary()?,
        },
        30 => Op::Run,
        _ => Op::Cut {
            drop: u.arbitrary()?,
        },
    })
}

/// A message as its sender remembers it.
struct Sent {
    id: Option<MessageId>,
    ack: AckLevel,
    size: usize,
    outcome: Option<Outcome>,
    /// Withdrawn for sure.
    cancelled: bool,
    /// A deadline that can pass.
    short: bool,
}

struct Party {
    side: Side,
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
                .build()
                .expect("valid");
            Party {
                side: Side::new(Arc::new(config), role, i as u64, now),
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
                party.side.connection.ping();
                party.pings += 1;
            }
            Op::Idle => party.side.connection.handle_idle(),
            Op::Release => {
                party.side.connection.release();
                party.side.input.release();
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
                assert_eq!(room, Ok(()));
                party.accepted(id, ack, size, millis.is_some());
            }
            Err(error) => party.refused(&error.reason, size),
        }
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
            let tag = match (message.correlation, &message.topic) {
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
        if party.side.connection.cancel(id) {
            assert_eq!(sent.outcome, None, "withdrawn after its outcome");
            sent.cancelled = true;
        }
    }

    /// Says whether anything was written.
    fn write(&mut self, i: usize, most: usize) -> bool {
        let party = &mut self.parties[i];
        let output = &mut party.side.output;
        let mut left = most;
        while party.side.connection.poll_transmit(self.now, output) {
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
        assert!(
            !party.side.connection.wants_transmit(),
            "more to write after all"
        );
        left < most
    }

    /// Says whether anything was read.
    fn read(&mut self, i: usize, most: usize) -> bool {
        let party = &mut self.parties[i];
        let wire = &mut self.wires[1 - i];
        let n = wire.len().min(most);
        let bytes: Vec<u8> = wire.drain(..n).collect();
        party.side.feed(self.now, &bytes);
        let ends = self.broken[1 - i] && wire.is_empty() && !party.read_end && n < most;
        if ends {
            party.read_end = true;
            party.side.eof(self.now);
        }
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

    /// Looks at the events, and at what must always hold.
    fn look(&mut self, i: usize) {
        let (window, window_messages, queue_messages) = self.limits[i];
        let party = &mut self.parties[i];
        party.side.take(false);
        for at in party.looked..party.side.events.len() {
            match &party.side.events[at] {
                Event::Open(_) => assert_eq!(at, party.opened_at(), "open, but not at once"),
                Event::Outcome { id, outcome } => {
                    let mut sent = party.sent.iter_mut().filter(|sent| sent.id == Some(*id));
                    let sent = sent.next().expect("an outcome of what was sent");
                    assert_eq!(sent.outcome, None, "two outcomes");
                    sent.outcome = Some(outcome.clone());
                }
                Event::Cancelled { seq } => {
                    assert!(*seq < party.side.connection.stats().messages_received);
                }
                Event::Pong { .. } => party.pongs += 1,
                Event::PeerFinished => assert!(party.side.connection.peer_finished()),
                Event::Closed(why) => assert_eq!(party.side.connection.end(), Some(why)),
                other => panic!("unknown: {other:?}"),
            }
        }
        party.looked = party.side.events.len();
        assert!(party.pongs <= party.pings);
        let stats = party.side.connection.stats();
        assert!(
            stats.queued <= queue_messages,
            "the queue is over its limit"
        );
        assert!(
            stats.waiting + party.owed.len() <= window_messages,
            "the window is over its messages"
        );
        assert!(party.owed.iter().map(|(_, _, size)| size).sum::<usize>() <= window);
        if let Some(why) = party.side.connection.end() {
            let fault = matches!(
                why,
                ConnectionError::Violation(_)
                    | ConnectionError::Authentication(_)
                    | ConnectionError::Internal(_)
                    | ConnectionError::Mismatch(_)
                    | ConnectionError::Refused(_)
                    | ConnectionError::Timeout(_)
                    | ConnectionError::KeysUsedUp
            );
            assert!(!fault, "between two honest sides: {why}");
            assert!(!party.side.connection.is_open());
        }
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

    fn check(&self) {
        for i in [0, 1] {
            let (own, other) = (&self.parties[i], &self.parties[1 - i]);
            let end = own.side.closed().expect("the last event");
            let quiet = !own.closes && !other.closes && !self.cut;
            match end {
                ConnectionError::Finished => assert!(own.finishes && other.finishes),
                ConnectionError::ClosedLocally(_) => assert!(!quiet),
                ConnectionError::ClosedByPeer(_) => assert!(other.closes, "closed by nobody"),
                ConnectionError::Lost(_) => assert!(!quiet, "lost by nobody"),
                end => panic!("an end that cannot be: {end}"),
            }
            assert!(!quiet || *end == ConnectionError::Finished);
            for (tag, sent) in own.sent.iter().enumerate() {
                self.check_message(i, tag, sent, quiet);
            }
            let all = own
                .sent
                .iter()
                .enumerate()
                .filter(|(_, sent)| sent.id.is_some() && sent.outcome != Some(Outcome::NotSent))
                .all(|(tag, _)| other.has(tag));
            if own.side.connection.all_arrived() && !other.closes {
                assert!(all, "all arrived, it said");
            }
        }
    }

    fn check_message(&self, i: usize, tag: usize, sent: &Sent, quiet: bool) {
        let other = &self.parties[1 - i];
        let here = other.has(tag);
        let fits = sent.size <= other.max_message;
        if sent.id.is_none() {
            assert_eq!(sent.outcome, None);
            assert!(here || !quiet || !fits, "an untracked message was lost");
            return;
        }
        let what = format!("message {tag} of side {i}: {:?}", sent.outcome);
        assert!(
            !sent.cancelled || sent.outcome == Some(Outcome::NotSent),
            "{what}"
        );
        match (sent.outcome.as_ref().expect("an outcome"), sent.ack) {
            (Outcome::Sent, AckLevel::None) => assert!(here || !quiet, "{what}"),
            (Outcome::Received, AckLevel::Received) => assert!(here || other.closes, "{what}"),
            (Outcome::Processed, AckLevel::Processed) => {
                assert_eq!(other.verdicts.get(&tag), Some(&Ok(())), "{what}");
            }
            (Outcome::Rejected(why), AckLevel::Processed) => {
                assert_eq!(other.verdicts.get(&tag), Some(&Err(why.clone())), "{what}");
            }
            (Outcome::NotSent, _) => {
                assert!(!here, "delivered: {what}");
                assert!(!quiet || sent.cancelled || sent.short || !fits, "{what}");
            }
            (Outcome::Unknown, _) => assert!(!quiet || sent.short, "{what}"),
            _ => panic!("not an outcome of this level: {what}"),
        }
    }
}

impl Party {
    fn accepted(&mut self, id: Option<MessageId>, ack: AckLevel, size: usize, short: bool) {
        assert!(size <= self.max_message, "took what is too large");
        assert!(!self.finishes && !self.closes, "took one after the end");
        self.sent.push(Sent {
            id,
            ack,
            size,
            outcome: None,
            cancelled: false,
            short,
        });
    }

    fn refused(&self, reason: &SendErrorReason, size: usize) {
        match reason {
            SendErrorReason::TooLarge { max, .. } => assert!(size > *max),
            SendErrorReason::Finished => assert!(self.finishes || self.closes),
            SendErrorReason::Closed(why) => {
                assert!(self.closes || self.side.connection.end() == Some(why));
            }
            _ => assert_eq!(*reason, SendErrorReason::Full),
        }
    }

    /// A size that this side may send, or one that is a little too large.
    fn size(&self, drawn: usize) -> usize {
        let unit = if self.max_message > 8_200 { 16 } else { 1 };
        drawn * unit % (self.max_message + 2)
    }

    fn has(&self, tag: usize) -> bool {
        self.got.binary_search_by_key(&tag, |(tag, _)| *tag).is_ok()
    }

    /// Only outcomes of what was withdrawn or expired come before `Open`.
    fn opened_at(&self) -> usize {
        let events = self.side.events.iter();
        events
            .take_while(|event| {
                matches!(
                    event,
                    Event::Outcome {
                        outcome: Outcome::NotSent,
                        ..
                    }
                )
            })
            .count()
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
