//! What stands on each wire, and what of it is taken.

use super::{WIRES, by_hand, on, side};
use crate::common;
use chacha20poly1305::{AeadInPlace, ChaCha20Poly1305, KeyInit};
use common::{Pair, Rng, Side, key, other_key, seconds};
use sealpipe_core::{
    AckLevel, Asked, Config, ConfigBuilder, ConfigError, Connection, ConnectionError, Event, Kind,
    Lost, Message, Mismatch, Outcome, Role, Sealed, SendErrorReason, Violation, Wire, WireError,
};
use std::sync::Arc;

#[test]
fn a_connection_is_open_at_once_and_says_nothing() {
    for wire in WIRES {
        let config = Arc::new(on(wire).build().unwrap());
        for role in [Role::Initiator, Role::Responder] {
            let mut side = Side::new(config.clone(), role, 1, seconds(1));
            assert!(side.connection.is_open());
            assert!(side.take_output(seconds(1)).is_empty(), "{wire}");
            side.take(true);
            assert!(matches!(side.events[..], [Event::Open(_)]));
            assert_eq!(side.connection.poll_timeout(), None, "{wire}");
        }
    }
}

#[test]
fn messages_go_both_ways_in_order_until_both_have_finished() {
    for wire in WIRES {
        let mut pair = Pair::open(on(wire));
        let sizes = [0, 1, 2, 3, 100, 5_000, 40_000, 300_000];
        let payloads: Vec<Vec<u8>> = sizes
            .iter()
            .map(|n| (0..*n).map(|i| (i % 251) as u8).collect())
            .collect();
        for payload in &payloads {
            let id = pair.send(Role::Initiator, Message::new(payload.clone()));
            pair.send(Role::Responder, Message::new(payload.clone()));
            pair.run();
            assert_eq!(pair.client.outcome(id), Some(Outcome::Sent));
        }
        assert_eq!(pair.server.payloads(), payloads, "{wire}");
        assert_eq!(pair.client.payloads(), payloads, "{wire}");
        // The client's direction ends; the server still answers.
        pair.client.connection.finish(pair.now);
        pair.run();
        assert!(pair.client.connection.wants_shutdown());
        pair.client.connection.handle_shutdown(pair.now, true);
        pair.server.eof(pair.now);
        pair.send(Role::Responder, Message::new("late"));
        pair.run();
        assert!(pair.server.events.contains(&Event::PeerFinished));
        assert!(!pair.server.connection.is_open() && pair.server.connection.end().is_none());
        assert_eq!(pair.client.payloads().last().unwrap(), b"late");
        pair.server.connection.finish(pair.now);
        assert!(pair.server.connection.wants_shutdown());
        pair.server.connection.handle_shutdown(pair.now, true);
        pair.client.eof(pair.now);
        for side in [&mut pair.client, &mut pair.server] {
            side.take(true);
            assert_eq!(side.closed(), Some(&ConnectionError::Finished));
            assert!(side.connection.all_arrived() && side.connection.is_drained());
        }
    }
}

#[test]
fn the_bytes_are_those_of_the_old_programs() {
    let text = b"hello";
    for (wire, bytes) in [
        (Wire::Le32, &b"\x05\0\0\0hello"[..]),
        (Wire::Be32, b"\0\0\0\x05hello"),
        (Wire::Base64Lines, b"aGVsbG8=\n"),
    ] {
        let mut side = side(on(wire));
        side.connection
            .send(seconds(1), Message::new(&text[..]))
            .unwrap();
        assert_eq!(side.take_output(seconds(1)), bytes);
        assert_eq!(by_hand(wire, text), bytes);
    }
    // Sealed: length, nonce, ciphertext and tag, opened with another implementation's
    // call.
    let mut sealed = side(on(Wire::LegacySealed));
    sealed
        .connection
        .send(seconds(1), Message::new(&text[..]))
        .unwrap();
    let bytes = sealed.take_output(seconds(1));
    assert_eq!(bytes[..4], 33u32.to_le_bytes());
    let (mut body, tag) = (bytes[16..21].to_vec(), &bytes[21..]);
    ChaCha20Poly1305::new(&core::array::from_fn(|i| i as u8).into())
        .decrypt_in_place_detached(bytes[4..16].into(), &[], &mut body, tag.into())
        .unwrap();
    assert_eq!(body, text);
}

