//! The protocol as a state machine.

mod budget;
mod ending;
mod foreign;
mod inbound;
pub(crate) mod inbox;
mod input;
mod made;
mod outbound;
mod receiving;
mod resume;
mod sending;
mod setup;
mod timers;
mod transmit;

use crate::{
    buffer::{RecvBuf, SendBuf},
    config::Config,
    crypto::{Opener, Sealer},
    error::{Asked, ConnectionError, Violation, WireError},
    event::{Event, Opened},
    key::KeyId,
    queue::Queue,
    stats::Stats,
    time::Time,
};
use alloc::{boxed::Box, sync::Arc};
use budget::{Idle, Pings};
use core::fmt;
use ending::Farewell;
use foreign::Foreign;
use inbound::Inbound;
use made::Made;
use outbound::{Finish, Outbound};
use rand_core::TryCryptoRng;
use resume::Resume;
pub use resume::ResumePoint;
use setup::Setup;
use timers::{Timer, Timers};

/// Which side opened the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// This side did: a client.
    Initiator,
    /// The other side did: a listener.
    Responder,
}

/// Where a connection stands (PROTOCOL.md, section 8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Preface,
    Handshake,
    /// The peer has asked to resume; the driver is to answer.
    Asked,
    Confirm,
    /// What was asked for is confirmed; the suspended connection goes on with it.
    Ready,
    Open,
    /// The stream was lost, the session was not.
    Suspended,
    Closing,
    Closed,
}

/// One side of a connection: the whole protocol, and nothing that touches the
/// world.
///
/// # The four kinds of method
///
/// Any order of calls is safe. The natural one, whenever something has happened:
///
/// 1. **What happened** goes in: [`handle_input`](Self::handle_input) after bytes
///    were read, [`handle_idle`](Self::handle_idle) when there are no more to be
///    read for now, [`handle_eof`](Self::handle_eof) when there never will be,
///    [`handle_timeout`](Self::handle_timeout) when the time that
///    [`poll_timeout`](Self::poll_timeout) named has come.
/// 2. **What the program wants**: [`send`](Self::send), [`settle`](Self::settle),
///    [`finish`](Self::finish), [`close`](Self::close), …
/// 3. **What there is to know** comes out: [`recv`](Self::recv) yields messages,
///    [`poll_event`](Self::poll_event) everything else; until both yield `None`.
/// 4. **What there is to do**: [`poll_transmit`](Self::poll_transmit) fills the
///    output buffer; write it, and call again until it returns `false`; then
///    [`poll_timeout`](Self::poll_timeout) says when to come back at the latest.
///
/// When [`is_drained`](Self::is_drained) and the output buffer is empty, close
/// the stream; at the latest some time after the [`end`](Self::end), such as the
/// close timeout, or a peer that does not read could keep it. The crate's [first
/// page](crate) is such a loop, whole.
///
/// # Streams that are lost
///
/// With [`ConfigBuilder::resumption`](crate::ConfigBuilder::resumption), a stream
/// that ends without a goodbye does not end the connection: it is
/// [suspended](Self::is_suspended), takes messages, and goes on over another
/// stream. Buffers belong to a stream: drop the old ones with it. The initiator
/// calls [`resume`](Self::resume) and drives the same connection over the new
/// stream. The responder makes a new connection for the new stream, as for any;
/// [`Event::ResumeAsked`] tells which session is meant, its
/// [`resume_point`](Self::resume_point) goes into
/// [`answer_resume`](Self::answer_resume), and after [`Event::ResumeReady`] the
/// suspended connection [`adopt`](Self::adopt)s the new one, with its buffers.
///
/// # Other wires
///
/// With [`ConfigBuilder::wire`](crate::ConfigBuilder::wire) a driver has two things more
/// to heed: while its input buffer [is held](RecvBuf::is_held) it reads nothing, and
/// where [`wants_shutdown`](Self::wants_shutdown) it ends the sending direction of the
/// stream. When a write has failed and the stream has ended too, it calls
/// [`handle_broken`](Self::handle_broken).
///
/// # Ends
///
/// There is exactly one [`Event::Closed`], the last event, on a local close too.
/// Every tracked message has had its one [`Event::Outcome`] before it. After it,
/// every operation returns the same error.
pub struct Connection {
    config: Arc<Config>,
    role: Role,
    phase: Phase,
    now: Time,
    setup: Option<Box<Setup>>,
    /// Sealed mode, once the handshake has brought them.
    keys: Option<Box<Keys>>,
    inbound: Inbound,
    outbound: Outbound,
    events: Queue<Event>,
    timers: Timers,
    budget: Idle,
    ping_budget: Pings,
    /// Bytes that are made, and wait for the output buffer: the handshake's; later, in
    /// plain mode, small messages.
    raw: Made,
    /// The initiator owes the responder a first record.
    pad_due: bool,
    /// The handshake was completed: frames can be written.
    was_open: bool,
    /// The driver said that it has read all there is for now.
    input_idle: bool,
    /// The PING that waits for its answer.
    ping: Option<Ping>,
    /// The number of the last one.
    last_ping: u64,
    pong: Option<[u8; 8]>,
    farewell: Farewell,
    end: Option<Box<ConnectionError>>,
    end_told: bool,
    all_arrived: bool,
    /// The output buffer held something when it was last seen.
    unwritten: bool,
    /// There was nothing to add to it then, and nothing has happened since.
    quiet: bool,
    /// The session can be resumed.
    resume: Option<Box<Resume>>,
    /// The wire is not sealpipe's own.
    foreign: Option<Box<Foreign>>,
}

