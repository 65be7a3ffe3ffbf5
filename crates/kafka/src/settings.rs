use std::collections::BTreeMap;

use rdkafka::ClientConfig;

use crate::{KafkaError, check_passthrough, passthrough::shown};

/// How to reach the brokers.
#[derive(Clone, Default)]
pub struct ClientSettings {
    /// `host:port`, comma-separated.
    pub brokers: String,
    /// Name of this client in the brokers' logs and quotas.
    pub client_id: String,
    /// Passed through to librdkafka: TLS, SASL, tuning. See [`check_passthrough`].
    pub librdkafka: BTreeMap<String, String>,
}

impl std::fmt::Debug for ClientSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown: BTreeMap<&str, String> =
            self.librdkafka.iter().map(|(key, value)| (key.as_str(), shown(key, value))).collect();
        f.debug_struct("ClientSettings")
            .field("brokers", &self.brokers)
            .field("client_id", &self.client_id)
            .field("librdkafka", &shown)
            .finish()
    }
}

impl ClientSettings {
    /// Settings without TLS, SASL or tuning.
    pub fn new(brokers: impl Into<String>, client_id: impl Into<String>) -> Self {
        Self { brokers: brokers.into(), client_id: client_id.into(), librdkafka: BTreeMap::new() }
    }

    pub(crate) fn config(&self) -> Result<ClientConfig, KafkaError> {
        check_passthrough(&self.librdkafka).map_err(KafkaError::UnsafeSettings)?;
        if self.brokers.trim().is_empty() {
            return Err(KafkaError::InvalidSettings("no brokers are given".to_owned()));
        }
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.brokers.trim());
        if !self.client_id.is_empty() {
            config.set("client.id", &self.client_id);
        }
        // librdkafka waits a minute for an answer by default; a synchronous call must end well before a probe fails.
        config.set("socket.timeout.ms", "10000");
        config.set("socket.keepalive.enable", "true");
        config.set("reconnect.backoff.max.ms", "2000");
        for (key, value) in &self.librdkafka {
            config.set(key.trim(), value);
        }
        Ok(config)
    }
}

/// How partitions are shared out among the members of a group; all members must use the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AssignmentStrategy {
    /// Incremental: a rebalance moves the partitions that must move, and the others carry on (KIP-429).
    #[default]
    CooperativeSticky,
    /// Eager: every member gives up everything at every rebalance. For groups whose other members are eager.
    Range,
    /// Eager, as [`AssignmentStrategy::Range`], dealt out one by one.
    RoundRobin,
}

impl AssignmentStrategy {
    fn as_str(self) -> &'static str {
        match self {
            Self::CooperativeSticky => "cooperative-sticky",
            Self::Range => "range",
            Self::RoundRobin => "roundrobin",
        }
    }
}

/// Group membership and prefetch of a [`crate::Consumer`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerSettings {
    /// The one topic that is read.
    pub topic: String,
    /// Consumer group.
    pub group_id: String,
    /// Name of this member for static membership (KIP-345), for example the pod's name: a restart within
    /// `session_timeout_ms` then causes no rebalance. Two live members may not share one.
    pub instance_id: Option<String>,
    /// How partitions are shared out.
    pub assignment: AssignmentStrategy,
    /// A member that sends no heartbeat for so long is expelled.
    pub session_timeout_ms: u32,
    /// Time between heartbeats; at most a third of the session time-out.
    pub heartbeat_interval_ms: u32,
    /// A member that does not poll for so long leaves the group.
    pub max_poll_interval_ms: u32,
    /// Records that librdkafka keeps fetched ahead of each partition.
    pub queued_min_messages: u32,
    /// KiB that librdkafka may keep fetched ahead of each partition, and as much again for the fetch under way; its own
    /// default of 64 MiB is what fills the memory of a worker that starts on a backlog.
    pub queued_max_messages_kbytes: u32,
    /// Bytes of one record that are kept: of a larger one the first bytes, the length and the hash. It bounds the memory
    /// that a record takes, whatever the topic lets in.
    pub max_kept_bytes: u64,
    /// Headers of one record that are kept, the last ones.
    pub max_kept_headers: usize,
    /// Tell the end of a partition as [`KafkaError::EndOfPartition`], for a reader that stops there.
    pub tell_end_of_partition: bool,
}

