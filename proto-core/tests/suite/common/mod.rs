//! What the tests share: seeded randomness, one side with its buffers, two
//! sides over a link without delay, and a scripted peer that writes raw bytes.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "every test file uses a part of this"
)]

pub mod caught;
pub mod lossy;
pub mod raw;
pub mod sim;
pub mod strangers;
pub mod woken;

use bytes::Buf;
use core::convert::Infallible;
use core::time::Duration;
use rand_core::{TryCryptoRng, TryRng};
use sealpipe_core::{
    AckLevel, Config, ConfigBuilder, Connection, ConnectionError, Event, Key, Message, MessageId,
    Outcome, Received, RecvBuf, Role, SendBuf, Time,
};
use std::sync::Arc;

/// splitmix64: small, good enough to draw programs from, and the same for ever.
#[derive(Clone)]
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`, which is not 0.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub fn range(&mut self, from: usize, to: usize) -> usize {
        from + self.below(to - from + 1)
    }

    /// True `n` times out of a hundred.
    pub fn percent(&mut self, n: usize) -> bool {
        self.below(100) < n
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

impl TryRng for Rng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.next() as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.next())
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
        for chunk in dst.chunks_mut(8) {
            let bytes = self.next().to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
        Ok(())
    }
}

impl TryCryptoRng for Rng {}

/// The key that the tests use, and another.
pub fn key() -> Key {
    Key::from_bytes(core::array::from_fn(|i| i as u8))
}

pub fn other_key() -> Key {
    Key::from_bytes([0x77; 32])
}

/// A configuration to change before it is built.
pub fn builder(sealed: bool) -> ConfigBuilder {
    if sealed {
        Config::sealed(key())
    } else {
        Config::plain()
    }
}

pub fn config(sealed: bool) -> Arc<Config> {
    Arc::new(builder(sealed).build().expect("the defaults are valid"))
}

pub fn millis(n: u64) -> Time {
    Time::from_nanos(n * 1_000_000)
}

pub fn seconds(n: u64) -> Time {
    millis(n * 1_000)
}

/// One side, with the buffers that its driver owns and what its program saw.
pub struct Side {
    pub connection: Connection,
    pub input: RecvBuf,
    pub output: SendBuf,
    pub events: Vec<Event>,
    pub received: Vec<Received>,
}

impl Side {
    pub fn new(config: Arc<Config>, role: Role, seed: u64, now: Time) -> Side {
        let connection = Connection::new(config, role, &mut Rng(seed), now).expect("no end yet");
        Side {
            connection,
            input: RecvBuf::new(),
            output: SendBuf::new(),
            events: Vec::new(),
            received: Vec::new(),
        }
    }

    /// Hands in bytes; an error is the end, and comes as an event too.
    pub fn feed(&mut self, now: Time, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let n = self.input.fill_from(bytes);
            bytes = &bytes[n..];
            if self.connection.handle_input(now, &mut self.input).is_err() {
                return;
            }
        }
    }

    pub fn eof(&mut self, now: Time) {
        self.connection.handle_eof(now, &self.input);
    }

    /// All that it has to write now.
    pub fn take_output(&mut self, now: Time) -> Vec<u8> {
        let mut out = Vec::new();
        while self.connection.poll_transmit(now, &mut self.output) {
            let chunk = self.output.chunk();
            out.extend_from_slice(chunk);
            let n = chunk.len();
            self.output.advance(n);
        }
        out
    }

    /// Takes events, and messages too if `read` is set.
    pub fn take(&mut self, read: bool) {
        while read && let Some(message) = self.connection.recv() {
            self.received.push(message);
        }
        while let Some(event) = self.connection.poll_event() {
            self.events.push(event);
        }
    }

    /// The outcomes so far, in the order in which they came.
    pub fn outcomes(&self) -> Vec<(MessageId, Outcome)> {
        let outcome = |event: &Event| match event {
            Event::Outcome { id, outcome } => Some((*id, outcome.clone())),
            _ => None,
        };
        self.events.iter().filter_map(outcome).collect()
    }

    pub fn outcome(&self, id: MessageId) -> Option<Outcome> {
        let mut of_id = self.outcomes().into_iter().filter(|(of, _)| *of == id);
        let outcome = of_id.next().map(|(_, outcome)| outcome);
        assert!(of_id.next().is_none(), "a message has two outcomes");
        outcome
    }

    pub fn payloads(&self) -> Vec<Vec<u8>> {
        self.received.iter().map(|m| m.payload.to_vec()).collect()
    }

    /// What the one last event said, if it has come.
    pub fn closed(&self) -> Option<&ConnectionError> {
        let mut ends = self
            .events
            .iter()
            .enumerate()
            .filter_map(|(at, event)| match event {
                Event::Closed(why) => Some((at, why)),
                _ => None,
            });
        let (at, why) = ends.next()?;
        assert!(ends.next().is_none(), "two last events");
        assert_eq!(at + 1, self.events.len(), "events after the last one");
        Some(why)
    }
}

/// Two sides over a link without delay.
pub struct Pair {
    pub now: Time,
    pub client: Side,
    pub server: Side,
    /// Whether the programs take what has come.
    pub client_reads: bool,
    pub server_reads: bool,
    /// Accept what is of level *processed* as soon as it is taken.
    pub settle: bool,
}

impl Pair {
    pub fn new(client: Arc<Config>, server: Arc<Config>) -> Pair {
        let now = seconds(1);
        Pair {
            now,
            client: Side::new(client, Role::Initiator, 1, now),
            server: Side::new(server, Role::Responder, 2, now),
            client_reads: true,
            server_reads: true,
            settle: true,
        }
    }

    /// Both with one configuration, and open.
    pub fn open(builder: ConfigBuilder) -> Pair {
        let config = Arc::new(builder.build().expect("a valid configuration"));
        let mut pair = Pair::new(config.clone(), config);
        pair.run();
        assert!(pair.client.connection.is_open() && pair.server.connection.is_open());
        pair
    }

    /// Moves bytes until there are none, as a driver would: all that is there,
    /// then idle.
    pub fn run(&mut self) {
        loop {
            let mut moved = false;
            for side in [Role::Initiator, Role::Responder] {
                moved |= self.step(side);
            }
            if !moved {
                return;
            }
        }
    }

    /// One side writes all it has, and the other reads it.
    pub fn step(&mut self, from: Role) -> bool {
        let now = self.now;
        let (other, from, to) = match from {
            Role::Initiator => (Role::Responder, &mut self.client, &mut self.server),
            Role::Responder => (Role::Initiator, &mut self.server, &mut self.client),
        };
        let bytes = from.take_output(now);
        from.take(false);
        if !bytes.is_empty() {
            to.feed(now, &bytes);
        }
        self.look(other) || !bytes.is_empty()
    }

    /// One side's program looks at what it has read. Says whether it wants to write.
    pub fn look(&mut self, at: Role) -> bool {
        let (side, reads) = match at {
            Role::Initiator => (&mut self.client, self.client_reads),
            Role::Responder => (&mut self.server, self.server_reads),
        };
        side.connection.handle_idle();
        let before = side.received.len();
        side.take(reads);
        if self.settle {
            for message in &side.received[before..] {
                if message.ack == AckLevel::Processed {
                    // Refused only where the connection has ended.
                    let _ = side.connection.settle(message.seq, Ok(()));
                }
            }
        }
        side.connection.wants_transmit()
    }

    /// Time passes, and whatever is due happens.
    pub fn sleep(&mut self, duration: Duration) {
        let until = self.now.saturating_add(duration);
        loop {
            let due = [&self.client, &self.server]
                .into_iter()
                .filter_map(|s| s.connection.poll_timeout())
                .min();
            self.now = due.map_or(until, |due| due.clamp(self.now, until));
            self.client.connection.handle_timeout(self.now);
            self.server.connection.handle_timeout(self.now);
            self.run();
            if due.is_none_or(|due| due > until) {
                return;
            }
        }
    }

    pub fn send(&mut self, from: Role, message: Message) -> MessageId {
        let now = self.now;
        let side = match from {
            Role::Initiator => &mut self.client,
            Role::Responder => &mut self.server,
        };
        side.connection.send(now, message).expect("there is room")
    }
}

/// A message with a level.
pub fn message(payload: impl Into<bytes::Bytes>, ack: AckLevel) -> Message {
    Message::new(payload).with_ack(ack)
}
