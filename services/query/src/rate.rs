//! How many a second, over the last seconds.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Length of the look back.
const WINDOW: Duration = Duration::from_secs(10);

/// A rate from readings of a count.
#[derive(Default)]
pub struct Rate(Mutex<VecDeque<(Instant, u64)>>);

impl Rate {
    /// A reading.
    pub fn read(&self, count: u64) {
        let now = Instant::now();
        let mut readings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        readings.push_back((now, count));
        while readings.front().is_some_and(|(at, _)| now.duration_since(*at) > WINDOW) {
            readings.pop_front();
        }
    }

    /// Between the oldest reading that is young enough and the last; 0 before the second.
    pub fn per_second(&self) -> f64 {
        let readings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some((since, before)), Some((until, after))) = (readings.front(), readings.back()) else { return 0.0 };
        let seconds = until.duration_since(*since).as_secs_f64();
        if seconds > 0.0 { after.saturating_sub(*before) as f64 / seconds } else { 0.0 }
    }
}
