use std::time::Duration;

use anyhow::Context as _;
use jtav_ingest::IngestSettings;
use jtav_kafka::{AssignmentStrategy, ConsumerSettings};
use jtav_settings::{AssignmentStrategy as Strategy, Settings};

use super::fit::fit;
use crate::rereading::Rereading;

/// Time between heartbeats; a third of the session time-out where that is less.
const MAX_HEARTBEAT_INTERVAL_MS: u32 = 3_000;
/// Records that librdkafka keeps fetched ahead of each partition, within the bytes that are set.
const QUEUED_MIN_MESSAGES: u32 = 1_000;
/// Headers of one record that are kept, the last ones.
const MAX_KEPT_HEADERS: usize = 1_000;
/// Records of one partition since its oldest unsettled one; more where more may be in flight.
const MAX_WINDOW_PER_PARTITION: usize = 10_000;
/// How long a commit at a revocation or at the end may take.
const COMMIT_TIMEOUT_MS: u64 = 5_000;
/// Wait before the first seek back after an abandoned record; doubles with every further one.
const REWIND_BACKOFF_MS: u64 = 200;
/// Longest such wait.
const REWIND_BACKOFF_MAX_MS: u64 = 10_000;
/// Time between updates of the gauges.
const EXPORT_INTERVAL_MS: u64 = 1_000;
/// Posts that the breaker looks back at.
const BREAKER_RECORDS: usize = 50;
/// How long intake stops before a few posts are let in to try; doubles while they fail.
const BREAKER_WAIT_MS: u64 = 5_000;
/// Longest such wait.
const BREAKER_WAIT_MAX_MS: u64 = 60_000;

/// The consumer of the live feed, or of the part that is read again.
pub(crate) fn consumer_settings(
    settings: &Settings,
    rereading: Option<&Rereading>,
) -> anyhow::Result<ConsumerSettings> {
    let (kafka, ingest) = (&settings.kafka, &settings.ingest);
    let session_timeout_ms = fit("ingest.session_timeout_ms", ingest.session_timeout_ms)?;
    let prefetch_kbytes = u64::try_from(ingest.prefetch_max_bytes / 1024).context("ingest.prefetch_max_bytes")?;
    let max_record_bytes = u64::try_from(ingest.max_record_bytes).context("ingest.max_record_bytes")?;
    let mut consumer = ConsumerSettings {
        topic: kafka.input_topic.clone(),
        group_id: kafka.group_id.clone(),
        instance_id: kafka.group_instance_id.clone(),
        assignment: match kafka.assignment_strategy {
            Strategy::CooperativeSticky => AssignmentStrategy::CooperativeSticky,
            Strategy::Range => AssignmentStrategy::Range,
            Strategy::RoundRobin => AssignmentStrategy::RoundRobin,
        },
        session_timeout_ms,
        heartbeat_interval_ms: (session_timeout_ms / 3).min(MAX_HEARTBEAT_INTERVAL_MS),
        max_poll_interval_ms: fit("ingest.max_poll_interval_ms", ingest.max_poll_interval_ms)?,
        queued_max_messages_kbytes: fit("ingest.prefetch_max_bytes (KiB)", prefetch_kbytes)?.max(1),
        // What the memory ceiling counts for a record. Half of it is sure to the value, so all that is parsed is whole.
        max_kept_bytes: max_record_bytes.saturating_mul(2),
        max_kept_headers: MAX_KEPT_HEADERS,
        queued_min_messages: QUEUED_MIN_MESSAGES,
        tell_end_of_partition: false,
    };
    if let Some(rereading) = rereading {
        consumer.group_id.clone_from(&rereading.group_id);
        consumer.instance_id = None;
        consumer.tell_end_of_partition = true;
    }
    Ok(consumer)
}

/// Bounds and patience of ingest.
pub(crate) fn ingest_settings(settings: &Settings, rereading: Option<&Rereading>) -> IngestSettings {
    let (ingest, router) = (&settings.ingest, &settings.router);
    let mut bounds = IngestSettings {
        max_record_bytes: ingest.max_record_bytes,
        least_in_flight_posts: ingest.least_in_flight_posts(),
        max_in_flight_per_partition: ingest.max_in_flight_per_partition,
        max_window_per_partition: MAX_WINDOW_PER_PARTITION.max(ingest.max_in_flight_per_partition),
        commit_interval_ms: ingest.commit_interval_ms,
        drain_timeout_ms: ingest.drain_timeout_ms,
        max_rewinds: ingest.rewind_attempts,
        max_deadlines: router.max_deadlines,
        trial_deadline: router.trial_deadline(),
        breaker_failed_percent: ingest.breaker_failed_percent,
        commit_timeout_ms: COMMIT_TIMEOUT_MS,
        rewind_backoff_ms: REWIND_BACKOFF_MS,
        rewind_backoff_max_ms: REWIND_BACKOFF_MAX_MS,
        export_interval_ms: EXPORT_INTERVAL_MS,
        breaker_records: BREAKER_RECORDS,
        breaker_wait_ms: BREAKER_WAIT_MS,
        breaker_wait_max_ms: BREAKER_WAIT_MAX_MS,
        min_admission_gap: Duration::ZERO,
        offset_range: None,
    };
    if let Some(rereading) = rereading {
        bounds.min_admission_gap = rereading.min_gap();
        bounds.offset_range = Some(rereading.offset_range.clone());
    }
    bounds
}
