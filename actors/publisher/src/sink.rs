use futures::FutureExt as _;
use futures::future::BoxFuture;
use jtav_kafka::{KafkaError, OutboundRecord, Producer};

/// Where records go: the Kafka producer, or a recording fake in tests.
pub trait RecordSink: Send + Sync {
    /// `Ok` when the broker has acknowledged the record. A future that is dropped does not take the record back.
    fn send(&self, record: OutboundRecord) -> BoxFuture<'static, Result<(), KafkaError>>;
}

impl RecordSink for Producer {
    fn send(&self, record: OutboundRecord) -> BoxFuture<'static, Result<(), KafkaError>> {
        let producer = self.clone();
        async move { Producer::send(&producer, record).await.map(drop) }.boxed()
    }
}
