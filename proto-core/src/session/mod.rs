//! What every adapter needs between a [`Connection`] and those who wait on it:
//! outcomes kept until they are asked for, who is to be woken, and when the
//! background must look after the connection. Still no I/O, clock or lock.
//!
//! For authors of adapters; an event loop of one's own needs [`Connection`] only.

mod background;
mod outcomes;
mod requests;
mod resumption;
mod service;
mod subscriptions;
mod waiters;

use crate::{
    buffer::{RecvBuf, SendBuf},
    connection::Connection,
    error::{ConnectionError, SendError, SendErrorReason, SettleError, WireError},
    event::{Event, MessageId, Opened},
    message::{AckLevel, Kind, Message, Outcome, Received, Rejection},
    time::Time,
};
use alloc::boxed::Box;
pub use background::Duty;
use core::time::Duration;
use outcomes::Outcomes;
pub use requests::Answer;
pub use resumption::Resuming;
use service::Service;
pub use subscriptions::{Backlog, Next, SubscriptionId};
pub use waiters::{Interest, Place, Waiters, Woken};

/// After a write that failed, the end of what there is to read is waited for so long.
const BROKEN: Duration = Duration::from_secs(1);

/// A connection, shared by those who wait on it.
#[derive(Debug)]
pub struct Session {
    connection: Connection,
    outcomes: Outcomes,
    service: Option<Box<Service>>,
    /// Boxed: it is asked for once or never.
    opened: Option<Box<Opened>>,
    /// Boxed, too.
    resuming: Option<Box<Resuming>>,
    /// Open, and what the handshake had to say may not have been written yet.
    opening: bool,
    pongs: Option<Box<Pongs>>,
    /// Somebody was told that there is no room, or not all is flushed.
    room_wanted: bool,
    /// A write has failed: when all that can be read has been, that is the end; at the
    /// latest at this time.
    write_failed: bool,
    broken_by: Time,
    /// The output buffer held something when it was last filled.
    unwritten: bool,
    /// When the background will look next, by itself.
    background_at: Time,
    /// A program's call has driven the transport since the background looked.
    active: bool,
    /// The program has fed messages since then.
    fed: bool,
    /// How often in a row the background has looked when somebody was to drive, and nobody
    /// had read.
    unread: u8,
    /// It will look before long, whatever the program does until then.
    watched: bool,
    ended: bool,
    /// After the end: how long the stream is kept for what is left to write.
    linger: Time,
}

/// Answers to the program's pings.
#[derive(Debug, Default)]
struct Pongs {
    count: u64,
    last: Duration,
}

impl Session {
    /// Shares `connection`.
    pub fn new(connection: Connection) -> Session {
        Session {
            connection,
            outcomes: Outcomes::new(),
            service: None,
            opened: None,
            resuming: None,
            opening: false,
            pongs: None,
            room_wanted: false,
            write_failed: false,
            broken_by: Time::NEVER,
            unwritten: false,
            background_at: Time::ZERO,
            active: false,
            fed: false,
            unread: 0,
            watched: false,
            ended: false,
            linger: Time::NEVER,
        }
    }

    /// The connection, to ask it things.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    // --- Driving ----------------------------------------------------------------

    /// Bytes were read.
    pub fn handle_input(&mut self, now: Time, input: &mut RecvBuf, waiters: &mut Waiters) {
        // The error is the end, which everybody is told of by `dispatch`.
        let _ = self.connection.handle_input(now, input);
        waiters.heed();
        self.dispatch(waiters);
    }

    /// There is nothing to read for now.
    pub fn handle_idle(&mut self, waiters: &mut Waiters) {
        self.connection.handle_idle();
        waiters.heed();
    }

    /// There is nothing to read for now, as [`handle_idle`](Self::handle_idle) is told: says
    /// whether there is nothing to do either, neither to write nor with input that was read.
    pub fn is_idle(&mut self, waiters: &mut Waiters) -> bool {
        if self.connection.input_is_due() {
            return false;
        }
        self.handle_idle(waiters);
        !self.wants_transmit()
    }

    /// There will never be anything more to read.
    pub fn handle_eof(&mut self, now: Time, input: &RecvBuf, waiters: &mut Waiters) {
        self.connection.handle_eof(now, input);
        self.broken_by = Time::NEVER;
        if self.write_failed {
            self.connection.handle_broken(now);
        }
        self.dispatch(waiters);
    }

    /// A write has failed. What the peer sent before it left is still read, to the end of
    /// the stream; drive the reading side next. A stream that does not end then, since the
    /// peer only stopped reading, is given up after a second.
    pub fn handle_write_failed(&mut self, waiters: &mut Waiters) {
        let now = self.connection.now();
        if !self.write_failed && self.connection.end().is_none() {
            self.broken_by = now.saturating_add(BROKEN);
        }
        self.write_failed = true;
        self.connection.handle_broken(now);
        self.dispatch(waiters);
        self.watch_timers(waiters);
    }

