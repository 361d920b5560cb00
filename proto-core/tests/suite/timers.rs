//! Deadlines, acknowledgement and credit, one at a time.

use crate::common;
use common::raw::{Script, Seen, control, first, hello, join, more, whole};
use common::{Pair, builder, message, millis, seconds};
use core::time::Duration;
use sealpipe_core::wire::{Frame, Hello};
use sealpipe_core::{
    AckLevel, Close, ConnectionError, Event, Outcome, Rejection, Role, SettleError, Time, Timeout,
};

const MS: fn(u64) -> Duration = Duration::from_millis;

fn each(run: impl Fn(bool)) {
    for sealed in [false, true] {
        run(sealed);
    }
}

fn script(sealed: bool) -> Script {
    let config = builder(sealed)
        .max_message(4_096)
        .receive_window(8_192, 200)
        .build()
        .expect("valid");
    Script::open(config.into(), Role::Responder, hello([0; 16]))
}

/// Nothing happens a nanosecond before `at`, and then the connection ends.
fn times_out(script: &mut Script, at: Time, what: Timeout) {
    assert_eq!(script.side.connection.poll_timeout(), Some(at), "{what:?}");
    script.sleep_until(Time::from_nanos(at.as_nanos() - 1));
    assert_eq!(script.side.connection.end(), None, "{what:?}");
    script.sleep_until(at);
    assert_eq!(
        script.side.connection.end(),
        Some(&ConnectionError::Timeout(what))
    );
    match script.read().last() {
        Some(Seen::Close { code, .. }) => assert_eq!(*code, Close::TIME),
        other => panic!("{what:?}: no CLOSE: {other:?}"),
    }
}

#[test]
fn silence_is_pinged_and_then_the_end() {
    each(|sealed| {
        let mut script = script(sealed);
        assert_eq!(script.side.connection.poll_timeout(), Some(seconds(31)));
        script.sleep_until(millis(30_999));
        assert!(script.read().is_empty());
        script.sleep_until(seconds(31));
        let ping = match &script.read()[..] {
            [Seen::Ping(data)] => *data,
            other => panic!("{other:?}"),
        };
        // An answer puts both off, and is no event: nobody asked.
        script.now = seconds(80);
        script.write(&control(Frame::Pong(ping)));
        script.side.take(true);
        assert!(script.side.events.is_empty());
        assert_eq!(script.side.connection.poll_timeout(), Some(seconds(110)));
        script.sleep_until(seconds(110));
        assert!(matches!(script.read()[..], [Seen::Ping(_)]));
        times_out(&mut script, seconds(170), Timeout::Silence);
    });
}

#[test]
fn without_keepalive_nothing_is_ever_due() {
    let mut pair = Pair::open(builder(true).keepalive(None, None));
    pair.run();
    assert_eq!(pair.client.connection.poll_timeout(), None);
    assert_eq!(pair.server.connection.poll_timeout(), None);
}

#[test]
fn a_ping_tells_the_round_trip() {
    each(|sealed| {
        let mut pair = Pair::open(builder(sealed));
        let now = pair.now;
        pair.client
            .connection
            .ping()
            .expect("the native wire has pings");
        let asked = pair.client.take_output(now);
        pair.server.feed(now, &asked);
        let answer = pair.server.take_output(now);
        pair.client.feed(now.saturating_add(MS(7)), &answer);
        pair.client.take(true);
        assert_eq!(
            pair.client.events.last(),
            Some(&Event::Pong { round_trip: MS(7) })
        );
    });
}

#[test]
fn only_the_newest_of_several_pings_is_answered() {
    each(|sealed| {
        let mut script = script(sealed);
        script.write(&join([
            control(Frame::Ping([1; 8])),
            control(Frame::Ping([2; 8])),
        ]));
        assert_eq!(script.read(), [Seen::Pong([2; 8])]);
    });
}

