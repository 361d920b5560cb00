//! An open connection and a peer that breaks the protocol: the exact error, the
//! CLOSE that answers it, and nothing delivered that should not be. Every case
//! runs plain and sealed, and against either role.

mod common;

use common::raw::{Script, Seen, control, data_body, first, frame, hello, join, more, whole};
use common::{Pair, builder, message, millis, seconds};
use core::time::Duration;
use sealpipe_core::wire::{DataHead, Frame, FrameType, Hello, MAX_FRAME_PLAIN, MAX_FRAME_SEALED};
use sealpipe_core::{
    AckLevel, Close, ConnectionError, Kind, Lost, Message, Outcome, Role, Sealed, SendErrorReason,
    Timeout, Violation,
};

const MAX: usize = 4_096;

/// The real side accepts 4,096 bytes a message, 8,192 in all and 3 messages.
fn script(sealed: bool, role: Role) -> Script {
    let config = builder(sealed)
        .max_message(MAX)
        .receive_window(2 * MAX, 3)
        .build()
        .expect("valid");
    Script::open(config.into(), role, hello([0; 16]))
}

/// The script writes `bytes` and must be caught at it.
fn caught(name: &str, script: &mut Script, bytes: &[u8], violation: Violation, delivered: usize) {
    let code = match violation {
        Violation::MessageTooLarge { .. } | Violation::NoCredit => Close::LIMIT,
        Violation::Flood => Close::FLOOD,
        _ => Close::VIOLATION,
    };
    script.write(bytes);
    let expected = ConnectionError::Violation(violation);
    assert_eq!(script.side.connection.end(), Some(&expected), "{name}");
    let seen = script.read();
    match &seen[..] {
        [
            ..,
            Seen::Close {
                code: told,
                delivered: below,
                reason,
            },
        ] => {
            assert_eq!(*told, code, "{name}");
            assert_eq!(
                *below,
                script.side.received.len() as u64 + delivered as u64,
                "{name}"
            );
            assert!(!reason.is_empty());
        }
        other => panic!("{name}: no CLOSE: {other:?}"),
    }
    assert_eq!(
        seen.iter()
            .filter(|seen| matches!(seen, Seen::Close { .. }))
            .count(),
        1
    );
    let before = script.side.received.len();
    script.side.take(true);
    assert_eq!(
        script.side.received.len() - before,
        delivered,
        "{name}: what had come whole is delivered"
    );
    assert_eq!(script.side.closed(), Some(&expected), "{name}");
    // The same error for ever, and nothing more to do.
    let again = script.wrap(&whole(0, AckLevel::None, b"x"));
    script.side.input.fill_from(&again);
    assert_eq!(
        script
            .side
            .connection
            .handle_input(script.now, &mut script.side.input),
        Err(expected.clone())
    );
    let refused = script
        .side
        .connection
        .send(script.now, Message::new("x"))
        .expect_err("ended");
    assert_eq!(refused.reason, SendErrorReason::Closed(expected.clone()));
    assert_eq!(script.side.connection.poll_timeout(), None, "{name}");
    assert!(
        script.side.connection.is_drained() && script.read().is_empty(),
        "{name}"
    );
    script.side.take(true);
    assert_eq!(
        script.side.closed(),
        Some(&expected),
        "{name}: still the last event"
    );
}

fn each(run: impl Fn(bool, Role)) {
    for sealed in [false, true] {
        for role in [Role::Initiator, Role::Responder] {
            run(sealed, role);
        }
    }
}

