//! The direction that bytes go out by.

use crate::{Runtime, WriteHalf, signals::Signals, transport::Write};
use bytes::Buf;
use futures_util::task::waker_ref;
use sealpipe_core::SendBuf;
use std::{
    io,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, ready},
};

/// Its lock is held by whoever writes.
pub(crate) struct Writer<R: Runtime> {
    /// Until a write fails.
    pub(crate) io: Option<Write<R>>,
    pub(crate) buf: SendBuf,
    /// A buffer of the stream's own holds something.
    pub(crate) unflushed: bool,
}

impl<R: Runtime> Writer<R> {
    pub(crate) fn new(io: Write<R>) -> Writer<R> {
        Writer {
            io: Some(io),
            buf: SendBuf::new(),
            unflushed: false,
        }
    }

    /// Whether the system has all that was made.
    pub(crate) fn is_flushed(&self) -> bool {
        self.io.is_none() || (!self.buf.has_remaining() && !self.unflushed)
    }

    /// Writes what the buffer holds, once, or flushes the stream if it holds nothing; says
    /// whether anything came of it.
    pub(crate) fn write_once(&mut self, signals: &Arc<Signals>) -> Poll<bool> {
        let Some(io) = &mut self.io else {
            return Poll::Ready(false);
        };
        let waker = waker_ref(signals);
        let mut context = Context::from_waker(&waker);
        let more = self.buf.has_remaining();
        // Before the poll: a wake-up that comes during it must not be overwritten.
        signals.write_armed.store(true, Ordering::Release);
        let result = ready!(if more {
            io.poll_write(&mut context, &mut self.buf)
        } else {
            io.poll_flush(&mut context).map_ok(|()| 0)
        });
        signals.write_armed.store(false, Ordering::Release);
        Poll::Ready(match result {
            Ok(0) if !more => {
                self.unflushed = false;
                false
            }
            Ok(n) if n > 0 => {
                tracing::trace!(bytes = n, "wrote");
                self.unflushed = io.is_buffered();
                true
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => false,
            end => {
                if let Err(error) = end
                    && !sealpipe_endpoint::is_end_of_stream(&error)
                {
                    tracing::debug!(%error, "writing failed");
                }
                self.io = None;
                true
            }
        })
    }

    /// Ends this direction; `true` if it alone.
    pub(crate) fn shut_down(&mut self, signals: &Arc<Signals>) -> Poll<bool> {
        let Some(io) = &mut self.io else {
            return Poll::Ready(false);
        };
        let waker = waker_ref(signals);
        signals.write_armed.store(true, Ordering::Release);
        let result = ready!(io.poll_shutdown(&mut Context::from_waker(&waker)));
        signals.write_armed.store(false, Ordering::Release);
        // A stream that cannot be shut down any more has ended already.
        Poll::Ready(result.unwrap_or(false))
    }

    /// Lets go of the stream, and of what was to go out.
    pub(crate) fn clear(&mut self) {
        self.io = None;
        self.buf = SendBuf::new();
        self.unflushed = false;
    }
}
