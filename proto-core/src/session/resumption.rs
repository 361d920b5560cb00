//! A session whose stream is lost and that goes on over another one.

use super::{Session, Waiters};
use crate::{
    buffer::RecvBuf, connection::ResumePoint, error::ResumeError, event::Event, time::Time,
    wire::Status,
};
use alloc::boxed::Box;
use rand_core::TryCryptoRng;

/// What a responder's fresh connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resuming {
    /// To be told where this session stands: [`Session::answer_resume`].
    Asked([u8; 16]),
    /// That the session's own connection [adopts](Session::adopt) it.
    Ready,
}

impl Session {
    /// Whether the connection has lost its stream and waits for another: drop the
    /// old one, with what its buffers hold.
    pub fn wants_stream(&self) -> bool {
        self.connection.wants_stream()
    }

    /// What the peer of a fresh connection wants of an earlier session.
    pub fn resuming(&self) -> Option<Resuming> {
        self.resuming.as_deref().copied()
    }

    /// As [`Connection::answer_resume`](crate::Connection::answer_resume).
    pub fn answer_resume(&mut self, now: Time, point: Option<ResumePoint>, waiters: &mut Waiters) {
        self.resuming = None;
        self.connection.answer_resume(now, point);
        self.dispatch(waiters);
    }

    /// The peer is to ask again later.
    pub fn refuse_to_resume(&mut self, status: Status, waiters: &mut Waiters) {
        self.resuming = None;
        self.connection.refuse(status);
        self.dispatch(waiters);
    }

    /// As [`Connection::resume`](crate::Connection::resume), over new buffers.
    ///
    /// # Errors
    /// As [`Connection::resume`](crate::Connection::resume).
    pub fn resume(
        &mut self,
        rng: &mut impl TryCryptoRng,
        now: Time,
        waiters: &mut Waiters,
    ) -> Result<(), ResumeError> {
        self.new_stream();
        let resumed = self.connection.resume(rng, now);
        waiters.wake_background();
        self.dispatch(waiters);
        resumed
    }

    /// As [`Connection::adopt`](crate::Connection::adopt). `fresh` ends by it, without a word to the peer.
    ///
    /// # Errors
    /// As [`Connection::adopt`](crate::Connection::adopt).
    pub fn adopt(&mut self, now: Time, fresh: &mut Session) -> Result<(), ResumeError> {
        self.connection.adopt(now, &mut fresh.connection)?;
        self.new_stream();
        Ok(())
    }

    /// After [`adopt`](Self::adopt): what came behind the handshake.
    pub fn take_adopted(&mut self, now: Time, input: &mut RecvBuf, waiters: &mut Waiters) {
        self.handle_input(now, input, waiters);
        waiters.wake_background();
    }

    fn new_stream(&mut self) {
        self.write_failed = false;
        self.broken_by = Time::NEVER;
        self.unwritten = false;
    }

    pub(super) fn sort_resumption(&mut self, event: Event, waiters: &mut Waiters) {
        match event {
            Event::Suspended(_) => waiters.wake_background(),
            Event::ResumeAsked { session } => {
                self.resuming = Some(Box::new(Resuming::Asked(session)))
            }
            Event::ResumeReady => self.resuming = Some(Box::new(Resuming::Ready)),
            _ => {}
        }
        waiters.wake_for(|interest| interest == super::Interest::Progress);
    }
}
