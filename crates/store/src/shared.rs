//! Values that workers share and that may be lost at any time; `schemas/redis-keys.md` states the keys.

use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::StoreError;

/// Larger values are not worth their place.
pub const MAX_SHARED_BYTES: usize = 64 << 10;

/// A bounded cache beside the labels. A future that is dropped gives up the answer, not the effect.
pub trait SharedCache: Send + Sync {
    /// The value of a key; `None`: not there, no longer, or too large to be one of ours.
    fn get(&self, key: &str) -> BoxFuture<'static, Result<Option<Bytes>, StoreError>>;

    /// Keeps a value of at most [`MAX_SHARED_BYTES`] for `ttl`; the oldest give way beyond `max_items`.
    fn put(
        &self,
        key: &str,
        value: Vec<u8>,
        ttl: Duration,
        max_items: u64,
    ) -> BoxFuture<'static, Result<(), StoreError>>;

    /// Drops values; those that are not there are no error.
    fn forget(&self, keys: Vec<String>) -> BoxFuture<'static, Result<(), StoreError>>;
}
