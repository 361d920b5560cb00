//! The ways to end, what becomes of the messages, and the limits of the queue.

use crate::common;
use common::lossy::Lossy;
use common::raw::{Script, Seen, hello};
use common::{Pair, builder, message, millis};
use core::time::Duration;
use sealpipe_core::wire::Hello;
use sealpipe_core::{
    AckLevel, Close, ConnectionError, Event, Lost, Message, Outcome, Rejection, Role,
    SendErrorReason,
};

const MS: fn(u64) -> Duration = Duration::from_millis;

fn each(run: impl Fn(bool)) {
    for sealed in [false, true] {
        run(sealed);
    }
}

#[test]
fn both_finish_after_all_is_said() {
    each(|sealed| {
        let mut pair = Pair::open(builder(sealed));
        pair.settle = false;
        let id = pair.send(Role::Initiator, message("last", AckLevel::Processed));
        pair.client.connection.finish(pair.now);
        pair.run();
        assert!(pair.server.connection.peer_finished());
        assert!(pair.server.events.contains(&Event::PeerFinished));
        let refused = pair
            .client
            .connection
            .send(pair.now, Message::new("x"))
            .expect_err("finished");
        assert_eq!(refused.reason, SendErrorReason::Finished);
        // The other direction goes on.
        let back = pair.send(Role::Responder, message("still", AckLevel::Received));
        pair.run();
        assert_eq!(pair.server.outcome(back), Some(Outcome::Received));
        pair.server.connection.finish(pair.now);
        pair.run();
        assert_eq!(pair.client.closed(), None, "a verdict is due");
        pair.server.connection.settle(0, Ok(())).expect("due");
        pair.run();
        assert_eq!(pair.client.outcome(id), Some(Outcome::Processed));
        for side in [&pair.client, &pair.server] {
            assert_eq!(side.closed(), Some(&ConnectionError::Finished));
        }
    });
}

#[test]
fn the_last_event_waits_until_all_was_received() {
    each(|sealed| {
        let mut pair = Pair::open(builder(sealed));
        pair.server_reads = false;
        pair.send(Role::Initiator, message("a", AckLevel::Received));
        pair.run();
        pair.client
            .connection
            .close(pair.now, Close::new(300, "bye"));
        pair.run();
        assert_eq!(pair.server.closed(), None);
        assert!(pair.server.connection.end().is_some());
        pair.server.take(true);
        assert_eq!(pair.server.payloads(), [b"a"]);
        assert_eq!(
            pair.server.closed(),
            Some(&ConnectionError::ClosedByPeer(Close::new(300, "bye")))
        );
    });
}

#[test]
fn close_tells_what_was_not_delivered() {
    each(|sealed| {
        let mut pair = Pair::open(builder(sealed));
        pair.server_reads = false;
        let levels = [
            AckLevel::Processed,
            AckLevel::Processed,
            AckLevel::Processed,
        ];
        let ids = levels.map(|level| pair.send(Role::Initiator, message("m", level)));
        pair.run();
        assert!(pair.server.connection.recv().is_some());
        let refused = pair.server.connection.recv().expect("the second");
        pair.server
            .connection
            .settle(refused.seq, Err(Rejection::new(0, "?")))
            .expect("due");
        pair.server
            .connection
            .close(pair.now, Close::new(Close::DONE, ""));
        pair.run();
        assert_eq!(
            pair.client.outcome(ids[0]),
            Some(Outcome::Unknown),
            "taken, and no verdict"
        );
        let rejection = Rejection {
            code: Rejection::UNSPECIFIED,
            reason: "?".into(),
        };
        assert_eq!(
            pair.client.outcome(ids[1]),
            Some(Outcome::Rejected(rejection)),
            "a verdict that was given counts"
        );
        assert_eq!(pair.client.outcome(ids[2]), Some(Outcome::NotSent));
        // The code is the program's to choose: it did not finish.
        assert_eq!(
            pair.server.closed(),
            Some(&ConnectionError::ClosedLocally(Close::new(Close::DONE, "")))
        );
    });
}

