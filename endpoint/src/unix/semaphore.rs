//! Named POSIX semaphores, which rustix has no calls for.
#![allow(unsafe_code)]

use std::ffi::{CString, c_uint};
use std::io;
use std::ptr::NonNull;

/// A semaphore that this process has made. Its name stays until it is unlinked.
#[derive(Debug)]
pub(crate) struct Semaphore {
    semaphore: NonNull<libc::sem_t>,
    name: CString,
}

// SAFETY: POSIX lets any thread of a process use a semaphore that is open in it, and
// several at once.
unsafe impl Send for Semaphore {}
// SAFETY: as above; what it points to is never used but through POSIX's calls.
unsafe impl Sync for Semaphore {}

impl Semaphore {
    /// Makes a new one that counts 0, for this user alone. One that was there loses its
    /// name: it may be anybody's, who could cut the memory off that is shared with him.
    pub(crate) fn claim(name: &str) -> io::Result<Semaphore> {
        let name = CString::new(name)?;
        // SAFETY: the name ends with a NUL and lives until after the call. That there may
        // be none, or another user's, the next call finds out.
        unsafe { libc::sem_unlink(name.as_ptr()) };
        let mode: c_uint = 0o600;
        let value: c_uint = 0;
        let flags = libc::O_CREAT | libc::O_EXCL;
        // SAFETY: the name lives until after the call, which takes a mode and a value, both
        // unsigned, because of O_CREAT.
        let semaphore = unsafe { libc::sem_open(name.as_ptr(), flags, mode, value) };
        match NonNull::new(semaphore) {
            Some(semaphore) if semaphore.as_ptr() != libc::SEM_FAILED => {
                Ok(Semaphore { semaphore, name })
            }
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Takes its name away; those who have opened it keep it.
    pub(crate) fn unlink(&self) {
        // SAFETY: the name ends with a NUL and lives until after the call. An error says
        // that it has gone already.
        unsafe { libc::sem_unlink(self.name.as_ptr()) };
    }

    /// Counts up. What is more than it can count is lost.
    pub(crate) fn set(&self) {
        // SAFETY: it is open until it is dropped.
        if unsafe { libc::sem_post(self.semaphore.as_ptr()) } != 0 {
            tracing::warn!(error = %io::Error::last_os_error(), "a semaphore cannot be posted");
        }
    }
}

impl Drop for Semaphore {
    fn drop(&mut self) {
        // SAFETY: it is open, and nobody uses it after this.
        unsafe { libc::sem_close(self.semaphore.as_ptr()) };
    }
}
