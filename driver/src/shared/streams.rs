//! Streams that are lost, given up, or taken over from another connection.

use super::{Reader, Shared, Step, lock, try_lock};
use crate::{Runtime, call::Now, transport::Transport, writer::Writer};
use sealpipe_core::{ResumeError, ResumePoint, Time};
use std::sync::{
    MutexGuard,
    atomic::{AtomicBool, Ordering},
};

impl<R: Runtime> Shared<R> {
    /// Lets go of a stream that is lost, if the session waits for another; says whether
    /// it does.
    pub(crate) fn drop_lost_stream(&self) -> bool {
        let lost = || self.session(|session| session.wants_stream());
        // Again with the locks held: the other stream may come in between.
        lost() && self.drop_stream_if(lost)
    }

    /// Lets go of the stream, and of what its buffers hold.
    pub(crate) fn drop_stream(&self) {
        self.drop_stream_if(|| true);
    }

    fn drop_stream_if(&self, lost: impl FnOnce() -> bool) -> bool {
        let (mut reader, mut writer) = (lock(&self.reader), lock(&self.writer));
        if !lost() {
            self.let_go_of_both(reader, writer);
            return false;
        }
        reader.io = None;
        reader.buf = Some(Box::default());
        writer.clear();
        self.signals.disarm();
        true
    }

    /// Begins to resume the session over another stream.
    pub(crate) fn resume(&self, transport: Transport<R>, now: Time) -> Result<(), ResumeError> {
        let (mut reader, mut writer) = (lock(&self.reader), lock(&self.writer));
        reader.io = Some(transport.read);
        #[cfg(windows)]
        {
            reader.verify = transport.verify;
        }
        writer.io = Some(transport.write);
        let resumed =
            self.with(|session, waiters| session.resume(&mut getrandom::SysRng, now, waiters));
        self.let_go_of_both(reader, writer);
        resumed
    }

    /// Goes on over the stream of `fresh`, which ends.
    pub(crate) fn adopt(&self, fresh: &Shared<R>, now: Time) -> Result<(), ResumeError> {
        let (mut new_reader, mut new_writer) = (lock(&fresh.reader), lock(&fresh.writer));
        let (mut reader, mut writer) = (lock(&self.reader), lock(&self.writer));
        let adopted = fresh.with(|fresh, waiters| {
            let adopted = self.session(|session| session.adopt(now, fresh));
            // Its background has nothing left to do.
            waiters.wake_background();
            adopted
        });
        if adopted.is_err() {
            self.let_go_of_both(reader, writer);
            return adopted;
        }
        reader.io = new_reader.io.take();
        reader.buf = new_reader.buf.take();
        writer.io = new_writer.io.take();
        writer.buf = std::mem::take(&mut new_writer.buf);
        writer.unflushed = new_writer.unflushed;
        // The wakers that the stream has are those of `fresh`.
        self.signals.disarm();
        let buf = reader.buf.get_or_insert_with(super::rested);
        self.with(|session, waiters| session.take_adopted(now, buf, waiters));
        self.let_go_of_both(reader, writer);
        Ok(())
    }

    /// Where the session stands, if its stream is lost; reads what is left of that.
    pub(crate) fn resume_point(&self, now: Time) -> Option<ResumePoint> {
        let mut now = Now::at(now);
        // The peer has closed its end: the system knows, if nobody has looked yet.
        // An attempt after a read that left room may do no more than wait.
        let mut idle = 0;
        while idle < 2 {
            self.signals.disarm();
            let step = self.drive_read(&mut now, |_, _, _| {});
            idle = if step == Step::Progress { 0 } else { idle + 1 };
            if step == Step::Yield {
                self.wake_background();
            }
        }
        self.session(|session| session.connection().resume_point())
    }

    /// Gives back the memory of what is empty.
    pub(crate) fn release(&self) {
        self.with(|session, waiters| session.release(waiters));
        if let Some(mut reader) = try_lock(&self.reader) {
            if let Some(buf) = &mut reader.buf {
                buf.release();
                if buf.is_empty() {
                    reader.buf = None;
                }
            }
            self.let_go(reader, &self.read_again);
        }
        if let Some(mut writer) = try_lock(&self.writer) {
            writer.buf.release();
            self.let_go(writer, &self.write_again);
        }
    }

    /// Gives a direction back without having driven it: somebody who was to do that may have
    /// found it taken meanwhile, and waits.
    fn let_go<T>(&self, direction: MutexGuard<'_, T>, again: &AtomicBool) {
        drop(direction);
        if again.load(Ordering::SeqCst) {
            self.wake_background();
        }
    }

    fn let_go_of_both(&self, reader: MutexGuard<'_, Reader<R>>, writer: MutexGuard<'_, Writer<R>>) {
        self.let_go(reader, &self.read_again);
        self.let_go(writer, &self.write_again);
    }

    /// Closes the stream if there is no more to be written, or the peer has not
    /// taken it for too long; says whether it is closed.
    pub(crate) fn close_if_drained(&self, now: Time) -> bool {
        let mut writer = lock(&self.writer);
        let flushed = writer.is_flushed();
        let done =
            self.session(|session| (flushed && session.is_drained()) || session.is_overdue(now));
        if !done {
            self.let_go(writer, &self.write_again);
            return false;
        }
        writer.clear();
        drop(writer);
        let mut reader = lock(&self.reader);
        reader.io = None;
        reader.buf = None;
        true
    }
}