#[test]
fn what_a_wire_cannot_carry_is_an_error_that_says_so() {
    let now = seconds(1);
    for wire in WIRES {
        let mut side = side(on(wire));
        let event = Message::event("news", "x").unwrap();
        let subscribe = Message::subscription(Kind::Subscribe, 1, "news").unwrap();
        for (message, asked) in [
            (
                Message::new("x").with_ack(AckLevel::Received),
                Asked::Ack(AckLevel::Received),
            ),
            (
                Message::new("x").with_ack(AckLevel::Processed),
                Asked::Ack(AckLevel::Processed),
            ),
            (Message::request("x"), Asked::Kind(Kind::Request)),
            (event, Asked::Kind(Kind::Event)),
            (subscribe, Asked::Kind(Kind::Subscribe)),
        ] {
            let expected = SendErrorReason::Wire(WireError { wire, asked });
            let error = side.connection.send(now, message.clone()).unwrap_err();
            assert_eq!(
                (error.message, error.reason),
                (message.clone(), expected.clone())
            );
            let error = side
                .connection
                .send_untracked(now, message.clone())
                .unwrap_err();
            assert_eq!(error.reason, expected);
            side.connection.reserve(10).unwrap();
            let error = side.connection.send_reserved(now, message, 10).unwrap_err();
            assert_eq!(error.reason, expected);
        }
        let asked = Asked::Ping;
        assert_eq!(side.connection.ping(), Err(WireError { wire, asked }));
        assert!(side.connection.settle(0, Ok(())).is_err());
        assert!(side.take_output(now).is_empty());
        assert!(side.connection.is_open() && side.outcomes().is_empty());
    }
    let error = WireError {
        wire: Wire::Le32,
        asked: Asked::Kind(Kind::Request),
    };
    assert_eq!(
        error.to_string(),
        "the wire le32 carries bare messages and not requests; do without, or set both sides to \
         the native wire"
    );
}

#[test]
fn a_configuration_that_the_wire_cannot_have_is_not_built() {
    let build = |builder: ConfigBuilder| builder.build().map(drop);
    for wire in [Wire::Le32, Wire::Be32, Wire::Base64Lines] {
        let sealed = Config::sealed(key()).wire(wire);
        assert_eq!(build(sealed), Err(ConfigError::WireNotSealed(wire)));
        let sealed = Config::plain().wire(wire).also_accept(key());
        assert_eq!(build(sealed), Err(ConfigError::WireNotSealed(wire)));
    }
    let legacy = Wire::LegacySealed;
    let plain = Config::plain().wire(legacy);
    assert_eq!(build(plain), Err(ConfigError::WireWithoutKey(legacy)));
    let keys = Config::sealed(key()).also_accept(other_key()).wire(legacy);
    assert_eq!(build(keys), Err(ConfigError::WireKeys(legacy)));
    for wire in WIRES {
        let resumes = on(wire).resumption(true);
        assert_eq!(build(resumes), Err(ConfigError::WireResumption(wire)));
    }
    let max = u32::MAX as usize;
    for (wire, max) in [(Wire::Le32, max), (Wire::Be32, max), (legacy, max - 28)] {
        let largest = |n| on(wire).max_message(n).receive_window(usize::MAX >> 2, 1);
        assert_eq!(build(largest(max)), Ok(()));
        let max_message = max + 1;
        let error = ConfigError::WireTooLarge {
            wire,
            max_message,
            max,
        };
        assert_eq!(build(largest(max_message)), Err(error));
    }
}

#[test]
fn limits_hold_both_ways() {
    let now = seconds(1);
    for wire in WIRES {
        let mut side = side(on(wire).max_message(1_000));
        let error = side
            .connection
            .send(now, Message::new(vec![0; 1_001]))
            .unwrap_err();
        let expected = SendErrorReason::TooLarge {
            size: 1_001,
            max: 1_000,
            by_peer: false,
        };
        assert_eq!(error.reason, expected);
        side.feed(now, &by_hand(wire, &[1; 1_000]));
        side.take(true);
        assert_eq!(side.payloads(), [vec![1; 1_000]], "{wire}");
        let too_large = by_hand(wire, &[1; 1_003]);
        // Nothing of the payload has to come.
        let told = if wire == Wire::Base64Lines { 1_337 } else { 4 };
        side.feed(now, &too_large[..told]);
        side.take(true);
        assert!(
            matches!(
                side.closed(),
                Some(ConnectionError::Violation(
                    Violation::LengthPrefix { .. } | Violation::LineTooLong { .. }
                ))
            ),
            "{wire}: {:?}",
            side.closed()
        );
        assert!(side.take_output(now).is_empty(), "there is no word for it");
        assert!(side.connection.is_drained());
    }
}

#[test]
fn garbage_is_an_error_and_nothing_of_it_is_shown() {
    let cases: [(Wire, &[u8], ConnectionError); 5] = [
        (
            Wire::Base64Lines,
            b"not base64!\n",
            ConnectionError::Violation(Violation::NotBase64),
        ),
        (
            Wire::LegacySealed,
            &[27, 0, 0, 0],
            ConnectionError::Violation(Violation::SealedTooShort { length: 27 }),
        ),
        (
            Wire::LegacySealed,
            &[&[28, 0, 0, 0][..], &[0; 28]].concat(),
            ConnectionError::Authentication(Sealed::Message),
        ),
        // Who is set to the other byte order.
        (
            Wire::Le32,
            b"\0\0\0\x05hello",
            ConnectionError::Violation(Violation::LengthPrefix {
                length: 5 << 24,
                max: 4 << 20,
            }),
        ),
        (
            Wire::Be32,
            b"\x05\0\0\0hello",
            ConnectionError::Violation(Violation::LengthPrefix {
                length: 5 << 24,
                max: 4 << 20,
            }),
        ),
    ];
    for (wire, bytes, expected) in cases {
        let mut side = side(on(wire));
        side.feed(seconds(1), bytes);
        side.take(true);
        assert_eq!(side.closed(), Some(&expected));
        assert!(side.received.is_empty());
    }
}

