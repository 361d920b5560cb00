//! How many control frames that carry nothing forward a peer may send.

use crate::time::Time;
use core::time::Duration;

/// What a peer may send: 100 a second after a first burst.
pub(super) type Idle = Budget<1_024, 10>;
/// What this side allows its own PINGs, well below that: the program may ask for
/// the next as soon as it has an answer.
pub(super) type Pings = Budget<512, 20>;

/// A token bucket (PROTOCOL.md, section 9): one more every so many milliseconds. Kept as
/// one point in time (the "generic cell rate algorithm" of ATM).
#[derive(Debug)]
pub(super) struct Budget<const CAPACITY: u16, const REFILL: u64> {
    /// When all tokens are back.
    full_at: Time,
}

impl<const CAPACITY: u16, const REFILL: u64> Budget<CAPACITY, REFILL> {
    /// How long one token takes.
    pub(super) const REFILL: Duration = Duration::from_millis(REFILL);
    /// How long all of them take.
    const WHOLE: Duration = Duration::from_millis(REFILL.saturating_mul(CAPACITY as u64));

    pub(super) const fn new(now: Time) -> Self {
        Budget { full_at: now }
    }

    /// DATA frames came, so many.
    #[inline]
    pub(super) fn earn(&mut self, frames: u64) {
        let one = REFILL.saturating_mul(1_000_000);
        let earned = frames.saturating_mul(one);
        self.full_at = Time::from_nanos(self.full_at.as_nanos().saturating_sub(earned));
    }

    /// Whether one more frame is allowed.
    pub(super) fn spend(&mut self, now: Time) -> bool {
        let full_at = self.full_at.max(now).saturating_add(Self::REFILL);
        let allowed = full_at.saturating_since(now) <= Self::WHOLE;
        if allowed {
            self.full_at = full_at;
        }
        allowed
    }
}