    /// The driver has ended the sending direction of the stream
    /// ([`Connection::wants_shutdown`]); `half`: it alone.
    pub fn handle_shutdown(&mut self, now: Time, half: bool, waiters: &mut Waiters) {
        self.connection.handle_shutdown(now, half);
        self.dispatch(waiters);
    }

    /// Fills `output`; returns whether it holds anything.
    pub fn poll_transmit(
        &mut self,
        now: Time,
        output: &mut SendBuf,
        waiters: &mut Waiters,
    ) -> bool {
        if self.write_failed || self.wants_stream() {
            return false;
        }
        self.unwritten = self.connection.poll_transmit(now, output);
        self.dispatch(waiters);
        if self.opening && !self.wants_transmit() {
            // Who waits for the connection waits for this, too.
            self.opening = false;
            waiters.wake_for(|interest| interest == Interest::Progress);
        }
        self.unwritten
    }

    /// Whether there is anything to write, in the output buffer or to be put there, or
    /// the sending direction of the stream is to be ended.
    pub fn wants_transmit(&self) -> bool {
        !self.write_failed
            && !self.wants_stream()
            && (self.unwritten
                || self.connection.wants_transmit()
                || self.connection.wants_shutdown())
    }

    /// Whether the connection is open, and what the handshake had to say is not written yet.
    /// What there is to write after that does not count: who waits for the connection is
    /// woken once.
    pub fn is_opening(&self) -> bool {
        self.opening && self.wants_transmit()
    }

    /// Whether the stream is to be closed once the output buffer is empty.
    pub fn is_drained(&self) -> bool {
        self.connection.end().is_some() && !self.wants_transmit()
    }

    /// Whether the peer has not taken the last bytes for as long as its goodbye is
    /// waited for: the stream is to be closed with them unwritten, or a peer that
    /// does not read could keep it for ever.
    pub fn is_overdue(&self, now: Time) -> bool {
        self.linger <= now
    }

    /// Sorts out what has happened, and wakes those for whom something has come.
    #[inline]
    fn dispatch(&mut self, waiters: &mut Waiters) {
        if self.has_in_lanes() {
            self.sort_lanes(waiters);
        }
        if self.connection.has_events() {
            self.sort_events(waiters);
        }
        if !self.ended && self.connection.end().is_some() {
            self.ended = true;
            self.expire_requests(Time::NEVER, waiters);
            let linger = self.connection.config().close_timeout();
            self.linger = self.connection.now().saturating_add(linger);
            waiters.wake_background();
            return waiters.wake_for(|_| true);
        }
        if !waiters.anyone() {
            return;
        }
        if self.connection.has_messages() {
            waiters.wake_for(|interest| interest == Interest::Message);
        }
        if self.room_wanted {
            self.wake_for_room(waiters);
        }
    }

    /// Wakes those whom what they find will not send back to wait: they would be woken
    /// again at once, for ever.
    fn wake_for_room(&mut self, waiters: &mut Waiters) {
        let flushed = self.connection.is_flushed();
        let queued = self.connection.queued_bytes();
        // Enough to be worth it.
        let half = queued <= self.connection.config().queue_bytes / 2;
        let full = Err(SendErrorReason::Full);
        let room = half && self.connection.check_room() != full;
        let reply_room = half && self.connection.check_untracked_room() != full;
        waiters.wake_for(|interest| match interest {
            Interest::Room => room,
            Interest::ReplyRoom => reply_room,
            Interest::Gather(gathered) => room && queued < gathered,
            Interest::Flushed => flushed,
            _ => false,
        });
        self.room_wanted = waiters.anyone_for(|interest| {
            matches!(
                interest,
                Interest::Room | Interest::ReplyRoom | Interest::Gather(_) | Interest::Flushed
            )
        });
    }

    fn sort_events(&mut self, waiters: &mut Waiters) {
        while let Some(event) = self.connection.poll_event() {
            match event {
                Event::Outcome { id, outcome } => {
                    if let Some(outcome) = self.on_outcome(id, outcome, waiters)
                        && self.outcomes.told(id, outcome)
                    {
                        waiters.wake_for(|interest| interest == Interest::Outcome(id));
                    }
                }
                Event::Restarted(opened) => {
                    self.opened = Some(Box::new(opened));
                    self.opening = true;
                    self.subscribe_again(waiters);
                    waiters.wake_for(|interest| interest == Interest::Progress);
                }
                Event::Open(opened) | Event::Resumed(opened) => {
                    self.opened = Some(Box::new(opened));
                    self.opening = true;
                    waiters.wake_for(|interest| interest == Interest::Progress);
                }
                Event::Pong { round_trip } => {
                    let pongs = self.pongs.get_or_insert_default();
                    pongs.count = pongs.count.wrapping_add(1);
                    pongs.last = round_trip;
                    waiters.wake_for(|interest| interest == Interest::Progress);
                }
                Event::PeerFinished => waiters.wake_for(|interest| interest == Interest::Message),
                Event::Cancelled { seq } => self.on_cancelled(seq, waiters),
                event @ (Event::Suspended(_) | Event::ResumeAsked { .. } | Event::ResumeReady) => {
                    self.sort_resumption(event, waiters)
                }
                Event::Closed(_) => {}
            }
        }
    }

