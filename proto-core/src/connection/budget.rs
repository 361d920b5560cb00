//! How many control frames that carry nothing forward a peer may send.

use crate::time::Time;
use core::time::Duration;

const CAPACITY: u16 = 1_024;
/// One token every so often: 100 a second.
const REFILL: Duration = Duration::from_millis(10);

/// A token bucket (PROTOCOL.md, section 9).
#[derive(Debug)]
pub(super) struct Budget {
    tokens: u16,
    refilled: Time,
}

impl Budget {
    pub(super) const fn new(now: Time) -> Budget {
        Budget {
            tokens: CAPACITY,
            refilled: now,
        }
    }

    /// A DATA frame came.
    #[inline]
    pub(super) fn earn(&mut self) {
        self.tokens = self.tokens.saturating_add(1).min(CAPACITY);
    }

    /// Whether one more frame is allowed.
    pub(super) fn spend(&mut self, now: Time) -> bool {
        let periods = now
            .saturating_since(self.refilled)
            .as_nanos()
            .checked_div(REFILL.as_nanos())
            .unwrap_or(0);
        if periods > 0 {
            let earned = u16::try_from(periods).unwrap_or(CAPACITY);
            self.tokens = self.tokens.saturating_add(earned).min(CAPACITY);
            self.refilled = now;
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
