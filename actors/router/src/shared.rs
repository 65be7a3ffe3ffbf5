//! Encodings that other workers have made. Whatever goes wrong with them costs a computation and never a post.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use jtav_pipeline::{AttentionPart, ContentHash, Embedding, Encoded, StageError};
use jtav_schemas::embedding::{f16_le_bytes, f32_from_f16_le};
use jtav_schemas::redis_key::encoding_key;
use jtav_schemas::{AttentionSummary, Modality, encoding};
use jtav_store::{MAX_SHARED_BYTES, SharedCache, StoreError};
use jtav_telemetry::{Metric, SharedOperation, SharedResult};
use tokio::time::timeout;

use crate::known::Known;

/// Longest wait for an answer: a picture is decoded and encoded in a few times this.
const PATIENCE: Duration = Duration::from_millis(50);

/// Most that an encoder says about what it looked at: 5 words, 3 spans, 5 cells.
const MAX_ATTENTION: usize = 5;
/// Rows and columns of the image encoder's grid.
const GRID: u32 = 7;

/// A place where workers with the same model leave what they have encoded.
#[derive(Clone)]
pub struct SharedEncodings {
    cache: Arc<dyn SharedCache>,
    ttl: Duration,
    max_items: u64,
    dimensions: usize,
}

impl SharedEncodings {
    /// Keeps each for `ttl`, and at most `max_items` of them. Vectors of other than so many `dimensions` are not the
    /// model's, whoever wrote them.
    pub fn new(cache: Arc<dyn SharedCache>, ttl: Duration, max_items: u64, dimensions: usize) -> Self {
        Self { cache, ttl, max_items, dimensions }
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
            Ok(Ok(value)) => match value.and_then(|bytes| read(&bytes, modality, self.dimensions)) {
                Some(encoded) => (SharedResult::Hit, Some(encoded)),
                None => (SharedResult::Miss, None),
            },
            Ok(Err(error)) => (failed(&error), None),
            Err(_) => (SharedResult::Error, None),
        };
        count(SharedOperation::Get, result);
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
            let result = putting.await.as_ref().map_or_else(failed, |()| SharedResult::Ok);
            count(SharedOperation::Put, result);
        });
    }

    /// Drops the encodings of an erased post's media. Those that cannot be reached now lapse with their time.
    pub(crate) async fn forget(&self, media: &[(Modality, ContentHash)], model_version: &str) {
        let keys = media.iter().map(|(modality, hash)| encoding_key(model_version, *modality, hash)).collect();
        let result = match self.cache.forget(keys).await {
            Ok(()) => SharedResult::Ok,
            Err(error) => {
                tracing::warn!(%error, "shared encodings of an erased post were not dropped; they lapse with their time");
                failed(&error)
            }
        };
        count(SharedOperation::Forget, result);
    }
}

fn count(operation: SharedOperation, result: SharedResult) {
    Metric::cache_shared(operation, result).inc();
}

