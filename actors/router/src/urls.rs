//! Which content a URL gave: so that a viral picture is neither encoded nor downloaded twice. Only receipts are kept,
//! no bytes (ADR 18).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Instant;

use jtav_pipeline::Receipt;
use jtav_schemas::{MediaRef, Modality};
use moka::future::Cache;
use tokio::sync::Semaphore;
use tokio::time::timeout_at;

use crate::known::MAX_AGE;

/// Longer URLs are not remembered.
const MAX_URL_BYTES: usize = 2_048;
/// Memory of a receipt besides its texts.
const RECEIPT_BYTES: usize = 512;

/// Identity of a medium by where it lies. An image and a clip of one URL are two media, each with its own limits.
type Key = (Modality, Arc<str>);

/// Leaders at work, by where their media lie.
type Leaders = Mutex<HashMap<Key, Weak<Progress>>>;

/// Receipts by URL, bounded by bytes and age.
#[derive(Clone)]
pub(crate) struct UrlMap {
    receipts: Cache<Key, Arc<Receipt>>,
    leaders: Arc<Leaders>,
}

/// A post whose medium is fetched and encoded while its followers wait for what it comes to. Dropped, it lets them go on.
#[derive(Debug)]
pub(crate) struct Leader {
    leaders: Arc<Leaders>,
    key: Key,
    progress: Arc<Progress>,
}

/// What followers look at. Both gates are closed to be passed; neither ever gives a permit.
#[derive(Debug)]
struct Progress {
    receipt: OnceLock<Arc<Receipt>>,
    fetched: Semaphore,
    ended: Semaphore,
}

/// Which part a post has in the fetching of a URL.
#[derive(Debug)]
pub(crate) enum SingleFlight {
    /// Nobody else fetches it.
    Leader(Leader),
    /// Somebody did; the content that the leader was given, if its server lets it be shared and all went well.
    Follower(Option<Arc<Receipt>>),
}

impl UrlMap {
    pub(crate) fn new(max_bytes: u64) -> Self {
        let receipts = Cache::builder()
            .max_capacity(max_bytes)
            .weigher(|(_, url): &Key, receipt: &Arc<Receipt>| weight_bytes(url, receipt))
            .time_to_live(MAX_AGE)
            .build();
        Self { receipts, leaders: Arc::default() }
    }

    /// What is known of the URL of `media`, unless the post declares another content.
    pub(crate) async fn get(&self, modality: Modality, media: &MediaRef) -> Option<Arc<Receipt>> {
        let receipt = self.receipts.get(&key(modality, &media.url)?).await?;
        receipt.answers(media).then_some(receipt)
    }

    /// Remembers an answer in place of the last one. One that could never be used again removes that.
    pub(crate) async fn put(&self, modality: Modality, url: &str, receipt: Option<Arc<Receipt>>) {
        let Some(key) = key(modality, url) else { return };
        match receipt.filter(|receipt| receipt.has_validator() || receipt.is_fresh(Instant::now())) {
            Some(mut receipt) => {
                let known = self.receipts.get(&key).await;
                let same = known.filter(|known| known.content_hash == receipt.content_hash);
                // A hash that was checked once stays true of the same bytes.
                if let Some(sha256) = same.and_then(|known| known.sha256.clone()).filter(|_| receipt.sha256.is_none()) {
                    receipt = Arc::new(Receipt { sha256: Some(sha256), ..(*receipt).clone() });
                }
                self.receipts.insert(key, receipt).await;
            }
            None => self.receipts.invalidate(&key).await,
        }
    }

    pub(crate) async fn forget(&self, modality: Modality, url: &str) {
        if let Some(key) = key(modality, url) {
            self.receipts.invalidate(&key).await;
        }
    }

