use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::{BoxFuture, ready};
use jtav_neighbours::{Found, MAX_DIMENSIONS, MAX_K, Query};
use jtav_schemas::redis_key::{is_valid_model_version, vectors_key};
use redis::FromRedisValue as _;

use crate::redis_store::RedisStore;
use crate::vector_index::{Indexed, VectorIndex, VectorIndexSettings};
use crate::vector_script::{self, Attributes, Buckets};
use crate::{Clock, LabelWrite, StoreError, SystemClock};

/// Vector sets of Redis 8, one for each model, kind and stretch of time, dropped whole when they have left the window. They lie
/// on the server that holds the labels: one script sees both (ADR 50).
#[derive(Clone)]
pub struct RedisVectorIndex {
    store: RedisStore,
    settings: VectorIndexSettings,
    buckets: Buckets,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for RedisVectorIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RedisVectorIndex({:?}, {:?})", self.store, self.settings)
    }
}

/// An element of one of several vector sets.
struct Element {
    key: String,
    name: String,
    /// Cosine, -1 to 1.
    similarity: f32,
}

impl RedisVectorIndex {
    /// On the server of a store. Sends nothing; [`check`](Self::check) says whether the server can do it.
    ///
    /// # Errors
    /// A window of more stretches than one search can ask.
    pub fn new(store: RedisStore, settings: VectorIndexSettings) -> Result<Self, StoreError> {
        let buckets = Buckets::new(&settings)?;
        Ok(Self { store, settings, buckets, clock: Arc::new(SystemClock) })
    }

    /// Asks the server whether it has vector sets and is no node of a Redis Cluster, where a post and the vector sets would lie on
    /// different nodes.
    ///
    /// # Errors
    /// [`StoreError::Denied`] with the code `cluster` or `no_vector_sets`; what any call may end with.
    pub async fn check(&self) -> Result<(), StoreError> {
        let asked = self.store.call(|mut redis| async move {
            let mut both = redis::pipe();
            both.cmd("INFO").arg("cluster");
            both.cmd("COMMAND").arg("INFO").arg("VADD").arg("VSIM").arg("VSETATTR").arg("VGETATTR").arg("VEMB");
            both.query_async::<(String, Vec<Option<redis::Value>>)>(&mut redis).await
        });
        let (info, commands) = asked.await?;
        if info.lines().any(|line| line.trim_end() == "cluster_enabled:1") {
            let message =
                "a post and the vector sets would lie on different nodes: use one server, or the index in memory";
            return Err(StoreError::Denied { code: "cluster", message: message.to_owned() });
        }
        if commands.iter().any(|command| matches!(command, None | Some(redis::Value::Nil))) {
            let message = "the server has no vector sets: Redis 8 or newer is needed".to_owned();
            return Err(StoreError::Denied { code: "no_vector_sets", message });
        }
        Ok(())
    }

    fn now_ms(&self) -> i64 {
        i64::try_from(self.clock.now_ms()).unwrap_or(i64::MAX)
    }

    /// The nearest elements of each stretch, all together, and how many vectors those hold. Gives the oldest that is there.
    async fn nearest(&self, keys: Vec<(i64, String)>, asked: Asked) -> Result<Nearest, StoreError> {
        let mut pipeline = redis::pipe();
        for (_, key) in &keys {
            let nearest = vector_script::nearest(key, &asked.vector, asked.count, &asked.filter, &self.settings);
            pipeline.add_command(nearest).cmd("VCARD").arg(key);
        }
        let answers: Vec<redis::Value> = self
            .store
            .call(move |mut redis| async move { pipeline.query_async(&mut redis).await })
            .await
            .map_err(of_dimensions)?;
        let mut found = Nearest::default();
        let mut answers = answers.into_iter();
        for (bucket, key) in keys {
            let (Some(near), Some(count)) = (answers.next(), answers.next()) else { break };
            let count = u64::from_redis_value(count).map_err(redis::RedisError::from)?;
            if count > 0 {
                found.searched += count;
                found.oldest.get_or_insert(bucket);
            }
            // Redis says (1 + cosine) / 2.
            let near = Vec::<(String, f32)>::from_redis_value(near).map_err(redis::RedisError::from)?;
            let near = near.into_iter().map(|(name, score)| Element {
                key: key.clone(),
                name,
                similarity: (2.0 * score - 1.0).clamp(-1.0, 1.0),
            });
            found.elements.extend(near);
        }
        found.elements.sort_by(|a, b| b.similarity.total_cmp(&a.similarity));
        found.elements.truncate(asked.count);
        Ok(found)
    }