/// Bytes and what is wrong with them, with how many messages come whole before.
fn table() -> Vec<(&'static str, Vec<u8>, Violation, usize)> {
    use AckLevel::{None as N, Received as R};
    use Violation as V;
    let malformed = |frame_type| V::FrameMalformed { frame_type };
    let head = |byte: u8, rest: &[u8]| frame(0x32, &[&[0, byte][..], rest].concat());
    let topic = |n: usize| {
        let mut body = vec![0, 0x40 | Kind::Event as u8];
        sealpipe_core::wire::varint::encode(n as u64, &mut body);
        body.resize(body.len() + n, b't');
        frame(0x32, &body)
    };
    let large = |size: u64| V::MessageTooLarge {
        size,
        max: MAX as u64,
    };
    let kib = [1u8; 1_024];
    let long = [b'r'; 257];
    let mut cases = vec![
        ("HELLO again", control(Frame::Hello(&[])), V::HelloTwice, 0),
        (
            "a flag on a control frame",
            frame(0x16, &[0; 8]),
            V::UnknownFrame { byte: 0x16 },
            0,
        ),
        (
            "a reserved flag on DATA",
            frame(0x72, &[0; 8]),
            V::UnknownFrame { byte: 0x72 },
            0,
        ),
        (
            "a long reason in RESULT",
            frame(4, &[&[0, 1][..], &long].concat()),
            malformed(FrameType::Result),
            0,
        ),
        (
            "a long reason in CLOSE",
            frame(9, &[&[0, 0][..], &long].concat()),
            malformed(FrameType::Close),
            0,
        ),
        (
            "no UTF-8 in RESULT",
            frame(4, &[0, 1, 0xff]),
            malformed(FrameType::Result),
            0,
        ),
        (
            "no UTF-8 in CLOSE",
            frame(9, &[0, 0, 0xc0, 0x80]),
            malformed(FrameType::Close),
            0,
        ),
        (
            "an empty DATA frame with FIRST",
            frame(0x32, &[]),
            V::MessageMalformed,
            0,
        ),
        ("kind 7", head(7, &[]), V::MessageMalformed, 0),
        ("level 3", head(3 << 3, &[]), V::MessageMalformed, 0),
        (
            "a correlation on a message",
            head(0x20, &[1]),
            V::MessageMalformed,
            0,
        ),
        (
            "a request without a correlation",
            head(1, &[]),
            V::MessageMalformed,
            0,
        ),
        (
            "a topic on a message",
            head(0x40, &[1, b't']),
            V::MessageMalformed,
            0,
        ),
        (
            "an event without a topic",
            head(4, &[]),
            V::MessageMalformed,
            0,
        ),
        ("an empty topic", topic(0), V::MessageMalformed, 0),
        ("a topic of 256 bytes", topic(256), V::MessageMalformed, 0),
        (
            "a topic cut off",
            head(0x44, &[9, b't']),
            V::MessageMalformed,
            0,
        ),
        (
            "a topic that is not UTF-8",
            head(0x44, &[1, 0xff]),
            V::MessageMalformed,
            0,
        ),
        (
            "an extension of 256 bytes",
            head(0x80, &[&[0x41, 0, 0x20, 0x40, 253][..], &[0; 253]].concat()),
            V::MessageMalformed,
            0,
        ),
        (
            "an extension that is no items",
            head(0x80, &[1, 0]),
            V::MessageMalformed,
            0,
        ),
        (
            "an extension cut off",
            head(0x80, &[5, 0]),
            V::MessageMalformed,
            0,
        ),
        (
            "a number left out",
            whole(1, N, b"x"),
            V::MessageNumber {
                found: 1,
                expected: 0,
            },
            0,
        ),
        (
            "a number again",
            join([whole(0, N, b"x"), whole(0, N, b"x")]),
            V::MessageNumber {
                found: 0,
                expected: 1,
            },
            1,
        ),
        (
            "one byte too large",
            whole(0, N, &[0; MAX + 1]),
            large(MAX as u64 + 1),
            0,
        ),
        (
            "too large with its topic",
            frame(0x12, &[&[0, 0x44, 0x50, 0, 1, b't'][..], &kib].concat()),
            large(MAX as u64 + 1),
            0,
        ),
        (
            "the largest total there is",
            first(0, N, (1 << 62) - 1, &kib),
            large((1 << 62) - 1),
            0,
        ),
        (
            "a fourth message",
            join([0, 1, 2, 3].map(|seq| whole(seq, R, b""))),
            V::NoCredit,
            3,
        ),
        (
            "a byte without credit",
            join([
                whole(0, R, &[0; MAX]),
                whole(1, R, &[0; MAX]),
                whole(2, R, b"x"),
            ]),
            V::NoCredit,
            2,
        ),
        (
            "credit is asked for the whole",
            join([
                whole(0, R, &[0; MAX]),
                whole(1, R, &[0; MAX - 100]),
                first(2, R, 1_025, &kib),
            ]),
            V::NoCredit,
            2,
        ),
        (
            "FIRST inside a message",
            join([first(0, N, 2_048, &kib), whole(1, N, b"x")]),
            V::FirstInsideMessage,
            0,
        ),
        (
            "no message begun",
            more(true, b"x"),
            V::FragmentWithoutFirst,
            0,
        ),
        (
            "a tiny first fragment",
            first(0, N, 2_048, &kib[1..]),
            V::TinyFragment,
            0,
        ),
        (
            "an empty first fragment",
            first(0, N, 2_048, &[]),
            V::TinyFragment,
            0,
        ),
        (
            "a tiny fragment",
            join([first(0, N, 4_000, &kib), more(false, &kib[1..])]),
            V::TinyFragment,
            0,
        ),
        (
            "an empty fragment",
            join([first(0, N, 4_000, &kib), more(false, &[])]),
            V::TinyFragment,
            0,
        ),
        (
            "an empty last fragment",
            join([first(0, N, 1_024, &kib), more(true, &[])]),
            V::FragmentLength,
            0,
        ),
        (
            "more than declared",
            join([first(0, N, 1_025, &kib), more(true, b"xy")]),
            V::FragmentLength,
            0,
        ),
        (
            "less than declared",
            join([first(0, N, 1_026, &kib), more(true, b"x")]),
            V::FragmentLength,
            0,
        ),
        (
            "whole, but no FIN",
            join([first(0, N, 2_048, &kib), more(false, &kib)]),
            V::FragmentLength,
            0,
        ),
        (
            "an ACK for what was not sent",
            control(Frame::Ack {
                next: 1,
                settled: 0,
            }),
            V::Ack,
            0,
        ),
        (
            "settled, but not sent",
            control(Frame::Ack {
                next: 0,
                settled: 1,
            }),
            V::Ack,
            0,
        ),
        (
            "a RESULT for what was not sent",
            control(Frame::Result {
                seq: 0,
                code: 0,
                reason: "",
            }),
            V::Result,
            0,
        ),
        (
            "bytes taken back",
            control(Frame::Credit {
                bytes: (1 << 20) - 1,
                messages: 1_000,
            }),
            V::CreditTakenBack,
            0,
        ),
        (
            "messages taken back",
            control(Frame::Credit {
                bytes: 1 << 20,
                messages: 999,
            }),
            V::CreditTakenBack,
            0,
        ),
        (
            "a PONG that answers nothing",
            control(Frame::Pong([0; 8])),
            V::Pong,
            0,
        ),
        (
            "CANCEL of what was not begun",
            control(Frame::Cancel { seq: 0 }),
            V::Cancel,
            0,
        ),
        (
            "DATA after FINISH",
            join([control(Frame::Finish { end: 0 }), whole(0, N, b"x")]),
            V::DataAfterFinish,
            0,
        ),
        (
            "FINISH twice",
            join([
                control(Frame::Finish { end: 0 }),
                control(Frame::Finish { end: 0 }),
            ]),
            V::Finish,
            0,
        ),
        (
            "FINISH with a number too high",
            control(Frame::Finish { end: 1 }),
            V::Finish,
            0,
        ),
        (
            "FINISH with a number too low",
            join([whole(0, N, b"x"), control(Frame::Finish { end: 0 })]),
            V::Finish,
            1,
        ),
        (
            "FINISH inside a message",
            join([first(0, N, 2_048, &kib), control(Frame::Finish { end: 1 })]),
            V::Finish,
            0,
        ),
        (
            "CLOSE counts what was not sent",
            control(Frame::Close {
                code: 1,
                delivered: 1,
                reason: "",
            }),
            V::Close,
            0,
        ),
    ];
    // Every control frame, a byte short and a byte long.
    for (byte, body, frame_type, text) in [
        (3, vec![0, 0], FrameType::Ack, false),
        (4, vec![0, 0], FrameType::Result, true),
        (5, vec![0, 0], FrameType::Credit, false),
        (6, vec![0; 8], FrameType::Ping, false),
        (7, vec![0; 8], FrameType::Pong, false),
        (8, vec![0], FrameType::Cancel, false),
        (9, vec![0, 0], FrameType::Close, true),
        (10, vec![0], FrameType::Finish, false),
    ] {
        cases.push((
            "a body too short",
            frame(byte, &body[1..]),
            malformed(frame_type),
            0,
        ));
        if !text {
            cases.push((
                "a body too long",
                frame(byte, &[&body[..], &[0]].concat()),
                malformed(frame_type),
                0,
            ));
        }
    }
    for byte in (11..=255).filter(|byte| ![0x12, 0x22, 0x32].contains(byte)) {
        cases.push(("no frame", frame(byte, &[]), V::UnknownFrame { byte }, 0));
    }
    for (n, flood) in [
        control(Frame::Pad),
        control(Frame::Ping([7; 8])),
        control(Frame::Ack {
            next: 0,
            settled: 0,
        }),
        control(Frame::Credit {
            bytes: 1 << 20,
            messages: 1_000,
        }),
    ]
    .into_iter()
    .enumerate()
    {
        cases.push((
            ["PADs", "PINGs", "ACKs", "CREDITs"][n],
            flood.repeat(1_025),
            V::Flood,
            0,
        ));
    }
    let cancels = control(Frame::Cancel { seq: 0 }).repeat(1_025);
    cases.push(("CANCELs", join([whole(0, N, b"x"), cancels]), V::Flood, 1));
    cases
}

