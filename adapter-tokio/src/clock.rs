//! The core's time from tokio's clock.

use sealpipe_core::Time;
use std::{sync::OnceLock, time::Duration};
use tokio::time::Instant;

fn origin() -> Instant {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    *ORIGIN.get_or_init(Instant::now)
}

/// Nanoseconds since the first call. Follows tokio's clock, so that a test which
/// pauses that pauses this.
pub(crate) fn now() -> Time {
    let elapsed = Instant::now().saturating_duration_since(origin());
    // 584 years fit.
    Time::from_nanos(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX))
}

pub(crate) fn instant(time: Time) -> Instant {
    origin() + Duration::from_nanos(time.as_nanos())
}
