use anyhow::Context as _;
use jtav_ingest::IngestSettings;
use jtav_kafka::{AssignmentStrategy, ConsumerSettings};
use jtav_settings::{AssignmentStrategy as Strategy, Settings};

use super::fit;
use crate::rereading::Rereading;

/// Time between heartbeats; a third of the session time-out where that is less.
const MAX_HEARTBEAT_INTERVAL_MS: u32 = 3_000;

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
        ..ConsumerSettings::default()
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
    let defaults = IngestSettings::default();
    let mut bounds = IngestSettings {
        max_record_bytes: ingest.max_record_bytes,
        max_in_flight_per_partition: ingest.max_in_flight_per_partition,
        max_window_per_partition: defaults.max_window_per_partition.max(ingest.max_in_flight_per_partition),
        commit_interval_ms: ingest.commit_interval_ms,
        drain_timeout_ms: ingest.drain_timeout_ms,
        max_rewinds: ingest.rewind_attempts,
        max_deadlines: router.max_deadlines,
        trial_deadline: router.trial_deadline(),
        breaker_failed_percent: ingest.breaker_failed_percent,
        ..defaults
    };
    if let Some(rereading) = rereading {
        bounds.min_admission_gap = rereading.min_gap();
        bounds.stretch = Some(rereading.stretch.clone());
    }
    bounds
}