#[test]
fn a_frame_that_has_begun_must_be_whole_in_time() {
    each(|sealed| {
        let mut script = script(sealed);
        let bytes = script.wrap(&whole(0, AckLevel::None, &[1; 100]));
        script.side.feed(script.now, &bytes[..20]);
        // Dripping does not put it off.
        script.side.feed(seconds(20), &bytes[20..21]);
        times_out(&mut script, seconds(31), Timeout::Record);
    });
    // A large plain frame is read straight to its place: the same.
    let config = builder(false).max_message(1 << 20).build().expect("valid");
    let mut script = Script::open(config.into(), Role::Responder, hello([0; 16]));
    let bytes = whole(0, AckLevel::None, &[1; 100_000]);
    script.side.feed(script.now, &bytes[..2_000]);
    script.side.feed(seconds(20), &bytes[2_000..90_000]);
    times_out(&mut script, seconds(31), Timeout::Record);
    assert!(script.side.connection.recv().is_none());
}

#[test]
fn a_message_that_has_begun_must_be_whole_in_time() {
    each(|sealed| {
        let mut script = script(sealed);
        script.write(&first(0, AckLevel::None, 4_000, &[1; 1_024]));
        for n in [1, 2] {
            script.now = seconds(20 * n);
            script.write(&more(false, &[1; 1_024]));
        }
        times_out(&mut script, seconds(61), Timeout::Message);
    });
}

#[test]
fn an_own_close_waits_only_so_long_for_the_answer() {
    each(|sealed| {
        let mut script = script(sealed);
        script
            .side
            .connection
            .close(script.now, Close::new(300, "enough"));
        assert_eq!(
            script.read(),
            [Seen::Close {
                code: 300,
                delivered: 0,
                reason: "enough".into()
            }]
        );
        assert_eq!(script.side.connection.poll_timeout(), Some(seconds(6)));
        script.side.take(true);
        assert_eq!(
            script.side.closed(),
            None,
            "the last event waits for the peer"
        );
        script.sleep_until(seconds(6));
        script.side.take(true);
        assert_eq!(
            script.side.closed(),
            Some(&ConnectionError::ClosedLocally(Close::new(300, "enough")))
        );
        assert_eq!(script.side.connection.poll_timeout(), None);
    });
}

/// Whatever deadline falls into the time in which it is awaited.
#[test]
fn while_closing_no_other_deadline_counts() {
    each(|sealed| {
        let mut script = script(sealed);
        script.write(&first(0, AckLevel::None, 4_000, &[1; 1_024]));
        script.now = seconds(59);
        script
            .side
            .connection
            .close(script.now, Close::new(Close::GOING_AWAY, ""));
        script.read();
        script.sleep_until(seconds(63));
        assert_eq!(script.side.connection.end(), None);
        assert!(script.read().is_empty(), "nothing follows a CLOSE");
        script.write(&control(Frame::Close {
            code: 1,
            delivered: 0,
            reason: "",
        }));
        assert!(matches!(
            script.side.connection.end(),
            Some(ConnectionError::ClosedLocally(_))
        ));
    });
}

