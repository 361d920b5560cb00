//! Sessions that go on over another stream (PROTOCOL.md, section 7.3), and those
//! that do not. Who may not, and credit, have files of their own; random cuts are in
//! `simulation.rs`.

use crate::common;
use common::lossy::{Lossy, MODES, much_later, on, resumptions};
use common::{Pair, Rng, builder, message, other_key};
use core::time::Duration;
use sealpipe_core::wire::Status;
use sealpipe_core::{
    AckLevel, Close, Config, ConnectionError, Event, Lost, Outcome, Rejection, ResumeError, Role,
};
use std::sync::Arc;

/// What the program does while there is no stream counts when there is one again.
#[test]
fn a_suspended_connection_serves_its_program() {
    for sealed in MODES {
        let mut lossy = Lossy::open(builder(sealed));
        lossy.pair.server_reads = false;
        lossy.pair.settle = false;
        let first = lossy
            .pair
            .send(Role::Initiator, message("first", AckLevel::Processed));
        lossy.pair.run();
        lossy.cut();
        for side in [&lossy.pair.client, &lossy.pair.server] {
            assert!(side.connection.is_suspended() && !side.connection.is_open());
            let lost = Event::Suspended(ConnectionError::Lost(Lost::Idle));
            assert_eq!(side.events.last(), Some(&lost));
        }
        let second = lossy
            .pair
            .send(Role::Initiator, message("second", AckLevel::Received));
        let third = lossy
            .pair
            .send(Role::Responder, message("third", AckLevel::Received));
        let server = &mut lossy.pair.server;
        server.take(true);
        assert_eq!(server.payloads(), [b"first"]);
        server.connection.settle(0, Ok(())).expect("due");
        lossy.pair.server_reads = true;
        lossy.resume();
        assert_eq!(lossy.pair.client.outcome(first), Some(Outcome::Processed));
        assert_eq!(lossy.pair.client.outcome(second), Some(Outcome::Received));
        assert_eq!(lossy.pair.server.outcome(third), Some(Outcome::Received));
        assert_eq!(
            lossy.pair.server.payloads(),
            [&b"first"[..], &b"second"[..]]
        );
        assert_eq!(lossy.pair.client.payloads(), [b"third"]);
        assert!(!lossy.pair.server.received[1].is_redelivered());
        assert_eq!(resumptions(&lossy.pair.client), 1);
        assert!(!lossy.pair.client.connection.is_suspended());
    }
}

/// The stream is cut after every byte of a run, and the one after it again.
#[test]
fn a_cut_at_any_byte_loses_and_doubles_nothing() {
    for sealed in MODES {
        let mut after = 0;
        loop {
            let mut lossy = Lossy::open(builder(sealed));
            let send = |lossy: &mut Lossy, size: usize| {
                let large = message(vec![7; size], AckLevel::Processed);
                let small = message("small", AckLevel::Received);
                [Role::Initiator, Role::Responder].map(|role| {
                    let ids = [large.clone(), small.clone()];
                    (role, ids.map(|message| lossy.pair.send(role, message)))
                })
            };
            let mut ids = Vec::from(send(&mut lossy, 40));
            lossy.cut();
            lossy.reconnect();
            // Through the handshake and through the messages.
            let moved = lossy.run(true, after);
            lossy.fresh = None;
            lossy.cut();
            ids.extend(send(&mut lossy, 20));
            lossy.resume();
            for (role, ids) in &ids {
                let side = match role {
                    Role::Initiator => &lossy.pair.client,
                    Role::Responder => &lossy.pair.server,
                };
                let outcomes = ids.map(|id| side.outcome(id));
                let all = [Some(Outcome::Processed), Some(Outcome::Received)];
                assert_eq!(outcomes, all, "after {after}");
            }
            for side in [&lossy.pair.client, &lossy.pair.server] {
                let sizes: Vec<usize> = side.payloads().iter().map(Vec::len).collect();
                assert_eq!(sizes, [40, 5, 20, 5], "after {after}");
            }
            if moved < after {
                break;
            }
            after += 1;
        }
        assert!(after > 200, "the run was cut short: {after}");
    }
}

