//! What a listener holds, and gives back in order.

use std::ffi::OsString;

use rustix::fs::{AtFlags, Stat};

use super::directory::Directory;
use super::lock::{self, Lock};
use crate::Address;

/// The claim on an address, held while listening. Keep it as long as the
/// socket: dropping it removes the socket's file if it is still ours (by
/// device and inode, so never a successor's), then the lock.
///
/// Drop it before the socket or after: others can start from then on. A
/// process that was forked from the one that listens removes nothing.
#[derive(Debug)]
#[must_use = "dropped, it gives the endpoint back"]
pub struct Claim {
    address: Address,
    held: Option<Held>,
    process: u32,
}

/// The parts of a claim on a path; an abstract socket needs none.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) directory: Directory,
    pub(super) lock: Lock,
    pub(super) name: OsString,
    /// The socket's file, once it is made.
    pub(super) socket: Option<Stat>,
}

impl Claim {
    pub(super) fn new(address: Address, held: Option<Held>) -> Claim {
        Claim {
            address,
            held,
            process: std::process::id(),
        }
    }

    pub(super) fn held(&mut self) -> Option<&mut Held> {
        self.held.as_mut()
    }

    /// The address that is claimed.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Whether clients can still find the socket: false once something has
    /// removed or replaced its file, as a cleaner of temporary directories
    /// might. The remedy is to drop the claim and listen anew.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        match &self.held {
            Some(held) => held.is_there(),
            None => true,
        }
    }
}

impl Held {
    fn is_there(&self) -> bool {
        self.socket
            .as_ref()
            .is_some_and(|socket| lock::is_at(&self.directory, &self.name, socket))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let Some(held) = &self.held else { return };
        if std::process::id() != self.process {
            return;
        }
        if held.is_there() {
            let flags = AtFlags::empty();
            match rustix::fs::unlinkat(&held.directory.fd, &held.name, flags) {
                Ok(()) => tracing::debug!(address = %self.address, "released"),
                Err(error) => {
                    tracing::warn!(address = %self.address, %error, "could not remove the socket");
                }
            }
        }
        held.lock.remove(&held.directory);
    }
}
