//! Encodings that other workers have made. Whatever goes wrong with them costs a computation and never a post.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use jtav_pipeline::{AttentionPart, ContentHash, Embedding, Encoded, StageError};
use jtav_schemas::redis_key::encoding_key;
use jtav_schemas::{AttentionSummary, Modality, encoding};
use jtav_store::{MAX_SHARED_BYTES, SharedCache, StoreError};
use jtav_telemetry::{Metric, global};
use tokio::time::timeout;

use crate::cache::Known;

/// Longest wait for an answer: a picture is decoded and encoded in a few times this.
const PATIENCE: Duration = Duration::from_millis(50);

/// A place where workers with the same model leave what they have encoded.
#[derive(Clone)]
pub struct SharedEncodings {
    cache: Arc<dyn SharedCache>,
    ttl: Duration,
    max_items: u64,
}

impl SharedEncodings {
    /// Keeps each for `ttl`, and at most `max_items` of them.
    pub fn new(cache: Arc<dyn SharedCache>, ttl: Duration, max_items: u64) -> Self {
        Self { cache, ttl, max_items }
    }

    /// What another worker has made of the medium, or `compute`, whose result is then left for the others.
    pub(crate) fn get_or_compute(
        self,
        modality: Modality,
        hash: ContentHash,
        model_version: Arc<str>,
        compute: BoxFuture<'static, Result<Known, StageError>>,
    ) -> BoxFuture<'static, Result<Known, StageError>> {
        async move {
            let key = encoding_key(&model_version, modality, &hash);
            if let Some(encoded) = self.get(&key, modality).await {
                return Ok(Ok(Arc::new(encoded)));
            }
            let known = compute.await?;
            if let Ok(encoded) = &known {
                self.leave(&key, encoded);
            }
            Ok(known)
        }
        .boxed()
    }

    async fn get(&self, key: &str, modality: Modality) -> Option<Encoded> {
        let answer = timeout(PATIENCE, self.cache.get(key)).await;
        let (result, encoded) = match answer {
            // What cannot be read was written by something else, or is of no use: the same as nothing.
            Ok(Ok(value)) => match value.and_then(|bytes| read(&bytes, modality)) {
                Some(encoded) => ("hit", Some(encoded)),
                None => ("miss", None),
            },
            Ok(Err(error)) => (failed(&error), None),
            Err(_) => ("error", None),
        };
        count("get", result);
        encoded
    }

    /// The post does not wait for it. As many can be under way as there are posts, each for the store's own time-out.
    fn leave(&self, key: &str, encoded: &Encoded) {
        let bytes = encoding::pack(encoded.vector.values(), &summary(&encoded.attention));
        if bytes.len() > MAX_SHARED_BYTES {
            return;
        }
        let putting = self.cache.put(key, bytes, self.ttl, self.max_items);
        tokio::spawn(async move {
            let result = putting.await.as_ref().map_or_else(failed, |()| "ok");
            count("put", result);
        });
    }

    /// Drops the encodings of an erased post's media. Those that cannot be reached now lapse with their time.
    pub(crate) async fn forget(&self, media: &[(Modality, ContentHash)], model_version: &str) {
        let keys = media.iter().map(|(modality, hash)| encoding_key(model_version, *modality, hash)).collect();
        let result = match self.cache.forget(keys).await {
            Ok(()) => "ok",
            Err(error) => {
                tracing::warn!(%error, "shared encodings of an erased post were not dropped; they lapse with their time");
                failed(&error)
            }
        };
        count("forget", result);
    }
}

fn count(operation: &str, result: &str) {
    global().inc(Metric::CacheShared, &[operation, result]);
}

fn failed(error: &StoreError) -> &'static str {
    tracing::debug!(%error, "shared encodings");
    "error"
}

fn summary(attention: &AttentionPart) -> AttentionSummary {
    let mut summary = AttentionSummary::default();
    match attention.clone() {
        AttentionPart::Words(words) => summary.words = words,
        AttentionPart::Spans(spans) => summary.audio_spans = spans,
        AttentionPart::Cells(cells) => summary.image_cells = cells,
    }
    summary
}

