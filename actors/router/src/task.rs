//! The task of one record: from admission to settlement, whatever happens in between.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use jtav_delivery::{AbandonCause, Hang, Outcome, SkipReason};
use jtav_pipeline::{
    Admitted, CoveredLanguages, DeadLetterRequest, EraseRequest, ErrorClass, FailPoint, InboundRecord, Observer,
    PostEvent, PostReport, PublishOutcome, RetryPolicy, Run, Stage, StageError, StageFlow, StageTracker, Stages,
    account_of, fail_point,
};
use jtav_schemas::{DeadLetterReason, ModalityStatus, PerModality, PostV1, SentimentV1};
use jtav_telemetry::{Certainty, Metric, OutcomeReason};

use crate::cache::EncodingCache;
use crate::context::{DecodedRoom, PostContext, Provenance};
use crate::pipeline::{Labelled, label_post};
use crate::turn::{self, MediaTurn};

/// What every task of a lane shares.
#[derive(Clone)]
pub(crate) struct TaskContext {
    pub stages: Stages,
    pub cache: EncodingCache,
    pub model_version: Arc<str>,
    pub languages: Option<Arc<CoveredLanguages>>,
    pub max_text_chars: usize,
    pub decoded: DecodedRoom,
    pub observer: Arc<dyn Observer>,
    pub flow: StageFlow,
    pub post_deadline: Duration,
    pub trial_deadline: Duration,
    pub fetch_timeout: Duration,
    pub parked_patience: Duration,
    pub attempts: u32,
}

impl TaskContext {
    /// Time for one run. A trial is short, but its media may take as long as ever to come: a slow server is no guilt.
    fn deadline(&self, run: Run) -> Duration {
        match run {
            Run::Trial => self.post_deadline.min(self.fetch_timeout + self.trial_deadline),
            Run::Ordinary | Run::SetAside { .. } | Run::Asked => self.post_deadline,
        }
    }
}

/// What became of a record, and what there is to say about it.
#[derive(Default)]
struct PostResult {
    outcome: Option<Outcome>,
    sentiment: Option<Arc<SentimentV1>>,
    modalities: Option<PerModality<ModalityStatus>>,
    message: Option<String>,
    /// Where it hung, if it was abandoned for that.
    cause: AbandonCause,
}

impl PostResult {
    fn of(outcome: Outcome) -> Self {
        Self { outcome: Some(outcome), ..Self::default() }
    }
}

/// Runs one record to its outcome and settles it; then `place` is given back. Never panics, never ends without telling the ledger.
///
/// This future is made for every post and moved into its task: what few posts need of it is boxed when it is needed (ADR 54).
pub(crate) async fn run<P>(post: Admitted, context: Arc<TaskContext>, place: P) {
    let Admitted { record, event, run, guard, mut permit, received_at, received_at_ms } = post;
    let post_id = event.as_ref().ok().map(|event| event.post_id().to_owned());
    let provenance = Provenance { record: Arc::clone(&record), received_at_ms };
    let (bytes, patience) = (record.bytes(), context.parked_patience);
    // The post's deadlines begin when its work does: behind others it waits for them and not for itself.
    let media = turn::wait(&mut permit, event.as_ref().ok(), bytes, &context.cache, patience).await;
    let tracker = context.flow.tracker();
    let deadline = context.deadline(run);
    let result = {
        let work = decide(event, run, provenance, media, &tracker, &context);
        tokio::pin!(work);
        match tokio::time::timeout(deadline, &mut work).await {
            Ok(result) => result,
            // The record is held and comes again. Asked while the work still is where it hangs.
            Err(_) => too_late(tracker.cause(deadline)),
        }
    };
    let outcome = result.outcome.unwrap_or(Outcome::Abandoned);
    if run != Run::Asked {
        count(outcome, &result, &record, received_at.elapsed());
    }
    fail_point::hit(FailPoint::RouterBeforeSettle, post_id.as_deref().unwrap_or_default());
    context.observer.settled(PostReport {
        record,
        post_id,
        outcome,
        sentiment: result.sentiment,
        modalities: result.modalities,
        message: result.message,
        latency: received_at.elapsed(),
    });
    match outcome {
        Outcome::Abandoned => guard.abandon(result.cause),
        outcome => guard.settle(outcome),
    }
    drop(permit);
    drop(place);
}

