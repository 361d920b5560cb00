//! Claiming an address, within one process. What needs other processes is in
//! `unix_processes.rs`, for a process that is being started holds copies of
//! every descriptor for a moment.
#![cfg(unix)]

mod common;

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use common::{entries, own_directory};
use sealpipe_endpoint::{
    Access, Endpoint, Error, ErrorKind, ListenOptions, Listener, User, connect, listen, peer_of,
    prepare,
};

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

/// Leaves a socket behind as a server that was killed would.
fn leave_stale(path: &Path) {
    drop(UnixListener::bind(path).unwrap());
    assert!(path.exists());
}

#[test]
fn a_message_crosses_and_nothing_is_left() {
    let place = own_directory();
    let path = place.path().join("app.sock");
    let endpoint = Endpoint::path(&path);
    let listener = listen(&endpoint, &Access::SameUser).unwrap();
    assert_eq!(listener.address().as_path(), Some(path.as_path()));
    assert_eq!(mode(&path), 0o600);
    let connected = connect(&endpoint, &Access::SameUser).unwrap();
    assert_eq!(connected.address.to_string(), path.display().to_string());
    assert_eq!(connected.peer.user, User::current().unwrap());
    assert_eq!(connected.peer.process, Some(std::process::id()));
    let (socket, claim) = listener.into_parts();
    let (accepted, _) = socket.accept().unwrap();
    prepare(&accepted).unwrap();
    let peer = peer_of(&accepted).unwrap();
    Access::SameUser.check(&peer).unwrap();
    // What it made is non-blocking.
    let mut byte = [0];
    let error = (&connected.stream).read(&mut byte).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    let error = socket.accept().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    (&connected.stream).write_all(b"x").unwrap();
    (&accepted).read_exact(&mut byte).unwrap();
    assert_eq!(byte, *b"x");
    assert!(claim.is_intact());
    drop(claim);
    assert_eq!(entries(place.path()), [""; 0]);
}

#[test]
fn a_wider_access_opens_the_socket() {
    let place = own_directory();
    let path = place.path().join("app.sock");
    for access in [Access::Anyone, Access::Users(vec![User::Uid(1)])] {
        let listener = listen(&Endpoint::path(&path), &access).unwrap();
        assert_eq!(mode(&path), 0o666);
        drop(listener);
    }
    assert_eq!(entries(place.path()), [""; 0]);
}

#[test]
fn of_many_threads_exactly_one_gets_it() {
    const THREADS: usize = 6;
    let place = own_directory();
    let path = place.path().join("app.sock");
    let endpoint = Endpoint::path(&path);
    for round in 0..300 {
        if round % 2 == 1 {
            leave_stale(&path);
        }
        let (start, end) = (Barrier::new(THREADS), Barrier::new(THREADS));
        let winners = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    start.wait();
                    let result = listen(&endpoint, &Access::SameUser);
                    match &result {
                        Ok(_) => _ = winners.fetch_add(1, Ordering::SeqCst),
                        Err(error) => assert_eq!(error.kind(), ErrorKind::AddressInUse, "{error}"),
                    }
                    end.wait();
                });
            }
        });
        assert_eq!(winners.into_inner(), 1, "in round {round}");
        assert_eq!(entries(place.path()), [""; 0]);
    }
}

#[test]
fn in_a_constant_coming_and_going_there_is_never_a_second() {
    let place = own_directory();
    let endpoint = Endpoint::path(place.path().join("app.sock"));
    let held = AtomicBool::new(false);
    let claims = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..1000 {
                    match listen(&endpoint, &Access::SameUser) {
                        Ok(listener) => {
                            assert!(!held.swap(true, Ordering::SeqCst));
                            claims.fetch_add(1, Ordering::SeqCst);
                            let (_socket, claim) = listener.into_parts();
                            assert!(claim.is_intact());
                            held.store(false, Ordering::SeqCst);
                            drop(claim);
                        }
                        Err(error) => assert_eq!(error.kind(), ErrorKind::AddressInUse, "{error}"),
                    }
                }
            });
        }
    });
    assert!(claims.into_inner() > 0);
    assert_eq!(entries(place.path()), [""; 0]);
}

