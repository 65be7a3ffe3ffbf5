//! Metrics and log lines of the poll loop.

use std::time::Duration;

use jtav_delivery::{AssignmentEpoch, DeliveryTag, Hang};
use jtav_kafka::{CommittedPosition, KafkaError, StartOffset};
use jtav_pipeline::{Rejection, Stage};
use jtav_telemetry::{CommitResult, DrainCause, Metric, PauseCause, RebalanceKind, TrialFinding, TrialKind};

use crate::breaker::Change;
use crate::case::Place;
use crate::commits::Answered;
use crate::gate::Lifted;
use crate::searches::Judged;
use crate::status::PartitionSnapshot;
use crate::suspects::Careful;

pub(super) fn breaker_is_closed() {
    Metric::intake_paused(PauseCause::Breaker).set(0.0);
}

pub(super) fn breaker_changed(change: Change) {
    match change {
        Change::Opened { failed, of, wait } => {
            Metric::intake_paused(PauseCause::Breaker).set(1.0);
            let wait_ms = wait.as_millis() as u64;
            tracing::error!(
                failed,
                of,
                wait_ms,
                "the breaker stops intake: posts fail for reasons of our own; see jtav_stage_errors_total"
            );
        }
        Change::Trying => tracing::warn!("the breaker lets a few posts in to try"),
        Change::Closed => {
            breaker_is_closed();
            tracing::info!("the breaker is closed, intake runs again");
        }
    }
}

pub(super) fn cannot_go_on(reason: &str) {
    tracing::error!(reason, "ingest cannot go on");
}

pub(super) fn paused(cause: PauseCause) {
    Metric::intake_paused(cause).set(1.0);
    tracing::info!(cause = cause.as_str(), "intake paused");
}

pub(super) fn resumed(cause: PauseCause, lifted: Lifted) {
    if lifted.outcomes_are_forgotten {
        breaker_is_closed();
    }
    Metric::intake_paused(cause).set(0.0);
    tracing::info!(cause = cause.as_str(), "intake resumed");
}

pub(super) fn draining(in_flight: usize) {
    Metric::intake_paused(PauseCause::Drain).set(1.0);
    tracing::info!(in_flight, "draining");
}

pub(super) fn drained() {
    Metric::intake_paused(PauseCause::Drain).set(0.0);
}

pub(super) fn commit_unanswered() {
    Metric::commits(CommitResult::Error).inc();
}

pub(super) fn commit_not_sent(error: &KafkaError) {
    Metric::commits(CommitResult::Error).inc();
    tracing::warn!(%error, "commit");
}

pub(super) fn commit_answered(answered: &Answered) {
    for (position, error) in &answered.refused {
        let (partition, position) = (position.partition, position.offset);
        // Normal while partitions change hands: whoever owns them now reads the records again.
        if error.is_not_owner() {
            tracing::debug!(%error, partition, position, "commit");
        } else {
            tracing::warn!(%error, partition, position, "commit");
        }
    }
    let worst = match answered {
        answered if answered.is_error() => CommitResult::Error,
        answered if answered.refused.is_empty() => CommitResult::Ok,
        _ => CommitResult::NotOwner,
    };
    Metric::commits(worst).inc();
}

pub(super) fn last_commit_given_up(numbers: &[i32], attempts: u32) {
    tracing::warn!(?numbers, attempts, "the last commit did not go through; these records come again");
}

pub(super) fn rewind_planned(partition: i32, attempt: u32) {
    tracing::warn!(partition, attempt, "a record was abandoned; reading from the oldest unsettled one again");
}

pub(super) fn rewound(partition: i32, position: i64, epoch: AssignmentEpoch) {
    Metric::rewinds().inc();
    tracing::info!(partition, position, epoch = epoch.0, "seeked back");
}

pub(super) fn rewind_failed(partition: i32, error: &KafkaError) {
    tracing::warn!(%error, partition, "seek back");
}

pub(super) fn assigned() {
    Metric::rebalances(RebalanceKind::Assign).inc();
}

pub(super) fn positions_unknown(partitions: &[i32], error: &KafkaError) {
    tracing::warn!(%error, ?partitions, "committed positions");
}

pub(super) fn taken_over(starts: &[(i32, StartOffset)], owned: usize) {
    tracing::info!(?starts, owned, "partitions taken over");
}

/// The last owner of a partition did not say goodbye.
pub(super) fn unclean(found: &CommittedPosition, careful: Option<Careful>) {
    Metric::unclean_takeovers().inc();
    let partition = found.partition;
    let Some(Careful { until, suspect }) = careful else { return };
    match suspect {
        Some((offset, ends)) => tracing::error!(
            partition,
            offset,
            ends,
            until,
            "the last worker ended while this record was inside by itself; it is tried alone, or set aside at the third end"
        ),
        None => tracing::warn!(
            partition,
            from = found.offset,
            until,
            "the last worker ended without a goodbye; records go in one by one to find out whether one ended it"
        ),
    }
}

