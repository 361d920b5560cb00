//! What comes before a connection is open: every way in which it can go wrong,
//! with the exact error on both sides, and what makes it go right.

mod common;

use common::raw::{
    KEY, Script, Seen, control, frame, frames, hello, hello_body, noise, preface, read_noise,
    whole, write_noise,
};
use common::{Pair, Rng, Side, builder, config, key, message, millis, other_key, seconds};
use core::time::Duration;
use sealpipe_core::wire::{Frame, Hello, Mode, Preface, Status};
use sealpipe_core::{
    AckLevel, Close, Config, ConfigError, Connection, ConnectionError, Event, Fault, Lost,
    Mismatch, Role, Sealed, Time, Timeout, Violation,
};
use std::sync::Arc;

/// A responder that is fed `bytes`: why it ended, and what it answered.
fn responder(config: &Arc<Config>, bytes: &[u8]) -> (Option<ConnectionError>, Vec<u8>) {
    let mut side = Side::new(config.clone(), Role::Responder, 1, seconds(1));
    side.feed(seconds(1), bytes);
    end_of(side)
}

/// An initiator that is answered `bytes`.
fn initiator(config: &Arc<Config>, bytes: &[u8]) -> Option<ConnectionError> {
    let mut side = Side::new(config.clone(), Role::Initiator, 1, seconds(1));
    side.take_output(seconds(1));
    side.feed(seconds(1), bytes);
    let (end, written) = end_of(side);
    assert!(
        end.is_none() || written.is_empty(),
        "nothing can be said before it is open"
    );
    end
}

fn end_of(mut side: Side) -> (Option<ConnectionError>, Vec<u8>) {
    let answer = side.take_output(seconds(1));
    side.take(true);
    assert!(side.received.is_empty());
    let end = side.closed().cloned();
    assert_eq!(end.as_ref(), side.connection.end());
    if end.is_some() {
        assert_eq!(side.connection.poll_timeout(), None);
        assert!(side.connection.is_drained());
        assert_eq!(
            side.events.len(),
            1,
            "nothing but the end: {:?}",
            side.events
        );
    }
    (end, answer)
}

fn status(answer: &[u8]) -> Status {
    assert_eq!(answer.len(), Preface::LEN, "a preface and nothing else");
    Preface::decode(answer)
        .expect("the magic")
        .expect("whole")
        .status
}

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

/// Bodies of HELLO and what is wrong with them.
fn broken_hellos() -> Vec<(&'static str, Vec<u8>, Violation)> {
    let good = hello([5; 16]);
    let body = hello_body(&good);
    let with = |extra: &[u8]| [&body[..], extra].concat();
    let mut padded = body.clone();
    padded.extend_from_slice(&[0x3f, 0x41, 0xff]);
    padded.resize(513, 0);
    let mut cases = vec![
        ("empty", Vec::new(), Violation::HelloIncomplete),
        ("too long", padded, Violation::HelloTooLong),
        (
            "an item without a length",
            with(&[0x20]),
            Violation::HelloMalformed,
        ),
        (
            "an item cut off",
            with(&[0x20, 2, 0]),
            Violation::HelloMalformed,
        ),
        ("an item twice", with(&[0, 1, 0]), Violation::HelloMalformed),
        (
            "resume is neither",
            {
                let mut body = body.clone();
                *body.last_mut().expect("not empty") = 2;
                body
            },
            Violation::HelloMalformed,
        ),
        (
            "credit below the largest message",
            hello_body(&Hello {
                credit_bytes: good.max_message - 1,
                ..good
            }),
            Violation::HelloCredit,
        ),
        (
            "credit of no message",
            hello_body(&Hello {
                credit_messages: 0,
                ..good
            }),
            Violation::HelloCredit,
        ),
        (
            "a number with a byte behind it",
            [&[0, 2, 0, 0][..], &body[3..]].concat(),
            Violation::HelloMalformed,
        ),
        (
            "a number of no bytes",
            [&[0, 0][..], &body[3..]].concat(),
            Violation::HelloMalformed,
        ),
    ];
    // Each of the first five items must be there.
    let items: Vec<&[u8]> = {
        let (mut items, mut rest) = (Vec::new(), &body[..]);
        while !rest.is_empty() {
            let (item, after) = rest.split_at(2 + usize::from(rest[1]));
            items.push(item);
            rest = after;
        }
        items
    };
    assert_eq!(items.len(), 8);
    for missing in 0..5 {
        let rest: Vec<u8> = items
            .iter()
            .enumerate()
            .filter(|(i, _)| *i != missing)
            .flat_map(|(_, item)| item.to_vec())
            .collect();
        cases.push(("an item is missing", rest, Violation::HelloIncomplete));
    }
    let short: Vec<u8> = items
        .iter()
        .flat_map(|item| {
            if item[0] == 4 {
                [&[4, 15][..], &[5; 15]].concat()
            } else {
                item.to_vec()
            }
        })
        .collect();
    cases.push(("a session of 15 bytes", short, Violation::HelloMalformed));
    cases
}