async fn decide(
    event: Result<PostEvent, jtav_pipeline::Rejection>,
    run: Run,
    provenance: Provenance,
    media: MediaTurn,
    tracker: &StageTracker,
    context: &TaskContext,
) -> PostResult {
    let record = Arc::clone(&provenance.record);
    match event {
        Err(rejection) => {
            let (stage, attempts) = match run {
                Run::SetAside { stage, deadlines } => (stage, deadlines),
                Run::Ordinary | Run::Trial | Run::Asked => (Stage::Ingest, 1),
            };
            Box::pin(set_aside(context, record, rejection.reason, stage, rejection.message, attempts, None)).await
        }
        Ok(PostEvent::Tombstone { post_id, revision }) => Box::pin(erase(context, record, post_id, revision)).await,
        Ok(PostEvent::Upsert(post)) => label(context, &post, provenance, media, tracker).await,
    }
}

async fn erase(context: &TaskContext, record: Arc<InboundRecord>, post_id: String, revision: u64) -> PostResult {
    context.cache.forget(&post_id).await;
    let request = EraseRequest { post_id, revision, source: record.position() };
    match context.stages.publisher.erase(request).await {
        Ok(_) => PostResult::of(Outcome::Erased),
        Err(error) => give_up(context, record, error, 1).await,
    }
}

/// Labels, and tries again what a retry may heal; a second panic or failure of the same kind sets the post aside.
async fn label(
    context: &TaskContext,
    post: &PostV1,
    provenance: Provenance,
    media: MediaTurn,
    tracker: &StageTracker,
) -> PostResult {
    let record = Arc::clone(&provenance.record);
    let (fetch_timeout, mut place) = match media {
        MediaTurn::Now(place) => (context.fetch_timeout, place),
        MediaTurn::Missed => (Duration::ZERO, None),
    };
    let post_context = PostContext {
        stages: context.stages.clone(),
        cache: context.cache.clone(),
        model_version: Arc::clone(&context.model_version),
        languages: context.languages.clone(),
        max_text_chars: context.max_text_chars,
        decoded: context.decoded.clone(),
        fetch_deadline: Instant::now() + fetch_timeout,
        account: (post.image.is_some() || post.audio.is_some()).then(|| account_of(post)),
        provenance,
        tracker: tracker.clone(),
    };
    let started = Instant::now();
    let policy =
        RetryPolicy { max_attempts: context.attempts, deadline: context.post_deadline, ..RetryPolicy::default() };
    let mut attempt = 1;
    loop {
        let result = AssertUnwindSafe(label_post(post, &post_context, place.take())).catch_unwind().await;
        let error = match result {
            Ok(Ok(labelled)) => return published(context, record, labelled).await,
            Ok(Err(error)) => error,
            Err(_) => panicked(attempt),
        };
        Metric::stage_errors(error.stage, error.code, error.is_retryable()).inc();
        let pause = if error.is_retryable() { policy.pause(attempt, started.elapsed(), rand::random()) } else { None };
        let Some(pause) = pause else { return Box::pin(give_up(context, record, error, attempt)).await };
        tracing::debug!(%error, attempt, "trying the post again");
        tokio::time::sleep(pause).await;
        attempt += 1;
    }
}

fn panicked(attempt: u32) -> StageError {
    if attempt >= 2 {
        StageError::permanent(Stage::Router, DeadLetterReason::PoisonPill, "a stage panicked on this post twice")
    } else {
        StageError::retryable(Stage::Router, "panic", "a stage panicked on this post")
    }
}

async fn published(context: &TaskContext, record: Arc<InboundRecord>, labelled: Labelled) -> PostResult {
    match labelled {
        Labelled::Done { outcome, sentiment } => PostResult {
            outcome: Some(match outcome {
                PublishOutcome::Published => Outcome::Published,
                PublishOutcome::Stale => Outcome::Skipped(SkipReason::Stale),
                PublishOutcome::Erased => Outcome::Skipped(SkipReason::Erased),
            }),
            modalities: Some(sentiment.modalities),
            sentiment: Some(sentiment),
            ..PostResult::default()
        },
        Labelled::NothingToLabel { modalities } => PostResult {
            modalities: Some(modalities),
            message: Some("the post has no media and no text with a word, emoji or emoticon".to_owned()),
            ..PostResult::of(Outcome::Skipped(SkipReason::NothingToLabel))
        },
        Labelled::NoModality { modalities } => {
            let reason = DeadLetterReason::NoModality;
            let parts: Vec<_> = modalities.iter().map(|(name, status)| format!("{name} {}", status.as_str())).collect();
            let message = format!("nothing of the post can be used: {}", parts.join(", "));
            Box::pin(set_aside(context, record, reason, Stage::Router, message, 1, Some(modalities))).await
        }
    }
}

