//! A post's picture and sound as its label was made from them, for a person to look at: fetched and decoded as the worker
//! does it, by the same policy and the same decoders.
//!
//! Whoever may post chooses the addresses, and whoever may read chooses when they are asked. So a question takes one of a
//! few places or is refused at once, no site has all of them, everything ends at a deadline, and what was fetched is kept
//! for a moment: a page that shows picture, spectrogram and player asks each server once.

mod error;
mod kept;
mod params;

use std::sync::Arc;
use std::time::Instant;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use jtav_delivery::{Demand, FairQueue, Share, Shares};
use jtav_pipeline::{
    Decoded, FetchRequest, FetchedMedia, MediaDecoder, MediaFetcher, Pcm, RgbImage, account_of, site_of_url,
};
use jtav_schemas::{AbsentReason, MediaRef, Modality, PostV1};
use jtav_signal::constants::SAMPLE_RATE_HZ;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use self::kept::{Kept, KeptMedia};

pub use error::RoomError;
pub use params::{RoomBounds, RoomParams};

/// A medium of one revision of a post.
#[derive(Debug, Clone)]
pub struct PostMedium {
    pub post_id: String,
    pub revision: u64,
    /// Where it lies and what is claimed of it.
    pub media: MediaRef,
    /// On whose account it is decoded, as by the worker.
    pub account: Arc<str>,
}

impl PostMedium {
    /// The picture of a post, if it has one.
    pub fn picture(post: &PostV1) -> Option<Self> {
        Self::of(post, post.image.as_ref())
    }

    /// The sound of a post, if it has any.
    pub fn sound(post: &PostV1) -> Option<Self> {
        Self::of(post, post.audio.as_ref())
    }

    fn of(post: &PostV1, media: Option<&MediaRef>) -> Option<Self> {
        let media = media?.clone();
        Some(Self { post_id: post.id.clone(), revision: post.revision, media, account: account_of(post) })
    }
}

/// Fetches and decodes media of posts. Cheap to clone; all clones share places and what is kept.
#[derive(Clone)]
pub struct MediaRoom(Arc<Room>);

struct Room {
    fetch: Arc<dyn MediaFetcher>,
    decode: Arc<dyn MediaDecoder>,
    bounds: RoomBounds,
    /// By site: one that lets us wait does not keep the others out.
    places: Shares<Arc<str>>,
    callers: Semaphore,
    kept: KeptMedia,
}

impl MediaRoom {
    /// With the caller's downloads and decoders, which others may use too.
    pub fn new(params: RoomParams) -> Self {
        let RoomParams { fetch, decode, bounds } = params;
        let places = Shares::new(FairQueue::new(bounds.places.max(1)));
        let callers = Semaphore::new(bounds.callers.clamp(1, Semaphore::MAX_PERMITS));
        let kept = KeptMedia::new(bounds.kept_bytes, bounds.kept_for());
        Self(Arc::new(Room { fetch, decode, bounds, places, callers, kept }))
    }

    /// The picture as the network saw it: 224 × 224, upright, alpha over white. Cancellation safe: dropped, it closes the
    /// connection and gives everything back, unless another caller waits for the same medium, who then goes on.
    ///
    /// # Errors
    /// See [`RoomError`].
    pub async fn picture(&self, medium: &PostMedium) -> Result<RgbImage, RoomError> {
        match self.medium(Modality::Image, medium).await? {
            Decoded::Image(picture) => Ok(picture),
            Decoded::Audio(_) => Err(RoomError::Absent(AbsentReason::TypeMismatch)),
        }
    }

    /// The sound as the network heard it: mono, 22,050 Hz, at most `media.analysed_audio_seconds`. Cancellation safe as
    /// [`Self::picture`].
    ///
    /// # Errors
    /// See [`RoomError`].
    pub async fn sound(&self, medium: &PostMedium) -> Result<Pcm, RoomError> {
        match self.medium(Modality::Audio, medium).await? {
            Decoded::Audio(sound) => Ok(sound),
            Decoded::Image(_) => Err(RoomError::Absent(AbsentReason::TypeMismatch)),
        }
    }

