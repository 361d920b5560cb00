//! Time as the core sees it: a number that the driver passes in.

use core::time::Duration;

/// A point in monotonic time, in nanoseconds from an origin that the driver
/// picks (for example the moment when the program started).
///
/// The core has no clock. It never looks further than the largest time it has
/// been given: a clock that steps back is clamped to that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(u64);

impl Time {
    /// The origin.
    pub const ZERO: Time = Time(0);
    /// Later than anything that happens.
    pub(crate) const NEVER: Time = Time(u64::MAX);
    /// The last moment before [`Time::NEVER`].
    pub(crate) const LAST: Time = Time(u64::MAX - 1);

    /// The point `nanos` nanoseconds after the origin.
    pub const fn from_nanos(nanos: u64) -> Time {
        Time(nanos)
    }

    /// Nanoseconds since the origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// This point plus `duration`, saturating after some 584 years.
    #[must_use]
    pub const fn saturating_add(self, duration: Duration) -> Time {
        let nanos = duration.as_nanos();
        if nanos > u64::MAX as u128 {
            return Time::NEVER;
        }
        #[expect(clippy::cast_possible_truncation, reason = "checked above")]
        Time(self.0.saturating_add(nanos as u64))
    }

    /// The time from `earlier` to this point, zero if `earlier` is later.
    pub const fn saturating_since(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}
