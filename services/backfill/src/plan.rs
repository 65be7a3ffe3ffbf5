//! What there is to read.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use jtav_ingest::OffsetRange;
use jtav_kafka::{ClientSettings, PartitionRange, group_positions, partition_ranges, partition_ranges_between};

/// The input topic, and how to reach it.
#[derive(Debug, Clone)]
pub struct InputTopic {
    pub client: ClientSettings,
    pub name: String,
    /// Longest wait for any one answer.
    pub patience: Duration,
}

/// The work as it stood when it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// All that the topic holds.
    pub log: Vec<PartitionRange>,
    /// What was asked for.
    pub ranges: Vec<PartitionRange>,
    /// Where the group stands.
    pub positions: BTreeMap<i32, i64>,
}

impl InputTopic {
    /// Asks the brokers; from the first record as young as `from_ms` to the first as young as `to_ms` (milliseconds since
    /// 1970), by default all that is there. Blocks.
    ///
    /// # Errors
    /// Brokers that do not answer, a topic that does not exist.
    pub fn plan(&self, group_id: &str, from_ms: Option<i64>, to_ms: Option<i64>) -> anyhow::Result<Plan> {
        let place = || format!("input topic `{}` at {}", self.name, self.client.brokers);
        Ok(Plan {
            log: partition_ranges(&self.client, &self.name, None, self.patience).with_context(place)?,
            ranges: partition_ranges_between(&self.client, &self.name, from_ms, to_ms, self.patience)
                .with_context(place)?,
            positions: self.positions(group_id)?,
        })
    }

    /// Where a group stands. Blocks.
    ///
    /// # Errors
    /// Brokers that do not answer.
    pub fn positions(&self, group_id: &str) -> anyhow::Result<BTreeMap<i32, i64>> {
        group_positions(&self.client, group_id, &self.name, self.patience)
            .with_context(|| format!("positions of the group `{group_id}`"))
    }
}

impl Plan {
    /// Offsets of the offset range; those without a record count.
    pub fn records(&self) -> u64 {
        self.ranges.iter().map(PartitionRange::len).sum()
    }

    /// What the group has not read of the offset range.
    pub fn left(&self) -> Vec<PartitionRange> {
        let ranges = self.ingest_range();
        let left = |range: &PartitionRange| {
            let position = self.positions.get(&range.partition).copied();
            let left = ranges.left_of(range.partition, position);
            PartitionRange { start: left.start.min(range.end.max(range.start)), ..left }
        };
        self.ranges.iter().map(left).collect()
    }

    /// Offsets of the offset range that the group has read before.
    pub fn done_before(&self) -> u64 {
        self.records() - self.left().iter().map(PartitionRange::len).sum::<u64>()
    }

    pub(crate) fn ingest_range(&self) -> OffsetRange {
        OffsetRange::new(self.ranges.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(partition: i32, start: i64, end: i64) -> PartitionRange {
        PartitionRange { partition, start, end }
    }

    fn plan(ranges: &[PartitionRange], positions: &[(i32, i64)]) -> Plan {
        Plan { log: Vec::new(), ranges: ranges.to_vec(), positions: positions.iter().copied().collect() }
    }

    #[test]
    fn a_first_call_has_all_of_the_offset_range_before_it() {
        let plan = plan(&[range(0, 5, 9), range(1, 0, 0)], &[]);
        assert_eq!((plan.records(), plan.done_before()), (4, 0));
        assert_eq!(plan.left(), [range(0, 5, 9), range(1, 0, 0)]);
    }

    #[test]
    fn a_second_call_goes_on_where_the_group_stands() {
        let plan = plan(&[range(0, 5, 9), range(1, 0, 7), range(2, 3, 8)], &[(0, 7), (1, 7), (2, 1)]);
        assert_eq!(plan.left(), [range(0, 7, 9), range(1, 7, 7), range(2, 3, 8)]);
        assert_eq!((plan.records(), plan.done_before()), (16, 9));
    }

    #[test]
    fn a_group_that_stands_behind_the_end_has_nothing_left() {
        let plan = plan(&[range(0, 5, 9)], &[(0, 50)]);
        assert_eq!((plan.done_before(), plan.left()[0].len()), (4, 0));
    }
}
