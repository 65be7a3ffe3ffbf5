use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jtav_telemetry::PauseCause;

/// What the poll thread last said of one partition.
#[derive(Debug, Clone, PartialEq)]
pub struct PartitionSnapshot {
    /// Partition.
    pub partition: i32,
    /// Ownership period.
    pub epoch: u64,
    /// Unsettled records.
    pub pending: usize,
    /// Records since the oldest unsettled one.
    pub window: usize,
    /// Committed position, where one is known.
    pub committed: Option<i64>,
    /// Records between the committed position and the high watermark.
    pub lag_records: i64,
    /// Age of the oldest unsettled record, seconds.
    pub event_lag_seconds: f64,
    /// Its next record waits: for a permit, for room, or for intake to run again.
    pub paused: bool,
    /// About to be given up.
    pub revoking: bool,
    /// Seeks back without progress.
    pub rewinds: u32,
    /// Records that ran into their deadline and wait to be let in again.
    pub held: usize,
    /// Records below this offset go in one by one, because the last owner ended without a goodbye.
    pub careful_until: Option<i64>,
    /// Offset of the record that is tried alone, and the number that an end of the process would have.
    pub suspect: Option<(i64, u32)>,
}

/// What the poll thread last said of itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct IngestSnapshot {
    /// Owned partitions.
    pub partitions: Vec<PartitionSnapshot>,
    /// Posts that this thread let in and that are not settled, of earlier periods included.
    pub in_flight: usize,
    /// Why intake is stopped; empty while it runs.
    pub paused_by: Vec<PauseCause>,
    /// A record waits for a permit.
    pub starved: bool,
    /// On the way out.
    pub draining: bool,
}

/// Heartbeat and state of the poll thread, readable from anywhere.
#[derive(Debug)]
pub struct IngestStatus {
    started: Instant,
    last_progress_ms: AtomicU64,
    snapshot: Mutex<IngestSnapshot>,
}

impl IngestStatus {
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), last_progress_ms: AtomicU64::new(0), snapshot: Mutex::default() }
    }

    /// The thread went round its loop.
    pub(crate) fn progress(&self) {
        self.last_progress_ms.store(self.started.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    pub(crate) fn publish(&self, snapshot: IngestSnapshot) {
        *self.snapshot.lock().unwrap_or_else(PoisonError::into_inner) = snapshot;
    }

    /// Time since the poll thread last went round its loop: some milliseconds when all is well, up to 2 s while Kafka
    /// does not answer. Above 10 s it is stuck, whatever the process says of itself.
    pub fn progress_age(&self) -> Duration {
        let last = Duration::from_millis(self.last_progress_ms.load(Ordering::Relaxed));
        self.started.elapsed().saturating_sub(last)
    }

    /// State as of the last export or rebalance.
    pub fn snapshot(&self) -> IngestSnapshot {
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
