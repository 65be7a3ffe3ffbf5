use std::sync::Arc;
use std::time::Duration;

use jtav_pipeline::RetryPolicy;
use jtav_store::Store;

use crate::sink::RecordSink;
use crate::way_out::WayOut;

/// Names of the topics that are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputTopics {
    /// `sentiment.v1`, compacted.
    pub sentiment: String,
    /// `embedding.v1`, compacted.
    pub embeddings: String,
    /// Original records with headers of their own.
    pub dead_letters: String,
    /// `erasure.v1`.
    pub erasures: String,
}

/// How far a label goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// To the store alone: a backfill, whose labels readers fetch by post and model.
    Store,
    /// To the store, then to the topics of labels and vectors.
    Topics,
}

/// What a publisher works with.
#[derive(Clone)]
pub struct PublisherParams {
    /// Where labels are kept.
    pub store: Arc<dyn Store>,
    /// Where records go.
    pub sink: Arc<dyn RecordSink>,
    /// Their names.
    pub topics: OutputTopics,
    /// How far a label goes.
    pub reach: Reach,
    /// How often and how long a write is tried.
    pub retry: RetryPolicy,
    /// A label lapses this long after its write.
    pub label_ttl: Duration,
    /// An erasure marker lapses this long after the last tombstone; longer than the retention of the input and the
    /// dead-letter topic, or a replay brings the post back.
    pub erased_ttl: Duration,
    /// Model that serves; for the dead letters. Empty while none is loaded.
    pub model_version: String,
    /// Version of the program; for the dead letters.
    pub pipeline_version: String,
    /// Is told whether the dead-letter topic takes what it is given.
    pub way_out: Arc<WayOut>,
}
