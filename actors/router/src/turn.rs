//! A post's turn: before its work begins it waits here, and while it waits for others it keeps nobody from working.

use std::time::{Duration, Instant};

use jtav_delivery::{MediaAccounts, MediaPlace, PostPermit};
use jtav_pipeline::PostEvent;
use jtav_schemas::{MediaRef, Modality, PostV1};
use jtav_telemetry::{Metric, ShareKind};
use tokio::time::timeout;

use crate::cache::EncodingCache;

/// What a post may do about its media.
#[derive(Debug)]
pub(crate) enum MediaTurn {
    /// They may be fetched; with a place to hold until that is done, where servers are to be asked.
    Now(Option<MediaPlace>),
    /// It has waited too long for a place; what is not at hand is absent.
    Missed,
}

/// Waits for the post's turn, and for a place among those whose media are fetched if it needs one, for that no longer than
/// `patience`. Cancellation safe: the permit stays valid.
pub(crate) async fn wait(
    permit: &mut PostPermit,
    event: Option<&PostEvent>,
    record_bytes: usize,
    cache: &EncodingCache,
    patience: Duration,
) -> MediaTurn {
    let accounts = match event {
        Some(PostEvent::Upsert(post)) => cache.sites().accounts(&to_fetch(post, cache).await).await,
        _ => MediaAccounts::default(),
    };
    let mut turn = MediaTurn::Now(None);
    if !accounts.names.is_empty() {
        let since = Instant::now();
        let waiting = Box::pin(watched(permit.begin_media(accounts, record_bytes), since));
        turn = match timeout(patience, waiting).await {
            Ok(place) => MediaTurn::Now(Some(place)),
            Err(_) => {
                Metric::parked_too_long().inc();
                MediaTurn::Missed
            }
        };
    }
    permit.resume().await;
    export(permit);
    turn
}

/// Says how many posts are parked.
pub(crate) fn export(permit: &PostPermit) {
    Metric::parked_posts().set(permit.parked_posts() as f64);
}

/// Counts the time of those that had to wait.
async fn watched<T>(waiting: impl Future<Output = T>, since: Instant) -> T {
    tokio::pin!(waiting);
    if let Some(done) = futures::FutureExt::now_or_never(waiting.as_mut()) {
        return done;
    }
    let _counted = Counted(since);
    waiting.await
}

/// Counts also the time of those that give up.
struct Counted(Instant);

impl Drop for Counted {
    fn drop(&mut self) {
        Metric::share_wait_seconds(ShareKind::MediaPlace).observe(self.0.elapsed().as_secs_f64());
    }
}

/// The media whose servers must be asked.
async fn to_fetch<'a>(post: &'a PostV1, cache: &EncodingCache) -> Vec<&'a MediaRef> {
    let mut media = Vec::new();
    for (modality, one) in [(Modality::Audio, &post.audio), (Modality::Image, &post.image)] {
        if let Some(one) = one
            && !cache.is_at_hand(modality, one).await
        {
            media.push(one);
        }
    }
    media
}
