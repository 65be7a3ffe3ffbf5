//! Partitions come and go. The consumer hands a rebalance out as an event and the group waits for the answer, so a
//! partition is drained and committed here, in the ordinary course of the loop, before it is given up.

use std::time::Duration;

use jtav_kafka::{CommittedPosition, Fault, KafkaError};
use jtav_pipeline::{FailPoint, fail_point};

use super::committing::LastCommit;
use super::{Member, report};
use crate::consumer::Consumer;

/// How long the thread may wait for the coordinator at a time; it tries again as long as it takes.
const COMMITTED_WAIT: Duration = Duration::from_secs(2);

/// How long the thread may wait for the ends of all partitions that must be gone over.
const END_WAIT: Duration = Duration::from_secs(2);

/// How long the broker is asked for the start of all logs that are taken over.
const START_WAIT: Duration = Duration::from_secs(2);

impl<C: Consumer> Member<C> {
    pub(super) fn assigned(&mut self, partitions: Vec<i32>) {
        report::assigned();
        self.owned.offered(partitions, self.now());
        self.serve_assignment();
    }

    /// Takes offered partitions over, each from its committed position. Without that answer nothing is taken over: a
    /// guessed position would skip records or read the whole topic again.
    pub(super) fn serve_assignment(&mut self) {
        let Some(partitions) = self.owned.offer_due(self.now()) else { return };
        let known =
            if partitions.is_empty() { Ok(Vec::new()) } else { self.consumer.committed(&partitions, COMMITTED_WAIT) };
        match known {
            Ok(positions) => self.take_over(&partitions, &positions),
            Err(error) => self.positions_unknown(&partitions, &error),
        }
    }

    fn positions_unknown(&mut self, partitions: &[i32], error: &KafkaError) {
        report::positions_unknown(partitions, error);
        let too_long = self.owned.offer_unanswered(self.now()) > self.consumer.max_unanswered() / 2;
        if too_long || matches!(error.fault(), Fault::NeedsOperator | Fault::ClientDead) {
            self.fail(format!("committed positions of {partitions:?} cannot be had: {error}"));
        }
    }

    fn take_over(&mut self, partitions: &[i32], positions: &[CommittedPosition]) {
        let starts = self.owned.answer_offer(positions);
        fail_point::hit(FailPoint::IngestDuringAssign, "");
        if let Err(error) = self.consumer.accept(&starts) {
            self.fail(format!("partitions {partitions:?} cannot be taken over: {error}"));
            return;
        }
        self.begin_periods(positions);
        if self.settings.offset_range.is_none() {
            self.look_for_expired(positions);
        }
        report::taken_over(&starts, self.owned.count());
        self.export();
    }

    /// Reads from the notes how the last owners ended. A partition whose owner did not say goodbye is gone over up to its
    /// present end: what comes later cannot have ended anybody. An end that cannot be had only makes it take longer.
    fn begin_periods(&mut self, positions: &[CommittedPosition]) {
        let deadline = self.now() + END_WAIT;
        for found in positions {
            let is_unclean = self.owned.is_unclean(found);
            let left = deadline.saturating_duration_since(self.now());
            let end = (is_unclean && !left.is_zero()).then(|| self.consumer.watermarks(found.partition, left).ok());
            let scene = self.gate.scene(self.now());
            let careful = self.owned.take_over(found, end.flatten().map(|(_, high)| high), scene);
            if is_unclean {
                report::unclean(found, careful);
            }
        }
    }

    /// Asks where the logs start that are taken over; what lies between a committed position and that start is gone. Where
    /// there is no answer in time, the first record that is read tells.
    fn look_for_expired(&mut self, positions: &[CommittedPosition]) {
        let deadline = self.now() + START_WAIT;
        for position in positions {
            let (number, Some(committed)) = (position.partition, position.offset) else { continue };
            let left = deadline.saturating_duration_since(self.now());
            if left.is_zero() {
                return;
            }
            match self.consumer.watermarks(number, left) {
                Ok((low, high)) if low > committed && low <= high => {
                    if let Some(gaps) = self.owned.gaps(number) {
                        gaps.start(Some(low));
                    }
                    report::expired(number, committed, low);
                }
                Ok(_) => {}
                Err(error) => report::start_unknown(number, &error),
            }
        }
    }

    pub(super) fn revoked(&mut self, partitions: Vec<i32>, lost: bool) {
        report::revoked(&partitions, lost);
        if lost {
            // Somebody else may own them already: neither waiting nor committing makes sense.
            self.give_up(&partitions);
            return;
        }
        self.owned.revoked(partitions, self.now());
        self.export();
        fail_point::hit(FailPoint::IngestDuringRevoke, "");
        self.serve_revocation();
    }

    /// One turn of giving partitions up: wait for what is in flight, commit, let go. Posts that outlast the wait may
    /// still publish, which the next owner's work on them repeats to no effect.
    pub(super) fn serve_revocation(&mut self) {
        let Some(mut leaving) = self.owned.leaving(self.now()) else { return };
        if self.last_commit_turn(&leaving.partitions, &mut leaving.attempts) == LastCommit::Waiting {
            self.owned.leaving_waits(leaving.attempts);
            return;
        }
        if let Some(started) = self.owned.end_revocation() {
            report::revocation_done(self.now().saturating_duration_since(started));
        }
        if leaving.unsettled > 0 {
            report::left_in_flight(leaving.unsettled, &leaving.partitions);
        }
        self.give_up(&leaving.partitions);
    }

    fn give_up(&mut self, numbers: &[i32]) {
        for number in numbers {
            self.owned.give_up(*number);
            self.commits.give_up(*number);
            report::partition_is_gone(*number);
        }
        if let Err(error) = self.consumer.release(numbers) {
            self.fail(format!("partitions {numbers:?} cannot be given up: {error}"));
        }
        report::given_up(numbers, self.owned.count());
        self.export();
    }
}
