//! The simulation that sealpipe-core's tests run by seed, drawn from the input
//! instead: it delays, splits, stalls and cuts, resumes or not, and checks outcomes
//! at the end.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sealpipe_fuzz::common::sim::{Choices, Sim};

fuzz_target!(|data: &[u8]| {
    let Some((first, rest)) = data.split_first() else {
        return;
    };
    let sealed = first & 1 == 1;
    let choices = Choices::bytes(rest);
    let sim = if first & 2 == 2 {
        Sim::resuming(choices, sealed)
    } else {
        Sim::new(choices, sealed)
    };
    sim.run();
});