/// The two directions' keys.
struct Keys {
    sealer: Sealer,
    /// Until the end.
    opener: Option<Opener>,
    /// Of the key that both sides hold.
    id: KeyId,
}

/// A PING of this side's.
#[derive(Debug, Clone, Copy)]
struct Ping {
    /// [`Time::NEVER`] until it goes out.
    sent: Time,
    /// Asked for by the program, which is told the answer.
    wanted: bool,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("role", &self.role)
            .field("mode", &self.config.mode())
            .field("phase", &self.phase)
            .field("end", &self.end)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// A connection on a stream that was just opened.
    ///
    /// All the randomness it will ever need is drawn from `rng` here: 32 bytes
    /// for its ephemeral key, then 16 for the session's id; on
    /// [`Wire::LegacySealed`](crate::Wire::LegacySealed) another 12, and a generator
    /// that repeats itself would give its messages away.
    ///
    /// # Errors
    /// [`ConnectionError::Internal`] if the generator fails.
    pub fn new(
        config: Arc<Config>,
        role: Role,
        rng: &mut impl TryCryptoRng,
        now: Time,
    ) -> Result<Connection, ConnectionError> {
        let setup = Setup::new(rng)?;
        let foreign = Foreign::new(&config, rng)?;
        let mut timers = Timers::new();
        timers.set(
            Timer::Handshake,
            now.saturating_add(config.handshake_timeout),
        );
        let mut connection = Connection {
            inbound: Inbound::new(&config),
            outbound: Outbound::new(),
            config,
            role,
            phase: Phase::Preface,
            now,
            setup: Some(Box::new(setup)),
            keys: None,
            events: Queue::new(),
            timers,
            budget: Idle::new(now),
            ping_budget: Pings::new(now),
            raw: Made::new(),
            pad_due: false,
            was_open: false,
            input_idle: false,
            ping: None,
            last_ping: u64::MAX,
            pong: None,
            farewell: Farewell::None,
            end: None,
            end_told: false,
            all_arrived: false,
            unwritten: false,
            quiet: false,
            resume: None,
            foreign,
        };
        if connection.foreign.is_some() {
            connection.open_foreign();
        } else {
            connection.start_setup()?;
        }
        Ok(connection)
    }

    // --- 1. What happened ---------------------------------------------------