#[test]
fn a_broken_hello_is_refused_with_status_6() {
    for (what, body, violation) in broken_hellos() {
        let expected = Some(ConnectionError::Violation(violation));
        let told = Some(ConnectionError::Authentication(Sealed::Handshake));

        let clear = preface(Mode::Plain, &key()).encode();
        let bytes = [&clear[..], &control(Frame::Hello(&body))].concat();
        let (end, answer) = responder(&config(false), &bytes);
        assert_eq!(end, expected, "plain responder: {what}");
        assert_eq!(status(&answer), Status::Handshake);
        assert_eq!(initiator(&config(false), &answer), told);
        assert_eq!(
            initiator(&config(false), &bytes),
            expected,
            "plain initiator: {what}"
        );

        let clear = preface(Mode::Sealed, &key()).encode();
        let mut state = noise(true, &KEY, &clear, [3; 32]);
        let asked = write_noise(&mut state, &body);
        let (end, answer) = responder(&config(true), &[&clear[..], &asked].concat());
        assert_eq!(end, expected, "sealed responder: {what}");
        assert_eq!(status(&answer), Status::Handshake);
        assert_eq!(initiator(&config(true), &answer), told);
    }
}

#[test]
fn a_hello_may_have_unknown_items_in_any_order_up_to_512_bytes() {
    let body = hello_body(&hello([5; 16]));
    let mut long = vec![0x3e, 0x40, 0];
    long.resize(512 - body.len(), 7);
    let n = (long.len() - 3) as u16;
    long[1..3].copy_from_slice(&(n | 0x4000).to_be_bytes());
    long.extend_from_slice(&body);
    assert_eq!(long.len(), 512);
    let clear = preface(Mode::Plain, &key()).encode();
    let (end, answer) = responder(
        &config(false),
        &[&clear[..], &control(Frame::Hello(&long))].concat(),
    );
    assert_eq!(end, None);
    match &frames(&answer[16..])[..] {
        [Seen::Hello(answer)] => assert_eq!(answer.session, [5; 16]),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_not_hello_first_is_refused() {
    let clear = preface(Mode::Plain, &key()).encode();
    for bytes in [
        whole(0, AckLevel::None, b"early"),
        control(Frame::Ping([1; 8])),
        vec![0xff],
        frame(0, &[0; 600]),
    ] {
        let (end, answer) = responder(&config(false), &[&clear[..], &bytes].concat());
        assert_eq!(
            end,
            Some(ConnectionError::Violation(Violation::HelloMissing))
        );
        assert_eq!(status(&answer), Status::Handshake);
    }
    // A length alone is enough to tell that it is too long.
    let (end, _) = responder(&config(false), &[&clear[..], &[1, 0x7f, 0xff]].concat());
    assert_eq!(
        end,
        Some(ConnectionError::Violation(Violation::HelloTooLong))
    );
}

#[test]
fn a_responder_that_names_another_session_breaks_the_protocol() {
    let clear = preface(Mode::Plain, &key()).encode();
    let bytes = [
        &clear[..],
        &control(Frame::Hello(&hello_body(&hello([5; 16])))),
    ]
    .concat();
    let mut side = Side::new(config(false), Role::Initiator, 1, seconds(1));
    side.take_output(seconds(1));
    side.feed(seconds(1), &bytes);
    assert_eq!(
        side.connection.end(),
        Some(&ConnectionError::Violation(Violation::HelloSession))
    );

    let mut side = Side::new(config(true), Role::Initiator, 1, seconds(1));
    let asked = side.take_output(seconds(1));
    let clear = preface(Mode::Sealed, &key()).encode();
    let mut state = noise(false, &KEY, &asked[..16], [3; 32]);
    read_noise(&mut state, &asked[16..]);
    let payload = [&clear[..], &hello_body(&hello([5; 16]))].concat();
    side.feed(
        seconds(1),
        &[&clear[..], &write_noise(&mut state, &payload)].concat(),
    );
    assert_eq!(
        side.connection.end(),
        Some(&ConnectionError::Violation(Violation::HelloSession))
    );
}

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
