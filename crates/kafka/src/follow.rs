//! Following a topic live from given positions: for servers that hand records on. No group, no commits.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError as Native;
use rdkafka::{Offset, TopicPartitionList};

use crate::context::LogContext;
use crate::groupless::{partition_watermarks, partitions, reader};
use crate::record::Keep;
use crate::{ClientSettings, KafkaError, Record};

/// Between two looks for new partitions.
const LOOK_FOR_PARTITIONS: Duration = Duration::from_secs(30);
/// What a look may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);

/// A reader of every partition of one topic that goes on for ever, and knows when it has caught up.
pub struct TopicFollower {
    reader: BaseConsumer<LogContext>,
    topic: String,
    keep: Keep,
    /// Next offset of each partition.
    next: BTreeMap<i32, i64>,
    /// High watermarks at the start that have not been reached yet.
    behind: BTreeMap<i32, i64>,
    last_look: Instant,
}

/// What a poll came to.
#[derive(Debug)]
pub enum Followed {
    /// A record.
    Record(Record),
    /// Nothing for as long as was waited.
    Nothing,
}

impl TopicFollower {
    /// Stands at `starts`; a partition that is not named there stands at its beginning. Records larger than `max_bytes`
    /// are cut. Blocks up to `timeout` for each request.
    ///
    /// # Errors
    /// No broker, no such topic.
    pub fn new(
        client: &ClientSettings,
        topic: &str,
        starts: &BTreeMap<i32, i64>,
        max_bytes: u64,
        timeout: Duration,
    ) -> Result<Self, KafkaError> {
        let reader = reader(client)?;
        let marks = partition_watermarks(&reader, topic, timeout)?;
        let (mut next, mut behind) = (BTreeMap::new(), BTreeMap::new());
        for (partition, (low, high)) in marks {
            let start = starts.get(&partition).copied().unwrap_or(low).clamp(low, high);
            next.insert(partition, start);
            if start < high {
                behind.insert(partition, high);
            }
        }
        let keep = Keep { bytes: max_bytes, ..Keep::ALL };
        let follower = Self { reader, topic: topic.to_owned(), keep, next, behind, last_look: Instant::now() };
        follower.assign()?;
        Ok(follower)
    }

    /// The next record, waited for up to `wait`. Blocks.
    ///
    /// # Errors
    /// What does not pass by itself; the follower is of no use then. What passes (a broker that is away) is waited out
    /// as [`Followed::Nothing`].
    pub fn poll(&mut self, wait: Duration) -> Result<Followed, KafkaError> {
        if self.last_look.elapsed() >= LOOK_FOR_PARTITIONS {
            self.last_look = Instant::now();
            self.take_new_partitions()?;
        }
        match self.reader.poll(wait) {
            None => Ok(Followed::Nothing),
            Some(Ok(message)) => {
                let record = Record::from_native(&message, self.keep);
                self.next.insert(record.partition, record.offset + 1);
                if self.behind.get(&record.partition).is_some_and(|end| record.offset + 1 >= *end) {
                    self.behind.remove(&record.partition);
                }
                Ok(Followed::Record(record))
            }
            // The last offsets of a compacted log may hold no record at all.
            Some(Err(Native::PartitionEOF(partition))) => {
                self.behind.remove(&partition);
                Ok(Followed::Nothing)
            }
            Some(Err(error)) => {
                let error = KafkaError::broker("follow topic", error);
                if error.is_retryable() { Ok(Followed::Nothing) } else { Err(error) }
            }
        }
    }

    /// Whether every record that was there at the start has been handed over.
    pub fn has_caught_up(&self) -> bool {
        self.behind.is_empty()
    }

    /// Offsets after the last record that was handed over, by partition.
    pub fn positions(&self) -> &BTreeMap<i32, i64> {
        &self.next
    }

    /// Whether the brokers answer. Blocks up to `timeout`.
    pub fn is_reachable(&self, timeout: Duration) -> bool {
        self.reader.fetch_metadata(Some(&self.topic), timeout).is_ok()
    }

