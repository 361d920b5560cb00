//! What makes a handshake go right, what a listener may refuse, and what a
//! configuration must not say.

use crate::common;
use common::raw::{Script, hello, preface};
use common::strangers::initiator;
use common::{Pair, Side, builder, config, key, message, other_key, seconds};
use core::time::Duration;
use sealpipe_core::wire::{Mode, Status};
use sealpipe_core::{
    AckLevel, Close, Config, ConfigError, Connection, ConnectionError, Event, Role, Sealed, Time,
};
use std::sync::Arc;

/// A recorded first message that is played again.
#[test]
fn a_replayed_handshake_gains_nothing() {
    let mut pair = Pair::new(config(true), config(true));
    let now = pair.now;
    pair.client
        .connection
        .send(now, message("pay", AckLevel::Processed))
        .expect("queued");
    let first = pair.client.take_output(now);
    pair.server.feed(now, &first);
    let answer = pair.server.take_output(now);
    pair.client.feed(now, &answer);
    let record = pair.client.take_output(now);

    let mut again = Side::new(config(true), Role::Responder, 77, now);
    again
        .connection
        .send(now, message("for the real one only", AckLevel::None))
        .expect("queued");
    again.feed(now, &first);
    again.take_output(now);
    again.take(true);
    assert!(
        again.events.is_empty() && !again.connection.is_open(),
        "acts on nothing before a record opens"
    );
    again.feed(now, &record);
    let written = again.take_output(now);
    again.take(true);
    assert_eq!(
        again.closed(),
        Some(&ConnectionError::Authentication(Sealed::Record))
    );
    assert!(written.is_empty() && again.received.is_empty());
}

#[test]
fn a_refusal_reaches_the_initiator_as_it_was_said() {
    let several = || {
        Arc::new(
            Config::sealed(other_key())
                .also_accept(key())
                .build()
                .expect("valid"),
        )
    };
    for status in [Status::Refused, Status::Busy, Status::ShuttingDown] {
        for (client, server) in [
            (config(false), config(false)),
            (config(true), config(true)),
            // The refusal comes before any key was looked at.
            (config(true), several()),
        ] {
            for after in [0, 16, 30] {
                let mut pair = Pair::new(client.clone(), server.clone());
                let now = pair.now;
                let asked = pair.client.take_output(now);
                pair.server.feed(now, &asked[..after]);
                pair.server.connection.refuse(status);
                pair.run();
                let expected = Some(ConnectionError::Refused(status));
                assert_eq!(pair.server.closed().cloned(), expected);
                assert_eq!(
                    pair.client.closed().cloned(),
                    expected,
                    "refused after {after} bytes"
                );
            }
        }
    }
    // One that this version does not know.
    let mut bytes = preface(Mode::Plain, &key()).encode();
    bytes[6] = 200;
    assert_eq!(
        initiator(&config(false), &bytes),
        Some(ConnectionError::Refused(Status::Refused))
    );
}

#[test]
fn a_refusal_after_the_handshake_is_a_close() {
    for sealed in [false, true] {
        let mut pair = Pair::open(builder(sealed));
        pair.server.connection.refuse(Status::Busy);
        pair.run();
        let close = Close::new(Close::GOING_AWAY, "refused");
        assert_eq!(
            pair.client.closed(),
            Some(&ConnectionError::ClosedByPeer(close.clone()))
        );
        assert_eq!(
            pair.server.closed(),
            Some(&ConnectionError::ClosedLocally(close))
        );
    }
}

#[test]
fn a_listener_takes_each_of_its_keys() {
    let server = Arc::new(
        Config::sealed(other_key())
            .also_accept(key())
            .build()
            .expect("valid"),
    );
    let other = Arc::new(Config::sealed(other_key()).build().expect("valid"));
    for client in [config(true), other] {
        let mut pair = Pair::new(client, server.clone());
        pair.run();
        assert!(pair.client.connection.is_open() && pair.server.connection.is_open());
    }
}

fn hash(side: &Side) -> [u8; 32] {
    let opened = |event: &Event| match event {
        Event::Open(opened) => opened.handshake_hash,
        _ => None,
    };
    side.events.iter().find_map(opened).expect("sealed")
}

#[test]
fn the_handshake_hash_is_shared_and_belongs_to_one_connection() {
    let pair = Pair::open(builder(true));
    assert_eq!(hash(&pair.client), hash(&pair.server));
    let mut other = Pair::new(config(true), config(true));
    other.server = Side::new(config(true), Role::Responder, 99, other.now);
    other.run();
    assert_ne!(hash(&pair.client), hash(&other.client));
}

/// The client connects and then only listens.
#[test]
fn a_server_that_greets_first_works() {
    for sealed in [false, true] {
        let mut pair = Pair::new(config(sealed), config(sealed));
        let id = pair.send(Role::Responder, message("welcome", AckLevel::Processed));
        pair.run();
        assert_eq!(pair.client.payloads(), [b"welcome"]);
        assert_eq!(
            pair.server.outcome(id),
            Some(sealpipe_core::Outcome::Processed)
        );
    }
}