#[test]
fn a_deadline_tells_not_sent_from_unknown() {
    each(|sealed| {
        let own = Hello {
            credit_bytes: 4_096,
            max_message: 4_096,
            ..hello([0; 16])
        };
        let config = builder(sealed)
            .send_timeout(MS(500))
            .build()
            .expect("valid");
        let mut script = Script::open(config.into(), Role::Responder, own);
        let mut send = |payload: usize, ack, deadline: Option<u64>| {
            let message = message(vec![1; payload], ack);
            let message = deadline.map_or(message.clone(), |ms| message.with_deadline(MS(ms)));
            script
                .side
                .connection
                .send(script.now, message)
                .expect("room")
        };
        let gone = send(3_000, AckLevel::Processed, Some(200));
        let acked = send(1_000, AckLevel::Received, Some(200));
        // No credit is left for these.
        let waits = send(1_000, AckLevel::Processed, Some(300));
        let default = send(1_000, AckLevel::None, None);
        script.read();
        script.write(&control(Frame::Ack {
            next: 2,
            settled: 0,
        }));
        for (ms, id, outcome) in [
            (200, gone, Outcome::Unknown),
            (300, waits, Outcome::NotSent),
            (500, default, Outcome::NotSent),
        ] {
            assert_eq!(
                script.side.connection.poll_timeout(),
                Some(millis(1_000 + ms))
            );
            script.sleep_until(millis(1_000 + ms - 1));
            script.side.take(true);
            assert_eq!(script.side.outcome(id), None);
            script.sleep_until(millis(1_000 + ms));
            script.side.take(true);
            assert_eq!(script.side.outcome(id), Some(outcome));
        }
        assert_eq!(script.side.outcome(acked), Some(Outcome::Received));
        // A RESULT that comes too late changes nothing.
        script.write(&control(Frame::Result {
            seq: 0,
            code: 0,
            reason: "",
        }));
        script.side.take(true);
        assert_eq!(script.side.outcome(gone), Some(Outcome::Unknown));
        assert_eq!(script.side.connection.end(), None);
    });
}

#[test]
fn a_message_that_expires_while_it_goes_out_is_withdrawn() {
    each(|sealed| {
        let config = builder(sealed).build().expect("valid");
        let mut script = Script::open(config.into(), Role::Responder, hello([0; 16]));
        let large = message(vec![1; 1 << 20], AckLevel::Received).with_deadline(MS(100));
        let id = script
            .side
            .connection
            .send(script.now, large)
            .expect("room");
        assert!(
            script
                .side
                .connection
                .poll_transmit(script.now, &mut script.side.output)
        );
        script.sleep_until(millis(1_100));
        script.side.take(true);
        assert_eq!(script.side.outcome(id), Some(Outcome::NotSent));
        let seen = script.read();
        assert_eq!(seen.last(), Some(&Seen::Cancel { seq: 0 }));
        assert!(
            !seen
                .iter()
                .any(|seen| matches!(seen, Seen::Data { fin: true, .. }))
        );
    });
}

#[test]
fn an_ack_goes_out_when_the_input_is_used_up() {
    each(|sealed| {
        let mut script = script(sealed);
        script.write(&whole(0, AckLevel::Received, b"x"));
        assert!(script.read().is_empty(), "there may be more to read");
        script.side.connection.handle_idle();
        assert_eq!(
            script.read(),
            [Seen::Ack {
                next: 1,
                settled: 0
            }]
        );
        assert!(script.read().is_empty(), "once");
        script.write_idle(&whole(1, AckLevel::None, b"x"));
        assert!(script.read().is_empty(), "nobody asked");
    });
}

#[test]
fn an_ack_goes_out_after_64_messages_or_5_ms() {
    each(|sealed| {
        let mut script = script(sealed);
        for seq in 0..64 {
            assert!(script.read().is_empty(), "{seq}");
            script.write(&whole(seq, AckLevel::Received, b""));
        }
        assert_eq!(
            script.read(),
            [Seen::Ack {
                next: 64,
                settled: 0
            }]
        );
        let began = script.now;
        script.write(&whole(64, AckLevel::Received, b""));
        script.now = began.saturating_add(MS(3));
        script.write(&whole(65, AckLevel::Received, b""));
        script.sleep_until(began.saturating_add(MS(4)));
        assert!(script.read().is_empty());
        assert_eq!(
            script.side.connection.poll_timeout(),
            Some(began.saturating_add(MS(5)))
        );
        script.sleep_until(began.saturating_add(MS(5)));
        assert_eq!(
            script.read(),
            [Seen::Ack {
                next: 66,
                settled: 0
            }]
        );
    });
}

