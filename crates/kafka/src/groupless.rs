//! What every reader without a group is made of.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};

use crate::context::LogContext;
use crate::{ClientSettings, KafkaError};

impl ConsumerContext for LogContext {}

pub(crate) fn partition_watermarks(
    reader: &BaseConsumer<LogContext>,
    topic: &str,
    timeout: Duration,
) -> Result<BTreeMap<i32, (i64, i64)>, KafkaError> {
    partitions(reader, topic, timeout)?
        .into_iter()
        .map(|partition| {
            let marks = reader
                .fetch_watermarks(topic, partition, timeout)
                .map_err(|error| KafkaError::broker("fetch watermarks", error))?;
            Ok((partition, marks))
        })
        .collect()
}

/// Partitions of a topic that is there.
pub(crate) fn partitions(
    reader: &BaseConsumer<LogContext>,
    topic: &str,
    timeout: Duration,
) -> Result<Vec<i32>, KafkaError> {
    let metadata = reader.fetch_metadata(None, timeout).map_err(|error| KafkaError::broker("fetch metadata", error))?;
    let found = metadata
        .topics()
        .iter()
        .find(|found| found.name() == topic)
        .ok_or_else(|| KafkaError::UnknownTopic(topic.to_owned()))?;
    Ok(found.partitions().iter().map(rdkafka::metadata::MetadataPartition::id).collect())
}

pub(crate) fn reader(client: &ClientSettings) -> Result<BaseConsumer<LogContext>, KafkaError> {
    // Assigning by hand joins no group, but librdkafka wants a name.
    grouped_reader(client, "jtav-reader")
}

pub(crate) fn grouped_reader(client: &ClientSettings, group_id: &str) -> Result<BaseConsumer<LogContext>, KafkaError> {
    let mut config = client.config()?;
    config
        .set("group.id", group_id)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "earliest");
    for (key, value) in [
        // librdkafka fetches 64 MiB ahead by default.
        ("queued.max.messages.kbytes", "8192"),
        // How long fetching rests once so much is ahead; with the default of 1 s a small bound would run dry.
        ("fetch.queue.backoff.ms", "10"),
    ] {
        if config.get(key).is_none() {
            config.set(key, value);
        }
    }
    BaseConsumer::from_config_and_context(&config, LogContext)
        .map_err(|error| KafkaError::broker("create reader", error))
}
