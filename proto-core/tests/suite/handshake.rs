//! What comes before a connection is open: every way in which it can go wrong,
//! with the exact error on both sides.

use crate::common;
use common::raw::{KEY, control, hello, hello_body, noise, preface, read_noise, write_noise};
use common::strangers::{end_of, initiator, responder, status};
use common::{Pair, Rng, Side, config, key, message, millis, other_key, seconds};
use sealpipe_core::wire::{Frame, Hello, Mode, Preface, Status};
use sealpipe_core::{
    AckLevel, Config, ConnectionError, Fault, Lost, Mismatch, Role, Sealed, Timeout, Violation,
};
use std::sync::Arc;

#[test]
fn what_is_no_preface_is_told_at_the_first_byte_and_not_answered() {
    let mut noise = [0; 64];
    let mut rng = Rng(5);
    noise.fill_with(|| rng.next() as u8 & 0x7f);
    let inputs: [(&[u8], &[u8]); 6] = [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"GET / HT"),
        (
            b"\x16\x03\x01\x02\x00\x01\x00\x01",
            b"\x16\x03\x01\x02\x00\x01\x00\x01",
        ),
        (&noise, &noise[..8]),
        (b"G", b"G\0\0\0\0\0\0\0"),
        (b"\xf5\x49\x51", b"\xf5\x49\x51\0\0\0\0\0"),
        (b"\0", b"\0\0\0\0\0\0\0\0"),
    ];
    for sealed in [false, true] {
        for (input, shown) in inputs {
            let expected = ConnectionError::Mismatch(Mismatch::Magic {
                found: shown.try_into().expect("eight"),
            });
            assert_eq!(
                responder(&config(sealed), input),
                (Some(expected.clone()), Vec::new())
            );
            assert_eq!(initiator(&config(sealed), input), Some(expected));
        }
    }
    let (end, _) = responder(&config(false), b"GET / HTTP/1.1\r\n");
    let text = end.expect("the end").to_string();
    assert!(text.contains("\"GET / HT\""), "{text}");
}

/// Two real sides that do not fit: what each of them says.
fn misfit(client: Arc<Config>, server: Arc<Config>) -> (ConnectionError, ConnectionError) {
    let mut pair = Pair::new(client, server);
    let early = pair
        .client
        .connection
        .send(pair.now, message("secret", AckLevel::Processed))
        .expect("queued");
    pair.run();
    let now = pair.now;
    pair.client.eof(now);
    pair.server.eof(now);
    pair.run();
    assert!(pair.server.received.is_empty());
    assert_eq!(
        pair.client.outcome(early),
        Some(sealpipe_core::Outcome::NotSent)
    );
    let end = |side: &Side| side.closed().expect("the end").clone();
    (end(&pair.client), end(&pair.server))
}

#[test]
fn different_keys_are_named_on_both_sides() {
    let other = Arc::new(Config::sealed(other_key()).build().expect("valid"));
    let (client, server) = misfit(config(true), other);
    let (a, b) = (key().id(), other_key().id());
    assert_eq!(
        client,
        ConnectionError::Mismatch(Mismatch::Key { own: a, peer: b })
    );
    assert_eq!(
        server,
        ConnectionError::Mismatch(Mismatch::Key { own: b, peer: a })
    );
    assert_eq!(client.fault(), Fault::Setup);
    assert!(client.to_string().contains(&a.to_string()));
}

#[test]
fn plain_against_sealed_is_told_on_both_sides() {
    let mode = |own, peer| ConnectionError::Mismatch(Mismatch::Mode { own, peer });
    let (client, server) = misfit(config(false), config(true));
    assert_eq!(
        (client, server),
        (
            mode(Mode::Plain, Mode::Sealed),
            mode(Mode::Sealed, Mode::Plain)
        )
    );
    let (client, server) = misfit(config(true), config(false));
    assert_eq!(
        (client, server),
        (
            mode(Mode::Sealed, Mode::Plain),
            mode(Mode::Plain, Mode::Sealed)
        )
    );
}