fn read(bytes: &[u8], modality: Modality) -> Option<Encoded> {
    let (vector, attention) = encoding::unpack(bytes)?;
    let attention = match modality {
        Modality::Text => AttentionPart::Words(attention.words),
        Modality::Audio => AttentionPart::Spans(attention.audio_spans),
        Modality::Image => AttentionPart::Cells(attention.image_cells),
    };
    Some(Encoded { vector: Embedding::new(vector).ok()?, attention })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, Ordering};

    use bytes::Bytes;
    use futures::future::{pending, ready};
    use jtav_schemas::ImageCell;

    use super::*;
    use crate::EncodingCache;

    /// A shared cache in memory; `None` stands for one that is away.
    #[derive(Default)]
    struct Table(Option<Mutex<HashMap<String, Bytes>>>);

    impl Table {
        fn with<T>(&self, job: impl FnOnce(&mut HashMap<String, Bytes>) -> T) -> Result<T, StoreError> {
            match &self.0 {
                Some(table) => Ok(job(&mut table.lock().unwrap())),
                None => Err(StoreError::Timeout { timeout_ms: 1 }),
            }
        }
    }

    impl SharedCache for Table {
        fn get(&self, key: &str) -> BoxFuture<'static, Result<Option<Bytes>, StoreError>> {
            ready(self.with(|table| table.get(key).cloned())).boxed()
        }

        fn put(&self, key: &str, value: Vec<u8>, _: Duration, _: u64) -> BoxFuture<'static, Result<(), StoreError>> {
            ready(self.with(|table| drop(table.insert(key.to_owned(), value.into())))).boxed()
        }

        fn forget(&self, keys: Vec<String>) -> BoxFuture<'static, Result<(), StoreError>> {
            ready(self.with(|table| keys.iter().for_each(|key| drop(table.remove(key))))).boxed()
        }
    }

    /// Never answers.
    struct Silent;

    impl SharedCache for Silent {
        fn get(&self, _: &str) -> BoxFuture<'static, Result<Option<Bytes>, StoreError>> {
            pending().boxed()
        }

        fn put(&self, _: &str, _: Vec<u8>, _: Duration, _: u64) -> BoxFuture<'static, Result<(), StoreError>> {
            pending().boxed()
        }

        fn forget(&self, _: Vec<String>) -> BoxFuture<'static, Result<(), StoreError>> {
            ready(Ok(())).boxed()
        }
    }

    fn encoded() -> Encoded {
        let cells = vec![ImageCell { row: 1, column: 2, weight: 0.1 }];
        Encoded {
            vector: Embedding::new(vec![0.1, f32::MIN_POSITIVE, -3.0]).unwrap(),
            attention: AttentionPart::Cells(cells),
        }
    }

    /// A worker with a cache of its own.
    fn worker(shared: &Arc<Table>, model: &str) -> EncodingCache {
        let shared = Arc::clone(shared) as Arc<dyn SharedCache>;
        EncodingCache::new(1 << 20, model).sharing(SharedEncodings::new(shared, Duration::from_secs(60), 10))
    }

    async fn image(cache: &EncodingCache, runs: &Arc<AtomicU64>) -> Arc<Encoded> {
        let runs = Arc::clone(runs);
        let compute = async move {
            runs.fetch_add(1, Ordering::SeqCst);
            Ok(Ok(Arc::new(encoded())))
        };
        let known = cache.get_or_compute(Modality::Image, [7; 32], compute.boxed()).await.unwrap().unwrap();
        // What is left for others is written by a task of its own.
        tokio::task::yield_now().await;
        known
    }

    #[tokio::test]
    async fn what_one_worker_has_encoded_another_with_the_same_model_has_too() {
        let shared = Arc::new(Table(Some(Mutex::default())));
        let runs = Arc::new(AtomicU64::new(0));
        let first = image(&worker(&shared, "m@1"), &runs).await;
        let second = image(&worker(&shared, "m@1"), &runs).await;
        assert_eq!((&*first, runs.load(Ordering::SeqCst)), (&*second, 1));
        image(&worker(&shared, "m@2"), &runs).await;
        assert_eq!(runs.load(Ordering::SeqCst), 2, "another model sees otherwise");
    }

    #[tokio::test]
    async fn an_erased_posts_encodings_are_gone_from_where_they_were_shared() {
        let shared = Arc::new(Table(Some(Mutex::default())));
        let (first, runs) = (worker(&shared, "m"), Arc::new(AtomicU64::new(0)));
        first.note("post", Modality::Image, [7; 32], "http://h/a").await;
        image(&first, &runs).await;
        assert_eq!(shared.with(|table| table.len()), Ok(1));
        first.forget("post").await;
        assert_eq!(shared.with(|table| table.len()), Ok(0));
    }

    #[tokio::test]
    async fn a_place_that_is_away_silent_or_full_of_rubbish_is_a_miss() {
        let runs = Arc::new(AtomicU64::new(0));
        image(&worker(&Arc::default(), "m"), &runs).await;
        let silent = SharedEncodings::new(Arc::new(Silent), Duration::from_secs(60), 10);
        image(&EncodingCache::new(1 << 20, "m").sharing(silent), &runs).await;
        assert_eq!(runs.load(Ordering::SeqCst), 2);
        let mut zero = encoding::pack(&[0.0], &AttentionSummary::default());
        for rubbish in [Vec::new(), b"rubbish".to_vec(), std::mem::take(&mut zero)] {
            let shared = Arc::new(Table(Some(Mutex::default())));
            let key = encoding_key("m", Modality::Image, &[7; 32]);
            shared.with(|table| table.insert(key, rubbish.into())).unwrap();
            let before = runs.load(Ordering::SeqCst);
            image(&worker(&shared, "m"), &runs).await;
            assert_eq!(runs.load(Ordering::SeqCst), before + 1);
        }
    }
}