#[test]
fn the_second_is_told_who_has_it() {
    let place = own_directory();
    let endpoint = Endpoint::path(place.path().join("app.sock"));
    let _first = listen(&endpoint, &Access::SameUser).unwrap();
    let error = listen(&endpoint, &Access::SameUser).unwrap_err();
    let Error::AddressInUse { holder, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(holder.process, Some(std::process::id()));
    assert_eq!(holder.user, Some(User::current().unwrap()));
    let text = error.to_string();
    assert!(
        text.contains(&format!("process {}", std::process::id())),
        "{text}"
    );
    assert!(!error.is_retryable(true));
}

#[test]
fn a_stale_socket_is_taken_over() {
    let place = own_directory();
    let path = place.path().join("app.sock");
    let endpoint = Endpoint::path(&path);
    leave_stale(&path);
    let error = connect(&endpoint, &Access::SameUser).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.is_retryable(true) && !error.is_retryable(false));
    let _listener = listen(&endpoint, &Access::SameUser).unwrap();
    connect(&endpoint, &Access::SameUser).unwrap();
}

#[test]
fn a_live_socket_without_a_lock_is_never_taken() {
    let place = own_directory();
    let path = place.path().join("app.sock");
    let endpoint = Endpoint::path(&path);
    let foreign = UnixListener::bind(&path).unwrap();
    let error = listen(&endpoint, &Access::SameUser).unwrap_err();
    let Error::AddressInUse { holder, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(holder.process, Some(std::process::id()));
    UnixStream::connect(&path).unwrap();
    drop(foreign);
    fs::remove_file(&path).unwrap();
    // Neither is one of another type, which cannot even be asked.
    let _datagrams = UnixDatagram::bind(&path).unwrap();
    let error = listen(&endpoint, &Access::SameUser).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddressInUse);
    let error = connect(&endpoint, &Access::SameUser).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Untrusted);
    assert_eq!(entries(place.path()), ["app.sock"]);
}

#[test]
fn only_ones_own_is_removed() {
    let place = own_directory();
    let path = place.path().join("app.sock");
    let (_socket, claim) = listen(&Endpoint::path(&path), &Access::SameUser)
        .unwrap()
        .into_parts();
    // A program that knows of no lock puts its own in that place.
    fs::remove_file(&path).unwrap();
    assert!(!claim.is_intact());
    let successor = UnixListener::bind(&path).unwrap();
    drop(claim);
    UnixStream::connect(&path).unwrap();
    drop(successor);
    assert_eq!(entries(place.path()), ["app.sock"]);
}

#[test]
fn a_lock_file_that_was_cleaned_away_lets_nobody_in_beside() {
    let place = own_directory();
    let path = place.path().join("app.sock");
    let endpoint = Endpoint::path(&path);
    let first = listen(&endpoint, &Access::SameUser).unwrap();
    fs::remove_file(place.path().join("app.sock.lock")).unwrap();
    let error = listen(&endpoint, &Access::SameUser).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddressInUse);
    drop(first);
    assert_eq!(entries(place.path()), [""; 0]);
}

#[test]
fn what_is_not_a_socket_is_never_removed() {
    let place = own_directory();
    let path = place.path().join("app.sock");
    let endpoint = Endpoint::path(&path);
    let target = place.path().join("target");
    fs::write(&target, "precious").unwrap();
    symlink(&target, &path).unwrap();
    let error = listen(&endpoint, &Access::SameUser).unwrap_err();
    assert!(matches!(error, Error::NotASocket { .. }), "{error}");
    fs::remove_file(&path).unwrap();
    fs::write(&path, "precious too").unwrap();
    let error = listen(&endpoint, &Access::SameUser).unwrap_err();
    assert!(matches!(error, Error::NotASocket { .. }), "{error}");
    assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious too");
}

#[test]
fn a_link_instead_of_the_lock_is_not_followed() {
    let place = own_directory();
    let path = place.path().join("app.sock");
    let target = place.path().join("target");
    symlink(&target, place.path().join("app.sock.lock")).unwrap();
    let error = listen(&Endpoint::path(&path), &Access::SameUser).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Untrusted, "{error}");
    assert!(!target.exists());
}

