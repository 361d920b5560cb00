//! How a connection on such a wire runs: what it holds back, how long it waits, how it ends.

use super::{WIRES, by_hand, on, side};
use crate::common;
use common::seconds;
use core::time::Duration;
use proptest::prelude::*;
use sealpipe_core::{
    Close, ConnectionError, Message, Outcome, SendErrorReason, Time, Timeout, Wire,
    session::{Session, Waiters},
    wire::Status,
};

#[test]
fn reading_stops_while_the_inbox_is_full_and_goes_on_when_messages_are_taken() {
    let now = seconds(1);
    for (wire, window) in WIRES
        .map(|wire| (wire, (10_000, 1_000)))
        .into_iter()
        .chain([(Wire::Le32, (1 << 20, 10))])
    {
        let mut side = side(
            on(wire)
                .max_message(1_000)
                .receive_window(window.0, window.1),
        );
        let bytes: Vec<u8> = (0..25u8).flat_map(|n| by_hand(wire, &[n; 1_000])).collect();
        let (mut rest, mut held) = (&bytes[..], 0);
        while !rest.is_empty() || side.input.is_held() {
            if side.input.is_held() {
                held += 1;
                assert_eq!(side.connection.stats().waiting, 10, "{wire}");
                // It is this side that is slow: the half message is in no hurry.
                assert_eq!(side.connection.poll_timeout(), None);
                side.connection.handle_input(now, &mut side.input).unwrap();
                assert!(side.input.is_held(), "nothing was taken");
                side.take(true);
                side.connection.handle_input(now, &mut side.input).unwrap();
            } else {
                let n = side.input.fill_from(rest);
                rest = &rest[n..];
                side.connection.handle_input(now, &mut side.input).unwrap();
            }
        }
        side.take(true);
        assert_eq!(held, 2, "{wire}");
        let payloads: Vec<_> = (0..25).map(|n| vec![n; 1_000]).collect();
        assert_eq!(side.payloads(), payloads);
    }
}

#[test]
fn a_session_leaves_its_short_way_when_held_input_is_due() {
    let builder = on(Wire::Le32).receive_window(4 << 20, 2);
    let mut driven = side(builder);
    let mut bytes = by_hand(Wire::Le32, b"x");
    bytes.extend(bytes.clone());
    driven.feed(seconds(1), &bytes);
    assert!(driven.input.is_held());
    let (mut session, mut waiters) = (Session::new(driven.connection), Waiters::new());
    assert!(session.take_ready().is_some());
    // Who takes the next must look after the stream, which nobody reads.
    assert!(session.take_ready().is_none() && session.connection().has_messages());
    session.handle_input(seconds(1), &mut driven.input, &mut waiters);
    assert!(!driven.input.is_held());
    assert!(session.take_ready().is_some());
}

#[test]
fn a_message_that_has_begun_must_come_whole_in_time() {
    for wire in WIRES {
        let mut side = side(on(wire).message_timeout(Duration::from_secs(10)));
        let bytes = by_hand(wire, b"slow");
        side.feed(seconds(1), &bytes[..2]);
        assert_eq!(side.connection.poll_timeout(), Some(seconds(11)));
        side.feed(seconds(5), &bytes[2..3]);
        assert_eq!(side.connection.poll_timeout(), Some(seconds(11)));
        side.connection.handle_timeout(seconds(11));
        side.take(true);
        let expected = ConnectionError::Timeout(Timeout::Message);
        assert_eq!(side.closed(), Some(&expected));
    }
}

#[test]
fn the_queue_is_bounded_and_outcomes_are_honest() {
    let now = seconds(1);
    let mut side = side(on(Wire::Le32).send_queue(1 << 20, 3));
    let ids: Vec<_> = (0..3)
        .map(|_| side.connection.send(now, Message::new("x")).unwrap())
        .collect();
    let full = side.connection.send(now, Message::new("x")).unwrap_err();
    assert_eq!(full.reason, SendErrorReason::Full);
    // The stream takes nothing: no outcome until the deadline, then an honest one.
    assert!(side.connection.poll_transmit(now, &mut side.output));
    side.take(true);
    assert!(side.outcomes().is_empty());
    side.connection.handle_timeout(seconds(31));
    side.take(true);
    for id in ids {
        assert_eq!(side.outcome(id), Some(Outcome::Unknown));
    }
    assert_eq!(side.take_output(now).len(), 15);
}

#[test]
fn a_message_is_withdrawn_only_while_it_waits() {
    let now = seconds(1);
    let mut side = side(on(Wire::Le32));
    let gone = side.connection.send(now, Message::new("gone")).unwrap();
    let kept = side.connection.send(now, Message::new("kept")).unwrap();
    assert!(side.connection.cancel(gone));
    assert!(side.connection.poll_transmit(now, &mut side.output));
    assert!(!side.connection.cancel(kept));
    let after = side.connection.send(now, Message::new("after")).unwrap();
    assert_eq!(side.take_output(now), b"\x04\0\0\0kept\x05\0\0\0after");
    side.take(true);
    assert_eq!(side.outcome(gone), Some(Outcome::NotSent));
    assert_eq!(side.outcome(kept), Some(Outcome::Sent));
    assert_eq!(side.outcome(after), Some(Outcome::Sent));
}

