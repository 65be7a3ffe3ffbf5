//! Erasures that a server has acknowledged and its successor may not have.

use std::time::Duration;

use futures::future::BoxFuture;

use crate::{ServerReport, StoreError};

/// What is needed to carry out again what a failover or a restart of the server has lost. A future that is dropped gives
/// up the answer, not the effect; every call may be repeated.
pub trait ErasureKeeper: Send + Sync {
    /// What the server says of itself, asked on a connection of its own.
    fn server(&self) -> BoxFuture<'static, Result<ServerReport, StoreError>>;

    /// Erases a post whose marker is not there; a marker that stands is left as it is, and so is the rest. Gives how many
    /// labels were deleted, `None` where the marker stood. Does not wait for replicas: whatever is lost in the next
    /// failover is looked for after it.
    fn restore_erasure(
        &self,
        post_id: &str,
        revision: u64,
        ttl: Duration,
    ) -> BoxFuture<'static, Result<Option<u32>, StoreError>>;

    /// [`ServerReport::identity`] of the server on which erasures were last looked after.
    fn restored_on(&self) -> BoxFuture<'static, Result<Option<String>, StoreError>>;

    /// Writes down that all erasures stand on a server.
    fn mark_restored(&self, identity: &str) -> BoxFuture<'static, Result<(), StoreError>>;
}
