use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jtav_delivery::PostPermits;
use jtav_kafka::{ClientSettings, ConsumerSettings, KafkaError, PartitionRange};
use jtav_pipeline::{RouterIntake, Stage, StageFlow};
use jtav_telemetry::Conservation;

/// Everything that ingest needs from outside.
#[derive(Clone)]
pub struct IngestParams {
    /// How to reach Kafka.
    pub client: ClientSettings,
    /// Topic, group, prefetch.
    pub consumer: ConsumerSettings,
    /// Bounds and patience.
    pub settings: IngestSettings,
    /// Where posts go.
    pub intake: Arc<dyn RouterIntake>,
    /// Leave to be inside; shared by everything that lets posts in.
    pub permits: PostPermits,
    /// Counts what goes in and what is settled.
    pub conservation: Arc<Conservation>,
    /// Tells a post that hangs from a stage that does.
    pub stages: StageWatch,
}

/// What ingest can see of the stages behind it.
#[derive(Clone)]
pub struct StageWatch {
    /// What passes them.
    pub flow: StageFlow,
    /// Whether no device works, for whomever.
    pub is_quiet: Arc<dyn Fn() -> bool + Send + Sync>,
    /// Sends something through a stage that is known to pass a stage that is well; [`Self::flow`] tells if it did. Called
    /// from the poll thread: it must not block.
    pub try_out: Arc<dyn Fn(Stage) + Send + Sync>,
}

impl Default for StageWatch {
    /// Nothing is seen but what others report to the flow.
    fn default() -> Self {
        Self { flow: StageFlow::default(), is_quiet: Arc::new(|| true), try_out: Arc::new(|_| {}) }
    }
}

/// Bounds and patience of ingest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngestSettings {
    /// Larger values are rejected unread; the record still goes to the dead-letter topic whole.
    pub max_record_bytes: usize,
    /// Posts that are let in at once whatever comes of it; between this and the bound of the permits as many as make the rate
    /// higher.
    pub least_in_flight_posts: usize,
    /// Unsettled records of one partition; at the bound the partition is held back.
    pub max_in_flight_per_partition: usize,
    /// Records of one partition since its oldest unsettled one, settled or not; at the bound it is held back. It
    /// bounds what a crash brings again while one slow post holds the offset.
    pub max_window_per_partition: usize,
    /// Time between commits.
    pub commit_interval_ms: u64,
    /// How long a commit at a revocation or at the end may take.
    pub commit_timeout_ms: u64,
    /// How long a revoked partition may take to settle what is in flight. Below half of the group's session time-out.
    pub drain_timeout_ms: u64,
    /// Wait before the first seek back after an abandoned record; doubles with every further one.
    pub rewind_backoff_ms: u64,
    /// Longest such wait.
    pub rewind_backoff_max_ms: u64,
    /// Seeks back without progress of the partition, after which the thread gives up and the supervisor restarts the
    /// whole pipeline.
    pub max_rewinds: u32,
    /// Deadlines of a post, in stages whose work depends on what it holds, after which it is tried; 0 tries none.
    pub max_deadlines: u32,
    /// Time of such a trial.
    pub trial_deadline: Duration,
    /// Time between updates of the gauges.
    pub export_interval_ms: u64,
    /// Intake stops when so many per cent of the last posts failed for reasons of our own; 0 never stops it.
    pub breaker_failed_percent: u32,
    /// Posts that are looked back at; fewer than these never stop intake.
    pub breaker_records: usize,
    /// How long intake stops before a few posts are let in to try; doubles while they fail.
    pub breaker_wait_ms: u64,
    /// Longest such wait.
    pub breaker_wait_max_ms: u64,
    /// Least time between two posts that are let in; zero is as fast as permits come free.
    pub min_admission_gap: Duration,
    /// Read only this, then drain and end with [`IngestExit::Drained`]. None reads for ever.
    pub offset_range: Option<OffsetRange>,
}

/// A part of the topic, by partition: a partition without a committed position starts at the start of its range, one with
/// it goes on there; none is read past the end of its range, and one without a range is not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetRange {
    ranges: Arc<BTreeMap<i32, PartitionRange>>,
}

impl OffsetRange {
    /// Of these ranges.
    pub fn new(ranges: impl IntoIterator<Item = PartitionRange>) -> Self {
        Self { ranges: Arc::new(ranges.into_iter().map(|range| (range.partition, range)).collect()) }
    }

