//! What was decoded a moment ago.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use jtav_pipeline::Decoded;
use jtav_schemas::{AbsentReason, Modality};
use moka::Expiry;
use moka::future::Cache;

use super::{PostMedium, RoomError};

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

/// One medium of each kind is kept of a post: an erasure then knows where to look.
type Key = (Modality, String);

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
    forgotten: Cache<String, ()>,
}

impl KeptMedia {
    pub(super) fn new(max_bytes: u64, stay: Duration) -> Self {
        let media = Cache::builder()
            .max_capacity(max_bytes)
            .weigher(|(_, id): &Key, kept: &Kept| weight_bytes(id, kept))
            .expire_after(Stay(stay))
            .build();
        let forgotten = Cache::builder()
            .max_capacity(FORGOTTEN_BYTES)
            .weigher(|id: &String, ()| u32::try_from(id.len() + ENTRY_BYTES).unwrap_or(u32::MAX))
            .time_to_live(FORGOTTEN_FOR)
            .build();
        Self { media, forgotten }
    }

    /// # Errors
    /// [`RoomError::Erased`].
    pub(super) fn check(&self, post_id: &str) -> Result<(), RoomError> {
        if self.forgotten.contains_key(post_id) { Err(RoomError::Erased) } else { Ok(()) }
    }

    /// What is kept of this very revision.
    pub(super) async fn get(&self, modality: Modality, medium: &PostMedium) -> Option<Kept> {
        let kept = self.media.get(&key(modality, medium)).await?;
        (kept.revision == medium.revision).then_some(kept)
    }

    /// What is kept, or comes of `work`, which is done once for all who ask meanwhile. Should the one who does it go, the
    /// next does it himself. Failures of ours are told to all of them and not kept.
    pub(super) async fn get_or_fetch(
        &self,
        modality: Modality,
        medium: &PostMedium,
        work: impl Fn() -> BoxFuture<'static, Result<Kept, RoomError>>,
    ) -> Result<Kept, RoomError> {
        let key = key(modality, medium);
        for _ in 0..TRIES {
            let kept = self.media.try_get_with(key.clone(), work()).await;
            let kept = kept.map_err(|error: Arc<RoomError>| (*error).clone())?;
            if kept.revision == medium.revision {
                return Ok(kept);
            }
            if kept.revision > medium.revision {
                break;
            }
            self.media.invalidate(&key).await;
        }
        // Of an older revision than is kept: for this caller alone.
        work().await
    }

    pub(super) async fn forget(&self, post_id: &str) {
        // First: what is under way finds it at its end, whenever that is.
        self.forgotten.insert(post_id.to_owned(), ()).await;
        for modality in Modality::ALL {
            self.media.invalidate(&(modality, post_id.to_owned())).await;
        }
        // Their memory goes now and not with the next questions.
        self.media.run_pending_tasks().await;
    }
}

fn key(modality: Modality, medium: &PostMedium) -> Key {
    (modality, medium.post_id.clone())
}

fn weight_bytes(id: &str, kept: &Kept) -> u32 {
    let decoded = match &kept.decoded {
        Ok(Decoded::Audio(sound)) => size_of_val(&*sound.samples),
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
