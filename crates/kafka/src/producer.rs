use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};

use crate::context::LogContext;
use crate::meter::{self, Meter};
use crate::{ClientSettings, KafkaError, OutboundRecord};

/// Queue, batching and patience of a [`Producer`]. Acknowledgement by all replicas, idempotence and the hash of the
/// keys are not up for choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerSettings {
    /// A record that is not acknowledged by then is reported as failed; counted from [`Producer::send`].
    pub delivery_timeout_ms: u32,
    /// Time a batch waits for more records.
    pub linger_ms: u32,
    /// Records that may wait in the client.
    pub queue_max_messages: u32,
    /// KiB that may wait in the client.
    pub queue_max_kbytes: u32,
    /// Largest record the client takes; the topic's `max.message.bytes` must allow as much.
    pub max_record_bytes: u32,
}

impl Default for ProducerSettings {
    fn default() -> Self {
        Self {
            delivery_timeout_ms: 30_000,
            linger_ms: 5,
            queue_max_messages: 20_000,
            queue_max_kbytes: 65_536,
            // A dead letter is the original record (up to 1 MiB) with headers; the broker's own default is 1,048,588.
            max_record_bytes: 1_048_588,
        }
    }
}

/// Where a record came to lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivered {
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
}

/// Idempotent producer: within its life no retry duplicates or reorders records of a partition. Cheap to clone.
#[derive(Clone)]
pub struct Producer {
    native: FutureProducer<LogContext>,
    delivery_timeout: Duration,
    meter: Option<Arc<Meter>>,
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer").field("in_flight", &self.native.in_flight_count()).finish_non_exhaustive()
    }
}

impl Producer {
    /// Makes the client. No network call is waited for.
    pub fn new(client: &ClientSettings, settings: &ProducerSettings) -> Result<Self, KafkaError> {
        let mut config = client.config()?;
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("partitioner", "murmur2_random")
            .set("delivery.timeout.ms", settings.delivery_timeout_ms.to_string());
        for (key, value) in [
            ("compression.type", "zstd".to_owned()),
            ("linger.ms", settings.linger_ms.to_string()),
            ("queue.buffering.max.messages", settings.queue_max_messages.to_string()),
            ("queue.buffering.max.kbytes", settings.queue_max_kbytes.to_string()),
            ("message.max.bytes", settings.max_record_bytes.to_string()),
        ] {
            if config.get(key).is_none() {
                config.set(key, value);
            }
        }
        let native = FutureProducer::from_config_and_context(&config, LogContext)
            .map_err(|error| KafkaError::broker("create producer", error))?;
        Ok(Self {
            native,
            delivery_timeout: Duration::from_millis(settings.delivery_timeout_ms.into()),
            meter: meter::find(&client.brokers),
        })
    }

    /// Produces a record; returns when every replica in sync has it, or with the reason why not, at the latest after
    /// twice the delivery time-out (once for a full queue, once for the brokers). Needs a tokio runtime.
    ///
    /// Dropping the future does not take the record back: it may still be delivered.
    pub async fn send(&self, record: OutboundRecord) -> Result<Delivered, KafkaError> {
        let reserved = match &self.meter {
            Some(meter) => Some(meter.reserve(&record.topic, record.size())?),
            None => None,
        };
        let mut outgoing: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(&record.topic);
        outgoing.partition = record.partition;
        outgoing.key = record.key.as_deref();
        outgoing.payload = record.value.as_deref();
        outgoing.timestamp = record.timestamp_ms;
        if !record.headers.is_empty() {
            let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
            for (name, value) in &record.headers {
                headers = headers.insert(Header { key: name, value: value.as_ref().map(Bytes::as_ref) });
            }
            outgoing.headers = Some(headers);
        }
        let delivery = self
            .native
            .send(outgoing, self.delivery_timeout)
            .await
            .map_err(|(error, _)| KafkaError::broker("produce", error))?;
        if let Some(reserved) = reserved {
            reserved.delivered(delivery.partition);
        }
        Ok(Delivered { partition: delivery.partition, offset: delivery.offset })
    }

    /// Waits until everything that was sent is acknowledged or has failed; blocks the thread for up to `deadline`.
    pub fn flush(&self, deadline: Duration) -> Result<(), KafkaError> {
        self.native.flush(deadline).map_err(|error| KafkaError::broker("flush", error))
    }

    /// Records that wait for their acknowledgement.
    pub fn in_flight(&self) -> usize {
        usize::try_from(self.native.in_flight_count()).unwrap_or(0)
    }
}
