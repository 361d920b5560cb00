//! What only macOS has.
#![allow(unsafe_code)]

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

/// The temporary directory that the system keeps for this user alone.
pub(super) fn user_temporary_directory() -> Option<PathBuf> {
    let mut buffer = vec![0_u8; 1024];
    // SAFETY: the pointer and length are those of a live, writable buffer, and
    // confstr writes no more than that length.
    let written = unsafe {
        libc::confstr(
            libc::_CS_DARWIN_USER_TEMP_DIR,
            buffer.as_mut_ptr().cast(),
            buffer.len(),
        )
    };
    // It counts the final NUL; 0 is an error, more than the buffer a path that
    // would be too long for a socket anyway.
    if written < 2 || written > buffer.len() {
        return None;
    }
    buffer.truncate(written - 1);
    Some(PathBuf::from(OsString::from_vec(buffer)))
}
