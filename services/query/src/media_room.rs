//! The media of a post for somebody who looks at it: fetched as the worker fetches, decoded in the sandbox, never passed on as
//! they came.
//!
//! A medium costs at most `media.max_image_bytes` or `media.max_audio_bytes` of download and what the decoder's limits allow;
//! `serve.max_media` of them are on their way at once, and who comes meanwhile is told to come again. What was decoded stays
//! for a minute, so that a page that shows picture, spectrogram and sound fetches each once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use jtav_feed_processor::parameters::fetcher;
use jtav_media::{DecodePool, Fetcher};
use jtav_pipeline::{FetchRequest, MediaFetcher, StageError, account_of};
use jtav_schemas::{AbsentReason, Decoded, MediaRef, Modality, PostV1};
use jtav_settings::Settings;
use moka::future::Cache;
use tokio::sync::Semaphore;

/// Decoded media stay for so long.
const KEPT: Duration = Duration::from_secs(60);
/// Bytes of them.
const MAX_BYTES: u64 = 64 << 20;

/// Why there is no medium to show.
#[derive(Debug, Clone, thiserror::Error)]
pub enum MediumError {
    /// As many are on their way as may be.
    #[error("as many media are on their way as serve.max_media allows")]
    Busy,
    /// The post has none of this kind.
    #[error("the post has none")]
    None,
    /// It cannot be had, as a worker would say it.
    #[error("the medium cannot be had: {0}")]
    Absent(AbsentReason),
    /// A failure of our own.
    #[error("{0}")]
    Failed(Arc<StageError>),
}

impl MediumError {
    /// Whether coming again may help.
    pub fn is_retryable(&self) -> bool {
        match self {
            MediumError::Busy | MediumError::Failed(_) => true,
            MediumError::None => false,
            MediumError::Absent(reason) => !reason.is_deterministic(),
        }
    }
}

/// What a medium is of: the post, and picture or sound.
type Key = (Arc<str>, Modality);

#[derive(Clone)]
struct Kept {
    revision: u64,
    decoded: Decoded,
}

/// Fetches and decodes media of posts. Cheap to clone.
#[derive(Clone)]
pub struct MediaRoom {
    shared: Arc<Shared>,
}

struct Shared {
    fetcher: Fetcher,
    decoders: DecodePool,
    turns: Semaphore,
    timeout: Duration,
    kept: Cache<Key, Kept>,
}

impl MediaRoom {
    /// A room with a fetcher of its own, bounded by what `serve.max_media` media may have, and decoders that may be a worker's,
    /// too.
    ///
    /// # Errors
    /// Limits that do not fit, no HTTP client.
    pub fn new(settings: &Settings, decoders: DecodePool) -> anyhow::Result<Self> {
        let mut settings = settings.clone();
        let (media, most) = (&mut settings.media, settings.serve.max_media);
        let each = media.max_image_bytes.max(media.max_audio_bytes);
        let all = each.saturating_mul(most as u64).max(media.max_image_bytes + media.max_audio_bytes);
        media.byte_budget_bytes = media.byte_budget_bytes.min(all);
        let kept = Cache::builder()
            .max_capacity(MAX_BYTES)
            .weigher(|(post_id, _): &Key, kept: &Kept| {
                u32::try_from(post_id.len() + bytes_of(&kept.decoded)).unwrap_or(u32::MAX)
            })
            .time_to_live(KEPT)
            .build();
        let timeout = settings.media.total_timeout() + settings.media.decode_wall();
        let fetcher = fetcher(&settings).context("media of posts that are looked at")?;
        Ok(Self { shared: Arc::new(Shared { fetcher, decoders, turns: Semaphore::new(most), timeout, kept }) })
    }

    /// The picture or the sound of a post, decoded. Dropped, it lets go of everything but what others wait for, too.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn medium(&self, post: &Arc<PostV1>, modality: Modality) -> Result<Decoded, MediumError> {
        let media = match modality {
            Modality::Image => post.image.clone(),
            Modality::Audio => post.audio.clone(),
            Modality::Text => None,
        };
        let media = media.ok_or(MediumError::None)?;
        let key: Key = (post.id.as_str().into(), modality);
        if self.shared.kept.get(&key).await.is_some_and(|kept| kept.revision != post.revision) {
            self.shared.kept.invalidate(&key).await;
        }
        let (shared, post) = (Arc::clone(&self.shared), Arc::clone(post));
        // Of those that ask for one medium at a time one fetches it.
        let load = async move {
            let decoded = shared.load(&post, modality, media).await?;
            Ok(Kept { revision: post.revision, decoded })
        };
        let kept = self.shared.kept.try_get_with(key, load).await;
        kept.map(|kept| kept.decoded).map_err(|error: Arc<MediumError>| MediumError::clone(&error))
    }

    /// Drops what is kept of a post.
    pub async fn forget(&self, post_id: &str) {
        let post_id: Arc<str> = post_id.into();
        for modality in [Modality::Image, Modality::Audio] {
            self.shared.kept.invalidate(&(Arc::clone(&post_id), modality)).await;
        }
    }
}

impl Shared {
    async fn load(&self, post: &PostV1, modality: Modality, media: MediaRef) -> Result<Decoded, MediumError> {
        let _turn = self.turns.try_acquire().map_err(|_| MediumError::Busy)?;
        let work = async {
            let request = FetchRequest { modality, media, deadline: Instant::now() + self.timeout };
            let mut fetched = MediaFetcher::fetch(&self.fetcher, request).await.map_err(MediumError::Absent)?;
            fetched.account = Some(account_of(post));
            match self.decoders.decode(fetched).await {
                Ok(decoded) => decoded.map_err(MediumError::Absent),
                Err(error) => Err(MediumError::Failed(Arc::new(error))),
            }
        };
        tokio::time::timeout(self.timeout, work).await.unwrap_or(Err(MediumError::Absent(AbsentReason::Timeout)))
    }
}

fn bytes_of(decoded: &Decoded) -> usize {
    match decoded {
        Decoded::Audio(pcm) => pcm.samples.len() * size_of::<f32>(),
        Decoded::Image(picture) => picture.pixels.len(),
    }
}
