//! The simulation that sealpipe-core's tests run by seed, drawn from the input
//! instead: it delays, splits, stalls and cuts, and checks outcomes at the end.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sealpipe_fuzz::common::sim::{Choices, Sim};

fuzz_target!(|data: &[u8]| {
    let Some((first, rest)) = data.split_first() else {
        return;
    };
    Sim::new(Choices::bytes(rest), first & 1 == 1).run();
});