#[test]
fn a_file_that_is_no_lock_is_neither_written_nor_removed() {
    let place = own_directory();
    let endpoint = Endpoint::path(place.path().join("app.sock"));
    let lock = place.path().join("app.sock.lock");
    let precious = "x".repeat(33);
    fs::write(&lock, &precious).unwrap();
    let error = listen(&endpoint, &Access::SameUser).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Untrusted, "{error}");
    assert!(error.to_string().contains("app.sock.lock in it"), "{error}");
    assert_eq!(fs::read_to_string(&lock).unwrap(), precious);
    fs::remove_file(&lock).unwrap();
    // Another name of a file that happens to be small.
    let other = place.path().join("other");
    fs::write(&other, "small").unwrap();
    fs::hard_link(&other, &lock).unwrap();
    listen(&endpoint, &Access::SameUser).unwrap_err();
    assert_eq!(fs::read_to_string(&other).unwrap(), "small");
}

#[test]
fn a_socket_that_was_passed_is_adopted_and_left_in_place() {
    let place = own_directory();
    let path = place.path().join("app.sock");
    let listener = Listener::adopt(UnixListener::bind(&path).unwrap()).unwrap();
    assert_eq!(listener.address().as_path(), Some(path.as_path()));
    connect(&Endpoint::path(&path), &Access::SameUser).unwrap();
    let (socket, claim) = listener.into_parts();
    socket.accept().unwrap();
    let error = socket.accept().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    drop((socket, claim));
    assert_eq!(entries(place.path()), ["app.sock"]);
}

#[test]
fn nothing_there_is_told_from_no_directory() {
    let place = own_directory();
    let path = place.path().join("app.sock");
    let error = connect(&Endpoint::path(&path), &Access::SameUser).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains(&path.display().to_string()));
    let missing = Endpoint::path(place.path().join("none/app.sock"));
    let error = connect(&missing, &Access::SameUser).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let error = listen(&missing, &Access::SameUser).unwrap_err();
    assert!(matches!(error, Error::Directory { .. }), "{error}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_backlog_is_busy_and_live() {
    let place = own_directory();
    let endpoint = Endpoint::path(place.path().join("app.sock"));
    let listener = ListenOptions::new().backlog(0).listen(&endpoint).unwrap();
    let _waiting = connect(&endpoint, &Access::SameUser).unwrap();
    let error = connect(&endpoint, &Access::SameUser).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
    assert!(error.is_retryable(false));
    drop(listener);
}

#[cfg(target_os = "linux")]
#[test]
fn an_abstract_socket_is_checked_always() {
    let name = format!("sealpipe-test-{}", std::process::id());
    let endpoint = Endpoint::abstract_socket(&name).unwrap();
    for error in [
        listen(&endpoint, &Access::Anyone).unwrap_err(),
        connect(&endpoint, &Access::Anyone).unwrap_err(),
    ] {
        assert!(matches!(error, Error::AccessTooWide { .. }), "{error}");
    }
    let error = connect(&endpoint, &Access::SameUser).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let listener = listen(&endpoint, &Access::SameUser).unwrap();
    let error = listen(&endpoint, &Access::SameUser).unwrap_err();
    let Error::AddressInUse { holder, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(holder.process, Some(std::process::id()));
    let connected = connect(&endpoint, &Access::SameUser).unwrap();
    assert_eq!(connected.peer.user, User::current().unwrap());
    drop(listener);
}

#[test]
fn a_pipe_is_not_for_unix() {
    let endpoint = Endpoint::pipe(r"\\.\pipe\app").unwrap();
    for error in [
        listen(&endpoint, &Access::SameUser).unwrap_err(),
        connect(&endpoint, &Access::SameUser).unwrap_err(),
    ] {
        assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    }
}

#[test]
fn descriptors_are_not_inherited() {
    let place = own_directory();
    let endpoint = Endpoint::path(place.path().join("app.sock"));
    let (socket, _claim) = listen(&endpoint, &Access::SameUser).unwrap().into_parts();
    let connected = connect(&endpoint, &Access::SameUser).unwrap();
    for fd in [
        rustix::io::fcntl_getfd(&socket).unwrap(),
        rustix::io::fcntl_getfd(&connected.stream).unwrap(),
    ] {
        assert!(fd.contains(rustix::io::FdFlags::CLOEXEC));
    }
    let there = fs::symlink_metadata(place.path().join("app.sock")).unwrap();
    assert!(there.file_type().is_socket());
    assert_eq!(there.permissions().mode() & 0o777, 0o600);
}