#[test]
fn what_asks_for_no_ack_may_be_lost_and_leaves_a_gap() {
    for sealed in MODES {
        let mut lossy = Lossy::open(builder(sealed));
        let now = lossy.pair.now;
        let lost = lossy
            .pair
            .send(Role::Initiator, message("lost", AckLevel::None));
        let kept = lossy
            .pair
            .send(Role::Initiator, message("kept", AckLevel::Received));
        lossy.pair.client.take_output(now);
        lossy.cut();
        lossy.resume();
        let client = &lossy.pair.client;
        assert_eq!(client.outcome(lost), Some(Outcome::Sent));
        assert_eq!(client.outcome(kept), Some(Outcome::Received));
        assert_eq!(lossy.pair.server.payloads(), [b"kept"]);
        assert_eq!(lossy.pair.server.received[0].seq, 1);
        // A gap at the end does not keep both from finishing.
        lossy
            .pair
            .send(Role::Initiator, message("lost too", AckLevel::None));
        lossy.pair.client.take_output(now);
        lossy.cut();
        lossy.resume();
        lossy.pair.client.connection.finish(now);
        lossy.pair.server.connection.finish(now);
        lossy.pair.run();
        for side in [&lossy.pair.client, &lossy.pair.server] {
            assert_eq!(side.closed(), Some(&ConnectionError::Finished));
        }
    }
}

/// FINISH and its answer are lost, too.
#[test]
fn both_finish_over_another_stream() {
    for sealed in MODES {
        for reads in [Role::Initiator, Role::Responder] {
            let mut lossy = Lossy::open(builder(sealed));
            let now = lossy.pair.now;
            lossy.pair.client.connection.finish(now);
            lossy.pair.server.connection.finish(now);
            lossy.pair.step(reads);
            lossy.cut();
            lossy.reconnect();
            lossy.run(true, usize::MAX);
            for side in [&lossy.pair.client, &lossy.pair.server] {
                assert_eq!(side.closed(), Some(&ConnectionError::Finished));
                let finished = |e: &&Event| **e == Event::PeerFinished;
                assert_eq!(side.events.iter().filter(finished).count(), 1);
            }
        }
    }
}

// --- The server was restarted -------------------------------------------------------

/// Six messages: one that was processed, one that was received, one that is on its
/// way, one that is begun, one that waits, and one that asks for no ack.
fn restarted(sealed: bool, redeliver: bool) -> (Lossy, [Option<Outcome>; 6]) {
    let config = builder(sealed).resumption(true).redeliver(redeliver);
    let config = Arc::new(config.build().expect("valid"));
    let mut lossy = Lossy::new(config, on(sealed));
    lossy.pair.run();
    let send = |lossy: &mut Lossy, payload: Vec<u8>, ack| {
        lossy.pair.send(Role::Initiator, message(payload, ack))
    };
    let done = send(&mut lossy, b"done".to_vec(), AckLevel::Processed);
    lossy.pair.run();
    lossy.pair.settle = false;
    let open = send(&mut lossy, b"open".to_vec(), AckLevel::Processed);
    lossy.pair.run();
    let now = lossy.pair.now;
    let sent = send(&mut lossy, b"sent".to_vec(), AckLevel::Received);
    lossy.pair.client.take_output(now);
    let begun = send(&mut lossy, vec![1; 600_000], AckLevel::Received);
    let client = &mut lossy.pair.client;
    assert!(client.connection.poll_transmit(now, &mut client.output));
    let waits = send(&mut lossy, b"waits".to_vec(), AckLevel::Processed);
    let none = send(&mut lossy, b"none".to_vec(), AckLevel::None);
    lossy.cut();
    lossy.pair.settle = true;
    lossy.restart();
    let ids = [done, open, sent, begun, waits, none];
    let outcomes = ids.map(|id| lossy.pair.client.outcome(id));
    let told = |event: &Event| matches!(event, Event::Restarted(_));
    assert!(lossy.pair.client.events.iter().any(told));
    (lossy, outcomes)
}

#[test]
fn with_the_server_restarted_messages_are_told_as_lost() {
    for sealed in MODES {
        let (mut lossy, outcomes) = restarted(sealed, false);
        let unknown = Some(Outcome::Unknown);
        let not_sent = Some(Outcome::NotSent);
        let expected = [
            Some(Outcome::Processed),
            unknown.clone(),
            unknown,
            not_sent.clone(),
            not_sent.clone(),
            not_sent,
        ];
        assert_eq!(outcomes, expected);
        assert!(lossy.pair.server.received.is_empty());
        // The connection goes on.
        let id = lossy
            .pair
            .send(Role::Initiator, message("new", AckLevel::Processed));
        lossy.pair.run();
        assert_eq!(lossy.pair.client.outcome(id), Some(Outcome::Processed));
        assert_eq!(lossy.pair.server.received[0].seq, 0);
        lossy.cut();
        lossy.resume();
    }
}

