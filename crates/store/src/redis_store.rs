use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::{BoxFuture, ready};
use jtav_schemas::redis_key::{erased_key, is_valid_model_version, label_key};
use redis::RedisResult;
use redis::aio::{ConnectionManager, MultiplexedConnection};

use crate::direct::DirectConnections;
use crate::link::{Link, RedisOptions, client};
use crate::script::OldMarker;
use crate::{
    Applied, ErasureKeeper, Found, LabelWrite, ServerReport, SharedCache, Standing, Store, StoreError, StoredLabel,
    look, script,
};

/// Erasures that wait for replicas at once, each on a connection of its own.
const ERASURES_AT_ONCE: usize = 8;

/// Redis over one multiplexed connection for each calling thread: concurrent calls share it and travel in batches. It reconnects by itself;
/// calls that were under way then fail with a retryable error. Erasures that wait for replicas, and the questions of
/// [`ErasureKeeper::server`], have connections of their own.
#[derive(Clone)]
pub struct RedisStore {
    parts: Arc<Parts>,
}

struct Parts {
    address: String,
    link: Link,
    /// For erasures that wait for replicas.
    erasures: DirectConnections,
    erasure_replicas: u32,
    erasure_wait: Duration,
    /// For looks at the server.
    looks: DirectConnections,
    /// Which server answered last.
    identity: Mutex<Option<String>>,
}

impl std::fmt::Debug for RedisStore {
    /// The address alone: the URL may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RedisStore({})", self.parts.address)
    }
}

impl RedisStore {
    /// Prepares the connection; the first call opens it, and [`ping`](Store::ping) says whether it can be had. Must be
    /// called inside a tokio runtime.
    pub fn new(options: RedisOptions) -> Result<Self, StoreError> {
        let client = client(&options)?;
        let direct = |timeout, count| DirectConnections::new(client.clone(), options.connect_timeout, timeout, count);
        let parts = Parts {
            address: client.get_connection_info().addr().to_string(),
            link: Link::new(client.clone(), &options)?,
            erasures: direct(options.command_timeout + options.erasure_wait, ERASURES_AT_ONCE),
            erasure_replicas: options.erasure_replicas,
            erasure_wait: options.erasure_wait,
            looks: direct(options.command_timeout, 1),
            identity: Mutex::default(),
        };
        Ok(Self { parts: Arc::new(parts) })
    }

    pub(crate) fn call<T, F>(
        &self,
        job: impl FnOnce(ConnectionManager) -> F + Send + 'static,
    ) -> BoxFuture<'static, Result<T, StoreError>>
    where
        F: Future<Output = RedisResult<T>> + Send,
        T: Send + 'static,
    {
        let parts = Arc::clone(&self.parts);
        async move { parts.link.call(job).await }.boxed()
    }

    /// What the server says of itself. Where another one answers than before, every connection is opened anew: one that
    /// still leads to the old server would go on writing where nobody reads.
    pub(crate) async fn ask_server(&self) -> Result<ServerReport, StoreError> {
        let Parts { link, erasures, looks, identity, .. } = &*self.parts;
        let info =
            looks.call(|mut redis| async move { redis::cmd("INFO").query_async::<String>(&mut redis).await }).await?;
        let report = ServerReport::parse(&info)?;
        if !report.is_primary {
            // It was demoted, and the address may lead to its successor by now.
            looks.close_idle();
            return Ok(report);
        }
        let before = identity.lock().unwrap_or_else(PoisonError::into_inner).replace(report.identity.clone());
        if before.is_some_and(|before| before != report.identity) {
            link.renew();
            erasures.close_idle();
        }
        Ok(report)
    }
}

impl Parts {
    /// Erases on a connection of its own and waits there until enough replicas have it.
    async fn erase_on_replicas(&self, post_id: &str, revision: u64, ttl: Duration) -> Result<u32, StoreError> {
        let script = script::erase(post_id, revision, ttl, OldMarker::Renew);
        let mut wait = redis::cmd("WAIT");
        wait.arg(self.erasure_replicas).arg(self.erasure_wait.as_millis().max(1) as u64);
        let job = |mut redis: MultiplexedConnection| async move {
            let deleted = script.invoke_async::<u32>(&mut redis).await?;
            Ok((deleted, wait.query_async::<u32>(&mut redis).await?))
        };
        let (deleted, replicas) = self.erasures.call(job).await?;
        if replicas < self.erasure_replicas {
            let message = format!("{replicas} of {} replicas have the erasure", self.erasure_replicas);
            return Err(StoreError::Unavailable { code: StoreError::TOO_FEW_REPLICAS, message });
        }
        Ok(deleted)
    }
}

