//! What a set of measured times says.

use std::{fmt, time::Duration};

/// Measured times, sorted.
#[derive(Debug, Clone, Default)]
pub(crate) struct RoundTrips(Vec<Duration>);

impl RoundTrips {
    pub(crate) fn new(mut times: Vec<Duration>) -> RoundTrips {
        times.sort_unstable();
        RoundTrips(times)
    }

    /// The smallest time that at least `percent` of all do not exceed; zero if
    /// there are none.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied().unwrap_or_default()
    }

    pub(crate) fn min(&self) -> Duration {
        self.percentile(0)
    }

    pub(crate) fn max(&self) -> Duration {
        self.percentile(100)
    }
}

/// A time for people.
pub(crate) struct Shown(pub(crate) Duration);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_secs_f64() * 1e6;
        let text = if micros < 1000.0 {
            format!("{micros:.1} µs")
        } else if micros < 1e6 {
            format!("{:.2} ms", micros / 1e3)
        } else {
            format!("{:.2} s", micros / 1e6)
        };
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_occurred() {
        let times = RoundTrips::new((1..=200).rev().map(Duration::from_micros).collect());
        assert_eq!(times.min(), Duration::from_micros(1));
        assert_eq!(times.percentile(50), Duration::from_micros(100));
        assert_eq!(times.percentile(99), Duration::from_micros(198));
        assert_eq!(times.max(), Duration::from_micros(200));
        let one = RoundTrips::new(vec![Duration::from_micros(7)]);
        assert_eq!(one.percentile(50), one.max());
        assert_eq!(RoundTrips::default().max(), Duration::ZERO);
    }

    #[test]
    fn units_fit_the_size() {
        assert_eq!(Shown(Duration::from_nanos(4_250)).to_string(), "4.2 µs");
        assert_eq!(Shown(Duration::from_micros(1_500)).to_string(), "1.50 ms");
        assert_eq!(format!("{:>8}", Shown(Duration::from_secs(2))), "  2.00 s");
    }
}
