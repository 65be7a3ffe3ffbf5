//! Topics: making them, looking at them. Every call makes a client of its own; nothing here is for a hot path.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};

use crate::context::LogContext;
use crate::{ClientSettings, KafkaError};

/// A topic that should be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    pub name: String,
    /// Partitions, if it has to be made.
    pub partitions: i32,
    /// Replicas, if it has to be made.
    pub replication: i32,
    /// Settings, if it has to be made; for example `cleanup.policy`.
    pub config: BTreeMap<String, String>,
}

impl TopicSpec {
    /// A topic with the broker's default settings.
    pub fn new(name: impl Into<String>, partitions: i32, replication: i32) -> Self {
        Self { name: name.into(), partitions, replication, config: BTreeMap::new() }
    }
}

/// What the cluster says of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicInfo {
    pub name: String,
    /// Number of partitions; none where the topic does not exist.
    pub partitions: Option<usize>,
    /// Partitions without a leader, which can be neither read nor written now.
    pub leaderless: Vec<i32>,
}

/// Creates the topics that are missing and waits until they have leaders; existing ones are left as they are. Safe to
/// call from several processes at once. The in-process cluster does not know this call: use its own
/// [`crate::InProcessCluster::create_topic`].
pub async fn ensure_topics(client: &ClientSettings, topics: &[TopicSpec], timeout: Duration) -> Result<(), KafkaError> {
    let deadline = Instant::now() + timeout;
    let names: Vec<&str> = topics.iter().map(|topic| topic.name.as_str()).collect();
    let existing: BTreeSet<String> = describe_topics(client, &names, timeout)?
        .into_iter()
        .filter(|info| info.partitions.is_some())
        .map(|info| info.name)
        .collect();
    let missing: Vec<NewTopic<'_>> = topics
        .iter()
        .filter(|topic| !existing.contains(&topic.name))
        .map(|topic| {
            let replication = TopicReplication::Fixed(topic.replication);
            topic.config.iter().fold(NewTopic::new(&topic.name, topic.partitions, replication), |new, (key, value)| {
                new.set(key, value)
            })
        })
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let options = AdminOptions::new().operation_timeout(Some(timeout)).request_timeout(Some(timeout));
    let results = admin(client)?
        .create_topics(&missing, &options)
        .await
        .map_err(|error| KafkaError::broker("create topics", error))?;
    for result in results {
        match result {
            // Somebody else was faster.
            Ok(_) | Err((_, Code::TopicAlreadyExists)) => {}
            Err((_, code)) => return Err(KafkaError::code_only("create topics", code)),
        }
    }
    loop {
        let seen = describe_topics(client, &names, timeout)?;
        if seen.iter().all(|info| info.partitions.is_some() && info.leaderless.is_empty()) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(KafkaError::Timeout { operation: "create topics", waited_ms: timeout.as_millis() as u64 });
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Has the records of a partition dropped that lie before an offset, as retention does in time.
///
/// # Errors
/// The broker refuses it: no such topic, an offset beyond the end, no right to delete.
pub async fn delete_records_before(
    client: &ClientSettings,
    topic: &str,
    partition: i32,
    offset: i64,
    timeout: Duration,
) -> Result<(), KafkaError> {
    let failed = |error| KafkaError::broker("delete records", error);
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Offset(offset)).map_err(failed)?;
    let options = AdminOptions::new().operation_timeout(Some(timeout)).request_timeout(Some(timeout));
    let answers = admin(client)?.delete_records(&list, &options).await.map_err(failed)?;
    answers.elements().iter().try_for_each(|answer| answer.error().map_err(failed))
}

/// Looks topics up without creating any; blocks up to `timeout`.
pub fn describe_topics(
    client: &ClientSettings,
    names: &[&str],
    timeout: Duration,
) -> Result<Vec<TopicInfo>, KafkaError> {
    let admin = admin(client)?;
    // All topics are asked for: asking for one by name lets a broker with auto-creation make it.
    let metadata =
        admin.inner().fetch_metadata(None, timeout).map_err(|error| KafkaError::broker("fetch metadata", error))?;
    names
        .iter()
        .map(|name| {
            let Some(topic) = metadata.topics().iter().find(|topic| topic.name() == *name) else {
                return Ok(TopicInfo { name: (*name).to_owned(), partitions: None, leaderless: Vec::new() });
            };
            match topic.error() {
                None => {}
                Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE) => {}
                Some(error) => return Err(KafkaError::code_only("fetch metadata", error.into())),
            }
            let leaderless =
                topic.partitions().iter().filter(|partition| partition.leader() < 0).map(|p| p.id()).collect();
            Ok(TopicInfo { name: (*name).to_owned(), partitions: Some(topic.partitions().len()), leaderless })
        })
        .collect()
}

pub(crate) fn admin(client: &ClientSettings) -> Result<AdminClient<LogContext>, KafkaError> {
    AdminClient::from_config_and_context(&client.config()?, LogContext)
        .map_err(|error| KafkaError::broker("create admin client", error))
}
