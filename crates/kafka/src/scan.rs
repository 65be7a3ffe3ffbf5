//! Reading a topic record by record, partition after partition, up to the end that it had when asked: for topics that
//! do not fit into memory. No group, no commits.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError as Native;
use rdkafka::{Offset, TopicPartitionList};

use crate::context::LogContext;
use crate::groupless::{partition_watermarks, reader};
use crate::record::Keep;
use crate::{ClientSettings, KafkaError, Record};

/// Longest stay in one poll.
const POLL: Duration = Duration::from_millis(200);

/// Offsets of one partition, `start` included and `end` not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionRange {
    pub partition: i32,
    /// First offset.
    pub start: i64,
    /// The offset after the last.
    pub end: i64,
}

impl PartitionRange {
    /// Offsets in it; gaps of a compacted log count.
    pub fn len(&self) -> u64 {
        u64::try_from(self.end.saturating_sub(self.start)).unwrap_or(0)
    }

    /// No offset at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What every partition of a topic holds now, by partition: from the first record that is as young as `since_ms`
/// (milliseconds since 1970), or from the beginning. Blocks up to `timeout` for each request.
pub fn partition_ranges(
    client: &ClientSettings,
    topic: &str,
    since_ms: Option<i64>,
    timeout: Duration,
) -> Result<Vec<PartitionRange>, KafkaError> {
    let reader = reader(client)?;
    let mut ranges: Vec<PartitionRange> = partition_watermarks(&reader, topic, timeout)?
        .into_iter()
        .map(|(partition, (start, end))| PartitionRange { partition, start, end })
        .collect();
    if let Some(since_ms) = since_ms {
        let firsts = offsets_of_time(&reader, topic, since_ms, timeout, &ranges)?;
        for (range, first) in ranges.iter_mut().zip(firsts) {
            range.start = first;
        }
    }
    Ok(ranges)
}

/// As [`partition_ranges`], up to the first record that is as young as `until_ms`.
pub fn partition_ranges_between(
    client: &ClientSettings,
    topic: &str,
    since_ms: Option<i64>,
    until_ms: Option<i64>,
    timeout: Duration,
) -> Result<Vec<PartitionRange>, KafkaError> {
    let mut ranges = partition_ranges(client, topic, since_ms, timeout)?;
    if let Some(until_ms) = until_ms {
        let ends = offsets_of_time(&reader(client)?, topic, until_ms, timeout, &ranges)?;
        for (range, end) in ranges.iter_mut().zip(ends) {
            range.end = end;
        }
    }
    Ok(ranges)
}

/// For each range the first offset in it whose record is as young as `time_ms`; its end, if none is.
fn offsets_of_time(
    reader: &BaseConsumer<LogContext>,
    topic: &str,
    time_ms: i64,
    timeout: Duration,
    ranges: &[PartitionRange],
) -> Result<Vec<i64>, KafkaError> {
    let failed = |error| KafkaError::broker("find offsets of a time", error);
    let mut times = TopicPartitionList::with_capacity(ranges.len());
    for range in ranges {
        times.add_partition_offset(topic, range.partition, Offset::Offset(time_ms)).map_err(failed)?;
    }
    let found = reader.offsets_for_times(times, timeout).map_err(failed)?;
    let first_in = |range: &PartitionRange| {
        let Some(element) = found.find_partition(topic, range.partition) else { return Ok(range.start) };
        element.error().map_err(failed)?;
        Ok(match element.offset() {
            Offset::Offset(offset) => offset.clamp(range.start, range.end.max(range.start)),
            // No record is as young.
            _ => range.end,
        })
    };
    ranges.iter().map(first_in).collect()
}

/// A walk over ranges of a topic in their order.
pub struct TopicScan {
    reader: BaseConsumer<LogContext>,
    topic: String,
    left: VecDeque<PartitionRange>,
    /// Whether the first of `left` is assigned.
    assigned: bool,
    patience: Duration,
}

impl TopicScan {
    /// Makes the client; no network call is waited for. `patience` bounds every wait for a record.
    pub fn new(
        client: &ClientSettings,
        topic: &str,
        ranges: &[PartitionRange],
        patience: Duration,
    ) -> Result<Self, KafkaError> {
        let left = ranges.iter().copied().filter(|range| !range.is_empty()).collect();
        Ok(Self { reader: reader(client)?, topic: topic.to_owned(), left, assigned: false, patience })
    }

    /// The next record; none after the last. Blocks; fails when the broker gives nothing for the patience of this scan.
    pub fn next_record(&mut self) -> Result<Option<Record>, KafkaError> {
        while let Some(range) = self.left.front().copied() {
            if !self.assigned {
                self.assign(range)?;
            }
            let record = self.poll_within(range)?;
            // The last offsets of a compacted or transactional log may hold no record at all.
            if record.as_ref().is_none_or(|record| record.offset + 1 >= range.end) {
                self.left.pop_front();
                self.assigned = false;
            }
            if let Some(record) = record.filter(|record| record.offset < range.end) {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    fn assign(&mut self, range: PartitionRange) -> Result<(), KafkaError> {
        let failed = |error| KafkaError::broker("assign", error);
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition_offset(&self.topic, range.partition, Offset::Offset(range.start)).map_err(failed)?;
        self.reader.assign(&list).map_err(failed)?;
        self.assigned = true;
        Ok(())
    }

    /// A record of the partition, or none at its end.
    fn poll_within(&self, range: PartitionRange) -> Result<Option<Record>, KafkaError> {
        let deadline = Instant::now() + self.patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let waited_ms = self.patience.as_millis() as u64;
                return Err(KafkaError::Timeout { operation: "read topic", waited_ms });
            }
            match self.reader.poll(left.min(POLL)) {
                Some(Ok(message)) => {
                    let record = Record::from_native(&message, Keep::ALL);
                    if record.partition == range.partition && record.offset >= range.start {
                        return Ok(Some(record));
                    }
                }
                Some(Err(Native::PartitionEOF(partition))) if partition == range.partition => return Ok(None),
                Some(Err(error)) if !matches!(error, Native::PartitionEOF(_)) => {
                    let error = KafkaError::broker("read topic", error);
                    if !error.is_retryable() {
                        return Err(error);
                    }
                }
                _ => {}
            }
        }
    }
}
