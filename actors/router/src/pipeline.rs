//! The diagram as one function. Same stages, same words, same order as ARCHITECTURE.md and `topology.rs`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use jtav_delivery::{Demand, MediaPlace};
use jtav_pipeline::{
    ContentHash, Decoded, Encoded, FailPoint, FetchRequest, FetchedMedia, FuseRequest, PublishOutcome, PublishRequest,
    Receipt, Revalidated, Stage, StageError, StageTracker, Stages, fail_point, log_name,
};
use jtav_schemas::{
    AbsentReason, DeadLetterReason, MediaRef, Modality, ModalityStatus, PerModality, PostV1, SentimentV1,
};
use jtav_telemetry::{Metric, UrlResult};

use crate::cache::Asked;
use crate::context::{DecodedRoom, PostContext};
use crate::known::Known;
use crate::record::{self, TextFacts};
use crate::texts::read_texts;
use crate::urls::Leader;

/// How labelling a post ended, short of a system failure.
#[derive(Debug)]
pub enum Labelled {
    /// Published, or found stale or erased by the store.
    Done {
        /// What the store and the broker said.
        outcome: PublishOutcome,
        sentiment: Arc<SentimentV1>,
    },
    /// Nothing of the post could be used: it has media, and each has failed.
    NoModality {
        /// Why, for each part.
        modalities: PerModality<ModalityStatus>,
    },
    /// The post has no media, and texts without a word, emoji or emoticon, if any.
    NothingToLabel {
        /// Each of them absent.
        modalities: PerModality<ModalityStatus>,
    },
}

/// One modality on its way: encoded, or why not.
type Part = Result<Arc<Encoded>, AbsentReason>;

/// Labels one post: fetch → decode → encode (joined) → fuse → publish. `place` is given back when all media are fetched.
///
/// # Errors
/// Only failures that are not the post's own missing or broken parts: those degrade it. Cancellation safe: effects are
/// idempotent, and the offset hangs on the guard that the caller holds.
pub async fn label_post(
    post: &PostV1,
    context: &PostContext,
    place: Option<MediaPlace>,
) -> Result<Labelled, StageError> {
    fail_point::hit(FailPoint::RouterBeforeEncode, &post.id);
    let place = place.map(Arc::new);
    let (of_audio, of_image) = (place.clone(), place);
    let gathering = context.tracker.gather();
    let (text, audio, image) = futures::join!(
        encode_text(post, context),
        encode_medium(&post.id, Modality::Audio, post.audio.as_ref(), of_audio, context),
        encode_medium(&post.id, Modality::Image, post.image.as_ref(), of_image, context),
    );
    drop(gathering);
    let (text, facts) = text?;
    let parts = PerModality { text, audio: audio?, image: image? };
    let modalities = statuses(&parts);
    if Modality::ALL.into_iter().all(|modality| parts.get(modality).is_err()) {
        let has_failed =
            |(_, status): (Modality, &ModalityStatus)| *status != ModalityStatus::Absent(AbsentReason::Absent);
        return Ok(match modalities.iter().any(has_failed) {
            true => Labelled::NoModality { modalities },
            false => Labelled::NothingToLabel { modalities },
        });
    }

    let request = FuseRequest { vectors: vectors(&parts) };
    let fused = timed(&context.tracker, Stage::Fusion, context.stages.fusion.fuse(request.clone())).await?;

    let attention = parts.map(|part| part.ok().map(|encoded| encoded.attention.clone()));
    let sentiment = Arc::new(record::sentiment(post, &fused, modalities, &facts, attention, context));
    let embedding = record::embedding(&sentiment, &fused, &request.vectors, &facts.semantic)
        .map_err(|error| StageError::permanent(Stage::Fusion, DeadLetterReason::NonFiniteOutput, error))?;

    let request = PublishRequest {
        sentiment: Arc::clone(&sentiment),
        embedding: Arc::new(embedding),
        source: context.provenance.record.position(),
        record: Arc::clone(&context.provenance.record),
    };
    let outcome = timed(&context.tracker, Stage::Publisher, context.stages.publisher.publish(request)).await?;
    Ok(Labelled::Done { outcome, sentiment })
}

