//! HELLO: what is wrong with it, and what may be in it.

use crate::common;
use common::raw::{
    KEY, Seen, control, frame, frames, hello, hello_body, noise, preface, read_noise, whole,
    write_noise,
};
use common::strangers::{initiator, responder, status};
use common::{Side, config, key, seconds};
use sealpipe_core::wire::{Frame, Hello, Mode, Status};
use sealpipe_core::{AckLevel, ConnectionError, Role, Sealed, Violation};

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
            "resumable is neither",
            with(&[8, 1, 2]),
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
