//! Claiming a pipe's name and making its instances.
#![allow(unsafe_code)]

use std::io;
use std::os::windows::io::{FromRawHandle as _, OwnedHandle};

use windows_sys::Win32::Foundation::{ERROR_ACCESS_DENIED, ERROR_PIPE_BUSY, INVALID_HANDLE_VALUE};
use windows_sys::Win32::Security::SECURITY_ATTRIBUTES;
use windows_sys::Win32::Storage::FileSystem::{
    FILE_FLAG_FIRST_PIPE_INSTANCE, FILE_FLAG_OVERLAPPED, PIPE_ACCESS_DUPLEX,
};
use windows_sys::Win32::System::Pipes::{
    CreateNamedPipeW, PIPE_READMODE_BYTE, PIPE_READMODE_MESSAGE, PIPE_REJECT_REMOTE_CLIENTS,
    PIPE_TYPE_BYTE, PIPE_TYPE_MESSAGE, PIPE_UNLIMITED_INSTANCES, PIPE_WAIT,
};

use super::descriptor::Descriptor;
use super::memory::wide;
use crate::address::{Address, Place};
use crate::error::Holder;
use crate::{Endpoint, Error, ListenOptions};

/// The first instance of a pipe, and what it takes to make further ones.
#[derive(Debug)]
#[must_use = "dropped, it gives the endpoint back"]
pub struct Listener {
    first: OwnedHandle,
    claim: Claim,
}

impl Listener {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.claim.address
    }

    /// The first instance, to be given to a runtime, and what makes the
    /// others. See [`Claim`] for what an adapter must keep to.
    pub fn into_parts(self) -> (OwnedHandle, Claim) {
        (self.first, self.claim)
    }
}

/// The means to make further instances of a claimed pipe, all alike.
///
/// Unlike on Unix the claim itself is held by the instances: the name belongs
/// to this process for as long as at least one is open, and once none is,
/// another program can take it. So an adapter that accepts must make the next
/// instance *before* it hands out a connected one, and keep those that wait.
/// It should keep several waiting, for a client that finds none waits and
/// tries again ([`Error::Busy`]).
#[derive(Debug)]
#[must_use = "dropped, it gives the endpoint back"]
pub struct Claim {
    address: Address,
    descriptor: Descriptor,
    buffer: u32,
    remote_clients: bool,
    message_mode: bool,
}

impl Claim {
    /// The address that is claimed.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Makes another instance, to which the next client can connect at once:
    /// overlapped, in the mode and with the permissions of the first, not
    /// inherited.
    ///
    /// # Errors
    ///
    /// [`Error::PermissionDenied`] if the name has been lost to another user
    /// (no instance was open); [`Error::Io`] for anything else, such as a
    /// system without room.
    pub fn next_instance(&self) -> Result<OwnedHandle, Error> {
        self.make(false).map_err(|source| {
            if is(&source, ERROR_ACCESS_DENIED) {
                Error::PermissionDenied {
                    doing: "make another instance of",
                    address: self.address.clone(),
                    source,
                }
            } else {
                Error::io("making another pipe instance", &self.address, source)
            }
        })
    }

    fn make(&self, first: bool) -> io::Result<OwnedHandle> {
        let Place::Pipe(name) = &*self.address.place else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let name = wide(name);
        let attributes = SECURITY_ATTRIBUTES {
            nLength: size_of::<SECURITY_ATTRIBUTES>().try_into().unwrap_or(0),
            lpSecurityDescriptor: self.descriptor.pointer(),
            bInheritHandle: 0,
        };
        let mut open = PIPE_ACCESS_DUPLEX | FILE_FLAG_OVERLAPPED;
        if first {
            open |= FILE_FLAG_FIRST_PIPE_INSTANCE;
        }
        let mut mode = match self.message_mode {
            true => PIPE_TYPE_MESSAGE | PIPE_READMODE_MESSAGE | PIPE_WAIT,
            false => PIPE_TYPE_BYTE | PIPE_READMODE_BYTE | PIPE_WAIT,
        };
        if !self.remote_clients {
            mode |= PIPE_REJECT_REMOTE_CLIENTS;
        }
        // SAFETY: the name ends with a NUL; the attributes and the descriptor
        // they point to live until after the call, which only reads them.
        let handle = unsafe {
            CreateNamedPipeW(
                name.as_ptr(),
                open,
                mode,
                PIPE_UNLIMITED_INSTANCES,
                self.buffer,
                self.buffer,
                0,
                &raw const attributes,
            )
        };
        if handle == INVALID_HANDLE_VALUE {
            return Err(io::Error::last_os_error());
        }
        tracing::trace!(address = %self.address, first, "made a pipe instance");
        // SAFETY: the call succeeded, so this is an open handle that nobody
        // else owns.
        Ok(unsafe { OwnedHandle::from_raw_handle(handle) })
    }
}

pub(crate) fn listen(endpoint: &Endpoint, options: &ListenOptions) -> Result<Listener, Error> {
    let Some(address) = endpoint.addresses()?.into_iter().next() else {
        return Err(Error::NotFound { tried: Vec::new() });
    };
    let claim = Claim {
        address,
        descriptor: Descriptor::of(options)?,
        buffer: options.pipe_buffer,
        remote_clients: options.remote_clients,
        message_mode: options.message_mode,
    };
    let first = claim.make(true).map_err(|source| {
        // What the system says when the flag for the first instance finds an
        // earlier one. Who made that is not told without taking one of its
        // instances from a client, so it is not asked.
        if is(&source, ERROR_ACCESS_DENIED) || is(&source, ERROR_PIPE_BUSY) {
            Error::AddressInUse {
                address: claim.address.clone(),
                holder: Holder::default(),
            }
        } else {
            Error::io("making the first pipe instance", &claim.address, source)
        }
    })?;
    tracing::debug!(address = %claim.address, access = %options.access, "listening");
    Ok(Listener { first, claim })
}

/// Whether the error is that of the system with this code.
pub(super) fn is(error: &io::Error, code: u32) -> bool {
    error.raw_os_error() == Some(code.cast_signed())
}
