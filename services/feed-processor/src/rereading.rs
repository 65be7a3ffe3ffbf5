//! Reading a part of the input topic again beside the live workers, for another model.
//!
//! The boxes, the ledger and the commits are those of the live feed; what differs stands here: a group of its own, an
//! end, a rate, and effects that stay out of the live feed's way.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use jtav_ingest::OffsetRange;
use jtav_pipeline::{
    DeadLetterRequest, EraseRequest, PublishOutcome, PublishRequest, Publisher, Stage, StageError, now_ms,
};
use jtav_schemas::ErasureV1;
use jtav_store::{Store, StoreError};

/// What is read again, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Rereading {
    /// Consumer group; never that of the live workers.
    pub group_id: String,
    /// What to read.
    pub offset_range: OffsetRange,
    /// Posts a second at most.
    pub posts_per_second: f64,
    /// Produce labels and vectors to the topics too.
    pub publish: bool,
}

impl Rereading {
    pub(crate) fn min_gap(&self) -> Duration {
        Duration::try_from_secs_f64(1.0 / self.posts_per_second).unwrap_or(Duration::ZERO)
    }
}

/// The publisher of a rereading. Labels go the usual way. A tombstone only sees to the marker in the store: null values and
/// receipts are the live worker's, and it produces them once. What cannot be labelled is counted by the observer and not
/// set aside: it lies on the dead-letter topic already, or it is the new model's failure and the old label stands.
pub struct RereadingPublisher {
    labels: Arc<dyn Publisher>,
    store: Arc<dyn Store>,
    erased_ttl: Duration,
}

impl RereadingPublisher {
    /// Labels go to `labels`.
    pub fn new(labels: Arc<dyn Publisher>, store: Arc<dyn Store>, erased_ttl: Duration) -> Self {
        Self { labels, store, erased_ttl }
    }
}

/// Sees to it that a post is erased, and does not prolong a marker that is there. True if it was not.
///
/// # Errors
/// Those of the store.
pub async fn ensure_erased(
    store: &dyn Store,
    post_id: &str,
    revision: u64,
    erased_ttl: Duration,
) -> Result<bool, StoreError> {
    if store.is_erased(post_id).await? {
        return Ok(false);
    }
    store.erase(post_id, revision, erased_ttl).await?;
    Ok(true)
}

fn failure(error: StoreError) -> StageError {
    if error.is_retryable() {
        StageError::retryable(Stage::Publisher, error.code(), error)
    } else {
        StageError::fatal(Stage::Publisher, error.code(), error)
    }
}

impl Publisher for RereadingPublisher {
    fn publish(&self, request: PublishRequest) -> BoxFuture<'static, Result<PublishOutcome, StageError>> {
        self.labels.publish(request)
    }

    fn erase(&self, request: EraseRequest) -> BoxFuture<'static, Result<ErasureV1, StageError>> {
        let (store, erased_ttl) = (Arc::clone(&self.store), self.erased_ttl);
        async move {
            let EraseRequest { post_id, revision, .. } = request;
            ensure_erased(&*store, &post_id, revision, erased_ttl).await.map_err(failure)?;
            Ok(ErasureV1 { post_id, revision, erased_keys: 0, erased_at_ms: now_ms() })
        }
        .boxed()
    }

    fn dead_letter(&self, _: DeadLetterRequest) -> BoxFuture<'static, Result<(), StageError>> {
        async { Ok(()) }.boxed()
    }
}
