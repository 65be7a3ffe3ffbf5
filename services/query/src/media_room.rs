//! The media of a post for somebody who looks at it: fetched as the worker fetches, decoded in the sandbox, never passed on as
//! they came.
//!
//! Whoever may post chooses the addresses, and whoever may read chooses when they are asked. A medium costs at most
//! `media.max_image_bytes` or `media.max_audio_bytes` of download and what the decoder's limits allow; `serve.max_media` of
//! them are on their way at once, of one site three quarters of these, and who comes meanwhile is told to come again. What was
//! decoded stays for a minute, so that a page that shows picture, spectrogram and sound fetches each once. Decoded, a picture
//! has 150 kB and a clip 88 kB for each of its `media.analysed_audio_seconds`.

mod error;
mod kept;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use jtav_delivery::{Demand, FairQueue, Share, Shares};
use jtav_feed_processor::parameters::fetcher;
use jtav_media::{DecodePool, Fetcher};
use jtav_pipeline::{FetchRequest, MediaFetcher, Stage, StageError, account_of, site_of_url};
use jtav_schemas::{AbsentReason, Decoded, MediaRef, Modality, Pcm, PostV1};
use jtav_settings::Settings;
use jtav_signal::constants::SAMPLE_RATE_HZ;

use self::kept::{Kept, KeptMedia};

pub use error::MediumError;

/// Decoded media stay for so long.
const KEPT_FOR: Duration = Duration::from_secs(60);
/// Bytes of them.
const MAX_BYTES: u64 = 64 << 20;

/// Fetches and decodes media of posts. Cheap to clone.
#[derive(Clone)]
pub struct MediaRoom {
    shared: Arc<Shared>,
}

struct Shared {
    fetcher: Fetcher,
    decoders: DecodePool,
    places: usize,
    /// By site: one that lets us wait does not keep the others out.
    turns: Shares<Arc<str>>,
    fetch_timeout: Duration,
    timeout: Duration,
    kept: KeptMedia,
}

impl MediaRoom {
    /// A room with a fetcher of its own, bounded by what `serve.max_media` media may have, and decoders that may be a worker's,
    /// too.
    ///
    /// # Errors
    /// Limits that do not fit, no HTTP client.
    pub fn new(settings: &Settings, decoders: DecodePool) -> anyhow::Result<Self> {
        let mut settings = settings.clone();
        let (media, places) = (&mut settings.media, settings.serve.max_media.max(1));
        let each = media.max_image_bytes.max(media.max_audio_bytes);
        let all = each.saturating_mul(places as u64).max(media.max_image_bytes.saturating_add(media.max_audio_bytes));
        media.byte_budget_bytes = media.byte_budget_bytes.min(all);
        let fetch_timeout = settings.media.total_timeout();
        let shared = Shared {
            fetcher: fetcher(&settings).context("media of posts that are looked at")?,
            decoders,
            places,
            turns: Shares::new(FairQueue::new(places)),
            fetch_timeout,
            timeout: fetch_timeout + settings.media.decode_wall(),
            kept: KeptMedia::new(MAX_BYTES, KEPT_FOR),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The picture or the sound of this revision of a post: 224 × 224 RGB, or mono of 22,050 Hz. Dropped, it closes the
    /// connection and lets go of everything; others who wait for the same medium then fetch it themselves.
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
        let shared = &self.shared;
        shared.kept.check(&post.id)?;
        let load = || Arc::clone(shared).load(Arc::clone(post), modality, media.clone());
        let kept = shared.kept.get_or_load(post, modality, load);
        // Those who wait for another's download, too.
        let kept = tokio::time::timeout(shared.timeout, kept).await;
        let kept = kept.unwrap_or(Err(MediumError::Absent(AbsentReason::Timeout)))?;
        // Erased meanwhile, it is not answered for.
        shared.kept.check(&post.id)?;
        kept.decoded.map_err(MediumError::Absent)
    }

    /// Drops what is kept of an erased post. From when this returns on nobody is given anything of it, whatever is still under
    /// way.
    pub async fn forget(&self, post_id: &str) {
        self.shared.kept.forget(post_id).await;
    }

    /// Media that are on their way now.
    pub fn in_flight(&self) -> usize {
        self.shared.turns.used()
    }
}

impl Shared {
    fn load(
        self: Arc<Self>,
        post: Arc<PostV1>,
        modality: Modality,
        media: MediaRef,
    ) -> BoxFuture<'static, Result<Kept, MediumError>> {
        async move {
            let _turn = self.turn(&media.url).ok_or(MediumError::Busy)?;
            let request = FetchRequest { modality, media, deadline: Instant::now() + self.fetch_timeout };
            let decoded = match MediaFetcher::fetch(&self.fetcher, request).await {
                Err(reason) => Err(reason),
                Ok(mut fetched) => {
                    fetched.account = Some(account_of(&post));
                    match self.decoders.decode(fetched).await.map_err(of_stage)? {
                        Ok(Decoded::Audio(pcm)) => at_one_rate(pcm).await?.map(Decoded::Audio),
                        other => other,
                    }
                }
            };
            Ok(Kept { revision: post.revision, decoded })
        }
        .boxed()
    }

    /// A place on account of the medium's site; media without a server have one account together.
    fn turn(&self, url: &str) -> Option<Share<Arc<str>>> {
        let site = site_of_url(url).unwrap_or_else(|| "".into());
        let most_of_one = self.places - self.places / 4;
        self.turns.try_take(Demand { places: 1, shares: Vec::new(), limits: vec![(site, most_of_one)] })
    }
}

fn of_stage(error: StageError) -> MediumError {
    match error.code {
        "queue_full" => MediumError::Busy,
        _ => MediumError::Failed(Arc::new(error)),
    }
}

/// Decoders that work for a GPU leave some rates to it.
async fn at_one_rate(pcm: Pcm) -> Result<Result<Pcm, AbsentReason>, MediumError> {
    if pcm.sample_rate_hz == SAMPLE_RATE_HZ {
        return Ok(Ok(pcm));
    }
    let resample = move || jtav_signal::resample(&pcm.samples, pcm.sample_rate_hz, SAMPLE_RATE_HZ);
    let resampled = tokio::task::spawn_blocking(resample).await;
    let resampled = resampled.map_err(|error| of_stage(StageError::retryable(Stage::Decode, "resampling", error)))?;
    let samples = resampled.map_err(|_| AbsentReason::DecodeError);
    Ok(samples.map(|samples| Pcm { samples: samples.into(), sample_rate_hz: SAMPLE_RATE_HZ }))
}
