use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rdkafka::ClientConfig;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};

use crate::context::LogContext;
use crate::limits::{PRODUCER_MAX_BYTES, TopicLimits};
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
    /// Bytes of a batch, from the second record on: a batch that the topic refuses for its size is refused as a whole, so
    /// it stays far below what any topic takes. A record that is larger goes alone.
    pub batch_max_bytes: u32,
}

impl Default for ProducerSettings {
    fn default() -> Self {
        Self {
            delivery_timeout_ms: 30_000,
            linger_ms: 5,
            queue_max_messages: 20_000,
            queue_max_kbytes: 65_536,
            batch_max_bytes: 262_144,
        }
    }
}

/// Where a record came to lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivered {
    pub partition: i32,
    pub offset: i64,
}

/// Idempotent producer: within its life no retry duplicates or reorders records of a partition. Cheap to clone.
#[derive(Clone)]
pub struct Producer {
    native: FutureProducer<LogContext>,
    /// For records that may not share a batch; made when the first one comes.
    alone: Arc<OnceLock<Result<FutureProducer<LogContext>, KafkaError>>>,
    config: ClientConfig,
    delivery_timeout: Duration,
    limits: Arc<TopicLimits>,
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
            ("batch.size", settings.batch_max_bytes.to_string()),
            // The topic's limit counts; the client's own would only refuse what the topic takes.
            ("message.max.bytes", PRODUCER_MAX_BYTES.to_string()),
        ] {
            if config.get(key).is_none() {
                config.set(key, value);
            }
        }
        let cap = config.get("message.max.bytes").and_then(|value| value.parse().ok()).unwrap_or(PRODUCER_MAX_BYTES);
        Ok(Self {
            native: create(&config)?,
            alone: Arc::default(),
            config,
            delivery_timeout: Duration::from_millis(settings.delivery_timeout_ms.into()),
            limits: Arc::new(TopicLimits::new(client, cap.min(PRODUCER_MAX_BYTES))),
            meter: meter::find(&client.brokers),
        })
    }

    /// Produces a record; returns when every replica in sync has it, or with the reason why not, at the latest after
    /// twice the delivery time-out (once for a full queue, once for the brokers). Needs a tokio runtime.
    ///
    /// Dropping the future does not take the record back: it may still be delivered.
    pub async fn send(&self, record: OutboundRecord) -> Result<Delivered, KafkaError> {
        self.send_with(&self.native, record).await
    }

    /// As [`Self::send`], in a batch of its own: a topic refuses a batch as a whole, so whether it takes this record does not
    /// hang on its neighbours. Order holds only among records that are sent in this way.
    pub async fn send_alone(&self, record: OutboundRecord) -> Result<Delivered, KafkaError> {
        let alone = self.alone.get_or_init(|| {
            let mut config = self.config.clone();
            create(config.set("batch.num.messages", "1").set("linger.ms", "0"))
        });
        match alone {
            Ok(native) => self.send_with(native, record).await,
            Err(error) => Err(error.clone()),
        }
    }

    async fn send_with(
        &self,
        native: &FutureProducer<LogContext>,
        record: OutboundRecord,
    ) -> Result<Delivered, KafkaError> {
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
        let delivery = native
            .send(outgoing, self.delivery_timeout)
            .await
            .map_err(|(error, _)| KafkaError::broker("produce", error).about_topic(&record.topic))?;
        if let Some(reserved) = reserved {
            reserved.delivered(delivery.partition);
        }
        Ok(Delivered { partition: delivery.partition, offset: delivery.offset })
    }

    /// Bytes of the largest record, as [`OutboundRecord::size`] counts them, that the topic takes as far as is known, or
    /// that it takes by the brokers' default.
    pub fn max_record_bytes(&self, topic: &str) -> u64 {
        self.limits.max_record_bytes(topic)
    }

    /// Asks the brokers what the topics take, unless that was done within the last minute. Needs a tokio runtime, whose
    /// thread it does not block.
    ///
    /// Dropping the future does not take the question back.
    ///
    /// # Errors
    /// No answer within 5 s, no right to it, a topic that is not there; of the other topics it is known then.
    pub async fn ask_limits(&self, topics: Vec<String>) -> Result<(), KafkaError> {
        // The in-process cluster does not know the question.
        if self.meter.is_some() {
            return Ok(());
        }
        let limits = Arc::clone(&self.limits);
        let runtime = tokio::runtime::Handle::current();
        // Making the client, and above all giving it up, block for a moment.
        let asking = tokio::task::spawn_blocking(move || {
            let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
            runtime.block_on(limits.ask(&topics))
        });
        asking.await.unwrap_or(Ok(()))
    }

    /// Waits until everything that was sent is acknowledged or has failed; blocks the thread for up to `deadline`.
    pub fn flush(&self, deadline: Duration) -> Result<(), KafkaError> {
        let started = Instant::now();
        let alone = self.alone.get().and_then(|alone| alone.as_ref().ok());
        for native in alone.into_iter().chain([&self.native]) {
            let left = deadline.saturating_sub(started.elapsed());
            native.flush(left).map_err(|error| KafkaError::broker("flush", error))?;
        }
        Ok(())
    }

    /// Records that wait for their acknowledgement.
    pub fn in_flight(&self) -> usize {
        let alone = self.alone.get().and_then(|alone| alone.as_ref().ok());
        let natives = alone.into_iter().chain([&self.native]);
        natives.map(|native| usize::try_from(native.in_flight_count()).unwrap_or(0)).sum()
    }
}

fn create(config: &ClientConfig) -> Result<FutureProducer<LogContext>, KafkaError> {
    FutureProducer::from_config_and_context(config, LogContext)
        .map_err(|error| KafkaError::broker("create producer", error))
}