#[test]
fn another_version_is_told_on_both_sides() {
    for sealed in [false, true] {
        let mode = if sealed { Mode::Sealed } else { Mode::Plain };
        let theirs = Preface {
            version: 2,
            ..preface(mode, &key())
        };
        let (end, answer) = responder(&config(sealed), &theirs.encode());
        assert_eq!(
            end,
            Some(ConnectionError::Mismatch(Mismatch::Version {
                own: 1,
                peer: 2
            }))
        );
        assert_eq!(status(&answer), Status::Version);
        let refusal = Preface {
            status: Status::Version,
            ..theirs
        };
        let end = initiator(&config(sealed), &refusal.encode());
        assert_eq!(
            end,
            Some(ConnectionError::Mismatch(Mismatch::Version {
                own: 1,
                peer: 2
            }))
        );
    }
    // A mode of the future is none that this side falls back from.
    let future = Preface {
        mode: Mode::Other(2),
        ..preface(Mode::Plain, &key())
    };
    let (end, answer) = responder(&config(false), &future.encode());
    let expected = Mismatch::Mode {
        own: Mode::Plain,
        peer: Mode::Other(2),
    };
    assert_eq!(end, Some(ConnectionError::Mismatch(expected)));
    assert_eq!(status(&answer), Status::Mode);
}

#[test]
fn an_initiator_with_a_status_breaks_the_protocol() {
    let odd = Preface {
        status: Status::Busy,
        ..preface(Mode::Plain, &key())
    };
    let (end, answer) = responder(&config(false), &odd.encode());
    assert_eq!(
        end,
        Some(ConnectionError::Violation(Violation::InitiatorStatus))
    );
    assert!(answer.is_empty());
}

#[test]
fn a_peer_that_dies_or_falls_silent_in_each_state() {
    for sealed in [false, true] {
        let config = config(sealed);
        let whole =
            Side::new(config.clone(), Role::Initiator, 1, seconds(1)).take_output(seconds(1));
        let answer = {
            let mut side = Side::new(config.clone(), Role::Responder, 2, seconds(1));
            side.feed(seconds(1), &whole);
            side.take_output(seconds(1))
        };
        for (role, bytes) in [(Role::Responder, &whole), (Role::Initiator, &answer)] {
            // The whole of it leaves a sealed responder waiting for a record.
            let last = bytes.len() + usize::from(sealed && role == Role::Responder);
            for n in 0..last {
                let fresh = || {
                    let mut side = Side::new(config.clone(), role, 1, seconds(1));
                    side.take_output(seconds(1));
                    side.feed(seconds(1), &bytes[..n]);
                    side.take_output(seconds(1));
                    side
                };
                let lost = match n {
                    0 => Lost::Silent,
                    1..16 => Lost::Preface,
                    _ => Lost::Handshake,
                };
                let mut side = fresh();
                side.eof(seconds(1));
                side.take(true);
                assert_eq!(
                    side.closed(),
                    Some(&ConnectionError::Lost(lost)),
                    "{role:?} after {n}"
                );

                let mut side = fresh();
                assert_eq!(side.connection.poll_timeout(), Some(seconds(6)));
                side.connection.handle_timeout(millis(5_999));
                assert!(side.connection.end().is_none());
                side.connection.handle_timeout(seconds(6));
                let (end, written) = end_of(side);
                assert_eq!(
                    end,
                    Some(ConnectionError::Timeout(Timeout::Handshake)),
                    "{role:?} after {n}"
                );
                assert!(written.is_empty());
            }
        }
    }
}

#[test]
fn bytes_that_drip_do_not_put_the_handshake_off() {
    let mut side = Side::new(config(true), Role::Responder, 1, seconds(1));
    let bytes = preface(Mode::Sealed, &key()).encode();
    for (second, byte) in (1..6).zip(bytes) {
        side.feed(seconds(second), &[byte]);
        assert_eq!(side.connection.poll_timeout(), Some(seconds(6)));
    }
}