#[test]
fn a_peer_that_breaks_the_protocol_is_told_so_and_left() {
    each(|sealed, role| {
        for (name, bytes, violation, delivered) in table() {
            let mut script = script(sealed, role);
            caught(name, &mut script, &bytes, violation, delivered);
        }
    });
}

#[test]
fn a_frame_over_the_limit_is_told_when_its_header_has_come() {
    each(|sealed, role| {
        let max = if sealed {
            MAX_FRAME_SEALED
        } else {
            MAX_FRAME_PLAIN
        };
        for length in [max as u64 - 4, 1 << 30, (1 << 62) - 1] {
            let mut header = vec![2];
            sealpipe_core::wire::varint::encode(length, &mut header);
            caught(
                "a long frame",
                &mut script(sealed, role),
                &header,
                Violation::FrameTooLong { length, max },
                0,
            );
        }
    });
}

#[test]
fn answers_to_what_was_sent_are_checked_against_it() {
    each(|sealed, role| {
        use Violation as V;
        let result = |seq| {
            control(Frame::Result {
                seq,
                code: 0,
                reason: "",
            })
        };
        let ack = |next| control(Frame::Ack { next, settled: 0 });
        for (name, bytes, violation) in [
            ("a second RESULT", join([result(1), result(1)]), V::Result),
            ("a RESULT for level received", result(0), V::Result),
            ("an ACK that falls", join([ack(2), ack(1)]), V::Ack),
            ("an ACK above", ack(3), V::Ack),
            (
                "CLOSE above",
                control(Frame::Close {
                    code: 1,
                    delivered: 3,
                    reason: "",
                }),
                V::Close,
            ),
        ] {
            let mut script = script(sealed, role);
            for ack in [AckLevel::Received, AckLevel::Processed] {
                script
                    .side
                    .connection
                    .send(script.now, message("m", ack))
                    .expect("room");
            }
            script.read();
            caught(name, &mut script, &bytes, violation, 0);
        }
        // What *settled* said is not taken back, either.
        let mut script = script(sealed, role);
        let settled = |settled| control(Frame::Ack { next: 0, settled });
        let bytes = join([whole(0, AckLevel::None, b"x"), settled(1), settled(0)]);
        caught("settled falls", &mut script, &bytes, V::Ack, 1);
    });
}

