use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use jtav_pipeline::{ContentHash, Encoded, StageError};
use jtav_schemas::{AbsentReason, Modality};
use jtav_telemetry::{Metric, global};
use moka::future::Cache;

/// What is known of a medium: its encoding, or why the same bytes can never be encoded.
pub type Known = Result<Arc<Encoded>, AbsentReason>;

/// Identity of an encoding.
type Key = (Modality, ContentHash, Arc<str>);

/// Longest stay of an encoding, whoever uses it. A tombstone reaches one worker only; by this the encodings of an erased
/// post leave the memory of every other one too.
const MAX_AGE: Duration = Duration::from_secs(3_600);
/// Share of the bound that the list of posts may take.
const LIST_SHARE: u64 = 16;
/// Media of one post that are remembered; its older revisions may have had others.
const MAX_MEDIA_PER_POST: usize = 8;

/// Encoder outputs by content hash, modality and model version; each computed once however many posts carry the
/// medium at the same moment (design D9).
///
/// Single-flight is the cache's own: the first caller's future computes, the others wait; should the first be dropped
/// (its post's deadline), the next waiter's future takes over, so nobody is orphaned.
#[derive(Clone)]
pub struct EncodingCache {
    entries: Cache<Key, Known>,
    /// What each post had encoded, so that an erasure finds it.
    by_post: Cache<String, Arc<Vec<(Modality, ContentHash)>>>,
    model_version: Arc<str>,
    stats: Arc<Counters>,
}

#[derive(Default)]
struct Counters {
    hits: AtomicU64,
    misses: AtomicU64,
}

/// Counts since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheStats {
    /// Media that were known, or being worked on for another post.
    pub hits: u64,
    /// Media that had to be decoded and encoded.
    pub misses: u64,
}

impl EncodingCache {
    /// Holds about `max_bytes` of vectors and attention of one model version.
    pub fn new(max_bytes: u64, model_version: &str) -> Self {
        let entries = Cache::builder()
            .max_capacity(max_bytes)
            .weigher(|_, known: &Known| weight_bytes(known))
            .time_to_live(MAX_AGE)
            .build();
        let by_post = Cache::builder()
            .max_capacity(max_bytes / LIST_SHARE)
            .weigher(|id: &String, media: &Arc<Vec<_>>| (id.len() + 40 * media.len()) as u32 + 256)
            .time_to_live(MAX_AGE)
            .build();
        Self { entries, by_post, model_version: model_version.into(), stats: Arc::default() }
    }

    /// The encoding of a medium, from the cache or by `compute`. Answers that depend on the moment (a full queue) are
    /// not kept. Cancellation safe.
    pub async fn get_or_compute(
        &self,
        modality: Modality,
        hash: ContentHash,
        compute: BoxFuture<'static, Result<Known, StageError>>,
    ) -> Result<Known, StageError> {
        let key = (modality, hash, Arc::clone(&self.model_version));
        let entry = self.entries.entry(key).or_try_insert_with(compute).await.map_err(|error| (*error).clone())?;
        let (counter, metric) = if entry.is_fresh() {
            (&self.stats.misses, Metric::CacheMisses)
        } else {
            (&self.stats.hits, Metric::CacheHits)
        };
        counter.fetch_add(1, Ordering::Relaxed);
        global().inc(metric, &[modality.as_str()]);
        Ok(entry.into_value())
    }

    /// Remembers that a post uses a medium. Tasks of one post run one after the other, so no note is lost to another.
    pub async fn note(&self, post_id: &str, modality: Modality, hash: ContentHash) {
        let known = self.by_post.get(post_id).await;
        if known.as_ref().is_some_and(|media| media.contains(&(modality, hash))) {
            return;
        }
        let mut media = known.map_or_else(Vec::new, |media| media.as_ref().clone());
        if media.len() == MAX_MEDIA_PER_POST {
            media.remove(0);
        }
        media.push((modality, hash));
        self.by_post.insert(post_id.to_owned(), Arc::new(media)).await;
    }

    /// Drops the encodings of an erased post. A medium that other posts carry too is encoded again for the next of them.
    pub async fn forget(&self, post_id: &str) {
        let Some(media) = self.by_post.remove(post_id).await else { return };
        for (modality, hash) in media.iter() {
            self.entries.invalidate(&(*modality, *hash, Arc::clone(&self.model_version))).await;
        }
    }

