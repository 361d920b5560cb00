//! Random numbers that a seed repeats.

use std::time::{SystemTime, UNIX_EPOCH};

const SEED: &str = "SEALPIPE_SEED";

/// Pseudo-random numbers (SplitMix64).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The numbers of that seed.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// Seeds for `rounds` rounds of a test: another series on each run, or only
    /// the one in the environment variable `SEALPIPE_SEED`.
    ///
    /// # Panics
    /// If that is not a number.
    pub fn seeds(rounds: u64) -> Vec<u64> {
        if let Ok(seed) = std::env::var(SEED) {
            return vec![seed.parse().expect("SEALPIPE_SEED is a number")];
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let start = now.map_or(0, |now| now.as_nanos() as u64);
        let mut random = Random(start);
        (0..rounds).map(|_| random.next() >> 32).collect()
    }

    /// The next number.
    #[expect(clippy::should_implement_trait, reason = "not an iterator")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}
