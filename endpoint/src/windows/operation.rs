//! One overlapped operation after another on a pipe, and the event that says
//! when to look at it again.
#![allow(unsafe_code)]

use std::io;
use std::os::windows::io::{AsHandle as _, AsRawHandle as _, OwnedHandle};
use std::ptr::NonNull;
use std::sync::Arc;
use std::task::Poll;

use windows_sys::Win32::Foundation::{
    ERROR_IO_INCOMPLETE, ERROR_IO_PENDING, ERROR_MORE_DATA, HANDLE, STATUS_PENDING,
};
use windows_sys::Win32::System::IO::{CancelIoEx, GetOverlappedResult, OVERLAPPED};

use super::listen::is;
use super::pipe_event::PipeEvent;

/// Room for one operation at a time. Dropped, it cancels the one in flight and
/// waits for its end, and touches no other on the same pipe.
#[derive(Debug)]
pub(super) struct Operation {
    pipe: Arc<OwnedHandle>,
    /// Manual-reset. Set unless an operation is in flight that has not ended;
    /// the system resets it when an operation starts and sets it at its end.
    event: PipeEvent,
    /// The system's while an operation is in flight, and so never touched
    /// through a reference.
    overlapped: NonNull<OVERLAPPED>,
    in_flight: bool,
    /// Whether the last one that ended moved a part of a message only.
    is_part: bool,
}

// SAFETY: what the pointer leads to belongs to this value alone, and the
// system does not care which thread asks about an operation or cancels it.
unsafe impl Send for Operation {}
// SAFETY: through a shared reference only the two handles can be reached.
unsafe impl Sync for Operation {}

impl Operation {
    pub(super) fn new(pipe: Arc<OwnedHandle>) -> io::Result<Operation> {
        let event = PipeEvent::take()?;
        let overlapped = Box::new(OVERLAPPED {
            hEvent: event.as_handle().as_raw_handle(),
            ..OVERLAPPED::default()
        });
        Ok(Operation {
            pipe,
            event,
            overlapped: NonNull::from(Box::leak(overlapped)),
            in_flight: false,
            is_part: false,
        })
    }

    pub(super) fn pipe(&self) -> &Arc<OwnedHandle> {
        &self.pipe
    }

    pub(super) fn event(&self) -> &PipeEvent {
        &self.event
    }

    /// Whether an operation was started whose end was not seen yet.
    pub(super) fn in_flight(&self) -> bool {
        self.in_flight
    }

    /// Whether the last read has left something of a message, in a pipe that keeps
    /// messages apart.
    pub(super) fn is_part(&self) -> bool {
        self.is_part
    }

    /// Starts an operation by a call that takes the pipe and the OVERLAPPED and
    /// answers as ReadFile does, and gives its result if it was there at once:
    /// how many bytes it moved. None may be in flight.
    ///
    /// # Safety
    ///
    /// The call must do nothing else with the two, and memory that the
    /// operation uses must stay as it is until its end was seen or this was
    /// dropped.
    pub(super) unsafe fn start(
        &mut self,
        name: &'static str,
        call: impl FnOnce(HANDLE, *mut OVERLAPPED) -> i32,
    ) -> Poll<io::Result<usize>> {
        debug_assert!(!self.in_flight);
        let pipe = self.pipe.as_raw_handle();
        if call(pipe, self.overlapped.as_ptr()) == 0 {
            let error = io::Error::last_os_error();
            if !is(&error, ERROR_IO_PENDING) && !is(&error, ERROR_MORE_DATA) {
                tracing::trace!(?pipe, %error, "{name}");
                // The call may have reset it before it failed.
                self.event.set();
                return Poll::Ready(Err(error));
            }
        }
        let result = self.result(false);
        tracing::trace!(?pipe, ?result, "{name}");
        self.in_flight = result.is_pending();
        result
    }

    /// The result of the operation in flight, if it has ended.
    pub(super) fn poll(&mut self) -> Poll<io::Result<usize>> {
        let mut result = self.result(false);
        if result.is_pending() {
            // The event may still be set: the system sets it a moment after
            // the result is there, so it can be that of the operation before.
            // It must not stay so, or whoever waits for it would spin.
            self.event.reset();
            result = self.result(false);
            if result.is_ready() {
                self.event.set();
            }
        }
        tracing::trace!(pipe = ?self.pipe.as_raw_handle(), ?result, "GetOverlappedResult");
        self.in_flight = result.is_pending();
        result
    }

    /// Ends the operation in flight now. It may have been faster: then its
    /// result is that of its work.
    pub(super) fn cancel(&mut self) -> io::Result<usize> {
        // An error says that there is nothing to cancel any more.
        // SAFETY: the handle is open, and the OVERLAPPED is that of an
        // operation that was started on it.
        unsafe { CancelIoEx(self.pipe.as_raw_handle(), self.overlapped.as_ptr()) };
        let result = loop {
            let Poll::Ready(result) = self.result(true) else {
                // The system could not wait for the end, and would write into
                // memory that is about to be given to others.
                tracing::error!("could not end an operation on a pipe; the process ends");
                std::process::abort();
            };
            if !self.is_pending() {
                break result;
            }
            // The event was set late, for the operation before: the call does not look
            // a second time. Where it was this one's, that has ended by now.
            self.event.reset();
        };
        tracing::trace!(pipe = ?self.pipe.as_raw_handle(), ?result, "CancelIoEx");
        self.in_flight = false;
        result
    }

    /// Whether the system has yet to write down how the operation has ended.
    fn is_pending(&self) -> bool {
        // SAFETY: it lives as long as this value, and is read without a reference, as
        // what the system may write to at any time.
        let status = unsafe { (&raw const (*self.overlapped.as_ptr()).Internal).read_volatile() };
        u32::try_from(status).is_ok_and(|status| status.cast_signed() == STATUS_PENDING)
    }

    fn result(&mut self, wait: bool) -> Poll<io::Result<usize>> {
        let mut bytes = 0_u32;
        // SAFETY: the handle is open, the OVERLAPPED lives as long as this
        // value, and the pointer for the result is to a live variable.
        let done = unsafe {
            GetOverlappedResult(
                self.pipe.as_raw_handle(),
                self.overlapped.as_ptr(),
                &raw mut bytes,
                wait.into(),
            )
        };
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        self.is_part = false;
        if done != 0 {
            return Poll::Ready(Ok(bytes));
        }
        let error = io::Error::last_os_error();
        if is(&error, ERROR_IO_INCOMPLETE) {
            return Poll::Pending;
        }
        self.is_part = is(&error, ERROR_MORE_DATA);
        if self.is_part {
            return Poll::Ready(Ok(bytes));
        }
        Poll::Ready(Err(error))
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        if self.in_flight {
            // Whatever it still moved, there is nobody to take it.
            let _ = self.cancel();
        }
        // SAFETY: it came from a Box and is freed once, and nothing is in
        // flight that would use it.
        drop(unsafe { Box::from_raw(self.overlapped.as_ptr()) });
    }
}
