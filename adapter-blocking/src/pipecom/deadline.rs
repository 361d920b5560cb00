//! Until when.

use std::{
    hash::{BuildHasher as _, RandomState},
    time::{Duration, Instant},
};

use sealpipe_endpoint::Backoff;

/// When something must be done, if at all.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline(Option<Instant>);

impl Deadline {
    /// So long from now. What the clock cannot count to is never.
    pub(super) fn after(time: Option<Duration>) -> Deadline {
        Deadline(time.and_then(|time| Instant::now().checked_add(time)))
    }

    /// This, or so long from now if that is sooner.
    pub(super) fn or_after(self, time: Duration) -> Deadline {
        self.sooner(Deadline::after(Some(time)))
    }

    pub(super) fn sooner(self, other: Deadline) -> Deadline {
        match (self.0, other.0) {
            (Some(one), Some(two)) => Deadline(Some(one.min(two))),
            (one, two) => Deadline(one.or(two)),
        }
    }

    pub(super) fn is_over(self) -> bool {
        self.left() == Some(Duration::ZERO)
    }

    /// How long there is still; without end, if `None`.
    pub(super) fn left(self) -> Option<Duration> {
        self.0
            .map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Waits for what gives no sign when it happens, but not beyond the deadline.
    pub(super) fn pause(self, backoff: &mut Backoff) {
        let delay = backoff.next_delay();
        std::thread::sleep(self.left().map_or(delay, |left| delay.min(left)));
    }
}

/// Another seed each time.
pub(super) fn seed() -> u64 {
    RandomState::new().hash_one(0)
}
