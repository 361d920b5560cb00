//! One attempt to connect, at each place in turn.
#![allow(unsafe_code)]

use std::io;
use std::os::windows::io::{FromRawHandle as _, OwnedHandle};
use std::ptr;

use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_FILE_NOT_FOUND, ERROR_PATH_NOT_FOUND, ERROR_PIPE_BUSY,
    INVALID_HANDLE_VALUE,
};
use windows_sys::Win32::Storage::FileSystem::{
    CreateFileW, FILE_FLAG_OVERLAPPED, OPEN_EXISTING, SECURITY_IDENTIFICATION,
    SECURITY_SQOS_PRESENT,
};

use super::descriptor::CLIENT_RIGHTS;
use super::listen::is;
use super::memory::wide;
use super::peer;
use crate::address::{Address, Place};
use crate::{Access, Connected, Endpoint, Error, ErrorKind};

pub(crate) fn connect(endpoint: &Endpoint, server: &Access) -> Result<Connected, Error> {
    let addresses = endpoint.addresses()?;
    for address in &addresses {
        match attempt(address, server) {
            Ok(connected) => {
                tracing::debug!(%address, server = %connected.peer.user, "connected");
                return Ok(connected);
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Err(Error::NotFound { tried: addresses })
}

fn attempt(address: &Address, server: &Access) -> Result<Connected, Error> {
    let stream = open(address).map_err(|source| explain(source, address))?;
    let peer = peer::server_of(&stream)?;
    server.check(&peer).map_err(|error| error.at(address))?;
    Ok(Connected {
        stream,
        address: address.clone(),
        peer,
    })
}

fn open(address: &Address) -> io::Result<OwnedHandle> {
    let Place::Pipe(name) = &*address.place else {
        return Err(io::ErrorKind::Unsupported.into());
    };
    let name = wide(name);
    // With identification only, so that whoever the server is, it can see who
    // this client is and cannot act in its name.
    let flags = FILE_FLAG_OVERLAPPED | SECURITY_SQOS_PRESENT | SECURITY_IDENTIFICATION;
    // SAFETY: the name ends with a NUL and lives until after the call; the
    // null pointers stand for no attributes (so it is not inherited) and no
    // template.
    let handle = unsafe {
        CreateFileW(
            name.as_ptr(),
            CLIENT_RIGHTS,
            0,
            ptr::null(),
            OPEN_EXISTING,
            flags,
            ptr::null_mut(),
        )
    };
    if handle == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so this is an open handle that nobody else
    // owns.
    Ok(unsafe { OwnedHandle::from_raw_handle(handle) })
}

fn explain(source: io::Error, address: &Address) -> Error {
    let address = address.clone();
    if is(&source, ERROR_FILE_NOT_FOUND) || is(&source, ERROR_PATH_NOT_FOUND) {
        Error::NotFound {
            tried: vec![address],
        }
    } else if is(&source, ERROR_PIPE_BUSY) {
        Error::Busy { address }
    } else if is(&source, ERROR_ACCESS_DENIED) {
        Error::PermissionDenied {
            doing: "connect to",
            address,
            source,
        }
    } else {
        Error::io("connecting", address, source)
    }
}
