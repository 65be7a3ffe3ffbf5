use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::{BoxFuture, ready};
use jtav_schemas::redis_key::ENCODINGS_KEY;
use redis::Script;

use crate::redis_store::RedisStore;
use crate::types::ttl_ms;
use crate::{MAX_SHARED_BYTES, SharedCache, StoreError};

static SHARE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("share.lua")));

impl SharedCache for RedisStore {
    fn get(&self, key: &str) -> BoxFuture<'static, Result<Option<Bytes>, StoreError>> {
        // One byte more than anything of ours: a value of half a gigabyte must not come into our memory to be refused.
        let mut command = redis::cmd("GETRANGE");
        command.arg(key).arg(0).arg(MAX_SHARED_BYTES);
        self.call(move |mut redis| async move { command.query_async::<Bytes>(&mut redis).await })
            .map(|answer| answer.map(|value| (1..=MAX_SHARED_BYTES).contains(&value.len()).then_some(value)))
            .boxed()
    }

    fn put(
        &self,
        key: &str,
        value: Vec<u8>,
        ttl: Duration,
        max_items: u64,
    ) -> BoxFuture<'static, Result<(), StoreError>> {
        if value.len() > MAX_SHARED_BYTES {
            let message = format!("a shared value of {} bytes is larger than {MAX_SHARED_BYTES}", value.len());
            return ready(Err(StoreError::Invalid(message))).boxed();
        }
        let mut call = SHARE.prepare_invoke();
        call.key(key).key(ENCODINGS_KEY).arg(value).arg(ttl_ms(ttl)).arg(max_items);
        self.call(move |mut redis| async move { call.invoke_async::<i64>(&mut redis).await.map(drop) })
    }

    fn forget(&self, keys: Vec<String>) -> BoxFuture<'static, Result<(), StoreError>> {
        if keys.is_empty() {
            return ready(Ok(())).boxed();
        }
        let mut both = redis::pipe();
        both.cmd("DEL").arg(&keys);
        both.cmd("ZREM").arg(ENCODINGS_KEY).arg(&keys);
        self.call(move |mut redis| async move { both.query_async::<(i64, i64)>(&mut redis).await.map(drop) })
    }
}
