use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Metric, Telemetry};

/// The law that every record obeys: received = published + skipped + dead-lettered + erased + abandoned + in flight.
///
/// An abandoned record is received again, so it counts as received once more. The law is checked live: the gap is a
/// gauge, and an alert fires when it is not 0 for a minute.
#[derive(Debug, Default)]
pub struct Conservation {
    received: AtomicU64,
    settled: AtomicU64,
}

impl Conservation {
    /// A record entered.
    pub fn received(&self) {
        self.received.fetch_add(1, Ordering::Relaxed);
    }

    /// A record got an outcome, abandonment included.
    pub fn settled(&self) {
        self.settled.fetch_add(1, Ordering::Relaxed);
    }

    /// Received minus settled minus `in_flight`, which the permits count independently.
    pub fn gap(&self, in_flight: usize) -> i64 {
        let settled = self.settled.load(Ordering::Relaxed) as i64;
        let received = self.received.load(Ordering::Relaxed) as i64;
        received - settled - in_flight as i64
    }

    /// Records that entered.
    pub fn received_count(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Writes the gauges.
    pub fn export(&self, telemetry: &Telemetry, in_flight: usize) {
        telemetry.set(&Metric::in_flight_posts(), in_flight as f64);
        telemetry.set(&Metric::conservation_gap(), self.gap(in_flight) as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_gets_no_outcome_opens_the_gap() {
        let law = Conservation::default();
        law.received();
        law.received();
        assert_eq!(law.gap(2), 0);
        law.settled();
        assert_eq!(law.gap(1), 0);
        assert_eq!(law.gap(0), 1, "one is neither settled nor in flight");
    }
}
