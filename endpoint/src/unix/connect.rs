//! One attempt to connect, at each place in turn.

use std::path::Path;

use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;

use super::{credentials, directory, socket};
use crate::address::{Address, Place, Trust};
use crate::{Access, Connected, Endpoint, Error, ErrorKind};

pub(crate) fn connect(endpoint: &Endpoint, server: &Access) -> Result<Connected, Error> {
    let addresses = endpoint.addresses()?;
    let mut worst: Option<Error> = None;
    for address in &addresses {
        let error = match attempt(address, server) {
            Ok(connected) => {
                tracing::debug!(%address, server = %connected.peer.user, "connected");
                return Ok(connected);
            }
            Err(error) => error,
        };
        tracing::trace!(%address, %error, "not connected");
        // A server is there: the others are not asked.
        if error.kind() == ErrorKind::Busy {
            return Err(error);
        }
        if worst
            .as_ref()
            .is_none_or(|worst| weight(&error) > weight(worst))
        {
            worst = Some(error);
        }
    }
    match worst {
        Some(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Err(Error::NotFound { tried: addresses }),
    }
}

/// Which of several errors says most: a stranger's directory more than a
/// socket left behind, and that more than nothing at all.
fn weight(error: &Error) -> u8 {
    match error.kind() {
        ErrorKind::NotFound => 0,
        ErrorKind::Refused => 1,
        _ => 2,
    }
}

fn attempt(address: &Address, server: &Access) -> Result<Connected, Error> {
    match &*address.place {
        Place::Path {
            path,
            trust: trust @ Trust::Private { .. },
        } => look(path, *trust, address)?,
        Place::Path { .. } => {}
        #[cfg(any(target_os = "linux", target_os = "android"))]
        Place::Abstract(_) if *server == Access::Anyone => {
            return Err(Error::AccessTooWide {
                address: address.clone(),
            });
        }
        #[cfg(any(target_os = "linux", target_os = "android"))]
        Place::Abstract(_) => {}
        Place::Url(url) => return Err(url.unsupported()),
    }
    let name = socket::name_of(address)?;
    let stream = socket::attempt(&name).map_err(|errno| explain(errno, address))?;
    if let Err(error) = socket::prepare(&stream) {
        tracing::warn!(%address, %error, "the socket keeps its small buffers");
    }
    let peer = credentials::peer_of(&stream)?;
    server.check(&peer).map_err(|error| error.at(address))?;
    Ok(Connected {
        stream,
        address: address.clone(),
        peer,
    })
}

/// Connecting follows links. In a place that was derived from a name, a link
/// of a stranger could lead to another server of this very user, which would
/// pass the check; so its directory must be this user's, and the socket real.
fn look(path: &Path, trust: Trust, address: &Address) -> Result<(), Error> {
    let directory = directory::open(path, trust, address)?;
    let Some(name) = path.file_name() else {
        return Ok(());
    };
    match rustix::fs::statat(&directory.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(there) if FileType::from_raw_mode(there.st_mode) == FileType::Socket => Ok(()),
        Ok(_) => Err(Error::NotASocket {
            address: address.clone(),
            found: "a link or a file",
        }),
        Err(errno) => Err(explain(errno, address)),
    }
}

fn explain(errno: Errno, address: &Address) -> Error {
    let address = address.clone();
    match errno {
        Errno::NOENT | Errno::NOTDIR => Error::NotFound {
            tried: vec![address],
        },
        // An abstract name does not outlive its server.
        Errno::CONNREFUSED if address.as_path().is_none() => Error::NotFound {
            tried: vec![address],
        },
        // BSD and macOS say so of a full backlog too; a server that still
        // lives left its process id in the lock file.
        Errno::CONNREFUSED
            if !cfg!(any(target_os = "linux", target_os = "android")) && seems_alive(&address) =>
        {
            Error::Busy { address }
        }
        Errno::CONNREFUSED => Error::Refused { address },
        Errno::AGAIN | Errno::INPROGRESS => Error::Busy { address },
        Errno::ACCESS | Errno::PERM => Error::PermissionDenied {
            doing: "connect to",
            address,
            source: errno.into(),
        },
        Errno::PROTOTYPE => Error::NotASocket {
            address,
            found: "a socket of another type",
        },
        _ => Error::io("connecting", address, errno),
    }
}

/// Whether the program that signed the lock file is still there. A guess, for
/// it decides no more than whether to try again; taking the lock to find out
/// could make a starting server believe that another one runs.
fn seems_alive(address: &Address) -> bool {
    let Some(path) = address.as_path() else {
        return false;
    };
    let mut lock = path.as_os_str().to_owned();
    lock.push(".lock");
    let signed = std::fs::read_to_string(lock)
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .filter(|pid| *pid > 0)
        .and_then(rustix::process::Pid::from_raw);
    match signed.map(rustix::process::test_kill_process) {
        Some(result) => result != Err(Errno::SRCH),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_file_tells_whether_its_writer_lives() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("app.sock");
        let address = Address::from(Place::Path {
            path: path.clone(),
            trust: Trust::Given,
        });
        assert!(!seems_alive(&address));
        let mut gone = std::process::Command::new("true").spawn().unwrap();
        gone.wait().unwrap();
        for (text, alive) in [
            (std::process::id().to_string(), true),
            (gone.id().to_string(), false),
            (String::new(), false),
            ("-1".to_owned(), false),
        ] {
            std::fs::write(place.path().join("app.sock.lock"), &text).unwrap();
            assert_eq!(seems_alive(&address), alive, "{text:?}");
        }
    }
}
