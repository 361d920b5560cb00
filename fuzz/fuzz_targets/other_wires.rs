//! Other systems' wires. The first byte chooses the wire and how the programs behave,
//! the second how the stream is cut. The rest is a stream from a stranger, or what two
//! connections send each other.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sealpipe_core::{
    Config, ConfigBuilder, ConnectionError, Message, Role, Wire, wire::foreign::base64,
};
use sealpipe_fuzz::common::{Side, key, seconds};
use std::sync::Arc;

const WIRES: [Wire; 4] = [
    Wire::Le32,
    Wire::Be32,
    Wire::LegacySealed,
    Wire::Base64Lines,
];
const MAX_MESSAGE: usize = 700;
const WINDOW: (usize, usize) = (1_500, 5);

fn side(wire: Wire, role: Role) -> Side {
    let builder: ConfigBuilder = match wire {
        Wire::LegacySealed => Config::sealed(key()),
        _ => Config::plain(),
    };
    let builder = builder.wire(wire).max_message(MAX_MESSAGE);
    let config = builder.receive_window(WINDOW.0, WINDOW.1).build();
    Side::new(Arc::new(config.expect("valid")), role, 5, seconds(1))
}

/// Brings `bytes` in pieces of `cut`; the program takes messages when it must, or always.
fn bring(side: &mut Side, mut bytes: &[u8], cut: usize, eager: bool) {
    loop {
        if side.input.is_held() {
            let stats = side.connection.stats();
            assert!(stats.waiting <= WINDOW.1, "more than the window");
            side.take(true);
            let _ = side.connection.handle_input(seconds(1), &mut side.input);
            continue;
        }
        if bytes.is_empty() {
            break;
        }
        let n = side.input.fill_from(&bytes[..bytes.len().min(cut)]);
        bytes = &bytes[n..];
        if side
            .connection
            .handle_input(seconds(1), &mut side.input)
            .is_err()
        {
            break;
        }
        side.take(eager);
    }
}

/// What a stranger sends means the same however it is cut, and what is shown of it is
/// what it begins with.
fn stranger(wire: Wire, bytes: &[u8], cut: usize, eager: bool) {
    let (mut parted, mut whole) = (side(wire, Role::Responder), side(wire, Role::Responder));
    bring(&mut parted, bytes, cut, eager);
    bring(&mut whole, bytes, bytes.len().max(1), true);
    for side in [&mut parted, &mut whole] {
        side.eof(seconds(1));
        side.connection.handle_broken(seconds(1));
        side.take(true);
        let end = side.closed().expect("an end");
        assert!(!matches!(end, ConnectionError::Internal(_)), "{end}");
        assert_eq!(side.take_output(seconds(1)), [], "there is no word for it");
        assert!(side.connection.is_drained());
        assert_eq!(side.connection.poll_timeout(), None);
    }
    assert_eq!(parted.payloads(), whole.payloads());
    assert_eq!(parted.closed(), whole.closed());
    let mut again = Vec::new();
    for payload in parted.payloads() {
        assert!(payload.len() <= MAX_MESSAGE);
        match wire {
            Wire::LegacySealed => return,
            Wire::Base64Lines => {
                base64::encode(&payload, &mut again);
                again.push(b'\n');
            }
            _ => {
                again.extend(wire.prefix(payload.len() as u32));
                again.extend(payload);
            }
        }
    }
    assert!(bytes.starts_with(&again));
}

/// Each byte is a message's length, of either side in turn; all arrive, in order, and
/// both ends are orderly.
fn two(wire: Wire, script: &[u8], cut: usize, eager: bool) {
    let mut sides = [Role::Initiator, Role::Responder].map(|role| side(wire, role));
    let mut sent = [Vec::new(), Vec::new()];
    let now = seconds(1);
    let carry = |sides: &mut [Side; 2]| {
        for from in [0, 1] {
            let bytes = sides[from].take_output(now);
            bring(&mut sides[1 - from], &bytes, cut, eager);
        }
    };
    for (n, length) in script.iter().take(200).enumerate() {
        let (from, payload) = (n % 2, vec![*length; usize::from(*length) * 2]);
        let message = Message::new(payload.clone());
        sides[from].connection.send(now, message).expect("room");
        sent[from].push(payload);
        if length % 3 == 0 {
            carry(&mut sides);
        }
    }
    carry(&mut sides);
    for side in &mut sides {
        side.connection.finish(now);
        assert!(side.connection.wants_shutdown());
        side.connection.handle_shutdown(now, true);
    }
    for from in [0, 1] {
        let to = &mut sides[1 - from];
        to.eof(now);
        to.take(true);
        assert_eq!(to.payloads(), sent[from]);
        assert_eq!(to.closed(), Some(&ConnectionError::Finished));
        assert!(to.connection.all_arrived());
    }
}

fuzz_target!(|data: &[u8]| {
    let [first, cut, rest @ ..] = data else {
        return;
    };
    let wire = WIRES[usize::from(first & 3)];
    let (cut, eager) = (usize::from(*cut).max(1), first & 4 != 0);
    match first & 8 {
        0 => stranger(wire, rest, cut, eager),
        _ => two(wire, rest, cut, eager),
    }
});
