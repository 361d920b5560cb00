//! How long to wait between two attempts.

use std::time::Duration;

/// The delays between attempts to connect: they double from 1 ms up to 100 ms,
/// and each is drawn from the upper half of its step, so that clients that
/// were turned away together do not come back together.
///
/// It neither sleeps nor reads a clock, and the same seed gives the same
/// delays. It never ends: the caller's deadline does that.
///
/// ```
/// use std::time::Duration;
/// let mut backoff = sealpipe_endpoint::Backoff::new(7);
/// assert!(backoff.next_delay() <= Duration::from_millis(1));
/// ```
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    last: Duration,
    step: Duration,
    state: u64,
}

impl Backoff {
    /// Delays from 1 ms to 100 ms. The seed should differ between processes;
    /// it need not be secret.
    #[must_use]
    pub fn new(seed: u64) -> Backoff {
        Backoff::between(Duration::from_millis(1), Duration::from_millis(100), seed)
    }

    /// Delays that start at `first` and grow to `last` (to `first`, where
    /// `last` is less).
    #[must_use]
    pub fn between(first: Duration, last: Duration, seed: u64) -> Backoff {
        Backoff {
            first,
            last: last.max(first),
            step: first,
            state: seed,
        }
    }

    /// How long to wait before the next attempt.
    pub fn next_delay(&mut self) -> Duration {
        let step = self.step;
        self.step = step.saturating_mul(2).min(self.last);
        let half = step / 2;
        let range = u64::try_from((step - half).as_nanos()).unwrap_or(u64::MAX);
        // The slight bias of the remainder does not matter to a delay.
        let jitter = self.random() % range.saturating_add(1);
        half + Duration::from_nanos(jitter)
    }

    /// Starts from the first delay again, after an attempt that succeeded.
    pub fn reset(&mut self) {
        self.step = self.first;
    }

    /// SplitMix64: small, and well mixed from any seed, 0 included.
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl Iterator for Backoff {
    type Item = Duration;

    /// As [`next_delay`](Backoff::next_delay); never `None`.
    fn next(&mut self) -> Option<Duration> {
        Some(self.next_delay())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_stay_within_their_step_and_grow_to_the_last() {
        for seed in 0..1000 {
            let mut step = Duration::from_millis(1);
            for delay in Backoff::new(seed).take(20) {
                assert!(delay >= step / 2 && delay <= step, "{delay:?} of {step:?}");
                step = (step * 2).min(Duration::from_millis(100));
            }
            assert_eq!(step, Duration::from_millis(100));
        }
    }

    #[test]
    fn a_seed_repeats_and_another_differs() {
        let of = |seed| Backoff::new(seed).take(10).collect::<Vec<_>>();
        assert_eq!(of(3), of(3));
        assert_ne!(of(3), of(4));
    }

    #[test]
    fn reset_starts_over_and_extremes_do_not_overflow() {
        let mut backoff = Backoff::new(1);
        for _ in 0..10 {
            backoff.next_delay();
        }
        backoff.reset();
        assert!(backoff.next_delay() <= Duration::from_millis(1));
        let mut zero = Backoff::between(Duration::ZERO, Duration::ZERO, 0);
        assert_eq!(zero.next_delay(), Duration::ZERO);
        let mut huge = Backoff::between(Duration::MAX, Duration::ZERO, 0);
        for _ in 0..4 {
            assert!(huge.next_delay() >= Duration::MAX / 2);
        }
    }
}
