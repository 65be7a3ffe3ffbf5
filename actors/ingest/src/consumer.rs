//! What the poll loop asks of a consumer group, so that the loop can be run against one in memory.

use std::time::Duration;

use jtav_kafka::Consumer as Native;
use jtav_kafka::{CommitMode, CommittedPosition, ConsumerEvent, KafkaError, PositionToCommit, Record, StartOffset};

/// One member of a group, reading one topic; what each call does is said at [`jtav_kafka::Consumer`].
pub(crate) trait Consumer {
    /// The next event, without waiting.
    fn poll(&mut self) -> Option<ConsumerEvent>;

    /// The next record that was fetched ahead of an accepted partition; does not wait.
    fn next_record(&mut self, partition: i32) -> Option<Result<Record, KafkaError>>;

    /// Committed positions of the group; blocks up to `timeout`.
    fn committed(&mut self, partitions: &[i32], timeout: Duration) -> Result<Vec<CommittedPosition>, KafkaError>;

    /// Takes over partitions that were offered.
    fn accept(&mut self, starts: &[(i32, StartOffset)]) -> Result<(), KafkaError>;

    /// Gives up partitions that were revoked.
    fn release(&mut self, partitions: &[i32]) -> Result<(), KafkaError>;

    /// Goes to another offset of an owned partition.
    fn seek(&mut self, partition: i32, offset: i64) -> Result<(), KafkaError>;

    /// Sends a commit; the answer comes as [`ConsumerEvent::Committed`].
    fn commit(&mut self, positions: &[PositionToCommit]) -> Result<(), KafkaError>;

    /// Low and high watermark, asked of the broker; blocks up to `timeout`.
    fn watermarks(&mut self, partition: i32, timeout: Duration) -> Result<(i64, i64), KafkaError>;

    /// The same as of the last fetch; no network call.
    fn cached_watermarks(&self, partition: i32) -> Option<(i64, i64)>;

    /// How long a rebalance may stay unanswered.
    fn max_unanswered(&self) -> Duration;
}

/// Inherent methods come first, so these are no calls of themselves.
impl Consumer for Native {
    fn poll(&mut self) -> Option<ConsumerEvent> {
        Native::poll(self, Duration::ZERO)
    }

    fn next_record(&mut self, partition: i32) -> Option<Result<Record, KafkaError>> {
        Native::next_record(self, partition)
    }

    fn committed(&mut self, partitions: &[i32], timeout: Duration) -> Result<Vec<CommittedPosition>, KafkaError> {
        Native::committed(self, partitions, timeout)
    }

    fn accept(&mut self, starts: &[(i32, StartOffset)]) -> Result<(), KafkaError> {
        Native::accept(self, starts)
    }

    fn release(&mut self, partitions: &[i32]) -> Result<(), KafkaError> {
        Native::release(self, partitions)
    }

    fn seek(&mut self, partition: i32, offset: i64) -> Result<(), KafkaError> {
        Native::seek(self, partition, offset)
    }

    fn commit(&mut self, positions: &[PositionToCommit]) -> Result<(), KafkaError> {
        Native::commit(self, positions, CommitMode::Async)
    }

    fn watermarks(&mut self, partition: i32, timeout: Duration) -> Result<(i64, i64), KafkaError> {
        Native::watermarks(self, partition, timeout)
    }

    fn cached_watermarks(&self, partition: i32) -> Option<(i64, i64)> {
        Native::cached_watermarks(self, partition)
    }

    fn max_unanswered(&self) -> Duration {
        Native::max_unanswered(self)
    }
}
