//! Posts that somebody asks to have labelled: through the very router and boxes of the worker, so that the answer is what a
//! worker would publish. Nothing is published, stored or erased.
//!
//! ```text
//! bytes ─► place ─► read_post ─► router lanes ─► boxes ─► Answers (a publisher that keeps, an observer, a sink that answers)
//! ```
//!
//! A post has its place until it has settled, whether its caller still waits or not; so no more are inside than
//! `serve.max_label_posts`, and whoever comes meanwhile is told so at once. Records of one post id are worked on one after the
//! other, and callers choose ids: inside each post has one of our own, so that nobody waits behind another's slow media.

mod answers;
mod boxes;
mod outcome;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use jtav_delivery::{AssignmentEpoch, DeliveryGuard, DeliveryTag, PostPermits};
use jtav_feed_processor::{BoxesParams, Networks};
use jtav_image_encoder::ImageStage;
use jtav_media::{DecodePool, accept};
use jtav_pipeline::{
    Admitted, FetchedMedia, ImageEncoder as _, InboundRecord, PostEvent, ReadRules, RouterIntake as _, Run, StageError,
    StageFlow, TextEncoder as _, now_ms, read_post,
};
use jtav_router::EncodingCache;
use jtav_schemas::{AbsentReason, Decoded, DeliveredFrom, MediaRef, Modality, PostV1, TextPart, event_id};
use jtav_settings::Settings;
use jtav_text_encoder::TextStage;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use self::answers::Answers;
use self::boxes::BoxesKeeper;

pub use outcome::{JudgeError, Judged};

/// Beyond the post's own deadline, so that the boxes' word on it is the answer.
const GRACE: Duration = Duration::from_millis(500);
/// Shortest deadline of a post.
const MIN_DEADLINE: Duration = Duration::from_millis(500);
/// Bytes of encodings that are kept for those who ask; in this process alone, for an hour at most.
const CACHE_BYTES: u64 = 16 << 20;
/// On whose account pictures are decoded that somebody sends.
const UPLOADS: &str = "uploads";

/// Labels posts for those who ask. Cheap to clone; may be asked from any thread.
#[derive(Clone)]
pub struct Judge {
    shared: Arc<Shared>,
}

struct Shared {
    boxes: BoxesKeeper,
    answers: Answers,
    max_posts: usize,
    places: Arc<Semaphore>,
    permits: PostPermits,
    next_offset: AtomicI64,
    max_record_bytes: usize,
    max_image_bytes: u64,
    deadline: Duration,
    decoders: DecodePool,
    image: ImageStage,
    text: TextStage,
}

