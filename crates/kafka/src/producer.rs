use std::borrow::Borrow;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use jtav_courier::{Courier, Parcel};
use rdkafka::ClientConfig;
use rdkafka::config::{FromClientConfigAndContext as _, RDKafkaLogLevel};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientContext, Message as _};
use tokio::sync::oneshot;

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

type Native = ThreadedProducer<DeliveryContext>;

/// Takes what became of records to where that is waited for.
struct DeliveryContext;

impl ClientContext for DeliveryContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        LogContext.log(level, facility, message);
    }

    fn error(&self, error: rdkafka::error::KafkaError, reason: &str) {
        LogContext.error(error, reason);
    }
}

impl ProducerContext for DeliveryContext {
    type DeliveryOpaque = Box<Delivery>;

    /// Called for each record of an acknowledged batch, one after the other: the courier makes one wake-up of them.
    fn delivery(&self, result: &DeliveryResult<'_>, mut delivery: Box<Delivery>) {
        delivery.result = Some(match result {
            Ok(message) => Ok(Delivered { partition: message.partition(), offset: message.offset() }),
            Err((error, _)) => Err(error.clone()),
        });
        delivery.courier.clone().carry(delivery);
    }
}

/// A record on its way, and what became of it.
struct Delivery {
    result: Option<Result<Delivered, rdkafka::error::KafkaError>>,
    sender: oneshot::Sender<Result<Delivered, rdkafka::error::KafkaError>>,
    courier: Courier,
}

impl Parcel for Delivery {
    fn open(self: Box<Self>) {
        let Self { result, sender, .. } = *self;
        if let Some(result) = result {
            // Nobody may wait any more.
            let _ = sender.send(result);
        }
    }
}

/// How long to wait for room in the client's queue before the next try.
const QUEUE_FULL_PAUSE: Duration = Duration::from_millis(100);

/// Idempotent producer: within its life no retry duplicates or reorders records of a partition. Cheap to clone.
#[derive(Clone)]
pub struct Producer {
    parts: Arc<Parts>,
}