impl Store for RedisStore {
    fn apply(&self, write: &LabelWrite) -> BoxFuture<'static, Result<Applied, StoreError>> {
        if let Err(error) = write.check() {
            return ready(Err(error)).boxed();
        }
        let (parts, call) = (Arc::clone(&self.parts), script::apply(write));
        async move {
            match parts.link.invoke::<String>(call).await?.as_str() {
                "written" => Ok(Applied::Written),
                "same" => Ok(Applied::Same),
                "stale" => Ok(Applied::Stale),
                "erased" => Ok(Applied::Erased),
                other => {
                    let message =
                        format!("the script answered `{}`", other.escape_debug().take(40).collect::<String>());
                    Err(StoreError::Unavailable { code: "protocol", message })
                }
            }
        }
        .boxed()
    }

    fn erase(&self, post_id: &str, revision: u64, ttl: Duration) -> BoxFuture<'static, Result<u32, StoreError>> {
        if self.parts.erasure_replicas > 0 {
            let (parts, post_id) = (Arc::clone(&self.parts), post_id.to_owned());
            return async move { parts.erase_on_replicas(&post_id, revision, ttl).await }.boxed();
        }
        let script = script::erase(post_id, revision, ttl, OldMarker::Renew);
        self.call(move |mut redis| async move { script.invoke_async(&mut redis).await })
    }

    fn read(&self, post_id: &str, model_version: &str) -> BoxFuture<'static, Result<Option<StoredLabel>, StoreError>> {
        let key = label_key(post_id, model_version);
        let lengths = script::field_lengths(&key);
        let mut command = redis::cmd("HMGET");
        command.arg(&key).arg(&script::FIELDS);
        let store = self.clone();
        async move {
            let lengths: Vec<u64> =
                store.call(move |mut redis| async move { lengths.query_async(&mut redis).await }).await?;
            if lengths.iter().fold(0, |sum: u64, length| sum.saturating_add(*length)) > script::MAX_LABEL_BYTES {
                return Err(StoreError::ForeignKey(format!("`{key}` is larger than any label")));
            }
            let values =
                store.call(move |mut redis| async move { command.query_async::<Vec<Option<Bytes>>>(&mut redis).await });
            script::stored_label(&key, values.await?)
        }
        .boxed()
    }

    fn look_up(
        &self,
        post_ids: &[String],
        model_version: Option<&str>,
    ) -> BoxFuture<'static, Result<Vec<Result<Found, StoreError>>, StoreError>> {
        // A name that no model can have would lead to another key of the post.
        if model_version.is_some_and(|model| !is_valid_model_version(model)) {
            let unknown = || Ok(Found::Unknown { models: Vec::new() });
            return ready(Ok(post_ids.iter().map(|_| unknown()).collect())).boxed();
        }
        let (store, post_ids) = (self.clone(), post_ids.to_vec());
        let model_version = model_version.map(str::to_owned);
        async move {
            let answers: Vec<Vec<Bytes>> = match post_ids.as_slice() {
                [] => Vec::new(),
                [post_id] => {
                    let script = look::look(post_id, model_version.as_deref());
                    vec![store.call(move |mut redis| async move { script.invoke_async(&mut redis).await }).await?]
                }
                many => {
                    let mut pipeline = redis::pipe();
                    pipeline.load_script(&look::LOOK).ignore();
                    for post_id in many {
                        pipeline.invoke_script(&look::look(post_id, model_version.as_deref()));
                    }
                    store.call(move |mut redis| async move { pipeline.query_async(&mut redis).await }).await?
                }
            };
            Ok(post_ids.iter().zip(answers).map(|(post_id, answer)| look::found(post_id, answer)).collect())
        }
        .boxed()
    }

    fn standing(&self, post_id: &str, model_version: &str) -> BoxFuture<'static, Result<Standing, StoreError>> {
        let key = label_key(post_id, model_version);
        let (parts, call) = (Arc::clone(&self.parts), script::standing(post_id, &key));
        async move {
            let (erased, revision, source) = parts.link.invoke::<(bool, Option<Bytes>, Option<Bytes>)>(call).await?;
            Ok(Standing { erased, newest: script::identity(&key, revision, source)? })
        }
        .boxed()
    }

    fn is_erased(&self, post_id: &str) -> BoxFuture<'static, Result<bool, StoreError>> {
        let mut command = redis::cmd("EXISTS");
        command.arg(erased_key(post_id));
        self.call(move |mut redis| async move { command.query_async(&mut redis).await })
    }

    fn shared_cache(&self) -> Option<Arc<dyn SharedCache>> {
        Some(Arc::new(self.clone()))
    }

    fn erasure_keeper(&self) -> Option<Arc<dyn ErasureKeeper>> {
        Some(Arc::new(self.clone()))
    }

    fn ping(&self) -> BoxFuture<'static, Result<(), StoreError>> {
        self.call(move |mut redis| async move { redis::cmd("PING").query_async::<String>(&mut redis).await.map(drop) })
    }
}
