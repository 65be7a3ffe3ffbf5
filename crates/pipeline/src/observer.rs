use std::sync::Arc;
use std::time::Duration;

use jtav_delivery::Outcome;
use jtav_schemas::{ModalityStatus, PerModality, SentimentV1};

use crate::InboundRecord;

/// What became of one record, for people and tests that watch.
#[derive(Debug, Clone)]
pub struct PostReport {
    pub record: Arc<InboundRecord>,
    /// The post's id, where it could be read.
    pub post_id: Option<String>,
    pub outcome: Outcome,
    /// The published label.
    pub sentiment: Option<Arc<SentimentV1>>,
    /// Which parts could be used, where it got that far.
    pub modalities: Option<PerModality<ModalityStatus>>,
    /// Why, where it was not published.
    pub message: Option<String>,
    /// From receipt to settlement.
    pub latency: Duration,
}

/// Watches outcomes. Called on the post's lane: it must not block.
pub trait Observer: Send + Sync {
    /// One record got its outcome.
    fn settled(&self, report: PostReport);
}

/// Watches nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoObserver;

impl Observer for NoObserver {
    fn settled(&self, _: PostReport) {}
}