#[test]
fn closing_cuts_no_message_that_has_begun() {
    let now = seconds(1);
    for abandons in [false, true] {
        let mut side = side(on(Wire::Be32));
        let id = side.connection.send(now, Message::new("written")).unwrap();
        assert!(side.connection.poll_transmit(now, &mut side.output));
        let dropped = side.connection.send(now, Message::new("queued")).unwrap();
        match abandons {
            true => side.connection.abandon(now),
            false => side
                .connection
                .close(now, Close::new(Close::GOING_AWAY, "")),
        }
        side.feed(now, b"\0\0\0\x04late");
        assert_eq!(side.connection.end(), None);
        let bytes = side.take_output(now);
        let expected: &[u8] = match abandons {
            true => b"\0\0\0\x07written\0\0\0\x06queued",
            false => b"\0\0\0\x07written",
        };
        assert_eq!(bytes, expected);
        side.take(true);
        assert!(matches!(
            side.closed(),
            Some(ConnectionError::ClosedLocally(_))
        ));
        assert!(side.connection.is_drained() && side.received.is_empty());
        assert_eq!(side.outcome(id), Some(Outcome::Sent));
        let outcome = if abandons {
            Outcome::Sent
        } else {
            Outcome::NotSent
        };
        assert_eq!(side.outcome(dropped), Some(outcome));
    }
}

#[test]
fn a_close_that_the_stream_does_not_take_ends_in_time() {
    let mut side = side(on(Wire::Be32));
    side.connection
        .send(seconds(1), Message::new("stuck"))
        .unwrap();
    assert!(side.connection.poll_transmit(seconds(1), &mut side.output));
    side.connection
        .close(seconds(1), Close::new(Close::DONE, ""));
    assert_eq!(side.connection.poll_timeout(), Some(seconds(6)));
    side.connection.handle_timeout(seconds(6));
    side.take(true);
    assert!(matches!(
        side.closed(),
        Some(ConnectionError::ClosedLocally(_))
    ));
}

#[test]
fn a_stream_that_can_only_be_closed_whole_ends_with_its_last_message() {
    let now = seconds(1);
    let mut side = side(on(Wire::Le32));
    side.connection.send(now, Message::new("last")).unwrap();
    side.connection.finish(now);
    assert!(
        !side.connection.wants_shutdown(),
        "there is something to write"
    );
    let refused = side
        .connection
        .send(now, Message::new("later"))
        .unwrap_err();
    assert_eq!(refused.reason, SendErrorReason::Finished);
    assert_eq!(side.take_output(now), b"\x04\0\0\0last");
    assert!(side.connection.wants_shutdown());
    side.connection.handle_shutdown(now, false);
    side.take(true);
    assert_eq!(side.closed(), Some(&ConnectionError::Finished));
    assert!(side.connection.all_arrived());
    assert!(side.connection.is_drained() && !side.connection.wants_shutdown());
}

#[test]
fn a_listener_that_refuses_just_closes() {
    for wire in WIRES {
        let mut side = side(on(wire));
        side.connection.refuse(Status::Busy);
        assert!(side.take_output(Time::ZERO).is_empty());
        side.feed(Time::ZERO, &by_hand(wire, b"late"));
        side.take(true);
        assert!(side.received.is_empty());
        assert_eq!(side.closed(), Some(&ConnectionError::Refused(Status::Busy)));
        assert!(side.connection.is_drained());
    }
}

proptest! {
    #[test]
    fn messages_are_the_same_however_the_stream_is_cut(
        wire in prop::sample::select(WIRES.to_vec()),
        messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3_000), 0..8),
        cuts in prop::collection::vec(1usize..5_000, 1..6),
        takes in any::<bool>(),
    ) {
        let window = if takes { (4_000, 3) } else { (1 << 20, 100) };
        let mut side = side(on(wire).max_message(3_000).receive_window(window.0, window.1));
        let bytes: Vec<u8> = messages.iter().flat_map(|message| by_hand(wire, message)).collect();
        let mut rest = &bytes[..];
        for cut in cuts.iter().cycle() {
            while side.input.is_held() {
                side.take(true);
                side.connection.handle_input(seconds(1), &mut side.input).unwrap();
            }
            if rest.is_empty() {
                break;
            }
            let n = side.input.fill_from(&rest[..rest.len().min(*cut)]);
            rest = &rest[n..];
            side.connection.handle_input(seconds(1), &mut side.input).unwrap();
        }
        side.take(true);
        prop_assert_eq!(side.payloads(), messages);
    }

    #[test]
    fn any_bytes_end_in_an_error_or_in_messages(
        wire in prop::sample::select(WIRES.to_vec()),
        bytes in prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(b'\n'), Just(b'A'), any::<u8>()], 0..600),
        cut in 1usize..600,
    ) {
        let config = || on(wire).max_message(200).receive_window(1 << 20, 10_000);
        let (mut whole, mut parted) = (side(config()), side(config()));
        whole.feed(seconds(1), &bytes);
        for piece in bytes.chunks(cut) {
            parted.feed(seconds(1), piece);
        }
        for side in [&mut whole, &mut parted] {
            side.eof(seconds(1));
            side.take(true);
        }
        prop_assert_eq!(whole.payloads(), parted.payloads());
        prop_assert_eq!(whole.closed(), parted.closed());
    }
}
