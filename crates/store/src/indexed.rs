//! A store that keeps an index of vectors beside its labels: whoever writes to it needs to know nothing of the index.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use jtav_schemas::event_time_ms;

use crate::{
    Applied, ErasureKeeper, Found, LabelWrite, RedisStore, RedisVectorIndex, ServerReport, SharedCache, Standing,
    Store, StoreError, StoredLabel, VectorIndex as _,
};

/// Redis with vector sets beside the labels (ADR 50).
///
/// A label is applied first and its vectors follow under the same rule; a failure of the second is one of the write, which is
/// tried again and then finds the label there. An erasure takes the vectors out of every answer before it is acknowledged.
#[derive(Clone)]
pub struct IndexedStore {
    store: RedisStore,
    index: Arc<RedisVectorIndex>,
}

impl IndexedStore {
    /// A store with its index, both of one server.
    pub fn new(store: RedisStore, index: Arc<RedisVectorIndex>) -> Self {
        Self { store, index }
    }
}

impl Store for IndexedStore {
    fn apply(&self, write: &LabelWrite) -> BoxFuture<'static, Result<Applied, StoreError>> {
        let (this, write) = (self.clone(), write.clone());
        async move {
            let applied = this.store.apply(&write).await?;
            if matches!(applied, Applied::Written | Applied::Same) {
                this.index.add(&write, event_time_ms(&write.sentiment_json)).await?;
            }
            Ok(applied)
        }
        .boxed()
    }

    fn erase(&self, post_id: &str, revision: u64, ttl: Duration) -> BoxFuture<'static, Result<u32, StoreError>> {
        let (this, post_id) = (self.clone(), post_id.to_owned());
        async move {
            let erased = this.store.erase(&post_id, revision, ttl).await?;
            this.index.erase(&post_id).await?;
            Ok(erased)
        }
        .boxed()
    }

    fn read(&self, post_id: &str, model_version: &str) -> BoxFuture<'static, Result<Option<StoredLabel>, StoreError>> {
        self.store.read(post_id, model_version)
    }

    fn look_up(
        &self,
        post_ids: &[String],
        model_version: Option<&str>,
    ) -> BoxFuture<'static, Result<Vec<Result<Found, StoreError>>, StoreError>> {
        self.store.look_up(post_ids, model_version)
    }

    fn standing(&self, post_id: &str, model_version: &str) -> BoxFuture<'static, Result<Standing, StoreError>> {
        self.store.standing(post_id, model_version)
    }

    fn is_erased(&self, post_id: &str) -> BoxFuture<'static, Result<bool, StoreError>> {
        self.store.is_erased(post_id)
    }

    fn shared_cache(&self) -> Option<Arc<dyn SharedCache>> {
        self.store.shared_cache()
    }

    fn erasure_keeper(&self) -> Option<Arc<dyn ErasureKeeper>> {
        Some(Arc::new(self.clone()))
    }

    fn ping(&self) -> BoxFuture<'static, Result<(), StoreError>> {
        self.store.ping()
    }
}

impl ErasureKeeper for IndexedStore {
    fn server(&self) -> BoxFuture<'static, Result<ServerReport, StoreError>> {
        ErasureKeeper::server(&self.store)
    }

    /// The vectors too: a server that lost the erasure may have them in its answers again. A marker that stands says nothing of
    /// them, so that they are looked after all the same.
    fn restore_erasure(
        &self,
        post_id: &str,
        revision: u64,
        ttl: Duration,
    ) -> BoxFuture<'static, Result<Option<u32>, StoreError>> {
        let (this, post_id) = (self.clone(), post_id.to_owned());
        async move {
            let restored = this.store.restore_erasure(&post_id, revision, ttl).await?;
            this.index.erase(&post_id).await?;
            Ok(restored)
        }
        .boxed()
    }

    fn restored_on(&self) -> BoxFuture<'static, Result<Option<String>, StoreError>> {
        self.store.restored_on()
    }

    fn mark_restored(&self, identity: &str) -> BoxFuture<'static, Result<(), StoreError>> {
        self.store.mark_restored(identity)
    }
}
