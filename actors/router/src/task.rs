//! The task of one record: from admission to settlement, whatever happens in between.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use jtav_delivery::{Outcome, SkipReason};
use jtav_pipeline::{
    Admitted, DeadLetterRequest, EraseRequest, ErrorClass, FailPoint, InboundRecord, Observer, PostEvent, PostReport,
    PublishOutcome, RetryPolicy, Stage, StageError, Stages, fail_point,
};
use jtav_schemas::{DeadLetterReason, ModalityStatus, PerModality, PostV1, SentimentV1};
use jtav_telemetry::{Metric, global};

use crate::cache::EncodingCache;
use crate::pipeline::{Labelled, PostContext, label_post};
use crate::record::Provenance;

/// What every task of a lane shares.
#[derive(Clone)]
pub(crate) struct TaskContext {
    pub stages: Stages,
    pub cache: EncodingCache,
    pub model_version: Arc<str>,
    pub observer: Arc<dyn Observer>,
    pub post_deadline: Duration,
    pub fetch_timeout: Duration,
    pub attempts: u32,
}

/// What became of a record, and what there is to say about it.
#[derive(Default)]
struct Verdict {
    outcome: Option<Outcome>,
    sentiment: Option<Arc<SentimentV1>>,
    modalities: Option<PerModality<ModalityStatus>>,
    message: Option<String>,
}

impl Verdict {
    fn of(outcome: Outcome) -> Self {
        Self { outcome: Some(outcome), ..Self::default() }
    }
}

/// Runs one record to its outcome and settles it. Never panics, never ends without telling the ledger.
pub(crate) async fn run(post: Admitted, context: TaskContext) {
    let Admitted { record, event, guard, permit, received_at, received_at_ms } = post;
    let post_id = event.as_ref().ok().map(|event| event.post_id().to_owned());
    let provenance = Provenance { record: Arc::clone(&record), received_at_ms };
    let work = decide(event, provenance, received_at, &context);
    let verdict = match tokio::time::timeout(context.post_deadline, work).await {
        Ok(verdict) => verdict,
        // A part of the system is slower than the deadline: hold the offset, the record comes again.
        Err(_) => abandoned(&StageError::retryable(Stage::Router, "post_deadline", "the post's deadline passed")),
    };
    let outcome = verdict.outcome.unwrap_or(Outcome::Abandoned);
    count(outcome, &verdict, &record, received_at.elapsed());
    fail_point::hit(FailPoint::RouterBeforeSettle, post_id.as_deref().unwrap_or_default());
    context.observer.settled(PostReport {
        record,
        post_id,
        outcome,
        sentiment: verdict.sentiment,
        modalities: verdict.modalities,
        message: verdict.message,
        latency: received_at.elapsed(),
    });
    guard.settle(outcome);
    drop(permit);
}

async fn decide(
    event: Result<PostEvent, jtav_pipeline::Rejection>,
    provenance: Provenance,
    received_at: Instant,
    context: &TaskContext,
) -> Verdict {
    let record = Arc::clone(&provenance.record);
    match event {
        Err(rejection) => set_aside(context, record, rejection.reason, Stage::Ingest, rejection.message, 1, None).await,
        Ok(PostEvent::Tombstone { post_id, revision }) => erase(context, record, post_id, revision).await,
        Ok(PostEvent::Upsert(post)) => label(context, &post, provenance, received_at).await,
    }
}

async fn erase(context: &TaskContext, record: Arc<InboundRecord>, post_id: String, revision: u64) -> Verdict {
    context.cache.forget(&post_id).await;
    let request = EraseRequest { post_id, revision, source: record.position() };
    match context.stages.publisher.erase(request).await {
        Ok(_) => Verdict::of(Outcome::Erased),
        Err(error) => give_up(context, record, error, 1).await,
    }
}

