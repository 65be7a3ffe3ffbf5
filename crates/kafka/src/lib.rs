//! The only home of rdkafka: consumer, producer, admin calls, a simple reader, and the in-process cluster.
//!
//! No type of rdkafka leaves this crate, so the rest of the workspace neither builds against librdkafka's bindings nor
//! depends on its error codes: [`KafkaError::fault`] says what a failure means for the caller.
//!
//! - [`Consumer`] hands rebalances out as events and waits for the answer, so the owner of the offset ledgers handles
//!   them in its own loop, on its own thread, with no lock and no callback.
//! - [`Producer`] is idempotent, awaits the broker's acknowledgement, and knows what the topics take.
//! - [`ClientSettings`] passes librdkafka settings through, except those that would break a promise
//!   ([`check_passthrough`]).
//! - [`InProcessCluster`] is the cluster that librdkafka carries, for the demo and for fault tests. It is not durable.

mod admin;
mod commit;
mod consumer;
mod context;
mod error;
mod ffi;
mod fit;
mod follow;
mod groupless;
mod in_process;
mod limits;
mod meter;
mod passthrough;
mod producer;
mod reader;
mod record;
mod scan;
mod settings;
mod tail;

pub use admin::{TopicInfo, TopicSpec, delete_records_before, describe_topics, ensure_topics};
pub use commit::{CommitMode, CommitResult, CommittedPosition, PartitionCommit, PositionToCommit};
pub use consumer::{Consumer, ConsumerEvent, StartOffset, Wake};
pub use error::{Fault, KafkaError};
pub use fit::{HeaderRoom, Shares, header_bytes};
pub use follow::{Followed, RecordReader, TopicFollower};
pub use in_process::{InProcessCluster, InjectedError, Request};
pub use limits::{DEFAULT_TOPIC_MAX_BYTES, PRODUCER_MAX_BYTES, TopicSettings, largest_record, topic_settings};
pub use meter::{IN_PROCESS_MAX_BYTES, IN_PROCESS_MAX_RECORDS};
pub use passthrough::{UnsafeSetting, check_passthrough};
pub use producer::{Delivered, Producer, ProducerSettings};
pub use reader::{group_positions, read_all, read_one, watermarks};
pub use record::{OutboundRecord, RECORD_FRAME_BYTES, Record};
pub use scan::{PartitionRange, TopicScan, partition_ranges, partition_ranges_between};
pub use settings::{AssignmentStrategy, ClientSettings, ConsumerSettings};
pub use tail::TopicTail;
