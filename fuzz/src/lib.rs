//! What the fuzz targets share: the helpers of sealpipe-core's own tests, and a
//! driver that checks, whatever bytes come, what must hold of one connection.

#[path = "../../proto-core/tests/suite/common/mod.rs"]
#[allow(
    clippy::should_implement_trait,
    reason = "only here, where it is public, does the generator's `next` look like an iterator's"
)]
pub mod common;

use arbitrary::Arbitrary;
use common::{Side, message};
use core::time::Duration;
use sealpipe_core::{
    AckLevel, Close, ConfigBuilder, ConnectionError, Event, MessageId, RecvBuf, Rejection,
    SendErrorReason, Time,
};
use std::collections::BTreeSet;

/// Small limits, so that a short input reaches them.
pub fn small(builder: ConfigBuilder) -> ConfigBuilder {
    builder
        .max_message(5_000)
        .receive_window(8_000, 6)
        .send_queue(8_000, 8)
}

/// How the program and the driver on the fuzzed side behave.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub struct Habits {
    /// Bit flags, by the methods below: one byte each leaves the rest of the
    /// input to the stream.
    flags: u8,
    /// The lengths of the chunks in which input comes, over and over; 0 is all.
    cuts: [u8; 3],
    /// How many messages it sends at first.
    sends: u8,
}

impl Habits {
    fn reads(self) -> bool {
        self.flags & 1 == 0
    }
    fn settles(self) -> bool {
        self.flags & 2 == 0
    }
    fn writes(self) -> bool {
        self.flags & 4 == 0
    }
    fn releases(self) -> bool {
        self.flags & 8 != 0
    }
    fn finishes(self) -> bool {
        self.flags & 16 != 0
    }
    fn closes(self) -> bool {
        self.flags & 32 != 0
    }
    fn hangs_up(self) -> bool {
        self.flags & 64 != 0
    }
    fn cancels(self) -> bool {
        self.flags & 128 != 0
    }
}

/// One side, and what must hold of it.
pub struct Watched {
    pub side: Side,
    habits: Habits,
    now: Time,
    tracked: BTreeSet<MessageId>,
    /// Messages and events looked at so far.
    messages: usize,
    events: usize,
}

impl Watched {
    pub fn new(side: Side, now: Time, habits: Habits) -> Watched {
        let (messages, events) = (side.received.len(), side.events.len());
        Watched {
            side,
            habits,
            now,
            tracked: BTreeSet::new(),
            messages,
            events,
        }
    }

    /// Messages of all levels go out, so that an answer to them means something.
    pub fn send(&mut self) {
        for n in 0..usize::from(self.habits.sends % 9) {
            let level = [AckLevel::Received, AckLevel::Processed, AckLevel::None][n % 3];
            let sent = self
                .side
                .connection
                .send(self.now, message(vec![n as u8; n * 700], level));
            if let Ok(id) = sent {
                assert!(self.tracked.insert(id), "an id twice");
            }
        }
        if self.habits.cancels()
            && let Some(id) = self.tracked.first()
        {
            self.side.connection.cancel(*id);
        }
        self.side
            .connection
            .ping()
            .expect("the native wire has pings");
        self.after();
    }

    /// The stream brings `bytes`, in chunks.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        let mut cuts = self.habits.cuts.into_iter().cycle();
        while !bytes.is_empty() {
            let n = match cuts.next() {
                None | Some(0) => bytes.len(),
                Some(n) => bytes.len().min(usize::from(n)),
            };
            self.side.feed(self.now, &bytes[..n]);
            bytes = &bytes[n..];
            if n % 2 == 0 {
                self.side.connection.handle_idle();
            }
            self.now = self.now.saturating_add(Duration::from_micros(100));
            self.after();
        }
    }

    /// The end: this side's program does its last, then the stream ends or falls
    /// silent, and the connection must end as well.
    pub fn end(mut self) -> Side {
        if self.habits.finishes() {
            self.side.connection.finish(self.now);
        }
        if self.habits.closes() {
            self.side
                .connection
                .close(self.now, Close::new(300, "enough"));
        }
        self.after();
        if self.habits.hangs_up() {
            self.side.eof(self.now);
        }
        let mut rounds = 0;
        while self.side.connection.end().is_none() {
            rounds += 1;
            assert!(rounds < 1_000, "no end: {:?}", self.side.connection);
            let due = self.side.connection.poll_timeout();
            self.now = self.now.max(due.expect("a deadline"));
            self.side.connection.handle_timeout(self.now);
            self.after();
        }
        self.side.take(true);
        self.after();
        self.ended();
        self.side
    }

    /// What a driver does after anything has happened.
    fn after(&mut self) {
        if self.habits.writes() {
            self.side.take_output(self.now);
            assert!(!self.side.connection.wants_transmit(), "more to write");
        }
        self.side.take(self.habits.reads());
        let max = self.side.connection.config().max_message();
        for at in self.messages..self.side.received.len() {
            let received = &self.side.received[at];
            assert!(received.size() <= max, "a message above the limit");
            assert_eq!(received.topic.is_some(), received.kind.has_topic());
            let before = at.checked_sub(1).map(|at| self.side.received[at].seq);
            assert!(before < Some(received.seq), "numbers do not rise");
            if self.habits.settles() {
                let verdict = match received.seq % 3 {
                    0 => Err(Rejection::new(received.seq, "no")),
                    _ => Ok(()),
                };
                let _ = self.side.connection.settle(received.seq, verdict);
                let twice = self.side.connection.settle(received.seq, Ok(()));
                assert!(twice.is_err(), "settled twice");
            }
        }
        self.messages = self.side.received.len();
        for event in &self.side.events[self.events..] {
            if let Event::Outcome { id, .. } = event {
                assert!(self.tracked.remove(id), "an outcome twice, or of nothing");
            }
        }
        self.events = self.side.events.len();
        if self.habits.releases() {
            self.side.connection.release();
            self.side.input.release();
            if self.side.input.is_empty() {
                self.side.input = RecvBuf::rested();
            }
            self.side.output.release();
        }
    }

    /// What must hold after the end.
    fn ended(&mut self) {
        let why = self.side.closed().expect("the last event").clone();
        assert_eq!(self.side.connection.end(), Some(&why));
        assert!(
            !matches!(why, ConnectionError::Internal(_)),
            "a bug by its own words: {why}"
        );
        assert!(self.tracked.is_empty(), "a message without an outcome");
        self.side.take_output(self.now);
        let connection = &mut self.side.connection;
        assert!(connection.is_drained() && !connection.is_open());
        assert_eq!(connection.poll_timeout(), None, "a deadline after the end");
        let refused = connection.send(self.now, message("late", AckLevel::None));
        let reason = refused.expect_err("a message after the end").reason;
        assert_eq!(reason, SendErrorReason::Closed(why.clone()));
        // Nothing that comes later changes it.
        self.side.input.fill_from(b"late");
        let again = self
            .side
            .connection
            .handle_input(self.now, &mut self.side.input);
        assert_eq!(again, Err(why));
        self.side.eof(self.now);
        assert_eq!(self.side.connection.recv(), None);
        assert_eq!(self.side.connection.poll_event(), None);
        assert!(!self.side.connection.wants_transmit());
    }
}