#[test]
fn abandon_still_sends_what_is_queued() {
    each(|sealed| {
        let mut pair = Pair::open(builder(sealed));
        let ids = [0; 20].map(|_| {
            pair.send(
                Role::Initiator,
                message(vec![1; 50_000], AckLevel::Received),
            )
        });
        pair.client.connection.abandon(pair.now);
        pair.run();
        assert_eq!(pair.server.received.len(), 20);
        assert!(
            ids.iter()
                .all(|id| pair.client.outcome(*id) == Some(Outcome::Received))
        );
        assert!(pair.client.closed().is_some() && pair.server.closed().is_some());
    });
}

/// What kept the goodbye back is gone, however it went.
#[test]
fn abandon_says_goodbye_when_the_queue_is_empty() {
    each(|sealed| {
        for how in ["cancelled", "expired"] {
            let own = Hello {
                credit_bytes: 10,
                max_message: 10,
                ..hello([0; 16])
            };
            let config = builder(sealed).build().expect("valid");
            let mut script = Script::open(config.into(), Role::Responder, own);
            script
                .side
                .connection
                .send(script.now, message(vec![1; 10], AckLevel::None))
                .expect("room");
            let stuck = message(vec![1; 10], AckLevel::None).with_deadline(MS(100));
            let id = script
                .side
                .connection
                .send(script.now, stuck)
                .expect("room");
            script.side.connection.abandon(script.now);
            assert!(matches!(script.read()[..], [Seen::Data { .. }]), "{how}");
            assert!(!script.side.connection.wants_transmit());
            if how == "cancelled" {
                assert!(script.side.connection.cancel(id));
            } else {
                script.sleep_until(millis(1_100));
            }
            assert!(script.side.connection.wants_transmit(), "{how}");
            assert!(matches!(script.read()[..], [Seen::Close { .. }]), "{how}");
        }
    });
}

/// Queued before the peer had said how much it takes.
#[test]
fn abandon_does_not_wait_for_what_the_peer_never_takes() {
    each(|sealed| {
        let server = builder(sealed)
            .max_message(100)
            .receive_window(100, 5)
            .build()
            .expect("valid");
        let mut pair = Pair::new(common::config(sealed), server.into());
        let id = pair.send(Role::Initiator, message(vec![1; 101], AckLevel::Received));
        let now = pair.now;
        // Open, but not asked for output since.
        let asked = pair.client.take_output(now);
        pair.server.feed(now, &asked);
        let answer = pair.server.take_output(now);
        pair.client.feed(now, &answer);
        pair.client.connection.abandon(now);
        pair.run();
        assert_eq!(pair.client.outcome(id), Some(Outcome::NotSent));
        assert!(
            pair.client.closed().is_some() && pair.server.closed().is_some(),
            "at once"
        );
    });
}

#[test]
fn the_loss_of_the_peer_leaves_the_outcome_unknown() {
    each(|sealed| {
        let mut pair = Pair::open(builder(sealed));
        pair.server_reads = false;
        let sent = pair.send(Role::Initiator, message("x", AckLevel::Processed));
        pair.run();
        let queued = pair.send(Role::Initiator, message("y", AckLevel::Received));
        let now = pair.now;
        pair.client.eof(now);
        pair.client.take(true);
        assert_eq!(pair.client.outcome(sent), Some(Outcome::Unknown));
        assert_eq!(pair.client.outcome(queued), Some(Outcome::NotSent));
        assert_eq!(
            pair.client.closed(),
            Some(&ConnectionError::Lost(Lost::Idle))
        );
    });
}

/// A driver that writes, and looks for input before it asks for more output.
#[test]
fn finishing_does_not_hang_on_the_order_of_calls() {
    let mut pair = Pair::open(builder(false));
    let now = pair.now;
    let id = pair.send(Role::Initiator, message("x", AckLevel::None));
    pair.client.connection.finish(now);
    pair.server.connection.finish(now);
    let mut out = Vec::new();
    assert!(
        pair.client
            .connection
            .poll_transmit(now, &mut pair.client.output)
    );
    out.extend_from_slice(bytes::Buf::chunk(&pair.client.output));
    bytes::Buf::advance(&mut pair.client.output, out.len());
    pair.server.feed(now, &out);
    pair.server.connection.handle_idle();
    pair.server.take(true);
    let answer = pair.server.take_output(now);
    pair.client.feed(now, &answer);
    pair.client.connection.handle_idle();
    pair.run();
    assert_eq!(pair.client.outcome(id), Some(Outcome::Sent));
    assert_eq!(pair.client.closed(), Some(&ConnectionError::Finished));
    assert_eq!(pair.server.closed(), Some(&ConnectionError::Finished));
}

