//! Every metric of the system: name, kind, labels, help. Base units in the names, bounded labels, never a post id,
//! a URL or an error text.

/// How a metric is counted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Only rises; the name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Distribution over the given buckets.
    Histogram(&'static [f64]),
}

/// Seconds of one stage or one post: 1 ms to 30 s.
pub const SECONDS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// Items of a batch.
pub const ITEMS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];

macro_rules! catalogue {
    ($($(#[$doc:meta])* $variant:ident => $name:literal, $kind:expr, [$($label:literal),*], $help:literal;)*) => {
        /// The catalogue. The documentation of a variant is the help text of its metric.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Metric { $(#[doc = $help] $variant,)* }

        impl Metric {
            /// Every metric.
            pub const ALL: &'static [Metric] = &[$(Metric::$variant,)*];

            /// Name on `/metrics`; a histogram adds `_bucket`, `_sum` and `_count`.
            pub fn name(self) -> &'static str { match self { $(Metric::$variant => $name,)* } }

            /// How it is counted.
            pub fn kind(self) -> Kind { match self { $(Metric::$variant => $kind,)* } }

            /// Names of its labels, in the order in which values are given.
            pub fn labels(self) -> &'static [&'static str] { match self { $(Metric::$variant => &[$($label),*],)* } }

            /// One sentence for a person.
            pub fn help(self) -> &'static str { match self { $(Metric::$variant => $help,)* } }
        }
    };
}

catalogue! {
    IngestRecords => "jtav_ingest_records_total", Kind::Counter, ["partition"],
        "Records taken from the input topic, redeliveries included.";
    IngestInvalid => "jtav_ingest_invalid_records_total", Kind::Counter, ["reason"],
        "Records that are no post, by dead-letter reason.";
    EventLag => "jtav_event_lag_seconds", Kind::Gauge, ["partition"],
        "Age of the oldest unsettled record of the partition, by its Kafka timestamp; 0 when all is settled.";
    ConsumerLag => "jtav_consumer_lag_records", Kind::Gauge, ["partition"],
        "High watermark minus committed position.";
    PausedPartitions => "jtav_ingest_paused_partitions", Kind::Gauge, [],
        "Partitions whose next record waits for a permit, for room, or for intake to run again.";
    AssignedPartitions => "jtav_ingest_assigned_partitions", Kind::Gauge, [],
        "Partitions that this worker owns.";
    CarefulPartitions => "jtav_ingest_careful_partitions", Kind::Gauge, [],
        "Partitions whose records go in one by one, because their last owner ended without a goodbye.";
    UncleanTakeovers => "jtav_ingest_unclean_takeovers_total", Kind::Counter, [],
        "Partitions taken over from an owner that ended without a goodbye: killed, crashed, or out of the group.";
    Rebalances => "jtav_ingest_rebalances_total", Kind::Counter, ["kind"],
        "Rebalance callbacks: assign, revoke, lost.";
    Commits => "jtav_ingest_commits_total", Kind::Counter, ["result"],
        "Offset commits: ok, not_owner, error.";
    KafkaErrors => "jtav_kafka_errors_total", Kind::Counter, ["code"],
        "Errors that the Kafka client reported, by librdkafka code.";
    Rewinds => "jtav_ingest_rewinds_total", Kind::Counter, [],
        "Seeks back after an abandoned record.";
    InFlightPosts => "jtav_delivery_in_flight_posts", Kind::Gauge, [],
        "Posts inside the system: admitted and not settled.";
    ParkedPosts => "jtav_delivery_parked_posts", Kind::Gauge, [],
        "Posts inside the system that only wait, for a place among those whose media are fetched or behind another record of theirs.";
    ParkedTooLong => "jtav_delivery_parked_too_long_total", Kind::Counter, [],
        "Posts that waited too long for a place among those whose media are fetched, and were labelled without them.";
    ShareWaitSeconds => "jtav_share_wait_seconds", Kind::Histogram(SECONDS), ["share"],
        "Time of those that had to wait for a share: media_place, download, bytes, decode.";
    Posts => "jtav_posts_total", Kind::Counter, ["outcome", "reason"],
        "Settled posts by outcome (published, skipped, dead_lettered, erased) and reason.";
    Truncated => "jtav_posts_truncated_total", Kind::Counter, ["modality"],
        "Published posts of which only a part of this modality was read: it is longer than the network or the caps allow.";
    Degraded => "jtav_posts_degraded_total", Kind::Counter, [],
        "Published posts that had a part which could not be used.";
    Abandoned => "jtav_delivery_abandoned_total", Kind::Counter, [],
        "Posts dropped without an outcome; their offset is held and they come again.";
    PostDeadlines => "jtav_post_deadlines_total", Kind::Counter, ["stage"],
        "Posts whose deadline passed, by the stage they were in; `router` where they waited for another post, `publisher` at a sink.";
    PostTrials => "jtav_ingest_post_trials_total", Kind::Counter, ["kind", "result"],
        "Posts that were tried again after their deadlines, alone or beside others: passed, guilty, hung_alone, inconclusive, cut_short.";
    OverduePosts => "jtav_ingest_overdue_posts", Kind::Gauge, [],
        "Posts that ran into their deadline and are to be tried again.";
    ExpiredRecords => "jtav_ingest_expired_records_total", Kind::Counter, ["partition"],
        "Offsets that the topic had dropped before they were read: retention was shorter than the lag.";
    BoxProgressAge => "jtav_box_progress_age_seconds", Kind::Gauge, ["box"],
        "Time since a box last answered, or since its device thread took the batch that it still runs.";
    ConservationGap => "jtav_conservation_gap", Kind::Gauge, [],
        "Received minus settled minus in flight; anything but 0 for a minute is a lost or doubly counted post.";
    StageSeconds => "jtav_stage_duration_seconds", Kind::Histogram(SECONDS), ["stage"],
        "Time of one post in one stage, waiting included.";
    StageErrors => "jtav_stage_errors_total", Kind::Counter, ["stage", "error_code", "retryable"],
        "Failures of a stage, every attempt counted.";
    PostSeconds => "jtav_post_duration_seconds", Kind::Histogram(SECONDS), ["outcome"],
        "Time from receipt to settlement.";
    EventToLabelSeconds => "jtav_event_to_label_seconds", Kind::Histogram(SECONDS), [],
        "Time from the Kafka timestamp of the record to the acknowledged label.";
    Modalities => "jtav_modalities_total", Kind::Counter, ["modality", "status"],
        "Modalities of processed posts: present, or the reason why not.";
    CacheHits => "jtav_cache_hits_total", Kind::Counter, ["modality"],
        "Media whose encoding was already known by content hash and model version.";
    CacheMisses => "jtav_cache_misses_total", Kind::Counter, ["modality"],
        "Media that had to be decoded and encoded.";
    CacheUrls => "jtav_cache_urls_total", Kind::Counter, ["modality", "result"],
        "Media whose URL was known: fresh (not asked for), joined (asked for by another post at the moment), unchanged (304), changed.";
    CacheBytes => "jtav_cache_bytes", Kind::Gauge, [],
        "Bytes of encodings that are held, about.";
    CacheEvictions => "jtav_cache_evictions_total", Kind::Counter, ["cause"],
        "Encodings that were dropped: size, age, erased.";
    CacheShared => "jtav_cache_shared_total", Kind::Counter, ["operation", "result"],
        "Questions to the encodings that workers share: get (hit, miss, error), put and forget (ok, error).";
    MediaFetches => "jtav_media_fetches_total", Kind::Counter, ["modality", "result"],
        "Downloads by result: ok, unchanged or absent reason.";
    MediaBytes => "jtav_media_fetched_bytes_total", Kind::Counter, ["modality"],
        "Bytes downloaded.";
    MediaConnections => "jtav_media_connections_total", Kind::Counter, [],
        "Connections opened to media hosts; a download that finds one open adds none.";
    MediaLookups => "jtav_media_lookups_total", Kind::Counter, ["result"],
        "Names looked up for downloads: ok, known (remembered, or in this machine's files), no_address, timeout, error.";
    MediaOpenCircuits => "jtav_media_open_circuits", Kind::Gauge, [],
        "Media hosts that are not asked for now because their last requests failed.";
    MediaRefusedByCircuit => "jtav_media_circuit_refusals_total", Kind::Counter, [],
        "Downloads that were not begun because the circuit of their host was open.";
    InFlightBytes => "jtav_inflight_bytes", Kind::Gauge, [],
        "Bytes of the media budget that are reserved.";
    DecodeQueue => "jtav_decode_queue_items", Kind::Gauge, [],
        "Media waiting for a decode worker.";
    DecodeWorkerEnds => "jtav_decode_worker_ends_total", Kind::Counter, ["cause"],
        "Decode processes that ended with a medium in hand: cpu_time, memory, hung, killed, crashed, nonsense.";
    DecodeWorkerReplacement => "jtav_decode_worker_replacement_seconds", Kind::Histogram(SECONDS), [],
        "Time from the end of a decode process to the next one being ready in its place.";
    DecodeNurseryStarts => "jtav_decode_nursery_starts_total", Kind::Counter, ["cause"],
        "Processes started for decode processes to be forked from: start, age, crash, gone.";
    EncoderBatchItems => "jtav_encoder_batch_items", Kind::Histogram(ITEMS), ["model"],
        "Items of a batch.";
    EncoderQueueSeconds => "jtav_encoder_queue_wait_seconds", Kind::Histogram(SECONDS), ["model"],
        "Time of an item in the queue of its model.";
    EncoderForwardSeconds => "jtav_encoder_forward_seconds", Kind::Histogram(SECONDS), ["model"],
        "Time of one forward pass of a batch.";
    EncoderQueue => "jtav_encoder_queue_items", Kind::Gauge, ["model"],
        "Items waiting for a model.";
    EncoderBisections => "jtav_encoder_bisections_total", Kind::Counter, ["model"],
        "Failed batches that were halved to find the guilty item.";
    PublishRecords => "jtav_publish_records_total", Kind::Counter, ["sink", "result"],
        "Writes to redis, sentiment, embeddings, erasures: ok, stale, erased, error.";
    PublishRetries => "jtav_publish_retries_total", Kind::Counter, ["sink"],
        "Writes tried again.";
    ErasuresUnreplicated => "jtav_erasures_unreplicated_total", Kind::Counter, [],
        "Tries of an erasure that too few replicas of the store had in time; each is tried again, then abandoned.";
    ErasureRepairDue => "jtav_erasure_repair_due", Kind::Gauge, [],
        "1 at the start, and when another server than before answers for the store, until the latest erasures are known to stand there.";
    ErasureRepairs => "jtav_erasure_repairs_total", Kind::Counter, ["result"],
        "Looks after the latest erasures on another server: ok, error.";
    ErasuresRestored => "jtav_erasures_restored_total", Kind::Counter, ["result"],
        "Erasures that were looked after: restored (it was lost), standing, lapsed, foreign (a record that is no receipt).";
    DeadLetters => "jtav_dead_letters_total", Kind::Counter, ["stage", "reason"],
        "Dead letters acknowledged by the broker.";
    DeadLettersTruncated => "jtav_dead_letters_truncated_total", Kind::Counter, [],
        "Dead letters that hold only a part of their record, because the dead-letter topic does not take all of it.";
    DeadLettersRefused => "jtav_dead_letters_refused_total", Kind::Counter, [],
        "Dead letters that the dead-letter topic refuses for good, even without any of the record in them.";
    Ready => "jtav_ready", Kind::Gauge, [],
        "1 while the worker is ready: models warm, store reachable, consumer running.";
    IntakePaused => "jtav_intake_paused", Kind::Gauge, ["cause"],
        "1 while intake is stopped: drain, breaker.";
    PipelineGeneration => "jtav_pipeline_generation", Kind::Gauge, [],
        "Generation of the running pipeline; rises with every restart.";
    PipelineRestarts => "jtav_pipeline_restarts_total", Kind::Counter, ["reason"],
        "One-for-all restarts of the pipeline.";
    PipelineRecoverySeconds => "jtav_pipeline_recovery_seconds", Kind::Histogram(SECONDS), [],
        "Time from the failure of a part of the pipeline to the first post that is let in again.";
    DrainSeconds => "jtav_drain_duration_seconds", Kind::Histogram(SECONDS), ["cause"],
        "Time to settle what was in flight: revoke, shutdown.";
    ModelInfo => "jtav_model_info", Kind::Gauge, ["version", "device"],
        "1 for the model that serves.";
    BuildInfo => "jtav_build_info", Kind::Gauge, ["version"],
        "1 for the program that runs.";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_prefixed_and_carry_their_unit() {
        let mut seen = BTreeSet::new();
        for metric in Metric::ALL {
            let name = metric.name();
            assert!(seen.insert(name), "{name} stands twice");
            assert!(name.starts_with("jtav_"), "{name}");
            assert_eq!(matches!(metric.kind(), Kind::Counter), name.ends_with("_total"), "{name}");
            assert!(metric.help().ends_with('.'), "{name}");
        }
    }
}