    /// Takes in what was read into `input`. Where that [is held](RecvBuf::is_held)
    /// afterwards, read nothing, and hand it in again when messages were taken.
    ///
    /// # Errors
    /// Why the connection has ended, now or before. What came before the end can
    /// still be received.
    pub fn handle_input(&mut self, now: Time, input: &mut RecvBuf) -> Result<(), ConnectionError> {
        self.advance(now);
        self.input_idle = false;
        if self.was_open {
            // A stranger gets no more room than its first read.
            input.note_read();
        }
        if self.end.is_none() {
            self.heard();
            self.take_input(input);
            self.check_finished();
            // It is asked several times before anything changes: the answer is kept.
            self.quiet = !self.output_due();
        }
        match &self.end {
            None => Ok(()),
            Some(error) => {
                input.clear();
                Err(ConnectionError::clone(error))
            }
        }
    }

    /// There is nothing more to read for now: what was read is acknowledged
    /// without waiting for more.
    #[inline]
    pub fn handle_idle(&mut self) {
        self.input_idle = true;
        if self.inbound.has_unacked() {
            self.quiet = false;
        }
    }

    /// The stream has ended, or failed: nothing can be read from it any more.
    /// What could not be written any more does not matter either, but on another
    /// [wire](crate::Wire), where a peer may end its own direction alone: this side can
    /// still send then, until [`handle_broken`](Self::handle_broken).
    pub fn handle_eof(&mut self, now: Time, input: &RecvBuf) {
        self.advance(now);
        self.on_eof(input);
    }

    /// A time that [`poll_timeout`](Self::poll_timeout) named has come, or may
    /// have come.
    ///
    /// When it comes late, since this side was held up (its process was stopped, its
    /// machine is busy), what the peer sent in time may still wait to be read: a deadline
    /// of the peer's (for the handshake, a record, a message, silence) that passed at least
    /// 50 ms ago is put off once, to a second from now.
    pub fn handle_timeout(&mut self, now: Time) {
        self.advance(now);
        self.timers.give_grace(self.now);
        while let Some(timer) = self.timers.take_due(self.now) {
            self.on_timer(timer);
        }
    }

    // --- 2. What the program wants --------------------------------------------
    // The rest of it is in sending.rs and receiving.rs.

    /// Sends a PING; [`Event::Pong`] tells the round trip. One at a time: a
    /// second call before the answer joins the first. After the first 512 they go
    /// out at most 50 times a second, so that the peer does not see a flood.
    ///
    /// # Errors
    /// [`WireError`] on another [wire](crate::Wire), where nobody would answer.
    pub fn ping(&mut self) -> Result<(), WireError> {
        if let Some(foreign) = &self.foreign {
            return Err(foreign.cannot(Asked::Ping));
        }
        self.start_ping(true);
        Ok(())
    }

    // --- 3. What there is to know ----------------------------------------------

    /// The next event.
    #[inline]
    pub fn poll_event(&mut self) -> Option<Event> {
        if let Some(event) = self.events.pop_front() {
            return Some(event);
        }
        match &self.end {
            Some(error) if !self.end_told && self.inbound.waiting() == 0 => {
                self.end_told = true;
                Some(Event::Closed(ConnectionError::clone(error)))
            }
            _ => None,
        }
    }

    /// Whether [`poll_event`](Self::poll_event) would yield an event now.
    #[inline]
    pub(crate) fn has_events(&self) -> bool {
        !self.events.is_empty() || (self.end.is_some() && !self.end_told)
    }

    /// Whether [`recv`](Self::recv) would yield a message.
    #[inline]
    pub fn has_messages(&self) -> bool {
        !self.inbound.is_empty()
    }

    /// Whether the peer has said that it will send no more messages. Those that
    /// came can still be received.
    #[inline]
    pub fn peer_finished(&self) -> bool {
        self.inbound.finished
    }

    /// Whether the handshake is done and neither side has begun to close. On another
    /// [wire](crate::Wire) a peer that sends no more has probably closed.
    pub fn is_open(&self) -> bool {
        self.phase == Phase::Open && (self.foreign.is_none() || !self.inbound.finished)
    }

    /// Why the connection has ended, once it has; known at once, before
    /// [`Event::Closed`] comes.
    #[inline]
    pub fn end(&self) -> Option<&ConnectionError> {
        self.end.as_deref()
    }

