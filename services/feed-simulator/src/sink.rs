use std::sync::{Mutex, PoisonError};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use jtav_kafka::{OutboundRecord, Producer};

use crate::feed::FeedRecord;

/// Where a feed goes.
pub trait FeedSink: Send + Sync {
    /// Hands a record over on the first poll, in the order of first polls; done when it is acknowledged. Dropping the
    /// future does not take the record back.
    fn send(&self, record: FeedRecord) -> BoxFuture<'_, anyhow::Result<()>>;
}

/// A Kafka topic.
#[derive(Debug, Clone)]
pub struct KafkaSink {
    producer: Producer,
    topic: String,
}

impl KafkaSink {
    /// Produces to `topic`; the key decides the partition.
    pub fn new(producer: Producer, topic: impl Into<String>) -> Self {
        Self { producer, topic: topic.into() }
    }
}

impl FeedSink for KafkaSink {
    fn send(&self, record: FeedRecord) -> BoxFuture<'_, anyhow::Result<()>> {
        let record = OutboundRecord {
            topic: self.topic.clone(),
            partition: None,
            key: Some(record.key),
            value: Some(record.value),
            headers: record.headers,
            timestamp_ms: record.timestamp_ms,
        };
        async move {
            self.producer.send(record).await?;
            Ok(())
        }
        .boxed()
    }
}

/// Keeps the records, for tests and dry runs.
#[derive(Debug, Default)]
pub struct MemorySink {
    records: Mutex<Vec<FeedRecord>>,
}

impl MemorySink {
    /// What was sent so far, in order.
    pub fn records(&self) -> Vec<FeedRecord> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl FeedSink for MemorySink {
    fn send(&self, record: FeedRecord) -> BoxFuture<'_, anyhow::Result<()>> {
        async move {
            self.records.lock().unwrap_or_else(PoisonError::into_inner).push(record);
            Ok(())
        }
        .boxed()
    }
}