/// The encoded text, and what else the record takes from it.
async fn encode_text(post: &PostV1, context: &PostContext) -> Result<(Part, TextFacts), StageError> {
    let read = read_texts(&post.texts, context.max_text_chars);
    if read.parts.iter().all(|part| part.text.trim().is_empty()) {
        return Ok((Err(AbsentReason::Absent), TextFacts::default()));
    }
    let encoder = Arc::clone(&context.stages.text_encoder);
    // Texts without one token (only links, say) carry nothing that the network could read.
    let Some(text) = timed(&context.tracker, Stage::TextEncoder, encoder.encode(read.parts)).await? else {
        return Ok((Err(AbsentReason::Absent), TextFacts::default()));
    };
    let is_truncated = read.is_truncated || text.is_truncated;
    Ok((Ok(Arc::new(text.encoded)), TextFacts { is_truncated, lang: text.lang, semantic: text.semantic }))
}

/// fetch → decode → encode of one medium. Where its bytes are known, decoding and encoding are skipped; where it is known
/// of its URL what bytes it gives, fetching too.
async fn encode_medium(
    post_id: &str,
    modality: Modality,
    media: Option<&MediaRef>,
    place: Option<Arc<MediaPlace>>,
    context: &PostContext,
) -> Result<Part, StageError> {
    // Most posts have none: its work is boxed, so that theirs is not moved about with it.
    let Some(media) = media else { return Ok(Err(AbsentReason::Absent)) };
    Box::pin(encode_present(post_id, modality, media, place, context)).await
}

async fn encode_present(
    post_id: &str,
    modality: Modality,
    media: &MediaRef,
    place: Option<Arc<MediaPlace>>,
    context: &PostContext,
) -> Result<Part, StageError> {
    let (earlier, leader) = match context.cache.ask(modality, media, context.fetch_deadline).await {
        Asked::Known(hash, known) => {
            context.cache.note(post_id, modality, hash, &media.url).await;
            return Ok(known);
        }
        Asked::Fetch { earlier, leader } => (earlier, leader),
    };
    let fetching = fetch_medium(modality, media, earlier, leader.as_ref(), context);
    let fetched = timed(&context.tracker, Stage::Fetch, fetching).await;
    context.cache.sites().asked(media, &fetched).await;
    drop(place);
    let fetched = match fetched {
        Ok(fetched) => fetched,
        Err(reason) => return Ok(Err(reason)),
    };
    let hash = match &fetched {
        Fetched::New(medium) => medium.content_hash,
        Fetched::Known(hash, _) => *hash,
    };
    context.cache.note(post_id, modality, hash, &media.url).await;
    match fetched {
        Fetched::Known(_, known) => Ok(known),
        Fetched::New(medium) => {
            // The leader leads until it is encoded: its followers then find the encoding.
            let room = context.decoded.clone();
            let encoding = decode_and_encode(medium, context.stages.clone(), context.tracker.clone(), room);
            let part = context.cache.get_or_compute(modality, hash, encoding).await?;
            if let Err(reason) = &part {
                let modality = modality.as_str();
                tracing::debug!(
                    post_id,
                    modality,
                    reason = reason.as_str(),
                    blake3 = log_name(&hash),
                    "a medium cannot be used"
                );
            }
            Ok(part)
        }
    }
}

/// What asking a server came to.
enum Fetched {
    /// Bytes.
    New(FetchedMedia),
    /// They have not changed, and their encoding is held.
    Known(ContentHash, Known),
}

