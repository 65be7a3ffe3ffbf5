use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use futures::future::BoxFuture;
use jtav_pipeline::{ContentHash, Receipt, StageError};
use jtav_schemas::{MediaRef, Modality};
use jtav_telemetry::{EvictionCause, Metric, UrlResult};
use moka::future::Cache;
use moka::notification::RemovalCause;

use crate::known::{Known, MAX_AGE};
use crate::shared::SharedEncodings;
use crate::sites::KnownSites;
use crate::urls::{Leader, SingleFlight, UrlMap, is_remembered};

/// Identity of an encoding.
type Key = (Modality, ContentHash, Arc<str>);

/// Share of the bound that the list of posts may take, and that what is known of URLs may take.
const LIST_SHARE: u64 = 16;
/// Media of one post that are remembered; its older revisions may have had others.
const MAX_MEDIA_PER_POST: usize = 8;

/// Encoder outputs by content hash, modality and model version; each computed once however many posts carry the
/// medium at the same moment (ADR 6).
///
/// Single-flight is the cache's own: the leader's future computes, the followers wait; should the leader be dropped (its
/// post's deadline), the next follower's future takes over, so nobody is orphaned.
#[derive(Clone)]
pub struct EncodingCache {
    entries: Cache<Key, Known>,
    /// What each post had encoded, so that an erasure finds it.
    by_post: Cache<String, Arc<Vec<Used>>>,
    urls: UrlMap,
    sites: KnownSites,
    /// Encodings that other workers have made.
    shared: Option<SharedEncodings>,
    /// False: nothing is kept and nobody waits for another post.
    is_on: bool,
    model_version: Arc<str>,
    stats: Arc<Counters>,
}

/// A medium that a post uses.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Used {
    modality: Modality,
    hash: ContentHash,
    url: Arc<str>,
}

/// What is known of a medium before its server is asked.
pub(crate) enum Asked {
    /// Which content it is, and the encoding of that.
    Known(ContentHash, Known),
    /// It must be fetched.
    Fetch {
        /// To ask with, where the encoding of the earlier content is held.
        earlier: Option<Arc<Receipt>>,
        /// This post leads and others may follow; to be held until its medium is encoded.
        leader: Option<Leader>,
    },
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
    /// Holds about `max_bytes`: an eighth of it for what posts and URLs had, the rest for vectors and attention of one model
    /// version. 0 switches it off.
    pub fn new(max_bytes: u64, model_version: &str) -> Self {
        let lists_max_bytes = max_bytes / LIST_SHARE;
        let entries = Cache::builder()
            .max_capacity(max_bytes - 2 * lists_max_bytes)
            .weigher(|_, known: &Known| weight_bytes(known))
            .time_to_live(MAX_AGE)
            .eviction_listener(|_, _, cause| count_eviction(cause))
            .build();
        let by_post = Cache::builder()
            .max_capacity(lists_max_bytes)
            .weigher(|id: &String, media: &Arc<Vec<Used>>| list_bytes(id, media))
            .time_to_live(MAX_AGE)
            .build();
        let urls = UrlMap::new(lists_max_bytes);
        let (is_on, stats) = (max_bytes > 0, Arc::default());
        Self {
            entries,
            by_post,
            urls,
            sites: KnownSites::default(),
            shared: None,
            is_on,
            model_version: model_version.into(),
            stats,
        }
    }

    /// Looks for encodings at other workers' too, and leaves its own there.
    pub fn sharing(mut self, shared: SharedEncodings) -> Self {
        self.shared = Some(shared);
        self
    }

    /// Which sites have answered lately.
    pub(crate) fn sites(&self) -> &KnownSites {
        &self.sites
    }

    /// Whether the encoding of a medium is held and its server need not be asked.
    pub(crate) async fn is_at_hand(&self, modality: Modality, media: &MediaRef) -> bool {
        let receipt = self.urls.get(modality, media).await.filter(|receipt| receipt.is_fresh(Instant::now()));
        receipt.is_some_and(|receipt| self.entries.contains_key(&self.key(modality, receipt.content_hash)))
    }