impl ConsumerSettings {
    /// Of tests.
    pub fn for_tests() -> Self {
        Self {
            topic: "posts".to_owned(),
            group_id: "jtav".to_owned(),
            instance_id: None,
            assignment: AssignmentStrategy::default(),
            session_timeout_ms: 45_000,
            heartbeat_interval_ms: 3_000,
            max_poll_interval_ms: 300_000,
            queued_min_messages: 1_000,
            queued_max_messages_kbytes: 1_024,
            max_kept_bytes: 2 << 20,
            max_kept_headers: 1_000,
            tell_end_of_partition: false,
        }
    }
}

impl ConsumerSettings {
    pub(crate) fn config(&self, client: &ClientSettings) -> Result<ClientConfig, KafkaError> {
        self.check()?;
        let mut config = client.config()?;
        config
            .set("group.id", &self.group_id)
            .set("partition.assignment.strategy", self.assignment.as_str())
            .set("session.timeout.ms", self.session_timeout_ms.to_string())
            .set("heartbeat.interval.ms", self.heartbeat_interval_ms.to_string())
            .set("max.poll.interval.ms", self.max_poll_interval_ms.to_string())
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "earliest")
            .set("enable.partition.eof", self.tell_end_of_partition.to_string())
            .set("allow.auto.create.topics", "false")
            .set("isolation.level", "read_committed")
            .set("check.crcs", "true");
        // Tuning that an operator may have passed through keeps the last word.
        for (key, value) in [
            ("queued.min.messages", self.queued_min_messages.to_string()),
            ("queued.max.messages.kbytes", self.queued_max_messages_kbytes.to_string()),
            // How long fetching rests once enough is fetched ahead. The default of 1 s suits a prefetch of 100,000
            // records; with a bounded one the reader would run dry every second.
            ("fetch.queue.backoff.ms", "10".to_owned()),
            // A partition that is newly assigned, or read again after a rest, waits for the fetch that is under way
            // without it; the default is 500 ms.
            ("fetch.wait.max.ms", "100".to_owned()),
            // Longer than finding the coordinator again takes (500 ms and the connection). With the default of 100 ms
            // a commit that meets a coordinator that has moved is retried on a connection that is just being changed,
            // fails, marks the new coordinator dead, and so on without heartbeats until the session ends: measured on
            // librdkafka 2.12.1, every partition lost after `session_timeout_ms` instead of a pause of about 1 s.
            ("retry.backoff.ms", "1000".to_owned()),
            ("retry.backoff.max.ms", "2000".to_owned()),
        ] {
            if config.get(key).is_none() {
                config.set(key, value);
            }
        }
        if let Some(instance) = &self.instance_id {
            config.set("group.instance.id", instance);
        }
        Ok(config)
    }

    fn check(&self) -> Result<(), KafkaError> {
        let wrong = |text: String| Err(KafkaError::InvalidSettings(text));
        if self.topic.is_empty() || self.group_id.is_empty() {
            return wrong("topic and group id may not be empty".to_owned());
        }
        if self.heartbeat_interval_ms * 3 > self.session_timeout_ms {
            return wrong(format!(
                "heartbeat_interval_ms = {} is more than a third of session_timeout_ms = {}",
                self.heartbeat_interval_ms, self.session_timeout_ms
            ));
        }
        if self.max_poll_interval_ms < self.session_timeout_ms {
            return wrong(format!(
                "max_poll_interval_ms = {} is below session_timeout_ms = {}",
                self.max_poll_interval_ms, self.session_timeout_ms
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_consumer_never_commits_on_its_own() {
        let config = ConsumerSettings::for_tests().config(&ClientSettings::new("b:9092", "x")).unwrap();
        assert_eq!(config.get("enable.auto.commit"), Some("false"));
        assert_eq!(config.get("enable.auto.offset.store"), Some("false"));
        assert_eq!(config.get("partition.assignment.strategy"), Some("cooperative-sticky"));
    }

    #[test]
    fn an_unsafe_setting_stops_the_client_from_being_made() {
        let mut client = ClientSettings::new("b:9092", "x");
        client.librdkafka.insert("enable.auto.commit".into(), "true".into());
        let error = ConsumerSettings::for_tests().config(&client).unwrap_err();
        assert!(matches!(error, KafkaError::UnsafeSettings(ref list) if list.len() == 1), "{error}");
    }

    #[test]
    fn passwords_do_not_show_in_debug_output() {
        let mut client = ClientSettings::new("b:9092", "x");
        client.librdkafka.insert("sasl.password".into(), "canary".into());
        assert!(!format!("{client:?}").contains("canary"));
    }
}
