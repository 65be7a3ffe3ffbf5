use std::net::SocketAddr;

use toml::{Table, Value};

use crate::topics::Topics;

/// What a worker's configuration says; every other setting is as in config/default.toml. Of two calls about one setting
/// the later one holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WorkerConfig(Table);

impl WorkerConfig {
    /// `kafka.brokers`.
    pub fn new(brokers: &str) -> Self {
        Self::default().set("kafka.brokers", brokers)
    }

    /// These settings: sections of a configuration file.
    pub fn of(sections: Table) -> Self {
        Self(sections)
    }

    /// `kafka.group_id` and the names of all topics.
    pub fn topics(self, topics: &Topics) -> Self {
        self.set("kafka.group_id", topics.group.as_str())
            .set("kafka.input_topic", topics.input.as_str())
            .set("kafka.sentiment_topic", topics.sentiment.as_str())
            .set("kafka.embeddings_topic", topics.embeddings.as_str())
            .set("kafka.dead_letters_topic", topics.dead_letters.as_str())
            .set("kafka.erasures_topic", topics.erasures.as_str())
    }

    /// `store.url`.
    pub fn redis(self, url: &str) -> Self {
        self.set("store.url", url)
    }

    /// `model.stub`, on a CPU: answers at once, and the same for the same post.
    pub fn stub_networks(self) -> Self {
        self.set("model.stub", true).cpu()
    }

    /// `model.device = "cpu"`, on a machine with a GPU too.
    pub fn cpu(self) -> Self {
        self.set("model.device", "cpu")
    }

    /// `media.allow`: addresses that media may be fetched from though they are not public.
    pub fn media_hosts(self, hosts: &[SocketAddr]) -> Self {
        self.set("media.allow", hosts.iter().map(SocketAddr::to_string).collect::<Vec<_>>())
    }

    /// Any other setting by its key, `section.name`.
    ///
    /// # Panics
    /// The key has no section, or one that holds a value.
    pub fn set(mut self, key: &str, value: impl Into<Value>) -> Self {
        let (section, name) = key.split_once('.').expect("Invariant: a key is section.name");
        let section = self.0.entry(section).or_insert_with(|| Table::new().into());
        let section = section.as_table_mut().expect("Invariant: a section holds settings");
        section.insert(name.to_owned(), value.into());
        self
    }

    /// The file for `--config`.
    pub fn to_toml(&self) -> String {
        self.0.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_the_file_that_its_calls_read_like() {
        let config = WorkerConfig::new("b:9")
            .topics(&Topics::of("t"))
            .redis("redis+unix:///s")
            .media_hosts(&["127.0.0.1:2".parse().unwrap()])
            .stub_networks()
            .set("ingest.session_timeout_ms", 9_000)
            .set("ingest.session_timeout_ms", 6_000);
        let file: Table = config.to_toml().parse().unwrap();
        assert_eq!(file["kafka"]["brokers"].as_str(), Some("b:9"));
        assert_eq!(
            (file["kafka"]["group_id"].as_str(), file["kafka"]["input_topic"].as_str()),
            (Some("t"), Some("t-posts"))
        );
        assert_eq!(file["store"]["url"].as_str(), Some("redis+unix:///s"));
        assert_eq!(file["media"]["allow"][0].as_str(), Some("127.0.0.1:2"));
        assert_eq!((file["model"]["stub"].as_bool(), file["model"]["device"].as_str()), (Some(true), Some("cpu")));
        assert_eq!(file["ingest"]["session_timeout_ms"].as_integer(), Some(6_000), "the later call holds");
    }
}
