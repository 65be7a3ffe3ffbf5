//! What the thread says of itself, once a second and at every rebalance.

use std::time::{Duration, Instant};

use jtav_pipeline::now_ms;
use jtav_telemetry::{Metric, global};

use crate::poll_loop::PollLoop;
use crate::status::{BREAKER, IngestSnapshot, PartitionSnapshot};

/// How long the broker is asked for the end of a partition that is not fetched.
const WATERMARK_WAIT: Duration = Duration::from_millis(500);

impl PollLoop {
    pub(crate) fn export_if_due(&mut self) {
        if self.last_export.elapsed() >= Duration::from_millis(self.params.settings.export_interval_ms) {
            self.ask_for_watermark();
            self.export();
        }
    }

    /// A partition that is not fetched learns nothing of its end. While intake is stopped on purpose for long, one
    /// partition a turn is asked for: what waits there is what the lag must show.
    fn ask_for_watermark(&mut self) {
        let runs = self.paused_by.is_empty() && !self.breaker.is_tripped();
        if runs || self.partitions.is_empty() {
            return;
        }
        let index = self.next_watermark % self.partitions.len();
        self.next_watermark = index + 1;
        let Some(number) = self.partitions.keys().nth(index).copied() else { return };
        match self.consumer.watermarks(number, WATERMARK_WAIT) {
            Ok((_, high)) => {
                if let Some(owned) = self.partitions.get_mut(&number) {
                    owned.asked_high = Some(high);
                }
            }
            Err(error) => tracing::debug!(%error, partition = number, "watermark"),
        }
    }

    /// Why intake is stopped.
    fn causes(&self) -> Vec<&'static str> {
        let mut causes = self.paused_by.clone();
        if self.breaker.is_tripped() {
            causes.insert(BREAKER);
        }
        causes.into_iter().collect()
    }

    pub(crate) fn export(&mut self) {
        self.last_export = Instant::now();
        let telemetry = global();
        let now = now_ms();
        let mut snapshots = Vec::with_capacity(self.partitions.len());
        let (mut paused, mut gone_over) = (0, 0);
        for (number, owned) in &mut self.partitions {
            let marks = self
                .consumer
                .cached_watermarks(*number)
                .map(|(low, high)| (low, high.max(owned.asked_high.unwrap_or(high))));
            let low_committed = owned.committed.or(marks.map(|(low, _)| low));
            let lag_records = match (marks, low_committed) {
                (Some((_, high)), Some(committed)) => (high - committed).max(0),
                _ => 0,
            };
            let event_lag_seconds = owned.event_lag_seconds(now, marks);
            let label = number.to_string();
            telemetry.set(Metric::ConsumerLag, &[&label], lag_records as f64);
            telemetry.set(Metric::EventLag, &[&label], event_lag_seconds);
            // Between two turns a record in hand is one that may not be let in.
            let held_back = owned.in_hand.is_some();
            paused += usize::from(held_back);
            let careful = self.suspects.careful(*number);
            gone_over += usize::from(careful.is_some());
            snapshots.push(PartitionSnapshot {
                partition: *number,
                epoch: owned.ledger.epoch().0,
                pending: owned.ledger.pending(),
                window: owned.ledger.window(),
                committed: owned.committed,
                lag_records,
                event_lag_seconds,
                paused: held_back,
                revoking: self.revocation.as_ref().is_some_and(|revocation| revocation.contains(*number)),
                rewinds: owned.rewinds,
                held: owned.held.len(),
                careful_until: careful.map(|careful| careful.until),
                suspect: careful.and_then(|careful| careful.suspect),
            });
        }
        telemetry.set(Metric::PausedPartitions, &[], paused as f64);
        telemetry.set(Metric::CarefulPartitions, &[], gone_over as f64);
        telemetry.set(Metric::AssignedPartitions, &[], snapshots.len() as f64);
        telemetry.set(Metric::OverduePosts, &[], self.overdue.len() as f64);
        self.params.conservation.export(telemetry, self.params.permits.in_flight());
        self.status.publish(IngestSnapshot {
            partitions: snapshots,
            in_flight: self.in_flight,
            paused_by: self.causes(),
            starved: self.starved,
            draining: self.draining.is_some(),
        });
    }

    /// Takes the series of a partition off `/metrics`: somebody else reports it now.
    pub(crate) fn remove_partition_series(number: i32) {
        let label = number.to_string();
        global().remove(Metric::ConsumerLag, &[&label]);
        global().remove(Metric::EventLag, &[&label]);
    }

    /// At the end of the thread.
    pub(crate) fn remove_series(&mut self) {
        self.export();
        for number in self.partitions.keys() {
            Self::remove_partition_series(*number);
        }
        global().set(Metric::PausedPartitions, &[], 0.0);
        global().set(Metric::CarefulPartitions, &[], 0.0);
        global().set(Metric::OverduePosts, &[], 0.0);
        global().set(Metric::AssignedPartitions, &[], 0.0);
    }
}