    /// What is known of elements, asked for after they were found: one that was taken out meanwhile is none.
    async fn attributes(&self, elements: &[Element]) -> Result<Vec<Option<Bytes>>, StoreError> {
        if elements.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = redis::pipe();
        for element in elements {
            pipeline.cmd("VGETATTR").arg(&element.key).arg(&element.name);
        }
        self.store.call(move |mut redis| async move { pipeline.query_async(&mut redis).await }).await
    }
}

/// A question as a vector set is asked.
struct Asked {
    vector: Vec<u8>,
    count: usize,
    filter: String,
}

#[derive(Default)]
struct Nearest {
    elements: Vec<Element>,
    searched: u64,
    oldest: Option<i64>,
}

/// Redis names a vector of another length in a plain error.
fn of_dimensions(error: StoreError) -> StoreError {
    match error {
        StoreError::Denied { message, .. } if message.contains("dimension") || message.contains("Vector dim") => {
            StoreError::Invalid("the vector has another length than those of the model".to_owned())
        }
        error => error,
    }
}

impl VectorIndex for RedisVectorIndex {
    fn add(&self, write: &LabelWrite, event_time_ms: Option<i64>) -> BoxFuture<'static, Result<Indexed, StoreError>> {
        if let Err(error) = write.check() {
            return ready(Err(error)).boxed();
        }
        let now_ms = self.now_ms();
        let time_ms = event_time_ms.unwrap_or(write.labelled_at_ms).min(now_ms);
        let Some(bucket) = self.buckets.of(time_ms, now_ms) else { return ready(Ok(Indexed::TooOld)).boxed() };
        let times = [time_ms, bucket, self.buckets.lapses_at_ms(bucket)];
        let script = match vector_script::add(write, &self.settings, event_time_ms, times) {
            Ok(script) => script,
            Err(error) => return ready(Err(error)).boxed(),
        };
        let answer = self.store.call(move |mut redis| async move { script.invoke_async::<String>(&mut redis).await });
        answer
            .map(|answer| match answer.map_err(of_dimensions)?.as_str() {
                "written" => Ok(Indexed::Written),
                "same" => Ok(Indexed::Same),
                "stale" => Ok(Indexed::Stale),
                "erased" => Ok(Indexed::Erased),
                "too_many" => Ok(Indexed::TooManyEdits),
                other => {
                    let message =
                        format!("the script answered `{}`", other.escape_debug().take(40).collect::<String>());
                    Err(StoreError::Unavailable { code: "protocol", message })
                }
            })
            .boxed()
    }

    fn erase(&self, post_id: &str) -> BoxFuture<'static, Result<u32, StoreError>> {
        let script = vector_script::forget(post_id);
        self.store.call(move |mut redis| async move { script.invoke_async(&mut redis).await })
    }

    fn search(&self, query: &Query<'_>) -> BoxFuture<'static, Result<Found, StoreError>> {
        if let Err(error) = check(query) {
            return ready(Err(error)).boxed();
        }
        let k = query.k.min(MAX_K);
        let filter = vector_script::filter(query).filter(|_| k > 0 && is_valid_model_version(query.model));
        let Some(filter) = filter else { return ready(Ok(Found::default())).boxed() };
        let now_ms = self.now_ms();
        let key = |bucket| (bucket, vectors_key(query.model, query.kind.as_str(), bucket));
        let keys: Vec<_> = self.buckets.since(query.since_ms, now_ms).into_iter().map(key).collect();
        if keys.is_empty() {
            return ready(Ok(Found::default())).boxed();
        }
        // One more, because the post that is left out may be among them.
        let count = k + usize::from(query.exclude_post.is_some());
        let asked = Asked { vector: vector_script::fp32(query.vector), count, filter };
        let (index, exclude) = (self.clone(), query.exclude_post.map(str::to_owned));
        async move {
            let nearest = index.nearest(keys, asked).await?;
            let attributes = index.attributes(&nearest.elements).await?;
            let hits = nearest.elements.iter().zip(attributes).filter_map(|(element, attributes)| {
                let hit = Attributes::parse(&attributes?)?.hit(element.similarity)?;
                (exclude.as_ref() != Some(&hit.post_id)).then_some(hit)
            });
            Ok(Found { hits: hits.take(k).collect(), searched: nearest.searched, reaches_back_to_ms: nearest.oldest })
        }
        .boxed()
    }
}

fn check(query: &Query<'_>) -> Result<(), StoreError> {
    let vector = query.vector;
    let is_finite = vector.iter().all(|value| value.is_finite());
    if !is_finite || vector.iter().all(|value| *value == 0.0) || vector.len() > MAX_DIMENSIONS {
        let message = format!("a vector of {} components that are not finite, all 0 or too many", vector.len());
        return Err(StoreError::Invalid(message));
    }
    Ok(())
}
