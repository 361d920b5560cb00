//! Sealed mode: either role reads arbitrary bytes from the first byte on, or after
//! a real handshake; or what a peer that holds the key seals, arbitrary frames;
//! or what an honest peer sealed and somebody on the way changed.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use sealpipe_core::{AckLevel, ConnectionError, Role};
use sealpipe_fuzz::{
    Habits, Watched,
    common::{Pair, Side, builder, message, raw, seconds},
    small,
};
use std::sync::Arc;

#[derive(Debug, Arbitrary)]
struct Input {
    /// Bit 0: the responder. Bit 1: small limits. Bits 2 and 3: see above.
    start: u8,
    habits: Habits,
    bytes: Vec<u8>,
}

fuzz_target!(|input: Input| {
    let role = match input.start & 1 {
        0 => Role::Initiator,
        _ => Role::Responder,
    };
    let mut config = builder(true);
    if input.start & 2 != 0 {
        config = small(config);
    }
    let shared = Arc::new(config.clone().build().expect("valid"));
    match input.start >> 2 & 3 {
        0 => {
            let now = seconds(1);
            let side = Side::new(shared, role, 9, now);
            let mut watched = Watched::new(side, now, input.habits);
            watched.send();
            watched.feed(&input.bytes);
            watched.end();
        }
        kind @ (1 | 2) => {
            let mut script = raw::Script::open(shared, role, raw::hello([5; 16]));
            let stream = if kind == 1 {
                input.bytes
            } else {
                seal(&mut script, &input.bytes)
            };
            let mut watched = Watched::new(script.side, script.now, input.habits);
            watched.send();
            watched.feed(&stream);
            watched.end();
        }
        _ => {
            let mut pair = Pair::open(config);
            changed(&mut pair, role, input.habits, &input.bytes);
        }
    }
});

/// Records of the lengths that their first byte names (0: all the rest).
fn seal(script: &mut raw::Script, mut bytes: &[u8]) -> Vec<u8> {
    let mut stream = Vec::new();
    while let Some((n, rest)) = bytes.split_first() {
        let n = match usize::from(*n) {
            0 => rest.len(),
            n => n.min(rest.len()),
        };
        stream.extend(script.wrap(&rest[..n.min(65_535)]));
        bytes = &rest[n..];
    }
    stream
}

/// An honest peer's records, changed. Nothing that the peer did not send, and
/// nothing behind the first change, may be delivered.
fn changed(pair: &mut Pair, role: Role, habits: Habits, bytes: &[u8]) {
    let now = pair.now;
    let (mut writer, reader) = match role {
        Role::Responder => (&mut pair.client, &mut pair.server),
        Role::Initiator => (&mut pair.server, &mut pair.client),
    };
    // The first byte of each group of four is a message's length, in a record of
    // its own; the others are a change: where, what, and how.
    let mut records: Vec<Vec<u8>> = Vec::new();
    let mut sent = Vec::new();
    for group in bytes.chunks(4).take(6) {
        let payload = vec![group[0]; usize::from(group[0])];
        let queued = message(payload.clone(), AckLevel::Received);
        writer.connection.send(now, queued).expect("room for six");
        sent.push(payload);
        records.push(writer.take_output(now));
    }
    writer = match role {
        Role::Responder => &mut pair.client,
        Role::Initiator => &mut pair.server,
    };
    assert!(!writer.connection.wants_transmit());
    let honest = records.concat();
    for (at, group) in bytes.chunks(4).take(6).enumerate() {
        let &[_, place, value, how] = group else {
            continue;
        };
        let Some(record) = records.get_mut(at) else {
            continue;
        };
        let place = usize::from(place) % record.len().max(1);
        match how % 8 {
            1 if !record.is_empty() => record[place] ^= value,
            2 => record.insert(place, value),
            3 if !record.is_empty() => drop(record.remove(place)),
            4 => record.truncate(place),
            5 => record.clear(),
            6 => {
                let again = record.clone();
                records.insert(at, again);
            }
            7 => {
                let other = usize::from(value) % records.len();
                records.swap(at, other);
            }
            _ => {}
        }
    }
    let stream = records.concat();
    let same = stream.iter().zip(&honest).take_while(|(a, b)| a == b).count();
    let side = core::mem::replace(reader, Side::new(reader.connection.config().clone(), role, 1, now));
    let (hello, rest) = (side.received.len(), stream.len() > same);
    assert_eq!(hello, 0);
    let mut watched = Watched::new(side, now, habits);
    watched.feed(&stream);
    let side = watched.end();
    let got = side.payloads();
    assert!(got.len() <= sent.len());
    assert_eq!(got[..], sent[..got.len()], "not what was sent");
    match side.closed().expect("checked") {
        ConnectionError::Violation(violation) => {
            // Only what stands in clear, the length, can be seen to be wrong.
            assert_eq!(*violation, sealpipe_core::Violation::EmptyRecord);
            assert!(rest);
        }
        ConnectionError::Authentication(_) => assert!(rest, "an honest record did not open"),
        _ => {}
    }
}
