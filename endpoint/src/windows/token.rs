//! Tokens: whom a process or a thread acts for.
#![allow(unsafe_code)]

use std::io;
use std::os::windows::io::{
    AsHandle as _, AsRawHandle as _, BorrowedHandle, FromRawHandle as _, OwnedHandle,
};
use std::ptr;
use std::sync::OnceLock;

use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::Security::{
    GetTokenInformation, TOKEN_QUERY, TOKEN_USER, TokenIsAppContainer, TokenUser,
};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, OpenProcessToken};

use super::memory;
use crate::{Error, User};

pub(crate) fn current_user() -> Result<User, Error> {
    // The user of a process never changes.
    static SID: OnceLock<String> = OnceLock::new();
    if let Some(sid) = SID.get() {
        return Ok(User::Sid(sid.clone()));
    }
    let sid = process_token()
        .and_then(|token| user_of(token.as_handle()))
        .map_err(|source| Error::io("asking for the current user", "this process", source))?;
    Ok(User::Sid(SID.get_or_init(|| sid).clone()))
}

/// Whether this process runs in an app container, which sees only pipes whose
/// names begin with `LOCAL\`.
pub(super) fn in_app_container() -> bool {
    let Ok(token) = process_token() else {
        return false;
    };
    let mut inside = 0_u32;
    let mut length = 0_u32;
    // SAFETY: the handle is open for the call, and the buffer is a live u32
    // whose size is given.
    let result = unsafe {
        GetTokenInformation(
            token.as_raw_handle(),
            TokenIsAppContainer,
            (&raw mut inside).cast(),
            4,
            &raw mut length,
        )
    };
    result != 0 && inside != 0
}

fn process_token() -> io::Result<OwnedHandle> {
    let mut token: HANDLE = ptr::null_mut();
    // SAFETY: the pseudo-handle is always valid, and the pointer is to a live
    // variable.
    if unsafe { OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &raw mut token) } == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: on success it is an open handle that nobody else owns.
    Ok(unsafe { OwnedHandle::from_raw_handle(token) })
}

/// The SID of a token's user. The token must be open for queries.
pub(super) fn user_of(token: BorrowedHandle<'_>) -> io::Result<String> {
    // A SID has at most 68 bytes. In units of u64, so that it is aligned for
    // the pointer that TOKEN_USER begins with.
    let mut buffer = [0_u64; 32];
    let mut length = 0_u32;
    // SAFETY: the handle is borrowed for the call, and the buffer is live,
    // writable and as long as said.
    let result = unsafe {
        GetTokenInformation(
            token.as_raw_handle(),
            TokenUser,
            buffer.as_mut_ptr().cast(),
            size_of_val(&buffer).try_into().unwrap_or(0),
            &raw mut length,
        )
    };
    if result == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so the buffer begins with a TOKEN_USER, for
    // which it is aligned.
    let user = unsafe { &*buffer.as_ptr().cast::<TOKEN_USER>() };
    // SAFETY: its SID lies in the same buffer, which is still there.
    unsafe { memory::sid_text(user.User.Sid) }
}
