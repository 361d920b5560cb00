//! What honest sides may do, to the limit, and what they must not do to each
//! other.

use crate::common;
use common::caught::{MAX, each, script};
use common::raw::{Script, Seen, control, data_body, frame, hello, join, whole};
use common::{Pair, builder, message, millis};
use core::time::Duration;
use sealpipe_core::wire::{DataHead, Extension, Frame, Hello};
use sealpipe_core::{AckLevel, Close, Kind, Outcome, Role};

#[test]
fn limits_can_be_reached() {
    each(|sealed, role| {
        let mut script = script(sealed, role);
        let topic = "t".repeat(255);
        let head = DataHead {
            seq: 0,
            kind: Kind::Subscribe,
            ack: AckLevel::None,
            total: None,
            correlation: Some((1 << 62) - 1),
            topic: Some(&topic),
            extension: Extension::default(),
        };
        let mut body = Vec::new();
        head.encode(&mut body);
        body[1] |= 0x80;
        // One unknown item that fills the extension.
        body.extend_from_slice(&[0x40, 255, 0x20, 0x40, 252]);
        body.resize(body.len() + 252, 0);
        body.resize(body.len() + MAX - 255, 1);
        script.write(&frame(0x32, &body));
        script.write(&control(Frame::Pad).repeat(1_000));
        script.side.take(true);
        assert_eq!(script.side.connection.end(), None);
        assert_eq!(script.side.received[0].size(), MAX);
        assert_eq!(script.side.received[0].correlation(), Some((1 << 62) - 1));
    });
}

/// In plain mode a large frame is looked at before it is whole: with every
/// varint of its head in the longest form, that must be enough of it.
#[test]
fn the_longest_head_is_understood_however_it_is_cut() {
    let long = |value: u64| (value | 0xc000_0000_0000_0000).to_be_bytes();
    let mut body = long(0).to_vec();
    body.push(0x80 | 0x60 | Kind::Subscribe as u8);
    body.extend(long(7));
    body.extend(long(255));
    body.extend([b't'; 255]);
    body.extend(long(255));
    body.extend([&[0x20, 0x40, 252][..], &[0; 252]].concat());
    let head = body.len();
    body.resize(head + 20_000, 3);
    let bytes = frame(0x32, &body);
    for cut in (1..head + 40).chain([bytes.len()]) {
        let config = builder(false).max_message(30_000).build().expect("valid");
        let mut script = Script::open(config.into(), Role::Responder, hello([0; 16]));
        script.write(&bytes[..cut]);
        script.write(&bytes[cut..]);
        script.side.take(true);
        assert_eq!(script.side.connection.end(), None, "cut after {cut}");
        assert_eq!(script.side.received.len(), 1);
    }
}

#[test]
fn control_frames_are_refilled_by_time_and_by_data() {
    each(|sealed, role| {
        let mut script = script(sealed, role);
        let pads = |n: usize| control(Frame::Pad).repeat(n);
        script.write(&pads(1_020));
        // 100 a second, counted to the end: 19 in 190 ms, though no two come 20 ms
        // apart.
        for step in 0..300u64 {
            script.now = millis(2_000 + step * 19);
            script.write(&pads(if step % 10 == 0 { 1 } else { 2 }));
        }
        assert_eq!(script.side.connection.end(), None);
        for seq in 0..100 {
            script.write(&join([whole(seq, AckLevel::None, b""), pads(1)]));
            script.side.take(true);
            script.read();
        }
        assert_eq!(script.side.connection.end(), None);
    });
}

/// Verdicts with long reasons fill a record; a CANCEL that waits behind them must
/// still come before whatever follows the message that it ends.
#[test]
fn a_cancel_goes_out_before_what_follows_it() {
    for finish in [false, true] {
        let config = || {
            builder(true)
                .max_message(100_000)
                .receive_window(1 << 20, 400)
        };
        let config = std::sync::Arc::new(config().build().expect("valid"));
        let own = Hello {
            credit_bytes: 100_000,
            max_message: 100_000,
            ..hello([0; 16])
        };
        let mut script = Script::open(config, Role::Responder, own);
        for seq in 0..300 {
            script.write(&whole(seq, AckLevel::Processed, b"work"));
        }
        script.side.take(true);
        let id = script
            .side
            .connection
            .send(script.now, message(vec![1; 99_000], AckLevel::Received))
            .expect("room");
        // One write: the message is begun and not whole.
        assert!(
            script
                .side
                .connection
                .poll_transmit(script.now, &mut script.side.output)
        );
        for seq in 0..300 {
            let no = sealpipe_core::Rejection::new(300, "n".repeat(256));
            script.side.connection.settle(seq, Err(no)).expect("due");
        }
        assert!(script.side.connection.cancel(id));
        if finish {
            script.side.connection.finish(script.now);
        } else {
            script
                .side
                .connection
                .send(script.now, message("next", AckLevel::None))
                .expect("room");
        }
        let seen = script.read();
        let cancel = seen
            .iter()
            .position(|seen| *seen == Seen::Cancel { seq: 0 })
            .expect("a CANCEL");
        let next = seen.iter().position(|seen| match seen {
            Seen::Data { first, body, .. } => *first && body[0] == 1,
            Seen::Finish { .. } => true,
            _ => false,
        });
        assert!(next.expect("what follows") > cancel, "finish: {finish}");
    }
}

