//! What was decoded a moment ago.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use jtav_schemas::{AbsentReason, Decoded, Modality, PostV1};
use moka::Expiry;
use moka::future::Cache;

use super::error::MediumError;

/// A medium that cannot be had is asked for again after this: a server may be back.
const ABSENT_FOR: Duration = Duration::from_secs(5);
/// So long an erased post is not answered for, whatever is still under way: longer than any deadline and any stay.
const FORGOTTEN_FOR: Duration = Duration::from_secs(300);
/// Bytes of the ids of such posts.
const FORGOTTEN_BYTES: u64 = 8 << 20;
/// Memory of an entry besides its samples or pixels and its key.
const ENTRY_BYTES: usize = 256;
/// Times that a newer revision may find an older one in its place.
const TRIES: usize = 3;

/// What a medium is of: the post, and picture or sound. One revision has the place: an erasure then knows where to look.
type Key = (Arc<str>, Modality);

/// A decoded medium, or why it cannot be had.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    /// Of the post that it is part of.
    pub(super) revision: u64,
    pub(super) decoded: Result<Decoded, AbsentReason>,
}

/// Media by post, bounded by bytes and age.
pub(super) struct KeptMedia {
    media: Cache<Key, Kept>,
    forgotten: Cache<Arc<str>, ()>,
}

impl KeptMedia {
    pub(super) fn new(max_bytes: u64, stay: Duration) -> Self {
        let media = Cache::builder()
            .max_capacity(max_bytes)
            .weigher(|(id, _): &Key, kept: &Kept| weight_bytes(id, kept))
            .expire_after(Stay(stay))
            .build();
        let forgotten = Cache::builder()
            .max_capacity(FORGOTTEN_BYTES)
            .weigher(|id: &Arc<str>, ()| u32::try_from(id.len() + ENTRY_BYTES).unwrap_or(u32::MAX))
            .time_to_live(FORGOTTEN_FOR)
            .build();
        Self { media, forgotten }
    }

    /// # Errors
    /// [`MediumError::Erased`].
    pub(super) fn check(&self, post_id: &str) -> Result<(), MediumError> {
        if self.forgotten.contains_key(post_id) { Err(MediumError::Erased) } else { Ok(()) }
    }

    /// What is kept of this very revision, or comes of `load`, which is done once for all who ask meanwhile. Should the one who
    /// does it go, the next does it himself. Failures of ours are told to all of them and not kept.
    pub(super) async fn get_or_load(
        &self,
        post: &PostV1,
        modality: Modality,
        load: impl Fn() -> BoxFuture<'static, Result<Kept, MediumError>>,
    ) -> Result<Kept, MediumError> {
        let key: Key = (post.id.as_str().into(), modality);
        for _ in 0..TRIES {
            let kept = self.media.try_get_with(key.clone(), load()).await;
            let kept = kept.map_err(|error: Arc<MediumError>| MediumError::clone(&error))?;
            if kept.revision == post.revision {
                return Ok(kept);
            }
            if kept.revision > post.revision {
                break;
            }
            self.media.invalidate(&key).await;
        }
        // Of an older revision than is kept: for this caller alone.
        load().await
    }

    pub(super) async fn forget(&self, post_id: &str) {
        let post_id: Arc<str> = post_id.into();
        // First: what is under way finds it at its end, whenever that is.
        self.forgotten.insert(Arc::clone(&post_id), ()).await;
        for modality in Modality::ALL {
            self.media.invalidate(&(Arc::clone(&post_id), modality)).await;
        }
        // The memory goes now and not with the next questions.
        self.media.run_pending_tasks().await;
    }
}

fn weight_bytes(id: &str, kept: &Kept) -> u32 {
    let decoded = match &kept.decoded {
        Ok(Decoded::Audio(pcm)) => size_of_val(&*pcm.samples),
        Ok(Decoded::Image(picture)) => picture.pixels.len(),
        Err(_) => 0,
    };
    u32::try_from(ENTRY_BYTES + id.len() + decoded).unwrap_or(u32::MAX)
}

/// A medium that is there stays for so long.
struct Stay(Duration);