impl Judge {
    /// Starts boxes of its own on these networks and decoders, which may be a worker's, too; new ones where they break. Must run
    /// inside an actix system, on the thread that lives as long as the judge.
    ///
    /// # Errors
    /// No thread, no HTTP client.
    pub fn start(settings: &Arc<Settings>, networks: Networks, decoders: DecodePool) -> anyhow::Result<Self> {
        let answers = Answers::default();
        let image = ImageStage::new(networks.image.clone());
        let text = TextStage::new(networks.preparer.clone(), networks.text.clone());
        let places = settings.serve.max_label_posts.clamp(1, Semaphore::MAX_PERMITS / 2);
        let (own, deadline) = own_settings(settings, places);
        let params = BoxesParams {
            cache: EncodingCache::new(CACHE_BYTES.min(own.cache.max_bytes), &networks.model_version),
            settings: Arc::new(own),
            networks,
            decoders: decoders.clone(),
            observer: Arc::new(answers.clone()),
            flow: StageFlow::default(),
        };
        let shared = Shared {
            boxes: BoxesKeeper::start(params, Arc::new(answers.clone()))?,
            answers,
            max_posts: places,
            places: Arc::new(Semaphore::new(places)),
            // The places bound the posts. Of permits there are more: one is given back a moment after its place, and the quarter
            // that posts of unknown sites never have would keep some of them from their media.
            permits: PostPermits::new(2 * places),
            next_offset: AtomicI64::new(0),
            max_record_bytes: settings.ingest.max_record_bytes,
            max_image_bytes: settings.media.max_image_bytes,
            deadline,
            decoders,
            image,
            text,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Labels a post, the value of a record. Dropped, it gives up the answer; the post's place is free once it has settled.
    ///
    /// # Errors
    /// Why it was not judged.
    pub async fn label(&self, value: Bytes) -> Result<Judged, JudgeError> {
        let shared = &self.shared;
        let place = shared.place()?;
        let event = read_post(&value, &ReadRules::feed(shared.max_record_bytes)).map_err(JudgeError::Invalid)?;
        drop(value);
        let PostEvent::Upsert(post) = event else { return Err(JudgeError::Deletion) };
        let permit = shared.permits.try_acquire(0).ok_or(JudgeError::Busy)?;
        let lanes = shared.boxes.lanes();
        let lanes = lanes.ok_or_else(|| JudgeError::Failed("the boxes are being started anew".to_owned()))?;
        let offset = shared.next_offset.fetch_add(1, Ordering::Relaxed);
        let (post, id) = under_own_id(post, offset);
        let answer = shared.answers.wait_for(offset, place);
        let source = DeliveredFrom { topic: "asked".to_owned(), partition: 0, offset, timestamp_ms: None };
        let tag = DeliveryTag { partition: 0, offset, epoch: AssignmentEpoch(0) };
        lanes.admit(Admitted {
            record: Arc::new(InboundRecord { source, ..InboundRecord::default() }),
            event: Ok(PostEvent::Upsert(post)),
            run: Run::Asked,
            guard: DeliveryGuard::new(tag, Arc::new(shared.answers.clone())),
            permit,
            received_at: Instant::now(),
            received_at_ms: now_ms(),
        });
        match timeout(shared.deadline + GRACE, answer).await {
            Ok(Ok(judged)) => judged.map(|judged| under_its_id(judged, id)),
            Ok(Err(_)) => Err(JudgeError::Failed("the post was dropped inside".to_owned())),
            Err(_) => Err(JudgeError::TimedOut),
        }
    }

    /// The vector of a picture that somebody sent, by the image encoder. Cancellation safe.
    ///
    /// # Errors
    /// No picture, one beyond the limits, a failure of the network.
    pub async fn encode_image(&self, bytes: Bytes) -> Result<Vec<f32>, JudgeError> {
        let shared = &self.shared;
        if bytes.len() as u64 > shared.max_image_bytes {
            return Err(JudgeError::Picture(AbsentReason::TooLarge));
        }
        let _place = shared.place()?;
        let work = async {
            let claimed = MediaRef { url: String::new(), media_type: None, sha256: None, bytes: None };
            let accepted = accept(Modality::Image, bytes, None, &claimed).await.map_err(JudgeError::Picture)?;
            let sent = FetchedMedia { account: Some(UPLOADS.into()), ..accepted };
            let decoded = shared.decoders.decode(sent).await.map_err(of_stage)?.map_err(JudgeError::Picture)?;
            let Decoded::Image(picture) = decoded else { return Err(JudgeError::Picture(AbsentReason::TypeMismatch)) };
            let encoded = shared.image.encode(picture).await.map_err(of_stage)?;
            Ok(encoded.vector.values().to_vec())
        };
        timeout(shared.deadline, work).await.unwrap_or(Err(JudgeError::TimedOut))
    }

    /// The vector of a caption alone, by the text encoder; none where it has no word. Cancellation safe.
    ///
    /// # Errors
    /// A failure of the network.
    pub async fn encode_caption(&self, text: String) -> Result<Option<Vec<f32>>, JudgeError> {
        let shared = &self.shared;
        let _place = shared.place()?;
        let encoded = shared.text.encode(vec![TextPart { role: "caption".to_owned(), text }]);
        match timeout(shared.deadline, encoded).await {
            Ok(Ok(encoded)) => Ok(encoded.map(|text| text.encoded.vector.values().to_vec())),
            Ok(Err(error)) => Err(of_stage(error)),
            Err(_) => Err(JudgeError::TimedOut),
        }
    }

    /// Posts, pictures and captions that are inside now, those whose caller has gone included.
    pub fn in_flight(&self) -> usize {
        self.shared.max_posts.saturating_sub(self.shared.places.available_permits())
    }

    /// Ends the boxes.
    pub fn stop(&self) {
        self.shared.boxes.stop();
    }
}

impl Shared {
    fn place(&self) -> Result<OwnedSemaphorePermit, JudgeError> {
        Arc::clone(&self.places).try_acquire_owned().map_err(|_| JudgeError::Busy)
    }
}

/// The settings for posts that somebody waits for, and their deadline: what becomes of one is known before its request ends,
/// and the place of one whose caller has gone is soon free.
fn own_settings(settings: &Settings, places: usize) -> (Settings, Duration) {
    let mut own = settings.clone();
    let asked = settings.serve.request_timeout().saturating_sub(2 * GRACE).max(MIN_DEADLINE);
    let deadline = settings.router.post_deadline().min(asked);
    own.router.post_deadline_ms = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
    own.router.lanes = own.router.lane_count().min(places);
    // Most of the deadline: a server that drips leaves time to label the rest.
    own.media.total_timeout_ms = own.media.total_timeout_ms.min(own.router.post_deadline_ms / 4 * 3);
    own.media.connect_timeout_ms = own.media.connect_timeout_ms.min(own.media.total_timeout_ms / 2);
    (own, deadline)
}

fn of_stage(error: StageError) -> JudgeError {
    match error.code {
        "queue_full" => JudgeError::Busy,
        _ => JudgeError::Failed(error.to_string()),
    }
}

/// The post as it goes inside, and its id.
fn under_own_id(post: Arc<PostV1>, offset: i64) -> (Arc<PostV1>, String) {
    let mut post = Arc::unwrap_or_clone(post);
    let id = std::mem::replace(&mut post.id, format!("asked-{offset}"));
    (Arc::new(post), id)
}

/// The records as a worker would make them.
fn under_its_id(judged: Judged, id: String) -> Judged {
    let Judged::Labelled { sentiment, embedding } = judged else { return judged };
    let (mut sentiment, mut embedding) = (Arc::unwrap_or_clone(sentiment), Arc::unwrap_or_clone(embedding));
    sentiment.event_id = event_id(&id, sentiment.revision, &sentiment.model_version);
    embedding.event_id.clone_from(&sentiment.event_id);
    embedding.post_id.clone_from(&id);
    sentiment.post_id = id;
    Judged::Labelled { sentiment: Arc::new(sentiment), embedding: Arc::new(embedding) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_becomes_of_a_post_is_known_before_its_request_ends() {
        let settings = Settings::default();
        let (own, deadline) = own_settings(&settings, 4);
        assert!(deadline + GRACE < settings.serve.request_timeout(), "{deadline:?}");
        assert_eq!(own.router.post_deadline(), deadline);
        assert!(own.media.total_timeout() < deadline, "a slow medium leaves time for the rest");
        assert_eq!(own.media.total_timeout(), settings.media.total_timeout(), "as for a worker, with these settings");
        let mut hasty = settings;
        (hasty.serve.request_timeout_ms, hasty.router.lanes) = (1, 64);
        let (own, deadline) = own_settings(&hasty, 4);
        assert_eq!((deadline, own.router.lanes), (MIN_DEADLINE, 4));
        assert!(own.media.connect_timeout() < own.media.total_timeout() && own.media.total_timeout() < deadline);
    }
}