#[test]
fn with_the_server_restarted_messages_are_delivered_again_if_asked() {
    for sealed in MODES {
        let (lossy, outcomes) = restarted(sealed, true);
        let (processed, received) = (Some(Outcome::Processed), Some(Outcome::Received));
        let expected = [
            processed.clone(),
            processed.clone(),
            received.clone(),
            received,
            processed,
            Some(Outcome::Sent),
        ];
        assert_eq!(outcomes, expected);
        let seen: Vec<(usize, bool)> = lossy
            .pair
            .server
            .received
            .iter()
            .map(|m| (m.size(), m.is_redelivered()))
            .collect();
        let begun = (600_000, false);
        assert_eq!(
            seen,
            [(4, true), (4, true), begun, (5, false), (4, false)],
            "what never was whole is not marked"
        );
    }
}

/// What came of the old session can be taken and settled; nobody is told, and it
/// is not mistaken for the new one's.
#[test]
fn verdicts_on_an_earlier_session_go_nowhere() {
    for sealed in MODES {
        let mut lossy = Lossy::open(builder(sealed));
        lossy.pair.settle = false;
        for _ in 0..2 {
            lossy
                .pair
                .send(Role::Responder, message("old", AckLevel::Processed));
        }
        lossy.pair.run();
        let client = &mut lossy.pair.client.connection;
        client.settle(0, Ok(())).expect("due");
        lossy.cut();
        lossy.restart();
        let id = lossy
            .pair
            .send(Role::Responder, message("new", AckLevel::Processed));
        lossy.pair.run();
        let client = &mut lossy.pair.client;
        let seqs: Vec<u64> = client.received.iter().map(|m| m.seq).collect();
        assert_eq!(seqs, [0, 1, 2], "a number is never given out twice");
        client.connection.settle(1, Ok(())).expect("due");
        let no = Rejection::new(300, "no");
        client.connection.settle(2, Err(no.clone())).expect("due");
        lossy.pair.run();
        assert_eq!(lossy.pair.server.outcome(id), Some(Outcome::Rejected(no)));
    }
}

// --- Who does not ------------------------------------------------------------------

#[test]
fn a_side_that_has_it_off_ends_as_ever() {
    for sealed in MODES {
        let off = Arc::new(builder(sealed).build().expect("valid"));
        for (client, server) in [(on(sealed), off.clone()), (off.clone(), on(sealed))] {
            let mut pair = Pair::new(client, server);
            pair.run();
            let now = pair.now;
            for side in [&mut pair.client, &mut pair.server] {
                assert_eq!(side.connection.session(), None);
                side.eof(now);
                side.take(true);
                assert_eq!(side.closed(), Some(&ConnectionError::Lost(Lost::Idle)));
            }
        }
    }
}

/// The server comes back without it: the session is new, and the last that a loss
/// does not end.
#[test]
fn a_server_restarted_without_it_begins_anew() {
    for sealed in MODES {
        let mut lossy = Lossy::open(builder(sealed));
        for _ in 0..3 {
            lossy
                .pair
                .send(Role::Responder, message("old", AckLevel::Received));
        }
        lossy.pair.run();
        lossy.server_config = Arc::new(builder(sealed).build().expect("valid"));
        lossy.cut();
        lossy.restart();
        for role in [Role::Initiator, Role::Responder] {
            lossy.pair.send(role, message("new", AckLevel::Processed));
        }
        lossy.pair.run();
        assert_eq!(lossy.pair.client.payloads().last(), Some(&b"new".to_vec()));
        assert_eq!(lossy.pair.server.payloads(), [b"new"]);
        lossy.cut();
        let lost = ConnectionError::Lost(Lost::Idle);
        assert_eq!(lossy.pair.client.closed(), Some(&lost));
        assert_eq!(lossy.pair.server.closed(), Some(&lost));
    }
}

