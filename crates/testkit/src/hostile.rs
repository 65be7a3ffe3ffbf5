use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};

const PATIENCE: Duration = Duration::from_secs(60);

/// A record as somebody may write it who keeps to no rule: names of headers are bytes.
#[derive(Debug, Clone, Default)]
pub struct HostileRecord {
    pub key: Option<Vec<u8>>,
    /// Value; none is a tombstone.
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// Timestamp in milliseconds since 1970; none is now.
    pub timestamp_ms: Option<i64>,
}

/// A producer that leaves every limit to the broker.
pub struct HostileProducer {
    native: FutureProducer,
    brokers: String,
}

impl HostileProducer {
    /// With a compression of librdkafka: `none`, `gzip`, `snappy`, `lz4`, `zstd`.
    pub fn new(brokers: &str, compression: &str) -> Result<Self> {
        Self::with(brokers, &[("compression.type", compression)])
    }

    /// In transactions of this id.
    pub fn transactional(brokers: &str, id: &str) -> Result<Self> {
        let producer = Self::with(brokers, &[("transactional.id", id)])?;
        producer.native.init_transactions(PATIENCE)?;
        Ok(producer)
    }

    fn with(brokers: &str, more: &[(&str, &str)]) -> Result<Self> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers).set("linger.ms", "0");
        config.set("message.max.bytes", "1000000000").set("queue.buffering.max.kbytes", "2097151");
        more.iter().for_each(|(key, value)| {
            config.set(*key, *value);
        });
        Ok(Self { native: config.create()?, brokers: brokers.to_owned() })
    }

    /// Writes a record to a partition; gives its offset.
    ///
    /// # Errors
    /// The broker's refusal, in librdkafka's words.
    pub async fn send(&self, topic: &str, partition: i32, record: &HostileRecord) -> Result<i64> {
        let mut outgoing: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(topic).partition(partition);
        outgoing.key = record.key.as_deref();
        outgoing.payload = record.value.as_deref();
        outgoing.timestamp = record.timestamp_ms;
        if !record.headers.is_empty() {
            let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
            for (name, value) in &record.headers {
                // SAFETY: the binding takes the pointer and the length of the name and looks at nothing in it.
                let key = unsafe { std::str::from_utf8_unchecked(name) };
                headers = headers.insert(Header { key, value: value.as_deref() });
            }
            outgoing.headers = Some(headers);
        }
        let sent = self.native.send(outgoing, PATIENCE).await;
        sent.map(|delivery| delivery.offset).map_err(|(error, _)| anyhow!(error))
    }

    /// Begins a transaction.
    pub fn begin(&self) -> Result<()> {
        Ok(self.native.begin_transaction()?)
    }

    /// Ends it: what it wrote counts, or nothing of it; either way a control record lies behind it.
    pub fn end(&self, commit: bool) -> Result<()> {
        Ok(if commit { self.native.commit_transaction(PATIENCE) } else { self.native.abort_transaction(PATIENCE) }?)
    }

    /// Changes settings of a topic that exists; what is not named goes back to the broker's defaults.
    pub async fn alter_topic(&self, topic: &str, settings: &[(&str, &str)]) -> Result<()> {
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", &self.brokers).create()?;
        let change = settings
            .iter()
            .fold(AlterConfig::new(ResourceSpecifier::Topic(topic)), |change, (key, value)| change.set(key, value));
        let options = AdminOptions::new().request_timeout(Some(PATIENCE));
        let results = admin.alter_configs(&[change], &options).await?;
        for result in results {
            result.map_err(|(_, code)| anyhow!(code.to_string())).context("altering the topic")?;
        }
        Ok(())
    }
}