    // --- What the program wants ---------------------------------------------------

    /// Queues a message whose outcome will be asked for.
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub fn send(&mut self, now: Time, message: Message) -> Result<MessageId, SendError> {
        let sent = self.connection.send(now, message);
        let id =
            sent.inspect_err(|error| self.room_wanted |= error.reason == SendErrorReason::Full)?;
        self.outcomes.expect(id);
        Ok(id)
    }

    /// Queues a message into reserved room.
    ///
    /// # Errors
    /// As [`Connection::send_reserved`].
    pub fn send_reserved(
        &mut self,
        now: Time,
        message: Message,
        size: usize,
    ) -> Result<MessageId, SendError> {
        let id = self.connection.send_reserved(now, message, size)?;
        self.outcomes.expect(id);
        Ok(id)
    }

    /// Queues a message whose outcome is only counted. A reply or an event of level
    /// *none* is sent at level *received* where the session can be resumed.
    ///
    /// # Errors
    /// As [`Connection::send_untracked`].
    #[inline]
    pub fn send_untracked(&mut self, now: Time, mut message: Message) -> Result<(), SendError> {
        self.outlast_stream(&mut message);
        let sent = self.connection.send_untracked(now, message);
        if let Err(error) = &sent {
            self.room_wanted |= error.reason == SendErrorReason::Full;
        }
        sent
    }

    /// Writes a small message of level *none* straight into `output`, past the queue and
    /// past all that is kept for outcomes, if nothing has to go before it; returns its
    /// number if it did. The driver holds `output`, and writes it now. Once all of it is
    /// written the message is sent; else the driver asks for its outcome by
    /// [`expect_through`](Self::expect_through). The time does not matter until then.
    #[inline]
    pub fn send_through(
        &mut self,
        message: &Message,
        output: &mut SendBuf,
        waiters: &mut Waiters,
    ) -> Option<u64> {
        if self.write_failed {
            return None;
        }
        let seq = self.connection.write_through(message, output);
        if self.connection.end().is_some() {
            self.dispatch(waiters);
        }
        seq
    }

    /// Message `seq`, which was [sent through](Self::send_through), is not written whole:
    /// its outcome will be asked for. `None` if the connection has ended meanwhile, and
    /// what became of it is not known.
    pub fn expect_through(
        &mut self,
        now: Time,
        seq: u64,
        message: &Message,
        output: &SendBuf,
    ) -> Option<MessageId> {
        let id = self.connection.expect_through(now, seq, message, output)?;
        self.unwritten = true;
        self.outcomes.expect(id);
        Some(id)
    }

    /// As [`send_untracked`](Self::send_untracked), for what gathers, into room that
    /// [`poll_room`](Self::poll_room) or an earlier call told it of; if others have
    /// taken that since, the queue holds this one message more. Returns whether there
    /// is room for the next, as `poll_room` would.
    ///
    /// # Errors
    /// As [`Connection::send_untracked`], but never that the queue is full.
    #[inline]
    pub fn feed(&mut self, mut message: Message, gathered: usize) -> Result<bool, SendError> {
        self.outlast_stream(&mut message);
        self.connection.send_promised(message)?;
        Ok(self.connection.queued_bytes() < gathered && self.connection.has_room(true))
    }

    /// Feeds a small message that need not wait behind others, if there is room and less
    /// than `gathered` bytes wait to be sent; says whether it did. The short way of
    /// [`feed`](Self::feed), for which the message need not be given away.
    #[inline]
    pub fn feed_through(&mut self, message: &Message, gathered: usize) -> bool {
        self.connection.queued_bytes() < gathered && self.connection.write_behind(message)
    }

    /// What answers a question must outlive the stream, too.
    #[inline]
    fn outlast_stream(&self, message: &mut Message) {
        let answers = matches!(message.kind, Kind::Reply | Kind::Error | Kind::Event);
        if answers && message.ack == AckLevel::None && self.connection.session().is_some() {
            message.ack = AckLevel::Received;
        }
    }

