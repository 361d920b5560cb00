//! Waiting for several events at once, for adapters that have no reactor.
#![allow(unsafe_code)]

use std::io;
use std::os::windows::io::{
    AsHandle, AsRawHandle as _, BorrowedHandle, FromRawHandle as _, OwnedHandle,
};
use std::ptr;
use std::time::Duration;

use super::memory::wide;
use windows_sys::Win32::Foundation::{HANDLE, WAIT_FAILED, WAIT_OBJECT_0, WAIT_TIMEOUT};
use windows_sys::Win32::System::Threading::{
    CreateEventW, INFINITE, ResetEvent, SetEvent, WaitForMultipleObjects,
};

/// The most that one call of [`wait_any`] waits for.
pub const WAIT_MOST: usize = 64;

/// An event that stays set until it is reset.
#[derive(Debug)]
pub struct Event(OwnedHandle);

impl Event {
    /// A new one, not set, not inherited by child processes.
    ///
    /// # Errors
    ///
    /// What the system reports when it has no more.
    pub fn new() -> io::Result<Event> {
        Event::create(None)
    }

    /// The event of that name, which is made unless it is there.
    pub(crate) fn claim(name: &str) -> io::Result<Event> {
        if name.contains('\0') {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Event::create(Some(name))
    }

    fn create(name: Option<&str>) -> io::Result<Event> {
        let name = name.map(wide);
        let name = name.as_ref().map_or(ptr::null(), |name| name.as_ptr());
        // SAFETY: the null pointers stand for no attributes (so it is not inherited) and
        // no name; a name ends with a NUL and lives until after the call.
        let event = unsafe { CreateEventW(ptr::null(), 1, 0, name) };
        if event.is_null() {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call succeeded, so this is an open handle that nobody
        // else owns.
        Ok(Event(unsafe { OwnedHandle::from_raw_handle(event) }))
    }

    /// Sets it.
    pub fn set(&self) {
        // SAFETY: the handle is an event's, and open. It cannot fail then.
        unsafe { SetEvent(self.0.as_raw_handle()) };
    }

    /// Resets it.
    pub fn reset(&self) {
        // SAFETY: as above.
        unsafe { ResetEvent(self.0.as_raw_handle()) };
    }
}

impl AsHandle for Event {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.0.as_handle()
    }
}

/// Waits until one of at most [`WAIT_MOST`] events is set, and says which; `None`
/// if none is within `timeout`. Without one it waits for as long as it takes.
///
/// # Errors
///
/// What the system reports, as for no events or too many.
pub fn wait_any(
    events: &[BorrowedHandle<'_>],
    timeout: Option<Duration>,
) -> io::Result<Option<usize>> {
    let handles: Vec<HANDLE> = events.iter().map(|event| event.as_raw_handle()).collect();
    let count = u32::try_from(handles.len()).unwrap_or(u32::MAX);
    let milliseconds = timeout.map_or(INFINITE, |timeout| {
        // Rounded up, so that nobody wakes before his time; a wait of weeks ends
        // early, as any may.
        let rounded = timeout.as_nanos().div_ceil(1_000_000);
        u32::try_from(rounded).unwrap_or(INFINITE).min(INFINITE - 1)
    });
    // SAFETY: the handles are borrowed for the call, and as many as is said.
    let result = unsafe { WaitForMultipleObjects(count, handles.as_ptr(), 0, milliseconds) };
    match result {
        WAIT_TIMEOUT => Ok(None),
        WAIT_FAILED => Err(io::Error::last_os_error()),
        index => Ok(usize::try_from(index.wrapping_sub(WAIT_OBJECT_0)).ok()),
    }
}