    fn key(&self, modality: Modality, hash: ContentHash) -> Key {
        (modality, hash, Arc::clone(&self.model_version))
    }

    /// The encoding of a medium, from the cache or by `compute`. Answers that depend on the moment (a full queue) are
    /// not kept. Cancellation safe.
    pub async fn get_or_compute(
        &self,
        modality: Modality,
        hash: ContentHash,
        compute: BoxFuture<'static, Result<Known, StageError>>,
    ) -> Result<Known, StageError> {
        if !self.is_on {
            self.count(modality, false);
            return compute.await;
        }
        let key = self.key(modality, hash);
        let compute = match &self.shared {
            Some(shared) => shared.clone().get_or_compute(modality, hash, Arc::clone(&self.model_version), compute),
            None => compute,
        };
        let entry = self.entries.entry(key).or_try_insert_with(compute).await.map_err(|error| (*error).clone())?;
        self.count(modality, !entry.is_fresh());
        if entry.is_fresh() {
            Metric::cache_bytes().set(self.entries.weighted_size() as f64);
        }
        Ok(entry.into_value())
    }

    /// What there is to know of a medium without asking its server: another post may have had it a moment ago, or be
    /// having it now. Waits for that one; for its download no longer than `deadline`. Cancellation safe.
    pub(crate) async fn ask(&self, modality: Modality, media: &MediaRef, deadline: Instant) -> Asked {
        if !self.is_on {
            return Asked::Fetch { earlier: None, leader: None };
        }
        if let Some(receipt) = self.urls.get(modality, media).await.filter(|receipt| receipt.is_fresh(Instant::now()))
            && let Some(known) = self.held(modality, &receipt, UrlResult::Fresh).await
        {
            return Asked::Known(receipt.content_hash, known);
        }
        let leader = match self.urls.lead_or_follow(modality, &media.url, deadline).await {
            SingleFlight::Leader(leader) => Some(leader),
            SingleFlight::Follower(receipt) => {
                if let Some(receipt) = receipt.filter(|receipt| receipt.answers(media))
                    && let Some(known) = self.held(modality, &receipt, UrlResult::Joined).await
                {
                    return Asked::Known(receipt.content_hash, known);
                }
                None
            }
        };
        let mut earlier = self.urls.get(modality, media).await.filter(|earlier| earlier.has_validator());
        if earlier.as_ref().is_some_and(|earlier| !self.entries.contains_key(&self.key(modality, earlier.content_hash)))
        {
            // Its bytes are needed whether they have changed or not.
            earlier = None;
        }
        Asked::Fetch { earlier, leader }
    }

    /// Remembers what a server lets be remembered of its answer, and tells the followers.
    pub(crate) async fn fetched(
        &self,
        modality: Modality,
        url: &str,
        receipt: Option<Arc<Receipt>>,
        leader: Option<&Leader>,
    ) {
        if self.is_on {
            self.urls.put(modality, url, receipt.clone()).await;
        }
        if let Some(leader) = leader {
            leader.fetched(receipt);
        }
    }

    /// The encoding of the content of a receipt, if it is held; counted as a hit by way of the URL.
    pub(crate) async fn held(&self, modality: Modality, receipt: &Receipt, how: UrlResult) -> Option<Known> {
        let known = self.entries.get(&self.key(modality, receipt.content_hash)).await?;
        self.count(modality, true);
        Metric::cache_urls(modality, how).inc();
        Some(known)
    }

    fn count(&self, modality: Modality, is_hit: bool) {
        let (counter, series) = if is_hit {
            (&self.stats.hits, Metric::cache_hits(modality))
        } else {
            (&self.stats.misses, Metric::cache_misses(modality))
        };
        counter.fetch_add(1, Ordering::Relaxed);
        series.inc();
    }