    /// Hits and misses since the start.
    pub fn stats(&self) -> CacheStats {
        CacheStats { hits: self.stats.hits.load(Ordering::Relaxed), misses: self.stats.misses.load(Ordering::Relaxed) }
    }
}

fn weight_bytes(known: &Known) -> u32 {
    // Key, entry and attention list are about 512 bytes whatever the vector's length.
    512 + known.as_ref().map_or(0, |encoded| encoded.vector.values().len() as u32 * 4)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use jtav_pipeline::{AttentionPart, Embedding, Stage};

    use super::*;

    fn encoded() -> Known {
        Ok(Arc::new(Encoded {
            vector: Embedding::new(vec![1.0; 4]).unwrap(),
            attention: AttentionPart::Cells(Vec::new()),
        }))
    }

    fn counted(runs: &Arc<AtomicU64>) -> BoxFuture<'static, Result<Known, StageError>> {
        let runs = Arc::clone(runs);
        async move {
            runs.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            Ok(encoded())
        }
        .boxed()
    }

    #[tokio::test]
    async fn the_same_picture_in_many_posts_at_once_is_encoded_once() {
        let cache = EncodingCache::new(1 << 20, "m");
        let runs = Arc::new(AtomicU64::new(0));
        let posts = (0..10).map(|_| cache.get_or_compute(Modality::Image, [7; 32], counted(&runs)));
        for known in futures::future::join_all(posts).await {
            assert!(known.unwrap().is_ok());
        }
        assert_eq!(runs.load(Ordering::SeqCst), 1);
        assert_eq!(cache.stats(), CacheStats { hits: 9, misses: 1 });
    }

    #[tokio::test]
    async fn a_post_that_gives_up_does_not_orphan_those_that_wait_with_it() {
        let cache = EncodingCache::new(1 << 20, "m");
        let runs = Arc::new(AtomicU64::new(0));
        let leader = cache.get_or_compute(Modality::Image, [7; 32], counted(&runs));
        let follower = cache.get_or_compute(Modality::Image, [7; 32], counted(&runs));
        let leader = tokio::time::timeout(std::time::Duration::from_millis(5), leader);
        let (leader, follower) = tokio::join!(leader, follower);
        assert!(leader.is_err(), "the leader gave up");
        assert!(follower.unwrap().is_ok());
    }

    #[tokio::test]
    async fn a_passing_failure_is_not_remembered() {
        let cache = EncodingCache::new(1 << 20, "m");
        let failing = async { Err(StageError::retryable(Stage::Decode, "queue_full", "full")) }.boxed();
        assert!(cache.get_or_compute(Modality::Audio, [1; 32], failing).await.is_err());
        let runs = Arc::new(AtomicU64::new(0));
        assert!(cache.get_or_compute(Modality::Audio, [1; 32], counted(&runs)).await.unwrap().is_ok());
    }

    #[tokio::test]
    async fn what_an_erased_post_had_encoded_is_forgotten_and_the_rest_is_kept() {
        let cache = EncodingCache::new(1 << 20, "m");
        let runs = Arc::new(AtomicU64::new(0));
        for (post, byte) in [("erased", 1), ("erased", 2), ("other", 3)] {
            cache.note(post, Modality::Image, [byte; 32]).await;
            cache.get_or_compute(Modality::Image, [byte; 32], counted(&runs)).await.unwrap().unwrap();
        }
        cache.forget("erased").await;
        cache.forget("never seen").await;
        for byte in [1, 2, 3] {
            cache.get_or_compute(Modality::Image, [byte; 32], counted(&runs)).await.unwrap().unwrap();
        }
        assert_eq!(runs.load(Ordering::SeqCst), 5, "the erased post's two were computed anew, the other was not");
        for byte in 0..20 {
            cache.note("much edited", Modality::Image, [byte; 32]).await;
        }
        assert_eq!(cache.by_post.get("much edited").await.unwrap().len(), MAX_MEDIA_PER_POST);
    }

    #[tokio::test]
    async fn audio_and_image_of_the_same_bytes_do_not_share_an_entry() {
        let cache = EncodingCache::new(1 << 20, "m");
        let broken = async { Ok(Err(AbsentReason::TypeMismatch)) }.boxed();
        let audio = cache.get_or_compute(Modality::Audio, [1; 32], broken).await.unwrap();
        assert_eq!(audio.err(), Some(AbsentReason::TypeMismatch));
        let image = cache.get_or_compute(Modality::Image, [1; 32], async { Ok(encoded()) }.boxed()).await.unwrap();
        assert!(image.is_ok());
    }
}