fn failed(error: &StoreError) -> SharedResult {
    tracing::debug!(%error, "shared encodings");
    SharedResult::Error
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

/// As many as an encoder names, each a share of 1, and no more than 1 together.
fn are_shares(weights: impl ExactSizeIterator<Item = f32> + Clone) -> bool {
    weights.len() <= MAX_ATTENTION
        && weights.clone().all(|weight| (0.0..=1.0).contains(&weight))
        && weights.sum::<f32>() <= 1.01
}

/// Whether anything is left of a vector in half precision, in which it is stored and published.
fn survives_rounding(vector: &[f32]) -> bool {
    let rounded = f16_le_bytes(vector).ok().and_then(|bytes| f32_from_f16_le(&bytes).ok());
    rounded
        .is_some_and(|values| values.iter().all(|value| value.is_finite()) && values.iter().any(|value| *value != 0.0))
}

/// An encoding as the worker's own encoder would have made it; none where anything of it is out of its range. It would go
/// into a batch with other posts' vectors, and into records that are refused for it: the post would be dead-lettered.
fn read(bytes: &[u8], modality: Modality, dimensions: usize) -> Option<Encoded> {
    let (vector, attention) = encoding::unpack(bytes)?;
    let AttentionSummary { words, audio_spans, image_cells } = attention;
    let is_time = |seconds: f32| seconds.is_finite() && seconds >= 0.0;
    let believed = vector.len() == dimensions
        && survives_rounding(&vector)
        && are_shares(words.iter().map(|word| word.weight))
        && are_shares(audio_spans.iter().map(|span| span.weight))
        && are_shares(image_cells.iter().map(|cell| cell.weight))
        && audio_spans.iter().all(|span| is_time(span.start_seconds) && is_time(span.end_seconds))
        && image_cells.iter().all(|cell| cell.row < GRID && cell.column < GRID);
    if !believed {
        return None;
    }
    let attention = match modality {
        Modality::Text => AttentionPart::Words(words),
        Modality::Audio => AttentionPart::Spans(audio_spans),
        Modality::Image => AttentionPart::Cells(image_cells),
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

    const DIMENSIONS: usize = 3;

    fn encoded() -> Encoded {
        let cells = vec![ImageCell { row: 1, column: 2, weight: 0.1 }];
        Encoded {
            vector: Embedding::new(vec![0.1, f32::MIN_POSITIVE, -3.0]).unwrap(),
            attention: AttentionPart::Cells(cells),
        }
    }

    /// What lies in Redis and is no encoding of a picture by this model.
    fn rubbish() -> Vec<Vec<u8>> {
        let good = summary(&encoded().attention);
        let with = |change: fn(&mut AttentionSummary)| {
            let mut changed = good.clone();
            change(&mut changed);
            encoding::pack(&[0.1, 0.2, 0.3], &changed)
        };
        let span = |start: f32, weight| jtav_schemas::AudioSpan { start_seconds: start, end_seconds: 1.0, weight };
        assert!(read(&with(|_| ()), Modality::Image, DIMENSIONS).is_some(), "what is changed below was good");
        let mut many = good.clone();
        many.audio_spans = vec![span(0.0, 0.5); MAX_ATTENTION + 1];
        let mut before_the_clip = good.clone();
        before_the_clip.audio_spans = vec![span(-1.0, 0.5)];
        vec![
            Vec::new(),
            b"rubbish".to_vec(),
            encoding::pack(&[0.0; DIMENSIONS], &good),
            encoding::pack(&[0.1, 0.2], &good),
            encoding::pack(&[0.1; DIMENSIONS + 1], &good),
            encoding::pack(&[0.1; 10_000], &good),
            encoding::pack(&[0.1, f32::NAN, 0.3], &good),
            encoding::pack(&[0.1, f32::INFINITY, 0.3], &good),
            with(|summary| summary.image_cells[0].weight = -0.1),
            with(|summary| summary.image_cells[0].weight = 1e30),
            with(|summary| summary.image_cells[0].row = 7),
            with(|summary| {
                summary.image_cells[0].weight = 0.9;
                summary.image_cells.push(summary.image_cells[0].clone());
            }),
            encoding::pack(&[1e30; DIMENSIONS], &good),
            encoding::pack(&[f32::MIN_POSITIVE; DIMENSIONS], &good),
            with(|summary| summary.image_cells = vec![summary.image_cells[0].clone(); MAX_ATTENTION + 1]),
            encoding::pack(&[0.1; DIMENSIONS], &many),
            encoding::pack(&[0.1; DIMENSIONS], &before_the_clip),
        ]
    }

    /// A worker with a cache of its own.
    fn worker(shared: &Arc<Table>, model: &str) -> EncodingCache {
        let shared = Arc::clone(shared) as Arc<dyn SharedCache>;
        EncodingCache::new(1 << 20, model).sharing(SharedEncodings::new(
            shared,
            Duration::from_secs(60),
            10,
            DIMENSIONS,
        ))
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
        let silent = SharedEncodings::new(Arc::new(Silent), Duration::from_secs(60), 10, DIMENSIONS);
        image(&EncodingCache::new(1 << 20, "m").sharing(silent), &runs).await;
        assert_eq!(runs.load(Ordering::SeqCst), 2);
        for rubbish in rubbish() {
            let shared = Arc::new(Table(Some(Mutex::default())));
            let key = encoding_key("m", Modality::Image, &[7; 32]);
            shared.with(|table| table.insert(key, rubbish.into())).unwrap();
            let before = runs.load(Ordering::SeqCst);
            image(&worker(&shared, "m"), &runs).await;
            assert_eq!(runs.load(Ordering::SeqCst), before + 1);
        }
    }
}