/// The end of the attempts: a poison pill is set aside, everything else holds the offset.
async fn give_up(context: &TaskContext, record: Arc<InboundRecord>, error: StageError, attempts: u32) -> PostResult {
    match error.class {
        ErrorClass::Permanent(reason) => {
            set_aside(context, record, reason, error.stage, error.message, attempts, None).await
        }
        ErrorClass::Retryable | ErrorClass::Fatal => abandoned(&error),
    }
}

/// What the deadline cut off. Where it hung is for ingest to judge: it sees the others too.
fn too_late(cause: AbandonCause) -> PostResult {
    let (stage, message) = match cause {
        AbandonCause::Hung(Hang { stage, was_overtaken }) => {
            (stage, format!("the post's deadline passed in {stage}; overtaken by later ones: {was_overtaken}"))
        }
        AbandonCause::Waited => {
            (Stage::Router, "the post's deadline passed while it waited for another post".to_owned())
        }
        AbandonCause::NotTheRecord => (Stage::Publisher, "the post's deadline passed at a sink".to_owned()),
    };
    Metric::post_deadlines(stage).inc();
    PostResult { cause, ..abandoned(&StageError::retryable(stage, "post_deadline", message)) }
}

fn abandoned(error: &StageError) -> PostResult {
    tracing::warn!(%error, "post abandoned: its offset is held and it comes again");
    PostResult { message: Some(error.to_string()), ..PostResult::of(Outcome::Abandoned) }
}

async fn set_aside(
    context: &TaskContext,
    record: Arc<InboundRecord>,
    reason: DeadLetterReason,
    stage: Stage,
    message: String,
    attempts: u32,
    modalities: Option<PerModality<ModalityStatus>>,
) -> PostResult {
    let source = record.source.clone();
    let request = DeadLetterRequest { record, reason, stage, message: message.clone(), attempts, modalities };
    match context.stages.publisher.dead_letter(request).await {
        Ok(()) => {
            tracing::warn!(
                %reason, %stage, message, topic = source.topic, partition = source.partition, offset = source.offset,
                "record set aside"
            );
            PostResult { message: Some(message), modalities, ..PostResult::of(Outcome::DeadLettered(reason)) }
        }
        Err(error) => abandoned(&error),
    }
}

fn count(outcome: Outcome, result: &PostResult, record: &InboundRecord, latency: Duration) {
    Metric::post_seconds(outcome).observe(latency.as_secs_f64());
    if !outcome.is_settled() {
        return;
    }
    Metric::posts(outcome, OutcomeReason(outcome)).inc();
    if outcome == Outcome::Published {
        if result.modalities.is_some_and(is_degraded) {
            Metric::degraded().inc();
        }
        if let Some(sentiment) = &result.sentiment {
            Metric::labels_made(sentiment.label, Certainty(sentiment.uncertain_because)).inc();
        }
        for modality in result.sentiment.iter().flat_map(|sentiment| &sentiment.truncated) {
            Metric::truncated(*modality).inc();
        }
        if let Some(event_time_ms) = record.source.timestamp_ms {
            let seconds = jtav_pipeline::now_ms().saturating_sub(event_time_ms) as f64 / 1000.0;
            // A producer's clock may be ahead of ours.
            Metric::event_to_label_seconds().observe(seconds.max(0.0));
        }
    }
}

/// True if the post carried a part that could not be used.
fn is_degraded(modalities: PerModality<ModalityStatus>) -> bool {
    use jtav_schemas::AbsentReason::Absent;
    modalities.iter().any(|(_, status)| !matches!(status, ModalityStatus::Present | ModalityStatus::Absent(Absent)))
}