pub(super) fn gone_over((partition, offset): Place) {
    tracing::info!(partition, offset, "gone over without an end of the process; back to normal");
}

/// Offsets are counted, and in a compacted topic some of them held no record any more.
pub(super) fn expired(partition: i32, from: i64, to: i64) {
    let records = (to - from) as u64;
    Metric::expired_records(partition).add(records as f64);
    tracing::error!(
        partition,
        from,
        to,
        records,
        "records were dropped by the topic's retention before they were read: they get no label, and erasures among them \
         are not carried out"
    );
}

pub(super) fn start_unknown(partition: i32, error: &KafkaError) {
    tracing::debug!(%error, partition, "start of the log");
}

pub(super) fn revoked(partitions: &[i32], lost: bool) {
    Metric::rebalances(if lost { RebalanceKind::Lost } else { RebalanceKind::Revoke }).inc();
    if lost {
        tracing::warn!(?partitions, "partitions lost");
    }
}

pub(super) fn revocation_done(after: Duration) {
    Metric::drain_seconds(DrainCause::Revoke).observe(after.as_secs_f64());
}

pub(super) fn left_in_flight(unsettled: usize, numbers: &[i32]) {
    tracing::warn!(unsettled, ?numbers, "given up with posts in flight; the next owner reads them again");
}

pub(super) fn given_up(numbers: &[i32], owned: usize) {
    tracing::info!(?numbers, owned, "partitions given up");
}

pub(super) fn record_taken(partition: i32) {
    Metric::ingest_records(partition).inc();
}

pub(super) fn log_went_back(partition: i32, offset: i64) {
    tracing::warn!(partition, offset, "offset is not above the last one; reading from there again");
}

pub(super) fn invalid(tag: DeliveryTag, rejection: &Rejection) {
    Metric::ingest_invalid(rejection.reason).inc();
    let DeliveryTag { partition, offset, .. } = tag;
    tracing::debug!(partition, offset, reason = %rejection.reason, "{}", rejection.message);
}

pub(super) fn set_aside_as_suspect(tag: DeliveryTag, ends: u32) {
    let DeliveryTag { partition, offset, .. } = tag;
    tracing::error!(partition, offset, ends, "set aside unread: the process has ended so often while it was inside");
}

pub(super) fn set_aside_as_hung(tag: DeliveryTag, stage: Stage, deadlines: u32) {
    let DeliveryTag { partition, offset, .. } = tag;
    tracing::error!(partition, offset, %stage, deadlines, "set aside: the post hangs where all others pass");
}

/// A record that ran into its deadline, or was tried for that, is not inside any more.
pub(super) fn judged(tag: DeliveryTag, judged: Judged) {
    let DeliveryTag { partition, offset, .. } = tag;
    if let Some((Hang { stage, was_overtaken }, deadlines)) = judged.hang {
        tracing::warn!(
            partition, offset, %stage, was_overtaken, deadlines,
            "a post's deadline passed where its content counts; it is tried again"
        );
    }
    let Some((finding, is_alone)) = judged.finding else { return };
    let kind = if is_alone { TrialKind::Alone } else { TrialKind::Beside };
    Metric::post_trials(kind, finding).inc();
    match finding {
        TrialFinding::Passed => {
            tracing::info!(partition, offset, kind = kind.as_str(), "the post that was tried is done with")
        }
        finding => {
            tracing::warn!(partition, offset, kind = kind.as_str(), result = finding.as_str(), "the post was tried")
        }
    }
}

/// What there is to say of all partitions.
pub(super) fn partitions(snapshots: &[PartitionSnapshot], overdue: usize) {
    for snapshot in snapshots {
        Metric::consumer_lag(snapshot.partition).set(snapshot.lag_records as f64);
        Metric::event_lag(snapshot.partition).set(snapshot.event_lag_seconds);
    }
    let count = |is: fn(&PartitionSnapshot) -> bool| snapshots.iter().filter(|snapshot| is(snapshot)).count() as f64;
    Metric::paused_partitions().set(count(|snapshot| snapshot.paused));
    Metric::careful_partitions().set(count(|snapshot| snapshot.careful_until.is_some()));
    Metric::assigned_partitions().set(snapshots.len() as f64);
    Metric::overdue_posts().set(overdue as f64);
}

/// Takes the series of a partition off `/metrics`: somebody else reports it now.
pub(super) fn partition_is_gone(number: i32) {
    Metric::consumer_lag(number).remove();
    Metric::event_lag(number).remove();
}

/// The same of all of them at the end of the thread.
pub(super) fn nothing_is_owned(numbers: &[i32]) {
    for number in numbers {
        partition_is_gone(*number);
    }
    for gauge in [
        Metric::paused_partitions(),
        Metric::careful_partitions(),
        Metric::overdue_posts(),
        Metric::assigned_partitions(),
    ] {
        gauge.set(0.0);
    }
}