    /// Remembers that a post uses a medium. Tasks of one post run one after the other, so no note is lost to another.
    pub async fn note(&self, post_id: &str, modality: Modality, hash: ContentHash, url: &str) {
        if !self.is_on {
            return;
        }
        // A medium inside its URL would fill the list with itself.
        let url = if is_remembered(url) { url } else { "" };
        let used = Used { modality, hash, url: url.into() };
        let known = self.by_post.get(post_id).await;
        if known.as_ref().is_some_and(|media| media.contains(&used)) {
            return;
        }
        let mut media = known.map_or_else(Vec::new, |media| media.as_ref().clone());
        if media.len() == MAX_MEDIA_PER_POST {
            media.remove(0);
        }
        media.push(used);
        self.by_post.insert(post_id.to_owned(), Arc::new(media)).await;
    }

    /// Drops the encodings of an erased post, here and where they are shared, and what is known of its URLs. A medium
    /// that other posts carry too is fetched and encoded again for the next of them.
    pub async fn forget(&self, post_id: &str) {
        let Some(media) = self.by_post.remove(post_id).await else { return };
        for Used { modality, hash, url } in media.iter() {
            self.urls.forget(*modality, url).await;
            self.entries.invalidate(&self.key(*modality, *hash)).await;
        }
        if let Some(shared) = &self.shared {
            let media: Vec<_> = media.iter().map(|used| (used.modality, used.hash)).collect();
            shared.forget(&media, &self.model_version).await;
        }
        Metric::cache_bytes().set(self.entries.weighted_size() as f64);
    }

    /// Hits and misses since the start.
    pub fn stats(&self) -> CacheStats {
        CacheStats { hits: self.stats.hits.load(Ordering::Relaxed), misses: self.stats.misses.load(Ordering::Relaxed) }
    }
}

fn count_eviction(cause: RemovalCause) {
    let cause = match cause {
        RemovalCause::Size => EvictionCause::Size,
        RemovalCause::Expired => EvictionCause::Age,
        RemovalCause::Explicit => EvictionCause::Erased,
        RemovalCause::Replaced => return,
    };
    Metric::cache_evictions(cause).inc();
}

fn list_bytes(id: &str, media: &[Used]) -> u32 {
    let media: usize = media.iter().map(|used| 64 + used.url.len()).sum();
    (256 + id.len() + media) as u32
}

fn weight_bytes(known: &Known) -> u32 {
    // Key, entry and attention list are about 512 bytes whatever the vector's length.
    512 + known.as_ref().map_or(0, |encoded| encoded.vector.values().len() as u32 * 4)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use jtav_pipeline::{AttentionPart, Embedding, Encoded, Stage};
    use jtav_schemas::AbsentReason;

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
            cache.note(post, Modality::Image, [byte; 32], "http://h/a").await;
            cache.get_or_compute(Modality::Image, [byte; 32], counted(&runs)).await.unwrap().unwrap();
        }
        cache.forget("erased").await;
        cache.forget("never seen").await;
        for byte in [1, 2, 3] {
            cache.get_or_compute(Modality::Image, [byte; 32], counted(&runs)).await.unwrap().unwrap();
        }
        assert_eq!(runs.load(Ordering::SeqCst), 5, "the erased post's two were computed anew, the other was not");
        for byte in 0..20 {
            cache.note("much edited", Modality::Image, [byte; 32], "http://h/a").await;
        }
        assert_eq!(cache.by_post.get("much edited").await.unwrap().len(), MAX_MEDIA_PER_POST);
    }

    #[tokio::test]
    async fn a_cache_of_no_bytes_is_off_and_nobody_waits_for_another() {
        let cache = EncodingCache::new(0, "m");
        let runs = Arc::new(AtomicU64::new(0));
        let posts = (0..3).map(|_| cache.get_or_compute(Modality::Image, [7; 32], counted(&runs)));
        futures::future::join_all(posts).await;
        assert_eq!(runs.load(Ordering::SeqCst), 3);
        assert_eq!(cache.stats(), CacheStats { hits: 0, misses: 3 });
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
