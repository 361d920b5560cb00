//! Two connections over a link with virtual time that delays, splits, stalls
//! and cuts, and two programs drawn at random. Everything that must hold is
//! checked while it runs and at the end.

use super::{Rng, Side, builder, millis};
use bytes::{Buf, Bytes};
use core::time::Duration;
use sealpipe_core::{
    AckLevel, Close, Config, ConnectionError, Event, Kind, Lost, Message, MessageId, Outcome,
    Received, Rejection, Role, SendErrorReason, Time,
};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Where the choices come from: bytes (a fuzzer's) while there are any, then a
/// seed.
pub struct Choices {
    bytes: VecDeque<u8>,
    rng: Rng,
}

impl Choices {
    pub fn seed(seed: u64) -> Choices {
        Choices {
            bytes: VecDeque::new(),
            rng: Rng(seed),
        }
    }

    pub fn bytes(bytes: &[u8]) -> Choices {
        Choices {
            bytes: bytes.iter().copied().collect(),
            rng: Rng(bytes.len() as u64),
        }
    }

    fn next(&mut self) -> u64 {
        match (self.bytes.pop_front(), self.bytes.pop_front()) {
            (Some(a), b) => u64::from(a) | u64::from(b.unwrap_or(0)) << 8,
            _ => self.rng.next(),
        }
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn range(&mut self, from: usize, to: usize) -> usize {
        from + self.below(to - from + 1)
    }

    fn percent(&mut self, n: usize) -> bool {
        self.below(100) < n
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// What a payload is made of; every message has its own window of it.
fn pattern() -> Bytes {
    static PATTERN: std::sync::OnceLock<Bytes> = std::sync::OnceLock::new();
    PATTERN
        .get_or_init(|| {
            let mut rng = Rng(42);
            Bytes::from((0..1 << 20).map(|_| rng.next() as u8).collect::<Vec<u8>>())
        })
        .clone()
}

fn payload(tag: u64, size: usize) -> Bytes {
    let from = (tag as usize * 977) % (1 << 18);
    pattern().slice(from..from + size)
}

/// A message as its sender remembers it.
struct Sent {
    tag: u64,
    id: Option<MessageId>,
    ack: AckLevel,
    size: usize,
    outcome: Option<Outcome>,
    cancelled: bool,
    short: bool,
}

/// What a program does at the end of its list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Last {
    Finish,
    Close,
    Abandon,
}

struct Program {
    side: Side,
    role: Role,
    /// Next time the program does something.
    wake: Time,
    steps_left: usize,
    last: Last,
    /// The transport is not read before this time.
    reads_from: Time,
    /// The program takes no messages before this time.
    takes_from: Time,
    cancels: bool,
    short_deadlines: bool,
    sent: Vec<Sent>,
    received: Vec<(u64, Received)>,
    /// Messages that wait for the verdict, and their sizes.
    owed: Vec<(u64, usize)>,
    verdicts: BTreeMap<u64, Result<(), Rejection>>,
    finishing: bool,
    /// When close or abandon was called, and how many messages waited then.
    closed_at: Option<(Time, usize)>,
    ended_at: Option<Time>,
    read_end: bool,
    pings: usize,
    pongs: usize,
}

/// Bytes on their way from one side to the other.
#[derive(Default)]
struct Link {
    chunks: VecDeque<(Time, Vec<u8>)>,
    held: usize,
    sent: u64,
    /// The writer has closed, or the stream was cut: end of stream after the
    /// chunks.
    ended: bool,
    last_arrival: Time,
}

pub struct Sim {
    choices: Choices,
    now: Time,
    configs: [Arc<Config>; 2],
    limits: [Limits; 2],
    programs: [Program; 2],
    links: [Link; 2],
    capacity: usize,
    max_chunk: usize,
    max_delay_us: usize,
    /// In which direction the stream breaks, and after how many bytes.
    cut: Option<(usize, u64)>,
    was_cut: bool,
    next_tag: u64,
    trace: bool,
}

#[derive(Clone, Copy)]
struct Limits {
    window_bytes: usize,
    window_messages: usize,
    queue_messages: usize,
}

/// How the run went, for tests that look at a special case.
pub struct Report {
    pub ends: [ConnectionError; 2],
    pub bytes: [u64; 2],
    pub delivered: usize,
    pub took: Duration,
}

impl Sim {
    /// Draws configurations, link and programs.
    pub fn new(mut choices: Choices, sealed: bool) -> Sim {
        let now = millis(1_000);
        let mut configs = Vec::new();
        let mut limits = Vec::new();
        for _ in 0..2 {
            let max_message = match choices.below(20) {
                0 => 300_000,
                1..=2 => 70_000,
                3..=6 => choices.range(8, 64),
                _ => choices.range(64, 9_000),
            };
            let window_bytes = max_message + choices.below(2 * max_message + 2);
            let window_messages = choices.range(1, 12);
            let queue_messages = choices.range(1, 20);
            let queue_bytes = choices.range(1, 2 * max_message + 2);
            limits.push(Limits {
                window_bytes,
                window_messages,
                queue_messages,
            });
            // Long, so that only what is asked for ends by a deadline.
            let long = Duration::from_secs(3_000);
            let config = builder(sealed)
                .max_message(max_message)
                .receive_window(window_bytes, window_messages)
                .send_queue(queue_bytes, queue_messages)
                .record_timeout(long)
                .message_timeout(long)
                .send_timeout(long)
                .handshake_timeout(long)
                .keepalive(
                    Some(Duration::from_millis(choices.range(30, 5_000) as u64)),
                    Some(long),
                )
                .build()
                .expect("valid");
            configs.push(Arc::new(config));
        }
        let program = |choices: &mut Choices, role: Role, config: &Arc<Config>| Program {
            side: Side::new(config.clone(), role, choices.next(), now),
            role,
            wake: now,
            steps_left: choices.range(0, 30),
            last: match choices.below(10) {
                0 => Last::Close,
                1 => Last::Abandon,
                _ => Last::Finish,
            },
            reads_from: now,
            takes_from: now,
            cancels: choices.percent(30),
            short_deadlines: choices.percent(20),
            sent: Vec::new(),
            received: Vec::new(),
            owed: Vec::new(),
            verdicts: BTreeMap::new(),
            finishing: false,
            closed_at: None,
            ended_at: None,
            read_end: false,
            pings: 0,
            pongs: 0,
        };
        let programs = [
            program(&mut choices, Role::Initiator, &configs[0]),
            program(&mut choices, Role::Responder, &configs[1]),
        ];
        let big = limits.iter().any(|l| l.window_bytes > 20_000);
        let max_chunk = if big {
            50_000
        } else {
            choices.pick(&[7, 60, 700, 9_000])
        };
        let cut = choices.percent(25).then(|| {
            let within = choices.pick(&[20, 300, 3_000, 40_000]);
            (choices.below(2), choices.below(within) as u64)
        });
        let capacity = if big {
            65_536
        } else {
            choices.pick(&[1, 64, 1_000, 65_536])
        };
        // A link must carry a window's verdicts within the close timeout.
        let slowest = if capacity < 1_000 { 200 } else { 20_000 };
        Sim {
            now,
            programs,
            links: [Link::default(), Link::default()],
            capacity,
            max_chunk,
            max_delay_us: choices.pick(&[0, 10, 1_000, 20_000]).min(slowest),
            cut,
            was_cut: false,
            next_tag: 1,
            choices,
            configs: [configs[0].clone(), configs[1].clone()],
            limits: [limits[0], limits[1]],
            trace: std::env::var_os("SEALPIPE_SIM_TRACE").is_some(),
        }
    }

    /// The stream breaks after so many bytes from this side (0: initiator).
    pub fn cut_at(&mut self, side: usize, byte: u64) {
        self.cut = Some((side, byte));
    }

    /// The link is whole.
    pub fn uncut(&mut self) {
        self.cut = None;
    }

    /// Runs to the end of both, and checks.
    pub fn run(mut self) -> Report {
        let start = self.now;
        let mut rounds = 0u32;
        while self.programs.iter().any(|p| p.ended_at.is_none()) {
            rounds += 1;
            assert!(rounds < 200_000, "no end in sight: {}", self.describe());
            let next = self
                .next_time()
                .unwrap_or_else(|| panic!("deadlock: {}", self.describe()));
            self.now = self.now.max(next);
            assert!(
                self.now < start.saturating_add(Duration::from_secs(2_000)),
                "takes too long: {}",
                self.describe()
            );
            for i in [0, 1] {
                self.turn(i);
            }
        }
        self.check();
        Report {
            delivered: self.programs.iter().map(|p| p.received.len()).sum(),
            bytes: [self.links[0].sent, self.links[1].sent],
            took: self.now.saturating_since(start),
            ends: self
                .programs
                .map(|p| p.side.closed().expect("checked").clone()),
        }
    }

    fn describe(&self) -> String {
        let sides: Vec<_> = self
            .programs
            .iter()
            .map(|p| {
                format!(
                    "{:?} due {:?} output {} steps {} owed {} finishing {} closed {:?}",
                    p.side.connection,
                    p.side.connection.poll_timeout(),
                    p.side.output.remaining(),
                    p.steps_left,
                    p.owed.len(),
                    p.finishing,
                    p.closed_at
                )
            })
            .collect();
        format!("at {:?}: {}", self.now, sides.join("; "))
    }

    /// When anything happens next.
    fn next_time(&self) -> Option<Time> {
        let mut next: Option<Time> = None;
        let mut consider = |at: Time| next = Some(next.map_or(at, |n| n.min(at)));
        for (i, program) in self.programs.iter().enumerate() {
            if program.ended_at.is_some() {
                continue;
            }
            if program.side.connection.end().is_none() || program.side.connection.has_messages() {
                consider(program.wake);
            }
            if let Some(due) = program.side.connection.poll_timeout() {
                consider(due);
            }
            let link = &self.links[1 - i];
            if !program.read_end {
                match link.chunks.front() {
                    Some((at, _)) => consider((*at).max(program.reads_from)),
                    None if link.ended => consider(link.last_arrival.max(program.reads_from)),
                    None => {}
                }
            }
            // Room on the link, and something to write.
            let waits =
                program.side.output.remaining() > 0 || program.side.connection.wants_transmit();
            if waits && (self.links[i].ended || self.links[i].held < self.capacity) {
                consider(self.now);
            }
        }
        next
    }

    /// All that one side does at this time.
    fn turn(&mut self, i: usize) {
        if self.programs[i].ended_at.is_some() {
            return;
        }
        self.deliver(i);
        let now = self.now;
        let program = &mut self.programs[i];
        if program
            .side
            .connection
            .poll_timeout()
            .is_some_and(|due| due <= now)
        {
            program.side.connection.handle_timeout(now);
        }
        self.take_events(i);
        if self.programs[i].wake <= now {
            self.act(i);
        }
        self.transmit(i);
        self.take_events(i);
        self.check_limits(i);
        let program = &mut self.programs[i];
        let connection = &program.side.connection;
        if let Some((at, _)) = program.closed_at
            && connection.end().is_none()
        {
            let deadline = at.saturating_add(self.configs[i].close_timeout());
            assert!(now <= deadline, "closing takes longer than its deadline");
        }
        let flushed = connection.is_drained()
            && (program.side.output.remaining() == 0 || self.links[i].ended);
        if flushed && program.side.closed().is_some() {
            assert_eq!(connection.poll_timeout(), None, "a deadline after the end");
            program.ended_at = Some(now);
            // The stream is closed: the peer's bytes go nowhere, and its end comes.
            self.links[i].ended = true;
            let other = &mut self.links[1 - i];
            other.chunks.clear();
            other.held = 0;
            other.ended = true;
        }
    }

    /// What has arrived by now is read.
    fn deliver(&mut self, i: usize) {
        let now = self.now;
        let link = &mut self.links[1 - i];
        let program = &mut self.programs[i];
        if program.reads_from > now || program.read_end {
            return;
        }
        let mut came = false;
        while link.chunks.front().is_some_and(|(at, _)| *at <= now) {
            let (_, bytes) = link.chunks.pop_front().expect("looked at");
            link.held -= bytes.len();
            program.side.feed(now, &bytes);
            came = true;
        }
        if link.chunks.is_empty() && link.ended && link.last_arrival <= now {
            program.read_end = true;
            program.side.eof(now);
        } else if came && self.choices.percent(90) {
            // A driver need not say it: there is a timer, too.
            program.side.connection.handle_idle();
        }
        if came && self.choices.percent(4) {
            let pause = self.choices.below(40) as u64;
            program.reads_from = now.saturating_add(Duration::from_millis(pause));
        }
    }

    fn take_events(&mut self, i: usize) {
        let now = self.now;
        let reads = self.programs[i].takes_from <= now || self.programs[i].finishing;
        let mut got = Vec::new();
        if reads {
            // Sometimes not all at once.
            let most = if self.choices.percent(80) {
                usize::MAX
            } else {
                self.choices.below(3)
            };
            for _ in 0..most {
                let Some(message) = self.programs[i].side.connection.recv() else {
                    break;
                };
                got.push(message);
            }
        }
        for message in got {
            self.got(i, message);
        }
        if self.programs[i].side.connection.has_messages() {
            let program = &mut self.programs[i];
            program.wake = program
                .wake
                .min(now.saturating_add(Duration::from_millis(5)))
                .max(now);
        }
        while let Some(event) = self.programs[i].side.connection.poll_event() {
            if self.trace {
                println!("{:?} {:?} {event:?}", self.now, self.programs[i].role);
            }
            let program = &mut self.programs[i];
            match &event {
                Event::Outcome { id, outcome } => {
                    let sent = program
                        .sent
                        .iter_mut()
                        .find(|sent| sent.id == Some(*id))
                        .expect("an outcome of what was sent");
                    assert_eq!(sent.outcome, None, "a message has two outcomes");
                    sent.outcome = Some(outcome.clone());
                }
                Event::Pong { .. } => {
                    program.pongs += 1;
                    assert!(program.pongs <= program.pings);
                }
                _ => {}
            }
            program.side.events.push(event);
        }
    }

    fn got(&mut self, i: usize, message: Received) {
        if self.trace {
            println!(
                "{:?} {:?} got {} {:?} {}",
                self.now,
                self.programs[i].role,
                message.seq,
                message.ack,
                message.size()
            );
        }
        let tag = match (message.correlation, &message.topic) {
            (Some(correlation), _) => correlation,
            (None, Some(topic)) => topic.trim_matches('x').parse().expect("a tag as topic"),
            (None, None) => {
                let bytes = message.payload.first_chunk::<8>().expect("a tag in front");
                u64::from_be_bytes(*bytes)
            }
        };
        let other = &self.programs[1 - i];
        let sent = other
            .sent
            .iter()
            .find(|sent| sent.tag == tag)
            .expect("what was never sent");
        assert_eq!(message.ack, sent.ack);
        assert_eq!(message.size(), sent.size);
        match message.kind {
            Kind::Message => assert_eq!(
                message.payload[8..],
                payload(tag, message.payload.len())[8..]
            ),
            _ => assert_eq!(message.payload, payload(tag, message.payload.len())),
        }
        let ack = message.ack;
        let (seq, size) = (message.seq, message.size());
        let program = &mut self.programs[i];
        if let Some((last, previous)) = program.received.last() {
            assert!(previous.seq < message.seq, "numbers do not rise");
            assert!(*last < tag, "out of order, or twice");
        }
        assert!(program.closed_at.is_none(), "a message after close");
        program.received.push((tag, message));
        if ack == AckLevel::Processed {
            program.owed.push((seq, size));
            if self.choices.percent(60) {
                self.settle(i, seq);
            }
        } else {
            let refused = self.programs[i].side.connection.settle(seq, Ok(()));
            assert!(refused.is_err(), "a verdict where none is due");
        }
    }

    fn settle(&mut self, i: usize, seq: u64) {
        let verdict = match self.choices.below(4) {
            0 => Err(Rejection::new(
                256 + seq,
                "no".repeat(self.choices.below(140)),
            )),
            _ => Ok(()),
        };
        let program = &mut self.programs[i];
        let tag = program
            .received
            .iter()
            .find(|(_, m)| m.seq == seq)
            .expect("received")
            .0;
        program.owed.retain(|(owed, _)| *owed != seq);
        if program.side.connection.settle(seq, verdict.clone()).is_ok() {
            program.verdicts.insert(tag, verdict);
            let again = program.side.connection.settle(seq, Ok(()));
            assert!(again.is_err(), "a second verdict");
        } else {
            assert!(
                program.side.connection.end().is_some(),
                "a verdict that is due was refused"
            );
        }
    }

    /// The program does something.
    fn act(&mut self, i: usize) {
        let now = self.now;
        let pause = match self.choices.below(10) {
            0 => self.choices.below(200),
            1..=4 => 0,
            _ => self.choices.below(10),
        } as u64;
        // At least a little, so that time moves.
        self.programs[i].wake =
            now.saturating_add(Duration::from_millis(pause) + Duration::from_micros(10));
        if self.programs[i].side.connection.end().is_some() {
            return;
        }
        for _ in 0..self.programs[i].owed.len() {
            if self.choices.percent(40) || self.programs[i].finishing {
                let seq = self.programs[i].owed[0].0;
                self.settle(i, seq);
            }
        }
        if self.programs[i].steps_left == 0 {
            return self.last(i);
        }
        self.programs[i].steps_left -= 1;
        match self.choices.below(20) {
            0..=12 => {
                for _ in 0..self.choices.range(1, 4) {
                    self.send(i);
                }
            }
            13 if self.programs[i].cancels => {
                let from = self.programs[i].sent.len().saturating_sub(4);
                for at in from..self.programs[i].sent.len() {
                    let program = &mut self.programs[i];
                    let Some(id) = program.sent[at].id else {
                        continue;
                    };
                    if program.sent[at].outcome.is_some() {
                        assert!(
                            !program.side.connection.cancel(id),
                            "withdrew what has its outcome"
                        );
                    } else if program.side.connection.cancel(id) {
                        program.sent[at].cancelled = true;
                    }
                }
            }
            14 => {
                let most = self.choices.below(300) as u64;
                self.programs[i].takes_from = now.saturating_add(Duration::from_millis(most));
            }
            15 => {
                self.programs[i].pings += 1;
                self.programs[i].side.connection.ping();
            }
            16 => self.programs[i].side.connection.handle_idle(),
            17 => {
                // A permit, used or given back.
                let size = self.choices.below(self.configs[i].max_message() + 1);
                let program = &mut self.programs[i];
                if program.side.connection.reserve(size).is_ok() {
                    if self.choices.percent(50) {
                        self.send_sized(i, size, true);
                    } else {
                        self.programs[i].side.connection.unreserve(size);
                    }
                }
            }
            _ => {}
        }
    }

    fn last(&mut self, i: usize) {
        let now = self.now;
        let program = &mut self.programs[i];
        if program.finishing {
            return;
        }
        program.finishing = true;
        match program.last {
            Last::Finish => program.side.connection.finish(now),
            Last::Close => {
                program.closed_at = Some((now, program.side.connection.stats().waiting));
                program
                    .side
                    .connection
                    .close(now, Close::new(300 + i as u64, "enough"));
            }
            Last::Abandon => {
                program.closed_at = Some((now, program.side.connection.stats().waiting));
                program.side.connection.abandon(now);
            }
        }
    }

    fn send(&mut self, i: usize) {
        let max = self.configs[i].max_message();
        let size = match self.choices.below(12) {
            0 => 0,
            1 => max,
            2 => max + 1,
            3..=6 => self.choices.below(max + 1),
            _ => self.choices.below(max.min(300) + 1),
        };
        self.send_sized(i, size, false);
    }

    fn send_sized(&mut self, i: usize, size: usize, reserved: bool) {
        let tag = self.next_tag;
        let ack = self.choices.pick(&[
            AckLevel::None,
            AckLevel::Received,
            AckLevel::Processed,
            AckLevel::Processed,
        ]);
        let topic = format!("{tag}{}", "x".repeat(self.choices.below(4)));
        let room = size.saturating_sub(topic.len());
        let message = match self.choices.below(6) {
            0 if size >= topic.len() => Message::event(topic, payload(tag, room)),
            1 if size >= topic.len() => {
                let kind = self.choices.pick(&[Kind::Subscribe, Kind::Unsubscribe]);
                Message::subscription(kind, tag, topic)
            }
            2 | 3 if size >= 8 => {
                let mut bytes = payload(tag, size).to_vec();
                bytes[..8].copy_from_slice(&tag.to_be_bytes());
                Ok(Message::new(bytes))
            }
            _ => {
                let kind = self
                    .choices
                    .pick(&[Kind::Request, Kind::Reply, Kind::Error]);
                Message::correlated(kind, tag, payload(tag, size))
            }
        };
        let mut message = message.expect("valid").with_ack(ack);
        let actual = message.size();
        let short = self.programs[i].short_deadlines && self.choices.percent(30);
        if short {
            message = message.with_deadline(Duration::from_millis(self.choices.below(50) as u64));
        }
        let tracked = reserved || self.choices.percent(85);
        let own_max = self.configs[i].max_message();
        let peer_max = self.configs[1 - i].max_message();
        let program = &mut self.programs[i];
        let open = program.side.connection.is_open();
        let result = if reserved {
            program
                .side
                .connection
                .send_reserved(self.now, message, size)
                .map(Some)
        } else if tracked {
            program.side.connection.send(self.now, message).map(Some)
        } else {
            program
                .side
                .connection
                .send_untracked(self.now, message)
                .map(|()| None)
        };
        match result {
            Ok(id) => {
                assert!(actual <= own_max, "took what is too large");
                self.next_tag += 1;
                program.sent.push(Sent {
                    tag,
                    id,
                    ack,
                    size: actual,
                    outcome: None,
                    cancelled: false,
                    short,
                });
            }
            Err(error) => match error.reason {
                SendErrorReason::TooLarge { .. } => {
                    assert!(actual > own_max || open && actual > peer_max);
                }
                SendErrorReason::Full => assert!(!reserved, "a permit found no room"),
                SendErrorReason::Closed(_) => assert!(program.side.connection.end().is_some()),
                other => panic!("refused: {other}"),
            },
        }
    }

    /// Writes as much as the link takes, in pieces.
    fn transmit(&mut self, i: usize) {
        let now = self.now;
        let program = &mut self.programs[i];
        while program
            .side
            .connection
            .poll_transmit(now, &mut program.side.output)
        {
            let link = &mut self.links[i];
            if link.ended {
                // A broken pipe. What came before it is still read.
                let n = program.side.output.remaining();
                program.side.output.advance(n);
                continue;
            }
            let room = self.capacity.saturating_sub(link.held);
            if room == 0 {
                break;
            }
            let most = room
                .min(self.max_chunk)
                .min(program.side.output.chunk().len());
            let mut n = self.choices.range(1, most);
            if let Some((_, after)) = self.cut.filter(|(side, _)| *side == i) {
                n = n.min((after - link.sent.min(after)) as usize);
            }
            let bytes = program.side.output.chunk()[..n].to_vec();
            program.side.output.advance(n);
            link.sent += n as u64;
            let delay = self.choices.below(self.max_delay_us + 1) as u64;
            let at = now
                .saturating_add(Duration::from_micros(delay))
                .max(link.last_arrival);
            link.last_arrival = at;
            if n > 0 {
                link.held += n;
                link.chunks.push_back((at, bytes));
            }
            if self
                .cut
                .is_some_and(|(side, after)| side == i && link.sent >= after)
            {
                self.was_cut = true;
                self.links[0].ended = true;
                self.links[1].ended = true;
            }
            if self.choices.percent(5) {
                // Busy elsewhere: it comes back later.
                break;
            }
        }
    }

    /// Never above what the configurations allow.
    fn check_limits(&self, i: usize) {
        let program = &self.programs[i];
        let limits = self.limits[i];
        let stats = program.side.connection.stats();
        assert!(
            stats.queued <= limits.queue_messages,
            "the send queue is over its limit"
        );
        let owed: usize = program.owed.iter().map(|(_, size)| size).sum();
        assert!(
            stats.waiting + program.owed.len() <= limits.window_messages,
            "the window is over its messages"
        );
        assert!(owed <= limits.window_bytes, "the window is over its bytes");
    }

    fn check(&self) {
        for i in [0, 1] {
            self.check_end(i);
            self.check_messages(i);
        }
    }

    fn check_end(&self, i: usize) {
        let (own, other) = (&self.programs[i], &self.programs[1 - i]);
        let end = own.side.closed().expect("the last event");
        let quiet = own.closed_at.is_none() && other.closed_at.is_none();
        match end {
            ConnectionError::Finished => {
                assert!(
                    own.finishing && other.finishing,
                    "finished, but not by both"
                );
            }
            ConnectionError::ClosedLocally(_) => {
                assert!(
                    !quiet || self.was_cut,
                    "{i} closed locally, but nobody asked for it: {}",
                    self.describe()
                );
            }
            ConnectionError::ClosedByPeer(_) => assert!(!quiet, "closed by nobody"),
            ConnectionError::Lost(lost) => {
                // A peer that closes before it is open has no goodbye to say.
                let unopened = other.closed_at.is_some()
                    && matches!(lost, Lost::Silent | Lost::Preface | Lost::Handshake);
                // One whose close timed out has none either.
                let timed_out = other.closed_at.is_some();
                assert!(self.was_cut || unopened || timed_out, "{i} lost: {lost}");
            }
            other => panic!("side {i} ended with a fault between two honest sides: {other}"),
        }
        if quiet && !self.was_cut {
            assert_eq!(*end, ConnectionError::Finished);
        }
        if let ConnectionError::ClosedByPeer(close) = end
            && other.last == Last::Close
            && other.closed_at.is_some()
            && own.closed_at.is_none()
        {
            assert_eq!(close.reason, "enough");
        }
    }

    fn check_messages(&self, i: usize) {
        let (own, other) = (&self.programs[i], &self.programs[1 - i]);
        let received: BTreeMap<u64, &Received> =
            other.received.iter().map(|(tag, m)| (*tag, m)).collect();
        let last = other.received.last().map_or(0, |(tag, _)| *tag);
        let peer_max = self.configs[1 - i].max_message();
        // What was in the peer's queue when its program closed: the next so many.
        let dropped = other.closed_at.map_or(0, |(_, waiting)| waiting);
        let dropped: Vec<u64> = own
            .sent
            .iter()
            .filter(|sent| {
                sent.tag > last && sent.outcome != Some(Outcome::NotSent) && sent.size <= peer_max
            })
            .filter(|sent| sent.id.is_some() || !sent.cancelled)
            .map(|sent| sent.tag)
            .take(dropped)
            .collect();
        let clean = !self.was_cut && own.closed_at.is_none() && other.closed_at.is_none();
        for sent in &own.sent {
            let here = received.contains_key(&sent.tag);
            let what = || format!("message {} of side {i}: {:?}", sent.tag, sent.outcome);
            let Some(_) = sent.id else {
                assert_eq!(sent.outcome, None);
                let missing = !here && sent.size <= peer_max;
                assert!(!missing || !clean && sent.tag > last, "lost: {}", what());
                continue;
            };
            let outcome = sent
                .outcome
                .as_ref()
                .unwrap_or_else(|| panic!("no outcome: {}", what()));
            match (outcome, sent.ack) {
                (Outcome::Sent, AckLevel::None) => {
                    assert!(here || !clean, "{}", what());
                }
                (Outcome::Received, AckLevel::Received) => {
                    assert!(
                        here || dropped.contains(&sent.tag),
                        "never in the queue: {}",
                        what()
                    );
                }
                (Outcome::Processed, AckLevel::Processed) => {
                    assert_eq!(other.verdicts.get(&sent.tag), Some(&Ok(())), "{}", what());
                }
                (Outcome::Rejected(rejection), AckLevel::Processed) => {
                    assert_eq!(
                        other.verdicts.get(&sent.tag),
                        Some(&Err(rejection.clone())),
                        "{}",
                        what()
                    );
                }
                (Outcome::NotSent, _) => {
                    assert!(!here, "was delivered: {}", what());
                    let why = sent.cancelled || sent.short || sent.size > peer_max;
                    assert!(why || !clean, "without a reason: {}", what());
                }
                (Outcome::Unknown, _) => {
                    assert!(sent.short || !clean, "without a reason: {}", what())
                }
                _ => panic!("not an outcome of this level: {}", what()),
            }
            assert!(
                !sent.cancelled || *outcome == Outcome::NotSent,
                "withdrawn: {}",
                what()
            );
            if sent.tag < last && !here {
                assert_eq!(*outcome, Outcome::NotSent, "a gap: {}", what());
            }
        }
    }
}