#[test]
fn nobody_comes_back_in_time() {
    for sealed in MODES {
        let config = builder(sealed)
            .resume_timeout(Duration::from_secs(7))
            .send_timeout(much_later());
        let mut lossy = Lossy::open(config);
        lossy.pair.server_reads = false;
        let now = lossy.pair.now;
        let sent = lossy
            .pair
            .send(Role::Initiator, message("sent", AckLevel::Processed));
        lossy.pair.run();
        lossy.cut();
        let waits = lossy
            .pair
            .send(Role::Initiator, message("waits", AckLevel::Processed));
        // An attempt that fails does not prolong it.
        lossy.pair.sleep(Duration::from_secs(5));
        lossy.reconnect();
        lossy.pair.client.eof(lossy.pair.now);
        lossy.pair.sleep(Duration::from_millis(1_999));
        assert!(lossy.pair.client.connection.is_suspended());
        lossy.pair.sleep(Duration::from_millis(2));
        assert_eq!(lossy.pair.client.outcome(sent), Some(Outcome::Unknown));
        assert_eq!(lossy.pair.client.outcome(waits), Some(Outcome::NotSent));
        for side in [&mut lossy.pair.client, &mut lossy.pair.server] {
            assert!(matches!(
                side.connection.end(),
                Some(ConnectionError::Lost(_))
            ));
            assert_eq!(side.connection.session(), None);
            assert_eq!(side.connection.resume_point(), None);
            // What had come can still be taken.
            side.take(true);
            assert!(side.closed().is_some());
            assert_eq!(side.connection.poll_timeout(), None);
        }
        assert_eq!(lossy.pair.server.payloads(), [b"sent"]);
        let late = lossy.pair.client.connection.resume(&mut Rng(1), now);
        assert_eq!(late, Err(ResumeError::NotSuspended));
    }
}

/// A message's own deadline goes on; what was told as unknown is not sent again.
#[test]
fn deadlines_of_messages_go_on_while_suspended() {
    for sealed in MODES {
        let mut lossy = Lossy::open(builder(sealed));
        let now = lossy.pair.now;
        let short = |text: &'static str| {
            message(text, AckLevel::Received).with_deadline(Duration::from_secs(1))
        };
        let sent = lossy.pair.send(Role::Initiator, short("sent"));
        lossy.pair.client.take_output(now);
        lossy.cut();
        let waits = lossy.pair.send(Role::Initiator, short("waits"));
        lossy.pair.sleep(Duration::from_secs(2));
        assert_eq!(lossy.pair.client.outcome(sent), Some(Outcome::Unknown));
        assert_eq!(lossy.pair.client.outcome(waits), Some(Outcome::NotSent));
        lossy.resume();
        assert!(lossy.pair.server.received.is_empty());
    }
}

/// What is withdrawn while suspended is not sent again; what has arrived is told.
#[test]
fn what_is_withdrawn_while_suspended_stays_so() {
    for sealed in MODES {
        let mut lossy = Lossy::open(builder(sealed));
        lossy.pair.settle = false;
        let arrived = lossy
            .pair
            .send(Role::Initiator, message("arrived", AckLevel::Processed));
        lossy.pair.run();
        let now = lossy.pair.now;
        let sent = lossy
            .pair
            .send(Role::Initiator, message("sent", AckLevel::Processed));
        lossy.pair.client.take_output(now);
        lossy.cut();
        let waits = lossy
            .pair
            .send(Role::Initiator, message("waits", AckLevel::Processed));
        let client = &mut lossy.pair.client.connection;
        assert!(!client.cancel(arrived) && !client.cancel(sent));
        assert!(client.cancel(waits));
        lossy.resume();
        assert_eq!(lossy.pair.server.payloads(), [b"arrived"]);
        let cancelled = Event::Cancelled { seq: 0 };
        assert!(lossy.pair.server.events.contains(&cancelled));
        lossy.pair.server.connection.settle(0, Ok(())).expect("due");
        lossy.pair.run();
        assert_eq!(lossy.pair.client.outcome(arrived), Some(Outcome::Processed));
        assert_eq!(lossy.pair.client.outcome(sent), Some(Outcome::Unknown));
        assert_eq!(lossy.pair.client.outcome(waits), Some(Outcome::NotSent));
    }
}

/// An end that somebody wants, or that is somebody's fault, is one.
#[test]
fn only_a_loss_suspends() {
    for sealed in MODES {
        // Either side closes, before or after the loss.
        for suspended in [false, true] {
            for abandon in [false, true] {
                let mut lossy = Lossy::open(builder(sealed));
                if suspended {
                    lossy.cut();
                }
                let now = lossy.pair.now;
                let waits = lossy
                    .pair
                    .send(Role::Initiator, message("x", AckLevel::Received));
                let client = &mut lossy.pair.client.connection;
                if abandon {
                    client.abandon(now);
                } else {
                    client.close(now, Close::new(300, "enough"));
                }
                if suspended {
                    lossy.pair.client.take(true);
                } else {
                    lossy.pair.run();
                    let end = lossy.pair.server.closed();
                    assert!(matches!(end, Some(ConnectionError::ClosedByPeer(_))));
                }
                let end = lossy.pair.client.closed();
                assert!(matches!(end, Some(ConnectionError::ClosedLocally(_))));
                let outcome = lossy.pair.client.outcome(waits);
                let expected = match (abandon, suspended) {
                    (true, false) => Outcome::Received,
                    _ => Outcome::NotSent,
                };
                assert_eq!(outcome, Some(expected));
            }
        }
        // The stream ends while this side says goodbye.
        let mut lossy = Lossy::open(builder(sealed));
        let now = lossy.pair.now;
        let client = &mut lossy.pair.client;
        client.connection.close(now, Close::new(300, "enough"));
        client.eof(now);
        client.take(true);
        assert!(client.closed().is_some());
        // A violation.
        let server = &mut lossy.pair.server;
        server.feed(now, &[0xff; 70_000]);
        server.take(true);
        assert!(server.closed().is_some());
    }
}

