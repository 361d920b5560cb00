//! Two connections over a link with virtual time that delays, splits, stalls
//! and cuts, and two programs drawn at random. Everything that must hold is
//! checked while it runs and at the end.

mod check;
mod program;
mod resume;

use super::{Rng, Side, builder, millis};
use bytes::{Buf, Bytes};
use core::time::Duration;
use sealpipe_core::{
    AckLevel, Config, ConnectionError, MessageId, Outcome, Received, Rejection, Role, Time,
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
    /// Taken back, and surely never delivered.
    cancelled: bool,
    /// Taken back, perhaps too late.
    unwanted: bool,
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
    /// The responder's end of a further stream, until the connection goes on over
    /// it.
    fresh: Option<Side>,
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
    /// Streams that are lost are followed by others.
    resuming: Option<resume::Resuming>,
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
    /// How often a session went on over another stream.
    pub resumed: usize,
}

impl Sim {
    /// Draws configurations, link and programs.
    pub fn new(choices: Choices, sealed: bool) -> Sim {
        Sim::drawn(choices, sealed, false)
    }

    /// The same, with a stream that is cut again and again, and resumption.
    pub fn resuming(choices: Choices, sealed: bool) -> Sim {
        let mut sim = Sim::drawn(choices, sealed, true);
        sim.draw_cuts();
        sim
    }

    fn drawn(mut choices: Choices, sealed: bool, resumption: bool) -> Sim {
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
                .resumption(resumption)
                .resume_timeout(Duration::from_secs(60))
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
            fresh: None,
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
            resuming: None,
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
            self.reconnect();
            for i in [0, 1] {
                self.turn(i);
            }
        }
        self.check();
        Report {
            resumed: self.resuming.as_ref().map_or(0, |r| r.resumed),
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
            if program.fresh.as_ref().is_some_and(|fresh| {
                fresh.output.remaining() > 0 || fresh.connection.wants_transmit()
            }) && self.links[i].held < self.capacity
            {
                consider(self.now);
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
        if let Some(at) = self.reconnects_at() {
            consider(at);
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
            program.read(now, &bytes, &mut self.resuming);
            came = true;
        }
        if link.chunks.is_empty() && link.ended && link.last_arrival <= now {
            program.read_end = true;
            program.eof(now);
        } else if came && self.choices.percent(90) {
            // A driver need not say it: there is a timer, too.
            program.side.connection.handle_idle();
        }
        if came && self.choices.percent(4) {
            let pause = self.choices.below(40) as u64;
            program.reads_from = now.saturating_add(Duration::from_millis(pause));
        }
    }

    /// Writes as much as the link takes, in pieces.
    fn transmit(&mut self, i: usize) {
        let now = self.now;
        let program = &mut self.programs[i];
        let Side {
            connection, output, ..
        } = program.fresh.as_mut().unwrap_or(&mut program.side);
        while connection.poll_transmit(now, output) {
            let link = &mut self.links[i];
            if link.ended {
                // A broken pipe. What came before it is still read.
                let n = output.remaining();
                output.advance(n);
                continue;
            }
            let room = self.capacity.saturating_sub(link.held);
            if room == 0 {
                break;
            }
            let most = room.min(self.max_chunk).min(output.chunk().len());
            let mut n = self.choices.range(1, most);
            if let Some((_, after)) = self.cut.filter(|(side, _)| *side == i) {
                n = n.min((after - link.sent.min(after)) as usize);
            }
            let bytes = output.chunk()[..n].to_vec();
            output.advance(n);
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
                if self.resuming.is_some() {
                    resume::lose(&mut self.choices, &mut self.links);
                }
            }
            if self.choices.percent(5) {
                // Busy elsewhere: it comes back later.
                break;
            }
        }
    }
}