#[test]
fn a_send_queue_has_its_limits_and_hands_back_what_it_does_not_take() {
    each(|sealed| {
        let own = Hello {
            credit_bytes: 4_096,
            max_message: 4_096,
            ..hello([0; 16])
        };
        let config = builder(sealed)
            .max_message(8_192)
            .send_queue(1_000, 3)
            .build()
            .expect("valid");
        let mut script = Script::open(config.into(), Role::Responder, own);
        let now = script.now;
        let connection = &mut script.side.connection;
        let refused = connection
            .send(now, Message::new(vec![1; 5_000]))
            .expect_err("too large");
        assert_eq!(
            refused.reason,
            SendErrorReason::TooLarge {
                size: 5_000,
                max: 4_096,
                by_peer: true
            }
        );
        assert_eq!(refused.message.payload().len(), 5_000);
        let refused = connection
            .send(now, Message::new(vec![1; 9_000]))
            .expect_err("too large");
        assert_eq!(
            refused.reason,
            SendErrorReason::TooLarge {
                size: 9_000,
                max: 4_096,
                by_peer: true
            }
        );
        // Less than the limit waits: one more is taken, however large, and no other.
        connection
            .send(now, Message::new(vec![1; 999]))
            .expect("room");
        connection
            .send(now, Message::new(vec![1; 3_000]))
            .expect("room");
        let refused = connection.send(now, Message::new("x")).expect_err("full");
        assert_eq!(
            (refused.reason, refused.message),
            (SendErrorReason::Full, Message::new("x"))
        );
        assert_eq!(connection.stats().queued_bytes, 3_999);
        script.read();
        script.read();
        script.side.take(true);
        let connection = &mut script.side.connection;
        // A permit holds its room against others.
        connection.reserve(1_000).expect("room");
        assert_eq!(connection.reserve(0), Err(SendErrorReason::Full));
        connection
            .send_reserved(now, Message::new(vec![1; 1_000]), 1_000)
            .expect("its own room");
        // Three messages at most, of whatever size.
        let config = builder(sealed).send_queue(1_000, 3).build().expect("valid");
        let own = Hello {
            credit_bytes: 0,
            max_message: 0,
            credit_messages: 1,
            ..hello([0; 16])
        };
        let mut script = Script::open(config.into(), Role::Responder, own);
        for _ in 0..3 {
            script
                .side
                .connection
                .send(now, Message::new(""))
                .expect("room");
        }
        let refused = script
            .side
            .connection
            .send(now, Message::new(""))
            .expect_err("full");
        assert_eq!(refused.reason, SendErrorReason::Full);
        // One has gone, and its outcome was taken.
        script.read();
        script.side.take(true);
        script
            .side
            .connection
            .send(now, Message::new(""))
            .expect("room");
    });
}

/// Also what was written at once, in plain mode, and never got to the output.
#[test]
fn what_the_end_cut_off_is_never_flushed() {
    each(|sealed| {
        for ack in [AckLevel::None, AckLevel::Received] {
            let mut pair = Pair::open(builder(sealed));
            let side = &mut pair.client;
            let untracked = side.connection.send_untracked(pair.now, message("x", ack));
            untracked.expect("there is room");
            assert!(!side.connection.is_flushed());
            side.eof(pair.now);
            assert!(side.take_output(pair.now).is_empty());
            assert!(!side.connection.is_flushed(), "it was lost");

            let mut pair = Pair::open(builder(sealed));
            let side = &mut pair.client;
            let untracked = side.connection.send_untracked(pair.now, message("x", ack));
            untracked.expect("there is room");
            assert!(!side.take_output(pair.now).is_empty());
            side.eof(pair.now);
            assert!(side.connection.is_flushed(), "it was written before");
        }
    });
}

#[test]
fn nothing_is_flushed_while_the_stream_is_lost() {
    let mut lossy = Lossy::open(builder(false));
    let now = lossy.pair.now;
    let client = &mut lossy.pair.client;
    let fed = client
        .connection
        .send_untracked(now, message("fed", AckLevel::Received));
    fed.expect("there is room");
    assert!(client.connection.poll_transmit(now, &mut client.output));
    client.connection.handle_eof(now, &client.input);
    assert!(client.connection.is_suspended());
    assert!(!client.connection.is_flushed());
}
