//! Posts that somebody asks to have labelled: through the very router and boxes of the worker, so that the answer is what a
//! worker would publish. Nothing is published, stored or erased.
//!
//! ```text
//! bytes ─► read_post ─► permit ─► router lanes ─► boxes ─► Answers (a publisher that keeps, an observer that answers)
//! ```

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use jtav_delivery::{AssignmentEpoch, DeliveryGuard, DeliveryTag, Outcome, PostPermits, Settlement, SettlementSink};
use jtav_feed_processor::{Boxes, BoxesParams, Networks};
use jtav_image_encoder::ImageStage;
use jtav_media::{DecodePool, accept};
use jtav_pipeline::{
    Admitted, DeadLetterRequest, Ends, EraseRequest, ImageEncoder as _, InboundRecord, Observer, PostEvent, PostReport,
    PublishOutcome, PublishRequest, Publisher, ReadRules, Rejection, RouterIntake as _, Run, StageError, StageFlow,
    TextEncoder as _, now_ms, read_post,
};
use jtav_router::EncodingCache;
use jtav_schemas::{
    AbsentReason, Decoded, DeliveredFrom, EmbeddingV1, ErasureV1, MediaRef, Modality, ModalityStatus, PerModality,
    SentimentV1, TextPart,
};
use jtav_settings::Settings;
use jtav_text_encoder::TextStage;
use tokio::sync::oneshot;

/// Beyond the post's own deadline: for its turn in the boxes.
const GRACE: Duration = Duration::from_secs(5);
/// Bytes of encodings that are kept for those who ask.
const CACHE_BYTES: u64 = 16 << 20;
/// Between a failure of the boxes and new ones.
const RESTART_PAUSE: Duration = Duration::from_secs(1);
/// Between two looks at whether the judge is still there.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What came of a post.
#[derive(Debug, Clone)]
pub enum Judged {
    /// Its label and vectors.
    Labelled {
        /// As it would be published.
        sentiment: Arc<SentimentV1>,
        /// As it would be published.
        embedding: Arc<EmbeddingV1>,
    },
    /// It has nothing to label.
    Skipped(&'static str),
    /// It would be set aside.
    NotLabelled {
        /// Why, for programs.
        reason: &'static str,
        /// Why, for people.
        message: String,
        /// Which parts could be used.
        modalities: Option<PerModality<ModalityStatus>>,
    },
}

/// Why a post was not judged.
#[derive(Debug, Clone, thiserror::Error)]
pub enum JudgeError {
    /// As many are on their way as may be.
    #[error("as many posts are being labelled as serve.max_label_posts allows")]
    Busy,
    /// It is no post.
    #[error("{}", .0.message)]
    Invalid(Rejection),
    /// A deletion: nothing is erased here.
    #[error("this is a deletion; posts are erased through the feed")]
    Deletion,
    /// No outcome in time.
    #[error("no outcome in time")]
    TimedOut,
    /// A picture that cannot be used.
    #[error("the picture cannot be used: {0}")]
    Picture(AbsentReason),
    /// A failure of our own.
    #[error("{0}")]
    Failed(String),
}

impl JudgeError {
    /// Whether coming again may help.
    pub fn is_retryable(&self) -> bool {
        matches!(self, JudgeError::Busy | JudgeError::TimedOut | JudgeError::Failed(_))
    }
}

/// Labels posts for those who ask. Cheap to clone; may be asked from any thread.
#[derive(Clone)]
pub struct Judge {
    shared: Arc<Shared>,
}

struct Shared {
    boxes: RwLock<Option<Arc<Boxes>>>,
    answers: Answers,
    permits: PostPermits,
    next_offset: AtomicI64,
    max_record_bytes: usize,
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
        let params = BoxesParams {
            settings: Arc::clone(settings),
            cache: EncodingCache::new(CACHE_BYTES.min(settings.cache.max_bytes), &networks.model_version),
            networks,
            decoders: decoders.clone(),
            observer: Arc::new(answers.clone()),
            flow: StageFlow::default(),
        };
        let boxes = start_boxes(&params, &answers)?;
        let shared = Arc::new(Shared {
            boxes: RwLock::new(Some(Arc::new(boxes))),
            answers,
            permits: PostPermits::new(settings.serve.max_label_posts),
            next_offset: AtomicI64::new(0),
            max_record_bytes: settings.ingest.max_record_bytes,
            deadline: settings.router.post_deadline() + settings.router.parked_deadline() + GRACE,
            decoders,
            image,
            text,
        });
        actix_rt::spawn(keep_boxes(Arc::clone(&shared), params, settings.admin.hung_after()));
        Ok(Self { shared })
    }

