//! Reading a whole topic, for tools and tests: no group, no commits.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError as Native;
use rdkafka::{Offset, TopicPartitionList};

use crate::context::LogContext;
use crate::groupless::{grouped_reader, partition_watermarks, partitions, reader};
use crate::record::Keep;
use crate::{ClientSettings, KafkaError, PartitionRange, Record, TopicScan};

/// Wait before a coordinator is asked again.
const ASKED_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// Every record of a topic up to the high watermarks at the time of the call, by partition and offset. Blocks; fails
/// when it is not done within `timeout`.
pub fn read_all(client: &ClientSettings, topic: &str, timeout: Duration) -> Result<Vec<Record>, KafkaError> {
    let deadline = Instant::now() + timeout;
    let reader = reader(client)?;
    let mut ends = BTreeMap::new();
    for (partition, (low, high)) in partition_watermarks(&reader, topic, timeout)? {
        if high > low {
            ends.insert(partition, high);
        }
    }
    let mut assignment = TopicPartitionList::with_capacity(ends.len());
    for partition in ends.keys() {
        assignment
            .add_partition_offset(topic, *partition, Offset::Beginning)
            .map_err(|error| KafkaError::broker("assign", error))?;
    }
    reader.assign(&assignment).map_err(|error| KafkaError::broker("assign", error))?;

    let mut records = Vec::new();
    while !ends.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(KafkaError::Timeout { operation: "read topic", waited_ms: timeout.as_millis() as u64 });
        }
        match reader.poll(left.min(Duration::from_millis(200))) {
            None => {}
            Some(Ok(message)) => {
                let record = Record::from_native(&message, Keep::ALL);
                let Some(end) = ends.get(&record.partition).copied() else { continue };
                if record.offset + 1 >= end {
                    ends.remove(&record.partition);
                }
                if record.offset < end {
                    records.push(record);
                }
            }
            // The last offsets of a compacted or transactional log may hold no record at all.
            Some(Err(Native::PartitionEOF(partition))) => {
                ends.remove(&partition);
            }
            Some(Err(error)) => {
                let error = KafkaError::broker("read topic", error);
                if !error.is_retryable() {
                    return Err(error);
                }
            }
        }
    }
    records.sort_by_key(|record| (record.partition, record.offset));
    Ok(records)
}

/// The record at one place; none where there is none (any more). Blocks up to `timeout` for each request.
pub fn read_one(
    client: &ClientSettings,
    topic: &str,
    partition: i32,
    offset: i64,
    timeout: Duration,
) -> Result<Option<Record>, KafkaError> {
    let Some((low, high)) = watermarks(client, topic, timeout)?.remove(&partition) else { return Ok(None) };
    if !(low..high).contains(&offset) {
        return Ok(None);
    }
    let range = PartitionRange { partition, start: offset, end: offset + 1 };
    let found = TopicScan::new(client, topic, &[range], timeout)?.next_record()?;
    Ok(found.filter(|record| record.offset == offset))
}

/// Low and high watermark of every partition of a topic; blocks up to `timeout` for each.
pub fn watermarks(
    client: &ClientSettings,
    topic: &str,
    timeout: Duration,
) -> Result<BTreeMap<i32, (i64, i64)>, KafkaError> {
    partition_watermarks(&reader(client)?, topic, timeout)
}

/// Committed positions of a group in every partition of a topic, without joining it; partitions without one are left
/// out. A coordinator that is only being found or that moves, as for a new group, is asked again until `timeout` is over.
pub fn group_positions(
    client: &ClientSettings,
    group_id: &str,
    topic: &str,
    timeout: Duration,
) -> Result<BTreeMap<i32, i64>, KafkaError> {
    let deadline = Instant::now() + timeout;
    let reader = grouped_reader(client, group_id)?;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match positions_now(&reader, topic, left) {
            Err(error) if error.is_retryable() && left > ASKED_AGAIN_AFTER => std::thread::sleep(ASKED_AGAIN_AFTER),
            asked => return asked,
        }
    }
}

fn positions_now(
    reader: &BaseConsumer<LogContext>,
    topic: &str,
    timeout: Duration,
) -> Result<BTreeMap<i32, i64>, KafkaError> {
    let mut list = TopicPartitionList::new();
    for partition in partitions(reader, topic, timeout)? {
        list.add_partition(topic, partition);
    }
    let list = reader
        .committed_offsets(list, timeout)
        .map_err(|error| KafkaError::broker("fetch committed offsets", error))?;
    let mut positions = BTreeMap::new();
    for element in list.elements() {
        element.error().map_err(|error| KafkaError::broker("fetch committed offsets", error))?;
        if let Offset::Offset(offset) = element.offset() {
            positions.insert(element.partition(), offset);
        }
    }
    Ok(positions)
}