#[test]
fn a_message_that_is_not_whole_is_never_delivered() {
    each(|sealed, role| {
        let mut script = script(sealed, role);
        script.write(&join([
            whole(0, AckLevel::None, b"whole"),
            first(1, AckLevel::Received, 3_000, &[9; 2_999]),
        ]));
        script.side.take(true);
        assert_eq!(script.side.payloads(), [b"whole"]);
        script.side.eof(script.now);
        script.side.take(true);
        assert_eq!(
            script.side.closed(),
            Some(&ConnectionError::Lost(Lost::Truncated))
        );
        assert_eq!(script.side.received.len(), 1);
    });
}

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
        assert_eq!(script.side.received[0].correlation, Some((1 << 62) - 1));
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
        // 100 a second, counted to the end: three every 30 ms, though two of them
        // come after 29.
        for round in 0..200u64 {
            for at in [29, 30] {
                script.now = seconds(2).max(millis(2_000 + round * 30 + at));
                script.write(&pads(if at == 29 { 2 } else { 1 }));
            }
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

// --- Records -----------------------------------------------------------------

/// A sealed pair, and three records of the client's, one message each.
fn records() -> (Pair, Vec<Vec<u8>>) {
    let mut pair = Pair::open(builder(true));
    let now = pair.now;
    let records = ["one", "two", "three"]
        .map(|text| {
            pair.client
                .connection
                .send(now, message(text, AckLevel::Processed))
                .expect("room");
            pair.client.take_output(now)
        })
        .to_vec();
    (pair, records)
}

fn does_not_open(pair: &mut Pair, what: &str, delivered: &[&str]) {
    let expected = ConnectionError::Authentication(Sealed::Record);
    pair.server.take(true);
    assert_eq!(pair.server.closed(), Some(&expected), "{what}");
    let texts: Vec<_> = pair
        .server
        .payloads()
        .into_iter()
        .map(|p| String::from_utf8(p).expect("text"))
        .collect();
    assert_eq!(texts, delivered, "{what}");
    pair.run();
    match pair.client.closed() {
        Some(ConnectionError::ClosedByPeer(close)) => assert_eq!(close.code, Close::AUTHENTICATION),
        other => panic!("{what}: the client ended with {other:?}"),
    }
}

#[test]
fn a_record_that_is_replayed_left_out_reordered_or_reflected_does_not_open() {
    for (what, order, delivered) in [
        ("replayed", &[0, 0][..], &["one"][..]),
        ("replayed later", &[0, 1, 0], &["one", "two"]),
        ("left out", &[1], &[]),
        ("reordered", &[0, 2, 1], &["one"]),
    ] {
        let (mut pair, records) = records();
        for index in order {
            pair.server.feed(pair.now, &records[*index]);
        }
        does_not_open(&mut pair, what, delivered);
    }
    let (mut pair, records) = records();
    std::mem::swap(&mut pair.client, &mut pair.server);
    pair.server.feed(pair.now, &records[0]);
    pair.server.take(true);
    // The other end has missed three records by now: it could not read a CLOSE.
    assert_eq!(
        pair.server.closed(),
        Some(&ConnectionError::Authentication(Sealed::Record))
    );
    assert!(pair.server.received.is_empty());
}

#[test]
fn a_record_with_any_bit_flipped_is_not_used() {
    let (_, sample) = records();
    for at in 2..sample[0].len() {
        for bit in [0, 7] {
            let (mut pair, mut records) = records();
            records[0][at] ^= 1 << bit;
            let all = records.concat();
            pair.server.feed(pair.now, &all);
            does_not_open(&mut pair, &format!("byte {at}, bit {bit}"), &[]);
        }
    }
    for (at, bit) in (0..2).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
        let (mut pair, mut records) = records();
        records[0][at] ^= 1 << bit;
        pair.server.feed(pair.now, &records.concat());
        pair.server.take(true);
        if pair.server.connection.end().is_none() {
            // Declared longer than what came: it never will be whole.
            pair.server.eof(pair.now);
            pair.server.take(true);
            assert_eq!(
                pair.server.closed(),
                Some(&ConnectionError::Lost(Lost::Truncated))
            );
        } else {
            does_not_open(&mut pair, &format!("length, byte {at}, bit {bit}"), &[]);
        }
        assert!(pair.server.received.is_empty());
    }
}

