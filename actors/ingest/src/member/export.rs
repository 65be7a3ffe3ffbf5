//! What the thread says of itself, once a second and at every rebalance.

use std::time::Duration;

use super::{Member, report};
use crate::breaker::Change;
use crate::consumer::Consumer;
use crate::status::IngestSnapshot;

/// How long the broker is asked for the end of a partition that is not fetched.
const WATERMARK_WAIT: Duration = Duration::from_millis(500);

impl<C: Consumer> Member<C> {
    pub(super) fn export_if_due(&mut self) {
        let interval = Duration::from_millis(self.settings.export_interval_ms);
        if self.now().saturating_duration_since(self.last_export) >= interval {
            self.ask_for_watermark();
            self.export();
        }
    }

    /// A partition that is not fetched learns nothing of its end. While intake is stopped on purpose for long, one
    /// partition a turn is asked for: what waits there is what the lag must show.
    fn ask_for_watermark(&mut self) {
        let numbers = self.owned.numbers();
        if !self.gate.is_stopped() || numbers.is_empty() {
            return;
        }
        let index = self.next_watermark % numbers.len();
        self.next_watermark = index + 1;
        let number = numbers[index];
        match self.consumer.watermarks(number, WATERMARK_WAIT) {
            Ok((_, high)) => self.owned.ends_at(number, high),
            Err(error) => tracing::debug!(%error, partition = number, "watermark"),
        }
    }

    pub(super) fn export(&mut self) {
        self.last_export = self.now();
        let consumer = &self.consumer;
        let partitions = self.owned.snapshots(|number| consumer.cached_watermarks(number), self.last_export);
        report::partitions(&partitions, self.owned.overdue_records());
        self.conservation.export(jtav_telemetry::global(), self.gate.posts_inside());
        self.status.publish(IngestSnapshot {
            partitions,
            in_flight: self.owned.in_flight(),
            paused_by: self.gate.causes(),
            starved: self.gate.is_starved(),
            draining: self.gate.draining().is_some(),
        });
    }

    /// Tells metrics and log; the breaker itself lets nothing in.
    pub(super) fn breaker_changed(&mut self, change: Option<Change>) {
        if let Some(change) = change {
            report::breaker_changed(change);
            self.export();
        }
    }

    /// At the end of the thread.
    pub(super) fn remove_series(&mut self) {
        self.export();
        report::nothing_is_owned(&self.owned.numbers());
    }
}