struct Parts {
    native: Native,
    /// For records that may not share a batch; made when the first one comes.
    alone: OnceLock<Result<Native, KafkaError>>,
    config: ClientConfig,
    delivery_timeout: Duration,
    limits: Arc<TopicLimits>,
    meter: Option<Arc<Meter>>,
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer").field("in_flight", &self.parts.native.in_flight_count()).finish_non_exhaustive()
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
            // A batch is a few kilobytes: clearing the tables of zstd's usual level 3, made for megabytes, took more time than
            // compressing (ADR 54); those of level 1 have an eighth of the size.
            ("compression.level", "1".to_owned()),
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
        let parts = Parts {
            native: create(&config)?,
            alone: OnceLock::new(),
            config,
            delivery_timeout: Duration::from_millis(settings.delivery_timeout_ms.into()),
            limits: Arc::new(TopicLimits::new(client, cap.min(PRODUCER_MAX_BYTES))),
            meter: meter::find(&client.brokers),
        };
        Ok(Self { parts: Arc::new(parts) })
    }

    /// Produces a record; returns when every replica in sync has it, or with the reason why not, at the latest after
    /// twice the delivery time-out (once for a full queue, once for the brokers). Needs a tokio runtime.
    ///
    /// Dropping the future does not take the record back: it may still be delivered.
    pub async fn send(&self, record: impl Borrow<OutboundRecord>) -> Result<Delivered, KafkaError> {
        self.send_with(&self.parts.native, record.borrow()).await
    }

    /// As [`Self::send`], in a batch of its own: a topic refuses a batch as a whole, so whether it takes this record does not
    /// hang on its neighbours. Order holds only among records that are sent in this way.
    pub async fn send_alone(&self, record: impl Borrow<OutboundRecord>) -> Result<Delivered, KafkaError> {
        let alone = self.parts.alone.get_or_init(|| {
            let mut config = self.parts.config.clone();
            create(config.set("batch.num.messages", "1").set("linger.ms", "0"))
        });
        match alone {
            Ok(native) => self.send_with(native, record.borrow()).await,
            Err(error) => Err(error.clone()),
        }
    }

    async fn send_with(&self, native: &Native, record: &OutboundRecord) -> Result<Delivered, KafkaError> {
        let reserved = match &self.parts.meter {
            Some(meter) => Some(meter.reserve(&record.topic, record.size())?),
            None => None,
        };
        let failure = |error| KafkaError::broker("produce", error).about_topic(&record.topic);
        let delivery = self.enqueue(native, record).await.map_err(failure)?;
        // The client keeps the other end until it has told what became of the record; the runtime may end before.
        let canceled = || rdkafka::error::KafkaError::Canceled;
        let delivered = delivery.await.unwrap_or_else(|_| Err(canceled())).map_err(failure)?;
        if let Some(reserved) = reserved {
            reserved.delivered(delivered.partition);
        }
        Ok(delivered)
    }

    /// Gives a record to the client, waiting for room in its queue; what comes out tells what became of it.
    async fn enqueue(
        &self,
        native: &Native,
        record: &OutboundRecord,
    ) -> Result<oneshot::Receiver<Result<Delivered, rdkafka::error::KafkaError>>, rdkafka::error::KafkaError> {
        let (sender, delivery) = oneshot::channel();
        let opaque = Box::new(Delivery { result: None, sender, courier: Courier::here() });
        let mut outgoing = native_record(record, opaque);
        let started = Instant::now();
        loop {
            let (error, unsent) = match native.send(outgoing) {
                Ok(()) => return Ok(delivery),
                Err(refused) => refused,
            };
            let is_full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
            if !is_full || started.elapsed() >= self.parts.delivery_timeout {
                return Err(error);
            }
            outgoing = unsent;
            tokio::time::sleep(QUEUE_FULL_PAUSE).await;
        }
    }

    /// Bytes of the largest record, as [`OutboundRecord::size`] counts them, that the topic takes as far as is known, or
    /// that it takes by the brokers' default.
    pub fn max_record_bytes(&self, topic: &str) -> u64 {
        self.parts.limits.max_record_bytes(topic)
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
        if self.parts.meter.is_some() {
            return Ok(());
        }
        let limits = Arc::clone(&self.parts.limits);
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
        let alone = self.parts.alone.get().and_then(|alone| alone.as_ref().ok());
        for native in alone.into_iter().chain([&self.parts.native]) {
            let left = deadline.saturating_sub(started.elapsed());
            native.flush(left).map_err(|error| KafkaError::broker("flush", error))?;
        }
        Ok(())
    }

    /// Records that wait for their acknowledgement.
    pub fn in_flight(&self) -> usize {
        let alone = self.parts.alone.get().and_then(|alone| alone.as_ref().ok());
        let natives = alone.into_iter().chain([&self.parts.native]);
        natives.map(|native| usize::try_from(native.in_flight_count()).unwrap_or(0)).sum()
    }
}

fn native_record(record: &OutboundRecord, delivery: Box<Delivery>) -> BaseRecord<'_, [u8], [u8], Box<Delivery>> {
    let mut native = BaseRecord::with_opaque_to(&record.topic, delivery);
    native.partition = record.partition;
    native.key = record.key.as_deref();
    native.payload = record.value.as_deref();
    native.timestamp = record.timestamp_ms;
    if !record.headers.is_empty() {
        let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
        for (name, value) in &record.headers {
            headers = headers.insert(Header { key: name, value: value.as_ref().map(Bytes::as_ref) });
        }
        native.headers = Some(headers);
    }
    native
}

fn create(config: &ClientConfig) -> Result<Native, KafkaError> {
    ThreadedProducer::from_config_and_context(config, DeliveryContext)
        .map_err(|error| KafkaError::broker("create producer", error))
}
