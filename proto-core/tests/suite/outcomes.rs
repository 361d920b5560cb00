//! What a message costs others while its outcome is open, and how outcomes are
//! counted.

use crate::common;

use common::raw::{Script, control, hello};
use common::{Pair, builder, message, millis, seconds};
use core::time::Duration;
use sealpipe_core::wire::Frame;
use sealpipe_core::{AckLevel, Outcome, Role};

fn each(run: impl Fn(bool)) {
    for sealed in [false, true] {
        run(sealed);
    }
}

#[test]
fn one_slow_verdict_does_not_fill_the_queue() {
    each(|sealed| {
        let mut pair = Pair::open(builder(sealed).send_queue(1 << 20, 4));
        pair.settle = false;
        let slow = pair.send(Role::Initiator, message("slow", AckLevel::Processed));
        for n in 0..100 {
            let ack = [AckLevel::Received, AckLevel::None][n % 2];
            let id = pair.send(Role::Initiator, message("quick", ack));
            pair.run();
            let outcome = [Outcome::Received, Outcome::Sent][n % 2].clone();
            assert_eq!(pair.client.outcome(id), Some(outcome), "{n}");
        }
        assert_eq!(pair.client.outcome(slow), None);
        pair.server.connection.settle(0, Ok(())).expect("due");
        pair.run();
        assert_eq!(pair.client.outcome(slow), Some(Outcome::Processed));
    });
}

#[test]
fn verdicts_that_are_open_fill_the_queue() {
    each(|sealed| {
        let mut pair = Pair::open(builder(sealed).send_queue(1 << 20, 4));
        pair.settle = false;
        for _ in 0..4 {
            pair.send(Role::Initiator, message("slow", AckLevel::Processed));
        }
        pair.run();
        assert!(pair.client.connection.check_room().is_err());
        // In any order: each makes room for one.
        for seq in [2, 0] {
            pair.server.connection.settle(seq, Ok(())).expect("due");
            pair.run();
            pair.send(Role::Initiator, message("slow", AckLevel::Processed));
            assert!(pair.client.connection.check_room().is_err());
        }
    });
}

/// How a connection that lost a message by its deadline ends, and what is counted.
fn expired(sealed: bool, tracked: bool, end: impl Fn(&mut Script)) -> (u64, u64) {
    let config = builder(sealed).build().expect("valid");
    let mut script = Script::open(config.into(), Role::Responder, hello([0; 16]));
    let asked = message("x", AckLevel::Processed).with_deadline(Duration::from_millis(200));
    let (now, connection) = (script.now, &mut script.side.connection);
    if tracked {
        connection.send(now, asked).expect("room");
    } else {
        connection.send_untracked(now, asked).expect("room");
    }
    script.read();
    script.sleep_until(millis(1_300));
    end(&mut script);
    assert!(script.side.connection.end().is_some());
    let stats = script.side.connection.stats();
    (stats.unknown, stats.not_sent)
}

#[test]
fn an_outcome_is_counted_once() {
    each(|sealed| {
        let close = |script: &mut Script| {
            script.write(&control(Frame::Close {
                code: 1,
                delivered: 0,
                reason: "",
            }));
        };
        let lost = |script: &mut Script| script.side.eof(seconds(2));
        // It was told as unknown, and stays that.
        assert_eq!(expired(sealed, true, close), (1, 0));
        assert_eq!(expired(sealed, true, lost), (1, 0));
        // Nobody waits for it: what is known in the end counts.
        assert_eq!(expired(sealed, false, close), (0, 1));
        assert_eq!(expired(sealed, false, lost), (1, 0));
    });
}
