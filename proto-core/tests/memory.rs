//! What one connection takes of memory from a peer that means harm, against a
//! bound computed from the configuration, and what an idle one takes.

#![cfg_attr(
    windows,
    allow(
        clippy::missing_const_for_thread_local,
        reason = "they are const; for this target the macro hides it"
    )
)]

#[path = "suite/common/mod.rs"]
mod common;

use common::raw::{Script, control, first, hello, more, whole};
use common::{Pair, builder, message};
use sealpipe_core::service::{Pattern, Topics};
use sealpipe_core::wire::{Frame, MAX_FRAME_PLAIN};
use sealpipe_core::{AckLevel, Connection, RecvBuf, Rejection, Role, SendBuf};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static MOST: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, counting for each thread: tests run side by side.
struct Counting;

fn add(n: usize) {
    let _ = HELD.try_with(|held| {
        held.set(held.get().wrapping_add(n));
        let _ = MOST.try_with(|most| most.set(most.get().max(held.get())));
    });
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        let _ = HELD.try_with(|held| held.set(held.get().wrapping_sub(layout.size())));
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn held() -> usize {
    HELD.with(Cell::get)
}

/// What is held above what was held before, which is below zero in a thread that
/// has freed what another one gave it.
fn more_than(before: usize) -> usize {
    held().wrapping_sub(before)
}

/// The most that was held while `run` ran, above what was held before.
fn most_above(before: usize, run: impl FnOnce()) -> usize {
    MOST.with(|most| most.set(held()));
    run();
    MOST.with(Cell::get).saturating_sub(before)
}

const MAX: usize = 1 << 20;
const WINDOW: usize = 2 << 20;
const MESSAGES: usize = 2_000;

/// What the documentation of `receive_window` promises, in numbers: payloads pin
/// at most four times their size; each message has its own record in the queue
/// (which doubles when it grows, and holds both for a moment) and may wait for a
/// verdict with a reason; one message comes in, moved when it grows; and buffers
/// of a fixed size.
fn bound() -> usize {
    let queue = MESSAGES * 4 * 128 + MESSAGES * (64 + 256 + 300);
    let coming = 2 * MAX;
    let buffers = 4 * MAX_FRAME_PLAIN;
    4 * WINDOW + queue + coming + buffers
}

fn script(sealed: bool) -> Script {
    let config = builder(sealed)
        .max_message(MAX)
        .receive_window(WINDOW, MESSAGES)
        .build()
        .expect("valid");
    Script::open(config.into(), Role::Responder, hello([0; 16]))
}

/// Runs an attack of frames, written in pieces; says what was held at most
/// beyond the attack's own bytes.
fn attack(
    sealed: bool,
    drains: bool,
    piece: usize,
    mut next: impl FnMut(usize) -> Option<Vec<u8>>,
) -> (usize, Script) {
    let mut script = script(sealed);
    let before = held();
    let mut most = 0;
    for n in 0.. {
        let Some(bytes) = next(n) else { break };
        let bytes = if sealed {
            bytes
                .chunks(60_000)
                .map(|chunk| script.wrap(chunk))
                .collect::<Vec<_>>()
                .concat()
        } else {
            bytes
        };
        for chunk in bytes.chunks(piece) {
            let base = before + bytes.capacity();
            let now = script.now;
            most = most.max(most_above(base, || script.side.feed(now, chunk)));
        }
        if drains {
            script.read();
        }
        if script.side.connection.end().is_some() {
            break;
        }
    }
    (most, script)
}

fn report(what: &str, sealed: bool, most: usize) {
    println!(
        "{what}, {}: {most} bytes at most, bound {}",
        if sealed { "sealed" } else { "plain" },
        bound()
    );
    assert!(
        most <= bound(),
        "{what}: {most} bytes, more than {}",
        bound()
    );
}

#[test]
fn a_peer_that_declares_the_largest_message_and_never_finishes() {
    for sealed in [false, true] {
        // Small steps, then withdrawn, then again: nothing may pile up.
        let (most, script) = attack(sealed, true, 700, |n| match n % 3 {
            _ if n > 600 => None,
            0 => Some(first(
                n as u64 / 3,
                AckLevel::Processed,
                MAX as u64,
                &[1; 1_024],
            )),
            1 => Some(more(false, &[2; 1_024])),
            _ => Some(control(Frame::Cancel { seq: n as u64 / 3 })),
        });
        assert_eq!(script.side.connection.end(), None);
        report("declared, begun, withdrawn", sealed, most);
        // One message that was only announced takes a small part of what it says.
        let (most, _) = attack(sealed, false, usize::MAX, |n| {
            (n == 0).then(|| first(0, AckLevel::None, MAX as u64, &[1; 1_024]))
        });
        assert!(most < MAX / 2, "announced only: {most}");
        let (most, _) = attack(sealed, false, 9_000, |n| match n {
            0 => Some(first(0, AckLevel::None, MAX as u64, &[1; 1_024])),
            1..1_020 => Some(more(false, &[2; 1_024])),
            _ => None,
        });
        report("nearly whole, never finished", sealed, most);
        assert!(most < 3 * MAX, "{most}");
    }
}

#[test]
fn a_peer_that_floods_a_reader_that_never_reads() {
    for sealed in [false, true] {
        for size in [0, 1, 1_024, 1_025, 5_000, 16_400, 59_000, 200_000] {
            if sealed && size > 60_000 {
                // No record holds it in one frame; in several it is no different.
                continue;
            }
            let (mut bytes, mut seq) = (0, 0);
            let (most, script) = attack(sealed, false, 64 << 10, |_| {
                bytes += size;
                (bytes <= WINDOW && seq < MESSAGES).then(|| {
                    seq += 1;
                    whole(seq as u64 - 1, AckLevel::Processed, &vec![1; size])
                })
            });
            assert_eq!(script.side.connection.end(), None, "{size}");
            assert_eq!(script.side.connection.stats().waiting, seq);
            report(
                &format!("never read, messages of {size} bytes"),
                sealed,
                most,
            );
        }
    }
}

/// The block that a message was read in must not stay for its sake.
#[test]
fn a_peer_that_makes_messages_pin_more_than_their_size() {
    for sealed in [false, true] {
        for size in [1_100, 16_400] {
            // What is withdrawn gives its credit back, and its bytes were in the
            // same block.
            let mut seq = 0;
            let mut bytes = 0;
            let (most, script) = attack(sealed, true, usize::MAX, |_| {
                bytes += size;
                if bytes > WINDOW - 70_000 || seq as usize / 2 >= MESSAGES {
                    return None;
                }
                let kept = whole(seq, AckLevel::None, &vec![1; size]);
                let dropped = first(seq + 1, AckLevel::None, 60_000, &[2; 40_000]);
                let cancel = control(Frame::Cancel { seq: seq + 1 });
                seq += 2;
                Some([kept, dropped, cancel].concat())
            });
            assert_eq!(script.side.connection.end(), None);
            report(&format!("pinned by {size} bytes"), sealed, most);
        }
    }
}

#[test]
fn a_peer_that_never_reads_what_is_owed_to_it() {
    for sealed in [false, true] {
        let mut script = script(sealed);
        let before = held();
        let now = script.now;
        let most = most_above(before, || {
            for seq in 0..MESSAGES as u64 {
                let bytes = script.wrap(&whole(seq, AckLevel::Processed, b"x"));
                script.side.feed(now, &bytes);
                let message = script.side.connection.recv().expect("came");
                let no = Rejection::new(300, "n".repeat(256));
                script
                    .side
                    .connection
                    .settle(message.seq, Err(no))
                    .expect("due");
            }
            let pings = control(Frame::Ping([9; 8])).repeat(1_000);
            let bytes = script.wrap(&pings);
            script.side.feed(now, &bytes);
        });
        assert_eq!(script.side.connection.end(), None);
        report("answers that are not read", sealed, most);
        let bytes = script.wrap(&whole(MESSAGES as u64, AckLevel::None, b"x"));
        script.side.feed(now, &bytes);
        assert!(
            script.side.connection.end().is_some(),
            "no credit while the answers wait"
        );
    }
}

/// Before it is authenticated a peer gets about two kilobytes.
#[test]
fn a_stranger_takes_little() {
    let config = common::config(true);
    let before = held();
    let mut side = common::Side::new(config, Role::Responder, 1, common::seconds(1));
    let bytes = [
        &common::raw::preface(sealpipe_core::wire::Mode::Sealed, &common::key()).encode()[..],
        &[4, 0],
    ]
    .concat();
    let most = most_above(before, || {
        side.feed(common::seconds(1), &bytes);
        for _ in 0..1_023 {
            side.feed(common::seconds(1), &[7]);
        }
    });
    assert!(side.connection.end().is_none());
    println!(
        "a stranger: {most} bytes with its buffer, {} of them the connection's",
        held() - before
    );
    assert!(most < 16 << 10, "{most}");
}

#[test]
fn a_slow_verdict_keeps_nothing_of_what_came_after_it() {
    for sealed in [false, true] {
        let mut pair = Pair::open(builder(sealed));
        pair.settle = false;
        let slow = pair.send(Role::Initiator, message("slow", AckLevel::Processed));
        let mut settled = 0;
        let mut rounds = |pair: &mut Pair, count: u64| {
            for _ in 0..count {
                pair.send(Role::Initiator, message("quick", AckLevel::Processed));
                pair.run();
                settled += 1;
                pair.server.connection.settle(settled, Ok(())).expect("due");
                pair.run();
                for side in [&mut pair.client, &mut pair.server] {
                    side.received = Vec::new();
                    side.events = Vec::new();
                }
            }
        };
        rounds(&mut pair, 200);
        let before = held();
        rounds(&mut pair, 20_000);
        let after = held();
        println!("behind a slow verdict: {before} bytes, later {after}");
        assert!(after < before + 16_000, "{before}, {after}");
        assert_eq!(pair.client.outcome(slow), None);
    }
}

#[test]
fn an_idle_connection_is_small() {
    for sealed in [false, true] {
        let mut pair = Pair::open(builder(sealed));
        for _ in 0..200 {
            pair.send(
                Role::Initiator,
                message(vec![1; 3_000], AckLevel::Processed),
            );
            pair.send(
                Role::Responder,
                message(vec![1; 3_000], AckLevel::Processed),
            );
        }
        pair.run();
        for side in [&mut pair.client, &mut pair.server] {
            side.received = Vec::new();
            side.events = Vec::new();
            side.input.release();
            side.output.release();
            side.connection.release();
        }
        let own = size_of::<Connection>() + size_of::<RecvBuf>() + size_of::<SendBuf>();
        let with = held();
        let (mut client, server) = (pair.client, pair.server);
        client.input = RecvBuf::new();
        drop(client.connection);
        let heap = with - held();
        println!(
            "idle, {}: Connection {} + RecvBuf {} + SendBuf {} bytes, and {heap} on the heap",
            if sealed { "sealed" } else { "plain" },
            size_of::<Connection>(),
            size_of::<RecvBuf>(),
            size_of::<SendBuf>()
        );
        assert!(heap <= 300 && own + heap < 1_600, "{own} + {heap}");
        drop(server);
    }
}

#[test]
fn a_message_that_wakes_a_connection_takes_little_more_than_it_is() {
    for sealed in [false, true] {
        let mut pair = Pair::open(builder(sealed));
        pair.server.input = RecvBuf::rested();
        let before = held();
        pair.send(Role::Initiator, message(vec![1; 6_000], AckLevel::None));
        let bytes = pair.client.take_output(pair.now);
        let (first, rest) = bytes.split_at(2_048);
        for part in [first, rest] {
            pair.server.feed(pair.now, part);
            let more = more_than(before);
            assert!(more < 40_000, "{more} bytes");
        }
        pair.server.take(true);
        assert_eq!(pair.server.received.len(), 1);
    }
}

#[test]
fn subscriptions_that_end_leave_nothing() {
    let patterns: Vec<Pattern> = (0..10_000)
        .map(|n| Pattern::new(&format!("a/{}/**/{n}/*", n % 100)).expect("a pattern"))
        .collect();
    let before = held();
    let mut topics = Topics::new();
    for pattern in &patterns {
        topics.insert(pattern, 1);
        topics.insert(pattern, 2);
    }
    let all = more_than(before);
    for pattern in &patterns {
        topics.remove(pattern, &1);
    }
    topics.remove_all(&2);
    // An empty map may keep its first block.
    let left = more_than(before);
    println!("subscriptions: {all} bytes for 20,000, {left} when all have ended");
    assert!(all > 1_000_000 && left < 4_096);
}

#[test]
fn a_subscription_takes_little_however_deep_it_is() {
    const COUNT: usize = 1_000;
    // 32 segments each; or each with one more than the one before.
    let deep = |n: usize| format!("{n}/{}", vec!["a"; 31].join("/"));
    let longer = |n: usize| format!("{}/{}", n / 31, vec!["b"; 1 + n % 31].join("/"));
    let patterns: [&dyn Fn(usize) -> String; 2] = [&deep, &longer];
    for text in patterns {
        let before = held();
        let mut topics = Topics::new();
        for n in 0..COUNT {
            topics.insert(&Pattern::new(&text(n)).expect("a pattern"), n % 3);
        }
        let each = more_than(before) / COUNT;
        println!("a subscription of 2 to 32 segments: {each} bytes");
        assert!(each < 2_048, "{each}");
        // Those that stay take no more for those that went.
        for n in (0..COUNT).filter(|n| n % 10 != 9) {
            topics.remove(&Pattern::new(&text(n)).expect("a pattern"), &(n % 3));
        }
        let each = more_than(before) / topics.len();
        assert!(each < 2_048, "{each}");
    }
}