/// Downloads a medium, unless its server says that it is still the earlier one.
async fn fetch_medium(
    modality: Modality,
    media: &MediaRef,
    earlier: Option<Arc<Receipt>>,
    leader: Option<&Leader>,
    context: &PostContext,
) -> Result<Fetched, AbsentReason> {
    let (fetch, cache) = (&context.stages.fetch, &context.cache);
    if Instant::now() >= context.fetch_deadline {
        return Err(AbsentReason::Timeout);
    }
    let request = FetchRequest { modality, media: media.clone(), deadline: context.fetch_deadline };
    let mut medium = None;
    if let Some(earlier) = earlier {
        match fetch.revalidate(request.clone(), earlier).await? {
            Revalidated::Changed(changed) => {
                Metric::cache_urls(modality, UrlResult::Changed).inc();
                medium = Some(changed);
            }
            Revalidated::Unchanged(receipt) => {
                cache.fetched(modality, &media.url, Some(Arc::clone(&receipt)), leader).await;
                if let Some(known) = cache.held(modality, &receipt, UrlResult::Unchanged).await {
                    return Ok(Fetched::Known(receipt.content_hash, known));
                }
                // The encoding was evicted meanwhile, and nobody has the bytes.
            }
        }
    }
    let medium = match medium {
        Some(medium) => medium,
        None => fetch.fetch(request).await?,
    };
    cache.fetched(modality, &media.url, medium.receipt.clone(), leader).await;
    Ok(Fetched::New(FetchedMedia { account: context.account.clone(), ..medium }))
}

fn decode_and_encode(
    fetched: FetchedMedia,
    stages: Stages,
    tracker: StageTracker,
    room: DecodedRoom,
) -> BoxFuture<'static, Result<Known, StageError>> {
    async move {
        let modality = fetched.modality;
        // Who has a place waits for nobody who waits for one: for a decoder, then for a device.
        let _place = room.take(Demand::place_of(fetched.account.iter().cloned().collect())).await;
        let decoded = match timed(&tracker, Stage::Decode, stages.decode.decode(fetched)).await? {
            Ok(decoded) => decoded,
            Err(reason) => return Ok(Err(reason)),
        };
        let encoded = match (modality, decoded) {
            (Modality::Audio, Decoded::Audio(pcm)) => {
                timed(&tracker, Stage::AudioEncoder, stages.audio_encoder.encode(pcm)).await?
            }
            (Modality::Image, Decoded::Image(image)) => {
                timed(&tracker, Stage::ImageEncoder, stages.image_encoder.encode(image)).await?
            }
            _ => return Ok(Err(AbsentReason::TypeMismatch)),
        };
        Ok(Ok(Arc::new(encoded)))
    }
    .boxed()
}

fn vectors(parts: &PerModality<Part>) -> PerModality<Option<jtav_pipeline::Embedding>> {
    let vector = |part: &Part| part.as_ref().ok().map(|encoded| encoded.vector.clone());
    PerModality { text: vector(&parts.text), audio: vector(&parts.audio), image: vector(&parts.image) }
}

fn statuses(parts: &PerModality<Part>) -> PerModality<ModalityStatus> {
    let status = |modality: Modality| {
        let status = match parts.get(modality) {
            Ok(_) => ModalityStatus::Present,
            Err(reason) => ModalityStatus::Absent(*reason),
        };
        Metric::modalities(modality, status).inc();
        status
    };
    PerModality { text: status(Modality::Text), audio: status(Modality::Audio), image: status(Modality::Image) }
}

/// Runs a stage's work: the tracker knows that the post is in it, and its time is added to its histogram.
async fn timed<T, E>(tracker: &StageTracker, stage: Stage, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let visit = tracker.enter(stage);
    let result = work.await;
    observe_stage(stage, visit.age());
    if result.is_ok() {
        visit.passed();
    }
    result
}

fn observe_stage(stage: Stage, elapsed: Duration) {
    Metric::stage_seconds(stage).observe(elapsed.as_secs_f64());
}
