//! Who may not resume a session, and what neither side may say when it does
//! (PROTOCOL.md, section 7.3).

use crate::common;
use common::lossy::{Lossy, MODES, on};
use common::raw::{control, hello, hello_body, preface};
use common::{Rng, Side, builder, key, message, other_key, seconds};
use sealpipe_core::wire::{Frame, Hello, Mode};
use sealpipe_core::{
    AckLevel, Config, ConnectionError, Event, Outcome, ResumeError, Role, Violation,
};
use std::sync::Arc;

/// A first message that was recorded and is played again changes nothing, and does
/// not keep the peer from coming back.
#[test]
fn a_replayed_first_message_gains_nothing() {
    let mut lossy = Lossy::open(builder(true));
    let id = lossy
        .pair
        .send(Role::Initiator, message("x", AckLevel::Processed));
    lossy.cut();
    let before = lossy.point();
    lossy.reconnect();
    let now = lossy.pair.now;
    let recorded = lossy.pair.client.take_output(now);
    for _ in 0..3 {
        let config = lossy.server_config.clone();
        let mut replayed = Side::new(config, Role::Responder, 77, now);
        replayed.feed(now, &recorded);
        replayed.connection.answer_resume(now, Some(before.clone()));
        replayed.take_output(now);
        replayed.feed(now, &recorded);
        let ready = |e: &Event| *e == Event::ResumeReady;
        replayed.take(true);
        assert!(!replayed.events.iter().any(ready));
        let adopted = lossy
            .pair
            .server
            .connection
            .adopt(now, &mut replayed.connection);
        assert_eq!(adopted, Err(ResumeError::NotReady));
    }
    assert_eq!(lossy.point(), before);
    // The first one is the client's own.
    lossy.fresh.as_mut().expect("accepted").feed(now, &recorded);
    lossy.run(true, usize::MAX);
    assert_eq!(lossy.pair.client.outcome(id), Some(Outcome::Processed));
    // Once it has been used, it is of no use to anybody: the session has gone on.
    lossy.cut();
    let mut replayed = Side::new(lossy.server_config.clone(), Role::Responder, 78, now);
    replayed.feed(now, &recorded);
    replayed.connection.answer_resume(now, Some(lossy.point()));
    lossy.resume();
    assert_eq!(lossy.pair.server.received.len(), 1);
}

/// A point that was taken before the session went on over another stream.
#[test]
fn a_stale_point_is_refused_and_the_peer_tries_again() {
    for sealed in MODES {
        let mut lossy = Lossy::open(builder(sealed));
        let id = lossy
            .pair
            .send(Role::Initiator, message("once", AckLevel::Processed));
        lossy.cut();
        let stale = lossy.point();
        // The first attempt gets through, and its answer is lost.
        lossy.reconnect();
        let now = lossy.pair.now;
        lossy.forth(true, usize::MAX);
        lossy.back(usize::MAX);
        lossy.forth(true, usize::MAX);
        assert_eq!(lossy.pair.server.received.len(), 1);
        lossy.cut();
        lossy.reconnect();
        let mut fresh = lossy.fresh.take().expect("accepted");
        let asks = lossy.pair.client.take_output(now);
        fresh.feed(now, &asks);
        fresh.connection.answer_resume(now, Some(stale));
        let answer = fresh.take_output(now);
        lossy.pair.client.feed(now, &answer);
        let confirms = lossy.pair.client.take_output(now);
        fresh.feed(now, &confirms);
        let server = &mut lossy.pair.server;
        let adopted = server.connection.adopt(now, &mut fresh.connection);
        assert_eq!(adopted, Err(ResumeError::Stale));
        assert!(server.connection.is_suspended());
        lossy.cut();
        lossy.resume();
        assert_eq!(lossy.pair.client.outcome(id), Some(Outcome::Processed));
        assert_eq!(lossy.pair.server.received.len(), 1);
    }
}

#[test]
fn calls_at_the_wrong_time_are_refused() {
    let mut lossy = Lossy::open(builder(false));
    let now = lossy.pair.now;
    let mut rng = Rng(5);
    let client = &mut lossy.pair.client.connection;
    let session = client.session().expect("both have it on");
    assert_eq!(client.resume(&mut rng, now), Err(ResumeError::NotSuspended));
    assert_eq!(client.resume_point(), None);
    client.answer_resume(now, None);
    lossy.cut();
    let server = &mut lossy.pair.server.connection;
    assert_eq!(server.session(), Some(session));
    assert_eq!(server.resume(&mut rng, now), Err(ResumeError::Role));
    let mut stranger = Side::new(on(false), Role::Responder, 3, now).connection;
    assert_eq!(server.adopt(now, &mut stranger), Err(ResumeError::NotReady));
    lossy.reconnect();
    let client = &mut lossy.pair.client.connection;
    assert!(client.is_suspended(), "until there is an answer");
    assert_eq!(client.resume(&mut rng, now), Err(ResumeError::NotSuspended));
    lossy.run(true, usize::MAX);
    let mut stranger = Side::new(on(false), Role::Responder, 3, now).connection;
    let server = &mut lossy.pair.server.connection;
    assert_eq!(server.adopt(now, &mut stranger), Err(ResumeError::NotReady));
    assert!(server.is_open());
}

