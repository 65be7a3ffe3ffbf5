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
    EncodingCache::new(1 << 20, model).sharing(SharedEncodings::new(shared, Duration::from_secs(60), 10, DIMENSIONS))
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
