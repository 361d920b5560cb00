//! Text and memory as Windows passes them.
#![allow(unsafe_code)]

use std::io;
use std::ptr;

use windows_sys::Win32::Foundation::LocalFree;
use windows_sys::Win32::Security::Authorization::ConvertSidToStringSidW;
use windows_sys::Win32::Security::PSID;

/// UTF-16 with a NUL at the end.
pub(super) fn wide(text: &str) -> Vec<u16> {
    text.encode_utf16().chain([0]).collect()
}

/// Memory that the system gave and wants back through LocalFree.
pub(super) struct Local<T>(pub(super) *mut T);

impl<T> Local<T> {
    pub(super) fn empty() -> Local<T> {
        Local(ptr::null_mut())
    }
}

impl<T> Drop for Local<T> {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: the pointer came from a call that documents LocalFree,
            // it is freed once, and nothing borrowed from it outlives this.
            unsafe { LocalFree(self.0.cast()) };
        }
    }
}

/// The text of a security identifier, `S-1-…`.
///
/// # Safety
///
/// `sid` must point to a valid SID for the length of the call.
pub(super) unsafe fn sid_text(sid: PSID) -> io::Result<String> {
    let mut text = Local::<u16>::empty();
    // SAFETY: the caller vouches for the SID, and the pointer for the result
    // is to a live variable.
    if unsafe { ConvertSidToStringSidW(sid, &raw mut text.0) } == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: on success it points to a string that ends with a NUL and lives
    // until `text` is dropped.
    Ok(unsafe { from_wide(text.0) })
}

/// The text up to the NUL.
///
/// # Safety
///
/// `text` must point to a string that ends with a NUL.
pub(super) unsafe fn from_wide(text: *const u16) -> String {
    let mut length = 0;
    // SAFETY: no unit beyond the NUL is read, and the caller vouches for it.
    while unsafe { *text.add(length) } != 0 {
        length += 1;
    }
    // SAFETY: these units were just read.
    String::from_utf16_lossy(unsafe { std::slice::from_raw_parts(text, length) })
}
