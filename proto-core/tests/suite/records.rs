//! Sealed records that were changed, repeated, left out or cut on their way.

use crate::common;
use bytes::Buf;
use common::caught::{caught, script};
use common::raw::{Script, whole};
use common::{Pair, builder, message};
use core::sync::atomic::{AtomicU8, Ordering};
use core::task::Waker;
use core::time::Duration;
use sealpipe_core::session::{Interest, Place, Session, Waiters, Woken};
use sealpipe_core::{
    AckLevel, ChaChaPoly, CipherProvider, Close, ConnectionError, Lost, OpenError, RecordCipher,
    Role, Sealed, Timeout, Violation,
};

/// A sealed pair, and three records of the client's, one message each.
fn records() -> (Pair, Vec<Vec<u8>>) {
    let mut pair = Pair::open(builder(true));
    let now = pair.now;
    let records = ["one", "two", "three"]
        .map(|text| {
            pair.client
                .connection
                .send(now, message(text, AckLevel::Processed))
                .expect("room");
            pair.client.take_output(now)
        })
        .to_vec();
    (pair, records)
}

fn does_not_open(pair: &mut Pair, what: &str, delivered: &[&str]) {
    let expected = ConnectionError::Authentication(Sealed::Record);
    pair.server.take(true);
    assert_eq!(pair.server.closed(), Some(&expected), "{what}");
    let texts: Vec<_> = pair
        .server
        .payloads()
        .into_iter()
        .map(|p| String::from_utf8(p).expect("text"))
        .collect();
    assert_eq!(texts, delivered, "{what}");
    pair.run();
    match pair.client.closed() {
        Some(ConnectionError::ClosedByPeer(close)) => assert_eq!(close.code, Close::AUTHENTICATION),
        other => panic!("{what}: the client ended with {other:?}"),
    }
}

#[test]
fn a_record_that_is_replayed_left_out_reordered_or_reflected_does_not_open() {
    for (what, order, delivered) in [
        ("replayed", &[0, 0][..], &["one"][..]),
        ("replayed later", &[0, 1, 0], &["one", "two"]),
        ("left out", &[1], &[]),
        ("reordered", &[0, 2, 1], &["one"]),
    ] {
        let (mut pair, records) = records();
        for index in order {
            pair.server.feed(pair.now, &records[*index]);
        }
        does_not_open(&mut pair, what, delivered);
    }
    let (mut pair, records) = records();
    std::mem::swap(&mut pair.client, &mut pair.server);
    pair.server.feed(pair.now, &records[0]);
    pair.server.take(true);
    // The other end has missed three records by now: it could not read a CLOSE.
    assert_eq!(
        pair.server.closed(),
        Some(&ConnectionError::Authentication(Sealed::Record))
    );
    assert!(pair.server.received.is_empty());
}

#[test]
fn a_record_with_any_bit_flipped_is_not_used() {
    let (_, sample) = records();
    for at in 2..sample[0].len() {
        for bit in [0, 7] {
            let (mut pair, mut records) = records();
            records[0][at] ^= 1 << bit;
            let all = records.concat();
            pair.server.feed(pair.now, &all);
            does_not_open(&mut pair, &format!("byte {at}, bit {bit}"), &[]);
        }
    }
    for (at, bit) in (0..2).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
        let (mut pair, mut records) = records();
        records[0][at] ^= 1 << bit;
        pair.server.feed(pair.now, &records.concat());
        pair.server.take(true);
        if pair.server.connection.end().is_none() {
            // Declared longer than what came: it never will be whole.
            pair.server.eof(pair.now);
            pair.server.take(true);
            assert_eq!(
                pair.server.closed(),
                Some(&ConnectionError::Lost(Lost::Truncated))
            );
        } else {
            does_not_open(&mut pair, &format!("length, byte {at}, bit {bit}"), &[]);
        }
        assert!(pair.server.received.is_empty());
    }
}