#[test]
fn a_record_cut_short_is_truncated_and_times_out() {
    let (_, sample) = records();
    for n in 1..sample[0].len() {
        let (mut pair, records) = records();
        pair.server.feed(pair.now, &records[0][..n]);
        pair.server
            .connection
            .handle_timeout(pair.now.saturating_add(Duration::from_millis(29_999)));
        assert!(pair.server.connection.end().is_none());
        if n % 2 == 0 {
            pair.server.eof(pair.now);
            pair.server.take(true);
            assert_eq!(
                pair.server.closed(),
                Some(&ConnectionError::Lost(Lost::Truncated))
            );
        } else {
            pair.server
                .connection
                .handle_timeout(pair.now.saturating_add(Duration::from_secs(30)));
            pair.server.take(true);
            assert_eq!(
                pair.server.closed(),
                Some(&ConnectionError::Timeout(Timeout::Record))
            );
        }
        assert!(pair.server.received.is_empty());
    }
}

#[test]
fn records_that_are_empty_or_end_inside_a_frame_break_the_protocol() {
    for role in [Role::Initiator, Role::Responder] {
        let empty = |script: &mut Script| script.tx.as_mut().expect("sealed").seal(&[]);
        let mut script = script(true, role);
        let record = empty(&mut script);
        script.side.feed(script.now, &record);
        assert_eq!(
            script.side.connection.end(),
            Some(&ConnectionError::Violation(Violation::EmptyRecord))
        );
        let message = whole(0, AckLevel::Received, b"hello");
        for n in 1..message.len() {
            let mut script = self::script(true, role);
            // A whole frame before it counts.
            let bytes = [
                &whole(0, AckLevel::None, b"first")[..],
                &whole(1, AckLevel::None, b"second")[..n],
            ]
            .concat();
            caught(
                "half a frame",
                &mut script,
                &bytes,
                Violation::FrameAcrossRecords,
                1,
            );
        }
    }
}

// --- What honest sides must not do to each other ------------------------------------

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
        pair.client.connection.ping();
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
    pair.client.connection.ping();
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
