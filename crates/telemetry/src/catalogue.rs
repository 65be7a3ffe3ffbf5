//! Every metric of the system: name, kind, labels, help. Base units in the names, bounded labels, never a post id,
//! a URL or an error text.

use jtav_delivery::Outcome;
use jtav_schemas::{DeadLetterReason, Label, Modality, ModalityStatus, Stage};

use crate::labels::*;
use crate::series::{Counter, Gauge, Histogram, Series};
use crate::values::ValuesOf;

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

macro_rules! kind {
    (counter) => {
        Kind::Counter
    };
    (gauge) => {
        Kind::Gauge
    };
    (histogram $buckets:ident) => {
        Kind::Histogram($buckets)
    };
}

macro_rules! kind_of_series {
    (counter) => {
        Counter
    };
    (gauge) => {
        Gauge
    };
    (histogram $buckets:ident) => {
        Histogram
    };
}

macro_rules! label_name {
    ($label:ident) => {
        stringify!($label)
    };
    ($label:ident $written:literal) => {
        $written
    };
}

/// `KIND VARIANT constructor(label: type of its values, …) => "name", "help";` An alert that watches for a rise needs a
/// counter that stands at 0 before: a counter that first appears at 1 has not risen. `from zero` says so; then every label
/// has a known list of values.
macro_rules! catalogue {
    ($($kind:ident $(($buckets:ident))? $variant:ident $series:ident($($label:ident $(as $written:literal)?: $type:ty),*) $(from $zero:ident)?
        => $name:literal, $help:literal;)*) => {
        /// The catalogue. The documentation of a variant is the help text of its metric.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Metric { $(#[doc = $help] $variant,)* }

        impl Metric {
            /// Every metric.
            pub const ALL: &'static [Metric] = &[$(Metric::$variant,)*];

            /// Those whose every series stands at 0 from the start.
            pub const FROM_ZERO: &'static [Metric] = &[$($(catalogue!(@keep $zero Metric::$variant),)?)*];

            /// Name on `/metrics`; a histogram adds `_bucket`, `_sum` and `_count`.
            pub fn name(self) -> &'static str { match self { $(Metric::$variant => $name,)* } }

            /// How it is counted.
            pub fn kind(self) -> Kind { match self { $(Metric::$variant => kind!($kind $($buckets)?),)* } }

            /// Names of its labels, in the order in which values are given.
            pub fn labels(self) -> &'static [&'static str] { match self { $(Metric::$variant => &[$(label_name!($label $($written)?)),*],)* } }

            /// What each label can be; none where the list is not known before.
            pub fn label_values(self) -> Vec<Option<Vec<&'static str>>> {
                match self { $(Metric::$variant => vec![$(<$type as ValuesOf>::known()),*],)* }
            }

            /// One sentence for a person.
            pub fn help(self) -> &'static str { match self { $(Metric::$variant => $help,)* } }

            $(
                #[doc = $help]
                pub fn $series($($label: $type),*) -> Series<kind_of_series!($kind $($buckets)?)> {
                    Series::new(Metric::$variant as usize, [$(<$type as ValuesOf>::text($label)),*])
                }
            )*
        }
    };
    (@keep zero $metric:expr) => { $metric };
}