#[test]
fn a_handshake_message_of_a_wrong_length_is_refused_before_more_is_read() {
    for length in [0u16, 47, 1_025, u16::MAX] {
        let bytes = [
            &preface(Mode::Sealed, &key()).encode()[..],
            &length.to_be_bytes(),
        ]
        .concat();
        let expected = ConnectionError::Violation(Violation::HandshakeLength {
            length: usize::from(length),
        });
        let (end, answer) = responder(&config(true), &bytes);
        assert_eq!(end, Some(expected.clone()));
        assert_eq!(status(&answer), Status::Handshake);
        assert_eq!(initiator(&config(true), &bytes), Some(expected));
    }
}

#[test]
fn a_handshake_message_that_was_changed_is_told_on_both_sides() {
    // The second key: the answer must name the one that the initiator meant.
    let server = Arc::new(
        Config::sealed(other_key())
            .also_accept(key())
            .build()
            .expect("valid"),
    );
    let expected = ConnectionError::Authentication(Sealed::Handshake);
    let mut client = Side::new(config(true), Role::Initiator, 1, seconds(1));
    let asked = client.take_output(seconds(1));
    for at in (Preface::LEN + 2)..asked.len() {
        let mut changed = asked.clone();
        changed[at] ^= 0x10;
        let (end, answer) = responder(&server, &changed);
        assert_eq!(end.as_ref(), Some(&expected), "byte {at}");
        assert_eq!(status(&answer), Status::Handshake);
        assert_eq!(initiator(&config(true), &answer), Some(expected.clone()));
    }
    let (_, answer) = responder(&server, &asked);
    for at in (Preface::LEN + 2)..answer.len() {
        let mut changed = answer.clone();
        changed[at] ^= 0x10;
        // Seed 1 draws the same keys, so the unchanged answer would fit.
        assert_eq!(
            initiator(&config(true), &changed).as_ref(),
            Some(&expected),
            "byte {at}"
        );
    }
    assert_eq!(
        initiator(&config(true), &answer),
        None,
        "unchanged, it opens"
    );
}

/// An answer whose preface says one thing in clear and another under seal.
#[test]
fn a_preface_that_was_changed_on_its_way_is_noticed() {
    let expected = Some(ConnectionError::Violation(Violation::PrefaceEcho));
    let answer = |clear: [u8; 16], echo: &[u8]| {
        let mut side = Side::new(config(true), Role::Initiator, 1, seconds(1));
        let asked = side.take_output(seconds(1));
        let mut state = noise(false, &KEY, &asked[..16], [3; 32]);
        let theirs = Hello::decode(&read_noise(&mut state, &asked[16..])).expect("a valid HELLO");
        let payload = [echo, &hello_body(&hello(theirs.session))].concat();
        side.feed(
            seconds(1),
            &[&clear[..], &write_noise(&mut state, &payload)].concat(),
        );
        side.connection.end().cloned()
    };
    let clear = preface(Mode::Sealed, &key()).encode();
    let mut reserved = clear;
    reserved[7] = 0xaa;
    assert_eq!(answer(clear, &clear), None);
    assert_eq!(answer(reserved, &clear), expected);
    assert_eq!(answer(clear, &reserved), expected);
    assert_eq!(
        answer(clear, &clear[..15]),
        Some(ConnectionError::Violation(Violation::PrefaceEcho))
    );
    // What is reserved may be used one day: it is ignored, but it is the peer's.
    assert_eq!(answer(reserved, &reserved), None);
}

#[test]
fn a_reserved_byte_of_the_initiator_is_ignored() {
    let mut bytes = preface(Mode::Sealed, &key()).encode();
    bytes[7] = 0x55;
    let mut state = noise(true, &KEY, &bytes, [3; 32]);
    let asked = write_noise(&mut state, &hello_body(&hello([5; 16])));
    let (end, answer) = responder(&config(true), &[&bytes[..], &asked].concat());
    assert_eq!(end, None);
    read_noise(&mut state, &answer[16..]);
    bytes[5] = 0;
    let (end, _) = responder(
        &config(false),
        &[
            &bytes[..],
            &control(Frame::Hello(&hello_body(&hello([5; 16])))),
        ]
        .concat(),
    );
    assert_eq!(end, None);
}
