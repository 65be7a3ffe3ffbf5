use std::sync::Arc;

use futures::future::BoxFuture;
use jtav_pipeline::{DeadLetterRequest, EraseRequest, PublishOutcome, PublishRequest, Publisher, StageError};
use jtav_schemas::ErasureV1;
use jtav_telemetry::Telemetry;

use crate::params::PublisherParams;
use crate::publishing::Publishing;

/// The publisher.
#[derive(Clone)]
pub struct PublisherStage {
    publishing: Arc<Publishing>,
}

impl PublisherStage {
    /// Counts in the metrics of the process.
    pub fn new(params: PublisherParams) -> Self {
        Self::with_telemetry(params, jtav_telemetry::global())
    }

    /// Counts elsewhere, for tests.
    pub fn with_telemetry(params: PublisherParams, telemetry: &'static Telemetry) -> Self {
        Self { publishing: Arc::new(Publishing { params, telemetry }) }
    }
}

impl Publisher for PublisherStage {
    fn publish(&self, request: PublishRequest) -> BoxFuture<'static, Result<PublishOutcome, StageError>> {
        let publishing = Arc::clone(&self.publishing);
        Box::pin(async move { publishing.publish(request).await })
    }

    fn erase(&self, request: EraseRequest) -> BoxFuture<'static, Result<ErasureV1, StageError>> {
        let publishing = Arc::clone(&self.publishing);
        Box::pin(async move { publishing.erase(request).await })
    }

    fn dead_letter(&self, request: DeadLetterRequest) -> BoxFuture<'static, Result<(), StageError>> {
        let publishing = Arc::clone(&self.publishing);
        Box::pin(async move { publishing.dead_letter(request).await })
    }
}
