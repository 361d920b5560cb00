//! Who is at the other end of a pipe.
#![allow(unsafe_code)]

use std::io;
use std::os::windows::io::{
    AsHandle, AsRawHandle as _, BorrowedHandle, FromRawHandle as _, OwnedHandle,
};
use std::ptr;

use windows_sys::Win32::Foundation::{ERROR_CANNOT_IMPERSONATE, HANDLE};
use windows_sys::Win32::Security::Authorization::{
    ConvertSecurityDescriptorToStringSecurityDescriptorW, GetSecurityInfo, SDDL_REVISION_1,
    SE_KERNEL_OBJECT,
};
use windows_sys::Win32::Security::{
    DACL_SECURITY_INFORMATION, OWNER_SECURITY_INFORMATION, PSECURITY_DESCRIPTOR, PSID,
    RevertToSelf, TOKEN_QUERY,
};
use windows_sys::Win32::System::Pipes::{
    GetNamedPipeClientProcessId, GetNamedPipeServerProcessId, ImpersonateNamedPipeClient,
};
use windows_sys::Win32::System::Threading::{GetCurrentThread, OpenThreadToken};

use super::listen::is;
use super::memory::{self, Local};
use super::token;
use crate::{Error, Peer, User};

/// Who connected to a server's end of a pipe.
///
/// Ask after the first byte was read, and act on nothing before: until then
/// the system does not say. The thread takes on the client's identity for a
/// moment, with which nothing is done but to read its name, and its own again;
/// if it was acting for yet another user, that has ended when this returns.
///
/// # Errors
///
/// [`Error::IdentityNotYet`] when nothing was read yet; [`Error::Io`] when the
/// system does not say, as when the client is gone or connected anonymously.
/// Should the thread not get its own identity back, the process is ended, for
/// all it did from then on would be done in the client's name.
pub fn client_of(pipe: &impl AsHandle) -> Result<Peer, Error> {
    let pipe = pipe.as_handle();
    let failed = |source: io::Error| {
        if is(&source, ERROR_CANNOT_IMPERSONATE) {
            Error::IdentityNotYet
        } else {
            Error::io("asking for the identity of the client", "the pipe", source)
        }
    };
    let token = token_of_client(pipe).map_err(failed)?;
    let sid = token::user_of(token.as_handle()).map_err(failed)?;
    let mut process = 0_u32;
    // SAFETY: the handle is borrowed for the call, and the pointer is to a
    // live variable.
    let told = unsafe { GetNamedPipeClientProcessId(pipe.as_raw_handle(), &raw mut process) };
    Ok(Peer {
        user: User::Sid(sid),
        group: None,
        process: (told != 0).then_some(process),
    })
}

/// Who serves a client's end of a pipe: the owner of the pipe, which only that
/// user (or an administrator) can have set.
///
/// # Errors
///
/// [`Error::Io`] when the system does not say, as when the handle is not one
/// of a pipe or may not read the owner.
pub fn server_of(pipe: &impl AsHandle) -> Result<Peer, Error> {
    let pipe = pipe.as_handle();
    let sid =
        owner(pipe).map_err(|source| Error::io("asking for the owner", "the pipe", source))?;
    let mut process = 0_u32;
    // SAFETY: the handle is borrowed for the call, and the pointer is to a
    // live variable.
    let told = unsafe { GetNamedPipeServerProcessId(pipe.as_raw_handle(), &raw mut process) };
    Ok(Peer {
        user: User::Sid(sid),
        group: None,
        process: (told != 0).then_some(process),
    })
}

/// Who may do what with a pipe, as text in Windows' security descriptor
/// definition language (SDDL), such as
/// `D:P(D;;GA;;;NU)(A;;GA;;;S-1-5-21-…)(A;;GA;;;SY)`.
///
/// # Errors
///
/// [`Error::Io`] when the system does not say, as when the handle may not read
/// the permissions.
pub fn permissions_of(pipe: &impl AsHandle) -> Result<String, Error> {
    let failed = |source| Error::io("asking for the permissions", "the pipe", source);
    let mut descriptor = Local(ptr::null_mut());
    // SAFETY: the handle is borrowed for the call; the pointer for the result is to
    // a live variable, and the null ones ask for nothing.
    let result = unsafe {
        GetSecurityInfo(
            pipe.as_handle().as_raw_handle(),
            SE_KERNEL_OBJECT,
            DACL_SECURITY_INFORMATION,
            ptr::null_mut(),
            ptr::null_mut(),
            ptr::null_mut(),
            ptr::null_mut(),
            &raw mut descriptor.0,
        )
    };
    if result != 0 {
        return Err(failed(io::Error::from_raw_os_error(result.cast_signed())));
    }
    let mut text = Local::<u16>::empty();
    // SAFETY: the descriptor was just made and lives until the end; the pointer for
    // the result is to a live variable, and the null one asks for no length.
    let result = unsafe {
        ConvertSecurityDescriptorToStringSecurityDescriptorW(
            descriptor.0,
            SDDL_REVISION_1,
            DACL_SECURITY_INFORMATION,
            &raw mut text.0,
            ptr::null_mut(),
        )
    };
    if result == 0 {
        return Err(failed(io::Error::last_os_error()));
    }
    // SAFETY: on success it points to a string that ends with a NUL and lives until
    // `text` is dropped.
    Ok(unsafe { memory::from_wide(text.0) })
}

/// Ends the impersonation, however the scope is left.
struct Impersonation;

impl Drop for Impersonation {
    fn drop(&mut self) {
        // SAFETY: it takes nothing and concerns this thread alone.
        if unsafe { RevertToSelf() } == 0 {
            tracing::error!("could not end acting as a client; the process ends");
            std::process::abort();
        }
    }
}

fn token_of_client(pipe: BorrowedHandle<'_>) -> io::Result<OwnedHandle> {
    // SAFETY: the handle is borrowed for the call.
    if unsafe { ImpersonateNamedPipeClient(pipe.as_raw_handle()) } == 0 {
        return Err(io::Error::last_os_error());
    }
    let _ends_here = Impersonation;
    let mut token: HANDLE = ptr::null_mut();
    // As the process itself (1), for the client may not be allowed to open it.
    // SAFETY: the pseudo-handle is always valid, and the pointer is to a live
    // variable.
    if unsafe { OpenThreadToken(GetCurrentThread(), TOKEN_QUERY, 1, &raw mut token) } == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: on success it is an open handle that nobody else owns.
    Ok(unsafe { OwnedHandle::from_raw_handle(token) })
}

fn owner(pipe: BorrowedHandle<'_>) -> io::Result<String> {
    let mut owner: PSID = ptr::null_mut();
    let mut descriptor: PSECURITY_DESCRIPTOR = ptr::null_mut();
    // SAFETY: the handle is borrowed for the call; the two pointers are to
    // live variables, and the null ones ask for nothing.
    let result = unsafe {
        GetSecurityInfo(
            pipe.as_raw_handle(),
            SE_KERNEL_OBJECT,
            OWNER_SECURITY_INFORMATION,
            &raw mut owner,
            ptr::null_mut(),
            ptr::null_mut(),
            ptr::null_mut(),
            &raw mut descriptor,
        )
    };
    let _freed_at_the_end = Local(descriptor);
    if result != 0 {
        return Err(io::Error::from_raw_os_error(result.cast_signed()));
    }
    if owner.is_null() {
        return Err(io::Error::other("the pipe has no owner"));
    }
    // SAFETY: on success the owner points into the descriptor, which is freed
    // after this.
    unsafe { memory::sid_text(owner) }
}
