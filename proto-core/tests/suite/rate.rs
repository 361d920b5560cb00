//! The token bucket, against one that is reckoned in fractions and in full.

use proptest::collection::vec;
use proptest::prelude::*;
use sealpipe_core::{Time, service::RateLimit};

const SECOND: u128 = 1_000_000_000;

/// Tokens times `SECOND`, without limits of size.
struct Model {
    level: u128,
    at: u128,
    per_second: u128,
    burst: u128,
}

impl Model {
    fn take(&mut self, now: u128) -> bool {
        self.level += (now - self.at) * self.per_second;
        // Full, and less than what the nanosecond brings in which it became so.
        let late = self.per_second.min(SECOND) - 1;
        self.level = self.level.min(self.burst * SECOND + late);
        self.at = now;
        let taken = self.level >= SECOND;
        if taken {
            self.level -= SECOND;
        }
        taken
    }
}

proptest! {
    #[test]
    fn a_bucket_gives_what_the_model_gives(
        per_second in prop_oneof![1..20_u32, 1..=u32::MAX],
        burst in prop_oneof![1..5_u32, 1..=u32::MAX],
        pauses in vec(prop_oneof![
            Just(0), 0..SECOND as u64, 0..100 * SECOND as u64, 0..u64::MAX / 128
        ], 1..100),
    ) {
        let mut limit = RateLimit::new(per_second, burst);
        let full = u128::from(burst) * SECOND;
        let mut model = Model {
            level: full, at: 0, per_second: per_second.into(), burst: burst.into(),
        };
        let mut now = 0;
        for pause in pauses {
            now += pause;
            let taken = limit.take(Time::from_nanos(now));
            prop_assert_eq!(taken.is_ok(), model.take(now.into()));
            if let Err(again) = taken {
                // There is one then, and there was none a nanosecond before.
                now = again.as_nanos();
                prop_assert!(limit.take(Time::from_nanos(now - 1)).is_err());
                prop_assert!(limit.take(again).is_ok());
                prop_assert!(model.take(now.into()));
            }
        }
    }
}

/// A third of a second is no whole number of nanoseconds.
#[test]
fn nothing_is_lost_in_rounding() {
    let mut limit = RateLimit::new(3, 1);
    let mut now = Time::ZERO;
    for _ in 0..=3_000_000 {
        while let Err(again) = limit.take(now) {
            now = again;
        }
    }
    // The first one at once, then three million.
    assert_eq!(now.as_nanos(), 1_000_000 * SECOND as u64);
}

#[test]
fn after_a_pause_there_is_a_burst_and_no_more() {
    let mut limit = RateLimit::new(100, 5);
    let later = Time::from_nanos(u64::MAX / 2);
    for now in [Time::ZERO, later] {
        for _ in 0..5 {
            assert_eq!(limit.take(now), Ok(()));
        }
        let next = now.saturating_add(core::time::Duration::from_millis(10));
        assert_eq!(limit.take(now), Err(next));
    }
    // A clock that steps back brings nothing and takes nothing.
    assert!(limit.take(Time::ZERO).is_err_and(|next| next > later));
}

#[test]
fn the_edges_of_numbers() {
    let mut never = RateLimit::new(0, 0);
    assert_eq!(never.take(Time::ZERO), Ok(()));
    let end = Time::from_nanos(u64::MAX);
    assert_eq!(never.take(end), Err(end));

    let mut most = RateLimit::new(u32::MAX, u32::MAX);
    assert_eq!(most.take(end), Ok(()));
    assert_eq!(most.take(end), Ok(()));
}