    /// Drops what is kept of an erased post. When this returns no question about the post is answered any more, one that
    /// is under way included. Cancellation safe, but to be called again.
    pub async fn forget(&self, post_id: &str) {
        self.0.kept.forget(post_id).await;
    }

    /// Media that are fetched and decoded at this moment.
    pub fn places_taken(&self) -> usize {
        self.0.places.used()
    }

    async fn medium(&self, modality: Modality, medium: &PostMedium) -> Result<Decoded, RoomError> {
        let room = &self.0;
        room.kept.check(&medium.post_id)?;
        if let Some(kept) = room.kept.get(modality, medium).await {
            return room.answer(medium, kept);
        }
        let Ok(_caller) = room.callers.try_acquire() else { return Err(RoomError::busy()) };
        let asked = timeout(room.bounds.deadline, Room::ask(room, modality, medium)).await;
        room.answer(medium, asked.unwrap_or(Err(RoomError::TimedOut))?)
    }
}

impl Room {
    /// Erased meanwhile, a post is not answered for.
    fn answer(&self, medium: &PostMedium, kept: Kept) -> Result<Decoded, RoomError> {
        self.kept.check(&medium.post_id)?;
        kept.decoded.map_err(RoomError::Absent)
    }

    /// Fetched and decoded once for all who ask meanwhile.
    async fn ask(room: &Arc<Self>, modality: Modality, medium: &PostMedium) -> Result<Kept, RoomError> {
        let work = || Arc::clone(room).fetch_and_decode(modality, medium.clone());
        room.kept.get_or_fetch(modality, medium, work).await
    }

    fn fetch_and_decode(
        self: Arc<Self>,
        modality: Modality,
        medium: PostMedium,
    ) -> BoxFuture<'static, Result<Kept, RoomError>> {
        async move {
            let PostMedium { post_id: _, revision, media, account } = medium;
            let _place = self.place(&media.url).ok_or_else(RoomError::busy)?;
            let deadline = Instant::now() + self.bounds.fetch_timeout.min(self.bounds.deadline);
            let fetched = match self.fetch.fetch(FetchRequest { modality, media, deadline }).await {
                Ok(fetched) => fetched,
                Err(reason) => return Ok(Kept { revision, decoded: Err(reason) }),
            };
            let decoding = self.decode.decode(FetchedMedia { account: Some(account), ..fetched });
            let decoded = match decoding.await.map_err(|error| RoomError::of_stage(&error))? {
                Ok(Decoded::Audio(sound)) => at_one_rate(sound).await?.map(Decoded::Audio),
                other => other,
            };
            Ok(Kept { revision, decoded })
        }
        .boxed()
    }

    /// A place on account of the site; media without a server have one account together.
    fn place(&self, url: &str) -> Option<Share<Arc<str>>> {
        let site = site_of_url(url).unwrap_or_else(|| "".into());
        let places = self.bounds.places.max(1);
        let most_of_one = places - places / 4;
        self.places.try_take(Demand { places: 1, shares: Vec::new(), limits: vec![(site, most_of_one)] })
    }
}

/// Decoders that work for a GPU leave some rates to it.
async fn at_one_rate(sound: Pcm) -> Result<Result<Pcm, AbsentReason>, RoomError> {
    if sound.sample_rate_hz == SAMPLE_RATE_HZ {
        return Ok(Ok(sound));
    }
    let resampling = move || jtav_signal::resample(&sound.samples, sound.sample_rate_hz, SAMPLE_RATE_HZ);
    let resampled = tokio::task::spawn_blocking(resampling).await;
    let resampled = resampled.map_err(|_| RoomError::Failed("the resampling of a clip was cut off".to_owned()))?;
    Ok(resampled
        .map(|samples| Pcm { samples: samples.into(), sample_rate_hz: SAMPLE_RATE_HZ })
        .map_err(|_| AbsentReason::DecodeError))
}
