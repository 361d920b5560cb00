//! What only macOS has.
#![allow(unsafe_code)]

use std::ffi::{CString, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::io::Errno;

/// Makes a FIFO; rustix has no call for that here.
pub(super) fn make_fifo(path: &Path, mode: Mode) -> Result<(), Errno> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::INVAL)?;
    // SAFETY: the path ends with a NUL and lives until after the call.
    if unsafe { libc::mkfifo(path.as_ptr(), mode.as_raw_mode()) } == 0 {
        return Ok(());
    }
    let error = std::io::Error::last_os_error();
    Err(Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

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
