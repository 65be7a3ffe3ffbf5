//! Going back after an abandoned record (design D4): the step without which its successor would commit past it.

use std::time::Instant;

use jtav_pipeline::{FailPoint, fail_point};
use jtav_telemetry::{Metric, global};

use crate::partition::Rewind;
use crate::poll_loop::PollLoop;

impl PollLoop {
    /// Plans a seek back. Several abandonments of one period make one; too many without progress end the thread, unless
    /// the record is to blame (`by_content`): new boxes would hang as well.
    pub(crate) fn schedule_rewind(&mut self, number: i32, target: Option<i64>, by_content: bool) {
        let settings = &self.params.settings;
        let Some(owned) = self.partitions.get_mut(&number) else { return };
        if let Some(rewind) = &mut owned.rewind {
            rewind.target = match (rewind.target, target) {
                (Some(planned), Some(wanted)) => Some(planned.min(wanted)),
                (planned, wanted) => planned.or(wanted),
            };
            return;
        }
        owned.rewinds += u32::from(!by_content);
        let attempt = owned.rewinds;
        if attempt > settings.max_rewinds {
            let reason = format!(
                "partition {number} makes no progress: records were abandoned after each of {} seeks back",
                settings.max_rewinds
            );
            self.fail(reason);
            return;
        }
        owned.rewind = Some(Rewind { at: Instant::now() + settings.rewind_backoff(attempt), target });
        tracing::warn!(
            partition = number,
            attempt,
            "a record was abandoned; reading from the oldest unsettled one again"
        );
    }

    /// Carries out the seeks that are due. Posts of the old period that are still in flight come again with the rest:
    /// their settlements are ignored by the epoch, their effects are idempotent.
    pub(crate) fn serve_rewinds(&mut self) {
        // While draining or giving a partition up nothing is read any more; the record comes again to whoever is next.
        if self.draining.is_some() {
            return;
        }
        let now = Instant::now();
        let due: Vec<i32> = self
            .partitions
            .iter()
            .filter(|(number, owned)| {
                owned.rewind.is_some_and(|rewind| rewind.at <= now)
                    && !self.revocation.as_ref().is_some_and(|revocation| revocation.contains(**number))
            })
            .map(|(number, _)| *number)
            .collect();
        for number in due {
            self.rewind(number);
        }
    }

    fn rewind(&mut self, number: i32) {
        // The settled prefix of the old ledger is worth keeping: its position dies with it.
        self.commit_now();
        let epoch = self.next_epoch();
        let limit = self.params.settings.max_in_flight_per_partition;
        let Some(owned) = self.partitions.get_mut(&number) else { return };
        let Some(rewind) = owned.rewind else { return };
        let Some(position) = rewind.target.or_else(|| owned.ledger.rewind_position()) else {
            owned.rewind = None;
            return;
        };
        match self.consumer.seek(number, position) {
            Ok(()) => {
                owned.start_period(number, epoch, limit, position);
                self.suspects.rewound(number, position);
                global().inc(Metric::Rewinds, &[]);
                fail_point::hit(FailPoint::IngestAfterRewind, "");
                tracing::info!(partition = number, position, epoch = epoch.0, "seeked back");
            }
            Err(error) => {
                let attempt = owned.rewinds;
                let wait = self.params.settings.rewind_backoff(attempt);
                owned.rewind = Some(Rewind { at: Instant::now() + wait, ..rewind });
                tracing::warn!(%error, partition = number, "seek back");
            }
        }
    }
}