#[test]
fn nothing_is_acted_on_before_the_initiators_first_record() {
    let mut script = Script::open(config(true), Role::Initiator, hello([0; 16]));
    assert!(
        script.read().is_empty(),
        "the first record was read when it opened, and is the only one"
    );
    let now = seconds(1);
    let mut pair = Pair::new(config(true), config(true));
    let asked = pair.client.take_output(now);
    pair.server.feed(now, &asked);
    let answer = pair.server.take_output(now);
    pair.server.connection.handle_timeout(now);
    assert!(pair.server.take_output(now).is_empty());
    assert!(!pair.server.connection.is_open());
    pair.client.feed(now, &answer);
    assert!(pair.client.connection.is_open());
    let record = pair.client.take_output(now);
    assert_eq!(
        record.len(),
        2 + 2 + 16,
        "at once, and a PAD when nothing is queued"
    );
    pair.server.feed(now, &record);
    assert!(pair.server.connection.is_open());
}

#[test]
fn closing_before_it_is_open_says_nothing_and_loses_nothing() {
    for sealed in [false, true] {
        for role in [Role::Initiator, Role::Responder] {
            let mut side = Side::new(config(sealed), role, 1, seconds(1));
            let id = side
                .connection
                .send(seconds(1), message("x", AckLevel::Received))
                .expect("queued");
            side.connection
                .close(seconds(1), Close::new(Close::GOING_AWAY, ""));
            side.take(true);
            assert_eq!(side.outcome(id), Some(sealpipe_core::Outcome::NotSent));
            assert!(matches!(
                side.closed(),
                Some(ConnectionError::ClosedLocally(_))
            ));
            assert!(side.take_output(seconds(1)).is_empty());
        }
    }
}

/// A generator that fails.
struct Broken;

impl rand_core::TryRng for Broken {
    type Error = core::fmt::Error;
    fn try_next_u32(&mut self) -> Result<u32, core::fmt::Error> {
        Err(core::fmt::Error)
    }
    fn try_next_u64(&mut self) -> Result<u64, core::fmt::Error> {
        Err(core::fmt::Error)
    }
    fn try_fill_bytes(&mut self, _: &mut [u8]) -> Result<(), core::fmt::Error> {
        Err(core::fmt::Error)
    }
}

impl rand_core::TryCryptoRng for Broken {}

#[test]
fn a_generator_that_fails_is_an_error() {
    for role in [Role::Initiator, Role::Responder] {
        let end = Connection::new(config(true), role, &mut Broken, Time::ZERO).err();
        assert!(matches!(end, Some(ConnectionError::Internal(_))), "{end:?}");
    }
}

#[test]
fn a_configuration_that_contradicts_itself_is_not_built() {
    let plain = || Config::plain();
    let wrong = |builder: sealpipe_core::ConfigBuilder| builder.build().expect_err("not built");
    assert_eq!(
        wrong(plain().max_message(1_001).receive_window(1_000, 1)),
        ConfigError::Window {
            window: 1_000,
            max_message: 1_001
        }
    );
    assert!(matches!(
        wrong(plain().receive_window(8 << 20, 0)),
        ConfigError::Zero(_)
    ));
    assert!(matches!(
        wrong(plain().send_queue(1, 0)),
        ConfigError::Zero(_)
    ));
    assert_eq!(
        wrong(plain().receive_window(usize::MAX, 1)),
        ConfigError::TooBig
    );
    assert_eq!(
        wrong(Config::sealed(key()).also_accept(key())),
        ConfigError::KeyTwice
    );
    let second = Some(Duration::from_secs(1));
    assert!(matches!(
        wrong(plain().keepalive(second, second)),
        ConfigError::Keepalive { .. }
    ));
    // At the limits, it is.
    let least = plain()
        .max_message(0)
        .receive_window(0, 1)
        .send_queue(0, 1)
        .keepalive(None, second)
        .build();
    assert_eq!(least.map(|config| config.max_message()).ok(), Some(0));
    plain()
        .max_message(1_000)
        .receive_window(1_000, 1)
        .keepalive(None, None)
        .build()
        .expect("valid");
    // Nothing else is 0 for "no limit": messages without a byte still go.
    let mut pair = Pair::open(plain().max_message(0).receive_window(0, 1).send_queue(0, 1));
    let id = pair.send(Role::Initiator, message("", AckLevel::Received));
    pair.run();
    assert_eq!(
        pair.client.outcome(id),
        Some(sealpipe_core::Outcome::Received)
    );
    let refused = pair
        .client
        .connection
        .send(pair.now, message("x", AckLevel::None));
    assert!(refused.is_err());
}
