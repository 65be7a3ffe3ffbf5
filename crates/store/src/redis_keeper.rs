use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use jtav_schemas::redis_key::RESTORED_KEY;

use crate::redis_store::RedisStore;
use crate::script::OldMarker;
use crate::{ErasureKeeper, ServerReport, StoreError, script};

/// Longest identity that is believed; ours have 81 characters.
const MAX_IDENTITY_BYTES: isize = 256;

impl ErasureKeeper for RedisStore {
    fn server(&self) -> BoxFuture<'static, Result<ServerReport, StoreError>> {
        let store = self.clone();
        async move { store.ask_server().await }.boxed()
    }

    fn restore_erasure(
        &self,
        post_id: &str,
        revision: u64,
        ttl: Duration,
    ) -> BoxFuture<'static, Result<Option<u32>, StoreError>> {
        let script = script::erase(post_id, revision, ttl, OldMarker::Keep);
        self.call(move |mut redis| async move { script.invoke_async::<i64>(&mut redis).await })
            .map(|answer| answer.map(|deleted| u32::try_from(deleted).ok()))
            .boxed()
    }

    fn restored_on(&self) -> BoxFuture<'static, Result<Option<String>, StoreError>> {
        let mut command = redis::cmd("GETRANGE");
        command.arg(RESTORED_KEY).arg(0).arg(MAX_IDENTITY_BYTES - 1);
        self.call(move |mut redis| async move { command.query_async::<Vec<u8>>(&mut redis).await })
            // What is not text is nobody's identity: the same as nothing.
            .map(|answer| answer.map(|bytes| String::from_utf8(bytes).ok().filter(|text| !text.is_empty())))
            .boxed()
    }

    fn mark_restored(&self, identity: &str) -> BoxFuture<'static, Result<(), StoreError>> {
        let mut command = redis::cmd("SET");
        command.arg(RESTORED_KEY).arg(identity);
        self.call(move |mut redis| async move { command.query_async(&mut redis).await })
    }
}
