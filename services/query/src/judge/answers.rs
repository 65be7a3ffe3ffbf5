//! Whoever waits for what becomes of a post.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use jtav_delivery::{Outcome, Settlement, SettlementSink};
use jtav_pipeline::{
    DeadLetterRequest, EraseRequest, Observer, PostReport, PublishOutcome, PublishRequest, Publisher, StageError,
    now_ms,
};
use jtav_schemas::{EmbeddingV1, ErasureV1};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::outcome::{JudgeError, Judged};

type Answer = Result<Judged, JudgeError>;

/// Posts that are inside, by offset. A post's label comes by its report, its vectors by what would be published, and its end
/// by its guard, which speaks also where its task was dropped and nobody reports.
#[derive(Clone, Default)]
pub(super) struct Answers(Arc<Mutex<HashMap<i64, Asked>>>);

struct Asked {
    /// Held until the post has settled.
    place: OwnedSemaphorePermit,
    answer: oneshot::Sender<Answer>,
    embedding: Option<Arc<EmbeddingV1>>,
    report: Option<PostReport>,
}

impl Answers {
    /// The answer to what is about to be let in; its place is given back just before.
    pub(super) fn wait_for(&self, offset: i64, place: OwnedSemaphorePermit) -> oneshot::Receiver<Answer> {
        let (answer, answered) = oneshot::channel();
        self.lock().insert(offset, Asked { place, answer, embedding: None, report: None });
        answered
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<i64, Asked>> {
        // Nothing can panic while it is held but allocation; the table stays whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn answer(settlement: Settlement, report: Option<PostReport>, embedding: Option<Arc<EmbeddingV1>>) -> Answer {
    let (sentiment, message, modalities) = match report {
        Some(report) => (report.sentiment, report.message.unwrap_or_default(), report.modalities),
        None => (None, "the post was dropped inside".to_owned(), None),
    };
    match (settlement.outcome, sentiment, embedding) {
        (Outcome::Published, Some(sentiment), Some(embedding)) => Ok(Judged::Labelled { sentiment, embedding }),
        (Outcome::Skipped(reason), ..) => Ok(Judged::Skipped(reason.as_str())),
        (Outcome::DeadLettered(reason), ..) => Ok(Judged::NotLabelled { reason: reason.as_str(), message, modalities }),
        (Outcome::Abandoned, ..) if settlement.cause.is_by_content() => Err(JudgeError::TimedOut),
        (Outcome::Abandoned, ..) => Err(JudgeError::Failed(message)),
        (Outcome::Erased, ..) => Err(JudgeError::Deletion),
        (Outcome::Published, ..) => Err(JudgeError::Failed("the label came without its vectors".to_owned())),
    }
}

impl Observer for Answers {
    fn settled(&self, report: PostReport) {
        if let Some(asked) = self.lock().get_mut(&report.record.source.offset) {
            asked.report = Some(report);
        }
    }
}

impl SettlementSink for Answers {
    fn settled(&self, settlement: Settlement) {
        let asked = self.lock().remove(&settlement.tag.offset);
        if let Some(Asked { place, answer: tell, embedding, report }) = asked {
            drop(place);
            // Nobody may be waiting any more.
            let _ = tell.send(answer(settlement, report, embedding));
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
