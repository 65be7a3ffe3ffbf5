use std::sync::Arc;

use actix::{Actor, Context, Handler, ResponseFuture};
use jtav_pipeline::messages::{ErasePost, PublishPost, SetAside};
use jtav_pipeline::{PublishOutcome, StageError};
use jtav_schemas::ErasureV1;
use jtav_telemetry::Telemetry;

use crate::params::PublisherParams;
use crate::publishing::Publishing;

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
