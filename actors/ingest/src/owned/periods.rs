//! Periods of ownership: partitions come and go.

use std::time::{Duration, Instant};

use jtav_delivery::PartitionLedger;
use jtav_kafka::{CommittedPosition, PartitionRange, StartOffset};

use super::Owned;
use crate::case::Scene;
use crate::commits::Attempts;
use crate::expired::Gaps;
use crate::handover::{Offer, Revocation};
use crate::partition::Partition;
use crate::suspects::Careful;

/// Partitions that are drained, or were waited for long enough.
#[derive(Debug)]
pub(crate) struct Leaving {
    pub(crate) partitions: Vec<i32>,
    pub(crate) unsettled: usize,
    pub(crate) attempts: Attempts,
}

/// Partitions that come.
impl Owned {
    /// Partitions are offered.
    pub(crate) fn offered(&mut self, partitions: Vec<i32>, now: Instant) {
        self.offer = Some(Offer::new(partitions, now));
    }

    /// Those whose committed positions are to be asked for now.
    pub(crate) fn offer_due(&self, now: Instant) -> Option<Vec<i32>> {
        self.offer.as_ref()?.due(now)
    }

    /// There was no answer. Gives for how long there has been none.
    pub(crate) fn offer_unanswered(&mut self, now: Instant) -> Duration {
        self.offer.as_mut().map_or(Duration::ZERO, |offer| offer.unanswered(now))
    }

    /// Where reading starts, each from its committed position; the offer is answered with this.
    pub(crate) fn answer_offer(&mut self, positions: &[CommittedPosition]) -> Vec<(i32, StartOffset)> {
        self.offer = None;
        let start = |found: &CommittedPosition| {
            let start = self.left_of(found).map(|range| range.start).or(found.offset);
            (found.partition, start.map_or(StartOffset::Beginning, StartOffset::At))
        };
        positions.iter().map(start).collect()
    }

    /// What there is to read of a partition, where that is not everything.
    fn left_of(&self, found: &CommittedPosition) -> Option<PartitionRange> {
        self.settings.offset_range.as_ref().map(|offset_range| offset_range.left_of(found.partition, found.offset))
    }

    /// Whether the last owner of a partition did not say goodbye; then [`Self::take_over`] wants to know its end.
    pub(crate) fn is_unclean(&self, found: &CommittedPosition) -> bool {
        self.searches.is_unclean(found)
    }

    /// Begins to own a partition, with its end as far as that is known. Gives how it is gone over, if it is.
    pub(crate) fn take_over(&mut self, found: &CommittedPosition, high: Option<i64>, scene: Scene) -> Option<Careful> {
        let scene = self.scene(scene);
        self.searches.take_over(found, high, scene);
        let (epoch, limit) = (self.next_epoch(), self.settings.max_in_flight_per_partition);
        let mut partition = Partition::new(PartitionLedger::new(found.partition, epoch, limit), found.offset);
        if let Some(range) = self.left_of(found) {
            partition.read_only(range);
        }
        self.partitions.insert(found.partition, partition);
        self.searches.careful(found.partition)
    }

    /// What was expected of a partition and not read.
    pub(crate) fn gaps(&mut self, number: i32) -> Option<&mut Gaps> {
        self.partitions.get_mut(&number).map(Partition::gaps)
    }
}

/// Partitions that go.
impl Owned {
    /// Partitions must be given up. Nothing of them is let in any more.
    pub(crate) fn revoked(&mut self, partitions: Vec<i32>, now: Instant) {
        let patience = Duration::from_millis(self.settings.drain_timeout_ms);
        self.revocation = Some(Revocation::new(partitions, patience, now));
    }

    /// Partitions that wait for nothing but their last commit.
    pub(crate) fn leaving(&self, now: Instant) -> Option<Leaving> {
        let revocation = self.revocation.as_ref()?;
        let partitions = revocation.partitions().to_vec();
        let unsettled =
            partitions.iter().filter_map(|number| self.partitions.get(number)).map(Partition::unsettled).sum();
        let attempts = revocation.last_commit(now);
        revocation.is_drained(unsettled, now).then_some(Leaving { partitions, unsettled, attempts })
    }

    /// Their last commit is not through yet.
    pub(crate) fn leaving_waits(&mut self, attempts: Attempts) {
        if let Some(revocation) = &mut self.revocation {
            revocation.set_last_commit(attempts);
        }
    }

    /// The revocation is answered. Gives when it came.
    pub(crate) fn end_revocation(&mut self) -> Option<Instant> {
        self.revocation.take().map(|revocation| revocation.started())
    }

    /// Ends the ownership period: settlements that come from now on find no ledger.
    pub(crate) fn give_up(&mut self, number: i32) {
        self.partitions.remove(&number);
        self.searches.give_up(number);
    }
}
