//! Sealed mode: either role reads arbitrary bytes from the first byte on, or after
//! a real handshake; or what a peer that holds the key seals, arbitrary frames;
//! or what an honest peer said and somebody on the way changed, in the handshake
//! or in the records.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use sealpipe_core::{AckLevel, Config, ConnectionError, Event, Role, Violation};
use sealpipe_fuzz::{
    Habits, Watched,
    common::{Pair, Side, builder, message, raw, seconds},
    small,
};
use std::sync::Arc;

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    /// Bit 0: the responder. Bit 1: small limits. Bits 2 to 4: which of these.
    start: u8,
    habits: Habits,
    bytes: &'a [u8],
}

fuzz_target!(|input: Input<'_>| {
    let role = match input.start & 1 {
        0 => Role::Initiator,
        _ => Role::Responder,
    };
    let mut config = builder(true);
    if input.start & 2 != 0 {
        config = small(config);
    }
    let shared = Arc::new(config.clone().build().expect("valid"));
    match input.start >> 2 & 7 {
        0 => {
            let now = seconds(1);
            let side = Side::new(shared, role, 9, now);
            let mut watched = Watched::new(side, now, input.habits);
            watched.send();
            watched.feed(input.bytes);
            watched.end();
        }
        kind @ (1 | 2) => {
            let mut script = raw::Script::open(shared, role, raw::hello([5; 16]));
            let stream = if kind == 1 {
                input.bytes.to_vec()
            } else {
                seal(&mut script, input.bytes)
            };
            let mut watched = Watched::new(script.side, script.now, input.habits);
            watched.send();
            watched.feed(&stream);
            watched.end();
        }
        3 => changed(Pair::open(config), role, input.habits, input.bytes),
        _ => changed_handshake(shared, role, input.habits, input.bytes),
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

/// An honest peer's part of the handshake with one byte changed: it must not be
/// taken for a handshake.
fn changed_handshake(config: Arc<Config>, role: Role, habits: Habits, bytes: &[u8]) {
    let Some((&[place, value], rest)) = bytes.split_first_chunk() else {
        return;
    };
    let now = seconds(1);
    let mut client = Side::new(config.clone(), Role::Initiator, 1, now);
    let mut server = Side::new(config, Role::Responder, 2, now);
    let mut said = client.take_output(now);
    let side = match role {
        Role::Responder => server,
        Role::Initiator => {
            server.feed(now, &said);
            said = server.take_output(now);
            client
        }
    };
    let place = usize::from(place) % said.len();
    said[place] ^= value;
    let mut watched = Watched::new(side, now, habits);
    watched.send();
    watched.feed(&said);
    watched.feed(rest);
    let side = watched.end();
    let opened = matches!(
        side.events
            .iter()
            .find(|event| !matches!(event, Event::Outcome { .. })),
        Some(Event::Open(_))
    );
    // A responder waits for the first record, which nobody here can seal.
    assert_eq!(opened, value == 0 && role == Role::Initiator);
}

/// An honest peer's records, changed. Nothing that the peer did not send, and
/// nothing behind the first change, may be delivered.
fn changed(pair: Pair, role: Role, habits: Habits, bytes: &[u8]) {
    let now = pair.now;
    let (mut writer, reader) = match role {
        Role::Responder => (pair.client, pair.server),
        Role::Initiator => (pair.server, pair.client),
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
    let honest = records.clone();
    for (at, group) in bytes.chunks(4).take(6).enumerate() {
        let &[_, place, value, how] = group else {
            continue;
        };
        let record = &mut records[at];
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
    let (stream, flat) = (records.concat(), honest.concat());
    let same = stream.iter().zip(&flat).take_while(|(a, b)| a == b).count();
    let mut whole = 0;
    let mut end = 0;
    for record in &honest {
        end += record.len();
        whole += usize::from(end <= same);
    }

    let mut watched = Watched::new(reader, now, habits);
    watched.feed(&stream);
    let side = watched.end();
    let got = side.payloads();
    assert!(got.len() <= whole, "delivered what was changed");
    assert_eq!(got[..], sent[..got.len()], "not what was sent");
    match side.closed().expect("checked") {
        // All that can be seen to be wrong is what stands in clear, the length.
        ConnectionError::Violation(violation) => {
            assert!(stream.len() > same && *violation == Violation::EmptyRecord);
        }
        ConnectionError::Authentication(_) => {
            assert!(stream.len() > same, "an honest record did not open");
        }
        _ => {}
    }
}