    fn assign(&self) -> Result<(), KafkaError> {
        let failed = |error| KafkaError::broker("assign", error);
        let mut list = TopicPartitionList::with_capacity(self.next.len());
        for (partition, offset) in &self.next {
            list.add_partition_offset(&self.topic, *partition, Offset::Offset(*offset)).map_err(failed)?;
        }
        self.reader.assign(&list).map_err(failed)
    }

    /// A broker that does not answer now has no news.
    fn take_new_partitions(&mut self) -> Result<(), KafkaError> {
        let Ok(found) = partitions(&self.reader, &self.topic, LOOK_TIMEOUT) else { return Ok(()) };
        let new: BTreeSet<i32> = found.into_iter().filter(|partition| !self.next.contains_key(partition)).collect();
        if new.is_empty() {
            return Ok(());
        }
        self.next.extend(new.into_iter().map(|partition| (partition, 0)));
        self.assign()
    }
}

/// Reads single records by their place, again and again, over one connection.
pub struct RecordReader {
    reader: BaseConsumer<LogContext>,
    topic: String,
    keep: Keep,
}

impl RecordReader {
    /// Makes the client; no network call is waited for. Records larger than `max_bytes` are cut.
    ///
    /// # Errors
    /// Settings that no client can be made of.
    pub fn new(client: &ClientSettings, topic: &str, max_bytes: u64) -> Result<Self, KafkaError> {
        let mut client = client.clone();
        // A broker answers in order: a fetch ahead that finds nothing would hold the next question up for half a second.
        for (key, value) in
            [("fetch.wait.max.ms", "5"), ("queued.min.messages", "1"), ("fetch.message.max.bytes", "65536")]
        {
            client.librdkafka.entry(key.to_owned()).or_insert_with(|| value.to_owned());
        }
        Ok(Self { reader: reader(&client)?, topic: topic.to_owned(), keep: Keep { bytes: max_bytes, ..Keep::ALL } })
    }

    /// The record at one place; none where there is none (any more). Blocks up to `timeout` for each of two requests.
    ///
    /// # Errors
    /// No answer in time.
    pub fn read(&self, partition: i32, offset: i64, timeout: Duration) -> Result<Option<Record>, KafkaError> {
        let failed = |error| KafkaError::broker("read record", error);
        let marks = match self.reader.fetch_watermarks(&self.topic, partition, timeout) {
            Ok(marks) => marks,
            // The topic has been made anew with fewer partitions.
            Err(Native::MetadataFetch(rdkafka::types::RDKafkaErrorCode::UnknownPartition)) => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        if !(marks.0..marks.1).contains(&offset) {
            return Ok(None);
        }
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition_offset(&self.topic, partition, Offset::Offset(offset)).map_err(failed)?;
        self.reader.assign(&list).map_err(failed)?;
        let found = self.await_record(partition, offset, timeout);
        // Nothing is fetched ahead while nobody asks.
        let _ = self.reader.unassign();
        found
    }

    fn await_record(&self, partition: i32, offset: i64, timeout: Duration) -> Result<Option<Record>, KafkaError> {
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(KafkaError::Timeout { operation: "read record", waited_ms: timeout.as_millis() as u64 });
            }
            match self.reader.poll(left) {
                Some(Ok(message)) => {
                    let record = Record::from_native(&message, self.keep);
                    // What an earlier question left in the queue is passed over.
                    if record.partition == partition && record.offset >= offset {
                        return Ok(Some(record).filter(|record| record.offset == offset));
                    }
                }
                Some(Err(Native::PartitionEOF(end))) if end == partition => return Ok(None),
                Some(Err(error)) if !matches!(error, Native::PartitionEOF(_)) => {
                    let error = KafkaError::broker("read record", error);
                    if !error.is_retryable() {
                        return Err(error);
                    }
                }
                _ => {}
            }
        }
    }
}