    /// What there is to read of a partition, given the group's committed position.
    pub fn left_of(&self, partition: i32, committed: Option<i64>) -> PartitionRange {
        let nothing = PartitionRange { partition, start: committed.unwrap_or(0), end: committed.unwrap_or(0) };
        let range = self.ranges.get(&partition).copied().unwrap_or(nothing);
        PartitionRange { start: committed.map_or(range.start, |position| position.max(range.start)), ..range }
    }

    /// The ranges by partition.
    pub fn ranges(&self) -> impl Iterator<Item = PartitionRange> {
        self.ranges.values().copied()
    }
}

impl IngestSettings {
    /// Of tests.
    pub fn for_tests() -> Self {
        Self {
            least_in_flight_posts: usize::MAX,
            max_record_bytes: 1 << 20,
            max_in_flight_per_partition: 1_024,
            max_window_per_partition: 10_000,
            commit_interval_ms: 1_000,
            commit_timeout_ms: 5_000,
            drain_timeout_ms: 15_000,
            rewind_backoff_ms: 200,
            rewind_backoff_max_ms: 10_000,
            max_rewinds: 5,
            max_deadlines: 2,
            trial_deadline: Duration::from_secs(10),
            export_interval_ms: 1_000,
            breaker_failed_percent: 50,
            breaker_records: 50,
            breaker_wait_ms: 5_000,
            breaker_wait_max_ms: 60_000,
            min_admission_gap: Duration::ZERO,
            offset_range: None,
        }
    }
}

impl IngestSettings {
    /// Checks the arithmetic that a rebalance relies on.
    pub fn check(&self, consumer: &ConsumerSettings) -> Result<(), IngestError> {
        let bound = u64::from(consumer.session_timeout_ms.min(consumer.max_poll_interval_ms)) / 2;
        if self.drain_timeout_ms >= bound {
            return Err(IngestError::Settings(format!(
                "drain_timeout_ms = {} must be below {bound}, half of the smaller of session_timeout_ms = {} and \
                 max_poll_interval_ms = {}: a member that drains longer is expelled",
                self.drain_timeout_ms, consumer.session_timeout_ms, consumer.max_poll_interval_ms
            )));
        }
        for (name, value) in [
            ("max_record_bytes", self.max_record_bytes as u64),
            ("max_in_flight_per_partition", self.max_in_flight_per_partition as u64),
            ("commit_interval_ms", self.commit_interval_ms),
            ("commit_timeout_ms", self.commit_timeout_ms),
            ("export_interval_ms", self.export_interval_ms),
            ("breaker_records", self.breaker_records as u64),
        ] {
            if value == 0 {
                return Err(IngestError::Settings(format!("{name} may not be 0")));
            }
        }
        if self.max_window_per_partition < self.max_in_flight_per_partition {
            return Err(IngestError::Settings(format!(
                "max_window_per_partition = {} is below max_in_flight_per_partition = {}",
                self.max_window_per_partition, self.max_in_flight_per_partition
            )));
        }
        Ok(())
    }

    pub(crate) fn rewind_backoff(&self, attempt: u32) -> Duration {
        let factor = 1u64 << attempt.saturating_sub(1).min(16);
        Duration::from_millis(self.rewind_backoff_ms.saturating_mul(factor).min(self.rewind_backoff_max_ms))
    }
}

/// Why ingest could not start.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// Kafka client.
    #[error("ingest: {0}")]
    Kafka(#[from] KafkaError),
    /// Settings that contradict each other.
    #[error("ingest settings: {0}")]
    Settings(String),
    /// The operating system gave no thread.
    #[error("ingest thread: {0}")]
    Thread(#[from] std::io::Error),
}

impl IngestError {
    /// Can the same start go through later?
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Kafka(error) => error.is_retryable(),
            Self::Settings(_) => false,
            Self::Thread(_) => true,
        }
    }
}

/// How the poll thread ended. The consumer is closed by then and, unless it is a static member, has left the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IngestExit {
    /// Asked to drain, or at the end of the offset range: nothing is in flight, everything settled is committed (or a
    /// warning in the log says why not).
    Drained,
    /// Asked to drain: the deadline passed with posts in flight. They are not committed and come again.
    DrainTimedOut {
        /// How many.
        left: usize,
    },
    /// It cannot go on; the pipeline must be restarted as a whole.
    Failed(String),
}