/// A program that calls `ping` whenever it has the answer, over a fast link.
#[test]
fn pings_as_fast_as_can_be_are_no_flood() {
    let mut pair = Pair::open(builder(false));
    for _ in 0..5_000 {
        pair.client
            .connection
            .ping()
            .expect("the native wire has pings");
        pair.sleep(Duration::from_micros(50));
    }
    assert!(
        pair.client.connection.is_open(),
        "{:?}",
        pair.client.closed()
    );
    pair.sleep(Duration::from_secs(1));
    let pongs = |pair: &Pair| {
        pair.client
            .events
            .iter()
            .filter(|event| matches!(event, sealpipe_core::Event::Pong { .. }))
            .count()
    };
    let answered = pongs(&pair);
    assert!(answered > 500, "{answered}");
    pair.client
        .connection
        .ping()
        .expect("the native wire has pings");
    pair.sleep(Duration::from_millis(100));
    assert_eq!(
        pongs(&pair),
        answered + 1,
        "a PING is put off, not forgotten"
    );
}

/// A program that withdraws the same message again and again.
#[test]
fn withdrawing_twice_says_it_once() {
    let mut pair = Pair::open(builder(false));
    pair.settle = false;
    let id = pair.send(Role::Initiator, message("x", AckLevel::Processed));
    pair.run();
    for _ in 0..3_000 {
        assert!(!pair.client.connection.cancel(id));
        pair.run();
    }
    assert!(pair.client.connection.is_open());
    assert_eq!(
        pair.server
            .events
            .iter()
            .filter(|e| matches!(e, sealpipe_core::Event::Cancelled { .. }))
            .count(),
        1
    );
    pair.server.connection.settle(0, Ok(())).expect("still due");
    pair.run();
    assert_eq!(pair.client.outcome(id), Some(Outcome::Processed));
}

/// More verdicts than one record holds, and then the end.
#[test]
fn verdicts_that_were_given_go_out_before_close() {
    let config = builder(true).receive_window(16 << 20, 400).build();
    let config = config.expect("valid");
    let mut script = Script::open(config.into(), Role::Responder, hello([0; 16]));
    for seq in 0..300 {
        script.write(&whole(seq, AckLevel::Processed, b"work"));
        script.side.take(true);
        let no = sealpipe_core::Rejection::new(300, "n".repeat(256));
        let settled = script.side.connection.settle(seq, Err(no));
        settled.expect("due");
    }
    let bye = Close::new(Close::GOING_AWAY, "");
    script.side.connection.close(script.now, bye);
    let seen = script.read();
    let results = seen
        .iter()
        .filter(|seen| matches!(seen, Seen::Result { .. }));
    assert_eq!(results.count(), 300);
    assert!(matches!(seen.last(), Some(Seen::Close { .. })));
}

/// What is queued and acknowledged is not what was dropped by closing.
#[test]
fn close_does_not_acknowledge_what_it_drops() {
    each(|sealed, role| {
        for abandon in [false, true] {
            let mut script = script(sealed, role);
            script.write(&join([
                whole(0, AckLevel::Received, b"a"),
                whole(1, AckLevel::Received, b"b"),
            ]));
            assert!(script.side.connection.recv().is_some());
            if abandon {
                script.side.connection.abandon(script.now);
            } else {
                script
                    .side
                    .connection
                    .close(script.now, Close::new(Close::GOING_AWAY, ""));
            }
            script.side.connection.handle_idle();
            let seen = script.read();
            assert!(
                !seen.iter().any(|seen| matches!(seen, Seen::Ack { .. })),
                "{seen:?}"
            );
            assert!(
                matches!(seen.last(), Some(Seen::Close { delivered: 1, .. })),
                "{seen:?}"
            );
        }
    });
}

#[test]
fn data_bodies_of_the_script_are_what_the_core_reads() {
    // The helpers must not be what fails above.
    let mut script = script(false, Role::Responder);
    let body = data_body(0, AckLevel::Received, None, b"x");
    script.write_idle(&frame(0x32, &body));
    script.side.take(true);
    assert_eq!(script.side.payloads(), [b"x"]);
    assert_eq!(
        script.read(),
        [Seen::Ack {
            next: 1,
            settled: 0
        }]
    );
}

/// Small messages that came together are taken together: wherever the bytes are cut,
/// and whatever stands between them, they are what they are one by one.
#[test]
fn small_messages_are_the_same_wherever_they_are_cut() {
    const SIZES: [usize; 24] = [
        0, 1, 59, 60, 61, 62, 63, 64, 0, 0, 1_017, 1_018, 1_019, 1_020, 1_021, 1_022, 1_023, 1_024,
        5_000, 0, 300, 2, 4_096, 7,
    ];
    let mut bytes = Vec::new();
    for (seq, size) in SIZES.into_iter().enumerate() {
        let body = data_body(seq as u64, AckLevel::None, None, &vec![seq as u8; size]);
        bytes.push(0x32);
        match seq % 4 {
            // Longer than it need be.
            1 => bytes.extend_from_slice(&(0x8000_0000 | body.len() as u32).to_be_bytes()),
            2 => bytes.extend_from_slice(&(0x4000 | body.len() as u16).to_be_bytes()),
            _ => {
                bytes.pop();
                bytes.extend_from_slice(&frame(0x32, &body));
                if seq % 8 == 3 {
                    bytes.extend_from_slice(&control(Frame::Pad));
                }
                continue;
            }
        }
        bytes.extend_from_slice(&body);
    }
    let sizes = (1..64).chain([100, 1_023, 1_024, 1_025, 4_095, 4_096, 4_097, bytes.len()]);
    for chunk in sizes {
        let mut pair = Pair::open(builder(false));
        let now = pair.now;
        let server = &mut pair.server;
        for part in bytes.chunks(chunk) {
            server.feed(now, part);
        }
        server.take(true);
        assert_eq!(server.connection.end(), None, "in parts of {chunk}");
        let expected = SIZES.iter().enumerate();
        let expected: Vec<_> = expected.map(|(seq, &n)| vec![seq as u8; n]).collect();
        assert_eq!(server.payloads(), expected, "in parts of {chunk}");
    }
}