/// Labels, and tries again what a retry may heal; a second panic or failure of the same kind sets the post aside.
async fn label(context: &TaskContext, post: &PostV1, provenance: Provenance, received_at: Instant) -> Verdict {
    let record = Arc::clone(&provenance.record);
    let post_context = PostContext {
        stages: context.stages.clone(),
        cache: context.cache.clone(),
        model_version: Arc::clone(&context.model_version),
        fetch_deadline: received_at + context.fetch_timeout,
        provenance,
    };
    let started = Instant::now();
    let policy =
        RetryPolicy { max_attempts: context.attempts, deadline: context.post_deadline, ..RetryPolicy::default() };
    let mut attempt = 1;
    loop {
        let result = AssertUnwindSafe(label_post(post, &post_context)).catch_unwind().await;
        let error = match result {
            Ok(Ok(labelled)) => return published(context, record, labelled).await,
            Ok(Err(error)) => error,
            Err(_) => panicked(attempt),
        };
        global().inc(
            Metric::StageErrors,
            &[error.stage.as_str(), error.code, if error.is_retryable() { "true" } else { "false" }],
        );
        let pause = if error.is_retryable() { policy.pause(attempt, started.elapsed(), rand::random()) } else { None };
        let Some(pause) = pause else { return give_up(context, record, error, attempt).await };
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

async fn published(context: &TaskContext, record: Arc<InboundRecord>, labelled: Labelled) -> Verdict {
    match labelled {
        Labelled::Done { outcome, sentiment } => Verdict {
            outcome: Some(match outcome {
                PublishOutcome::Published => Outcome::Published,
                PublishOutcome::Stale => Outcome::Skipped(SkipReason::Stale),
                PublishOutcome::Erased => Outcome::Skipped(SkipReason::Erased),
            }),
            modalities: Some(sentiment.modalities),
            sentiment: Some(sentiment),
            message: None,
        },
        Labelled::NoModality { modalities } => {
            let reason = DeadLetterReason::NoModality;
            let parts: Vec<_> = modalities.iter().map(|(name, status)| format!("{name} {}", status.as_str())).collect();
            let message = format!("nothing of the post can be used: {}", parts.join(", "));
            set_aside(context, record, reason, Stage::Router, message, 1, Some(modalities)).await
        }
    }
}

/// The end of the attempts: a poison pill is set aside, everything else holds the offset.
async fn give_up(context: &TaskContext, record: Arc<InboundRecord>, error: StageError, attempts: u32) -> Verdict {
    match error.class {
        ErrorClass::Permanent(reason) => {
            set_aside(context, record, reason, error.stage, error.message, attempts, None).await
        }
        ErrorClass::Retryable | ErrorClass::Fatal => abandoned(&error),
    }
}

fn abandoned(error: &StageError) -> Verdict {
    tracing::warn!(%error, "post abandoned: its offset is held and it comes again");
    Verdict { message: Some(error.to_string()), ..Verdict::of(Outcome::Abandoned) }
}

async fn set_aside(
    context: &TaskContext,
    record: Arc<InboundRecord>,
    reason: DeadLetterReason,
    stage: Stage,
    message: String,
    attempts: u32,
    modalities: Option<PerModality<ModalityStatus>>,
) -> Verdict {
    let source = record.source.clone();
    let request = DeadLetterRequest { record, reason, stage, message: message.clone(), attempts, modalities };
    match context.stages.publisher.dead_letter(request).await {
        Ok(()) => {
            tracing::warn!(
                %reason, %stage, message, topic = source.topic, partition = source.partition, offset = source.offset,
                "record set aside"
            );
            Verdict { message: Some(message), modalities, ..Verdict::of(Outcome::DeadLettered(reason)) }
        }
        Err(error) => abandoned(&error),
    }
}

fn count(outcome: Outcome, verdict: &Verdict, record: &InboundRecord, latency: Duration) {
    let telemetry = global();
    telemetry.observe(Metric::PostSeconds, &[outcome.as_str()], latency.as_secs_f64());
    if !outcome.is_settled() {
        return;
    }
    telemetry.inc(Metric::Posts, &[outcome.as_str(), outcome.reason()]);
    if outcome == Outcome::Published {
        if verdict.modalities.is_some_and(is_degraded) {
            telemetry.inc(Metric::Degraded, &[]);
        }
        if let Some(event_time_ms) = record.source.timestamp_ms {
            let seconds = (jtav_pipeline::now_ms() - event_time_ms) as f64 / 1000.0;
            // A producer's clock may be ahead of ours.
            telemetry.observe(Metric::EventToLabelSeconds, &[], seconds.max(0.0));
        }
    }
}

/// True if the post carried a part that could not be used.
fn is_degraded(modalities: PerModality<ModalityStatus>) -> bool {
    use jtav_schemas::AbsentReason::Absent;
    modalities.iter().any(|(_, status)| !matches!(status, ModalityStatus::Present | ModalityStatus::Absent(Absent)))
}
