//! Another user, refused as a client and as an impostor server. It takes root
//! to become somebody else; elsewhere these tests say that they were skipped.
#![cfg(unix)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Helper, own_directory};
use sealpipe_endpoint::{
    Access, Endpoint, Environment, Error, ErrorKind, Peer, User, connect, listen, peer_of,
};

const NOBODY: u32 = 65534;

#[test]
fn helper() {
    common::helper();
}

/// A directory that anyone may enter and write to, with a copy of this program
/// in it that anyone may run.
fn open_directory() -> Option<(tempfile::TempDir, PathBuf)> {
    if User::current().unwrap() != User::Uid(0) {
        println!("skipped: only root can become another user");
        return None;
    }
    let place = own_directory();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let program = place.path().join("program");
    // By another process: a program that this one held open for writing, if
    // only in a copy that a child has for a moment, could not be run.
    let copied = Command::new("cp")
        .arg(std::env::current_exe().unwrap())
        .arg(&program)
        .status()
        .unwrap();
    assert!(copied.success());
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    Some((place, program))
}

fn as_nobody(program: &Path, role: &str, place: &Path) -> Helper {
    let mut command = Command::new(program);
    command.uid(NOBODY).gid(NOBODY);
    Helper::start_by(command, role, place)
}

fn assert_wrong_user(error: &Error, found: u32, wanted: &str) {
    assert_eq!(error.kind(), ErrorKind::WrongUser, "{error}");
    let text = error.to_string();
    assert!(text.contains(&format!("runs as uid {found}")), "{text}");
    assert!(text.contains(wanted), "{text}");
    assert!(!error.is_retryable(true));
}

#[test]
fn another_user_is_refused_as_a_client() {
    let Some((place, program)) = open_directory() else {
        return;
    };
    let path = place.path().join("app.sock");
    let (socket, claim) = listen(&Endpoint::path(&path), &Access::Anyone)
        .unwrap()
        .into_parts();
    let mut client = as_nobody(&program, "connect unchecked", &path);
    client.go();
    assert_eq!(
        client.answer(),
        "ok",
        "its permissions let it reach the socket"
    );
    let (stream, _) = socket.accept().unwrap();
    let peer: Peer = peer_of(&stream).unwrap();
    assert_eq!(peer.user, User::Uid(NOBODY));
    assert_eq!(peer.group, Some(NOBODY));
    let error = Access::SameUser
        .check(&peer)
        .unwrap_err()
        .at(claim.address());
    assert_wrong_user(&error, NOBODY, "the same user (uid 0)");
    assert!(
        error.to_string().contains(&path.display().to_string()),
        "{error}"
    );
    Access::Users(vec![User::Uid(NOBODY)]).check(&peer).unwrap();
    // A client that checks finds that the server is not its own user's.
    let mut client = as_nobody(&program, "connect", &path);
    client.go();
    let answer = client.answer();
    assert!(answer.starts_with("WrongUser|"), "{answer}");
    assert!(answer.contains("runs as uid 0"), "{answer}");
}

#[test]
fn a_socket_for_the_same_user_does_not_let_another_in_at_all() {
    let Some((place, program)) = open_directory() else {
        return;
    };
    let path = place.path().join("app.sock");
    let _listener = listen(&Endpoint::path(&path), &Access::SameUser).unwrap();
    let mut client = as_nobody(&program, "connect", &path);
    client.go();
    let answer = client.answer();
    assert!(answer.starts_with("PermissionDenied|"), "{answer}");
}

#[test]
fn another_user_is_refused_as_an_impostor_server() {
    let Some((place, program)) = open_directory() else {
        return;
    };
    let path = place.path().join("app.sock");
    let endpoint = Endpoint::path(&path);
    let mut impostor = as_nobody(&program, "bind without lock", &path);
    impostor.go();
    assert_eq!(impostor.answer(), "ok");
    let error = connect(&endpoint, &Access::SameUser).unwrap_err();
    assert_wrong_user(&error, NOBODY, "the same user (uid 0)");
    let error = connect(&endpoint, &Access::Users(vec![User::Uid(1)])).unwrap_err();
    assert_wrong_user(&error, NOBODY, "only uid 1 ");
    connect(&endpoint, &Access::Users(vec![User::Uid(NOBODY)])).unwrap();
    connect(&endpoint, &Access::Anyone).unwrap();
    // And a starter is told whose it is.
    let error = listen(&endpoint, &Access::SameUser).unwrap_err();
    assert!(
        error.to_string().contains(&format!("uid {NOBODY}")),
        "{error}"
    );
}

#[test]
fn a_directory_that_another_user_made_first_is_refused_by_both() {
    let Some((place, _program)) = open_directory() else {
        return;
    };
    let directory = place.path().join("app-0");
    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();
    std::os::unix::fs::chown(&directory, Some(NOBODY), Some(NOBODY)).unwrap();
    let environment = Environment::new([], place.path());
    let endpoint = Endpoint::name("app").unwrap().within(environment);
    for error in [
        listen(&endpoint, &Access::SameUser).unwrap_err(),
        connect(&endpoint, &Access::SameUser).unwrap_err(),
    ] {
        assert!(matches!(error, Error::Directory { .. }), "{error}");
        assert!(
            error.to_string().contains("belongs to uid 65534"),
            "{error}"
        );
    }
}

#[test]
fn a_lock_of_another_user_is_respected() {
    let Some((place, program)) = open_directory() else {
        return;
    };
    let path = place.path().join("app.sock");
    let mut server = as_nobody(&program, "listen", &path);
    server.go();
    assert_eq!(server.answer(), "ok");
    let error = listen(&Endpoint::path(&path), &Access::SameUser).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddressInUse);
    assert!(
        error.to_string().contains(&format!("uid {NOBODY}")),
        "{error}"
    );
    server.end();
    assert!(!path.exists());
}
