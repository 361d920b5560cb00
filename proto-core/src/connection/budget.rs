//! How many control frames that carry nothing forward a peer may send.

use crate::time::Time;
use core::time::Duration;

/// What a peer may send: 100 a second after a first burst.
pub(super) type Idle = Budget<1_024, 10>;
/// What this side allows its own PINGs, well below that: the program may ask for
/// the next as soon as it has an answer.
pub(super) type Pings = Budget<512, 20>;

/// A token bucket (PROTOCOL.md, section 9): one more every so many milliseconds.
#[derive(Debug)]
pub(super) struct Budget<const CAPACITY: u16, const REFILL: u64> {
    tokens: u16,
    refilled: Time,
}

impl<const CAPACITY: u16, const REFILL: u64> Budget<CAPACITY, REFILL> {
    /// How long one token takes.
    pub(super) const REFILL: Duration = Duration::from_millis(REFILL);

    pub(super) const fn new(now: Time) -> Self {
        Budget {
            tokens: CAPACITY,
            refilled: now,
        }
    }

    /// DATA frames came, so many.
    #[inline]
    pub(super) fn earn(&mut self, frames: u64) {
        let earned = u16::try_from(frames).unwrap_or(CAPACITY);
        self.tokens = self.tokens.saturating_add(earned).min(CAPACITY);
    }

    /// Whether one more frame is allowed.
    pub(super) fn spend(&mut self, now: Time) -> bool {
        let periods = now
            .saturating_since(self.refilled)
            .as_nanos()
            .checked_div(Self::REFILL.as_nanos())
            .unwrap_or(0);
        if periods > 0 {
            let earned = u16::try_from(periods).unwrap_or(CAPACITY);
            self.tokens = self.tokens.saturating_add(earned).min(CAPACITY);
            // What is left of a period counts towards the next.
            let counted = u32::try_from(periods).unwrap_or(u32::MAX);
            self.refilled = match Self::REFILL.checked_mul(counted) {
                Some(time) => self.refilled.saturating_add(time),
                None => now,
            };
        }
        match self.tokens.checked_sub(1) {
            Some(left) => {
                self.tokens = left;
                true
            }
            None => false,
        }
    }
}