impl Expiry<Key, Kept> for Stay {
    fn expire_after_create(&self, _: &Key, kept: &Kept, _: Instant) -> Option<Duration> {
        Some(if kept.decoded.is_ok() { self.0 } else { self.0.min(ABSENT_FOR) })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use futures::FutureExt as _;
    use jtav_schemas::RgbImage;
    use tokio::sync::Notify;

    use super::*;

    fn post(revision: u64) -> PostV1 {
        serde_json::from_value(serde_json::json!({ "id": "p", "revision": revision })).unwrap()
    }

    fn picture(revision: u64) -> Kept {
        let image = RgbImage { width: 1, height: 1, pixels: Arc::new([revision as u8; 3]) };
        Kept { revision, decoded: Ok(Decoded::Image(image)) }
    }

    fn first_pixel(kept: &Kept) -> u8 {
        match &kept.decoded {
            Ok(Decoded::Image(image)) => image.pixels[0],
            other => panic!("{other:?}"),
        }
    }

    struct Loads(AtomicU64);

    impl Loads {
        fn of(self: &Arc<Self>, revision: u64) -> impl Fn() -> BoxFuture<'static, Result<Kept, MediumError>> + use<> {
            let loads = Arc::clone(self);
            move || {
                let loads = Arc::clone(&loads);
                async move {
                    loads.0.fetch_add(1, Ordering::SeqCst);
                    tokio::task::yield_now().await;
                    Ok(picture(revision))
                }
                .boxed()
            }
        }
    }

    /// Both are under way at once, and one flight carries one of them.
    #[tokio::test]
    async fn two_revisions_asked_for_at_once_are_each_given_their_own_picture() {
        let (kept, loads) = (KeptMedia::new(1 << 20, Duration::from_secs(60)), Arc::new(Loads(AtomicU64::new(0))));
        for _ in 0..3 {
            let (one, two) = (post(1), post(2));
            let older = kept.get_or_load(&one, Modality::Image, loads.of(1));
            let newer = kept.get_or_load(&two, Modality::Image, loads.of(2));
            let (older, newer) = tokio::join!(older, newer);
            assert_eq!((first_pixel(&older.unwrap()), first_pixel(&newer.unwrap())), (1, 2));
        }
        let before = loads.0.load(Ordering::SeqCst);
        kept.get_or_load(&post(2), Modality::Image, loads.of(2)).await.unwrap();
        assert_eq!(loads.0.load(Ordering::SeqCst), before, "the newer one is kept");
    }

    #[tokio::test]
    async fn what_is_loaded_while_its_post_is_erased_is_given_to_nobody() {
        let kept = Arc::new(KeptMedia::new(1 << 20, Duration::from_secs(60)));
        let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let loading = tokio::spawn({
            let (kept, begun, go_on) = (Arc::clone(&kept), Arc::clone(&begun), Arc::clone(&go_on));
            async move {
                let load = move || {
                    let (begun, go_on) = (Arc::clone(&begun), Arc::clone(&go_on));
                    async move {
                        begun.notify_one();
                        go_on.notified().await;
                        Ok(picture(1))
                    }
                    .boxed()
                };
                kept.get_or_load(&post(1), Modality::Image, load).await.unwrap();
                kept.check("p")
            }
        });
        begun.notified().await;
        assert!(kept.check("p").is_ok());
        kept.forget("p").await;
        go_on.notify_one();
        assert!(matches!(loading.await.unwrap(), Err(MediumError::Erased)));
        assert!(matches!(kept.check("p"), Err(MediumError::Erased)), "nor to whoever comes later");
        assert!(kept.check("q").is_ok());
    }

    #[tokio::test]
    async fn an_erasure_frees_the_memory_at_once() {
        let (kept, loads) = (KeptMedia::new(1 << 20, Duration::from_secs(60)), Arc::new(Loads(AtomicU64::new(0))));
        for modality in [Modality::Image, Modality::Audio] {
            kept.get_or_load(&post(1), modality, loads.of(1)).await.unwrap();
        }
        kept.media.run_pending_tasks().await;
        assert_eq!(kept.media.entry_count(), 2);
        kept.forget("p").await;
        assert_eq!((kept.media.entry_count(), kept.media.weighted_size()), (0, 0));
    }

    #[test]
    fn a_medium_that_cannot_be_had_is_asked_for_again_soon() {
        let (stay, key, now) = (Stay(Duration::from_secs(60)), ("p".into(), Modality::Image), Instant::now());
        let absent = Kept { revision: 1, decoded: Err(AbsentReason::FetchFailed) };
        assert_eq!(stay.expire_after_create(&key, &absent, now), Some(ABSENT_FOR));
        assert_eq!(stay.expire_after_create(&key, &picture(1), now), Some(Duration::from_secs(60)));
    }
}
