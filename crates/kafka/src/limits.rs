//! What topics take: their `max.message.bytes`, as the brokers tell it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminOptions, ConfigResource, ResourceSpecifier};

use crate::admin::admin;
use crate::{ClientSettings, KafkaError};

/// The brokers' own default of `max.message.bytes`, taken for topics of which nobody says more.
pub const DEFAULT_TOPIC_MAX_BYTES: u64 = 1_048_588;
/// Bytes of the largest record that a [`crate::Producer`] sends, whatever the topic takes.
pub const PRODUCER_MAX_BYTES: u64 = 16 << 20;

/// Longest wait for the brokers' answer.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two questions: what is asked for every record that does not fit must not become a load.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Settings of a topic that decide what becomes of records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSettings {
    /// Bytes of the largest batch of records that the topic takes, after compression; of one record, if it is alone in
    /// its batch.
    pub max_message_bytes: u64,
    /// Old records of a key give way to newer ones, and records without a key are refused.
    pub is_compacted: bool,
}

/// Asks for the settings of topics; what a topic leaves open is the brokers' default. Each has its own answer: a topic
/// that is not there, or of which this user may not know (it needs the right `DescribeConfigs`).
///
/// Dropping the future leaves a request that nobody waits for.
///
/// # Errors
/// No answer within `timeout`; brokers that do not know the question, as the in-process cluster.
pub async fn topic_settings(
    client: &ClientSettings,
    topics: &[&str],
    timeout: Duration,
) -> Result<Vec<Result<TopicSettings, KafkaError>>, KafkaError> {
    let admin = admin(client)?;
    let options = AdminOptions::new().request_timeout(Some(timeout));
    let asked: Vec<ResourceSpecifier<'_>> = topics.iter().map(|topic| ResourceSpecifier::Topic(topic)).collect();
    let answers = admin
        .describe_configs(&asked, &options)
        .await
        .map_err(|error| KafkaError::broker("describe topic settings", error))?;
    if answers.len() != topics.len() {
        let message = format!("{} answers to {} questions", answers.len(), topics.len());
        return Err(KafkaError::InvalidSettings(message));
    }
    let read = |answer| match answer {
        Ok(resource) => settings_of(&resource),
        Err(code) => Err(KafkaError::code_only("describe topic settings", code)),
    };
    Ok(answers.into_iter().map(read).collect())
}

fn settings_of(resource: &ConfigResource) -> Result<TopicSettings, KafkaError> {
    let value = |name: &str| resource.get(name).and_then(|entry| entry.value.as_deref());
    let max_message_bytes = value("max.message.bytes").and_then(|value| value.parse().ok());
    Ok(TopicSettings {
        max_message_bytes: max_message_bytes
            .ok_or_else(|| KafkaError::InvalidSettings("the broker tells no max.message.bytes".to_owned()))?,
        is_compacted: value("cleanup.policy").is_some_and(|policy| policy.contains("compact")),
    })
}

/// Bytes of a record, as [`crate::OutboundRecord::size`] counts them, that are sure to fit into a batch of `max_bytes`:
/// without compression, or with one that makes what cannot be compressed a little larger.
pub fn largest_record(max_bytes: u64) -> u64 {
    max_bytes.saturating_sub(max_bytes / 512 + 256)
}

/// What is known of the topics that one producer writes to.
#[derive(Debug)]
pub(crate) struct TopicLimits {
    client: ClientSettings,
    /// Of the producer itself.
    cap: u64,
    known: RwLock<BTreeMap<String, u64>>,
    last_asked: Mutex<Option<Instant>>,
}

impl TopicLimits {
    pub(crate) fn new(client: &ClientSettings, cap: u64) -> Self {
        Self { client: client.clone(), cap, known: RwLock::default(), last_asked: Mutex::new(None) }
    }

    pub(crate) fn max_record_bytes(&self, topic: &str) -> u64 {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner).get(topic).copied();
        largest_record(known.unwrap_or(DEFAULT_TOPIC_MAX_BYTES).min(self.cap))
    }

    /// As [`crate::Producer::ask_limits`].
    pub(crate) async fn ask(&self, topics: &[&str]) -> Result<(), KafkaError> {
        {
            let mut last = self.last_asked.lock().unwrap_or_else(PoisonError::into_inner);
            if last.is_some_and(|last| last.elapsed() < ASK_AGAIN_AFTER) {
                return Ok(());
            }
            *last = Some(Instant::now());
        }
        let answers = topic_settings(&self.client, topics, ASK_TIMEOUT).await?;
        let mut refused = None;
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        for (topic, answer) in topics.iter().zip(answers) {
            match answer {
                Ok(settings) => {
                    known.insert((*topic).to_owned(), settings.max_message_bytes);
                }
                Err(error) => refused = Some(error.about_topic(topic)),
            }
        }
        refused.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_that_nobody_told_of_is_taken_for_one_with_the_brokers_default() {
        let limits = TopicLimits::new(&ClientSettings::new("b:9092", "x"), PRODUCER_MAX_BYTES);
        assert_eq!(limits.max_record_bytes("t"), largest_record(DEFAULT_TOPIC_MAX_BYTES));
        limits.known.write().unwrap().extend([("small".to_owned(), 2_000), ("huge".to_owned(), 1 << 40)]);
        assert_eq!(limits.max_record_bytes("small"), 1_741);
        assert_eq!(limits.max_record_bytes("huge"), largest_record(PRODUCER_MAX_BYTES));
        assert_eq!(largest_record(0), 0);
    }
}
