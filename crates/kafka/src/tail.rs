//! Following a topic from its beginning: for tools and tests that want to know what is there by now, again and again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError as Native;
use rdkafka::{Offset, TopicPartitionList};

use crate::context::LogContext;
use crate::groupless::{partition_watermarks, partitions, reader};
use crate::record::Keep;
use crate::{ClientSettings, KafkaError, Record};

/// A reader of every partition of one topic that keeps its place. No group, no commits.
pub struct TopicTail {
    reader: BaseConsumer<LogContext>,
    /// Asks for the ends, on a connection of its own: a broker answers in order, and a fetch that finds nothing is answered
    /// after half a second.
    asker: BaseConsumer<LogContext>,
    topic: String,
    /// Next offset of each partition.
    next: BTreeMap<i32, i64>,
}

impl TopicTail {
    /// Stands at the beginning of a topic that is there. Blocks up to `timeout` for each request.
    pub fn new(client: &ClientSettings, topic: &str, timeout: Duration) -> Result<Self, KafkaError> {
        let (reader, asker) = (reader(client)?, reader(client)?);
        let mut list = TopicPartitionList::new();
        let mut next = BTreeMap::new();
        for partition in partitions(&reader, topic, timeout)? {
            list.add_partition_offset(topic, partition, Offset::Beginning)
                .map_err(|error| KafkaError::broker("assign", error))?;
            next.insert(partition, 0);
        }
        reader.assign(&list).map_err(|error| KafkaError::broker("assign", error))?;
        Ok(Self { reader, asker, topic: topic.to_owned(), next })
    }

    /// Hands over every record that lies between the last call and the ends as they are at this one, in order within
    /// each partition. Blocks; after an error the next call goes on where this one stood. For topics whose last offset
    /// holds a record: all but those written in transactions.
    pub fn catch_up(&mut self, timeout: Duration, mut take: impl FnMut(Record)) -> Result<(), KafkaError> {
        let deadline = Instant::now() + timeout;
        let ends: BTreeMap<i32, i64> = partition_watermarks(&self.asker, &self.topic, timeout)?
            .into_iter()
            .map(|(partition, (_, high))| (partition, high))
            .collect();
        while self.is_behind(&ends) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(KafkaError::Timeout { operation: "follow topic", waited_ms: timeout.as_millis() as u64 });
            }
            match self.reader.poll(left.min(Duration::from_millis(100))) {
                None => {}
                Some(Ok(message)) => {
                    let record = Record::from_native(&message, Keep::ALL);
                    self.next.insert(record.partition, record.offset + 1);
                    take(record);
                }
                // It tells of an end that may have moved since, and does not say where it was.
                Some(Err(Native::PartitionEOF(_))) => {}
                Some(Err(error)) => {
                    let error = KafkaError::broker("follow topic", error);
                    if !error.is_retryable() {
                        return Err(error);
                    }
                }
            }
        }
        Ok(())
    }

    /// Offsets after the last record that was handed over, by partition.
    pub fn positions(&self) -> &BTreeMap<i32, i64> {
        &self.next
    }

    fn is_behind(&self, ends: &BTreeMap<i32, i64>) -> bool {
        self.next.iter().any(|(partition, next)| ends.get(partition).is_some_and(|end| next < end))
    }
}
