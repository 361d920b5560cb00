//! The protocol as a state machine.

mod budget;
mod ending;
mod foreign;
mod inbound;
pub(crate) mod inbox;
mod input;
mod outbound;
mod resume;
mod setup;
mod timers;
mod transmit;

use crate::{
    buffer::{RecvBuf, SendBuf},
    config::Config,
    crypto::{Opener, Sealer},
    error::{
        Asked, ConnectionError, SendError, SendErrorReason, SettleError, Violation, WireError,
    },
    event::{Event, MessageId, Opened},
    key::KeyId,
    message::{Message, Received, Rejection},
    queue::Queue,
    stats::Stats,
    time::Time,
};
use alloc::{boxed::Box, sync::Arc};
use budget::{Idle, Pings};
use bytes::BytesMut;
use core::fmt;
use ending::Farewell;
use foreign::Foreign;
use inbound::Inbound;
use inbox::Lane;
use outbound::{Finish, Outbound};
use rand_core::TryCryptoRng;
use resume::Resume;
pub use resume::ResumePoint;
use setup::Setup;
use timers::{Timer, Timers};

/// So much is written at once, then messages wait in the queue.
const AT_ONCE: usize = 64 << 10;

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
    raw: BytesMut,
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
            raw: BytesMut::new(),
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
    pub fn handle_timeout(&mut self, now: Time) {
        self.advance(now);
        while let Some(timer) = self.timers.take_due(self.now) {
            self.on_timer(timer);
        }
    }

    // --- 2. What the program wants --------------------------------------------

    /// Queues a message and tracks it: its outcome comes as [`Event::Outcome`].
    ///
    /// # Errors
    /// [`SendError`], with the message in it, if it is too large, the queue is
    /// full, or the connection has ended or was finished.
    pub fn send(&mut self, now: Time, message: Message) -> Result<MessageId, SendError> {
        let reserved = None;
        self.queue(now, message, true, reserved)
            .map(|id| id.unwrap_or(MessageId(core::num::NonZeroU64::MIN)))
    }

    /// Queues a message whose outcome is only counted in [`Stats`].
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_untracked(&mut self, now: Time, message: Message) -> Result<(), SendError> {
        self.queue(now, message, false, None).map(|_| ())
    }

    /// As [`send_untracked`](Self::send_untracked), and cannot find the queue full:
    /// the program was told that there was room for this one.
    #[inline]
    pub(crate) fn send_promised(&mut self, message: Message) -> Result<(), SendError> {
        // It has no deadline: the time does not matter.
        self.queue(self.now, message, false, Some(usize::MAX))
            .map(|_| ())
    }

    /// Keeps room for one message of up to `size` bytes until
    /// [`send_reserved`](Self::send_reserved) or [`unreserve`](Self::unreserve).
    ///
    /// # Errors
    /// Why there is none.
    pub fn reserve(&mut self, size: usize) -> Result<(), SendErrorReason> {
        self.check_send(size, None, true)?;
        self.outbound.reserve(size);
        Ok(())
    }

    /// Gives back what [`reserve`](Self::reserve) kept.
    pub fn unreserve(&mut self, size: usize) {
        self.outbound.unreserve(size);
    }

    /// Queues a message into the room that `reserve(size)` kept; cannot find the
    /// queue full. The room is given back whatever becomes of it.
    ///
    /// # Errors
    /// [`SendError`] if the message is above `size`, or the connection has ended.
    pub fn send_reserved(
        &mut self,
        now: Time,
        message: Message,
        size: usize,
    ) -> Result<MessageId, SendError> {
        self.outbound.unreserve(size);
        self.queue(now, message, true, Some(size))
            .map(|id| id.unwrap_or(MessageId(core::num::NonZeroU64::MIN)))
    }

    #[inline(always)]
    fn queue(
        &mut self,
        now: Time,
        mut message: Message,
        tracked: bool,
        reserved: Option<usize>,
    ) -> Result<Option<MessageId>, SendError> {
        self.advance(now);
        if let Some(foreign) = &self.foreign
            && let Err(error) = foreign.check(&message)
        {
            let reason = SendErrorReason::Wire(error);
            return Err(SendError { message, reason });
        }
        let stays = self.outbound.will_track(&message, tracked);
        if let Err(reason) = self.check_send(message.size(), reserved, stays) {
            return Err(SendError { message, reason });
        }
        // Nobody waits for an untracked message: it has no deadline.
        if tracked {
            message.deadline = self.deadline_of(self.now, &message);
            self.timers.set_earlier(Timer::Send, message.deadline);
        } else {
            message.deadline = Time::NEVER;
            if self.writes_at_once() && self.outbound.write_one(&message, &mut self.raw) {
                self.unwritten = true;
                return Ok(None);
            }
        }
        Ok(self.outbound.push(message, tracked))
    }

    /// Whether a message whose outcome nobody asks for need not wait in the queue for
    /// the next call of [`poll_transmit`](Self::poll_transmit).
    #[inline(always)]
    fn writes_at_once(&self) -> bool {
        self.phase == Phase::Open
            && self.keys.is_none()
            && self.foreign.is_none()
            && (self.raw.is_empty() || self.outbound.wrote_at_once())
            && self.raw.len() < AT_ONCE
    }

    /// When a message that is queued at `now` must have its outcome.
    #[inline]
    pub(crate) fn deadline_of(&self, now: Time, message: &Message) -> Time {
        let timeout = match message.deadline {
            Time::NEVER => self.config.send_timeout,
            own => own.saturating_since(Time::ZERO),
        };
        now.saturating_add(timeout)
    }

    /// Names the next tracked message.
    pub(crate) fn next_id(&self) -> MessageId {
        self.outbound.next_id()
    }

    #[inline(always)]
    fn check_send(
        &self,
        size: usize,
        reserved: Option<usize>,
        stays: bool,
    ) -> Result<(), SendErrorReason> {
        let closing = self.phase == Phase::Closing || self.phase == Phase::Closed;
        if closing || self.outbound.finish != Finish::No || self.farewell.is_said() {
            return Err(self.why_not_send());
        }
        let own = self.config.max_message.min(reserved.unwrap_or(usize::MAX));
        let peer = self.outbound.peer_max();
        if size > own.min(peer) {
            return Err(SendErrorReason::TooLarge {
                size,
                max: own.min(peer),
                by_peer: peer < own,
            });
        }
        // What leaves nothing behind need not wait for what does: a reply must get
        // past requests. Events that the driver has not taken count, or one that
        // never asks would let them pile up.
        let others = match stays {
            true => self.outbound.in_flight().saturating_add(self.events.len()),
            false => 0,
        };
        if reserved.is_none() && !self.outbound.has_room(&self.config, others) {
            return Err(SendErrorReason::Full);
        }
        Ok(())
    }

    /// Whether the queue is not full.
    #[inline(always)]
    pub(crate) fn has_room(&self) -> bool {
        let others = self.outbound.in_flight().saturating_add(self.events.len());
        self.outbound.has_room(&self.config, others)
    }

    /// The connection is closing, or was finished.
    #[cold]
    fn why_not_send(&self) -> SendErrorReason {
        // Where the program has finished, the goodbye is the connection's own.
        let announced = || match self.outbound.finish {
            Finish::No => self.farewell.announced(),
            _ => None,
        };
        let closing = self.phase == Phase::Closing || self.phase == Phase::Closed;
        let end = self.end.as_deref().cloned().or_else(announced);
        let end = end.filter(|_| closing);
        end.map_or(SendErrorReason::Finished, SendErrorReason::Closed)
    }

    /// Whether any message could be queued now. One that leaves nothing behind,
    /// untracked and below level *processed*, is also taken while only those under
    /// way fill the queue: else answers would wait for what waits for them.
    ///
    /// # Errors
    /// Why not.
    #[inline]
    pub fn check_room(&self) -> Result<(), SendErrorReason> {
        self.check_send(0, None, true)
    }

    /// The same for a message below level *processed* whose outcome nobody asks for.
    pub(crate) fn check_untracked_room(&self) -> Result<(), SendErrorReason> {
        self.check_send(0, None, false)
    }

    /// Whether everything that was queued has been written.
    #[inline]
    pub fn is_flushed(&self) -> bool {
        self.outbound.is_drained() && self.outbound.finish != Finish::Wanted && !self.unwritten
    }

    /// Withdraws a message. `true` if that surely kept it from being delivered;
    /// its outcome is then [`NotSent`](crate::Outcome::NotSent). Otherwise it is
    /// too late, the peer is told that nobody waits for it any more, and its
    /// outcome comes as usual.
    pub fn cancel(&mut self, id: MessageId) -> bool {
        if self.end.is_some() {
            return false;
        }
        self.quiet = false;
        let withdrawn = self.outbound.cancel(id, &mut self.events);
        self.check_finished();
        withdrawn
    }

    /// The program's verdict on a message of level *processed* that it has
    /// received: `Ok` accepts it, `Err` rejects it.
    ///
    /// # Errors
    /// [`SettleError`] if none is due, or the connection has ended.
    pub fn settle(&mut self, seq: u64, verdict: Result<(), Rejection>) -> Result<(), SettleError> {
        if let Some(error) = &self.end {
            return Err(SettleError::Closed(ConnectionError::clone(error)));
        }
        self.quiet = false;
        if !self.inbound.settle(seq, verdict) {
            return Err(SettleError::NotWaiting { seq });
        }
        self.check_finished();
        Ok(())
    }

    /// Whether no verdict is due on any message that was received.
    pub fn is_decided(&self) -> bool {
        self.inbound.is_decided()
    }

    /// Whether message `seq` may wait for the program or for its verdict.
    pub(crate) fn is_unsettled(&self, seq: u64) -> bool {
        self.inbound.is_unsettled(seq)
    }

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

    /// The next message, in the order in which the peer sent them.
    #[inline]
    pub fn recv(&mut self) -> Option<Received> {
        if self.is_ending() {
            return self.recv_last();
        }
        if self.inbound.credit_is_low {
            self.quiet = false;
        }
        self.inbound.take()
    }

    /// Taking the last messages may be what the end waits for.
    #[cold]
    fn recv_last(&mut self) -> Option<Received> {
        let message = self.inbound.take();
        self.quiet = false;
        self.check_finished();
        message
    }

    /// The next reply or event, past what waits before it. It keeps its credit
    /// until it is [`put_away`](Self::put_away).
    #[inline]
    pub(crate) fn take_from(&mut self, lane: Lane) -> Option<Received> {
        let message = self.inbound.take_from(lane);
        self.quiet = false;
        if self.is_ending() {
            self.check_finished();
        }
        message
    }

    /// What was taken from a lane is not needed any more.
    pub(crate) fn put_away(&mut self, message: &Received) {
        if self.end.is_none() {
            self.inbound.put_away(message);
            self.quiet = false;
            self.check_finished();
        }
    }

    /// What [`take_from`](Self::take_from) would yield.
    pub(crate) fn first_of(&self, lane: Lane) -> Option<&Received> {
        self.inbound.first_of(lane)
    }

    /// Whether a message waits in `lane`.
    #[inline]
    pub(crate) fn has(&self, lane: Lane) -> bool {
        self.inbound.has(lane)
    }

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
        self.inbound.waiting() > 0
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
        if self.raw.is_empty() {
            self.raw = BytesMut::new();
        }
        self.inbound.release();
        self.outbound.release();
        self.events.release();
    }

    /// Whether the connection has ended and has nothing more to write: once the
    /// output buffer is empty too, the stream is to be closed.
    pub fn is_drained(&self) -> bool {
        self.end.is_some() && !self.output_due()
    }

    // --- Time ------------------------------------------------------------------

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
