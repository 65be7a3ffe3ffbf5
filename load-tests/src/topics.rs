//! Topics of a run.

use std::time::Duration;

use anyhow::{Context as _, Result};
use jtav_kafka::{ClientSettings, TopicSpec, ensure_topics};
use jtav_testkit::Topics;

/// Partitions of every topic of a run.
pub const PARTITIONS: i32 = 4;

/// Names of their own for each run, so that a shared broker's topics are left alone.
pub fn topics_of(run: &str) -> Topics {
    Topics { group: format!("{run}-posts-worker"), ..Topics::of(run) }
}

/// The topic for plain produce and consume.
pub fn ceiling_topic_of(run: &str) -> String {
    format!("{run}-ceiling")
}

/// Makes the topics and waits until they can be used.
pub async fn make(client: &ClientSettings, names: impl IntoIterator<Item = &str>) -> Result<()> {
    let specs: Vec<_> = names.into_iter().map(|name| TopicSpec::new(name, PARTITIONS, 1)).collect();
    let made = ensure_topics(client, &specs, Duration::from_secs(30)).await;
    made.with_context(|| format!("cannot make topics at {}: is Kafka running there?", client.brokers))
}