#[test]
fn a_busy_server_is_tried_again_and_another_one_is_not() {
    for sealed in MODES {
        let mut lossy = Lossy::open(builder(sealed));
        lossy.cut();
        for status in [Status::Busy, Status::ShuttingDown] {
            lossy.reconnect();
            let mut fresh = lossy.fresh.take().expect("accepted");
            let now = lossy.pair.now;
            let asks = lossy.pair.client.take_output(now);
            // It may be told so before it has asked, or when it has.
            if status == Status::Busy {
                fresh.feed(now, &asks);
            }
            fresh.connection.refuse(status);
            let refusal = fresh.take_output(now);
            lossy.pair.client.feed(now, &refusal);
            lossy.pair.client.take(true);
            let refused = Event::Suspended(ConnectionError::Refused(status));
            assert_eq!(lossy.pair.client.events.last(), Some(&refused));
        }
        lossy.resume();
        // Another key, or none: never a fall-back.
        lossy.cut();
        let other = Config::sealed(other_key()).resumption(true).build();
        lossy.server_config = Arc::new(other.expect("valid"));
        lossy.reconnect();
        lossy.run(true, usize::MAX);
        let end = lossy.pair.client.closed();
        assert!(matches!(end, Some(ConnectionError::Mismatch(_))), "{end:?}");
    }
}

#[test]
fn a_handshake_that_hangs_is_given_up_and_tried_again() {
    let config = builder(true)
        .handshake_timeout(Duration::from_secs(2))
        .resume_timeout(Duration::from_secs(60));
    let mut lossy = Lossy::open(config);
    lossy.cut();
    lossy.reconnect();
    lossy.pair.sleep(Duration::from_secs(3));
    assert!(lossy.pair.client.connection.is_suspended());
    lossy.resume();
}

/// A message that nobody asks about may be made and not put out when the stream is
/// lost. Nothing of it stands before the handshake on the next one.
#[test]
fn what_was_made_for_the_lost_stream_leaves_nothing_behind() {
    for sealed in MODES {
        for role in [Role::Initiator, Role::Responder] {
            let mut lossy = Lossy::open(builder(sealed));
            let now = lossy.pair.now;
            let side = match role {
                Role::Initiator => &mut lossy.pair.client,
                Role::Responder => &mut lossy.pair.server,
            };
            let fed = message("fed", AckLevel::None);
            side.connection.send_untracked(now, fed).expect("room");
            // The program waits for its answer, and asks again over the next stream.
            side.connection.ping().expect("sealpipe's wire");
            lossy.cut();
            lossy.resume();
            let side = match role {
                Role::Initiator => &lossy.pair.client,
                Role::Responder => &lossy.pair.server,
            };
            assert_eq!(resumptions(side), 1);
            let answered = |event: &Event| matches!(event, Event::Pong { .. });
            assert!(side.events.iter().any(answered), "{role:?}");
        }
    }
}

/// What went with the stream takes no room from what comes after.
#[test]
fn what_was_made_for_the_lost_stream_takes_no_room() {
    let mut lossy = Lossy::open(builder(false).send_queue(1 << 20, 1));
    let now = lossy.pair.now;
    let client = &mut lossy.pair.client.connection;
    let fed = message("fed", AckLevel::None);
    client.send_untracked(now, fed).expect("room");
    client.handle_eof(now, &lossy.pair.client.input);
    assert!(client.is_suspended());
    // It is lost, or waits: not both.
    let stats = client.stats();
    assert_eq!(stats.messages_sent + stats.queued as u64, 1, "{stats:?}");
}

#[test]
fn a_new_session_is_flushed_whatever_the_old_one_lost() {
    let (mut lossy, _) = restarted(false, false);
    let id = lossy
        .pair
        .send(Role::Initiator, message("new", AckLevel::Processed));
    lossy.pair.run();
    assert_eq!(lossy.pair.client.outcome(id), Some(Outcome::Processed));
    assert!(lossy.pair.client.connection.is_flushed());
}