#[test]
fn a_record_cut_short_is_truncated_and_times_out() {
    let (_, sample) = records();
    for n in 1..sample[0].len() {
        let (mut pair, records) = records();
        pair.server.feed(pair.now, &records[0][..n]);
        pair.server
            .connection
            .handle_timeout(pair.now.saturating_add(Duration::from_millis(29_999)));
        assert!(pair.server.connection.end().is_none());
        if n % 2 == 0 {
            pair.server.eof(pair.now);
            pair.server.take(true);
            assert_eq!(
                pair.server.closed(),
                Some(&ConnectionError::Lost(Lost::Truncated))
            );
        } else {
            pair.server
                .connection
                .handle_timeout(pair.now.saturating_add(Duration::from_secs(30)));
            pair.server.take(true);
            assert_eq!(
                pair.server.closed(),
                Some(&ConnectionError::Timeout(Timeout::Record))
            );
        }
        assert!(pair.server.received.is_empty());
    }
}

#[test]
fn records_that_are_empty_or_end_inside_a_frame_break_the_protocol() {
    for role in [Role::Initiator, Role::Responder] {
        let empty = |script: &mut Script| script.tx.as_mut().expect("sealed").seal(&[]);
        let mut script = script(true, role);
        let record = empty(&mut script);
        script.side.feed(script.now, &record);
        assert_eq!(
            script.side.connection.end(),
            Some(&ConnectionError::Violation(Violation::EmptyRecord))
        );
        let message = whole(0, AckLevel::Received, b"hello");
        for n in 1..message.len() {
            let mut script = self::script(true, role);
            // A whole frame before it counts.
            let bytes = [
                &whole(0, AckLevel::None, b"first")[..],
                &whole(1, AckLevel::None, b"second")[..n],
            ]
            .concat();
            caught(
                "half a frame",
                &mut script,
                &bytes,
                Violation::FrameAcrossRecords,
                1,
            );
        }
    }
}

/// Seals twice, then no more.
struct Failing;

struct Tired(Box<dyn RecordCipher>, AtomicU8);

impl CipherProvider for Failing {
    fn cipher(&self, key: &[u8; 32]) -> Box<dyn RecordCipher> {
        Box::new(Tired(ChaChaPoly.cipher(key), AtomicU8::new(0)))
    }

    fn name(&self) -> &'static str {
        "tired"
    }
}

impl RecordCipher for Tired {
    fn seal(&self, nonce: &[u8; 12], associated: &[u8], data: &mut [u8]) -> Option<[u8; 16]> {
        let sealed = self.1.fetch_add(1, Ordering::Relaxed);
        (sealed < 2).then(|| self.0.seal(nonce, associated, data))?
    }

    fn open(&self, nonce: &[u8; 12], associated: &[u8], data: &mut [u8]) -> Result<(), OpenError> {
        self.0.open(nonce, associated, data)
    }
}

#[test]
fn what_cannot_be_sealed_does_not_go_out() {
    let mut pair = Pair::open(builder(true).cipher(Failing));
    let now = pair.now;
    let mut sent = Vec::new();
    for _ in 0..3 {
        let secret = message("secret", AckLevel::None);
        let Ok(_) = pair.client.connection.send(now, secret) else {
            break;
        };
        sent.extend(pair.client.take_output(now));
    }
    assert!(!sent.windows(6).any(|bytes| bytes == b"secret"));
    pair.client.take(true);
    let end = pair.client.closed();
    assert!(matches!(end, Some(ConnectionError::Internal(_))), "{end:?}");
}

/// Also where nobody drives: who waits is told.
#[test]
fn a_cipher_that_fails_ends_the_connection_for_all() {
    let Pair { client, .. } = Pair::open(builder(true).cipher(Failing));
    let (mut session, mut waiters) = (Session::new(client.connection), Waiters::new());
    let (mut output, mut place) = (client.output, Place::default());
    waiters.wait(&mut place, Interest::Message, Waker::noop());
    let secret = message("secret", AckLevel::None);
    while session
        .send_through(&secret, &mut output, &mut waiters)
        .is_some()
    {
        output.advance(output.remaining());
        assert!(matches!(waiters.take_woken(), Woken::Nobody));
    }
    assert_eq!(output.remaining(), 0);
    assert!(matches!(waiters.take_woken(), Woken::One(_)));
    let end = session.connection().end();
    assert!(matches!(end, Some(ConnectionError::Internal(_))), "{end:?}");
}