    /// Labels a post, the value of a record. Dropped, it gives up the answer; the post's place is free once it has settled.
    ///
    /// # Errors
    /// Why it was not judged.
    pub async fn label(&self, value: Bytes) -> Result<Judged, JudgeError> {
        let shared = &self.shared;
        let event = read_post(&value, &ReadRules::feed(shared.max_record_bytes)).map_err(JudgeError::Invalid)?;
        if matches!(event, PostEvent::Tombstone { .. }) {
            return Err(JudgeError::Deletion);
        }
        let permit = shared.permits.try_acquire().ok_or(JudgeError::Busy)?;
        let offset = shared.next_offset.fetch_add(1, Ordering::Relaxed);
        let (waiting, answer) = shared.answers.wait_for(offset);
        let source = DeliveredFrom { topic: "asked".to_owned(), partition: 0, offset, timestamp_ms: None };
        let admitted = Admitted {
            record: Arc::new(InboundRecord { source, ..InboundRecord::default() }),
            event: Ok(event),
            run: Run::Ordinary,
            guard: DeliveryGuard::new(
                DeliveryTag { partition: 0, offset, epoch: AssignmentEpoch(0) },
                Arc::new(shared.answers.clone()),
            ),
            permit,
            received_at: Instant::now(),
            received_at_ms: now_ms(),
        };
        match shared.boxes() {
            Some(boxes) => boxes.lanes.admit(admitted),
            None => return Err(JudgeError::Failed("the networks are being started anew".to_owned())),
        }
        let answered = tokio::time::timeout(shared.deadline, answer).await;
        drop(waiting);
        match answered {
            Ok(Ok(Some(judged))) => Ok(judged),
            Ok(Ok(None) | Err(_)) => Err(JudgeError::Failed("the post was dropped inside".to_owned())),
            Err(_) => Err(JudgeError::TimedOut),
        }
    }

    /// The vector of a picture that somebody sent, by the image encoder.
    ///
    /// # Errors
    /// No picture, one beyond the limits, a failure of the network.
    pub async fn encode_image(&self, bytes: Bytes) -> Result<Vec<f32>, JudgeError> {
        let shared = &self.shared;
        let _permit = shared.permits.try_acquire().ok_or(JudgeError::Busy)?;
        let failed = |error: StageError| JudgeError::Failed(error.to_string());
        let work = async {
            let claimed = MediaRef { url: String::new(), media_type: None, sha256: None, bytes: None };
            let accepted = accept(Modality::Image, bytes, None, &claimed).await.map_err(JudgeError::Picture)?;
            let decoded = shared.decoders.decode(accepted).await.map_err(failed)?.map_err(JudgeError::Picture)?;
            let Decoded::Image(picture) = decoded else { return Err(JudgeError::Picture(AbsentReason::TypeMismatch)) };
            let encoded = shared.image.encode(picture).await.map_err(failed)?;
            Ok(encoded.vector.values().to_vec())
        };
        tokio::time::timeout(shared.deadline, work).await.unwrap_or(Err(JudgeError::TimedOut))
    }

    /// The vector of a caption alone, by the text encoder; none where it has no word.
    ///
    /// # Errors
    /// A failure of the network.
    pub async fn encode_caption(&self, text: String) -> Result<Option<Vec<f32>>, JudgeError> {
        let shared = &self.shared;
        let _permit = shared.permits.try_acquire().ok_or(JudgeError::Busy)?;
        let encoded = shared.text.encode(vec![TextPart { role: "caption".to_owned(), text }]);
        match tokio::time::timeout(shared.deadline, encoded).await {
            Ok(Ok(encoded)) => Ok(encoded.map(|text| text.encoded.vector.values().to_vec())),
            Ok(Err(error)) => Err(JudgeError::Failed(error.to_string())),
            Err(_) => Err(JudgeError::TimedOut),
        }
    }

    /// Ends the boxes.
    pub fn stop(&self) {
        let boxes = self.shared.boxes.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(boxes) = boxes {
            boxes.stop();
        }
    }
}

