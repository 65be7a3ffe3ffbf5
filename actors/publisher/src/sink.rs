use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::{BoxFuture, ready};
use jtav_kafka::{KafkaError, OutboundRecord, Producer};

/// Where records go: the Kafka producer, or a recording fake in tests.
pub trait RecordSink: Send + Sync {
    /// `Ok` when the broker has acknowledged the record. A future that is dropped does not take the record back.
    fn send(&self, record: Arc<OutboundRecord>) -> BoxFuture<'static, Result<(), KafkaError>>;

    /// As [`Self::send`], apart from all other records: a topic refuses what comes together as a whole. In no order with what
    /// [`Self::send`] takes.
    fn send_alone(&self, record: Arc<OutboundRecord>) -> BoxFuture<'static, Result<(), KafkaError>> {
        self.send(record)
    }

    /// Bytes of the largest record that a topic takes as far as is known, as [`OutboundRecord::size`] counts them.
    fn max_record_bytes(&self, _topic: &str) -> u64 {
        u64::MAX
    }

    /// Asks again what topics take, at most once a minute. May be dropped at any point.
    fn ask_limits(&self, _topics: Vec<String>) -> BoxFuture<'static, Result<(), KafkaError>> {
        ready(Ok(())).boxed()
    }
}

impl RecordSink for Producer {
    fn send(&self, record: Arc<OutboundRecord>) -> BoxFuture<'static, Result<(), KafkaError>> {
        let producer = self.clone();
        async move { Producer::send(&producer, record).await.map(drop) }.boxed()
    }

    fn send_alone(&self, record: Arc<OutboundRecord>) -> BoxFuture<'static, Result<(), KafkaError>> {
        let producer = self.clone();
        async move { Producer::send_alone(&producer, record).await.map(drop) }.boxed()
    }

    fn max_record_bytes(&self, topic: &str) -> u64 {
        Producer::max_record_bytes(self, topic)
    }

    fn ask_limits(&self, topics: Vec<String>) -> BoxFuture<'static, Result<(), KafkaError>> {
        let producer = self.clone();
        async move { Producer::ask_limits(&producer, topics).await }.boxed()
    }
}