/// Another session's point is no point.
#[test]
fn a_point_of_another_session_or_key_is_a_new_session() {
    let keys = || builder(true).also_accept(other_key()).resumption(true);
    let server = Arc::new(keys().build().expect("valid"));
    let mut one = Lossy::new(on(true), server.clone());
    let rotated = Config::sealed(other_key()).resumption(true);
    let mut two = Lossy::new(Arc::new(rotated.build().expect("valid")), server);
    for lossy in [&mut one, &mut two] {
        lossy.pair.run();
        lossy.cut();
        lossy.reconnect();
        let now = lossy.pair.now;
        let bytes = lossy.pair.client.take_output(now);
        lossy.fresh.as_mut().expect("accepted").feed(now, &bytes);
    }
    let now = one.pair.now;
    let fresh = one.fresh.as_mut().expect("accepted");
    fresh.connection.answer_resume(now, Some(two.point()));
    one.run(false, usize::MAX);
    let restarted = |e: &Event| matches!(e, Event::Restarted(_));
    assert!(one.pair.client.events.iter().any(restarted));
}

/// Plain mode: a preface, and this HELLO.
fn opening(hello: &Hello) -> Vec<u8> {
    let preface = preface(Mode::Plain, &key()).encode();
    [&preface[..], &control(Frame::Hello(&hello_body(hello)))].concat()
}

/// Numbers in HELLO that cannot be.
#[test]
fn impossible_numbers_are_violations() {
    // (next, settled) as a peer says them that has received two messages of three
    // and sent two, of which one has its outcome.
    let cases = [
        ((2, 1), true),
        ((3, 2), true),
        ((1, 1), false),
        ((4, 1), false),
        ((2, 3), false),
        ((2, 0), false),
    ];
    for ((next, settled), possible) in cases {
        for role in [Role::Initiator, Role::Responder] {
            let mut lossy = Lossy::open(builder(false));
            lossy.pair.settle = false;
            let (own, peer) = match role {
                Role::Initiator => (Role::Initiator, Role::Responder),
                Role::Responder => (Role::Responder, Role::Initiator),
            };
            let now = lossy.pair.now;
            lossy.pair.send(peer, message("1", AckLevel::Received));
            lossy.pair.send(own, message("1", AckLevel::Received));
            lossy.pair.run();
            lossy.pair.send(peer, message("2", AckLevel::Processed));
            lossy.pair.run();
            // *settled* goes along with an ACK.
            lossy.pair.send(own, message("2", AckLevel::Received));
            lossy.pair.run();
            lossy.pair.send(own, message("3", AckLevel::Received));
            let side = match role {
                Role::Initiator => &mut lossy.pair.client,
                Role::Responder => &mut lossy.pair.server,
            };
            side.take_output(now);
            lossy.cut();
            let session = lossy.pair.client.connection.session().expect("resumable");
            let said = Hello {
                next,
                settled,
                resume: true,
                resumable: true,
                ..hello(session)
            };
            let bytes = opening(&said);
            let side = match role {
                Role::Initiator => {
                    lossy.reconnect();
                    lossy.pair.client.feed(now, &bytes);
                    &mut lossy.pair.client
                }
                Role::Responder => {
                    lossy.reconnect();
                    let fresh = lossy.fresh.as_mut().expect("accepted");
                    fresh.feed(now, &bytes);
                    lossy.answer(true);
                    &mut lossy.pair.server
                }
            };
            let what = format!("{role:?}: next {next}, settled {settled}");
            let end = side.connection.end().cloned();
            let violation = ConnectionError::Violation(Violation::Resume);
            assert_eq!(end, (!possible).then_some(violation), "{what}");
            side.take(true);
            assert_eq!(side.closed().is_none(), possible, "{what}");
        }
    }
}

/// A responder cannot resume what was not asked for.
#[test]
fn an_answer_that_was_not_asked_for_is_a_violation() {
    let now = seconds(1);
    let mut side = Side::new(on(false), Role::Initiator, 1, now);
    let asked = side.take_output(now);
    let session = asked.windows(18).find(|w| w[..2] == [4, 16]);
    let session = session.expect("item 4")[2..].try_into().expect("16 bytes");
    let said = Hello {
        resume: true,
        ..hello(session)
    };
    side.feed(now, &opening(&said));
    let violation = ConnectionError::Violation(Violation::Resume);
    assert_eq!(side.connection.end(), Some(&violation));
    assert!(!side.connection.wants_transmit(), "it just closes");
}

#[test]
fn bytes_before_the_answer_are_limited() {
    let mut lossy = Lossy::open(builder(false));
    lossy.cut();
    lossy.reconnect();
    let now = lossy.pair.now;
    let bytes = lossy.pair.client.take_output(now);
    let fresh = lossy.fresh.as_mut().expect("accepted");
    fresh.feed(now, &bytes);
    fresh.feed(now, &vec![0; 300_000]);
    let violation = ConnectionError::Violation(Violation::BeforeAnswer);
    assert_eq!(fresh.connection.end(), Some(&violation));
}
