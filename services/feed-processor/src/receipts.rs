//! The latest receipts of erasures, read from their topic on a thread of their own.

use std::time::{Duration, Instant};

use jtav_kafka::{ClientSettings, KafkaError, PartitionRange, Record, TopicScan, partition_ranges};
use tokio::sync::mpsc;

/// Longest wait for one answer of the broker.
const PATIENCE: Duration = Duration::from_secs(10);
/// Records that wait to be looked at.
const AHEAD: usize = 64;

/// Hands over every record of a topic from `since_ms` on, first what is there now, then what has come by `until`. Ends
/// after the last one, or after an error. The thread ends when the receiver is dropped, after one more answer of the broker.
pub(crate) fn follow(
    client: ClientSettings,
    topic: String,
    since_ms: i64,
    until: Instant,
) -> mpsc::Receiver<Result<Record, KafkaError>> {
    let (records, receiver) = mpsc::channel(AHEAD);
    // Not one of the runtime's threads: it would be waited for when the process ends.
    let reading = std::thread::Builder::new().name("erasures".to_owned()).spawn(move || {
        if let Err(error) = read(&client, &topic, since_ms, until, &records) {
            let _ = records.blocking_send(Err(error));
        }
    });
    if let Err(error) = reading {
        // The sender went with the closure, and an end without records would look like a topic without any.
        let (records, receiver) = mpsc::channel(1);
        let _ = records.try_send(Err(KafkaError::InvalidSettings(format!("no thread to read with: {error}"))));
        return receiver;
    }
    receiver
}

fn read(
    client: &ClientSettings,
    topic: &str,
    since_ms: i64,
    until: Instant,
    records: &mpsc::Sender<Result<Record, KafkaError>>,
) -> Result<(), KafkaError> {
    let ranges = partition_ranges(client, topic, Some(since_ms), PATIENCE)?;
    if !hand_over(client, topic, &ranges, records)? {
        return Ok(());
    }
    while Instant::now() < until {
        if records.is_closed() {
            return Ok(());
        }
        std::thread::sleep(until.saturating_duration_since(Instant::now()).min(Duration::from_millis(200)));
    }
    let later = after(&ranges, partition_ranges(client, topic, None, PATIENCE)?);
    hand_over(client, topic, &later, records).map(drop)
}

/// What has come since `before` was taken; all of a partition that is new.
fn after(before: &[PartitionRange], now: Vec<PartitionRange>) -> Vec<PartitionRange> {
    let begun = |range: PartitionRange| {
        let old = before.iter().find(|old| old.partition == range.partition);
        PartitionRange { start: old.map_or(range.start, |old| old.end.max(range.start)), ..range }
    };
    now.into_iter().map(begun).collect()
}

/// False if nobody listens any more.
fn hand_over(
    client: &ClientSettings,
    topic: &str,
    ranges: &[PartitionRange],
    records: &mpsc::Sender<Result<Record, KafkaError>>,
) -> Result<bool, KafkaError> {
    let mut scan = TopicScan::new(client, topic, ranges, PATIENCE)?;
    while let Some(record) = scan.next_record()? {
        if records.blocking_send(Ok(record)).is_err() {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_later_begins_where_the_first_look_ended_and_new_partitions_at_their_beginning() {
        let range = |partition, start, end| PartitionRange { partition, start, end };
        let before = [range(0, 5, 9), range(1, 0, 0), range(3, 2, 4)];
        let now = vec![range(0, 0, 12), range(1, 0, 1), range(2, 7, 8), range(3, 6, 9)];
        assert_eq!(after(&before, now), [range(0, 9, 12), range(1, 0, 1), range(2, 7, 8), range(3, 6, 9)]);
    }
}