catalogue! {
    counter IngestRecords ingest_records(partition: i32) => "jtav_ingest_records_total",
        "Records taken from the input topic, redeliveries included.";
    counter IngestInvalid ingest_invalid(reason: DeadLetterReason) => "jtav_ingest_invalid_records_total",
        "Records that are no post, by dead-letter reason.";
    gauge EventLag event_lag(partition: i32) => "jtav_event_lag_seconds",
        "Age of the oldest unsettled record of the partition, by its Kafka timestamp; 0 when all is settled.";
    gauge ConsumerLag consumer_lag(partition: i32) => "jtav_consumer_lag_records",
        "High watermark minus committed position.";
    gauge PausedPartitions paused_partitions() => "jtav_ingest_paused_partitions",
        "Partitions whose next record waits for a permit, for room, or for intake to run again.";
    gauge AssignedPartitions assigned_partitions() => "jtav_ingest_assigned_partitions",
        "Partitions that this worker owns.";
    gauge CarefulPartitions careful_partitions() => "jtav_ingest_careful_partitions",
        "Partitions whose records go in one by one, because their last owner ended without a goodbye.";
    counter UncleanTakeovers unclean_takeovers() from zero => "jtav_ingest_unclean_takeovers_total",
        "Partitions taken over from an owner that ended without a goodbye: killed, crashed, or out of the group.";
    counter Rebalances rebalances(kind: RebalanceKind) from zero => "jtav_ingest_rebalances_total",
        "Rebalance callbacks.";
    counter Commits commits(result: CommitResult) from zero => "jtav_ingest_commits_total",
        "Offset commits.";
    counter KafkaErrors kafka_errors(code: String) => "jtav_kafka_errors_total",
        "Errors that the Kafka client reported, by librdkafka code.";
    counter Rewinds rewinds() from zero => "jtav_ingest_rewinds_total",
        "Seeks back after an abandoned record.";
    gauge InFlightPosts in_flight_posts() => "jtav_delivery_in_flight_posts",
        "Posts inside the system: admitted and not settled.";
    gauge PostLimit post_limit() => "jtav_delivery_post_limit",
        "Posts that may be worked on at once now: what half a second is done with, between 64 and ingest.max_in_flight_posts.";
    gauge ParkedPosts parked_posts() from zero => "jtav_delivery_parked_posts",
        "Posts inside the system that only wait, for a place among those whose media are fetched or behind another record of theirs.";
    counter ParkedTooLong parked_too_long() from zero => "jtav_delivery_parked_too_long_total",
        "Posts that waited too long for a place among those whose media are fetched, and were labelled without them.";
    histogram(SECONDS) ShareWaitSeconds share_wait_seconds(share: ShareKind) => "jtav_share_wait_seconds",
        "Time of those that had to wait for a share.";
    counter Posts posts(outcome: Outcome, reason: OutcomeReason) => "jtav_posts_total",
        "Settled posts by outcome and reason.";
    counter LabelsMade labels_made(label: Label, certainty: Certainty) from zero => "jtav_labels_total",
        "Published labels; `certain`, or why not.";
    counter Truncated truncated(modality: Modality) => "jtav_posts_truncated_total",
        "Published posts of which only a part of this modality was read: it is longer than the network or the caps allow.";
    counter Degraded degraded() from zero => "jtav_posts_degraded_total",
        "Published posts that had a part which could not be used.";
    counter Abandoned abandoned() from zero => "jtav_delivery_abandoned_total",
        "Posts dropped without an outcome; their offset is held and they come again.";
    counter PostDeadlines post_deadlines(stage: Stage) => "jtav_post_deadlines_total",
        "Posts whose deadline passed, by the stage they were in; `router` where they waited for another post, `publisher` at a sink.";
    counter PostTrials post_trials(kind: TrialKind, result: TrialFinding) => "jtav_ingest_post_trials_total",
        "Posts that were tried again after their deadlines, alone or beside others.";
    gauge OverduePosts overdue_posts() => "jtav_ingest_overdue_posts",
        "Posts that ran into their deadline and are to be tried again.";
    counter ExpiredRecords expired_records(partition: i32) => "jtav_ingest_expired_records_total",
        "Offsets that the topic had dropped before they were read: retention was shorter than the lag.";
    gauge BoxProgressAge box_progress_age(name as "box": &'static str) => "jtav_box_progress_age_seconds",
        "Time since a box last answered, or since its device thread took the batch that it still runs.";
    gauge ConservationGap conservation_gap() => "jtav_conservation_gap",
        "Received minus settled minus in flight; anything but 0 for a minute is a lost or doubly counted post.";
    histogram(SECONDS) StageSeconds stage_seconds(stage: Stage) => "jtav_stage_duration_seconds",
        "Time of one post in one stage, waiting included.";
    counter StageErrors stage_errors(stage: Stage, error_code: &'static str, retryable: bool) => "jtav_stage_errors_total",
        "Failures of a stage, every attempt counted.";
    histogram(SECONDS) PostSeconds post_seconds(outcome: Outcome) => "jtav_post_duration_seconds",
        "Time from receipt to settlement.";
    histogram(SECONDS) EventToLabelSeconds event_to_label_seconds() => "jtav_event_to_label_seconds",
        "Time from the Kafka timestamp of the record to the acknowledged label.";
    counter Modalities modalities(modality: Modality, status: ModalityStatus) => "jtav_modalities_total",
        "Modalities of processed posts: present, or the reason why not.";
    counter CacheHits cache_hits(modality: Modality) => "jtav_cache_hits_total",
        "Media whose encoding was already known by content hash and model version.";
    counter CacheMisses cache_misses(modality: Modality) => "jtav_cache_misses_total",
        "Media that had to be decoded and encoded.";
    counter CacheUrls cache_urls(modality: Modality, result: UrlResult) => "jtav_cache_urls_total",
        "Media whose URL was known: `fresh` is not asked for, `joined` is asked for by another post at the moment, `unchanged` is a 304.";
    gauge CacheBytes cache_bytes() => "jtav_cache_bytes",
        "Bytes of encodings that are held, about.";
    counter CacheEvictions cache_evictions(cause: EvictionCause) => "jtav_cache_evictions_total",
        "Encodings that were dropped.";
    counter CacheShared cache_shared(operation: SharedOperation, result: SharedResult) => "jtav_cache_shared_total",
        "Questions to the encodings that workers share; `put` and `forget` end in `ok` or `error`.";
    counter MediaFetches media_fetches(modality: Modality, result: FetchResult) => "jtav_media_fetches_total",
        "Downloads by result: `unchanged` after a 304, or the reason why there is nothing.";
    counter MediaBytes media_bytes(modality: Modality) => "jtav_media_fetched_bytes_total",
        "Bytes downloaded.";
    counter MediaConnections media_connections() => "jtav_media_connections_total",
        "Connections opened to media hosts; a download that finds one open adds none.";
    counter MediaLookups media_lookups(result: LookupResult) => "jtav_media_lookups_total",
        "Names looked up for downloads; `known` is remembered, or in this machine's files.";
    gauge MediaOpenCircuits media_open_circuits() => "jtav_media_open_circuits",
        "Media hosts that are not asked for now because their last requests failed.";
    counter MediaRefusedByCircuit media_refused_by_circuit() => "jtav_media_circuit_refusals_total",
        "Downloads that were not begun because the circuit of their host was open.";
    gauge InFlightBytes in_flight_bytes() => "jtav_inflight_bytes",
        "Bytes of the media budget that are reserved.";
    gauge DecodeQueue decode_queue() => "jtav_decode_queue_items",
        "Media waiting for a decode worker.";
    counter DecodeWorkerEnds decode_worker_ends(cause: DecodeEnd) from zero => "jtav_decode_worker_ends_total",
        "Decode processes that ended with a medium in hand.";
    histogram(SECONDS) DecodeWorkerReplacement decode_worker_replacement() => "jtav_decode_worker_replacement_seconds",
        "Time from the end of a decode process to the next one being ready in its place.";
    counter DecodeForkServerStarts decode_fork_server_starts(cause: ForkServerStart) => "jtav_decode_fork_server_starts_total",
        "Processes started for decode processes to be forked from.";
    histogram(ITEMS) EncoderBatchItems encoder_batch_items(model: &'static str) => "jtav_encoder_batch_items",
        "Items of a batch.";
    histogram(SECONDS) EncoderQueueSeconds encoder_queue_seconds(model: &'static str) => "jtav_encoder_queue_wait_seconds",
        "Time of an item in the queue of its model.";
    histogram(SECONDS) EncoderForwardSeconds encoder_forward_seconds(model: &'static str) => "jtav_encoder_forward_seconds",
        "Time of one forward pass of a batch.";
    gauge EncoderQueue encoder_queue(model: &'static str) => "jtav_encoder_queue_items",
        "Items waiting for a model.";
    counter EncoderBisections encoder_bisections(model: &'static str) => "jtav_encoder_bisections_total",
        "Failed batches that were halved to find the guilty item.";
    counter PublishRecords publish_records(sink: Sink, result: WriteResult) from zero => "jtav_publish_records_total",
        "Writes to the store and to the topics.";
    counter PublishRetries publish_retries(sink: Sink) => "jtav_publish_retries_total",
        "Writes tried again.";
    counter ErasuresUnreplicated erasures_unreplicated() from zero => "jtav_erasures_unreplicated_total",
        "Tries of an erasure that too few replicas of the store had in time; each is tried again, then abandoned.";
    gauge ErasureRepairDue erasure_repair_due() from zero => "jtav_erasure_repair_due",
        "1 at the start, and when another server than before answers for the store, until the latest erasures are known to stand there.";
    counter ErasureRepairs erasure_repairs(result: RepairResult) from zero => "jtav_erasure_repairs_total",
        "Looks after the latest erasures on another server.";
    counter ErasuresRestored erasures_restored(result: RestoreResult) => "jtav_erasures_restored_total",
        "Erasures that were looked after: `restored` was lost, `lapsed` needs it no more, `foreign` is no receipt.";
    counter DeadLetters dead_letters(stage: Stage, reason: DeadLetterReason) => "jtav_dead_letters_total",
        "Dead letters acknowledged by the broker.";
    counter DeadLettersTruncated dead_letters_truncated() from zero => "jtav_dead_letters_truncated_total",
        "Dead letters that hold only a part of their record, because the dead-letter topic does not take all of it.";
    counter DeadLettersRefused dead_letters_refused() from zero => "jtav_dead_letters_refused_total",
        "Dead letters that the dead-letter topic refuses for good, even without any of the record in them.";
    gauge Ready ready() => "jtav_ready",
        "1 while the worker is ready: models warm, store reachable, consumer running.";
    gauge IntakePaused intake_paused(cause: PauseCause) => "jtav_intake_paused",
        "1 while intake is stopped.";
    gauge PipelineGeneration pipeline_generation() => "jtav_pipeline_generation",
        "Generation of the running pipeline; rises with every restart.";
    counter PipelineRestarts pipeline_restarts(reason: RestartReason) from zero => "jtav_pipeline_restarts_total",
        "One-for-all restarts of the pipeline.";
    histogram(SECONDS) PipelineRecoverySeconds pipeline_recovery_seconds() => "jtav_pipeline_recovery_seconds",
        "Time from the failure of a part of the pipeline to the first post that is let in again.";
    histogram(SECONDS) DrainSeconds drain_seconds(cause: DrainCause) => "jtav_drain_duration_seconds",
        "Time to settle what was in flight and to commit it.";
    histogram(SECONDS) QuerySeconds query_seconds(route: QueryRoute, result: QueryResult) => "jtav_query_duration_seconds",
        "Time from a reader's request to the begin of its answer.";
    counter QueryRefused query_refused(cause: RefusalCause) from zero => "jtav_query_refused_total",
        "Readers' requests that were refused before the question was looked at.";
    gauge StreamReaders stream_readers() from zero => "jtav_stream_readers",
        "Readers of the stream.";
    counter StreamEnds stream_ends(cause: StreamEnd) from zero => "jtav_stream_ends_total",
        "Readers of the stream that went or were let go.";
    counter StreamEvents stream_events(kind: StreamEventKind) from zero => "jtav_stream_events_total",
        "Records of the sentiment topic that were read for readers.";
    gauge FollowingTopic following_topic(topic: FollowedTopic) => "jtav_query_following",
        "1 while a topic is followed for readers and its broker answers, else 0.";
    gauge FollowAge follow_age(topic: FollowedTopic) => "jtav_query_follow_age_seconds",
        "Age of the last record of a followed topic that was handed on; 0 where no more is at hand. It is high while an index is being filled.";
    gauge QueryReady query_ready() => "jtav_query_ready",
        "1 while the readers' server is ready: store reachable, topics followed.";
    gauge QueryPlaces query_places(room: QueryRoom) => "jtav_query_places_taken",
        "Posts that are labelled for readers, and media that are fetched and decoded for them, now; `serve.max_label_posts` and `serve.max_media` bound them.";
    counter JudgeRestarts judge_restarts() from zero => "jtav_query_judge_restarts_total",
        "Times that the boxes which label for readers broke and were started anew.";
    gauge FileStale file_stale(file: ServedFile) => "jtav_query_file_stale",
        "1 while a file that has changed cannot be used, so that what it held before serves on.";
    gauge CertificateEnd certificate_end() => "jtav_query_certificate_end_timestamp_seconds",
        "End of the certificate that is served, or of the one of its chain that ends first; seconds since 1970.";
    gauge IndexBytes index_bytes() => "jtav_index_bytes",
        "Bytes of vectors, ids and filters that neighbours are found in.";
    gauge IndexVectors index_vectors(kind: VectorName) => "jtav_index_vectors",
        "Vectors that neighbours are found among, of every model.";
    gauge IndexReach index_reach() => "jtav_index_reach_seconds",
        "Age of the oldest hour that is in the index.";
    gauge IndexComplete index_complete() => "jtav_index_complete",
        "1 once the index holds what was there when the server started.";
    counter IndexRefused index_refused() from zero => "jtav_index_refused_vectors_total",
        "Embedding records that the index could not take.";
    gauge ModelInfo model_info(version: String, device: String) => "jtav_model_info",
        "1 for the model that serves.";
    gauge ModelEngine model_engine(network: &'static str, engine: &'static str) => "jtav_model_engine_info",
        "1 for what computes a network of the model that serves.";
    gauge BuildInfo build_info(version: &'static str) => "jtav_build_info",
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

    #[test]
    fn what_stands_at_zero_from_the_start_has_labels_with_known_values() {
        for metric in Metric::FROM_ZERO {
            assert!(metric.label_values().iter().all(Option::is_some), "{}", metric.name());
            assert!(!matches!(metric.kind(), Kind::Histogram(_)), "{}", metric.name());
        }
    }
}
