//! Going on over another stream (PROTOCOL.md, section 7.3).

use super::{Connection, Phase, Role, budget::Idle, setup::Setup, timers::Timer};
use crate::{
    buffer::RecvBuf,
    error::{Close, ConnectionError, ResumeError, Timeout, Violation},
    event::{Event, Opened},
    key::KeyId,
    time::Time,
    wire::{Hello, MAX_FRAME_PLAIN},
};
use alloc::boxed::Box;
use rand_core::TryCryptoRng;

/// The peer is told *settled* when that has come so far, unless it goes along with
/// something else before.
pub(super) const SETTLED_EVERY: u16 = 64;

/// Where a suspended session stands, for a new connection to tell the peer.
/// Holds for as long as the session stays suspended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResumePoint {
    pub(super) session: [u8; 16],
    /// Of the key that sealed the session.
    pub(super) key: Option<KeyId>,
    /// Which of the session's streams was the last.
    streams: u64,
    pub(super) next: u64,
    pub(super) settled: u64,
    /// Bytes and messages.
    pub(super) credit: (u64, u64),
}

/// What a connection has whose session can be resumed.
pub(super) struct Resume {
    session: [u8; 16],
    key: Option<KeyId>,
    streams: u64,
    /// Why the stream was lost, until there is another.
    suspended: Option<ConnectionError>,
    /// The initiator has said this and waits for the answer.
    said: Option<ResumePoint>,
    /// The stream's first record has opened, and its frames are to be taken.
    record: Option<usize>,
}

impl Connection {
    /// Whether the stream was lost and the connection waits for another. Also
    /// while an initiator tries: until [`Event::Resumed`] or [`Event::Restarted`].
    pub fn is_suspended(&self) -> bool {
        self.end.is_none() && self.is_resuming()
    }

    /// Whether it waits for another stream, and none is being tried.
    pub fn wants_stream(&self) -> bool {
        self.phase == Phase::Suspended
    }

    /// The session's id, by which a peer names it that wants to resume it. `None`
    /// unless it can be resumed: both sides have
    /// [`resumption`](crate::ConfigBuilder::resumption) on.
    pub fn session(&self) -> Option<[u8; 16]> {
        self.resume.as_ref().map(|resume| resume.session)
    }

    /// Where the session stands, if it is suspended. A responder whose stream has
    /// not ended yet when the peer asks to resume must read it to its end first:
    /// the peer closes it before it asks.
    pub fn resume_point(&self) -> Option<ResumePoint> {
        let resume = self.resume.as_ref()?;
        resume.suspended.as_ref()?;
        Some(ResumePoint {
            session: resume.session,
            key: resume.key,
            streams: resume.streams,
            next: self.inbound.next(),
            settled: self.outbound.settled(),
            credit: self.inbound.free_credit(),
        })
    }

    /// Initiator: begins to resume the session over a stream that was just opened,
    /// to be driven with new buffers. Close the old stream first. The handshake is
    /// that of a new connection, with new keys for which 48 bytes are drawn from
    /// `rng`. Ends in [`Event::Resumed`], [`Event::Restarted`], or another
    /// [`Event::Suspended`], after which it may be tried again.
    ///
    /// # Errors
    /// [`ResumeError`] if the connection is not suspended, is a responder's, or the
    /// generator fails.
    pub fn resume(&mut self, rng: &mut impl TryCryptoRng, now: Time) -> Result<(), ResumeError> {
        self.advance(now);
        if self.role == Role::Responder {
            return Err(ResumeError::Role);
        }
        let point = self
            .resume_point()
            .filter(|_| self.phase == Phase::Suspended)
            .ok_or(ResumeError::NotSuspended)?;
        let setup = Setup::again(rng, point.clone()).map_err(|_| ResumeError::Random)?;
        if let Some(resume) = &mut self.resume {
            resume.said = Some(point);
        }
        self.setup = Some(Box::new(setup));
        self.phase = Phase::Preface;
        let timeout = self.config.handshake_timeout;
        self.timers
            .set(Timer::Handshake, self.now.saturating_add(timeout));
        if let Err(error) = self.start_setup() {
            self.fail(error);
        }
        Ok(())
    }

    /// Responder: this suspended connection goes on over the stream of `fresh`,
    /// which has said [`Event::ResumeReady`], and over its buffers: hand what was
    /// read into [`handle_input`](Self::handle_input) at once, the first messages
    /// may be in it.
    ///
    /// `fresh` has ended then, without a word to the peer.
    ///
    /// # Errors
    /// [`ResumeError`] if `fresh` is not ready for it, or the session has gone on
    /// since its resume point was taken. Close the new stream then, without a word:
    /// the peer asks again. This connection is as it was.
    pub fn adopt(&mut self, now: Time, fresh: &mut Connection) -> Result<(), ResumeError> {
        self.advance(now);
        let ready = fresh.setup.take_if(|_| fresh.phase == Phase::Ready);
        let (keys, raw) = (fresh.keys.take(), core::mem::take(&mut fresh.raw));
        let why = Close::new(Close::GOING_AWAY, "its stream goes on with another session");
        fresh.end_with(ConnectionError::ClosedLocally(why), None);
        let (point, opened, record) = ready
            .and_then(|setup| Some((setup.point?, setup.opened?, setup.record)))
            .ok_or(ResumeError::NotReady)?;
        let resume = self.resume.as_mut().ok_or(ResumeError::NotSuspended)?;
        if resume.streams != point.streams || resume.session != point.session {
            return Err(ResumeError::Stale);
        }
        if resume.suspended.is_none() {
            return Err(ResumeError::NotSuspended);
        }
        resume.record = record;
        self.keys = keys;
        self.raw = raw;
        self.phase = Phase::Open;
        self.was_open = true;
        self.arm_keepalive();
        self.resumed(&point, opened);
        Ok(())
    }

