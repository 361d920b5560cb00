//! Plain mode: either role, from the first byte or after a real handshake, reads
//! arbitrary bytes in arbitrary chunks; then the stream ends or falls silent.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use sealpipe_core::Role;
use sealpipe_fuzz::{
    Habits, Watched,
    common::{Side, builder, raw, seconds},
    small,
};
use std::sync::Arc;

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    /// Bit 0: the responder. Bit 1: after the handshake. Bit 2: small limits.
    start: u8,
    habits: Habits,
    bytes: &'a [u8],
}

fuzz_target!(|input: Input<'_>| {
    let role = match input.start & 1 {
        0 => Role::Initiator,
        _ => Role::Responder,
    };
    let mut config = builder(false);
    if input.start & 4 != 0 {
        config = small(config);
    }
    let config = Arc::new(config.build().expect("valid"));
    let (side, now) = if input.start & 2 != 0 {
        let script = raw::Script::open(config, role, raw::hello([5; 16]));
        (script.side, script.now)
    } else {
        let now = seconds(1);
        (Side::new(config, role, 9, now), now)
    };
    let mut watched = Watched::new(side, now, input.habits);
    watched.send();
    watched.feed(input.bytes);
    watched.end();
});