    /// Becomes the leader of the URL, or follows the one there is: waits until `deadline` for its download, then as long as
    /// it takes to encode. A follower whose leader came to nothing goes by itself, so that a URL whose answers cannot be
    /// shared is not fetched by one after the other.
    pub(crate) async fn lead_or_follow(&self, modality: Modality, url: &str, deadline: Instant) -> SingleFlight {
        let Some(key) = key(modality, url) else { return SingleFlight::Follower(None) };
        let progress = {
            let mut leaders = lock(&self.leaders);
            match leaders.get(&key).and_then(Weak::upgrade) {
                Some(progress) => progress,
                None => {
                    let (fetched, ended) = (Semaphore::new(0), Semaphore::new(0));
                    let progress = Arc::new(Progress { receipt: OnceLock::new(), fetched, ended });
                    leaders.insert(key.clone(), Arc::downgrade(&progress));
                    return SingleFlight::Leader(Leader { leaders: Arc::clone(&self.leaders), key, progress });
                }
            }
        };
        let _ = timeout_at(deadline.into(), progress.fetched.acquire()).await;
        let Some(receipt) = progress.receipt.get() else { return SingleFlight::Follower(None) };
        let _ = progress.ended.acquire().await;
        SingleFlight::Follower(Some(Arc::clone(receipt)))
    }
}

impl Leader {
    /// The download is done. A receipt lets the followers share the content: each had asked before its server answered,
    /// so even an answer that is stale at once is theirs too (RFC 9111 4).
    pub(crate) fn fetched(&self, receipt: Option<Arc<Receipt>>) {
        if let Some(receipt) = receipt {
            let _ = self.progress.receipt.set(receipt);
        }
        self.progress.fetched.close();
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        let mut leaders = lock(&self.leaders);
        // One that came after may have taken the place.
        if leaders.get(&self.key).is_some_and(|leader| leader.as_ptr() == Arc::as_ptr(&self.progress)) {
            leaders.remove(&self.key);
        }
        self.progress.fetched.close();
        self.progress.ended.close();
    }
}

fn lock(leaders: &Leaders) -> MutexGuard<'_, HashMap<Key, Weak<Progress>>> {
    // Nothing can panic while it is held but allocation; the map stays whole.
    leaders.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Media inside their URL or in files have no receipt and no leader.
pub(crate) fn is_remembered(url: &str) -> bool {
    url.len() <= MAX_URL_BYTES && !url.starts_with("data:") && !url.starts_with("file:")
}

fn key(modality: Modality, url: &str) -> Option<Key> {
    is_remembered(url).then(|| (modality, url.into()))
}