    // --- Keeping, and losing ------------------------------------------------------

    /// Both sides keep from here on what a resumption takes, if both have said so.
    pub(super) fn keep_for_resumption(&mut self, peer: &Hello) {
        let on = self.config.resumption && peer.resumable;
        let streams = self.resume.as_ref().map_or(0, |resume| resume.streams);
        self.resume = on.then(|| {
            Box::new(Resume {
                session: peer.session,
                key: self.keys.as_ref().map(|keys| keys.id),
                streams: streams.saturating_add(1),
                suspended: None,
                said: None,
                record: None,
            })
        });
        self.inbound.keep(on);
        self.outbound.keep(on);
    }

    /// Whether the peer has not been told how far *settled* is.
    #[inline]
    pub(super) fn has_untold(&self) -> bool {
        self.outbound.untold() > 0 && !self.inbound.is_frozen()
    }

    /// Whether it should be told although nothing else goes out.
    #[inline]
    pub(super) fn settled_is_due(&self) -> bool {
        self.outbound.untold() >= u64::from(SETTLED_EVERY) && !self.inbound.is_frozen()
    }

    pub(super) fn is_resuming(&self) -> bool {
        self.resume
            .as_ref()
            .is_some_and(|resume| resume.suspended.is_some())
    }

    /// Whether the session goes on after this.
    pub(super) fn outlives(&self, error: &ConnectionError) -> bool {
        if self.resume.is_none() || self.inbound.is_frozen() {
            return false;
        }
        match self.phase {
            // With nothing left to do there is nothing to come back for.
            Phase::Open => {
                let done = self.is_complete() && self.inbound.peer_is_settled();
                matches!(error, ConnectionError::Lost(_)) && !done
            }
            // It may be another server that is about to end, or hangs.
            Phase::Preface | Phase::Handshake => matches!(
                error,
                ConnectionError::Lost(_)
                    | ConnectionError::Refused(_)
                    | ConnectionError::Timeout(Timeout::Handshake)
            ),
            _ => false,
        }
    }

    /// The stream is lost, or an attempt to have another has failed.
    pub(super) fn suspend(&mut self, why: ConnectionError) {
        let Some(resume) = &mut self.resume else {
            return;
        };
        let first = resume.suspended.is_none();
        resume.suspended = Some(why.clone());
        resume.said = None;
        resume.record = None;
        self.phase = Phase::Suspended;
        self.was_open = false;
        self.unwritten = false;
        self.input_idle = false;
        self.setup = None;
        self.keys = None;
        self.raw.clear();
        self.outbound.put_out();
        self.pad_due = false;
        self.pong = None;
        // Only what the program asked for is asked again.
        self.ping = self.ping.filter(|ping| ping.wanted);
        if let Some(ping) = &mut self.ping {
            ping.sent = Time::NEVER;
        }
        for timer in [
            Timer::Handshake,
            Timer::Record,
            Timer::Message,
            Timer::Ack,
            Timer::Keepalive,
            Timer::Ping,
            Timer::Silence,
        ] {
            self.timers.clear(timer);
        }
        if first {
            let timeout = self.config.resume_timeout;
            self.timers
                .set(Timer::Resume, self.now.saturating_add(timeout));
            self.inbound.suspend();
            self.outbound.suspend();
        }
        self.events.push_back(Event::Suspended(why));
    }

    /// Nobody came back in time.
    pub(super) fn give_up(&mut self) {
        if let Some(why) = self.resume.take().and_then(|resume| resume.suspended) {
            self.raw.clear();
            self.end_with(why, None);
        }
    }

    // --- Going on -------------------------------------------------------------------

    /// Initiator: the peer has answered.
    pub(super) fn reopened(&mut self, opened: Opened) {
        let said = self.resume.as_mut().and_then(|resume| resume.said.take());
        let Some(said) = said else {
            return self.fail(ConnectionError::Internal("nothing was to be resumed"));
        };
        if opened.peer.resume {
            return self.resumed(&said, opened);
        }
        self.timers.clear(Timer::Resume);
        self.budget = Idle::new(self.now);
        let peer = opened.peer;
        self.events.push_back(Event::Restarted(opened));
        self.inbound.restart(said.credit);
        self.outbound
            .restart(&peer, self.config.redeliver, &mut self.events);
        self.keep_for_resumption(&peer);
    }

    /// The session goes on; `point` is what the peer was told of it.
    fn resumed(&mut self, point: &ResumePoint, opened: Opened) {
        self.timers.clear(Timer::Resume);
        self.budget = Idle::new(self.now);
        if let Some(resume) = &mut self.resume {
            resume.suspended = None;
            resume.streams = resume.streams.saturating_add(1);
        }
        let peer = opened.peer;
        self.events.push_back(Event::Resumed(opened));
        let resumed = self
            .inbound
            .resume(point.credit, &peer)
            .and_then(|()| self.outbound.resume(&peer, &mut self.events));
        self.inbound.note_credit(&self.config);
        if let Err(violation) = resumed {
            self.fail(ConnectionError::Violation(violation));
        }
    }

    /// The first record, if it was opened before this connection had the stream.
    #[inline]
    pub(super) fn take_opened_record(&mut self) -> Option<usize> {
        self.resume.as_mut()?.record.take()
    }

    /// What comes before this connection may look at it.
    pub(super) fn limit_early(&mut self, input: &RecvBuf) {
        if input.bytes().len() > MAX_FRAME_PLAIN {
            self.fail(ConnectionError::Violation(Violation::BeforeAnswer));
        }
    }
}