#[test]
fn a_peer_on_the_native_wire_is_named() {
    for wire in WIRES {
        let native = Arc::new(Config::default());
        let mut client = Side::new(native, Role::Initiator, 3, seconds(1));
        let mut server = side(on(wire));
        // A line is seen to be none at its end.
        let hello = [&client.take_output(seconds(1))[..], b"\n"].concat();
        server.feed(seconds(1), &hello);
        server.take(true);
        let expected = ConnectionError::Mismatch(Mismatch::Wire { own: wire });
        assert_eq!(server.closed(), Some(&expected), "{wire}");
    }
}

#[test]
fn the_end_of_the_stream_is_orderly_between_messages_and_a_loss_inside_one() {
    for wire in WIRES {
        let bytes = by_hand(wire, b"whole");
        for end in 0..=bytes.len() {
            let mut side = side(on(wire));
            side.feed(seconds(1), &bytes[..end]);
            side.eof(seconds(1));
            side.take(true);
            if end == 0 || end == bytes.len() {
                assert!(side.connection.peer_finished(), "{wire} {end}");
                assert_eq!(side.connection.end(), None);
                // Nothing can be written either: the other program has gone.
                side.connection.handle_broken(seconds(1));
                side.take(true);
                let lost = ConnectionError::Lost(Lost::Idle);
                assert_eq!(side.closed(), Some(&lost));
            } else {
                let lost = ConnectionError::Lost(Lost::Truncated);
                assert_eq!(side.closed(), Some(&lost), "{wire} {end}");
            }
        }
    }
}

#[test]
fn a_wrong_key_shows_nothing() {
    let wire = Wire::LegacySealed;
    let mut side = side(Config::sealed(other_key()).wire(wire));
    side.feed(seconds(1), &by_hand(wire, b"secret"));
    side.take(true);
    let expected = ConnectionError::Authentication(Sealed::Message);
    assert_eq!(side.closed(), Some(&expected));
    assert!(side.received.is_empty());
}

/// What makes that wire the weaker one: [`Wire::LegacySealed`] says so.
#[test]
fn a_legacy_sealed_message_that_is_repeated_is_taken_again() {
    let mut pair = Pair::open(on(Wire::LegacySealed));
    pair.client
        .connection
        .send(pair.now, Message::new("pay 5"))
        .unwrap();
    let recorded = pair.client.take_output(pair.now);
    for _ in 0..3 {
        pair.server.feed(pair.now, &recorded);
    }
    // Also back to whom it came from, and on another day to somebody else.
    pair.client.feed(pair.now, &recorded);
    let mut other = side(on(Wire::LegacySealed));
    other.feed(seconds(1), &recorded);
    for (side, times) in [
        (&mut pair.server, 3),
        (&mut pair.client, 1),
        (&mut other, 1),
    ] {
        side.take(true);
        assert_eq!(side.payloads(), vec![b"pay 5"; times]);
    }
}

#[test]
fn a_legacy_sealed_nonce_never_comes_twice() {
    let mut nonces = std::collections::BTreeSet::new();
    for seed in 0..50 {
        let config = Arc::new(on(Wire::LegacySealed).build().unwrap());
        let mut side = Side::new(config, Role::Initiator, seed, seconds(1));
        for _ in 0..20 {
            side.connection.send(seconds(1), Message::new("")).unwrap();
        }
        let bytes = side.take_output(seconds(1));
        for message in bytes.chunks(32) {
            assert!(nonces.insert(message[4..16].to_vec()));
        }
    }
    assert_eq!(nonces.len(), 1_000);
}

#[test]
fn a_counted_nonce_wraps_and_goes_on() {
    /// A place from which the count passes the end of the 96 bits.
    struct Full(Rng);
    impl rand_core::TryRng for Full {
        type Error = core::convert::Infallible;
        fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
            self.0.try_next_u32()
        }
        fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
            self.0.try_next_u64()
        }
        fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Self::Error> {
            dst.fill(0xff);
            Ok(())
        }
    }
    impl rand_core::TryCryptoRng for Full {}
    let config = Arc::new(on(Wire::LegacySealed).build().unwrap());
    let mut side = side(on(Wire::LegacySealed));
    side.connection =
        Connection::new(config, Role::Initiator, &mut Full(Rng(1)), seconds(1)).unwrap();
    for _ in 0..2 {
        side.connection.send(seconds(1), Message::new("")).unwrap();
    }
    let bytes = side.take_output(seconds(1));
    assert_eq!(bytes[4..16], [0xff; 12]);
    assert_eq!(bytes[36..48], [0; 12]);
}
