//! Credit, and what is kept, over several streams of a session (PROTOCOL.md, section
//! 7.3).

use crate::common;
use common::lossy::{Lossy, MODES};
use common::raw::control;
use common::{builder, message};
use sealpipe_core::wire::Frame;
use sealpipe_core::{
    AckLevel, ConnectionError, Message, Outcome, Role, SendErrorReason, Violation,
};

/// The window is what it was, over any number of cuts: no less, no more.
#[test]
fn no_credit_leaks() {
    for sealed in MODES {
        for held in [0, 3, 7] {
            let config = builder(sealed)
                .max_message(100)
                .receive_window(700, 7)
                .send_queue(1 << 20, 100);
            let mut lossy = Lossy::open(config);
            lossy.pair.settle = false;
            let send = |lossy: &mut Lossy| {
                let message = message(vec![1; 100], AckLevel::Processed);
                lossy.pair.send(Role::Initiator, message)
            };
            // Some that the program has taken and not settled.
            for _ in 0..held {
                send(&mut lossy);
            }
            lossy.pair.run();
            lossy.pair.server_reads = false;
            for n in 0..20 {
                if n % 3 == 0 {
                    let now = lossy.pair.now;
                    send(&mut lossy);
                    lossy.pair.client.take_output(now);
                }
                lossy.cut();
                lossy.resume();
            }
            for _ in 0..20 {
                send(&mut lossy);
            }
            lossy.pair.run();
            let waiting = lossy.pair.server.connection.stats().waiting;
            assert_eq!(waiting, 7 - held, "{held} held");
            // All of it comes through once the program goes on.
            lossy.pair.server_reads = true;
            lossy.pair.settle = true;
            for seq in 0..held {
                let settled = lossy.pair.server.connection.settle(seq as u64, Ok(()));
                settled.expect("due");
            }
            lossy.pair.run();
            assert_eq!(lossy.pair.server.received.len(), held + 27);
            let done = lossy.pair.client.outcomes();
            assert!(done.iter().all(|(_, o)| *o == Outcome::Processed));
            assert_eq!(done.len(), held + 27);
        }
    }
}

/// Verdicts between what a side says of its window and the answer to it.
#[test]
fn credit_that_is_freed_during_the_handshake_is_given() {
    for sealed in MODES {
        let mut lossy = Lossy::open(builder(sealed).receive_window(16 << 20, 4));
        lossy.pair.settle = false;
        for _ in 0..4 {
            for role in [Role::Initiator, Role::Responder] {
                lossy.pair.send(role, message("x", AckLevel::Processed));
            }
        }
        lossy.pair.run();
        lossy.cut();
        lossy.reconnect();
        for seq in 0..4 {
            let client = &mut lossy.pair.client.connection;
            client.settle(seq, Ok(())).expect("due");
        }
        lossy.forth(true, usize::MAX);
        for seq in 0..4 {
            let server = &mut lossy.pair.server.connection;
            server.settle(seq, Ok(())).expect("due");
        }
        lossy.run(true, usize::MAX);
        for _ in 0..4 {
            for role in [Role::Initiator, Role::Responder] {
                lossy.pair.send(role, message("y", AckLevel::Processed));
            }
        }
        lossy.pair.run();
        for side in [&lossy.pair.client, &lossy.pair.server] {
            assert_eq!(side.received.len(), 8);
        }
    }
}

/// What is kept counts as queued, until it is acknowledged.
#[test]
fn what_is_kept_is_limited_and_given_back() {
    for sealed in MODES {
        let mut lossy = Lossy::open(builder(sealed).send_queue(3_000, 100));
        let now = lossy.pair.now;
        let big = || Message::new(vec![1; 1_000]).with_ack(AckLevel::Processed);
        for round in 0..5 {
            for _ in 0..3 {
                let client = &mut lossy.pair.client;
                client.connection.send_untracked(now, big()).expect("room");
                client.take_output(now);
            }
            let full = lossy.pair.client.connection.send(now, big());
            let full = full.map_err(|error| error.reason);
            assert_eq!(full, Err(SendErrorReason::Full), "round {round}");
            lossy.cut();
            lossy.resume();
            assert_eq!(lossy.pair.server.received.len(), 3 * (round + 1));
        }
    }
}

/// Verdicts are kept only until the peer says that it has them, which it does
/// before the other side has to hold it up.
#[test]
fn one_way_traffic_is_not_held_up_by_verdicts_that_are_kept() {
    for sealed in MODES {
        for window in [1, 5, 100] {
            let mut lossy = Lossy::open(builder(sealed).receive_window(16 << 20, window));
            for _ in 0..500 {
                let id = lossy
                    .pair
                    .send(Role::Initiator, message("x", AckLevel::Processed));
                lossy.pair.run();
                assert_eq!(lossy.pair.client.outcome(id), Some(Outcome::Processed));
            }
            assert_eq!(lossy.pair.server.received.len(), 500);
        }
    }
}

/// A peer that never says that it has its verdicts gets no more credit than one
/// that does not settle.
#[test]
fn verdicts_that_are_kept_hold_up_credit_in_the_end() {
    let mut lossy = Lossy::open(builder(false).receive_window(16 << 20, 10));
    lossy.pair.settle = false;
    // The first one is not settled, so *settled* stays where it is.
    for _ in 0..300 {
        lossy
            .pair
            .send(Role::Initiator, message("x", AckLevel::Processed));
    }
    let mut settled = 1;
    for _ in 0..300 {
        lossy.pair.run();
        while settled < lossy.pair.server.received.len() {
            let server = &mut lossy.pair.server.connection;
            server.settle(settled as u64, Ok(())).expect("due");
            settled += 1;
        }
    }
    let came = lossy.pair.server.received.len();
    assert!((64..=80).contains(&came), "{came}");
    let server = &mut lossy.pair.server.connection;
    server.settle(0, Ok(())).expect("due");
    lossy.pair.settle = true;
    lossy.pair.run();
    assert_eq!(lossy.pair.server.received.len(), 300);
}

/// Verdicts that the peer has are repeated once, and no more.
#[test]
fn repeated_verdicts_are_ignored_as_often_as_they_can_be_honest() {
    let mut lossy = Lossy::open(builder(false));
    let id = lossy
        .pair
        .send(Role::Initiator, message("x", AckLevel::Processed));
    let other = lossy
        .pair
        .send(Role::Initiator, message("y", AckLevel::Processed));
    lossy.pair.settle = false;
    lossy.pair.run();
    let server = &mut lossy.pair.server.connection;
    server.settle(1, Ok(())).expect("due");
    lossy.pair.run();
    lossy.cut();
    lossy.resume();
    assert_eq!(lossy.pair.client.outcome(other), Some(Outcome::Processed));
    assert_eq!(lossy.pair.client.outcome(id), None);
    let repeated = control(Frame::Result {
        seq: 1,
        code: 1,
        reason: "",
    });
    let now = lossy.pair.now;
    for _ in 0..2 {
        let client = &mut lossy.pair.client;
        client.feed(now, &repeated);
        client.take(true);
    }
    let end = lossy.pair.client.closed();
    let violation = ConnectionError::Violation(Violation::Result);
    assert_eq!(end, Some(&violation));
}
