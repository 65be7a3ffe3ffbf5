use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::durations::durations;
use super::values::{AssignmentStrategy, empty_as_none, none_as_empty};
use crate::Passthrough;

/// Broker, consumer group, topics.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Kafka {
    /// Comma-separated `host:port`; two or three are enough, the rest is learned from them. Default: `127.0.0.1:9092`.
    pub brokers: String,
    /// Name of this program in the broker's logs and quotas. Default: `jtav`.
    pub client_id: String,
    /// Consumer group; its committed offsets are the position in the feed, so a new name reads the feed anew.
    /// Default: `jtav`.
    pub group_id: String,
    /// Static membership: a stable name for each worker where its platform gives one (a StatefulSet does, the Deployment
    /// in `k8s/` does not), so that a restart moves no partitions.
    /// Empty is none: dynamic membership. Default: empty.
    #[serde(deserialize_with = "empty_as_none", serialize_with = "none_as_empty")]
    #[schemars(with = "String")]
    pub group_instance_id: Option<String>,
    /// How partitions are shared out; all members of a group must use the same. Default: `cooperative-sticky`.
    pub assignment_strategy: AssignmentStrategy,
    /// Posts come from here; the record key must be the post id. Default: `posts`.
    pub input_topic: String,
    /// Labels go here, keyed by post id. Default: `sentiment`.
    pub sentiment_topic: String,
    /// Vectors go here, keyed by post id. Default: `embeddings`.
    pub embeddings_topic: String,
    /// Records that cannot be processed go here with their original bytes. Default: `dead-letters`.
    pub dead_letters_topic: String,
    /// What was erased and when goes here, keyed by post id. Default: `erasures`.
    pub erasures_topic: String,
    /// Further librdkafka properties, for TLS and SASL above all. Those that would break the delivery guarantees are
    /// refused, with the reason, by the crate that owns rdkafka. Default: empty.
    pub librdkafka: Passthrough,
}

impl Kafka {
    /// The topics with their keys, input first.
    pub fn topics(&self) -> [(&'static str, &str); 5] {
        [
            ("kafka.input_topic", &self.input_topic),
            ("kafka.sentiment_topic", &self.sentiment_topic),
            ("kafka.embeddings_topic", &self.embeddings_topic),
            ("kafka.dead_letters_topic", &self.dead_letters_topic),
            ("kafka.erasures_topic", &self.erasures_topic),
        ]
    }
}

/// What is let in, and when offsets are committed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ingest {
    /// Posts that are worked on at once, at most: the worker begins with 64 and lets in what it is done with in half a second
    /// (ADR 55). With those that are parked they are what a crash processes twice. Default: `512`.
    pub max_in_flight_posts: usize,
    /// Bytes of their records, as they came. Default: `33554432`.
    pub max_in_flight_bytes: usize,
    /// Of these posts, those whose media are being fetched: the rest is for posts that wait for no server. 0: three quarters
    /// of the first 64. Default: `0`.
    pub max_media_posts: usize,
    /// Posts besides that are inside and only wait, for a place among those or behind an earlier record of theirs. 0: none.
    /// Default: `256`.
    pub max_parked_posts: usize,
    /// Bytes of the records of parked posts, as they came. Default: `33554432`.
    pub max_parked_bytes: usize,
    /// Unsettled posts of one partition, parked ones included; at the bound the partition is held back. Less than both
    /// together, so that one partition with slow hosts leaves room for others. Default: `256`.
    pub max_in_flight_per_partition: usize,
    /// Milliseconds between offset commits: longer means fewer requests and more repeated work after a crash.
    /// Default: `1000`.
    pub commit_interval_ms: u64,
    /// Milliseconds that revoked partitions may take to finish; the group waits for us meanwhile. Default: `10000`.
    pub drain_timeout_ms: u64,
    /// Bytes of the largest record that is parsed; larger ones are dead-lettered, with twice as many of their bytes or as
    /// many as that topic takes. Default: `524288`.
    pub max_record_bytes: usize,
    /// Bytes fetched ahead of each assigned partition (`queued.max.messages.kbytes`), and as much again for the fetch
    /// under way; librdkafka's own default of 64 MiB has killed workers on a lagging topic. Default: `1048576`.
    pub prefetch_max_bytes: usize,
    /// Milliseconds without a heartbeat until the group gives our partitions away. Default: `45000`.
    pub session_timeout_ms: u64,
    /// Milliseconds between two polls until the group expels us; polling never stops, so this catches a hung thread.
    /// Default: `300000`.
    pub max_poll_interval_ms: u64,
    /// Times a partition is read again from its committed offset after an abandoned post, before the whole pipeline
    /// restarts. Default: `3`.
    pub rewind_attempts: u32,
    /// Intake stops when so many per cent of the last 50 posts failed for reasons of our own (store, broker, device,
    /// program; never bad input), and tries again by itself after 5 s to 60 s. 0: never. Default: `50`.
    pub breaker_failed_percent: u32,
}

durations!(Ingest {
    commit_interval: from_millis(commit_interval_ms),
    drain_timeout: from_millis(drain_timeout_ms),
    session_timeout: from_millis(session_timeout_ms),
    max_poll_interval: from_millis(max_poll_interval_ms),
});

impl Ingest {
    /// `max_media_posts`, with 0 resolved.
    pub fn media_post_count(&self) -> usize {
        match self.max_media_posts {
            0 => {
                let posts = self.least_in_flight_posts();
                (posts - posts / 4).max(1)
            }
            posts => posts,
        }
    }

    /// Posts that are let in however slowly they are done with.
    pub fn least_in_flight_posts(&self) -> usize {
        self.max_in_flight_posts.min(64)
    }
}

/// The posts' tasks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Router {
    /// Threads that run the posts' tasks; a post id belongs to one of them. 0: one for each CPU core. Default: `0`.
    pub lanes: usize,
    /// Milliseconds a post may take from when its turn comes to settlement; media that is late is absent with reason
    /// `timeout`. Default: `30000`.
    pub post_deadline_ms: u64,
    /// Milliseconds that a post waits for a place among those whose media are fetched, before that; then it is labelled
    /// from its text. Default: `30000`.
    pub parked_deadline_ms: u64,
    /// Deadlines of a post while it is fetched, decoded or encoded, after which it is tried by itself; one that hangs
    /// then too, while others pass, is dead-lettered as `deadline_exceeded`. 0: never, it comes again for ever.
    /// Default: `2`.
    pub max_deadlines: u32,
    /// Milliseconds that such a trial may take, beyond what its media may take to come. Default: `10000`.
    pub trial_deadline_ms: u64,
    /// Tries of a stage that fails for one post; after the last the post is a poison pill. Default: `2`.
    pub attempts: u32,
    /// Characters that are read of all texts of a post together; its label says so where there are more. Default: `20000`.
    pub max_text_chars: usize,
}

durations!(Router {
    post_deadline: from_millis(post_deadline_ms),
    parked_deadline: from_millis(parked_deadline_ms),
    trial_deadline: from_millis(trial_deadline_ms),
});

impl Router {
    /// `lanes`, with 0 resolved to the number of CPU cores.
    pub fn lane_count(&self) -> usize {
        super::values::or_cores(self.lanes)
    }
}
