//! What a group commits, and what the broker says to it.

use crate::KafkaError;

/// Wait for the broker's answer or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitMode {
    /// Returns when the broker has answered; blocks for up to the session time-out while brokers are away.
    Sync,
    /// Returns at once; the answer comes as [`crate::ConsumerEvent::Committed`].
    Async,
}

/// A committed position of the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedPosition {
    /// Partition.
    pub partition: i32,
    /// Next offset to read; none if nothing was ever committed.
    pub offset: Option<i64>,
    /// Text that was committed with it.
    pub metadata: String,
}

/// A position to commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PositionToCommit {
    /// Partition.
    pub partition: i32,
    /// Next offset to read.
    pub offset: i64,
    /// Text that stands beside it; at most 4,096 bytes by the broker's default, no NUL.
    pub metadata: String,
}

impl PositionToCommit {
    /// A position with its text.
    pub fn new(partition: i32, offset: i64, metadata: impl Into<String>) -> Self {
        Self { partition, offset, metadata: metadata.into() }
    }
}

/// Answer of the broker about one partition of a commit.
#[derive(Debug, Clone)]
pub struct PartitionCommit {
    /// What was to be committed.
    pub position: PositionToCommit,
    /// Taken or not.
    pub result: Result<(), KafkaError>,
}

/// Answer of the broker to one asynchronous commit.
#[derive(Debug, Clone)]
pub struct CommitResult {
    /// The commit as a whole.
    pub result: Result<(), KafkaError>,
    /// Each partition.
    pub partitions: Vec<PartitionCommit>,
}
