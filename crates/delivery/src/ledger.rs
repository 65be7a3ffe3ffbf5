use std::collections::{BTreeSet, VecDeque};

use crate::{AssignmentEpoch, DeliveryTag, Outcome};

/// What a settlement did to the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettleEffect {
    /// Counted; the commit position may have moved.
    Settled,
    /// The record was abandoned: intake of the partition must go back to [`PartitionLedger::rewind_position`].
    Abandoned,
    /// Of an earlier ownership period, or a second settlement of the same record: ignored (L3, L4).
    Ignored,
}

#[derive(Debug)]
struct Entry {
    offset: i64,
    settled: bool,
}

/// Unsettled records of one partition in one ownership period, in order of receipt.
///
/// Offsets may have gaps (compaction, transaction markers), so nothing here does arithmetic on neighbours: only the
/// order of receipt counts (L6). One owner, the poll thread; not synchronised.
///
/// Invariants: L1 the commit position never passes an unsettled offset; L2 it never decreases in a period; L3 nothing
/// is emitted for a period that is over; L4 settling twice changes nothing; L5 `pending() <= limit`, which the owner
/// keeps by asking [`has_room`](Self::has_room); L6 gaps do not stall it; L7 with everything settled the commit
/// position is the last offset + 1.
#[derive(Debug)]
pub struct PartitionLedger {
    partition: i32,
    epoch: AssignmentEpoch,
    entries: VecDeque<Entry>,
    unsettled: BTreeSet<i64>,
    commit_position: Option<i64>,
    committed: Option<i64>,
    limit: usize,
    abandoned: bool,
}

impl PartitionLedger {
    /// An empty ledger for one ownership period; `limit` bounds the unsettled records (L5).
    pub fn new(partition: i32, epoch: AssignmentEpoch, limit: usize) -> Self {
        Self {
            partition,
            epoch,
            entries: VecDeque::new(),
            unsettled: BTreeSet::new(),
            commit_position: None,
            committed: None,
            limit: limit.max(1),
            abandoned: false,
        }
    }

    /// Registers a received record and returns its tag. Offsets arrive in rising order within a period; a repeated or
    /// lower one gives `None`, and the caller drops the record: it is already in hand.
    pub fn receive(&mut self, offset: i64) -> Option<DeliveryTag> {
        let last = self.entries.back().map(|entry| entry.offset).or(self.commit_position.map(|next| next - 1));
        if last.is_some_and(|last| offset <= last) {
            return None;
        }
        self.entries.push_back(Entry { offset, settled: false });
        self.unsettled.insert(offset);
        Some(DeliveryTag { partition: self.partition, offset, epoch: self.epoch })
    }

    /// Takes a settlement. Late ones of another period and repeated ones are ignored.
    pub fn settle(&mut self, tag: DeliveryTag, outcome: Outcome) -> SettleEffect {
        if tag.epoch != self.epoch || tag.partition != self.partition || !self.unsettled.contains(&tag.offset) {
            return SettleEffect::Ignored;
        }
        if !outcome.is_settled() {
            self.abandoned = true;
            return SettleEffect::Abandoned;
        }
        self.unsettled.remove(&tag.offset);
        if let Ok(index) = self.entries.binary_search_by_key(&tag.offset, |entry| entry.offset) {
            self.entries[index].settled = true;
        }
        while let Some(front) = self.entries.front().filter(|entry| entry.settled) {
            self.commit_position = Some(front.offset + 1);
            self.entries.pop_front();
        }
        SettleEffect::Settled
    }

    /// The next offset to commit (Kafka's convention: the one to read next), if it moved since [`Self::committed`].
    pub fn commit_due(&self) -> Option<i64> {
        self.commit_position.filter(|position| self.committed.is_none_or(|committed| committed < *position))
    }

    /// The same whether the broker has it or not; none before a first record is settled.
    pub fn commit_position(&self) -> Option<i64> {
        self.commit_position
    }

    /// Notes that the broker took `position`.
    pub fn committed(&mut self, position: i64) {
        if self.committed.is_none_or(|committed| committed < position) {
            self.committed = Some(position);
        }
    }

    /// Where to seek after an abandonment: the lowest offset that is not settled.
    pub fn rewind_position(&self) -> Option<i64> {
        self.unsettled.first().copied()
    }

    /// True once a record of this period was abandoned; the owner seeks back and starts a new period.
    pub fn is_abandoned(&self) -> bool {
        self.abandoned
    }

    /// True while another record may be received (L5).
    pub fn has_room(&self) -> bool {
        self.unsettled.len() < self.limit
    }

    /// Records received and not settled.
    pub fn pending(&self) -> usize {
        self.unsettled.len()
    }

    /// Records received since the oldest unsettled one, settled or not: what a crash now would bring again.
    pub fn window(&self) -> usize {
        self.entries.len()
    }

    /// The ownership period.
    pub fn epoch(&self) -> AssignmentEpoch {
        self.epoch
    }
}