    /// After the end: whether every message that was sent had arrived, and had
    /// the outcome that it asked for.
    pub fn all_arrived(&self) -> bool {
        self.all_arrived
    }

    /// The configuration it was made with.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// How many bytes of messages wait to be sent.
    #[inline]
    pub fn queued_bytes(&self) -> usize {
        self.outbound.queued_bytes()
    }

    /// The latest time that it has been told.
    #[inline]
    pub fn now(&self) -> Time {
        self.now
    }

    /// Counters and gauges.
    pub fn stats(&self) -> Stats {
        self.inbound.stats(self.outbound.stats())
    }

    // --- 4. What there is to do -------------------------------------------------

    /// Puts what is to be written into `output`. Returns whether there is
    /// anything in it. After each write call it again: that is also how the
    /// connection learns what has been written.
    pub fn poll_transmit(&mut self, now: Time, output: &mut SendBuf) -> bool {
        self.now = self.now.max(now);
        self.fill(output)
    }

    /// Whether [`poll_transmit`](Self::poll_transmit) would add something.
    #[inline]
    pub fn wants_transmit(&self) -> bool {
        self.output_due()
    }

    /// Whether an ACK is to go out before long, if not now.
    #[inline]
    pub(crate) fn owes_ack(&self) -> bool {
        self.inbound.has_unacked()
    }

    /// When [`handle_timeout`](Self::handle_timeout) must be called at the
    /// latest. May be early, and changes with every other call.
    #[inline]
    pub fn poll_timeout(&self) -> Option<Time> {
        self.timers.next()
    }

    /// Gives back memory that holds nothing. For when the connection is idle.
    pub fn release(&mut self) {
        self.raw.release();
        self.inbound.release();
        self.outbound.release();
        self.events.release();
        self.timers.release();
    }

    /// Whether the connection has ended and has nothing more to write: once the
    /// output buffer is empty too, the stream is to be closed.
    pub fn is_drained(&self) -> bool {
        self.end.is_some() && !self.output_due()
    }

    // --- Time ------------------------------------------------------------------

    /// It is this time, and nothing has happened.
    pub(crate) fn note_time(&mut self, now: Time) {
        self.now = self.now.max(now);
    }

    /// Something happens at this time.
    #[inline]
    fn advance(&mut self, now: Time) {
        self.now = self.now.max(now);
        self.quiet = false;
    }

    /// Something came from the peer.
    fn heard(&mut self) {
        if self.phase == Phase::Open {
            self.arm_keepalive();
        }
    }

    fn arm_keepalive(&mut self) {
        let now = self.now;
        let at = |after: Option<_>| after.map_or(Time::NEVER, |after| now.saturating_add(after));
        self.timers.set(Timer::Keepalive, at(self.config.keepalive));
        self.timers
            .set(Timer::Silence, at(self.config.silence_timeout));
    }

    fn start_ping(&mut self, wanted: bool) {
        self.quiet = false;
        match &mut self.ping {
            Some(ping) => ping.wanted |= wanted,
            None => {
                self.ping = Some(Ping {
                    sent: Time::NEVER,
                    wanted,
                });
                self.last_ping = self.last_ping.wrapping_add(1);
            }
        }
    }

    fn opened(&mut self, opened: Opened) {
        let asked = self.is_resuming();
        if self.role == Role::Initiator && opened.peer.resume && !asked {
            return self.fail(ConnectionError::Violation(Violation::Resume));
        }
        self.phase = Phase::Open;
        self.was_open = true;
        self.timers.clear(Timer::Handshake);
        self.setup = None;
        self.arm_keepalive();
        if asked {
            return self.reopened(opened);
        }
        self.outbound.open(&opened.peer);
        if self.role == Role::Responder && opened.peer.resume {
            // The session that it means is not known: the numbers still follow it.
            self.outbound.start_at(opened.peer.next);
        }
        self.keep_for_resumption(&opened.peer);
        self.events.push_back(Event::Open(opened));
    }
}