    /// Whether there is room for any message, and less than `gathered` bytes wait
    /// to be sent; `None` if not now, and the caller is to be woken when there is.
    ///
    /// # Errors
    /// Why there will not be any more.
    #[inline]
    pub fn poll_room(&mut self, gathered: usize) -> Option<Result<(), SendErrorReason>> {
        match self.connection.check_room() {
            Ok(()) if self.connection.queued_bytes() < gathered => Some(Ok(())),
            Ok(()) | Err(SendErrorReason::Full) => {
                self.room_wanted = true;
                None
            }
            error => Some(error),
        }
    }

    /// Whether everything that was queued has been handed to the driver.
    ///
    /// # Errors
    /// Why that cannot be any more.
    pub fn poll_flushed(&mut self) -> Option<Result<(), ConnectionError>> {
        if self.connection.is_flushed() {
            return Some(Ok(()));
        }
        self.room_wanted = true;
        self.connection.end().map(|end| Err(end.clone()))
    }

    /// Keeps room for a message.
    ///
    /// # Errors
    /// As [`Connection::reserve`].
    pub fn reserve(&mut self, size: usize) -> Result<(), SendErrorReason> {
        let reserved = self.connection.reserve(size);
        self.room_wanted |= reserved == Err(SendErrorReason::Full);
        reserved
    }

    /// Gives reserved room back.
    pub fn unreserve(&mut self, size: usize, waiters: &mut Waiters) {
        self.connection.unreserve(size);
        self.dispatch(waiters);
    }

    /// What became of a message, if that is known; it is told once.
    pub fn take_outcome(&mut self, id: MessageId) -> Option<Outcome> {
        self.outcomes.take(id)
    }

    /// Nobody will ask what became of a message.
    pub fn forget_outcome(&mut self, id: MessageId) {
        self.outcomes.forget(id);
    }

    /// The next message; `Ok(None)` if none will come and nothing is wrong; `None`
    /// if none has come yet.
    ///
    /// # Errors
    /// Why the connection has ended, where that was not orderly.
    #[inline]
    pub fn poll_recv(&mut self) -> Option<Result<Option<Received>, ConnectionError>> {
        if let Some(message) = self.connection.recv() {
            return Some(Ok(Some(message)));
        }
        match self.connection.end() {
            Some(end) if !end.is_orderly() => Some(Err(end.clone())),
            None if !self.connection.peer_finished() => None,
            _ => Some(Ok(None)),
        }
    }

    /// The next message, if it is there and can be taken without driving: the
    /// short way of a message that came with others.
    #[inline]
    pub fn take_ready(&mut self) -> Option<Received> {
        if self.connection.has_messages() && self.touch() {
            self.connection.recv()
        } else {
            None
        }
    }

    /// Gives a verdict on a received message.
    ///
    /// # Errors
    /// As [`Connection::settle`].
    pub fn settle(
        &mut self,
        seq: u64,
        verdict: Result<(), Rejection>,
        waiters: &mut Waiters,
    ) -> Result<(), SettleError> {
        self.on_settled(seq);
        self.connection.settle(seq, verdict)?;
        if self.connection.is_decided() {
            waiters.wake_for(|interest| interest == Interest::Decided);
        }
        Ok(())
    }

    /// Asks for a round trip. What is returned tells the answer from earlier ones:
    /// give it to [`round_trip`](Self::round_trip). Who asks while a PING is under
    /// way shares its answer.
    ///
    /// # Errors
    /// As [`Connection::ping`].
    pub fn ping(&mut self) -> Result<u64, WireError> {
        self.connection.ping()?;
        Ok(self.pongs.as_ref().map_or(0, |pongs| pongs.count))
    }

    /// The answer to the [`ping`](Self::ping) that returned `asked`, once it has
    /// come.
    pub fn round_trip(&self, asked: u64) -> Option<Duration> {
        let pongs = self.pongs.as_ref()?;
        (pongs.count != asked).then_some(pongs.last)
    }

    /// What the handshake brought, once it is done.
    pub fn opened(&self) -> Option<&Opened> {
        self.opened.as_deref()
    }

    /// Takes away what the handshake brought; [`opened`](Self::opened) has nothing
    /// to show after that. For a driver that keeps what it needs of it.
    pub fn take_opened(&mut self) -> Option<Opened> {
        self.opened.take().map(|opened| *opened)
    }

    /// Calls a method of the connection that may end it.
    pub fn with<T>(&mut self, waiters: &mut Waiters, call: impl FnOnce(&mut Connection) -> T) -> T {
        let value = call(&mut self.connection);
        self.dispatch(waiters);
        value
    }

    /// Gives back memory that holds nothing. For when the connection is idle.
    pub fn release(&mut self, waiters: &mut Waiters) {
        self.connection.release();
        self.outcomes.release();
        self.release_service();
        waiters.release();
    }
}
