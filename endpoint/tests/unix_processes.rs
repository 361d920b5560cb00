//! Claims of several processes, which are this same test binary run again.
#![cfg(unix)]

mod common;

use common::{Helper, entries, own_directory};
use sealpipe_endpoint::{Access, Endpoint, Error, ErrorKind, connect, listen};

#[test]
fn helper() {
    common::helper();
}

#[test]
fn of_several_processes_exactly_one_gets_it() {
    let place = own_directory();
    let path = place.path().join("app.sock");
    for round in 0..10 {
        let mut starters: Vec<Helper> = (0..4).map(|_| Helper::start("listen", &path)).collect();
        for starter in &mut starters {
            starter.go();
        }
        let answers: Vec<String> = starters.iter_mut().map(Helper::answer).collect();
        let winners = answers.iter().filter(|answer| *answer == "ok").count();
        let losers = answers
            .iter()
            .filter(|answer| answer.starts_with("AddressInUse|"));
        assert_eq!((winners, losers.count()), (1, 3), "{answers:?}");
        // Every other round leaves a stale socket to the next.
        for starter in starters {
            if round % 2 == 0 {
                starter.kill();
            } else {
                starter.end();
            }
        }
    }
    assert_eq!(entries(place.path()), [""; 0]);
}

#[test]
fn what_a_killed_process_left_is_taken_over_and_a_live_one_is_not() {
    let place = own_directory();
    let path = place.path().join("app.sock");
    let endpoint = Endpoint::path(&path);
    let mut server = Helper::start("listen", &path);
    server.go();
    assert_eq!(server.answer(), "ok");
    let error = listen(&endpoint, &Access::SameUser).unwrap_err();
    let Error::AddressInUse { holder, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(holder.process, Some(server.id()));
    let connected = connect(&endpoint, &Access::SameUser).unwrap();
    assert_eq!(connected.peer.process, Some(server.id()));
    server.kill();
    assert_eq!(entries(place.path()), ["app.sock", "app.sock.lock"]);
    let error = connect(&endpoint, &Access::SameUser).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    let _listener = listen(&endpoint, &Access::SameUser).unwrap();
    connect(&endpoint, &Access::SameUser).unwrap();
}

#[test]
fn a_foreign_server_is_named_and_left_alone() {
    let place = own_directory();
    let path = place.path().join("app.sock");
    let mut server = Helper::start("bind without lock", &path);
    server.go();
    assert_eq!(server.answer(), "ok");
    let error = listen(&Endpoint::path(&path), &Access::SameUser).unwrap_err();
    assert!(
        error
            .to_string()
            .contains(&format!("process {}", server.id())),
        "{error}"
    );
    assert_eq!(entries(place.path()), ["app.sock"]);
    connect(&Endpoint::path(&path), &Access::SameUser).unwrap();
}

#[test]
fn the_mode_does_not_depend_on_the_umask() {
    let place = own_directory();
    let path = place.path().join("app.sock");
    let mut server = Helper::start("listen with umask", &path);
    server.go();
    assert_eq!(server.answer(), "600 666 600 666 600 666");
    server.end();
}
