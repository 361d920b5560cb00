//! How often something may happen.

use crate::Time;
use core::time::Duration;

/// One token, in billionths: then a nanosecond brings a whole number of them, and
/// no rounding adds up.
const TOKEN: u64 = 1_000_000_000;

/// A token bucket: so many a second, and after a pause so many at once.
///
/// ```
/// use sealpipe_core::{Time, service::RateLimit};
/// let mut limit = RateLimit::new(10, 1);
/// assert_eq!(limit.take(Time::ZERO), Ok(()));
/// // The next one in a tenth of a second.
/// assert_eq!(limit.take(Time::ZERO), Err(Time::from_nanos(100_000_000)));
/// ```
#[derive(Debug, Clone)]
pub struct RateLimit {
    per_second: u32,
    /// Billionths of a token: what is there, and the most that can be.
    level: u64,
    most: u64,
    /// When `level` was true.
    at: Time,
}

impl RateLimit {
    /// A full bucket of `burst` tokens (at least 1) that `per_second` tokens a
    /// second flow into. With 0 a second there are only those of the beginning.
    pub fn new(per_second: u32, burst: u32) -> RateLimit {
        let full = u64::from(burst.max(1)).saturating_mul(TOKEN);
        // Whoever comes when told to comes up to a nanosecond late. What flowed in
        // by then counts, or the rate would be missed by that much each time.
        let late = u64::from(per_second).clamp(1, TOKEN).saturating_sub(1);
        RateLimit {
            per_second,
            level: full,
            most: full.saturating_add(late),
            at: Time::ZERO,
        }
    }

    /// Takes a token. A time before that of an earlier call counts as that one.
    ///
    /// # Errors
    /// If there is none, when there will be: the earliest time at which this
    /// succeeds.
    pub fn take(&mut self, now: Time) -> Result<(), Time> {
        let rate = u64::from(self.per_second);
        let elapsed = now.as_nanos().saturating_sub(self.at.as_nanos());
        self.at = self.at.max(now);
        self.level = self
            .level
            .saturating_add(elapsed.saturating_mul(rate))
            .min(self.most);
        match self.level.checked_sub(TOKEN) {
            Some(rest) => {
                self.level = rest;
                Ok(())
            }
            None if rate == 0 => Err(Time::NEVER),
            None => {
                let wait = TOKEN.saturating_sub(self.level).div_ceil(rate);
                Err(self.at.saturating_add(Duration::from_nanos(wait)))
            }
        }
    }
}
