//! An open connection and a peer that breaks the protocol: the exact error, the
//! CLOSE that answers it, and nothing delivered that should not be. Every case
//! runs plain and sealed, and against either role.

use crate::common;
use common::caught::{MAX, caught, each, script};
use common::message;
use common::raw::{control, first, frame, join, more, whole};
use sealpipe_core::wire::{Frame, FrameType, MAX_FRAME_PLAIN, MAX_FRAME_SEALED};
use sealpipe_core::{AckLevel, ConnectionError, Kind, Lost, Violation};

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
            "an item of an extension twice",
            head(0x80, &[6, 2, 1, 0, 2, 1, 0]),
            V::MessageMalformed,
            0,
        ),
        (
            "an item of an extension that is no varint",
            head(0x80, &[3, 0, 1, 0x40]),
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
    // One for the message, and 1,024.
    let cancels = control(Frame::Cancel { seq: 0 }).repeat(1_026);
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
