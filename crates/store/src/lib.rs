//! The label store: Redis behind one trait, and its twin in memory.
//!
//! A write is one atomic compare-and-set ordered by (revision, source position): an equal or older one changes
//! nothing, so late and repeated writers are harmless. Erasure is terminal: it deletes the keys of every model and
//! leaves a marker that refuses every later write until it lapses (ADR 3). `schemas/redis-keys.md` states the keys.
//!
//! [`VectorIndex`] finds neighbours beyond the memory of one machine, in vector sets beside the labels (ADR 50).
//!
//! [`RedisStore`] and [`EmbeddedStore`] pass the same conformance tests (`tests/conformance.rs`).

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;

mod clock;
mod direct;
mod embedded;
mod error;
mod gather;
mod indexed;
mod keeper;
mod link;
mod look;
mod read;
mod redis_keeper;
mod redis_shared;
mod redis_store;
mod redis_vectors;
mod script;
mod server;
mod shared;
mod types;
mod vector_index;
mod vector_script;

pub use clock::{Clock, ManualClock, SystemClock};
pub use embedded::EmbeddedStore;
pub use error::StoreError;
pub use indexed::IndexedStore;
pub use keeper::ErasureKeeper;
pub use link::{ClientCertificate, RedisOptions};
pub use look::{Found, FoundLabel};
pub use read::read_embedding;
pub use redis_store::RedisStore;
pub use redis_vectors::RedisVectorIndex;
pub use server::ServerReport;
pub use shared::{MAX_SHARED_BYTES, SharedCache};
pub use types::{Applied, LabelWrite, Source, Standing, StoredLabel};
pub use vector_index::{Indexed, VectorIndex, VectorIndexSettings};

/// Labels and vectors by post and model.
///
/// A future that is dropped gives up the answer, not the effect: a write that was sent may still be carried out, and
/// repeating it is safe.
pub trait Store: Send + Sync {
    /// Writes a label unless the store holds this or a newer one, or the post is erased.
    fn apply(&self, write: &LabelWrite) -> BoxFuture<'static, Result<Applied, StoreError>>;

    /// Erases a post: deletes its label under every model and refuses every write of it for `ttl`, which must
    /// outlast the input and dead-letter topics' retention. Answers how many labels were deleted, once as many
    /// replicas have it as the store was told to wait for. Repeating it starts `ttl` anew.
    fn erase(&self, post_id: &str, revision: u64, ttl: Duration) -> BoxFuture<'static, Result<u32, StoreError>>;

    /// The label of a post by one model, if there is one.
    fn read(&self, post_id: &str, model_version: &str) -> BoxFuture<'static, Result<Option<StoredLabel>, StoreError>>;

    /// What the store knows of posts, in their order, each by one model or by that which labelled it last: one request,
    /// and no vectors. A post that another program wrote over is an error of its own.
    fn look_up(
        &self,
        post_ids: &[String],
        model_version: Option<&str>,
    ) -> BoxFuture<'static, Result<Vec<Result<Found, StoreError>>, StoreError>>;

    /// What the store holds of a post by one model, without its content: one short question after every publication.
    fn standing(&self, post_id: &str, model_version: &str) -> BoxFuture<'static, Result<Standing, StoreError>>;

    fn is_erased(&self, post_id: &str) -> BoxFuture<'static, Result<bool, StoreError>>;

    /// A cache that all workers of this store share, where it has room for one.
    fn shared_cache(&self) -> Option<Arc<dyn SharedCache>> {
        None
    }

    /// Who sees to it that erasures outlive the server, where there is one.
    fn erasure_keeper(&self) -> Option<Arc<dyn ErasureKeeper>> {
        None
    }

    /// `Ok` when the store answers.
    fn ping(&self) -> BoxFuture<'static, Result<(), StoreError>>;
}