fn weight_bytes(url: &str, receipt: &Receipt) -> u32 {
    let texts = [&receipt.sha256, &receipt.etag, &receipt.last_modified].into_iter().flatten();
    (RECEIPT_BYTES + url.len() + receipt.location.len() + texts.map(String::len).sum::<usize>()) as u32
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt as _;

    use super::*;

    fn media(sha256: Option<&str>) -> MediaRef {
        MediaRef { url: "http://h/a".into(), media_type: None, sha256: sha256.map(str::to_owned), bytes: None }
    }

    fn receipt(content: u8, fresh_for: Duration) -> Receipt {
        let now = Instant::now();
        Receipt {
            content_hash: [content; 32],
            sha256: None,
            location: "http://h/a".into(),
            etag: Some("\"1\"".into()),
            last_modified: None,
            lifetime: fresh_for,
            fresh_until: now + fresh_for,
        }
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_post_that_declares_a_hash_is_answered_only_by_content_whose_hash_was_checked() {
        let urls = UrlMap::new(1 << 20);
        let unchecked = Arc::new(receipt(1, MINUTE));
        urls.put(Modality::Image, "http://h/a", Some(Arc::clone(&unchecked))).await;
        assert_eq!(urls.get(Modality::Image, &media(None)).await, Some(Arc::clone(&unchecked)));
        assert_eq!(urls.get(Modality::Image, &media(Some("ab"))).await, None);
        assert_eq!(urls.get(Modality::Audio, &media(None)).await, None, "a clip is another medium");
        let checked = Receipt { sha256: Some("ab".into()), ..receipt(1, MINUTE) };
        urls.put(Modality::Image, "http://h/a", Some(Arc::new(checked))).await;
        assert!(urls.get(Modality::Image, &media(Some("AB"))).await.is_some());
        assert_eq!(urls.get(Modality::Image, &media(Some("cd"))).await, None);
        urls.put(Modality::Image, "http://h/a", Some(unchecked)).await;
        assert!(urls.get(Modality::Image, &media(Some("ab"))).await.is_some(), "the same bytes have the same hash");
        urls.put(Modality::Image, "http://h/a", Some(Arc::new(receipt(2, MINUTE)))).await;
        assert_eq!(urls.get(Modality::Image, &media(Some("ab"))).await, None, "other bytes have not");
    }

    #[tokio::test]
    async fn an_answer_that_may_not_be_kept_takes_the_last_one_with_it() {
        let urls = UrlMap::new(1 << 20);
        for nothing in [None, Some(Arc::new(Receipt { etag: None, ..receipt(1, Duration::ZERO) }))] {
            urls.put(Modality::Image, "http://h/a", Some(Arc::new(receipt(1, Duration::ZERO)))).await;
            assert!(urls.get(Modality::Image, &media(None)).await.is_some(), "stale, with something to ask with");
            urls.put(Modality::Image, "http://h/a", nothing).await;
            assert_eq!(urls.get(Modality::Image, &media(None)).await, None);
        }
    }

    fn is_leader(role: SingleFlight) -> bool {
        matches!(role, SingleFlight::Leader(_))
    }

    #[tokio::test]
    async fn who_wants_a_url_that_is_under_way_waits_no_longer_than_his_deadline_for_the_download() {
        let urls = UrlMap::new(1 << 20);
        let far = Instant::now() + MINUTE;
        let SingleFlight::Leader(leader) = urls.lead_or_follow(Modality::Image, "http://h/a", far).await else {
            unreachable!()
        };
        assert!(is_leader(urls.lead_or_follow(Modality::Image, "http://h/b", far).await), "another URL is not held up");
        let late = urls.lead_or_follow(Modality::Image, "http://h/a", Instant::now()).await;
        assert!(matches!(late, SingleFlight::Follower(None)));
        let waiting = urls.lead_or_follow(Modality::Image, "http://h/a", far);
        tokio::pin!(waiting);
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(leader);
        assert!(matches!(waiting.await, SingleFlight::Follower(None)), "nothing came of it");
        assert!(is_leader(urls.lead_or_follow(Modality::Image, "http://h/a", far).await), "the way is free again");
        assert!(lock(&urls.leaders).is_empty(), "nothing is left of leaders that have ended");
    }

    #[tokio::test]
    async fn what_was_downloaded_is_shared_when_it_is_encoded_and_no_deadline_of_a_download_passes_meanwhile() {
        let urls = UrlMap::new(1 << 20);
        let soon = Instant::now() + Duration::from_millis(20);
        let SingleFlight::Leader(leader) = urls.lead_or_follow(Modality::Image, "http://h/a", soon).await else {
            unreachable!()
        };
        let waiting = urls.lead_or_follow(Modality::Image, "http://h/a", soon);
        tokio::pin!(waiting);
        assert!(waiting.as_mut().now_or_never().is_none());
        leader.fetched(Some(Arc::new(receipt(1, Duration::ZERO))));
        tokio::time::sleep_until((soon + Duration::from_millis(5)).into()).await;
        assert!(waiting.as_mut().now_or_never().is_none(), "it is still being encoded");
        drop(leader);
        let SingleFlight::Follower(Some(shared)) = waiting.await else { panic!("shared, though stale at once") };
        assert_eq!(shared.content_hash, [1; 32]);
    }

    #[tokio::test]
    async fn media_without_a_server_are_neither_remembered_nor_waited_for() {
        let urls = UrlMap::new(1 << 20);
        let long = format!("http://h/{}", "a".repeat(MAX_URL_BYTES));
        for url in ["data:,x", "file:///a", &long] {
            urls.put(Modality::Image, url, Some(Arc::new(receipt(1, MINUTE)))).await;
            let media = MediaRef { url: url.to_owned(), ..media(None) };
            assert_eq!(urls.get(Modality::Image, &media).await, None);
            assert!(!is_leader(urls.lead_or_follow(Modality::Image, url, Instant::now() + MINUTE).await));
        }
    }
}
