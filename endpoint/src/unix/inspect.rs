//! What is at an address, without connecting to it.

use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, Stat};
use rustix::io::Errno;

use super::directory;
use crate::address::{Address, Place, Trust};
use crate::{Error, Found, Inspected, User};

pub(crate) fn inspect(address: Address) -> Inspected {
    let (found, trouble) = match &*address.place {
        Place::Path { path, trust } => match directory::trouble(path, *trust) {
            // Who may put things there decides what they mean.
            Some(trouble) => (look(path, *trust).map(|(found, _)| found), Some(trouble)),
            None => match look(path, *trust) {
                Some((found, true)) => (Some(found), None),
                Some((found, false)) => {
                    let trouble = Error::NotASocket {
                        address: address.clone(),
                        found: found.what,
                    };
                    (Some(found), Some(trouble))
                }
                None => (None, None),
            },
        },
        // It has neither an owner nor permissions.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        Place::Abstract(_) => (None, None),
        Place::Url(url) => (None, Some(url.unsupported())),
    };
    Inspected {
        address,
        found,
        trouble,
    }
}

/// What is there, and whether one could connect to it. Links count only where the
/// user named the path.
fn look(path: &Path, trust: Trust) -> Option<(Found, bool)> {
    let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
    let stat = rustix::fs::statat(CWD, path, flags).ok()?;
    match (FileType::from_raw_mode(stat.st_mode), trust) {
        (FileType::Socket, _) => Some((found("a socket", &stat), true)),
        (FileType::Symlink, Trust::Private { .. }) => Some((found("a link", &stat), false)),
        (FileType::Symlink, Trust::Given) => match rustix::fs::stat(path) {
            Ok(behind) if FileType::from_raw_mode(behind.st_mode) == FileType::Socket => {
                Some((found("a link to a socket", &behind), true))
            }
            Ok(behind) => Some((found("a link to something else", &behind), false)),
            Err(Errno::NOENT) => Some((found("a link to nothing", &stat), false)),
            Err(_) => Some((found("a link", &stat), false)),
        },
        (FileType::Directory, _) => Some((found("a directory", &stat), false)),
        _ => Some((found("a file", &stat), false)),
    }
}

#[allow(clippy::useless_conversion, reason = "a mode is shorter elsewhere")]
fn found(what: &'static str, stat: &Stat) -> Found {
    Found {
        what,
        owner: User::Uid(stat.st_uid),
        mode: Mode::from_raw_mode(stat.st_mode).as_raw_mode().into(),
    }
}
