//! Random programs on both sides of a link that delays, splits, stalls and
//! cuts, in virtual time.
//!
//! `SEALPIPE_SIM_SEEDS` says how many seeds run (10,000 unless set, half of
//! them plain), `SEALPIPE_SIM_SEED` runs only that one.

use crate::common;

use common::sim::{Choices, Sim};
use common::{Pair, builder, message};
use core::time::Duration;
use sealpipe_core::{AckLevel, Close, ConnectionError, Outcome, Role};
use std::panic::{AssertUnwindSafe, catch_unwind};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is not a number: {text}"))
    })
}

fn seeds(test: &str, sealed: bool, make: fn(Choices, bool) -> Sim) -> usize {
    let run = |seed: u64| {
        // Neither mode repeats the other's programs.
        let start = seed.wrapping_mul(2) + u64::from(sealed);
        make(Choices::seed(start), sealed).run()
    };
    if let Some(seed) = number("SEALPIPE_SIM_SEED") {
        return run(seed).resumed;
    }
    let count = number("SEALPIPE_SIM_SEEDS").unwrap_or(10_000).div_ceil(2);
    let mut delivered = 0;
    let mut finished = 0;
    let mut resumed = 0;
    for seed in 0..count {
        match catch_unwind(AssertUnwindSafe(|| run(seed))) {
            Ok(report) => {
                delivered += report.delivered;
                resumed += report.resumed;
                finished += u64::from(
                    report.ends == [ConnectionError::Finished, ConnectionError::Finished],
                );
            }
            Err(panic) => {
                eprintln!(
                    "\nseed {seed} failed. Replay it:\n    \
                     SEALPIPE_SIM_SEED={seed} cargo test -p sealpipe-core --test suite simulation::{test}\n"
                );
                std::panic::resume_unwind(panic);
            }
        }
    }
    println!(
        "{count} seeds, {delivered} messages delivered, {finished} runs finished by both, {resumed} streams resumed"
    );
    // The draws must not drift into programs that do nothing.
    assert!(delivered as u64 > 5 * count && finished > count / 4);
    resumed
}

#[test]
fn simulation_plain() {
    seeds("simulation_plain", false, Sim::new);
}

#[test]
fn simulation_sealed() {
    seeds("simulation_sealed", true, Sim::new);
}

/// Streams that are cut at random bytes, up to eight times a run.
#[test]
fn simulation_resumption_plain() {
    assert!(seeds("simulation_resumption_plain", false, Sim::resuming) > 0);
}

#[test]
fn simulation_resumption_sealed() {
    assert!(seeds("simulation_resumption_sealed", true, Sim::resuming) > 0);
}

/// One short run, with the stream cut after every byte of it in either direction.
#[test]
fn simulation_cut_at_every_byte() {
    for sealed in [false, true] {
        for seed in [11, 12] {
            let mut whole = Sim::new(Choices::seed(seed), sealed);
            whole.uncut();
            let report = whole.run();
            for side in [0, 1] {
                let most = report.bytes[side].min(1_500);
                for byte in 0..=most {
                    let mut sim = Sim::new(Choices::seed(seed), sealed);
                    sim.cut_at(side, byte);
                    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| sim.run())) {
                        eprintln!(
                            "\nsealed: {sealed}, seed {seed}, side {side} cut after byte {byte}\n"
                        );
                        std::panic::resume_unwind(panic);
                    }
                }
            }
        }
    }
}

/// The same seed gives the same run, or replaying would be worth nothing.
#[test]
fn simulation_repeats_itself() {
    let run = |seed| {
        let report = Sim::new(Choices::seed(seed), true).run();
        (report.bytes, report.delivered, report.took, report.ends)
    };
    for seed in 0..20 {
        assert_eq!(run(seed), run(seed));
    }
}

/// Both send as fast as they can through tiny windows, and neither program reads
/// for a while: all arrives, in order.
#[test]
fn full_duplex_with_tiny_windows_and_no_reader_has_no_deadlock() {
    for sealed in [false, true] {
        let mut pair = Pair::open(builder(sealed).max_message(3_000).receive_window(3_000, 2));
        pair.client_reads = false;
        pair.server_reads = false;
        let mut ids = Vec::new();
        for n in 0..200u32 {
            for role in [Role::Initiator, Role::Responder] {
                let payload = n.to_be_bytes().repeat(1 + n as usize % 700);
                ids.push((role, pair.send(role, message(payload, AckLevel::Processed))));
            }
        }
        pair.run();
        pair.sleep(Duration::from_secs(10));
        assert!(pair.client.received.is_empty());
        pair.client_reads = true;
        pair.sleep(Duration::from_secs(1));
        assert_eq!(
            pair.client.received.len(),
            200,
            "one direction does not wait for the other"
        );
        pair.server_reads = true;
        pair.run();
        for side in [&pair.client, &pair.server] {
            for (n, payload) in side.payloads().iter().enumerate() {
                assert_eq!(payload[..4], (n as u32).to_be_bytes());
            }
            assert_eq!(side.received.len(), 200);
        }
        for (role, id) in ids {
            let side = if role == Role::Initiator {
                &pair.client
            } else {
                &pair.server
            };
            assert_eq!(side.outcome(id), Some(Outcome::Processed));
        }
    }
}

/// Both close while their windows are full and nobody reads.
#[test]
fn both_close_with_full_windows() {
    for sealed in [false, true] {
        for goodbye in ["close", "abandon", "finish"] {
            let mut pair = Pair::open(builder(sealed).max_message(3_000).receive_window(3_000, 2));
            pair.client_reads = false;
            pair.server_reads = false;
            let mut ids = Vec::new();
            for _ in 0..50 {
                for role in [Role::Initiator, Role::Responder] {
                    ids.push((
                        role,
                        pair.send(role, message(vec![7; 2_500], AckLevel::Received)),
                    ));
                }
            }
            pair.run();
            let now = pair.now;
            for connection in [&mut pair.client.connection, &mut pair.server.connection] {
                match goodbye {
                    "close" => connection.close(now, Close::new(Close::GOING_AWAY, "")),
                    "abandon" => connection.abandon(now),
                    _ => connection.finish(now),
                }
            }
            if goodbye == "finish" {
                pair.client_reads = true;
                pair.server_reads = true;
            }
            pair.run();
            pair.sleep(Duration::from_secs(6));
            let mut reached = [0, 0];
            for (role, id) in ids {
                let (side, at) = if role == Role::Initiator {
                    (&pair.client, 0)
                } else {
                    (&pair.server, 1)
                };
                match side.outcome(id).expect("an outcome") {
                    Outcome::Received => reached[at] += 1,
                    // Its queue had it, or what it was told was lost with the end.
                    Outcome::NotSent | Outcome::Unknown => {}
                    other => panic!("{other:?}"),
                }
            }
            for side in [&pair.client, &pair.server] {
                let end = side.closed().expect("the end");
                assert!(end.is_orderly(), "{goodbye}: {end}");
            }
            if goodbye == "finish" {
                assert_eq!(reached, [50, 50]);
            }
        }
    }
}