#[test]
fn a_result_goes_out_before_the_credit_that_it_frees() {
    each(|sealed| {
        let mut script = script(sealed);
        for seq in 0..2 {
            script.write_idle(&whole(seq, AckLevel::Processed, &[1; 4_096]));
        }
        script.side.take(true);
        assert_eq!(
            script.read(),
            [Seen::Ack {
                next: 2,
                settled: 0
            }],
            "taken is not settled"
        );
        script
            .side
            .connection
            .settle(1, Err(Rejection::new(700, "no")))
            .expect("due");
        script.side.connection.settle(0, Ok(())).expect("due");
        assert_eq!(
            script.read(),
            [
                Seen::Result {
                    seq: 1,
                    code: 700,
                    reason: "no".into()
                },
                Seen::Result {
                    seq: 0,
                    code: 0,
                    reason: String::new()
                },
                Seen::Credit {
                    bytes: 8_192 * 2,
                    messages: 202
                },
            ]
        );
        let refused = script.side.connection.settle(0, Ok(()));
        assert_eq!(refused, Err(SettleError::NotWaiting { seq: 0 }));
    });
}

#[test]
fn credit_for_what_is_not_settled_comes_when_it_is_taken() {
    each(|sealed| {
        let mut script = script(sealed);
        script.write(&join([
            whole(0, AckLevel::None, &[1; 4_096]),
            whole(1, AckLevel::None, b"x"),
        ]));
        assert!(script.read().is_empty());
        script.side.take(true);
        assert_eq!(
            script.read(),
            [Seen::Credit {
                bytes: 8_192 + 4_097,
                messages: 202
            }]
        );
    });
}

#[test]
fn who_was_held_up_reads_before_it_gives_up() {
    each(|sealed| {
        // Its process was stopped from the first second to the hundredth.
        let mut script = script(sealed);
        script.sleep_until(seconds(100));
        assert!(script.side.closed().is_none());
        // What the peer sent lay there all the while.
        script.write(&control(Frame::Pad));
        script.sleep_until(seconds(101));
        assert!(script.side.closed().is_none());
    });
}

#[test]
fn who_was_held_up_gives_up_once_there_was_time_to_read() {
    each(|sealed| {
        let mut script = script(sealed);
        // As late as this the deadline is put off,
        script.sleep_until(millis(91_400));
        assert!(script.side.closed().is_none());
        assert_eq!(script.side.connection.poll_timeout(), Some(millis(92_400)));
        // and only once, however late that is noticed.
        script.sleep_until(seconds(100));
        assert_eq!(
            script.side.connection.end(),
            Some(&ConnectionError::Timeout(Timeout::Silence))
        );
    });
}

#[test]
fn dripping_earns_no_second_grace() {
    each(|sealed| {
        let config = builder(sealed)
            .record_timeout(Duration::from_millis(200))
            .build()
            .expect("valid");
        let mut script = Script::open(config.into(), Role::Responder, hello([0; 16]));
        let bytes = script.wrap(&whole(0, AckLevel::None, &[1; 100]));
        script.side.feed(script.now, &bytes[..20]);
        script.sleep_until(millis(1_300));
        script.side.feed(script.now, &bytes[20..21]);
        assert!(script.side.connection.end().is_none());
        script.sleep_until(millis(1_600));
        assert_eq!(
            script.side.connection.end(),
            Some(&ConnectionError::Timeout(Timeout::Record))
        );
    });
}

#[test]
fn the_last_moment_of_time_is_survived() {
    each(|sealed| {
        let mut script = script(sealed);
        let id = script
            .side
            .connection
            .send(script.now, message("x", AckLevel::Received))
            .expect("room");
        script.sleep_until(Time::from_nanos(u64::MAX));
        script.side.take(true);
        assert!(script.side.outcome(id).is_some());
        assert_eq!(
            script.side.closed(),
            Some(&ConnectionError::Timeout(Timeout::Silence))
        );
    });
}

#[test]
fn a_clock_that_steps_back_is_clamped() {
    let mut script = script(false);
    script.now = seconds(20);
    script.write(&control(Frame::Pad));
    script.side.connection.handle_timeout(Time::ZERO);
    script.side.feed(Time::ZERO, &control(Frame::Pad));
    assert_eq!(script.side.connection.poll_timeout(), Some(seconds(50)));
}