impl Shared {
    fn boxes(&self) -> Option<Arc<Boxes>> {
        self.boxes.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn start_boxes(params: &BoxesParams, answers: &Answers) -> anyhow::Result<Boxes> {
    Boxes::start(params, Arc::new(answers.clone()), None, Ends::default())
}

/// Puts new boxes in place of broken ones, for as long as the judge has any.
async fn keep_boxes(shared: Arc<Shared>, params: BoxesParams, hung_after: Duration) {
    // Weak: it must not keep the judge alive.
    let shared = {
        let weak = Arc::downgrade(&shared);
        drop(shared);
        weak
    };
    loop {
        let Some(boxes) = shared.upgrade().and_then(|shared| shared.boxes()) else { return };
        let Ok(failure) = tokio::time::timeout(LOOK_EVERY, boxes.failed(hung_after)).await else { continue };
        tracing::error!(?failure, "the boxes of the API broke; they are started anew");
        boxes.stop();
        tokio::time::sleep(RESTART_PAUSE).await;
        let Some(shared) = shared.upgrade() else { return };
        let new = match start_boxes(&params, &shared.answers) {
            Ok(new) => Some(Arc::new(new)),
            Err(error) => {
                tracing::error!(%error, "no new boxes for the API");
                None
            }
        };
        let mut place = shared.boxes.write().unwrap_or_else(PoisonError::into_inner);
        // Not after `stop`.
        if place.is_some() {
            *place = new;
        } else if let Some(new) = new {
            new.stop();
        }
    }
}

type Answer = oneshot::Sender<Option<Judged>>;

/// Whoever waits, by the offset of its post.
#[derive(Clone, Default)]
struct Answers {
    waiting: Arc<Mutex<HashMap<i64, Asked>>>,
}

struct Asked {
    answer: Answer,
    embedding: Option<Arc<EmbeddingV1>>,
}

/// A caller; gone, its answer is not waited for any more.
struct Waiting {
    answers: Answers,
    offset: i64,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.answers.lock().remove(&self.offset);
    }
}

impl Answers {
    fn lock(&self) -> MutexGuard<'_, HashMap<i64, Asked>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_for(&self, offset: i64) -> (Waiting, oneshot::Receiver<Option<Judged>>) {
        let (answer, answered) = oneshot::channel();
        self.lock().insert(offset, Asked { answer, embedding: None });
        (Waiting { answers: self.clone(), offset }, answered)
    }

    fn answer(&self, offset: i64, judge: impl FnOnce(Option<Arc<EmbeddingV1>>) -> Option<Judged>) {
        let asked = self.lock().remove(&offset);
        if let Some(Asked { answer, embedding }) = asked {
            // Nobody may be waiting any more.
            let _ = answer.send(judge(embedding));
        }
    }
}

impl Observer for Answers {
    fn settled(&self, report: PostReport) {
        self.answer(report.record.source.offset, |embedding| match (report.outcome, report.sentiment, embedding) {
            (Outcome::Published, Some(sentiment), Some(embedding)) => Some(Judged::Labelled { sentiment, embedding }),
            (Outcome::Skipped(reason), ..) => Some(Judged::Skipped(reason.as_str())),
            (Outcome::DeadLettered(reason), ..) => Some(Judged::NotLabelled {
                reason: reason.as_str(),
                message: report.message.unwrap_or_default(),
                modalities: report.modalities,
            }),
            _ => None,
        });
    }
}

impl SettlementSink for Answers {
    /// A post that was dropped inside has no other report than this.
    fn settled(&self, settlement: Settlement) {
        if settlement.outcome == Outcome::Abandoned {
            self.answer(settlement.tag.offset, |_| None);
        }
    }
}

impl Publisher for Answers {
    fn publish(&self, request: PublishRequest) -> BoxFuture<'static, Result<PublishOutcome, StageError>> {
        if let Some(asked) = self.lock().get_mut(&request.source.offset) {
            asked.embedding = Some(request.embedding);
        }
        async { Ok(PublishOutcome::Published) }.boxed()
    }

    fn erase(&self, request: EraseRequest) -> BoxFuture<'static, Result<ErasureV1, StageError>> {
        let EraseRequest { post_id, revision, .. } = request;
        async move { Ok(ErasureV1 { post_id, revision, erased_keys: 0, erased_at_ms: now_ms() }) }.boxed()
    }

    fn dead_letter(&self, _: DeadLetterRequest) -> BoxFuture<'static, Result<(), StageError>> {
        async { Ok(()) }.boxed()
    }
}
