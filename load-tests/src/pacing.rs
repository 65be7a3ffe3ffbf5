//! When each record is due. Nothing the system under load does can move these times.

use std::time::Duration;

use anyhow::{Result, ensure};

/// Constant arrival rate: record `n` is due `n / rate` after the start.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    rate_per_second: f64,
}

impl Schedule {
    /// A rate that is not a finite number above 0 is refused.
    pub fn new(rate_per_second: f64) -> Result<Self> {
        ensure!(
            rate_per_second.is_finite() && rate_per_second > 0.0,
            "a rate of {rate_per_second} posts a second cannot be played: give a number above 0"
        );
        Ok(Self { rate_per_second })
    }

    /// Posts a second.
    pub fn rate_per_second(self) -> f64 {
        self.rate_per_second
    }

    /// From the start to the moment record `index` is due. Computed from the index, not summed up, so that rounding
    /// does not drift over a long run.
    pub fn due(self, index: usize) -> Duration {
        Duration::from_secs_f64(index as f64 / self.rate_per_second)
    }

    /// Records due within the first `seconds`; at least one.
    pub fn records_in(self, seconds: f64) -> usize {
        ((self.rate_per_second * seconds).round() as usize).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_due_at_even_distances_from_the_start() {
        let schedule = Schedule::new(250.0).unwrap();
        assert_eq!(schedule.due(0), Duration::ZERO);
        assert_eq!(schedule.due(1), Duration::from_millis(4));
        assert_eq!(schedule.due(250), Duration::from_secs(1));
    }

    #[test]
    fn a_rate_that_is_no_whole_number_of_milliseconds_does_not_drift() {
        let schedule = Schedule::new(3.0).unwrap();
        assert_eq!(schedule.due(3 * 3600 * 24), Duration::from_secs(3600 * 24));
    }

    #[test]
    fn a_run_holds_rate_times_seconds_records_and_never_none() {
        assert_eq!(Schedule::new(200.0).unwrap().records_in(30.0), 6000);
        assert_eq!(Schedule::new(0.1).unwrap().records_in(1.0), 1);
    }

    #[test]
    fn rates_that_cannot_be_played_are_refused() {
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(Schedule::new(rate).is_err(), "{rate}");
        }
    }
}
