//! Going back after an abandoned record (ADR 2): the step without which its successor would commit past it.

use jtav_pipeline::{FailPoint, fail_point};

use super::{Member, report};
use crate::consumer::Consumer;
use crate::partition::Rewinding;

impl<C: Consumer> Member<C> {
    /// A seek back was planned, or cannot be.
    pub(super) fn rewinding(&mut self, number: i32, rewinding: Rewinding) {
        match rewinding {
            Rewinding::Joined => {}
            Rewinding::Planned { attempt } => report::rewind_planned(number, attempt),
            Rewinding::NoProgress => self.fail(format!(
                "partition {number} makes no progress: records were abandoned after each of {} seeks back",
                self.settings.max_rewinds
            )),
        }
    }

    /// Carries out the seeks that are due.
    pub(super) fn serve_rewinds(&mut self) {
        // While draining or giving a partition up nothing is read any more; the record comes again to whoever is next.
        if self.gate.draining().is_some() {
            return;
        }
        for number in self.owned.rewinds_due(self.now()) {
            self.rewind(number);
        }
    }

    fn rewind(&mut self, number: i32) {
        // The settled prefix of the old ledger is worth keeping: its position dies with it.
        self.commit_now();
        let Some(position) = self.owned.rewind_target(number) else { return };
        match self.consumer.seek(number, position) {
            Ok(()) => {
                let epoch = self.owned.rewound(number, position);
                report::rewound(number, position, epoch);
                fail_point::hit(FailPoint::IngestAfterRewind, "");
            }
            Err(error) => {
                self.owned.postpone_rewind(number, self.now());
                report::rewind_failed(number, &error);
            }
        }
    }
}
