use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Context, Handler, ResponseFuture};
use jtav_pipeline::messages::{ErasePost, PublishPost, SetAside};
use jtav_pipeline::{PublishOutcome, RetryPolicy, StageError};
use jtav_schemas::ErasureV1;
use jtav_store::Store;
use jtav_telemetry::Telemetry;

use crate::publishing::Publishing;
use crate::{RecordSink, WayOut};

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

/// The publisher. It holds no state of a post: each message is a task of its own, and they run side by side.
pub struct PublisherActor {
    publishing: Arc<Publishing>,
}

impl PublisherActor {
    /// Counts in the metrics of the process.
    pub fn new(params: PublisherParams) -> Self {
        Self::with_telemetry(params, jtav_telemetry::global())
    }

    /// Counts elsewhere, for tests.
    pub fn with_telemetry(params: PublisherParams, telemetry: &'static Telemetry) -> Self {
        Self { publishing: Arc::new(Publishing { params, telemetry }) }
    }
}

impl Actor for PublisherActor {
    type Context = Context<Self>;
}

impl Handler<PublishPost> for PublisherActor {
    type Result = ResponseFuture<Result<PublishOutcome, StageError>>;

    fn handle(&mut self, PublishPost(request): PublishPost, _: &mut Self::Context) -> Self::Result {
        let publishing = Arc::clone(&self.publishing);
        Box::pin(async move { publishing.publish(request).await })
    }
}

impl Handler<ErasePost> for PublisherActor {
    type Result = ResponseFuture<Result<ErasureV1, StageError>>;

    fn handle(&mut self, ErasePost(request): ErasePost, _: &mut Self::Context) -> Self::Result {
        let publishing = Arc::clone(&self.publishing);
        Box::pin(async move { publishing.erase(request).await })
    }
}

impl Handler<SetAside> for PublisherActor {
    type Result = ResponseFuture<Result<(), StageError>>;

    fn handle(&mut self, SetAside(request): SetAside, _: &mut Self::Context) -> Self::Result {
        let publishing = Arc::clone(&self.publishing);
        Box::pin(async move { publishing.dead_letter(request).await })
    }
}
