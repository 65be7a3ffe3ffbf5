use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};

use crate::commit::{CommitMode, CommitResult, CommittedPosition, PositionToCommit};
use crate::context::{PendingRebalance, RebalanceContext, answer};
use crate::record::Keep;
use crate::{ClientSettings, ConsumerSettings, KafkaError, Record, ffi};

/// Where reading a partition starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartOffset {
    /// The oldest record that is still there.
    Beginning,
    /// This offset; if it is gone, the oldest that is there.
    At(i64),
}

/// What a poll brought. Records are not among it: each partition has a queue of its own, [`Consumer::next_record`].
#[derive(Debug)]
pub enum ConsumerEvent {
    /// Partitions are offered: answer with [`Consumer::accept`]. Until then the group waits and nothing is fetched.
    Assigned(Vec<i32>),
    /// Partitions must be given up: answer with [`Consumer::release`] when they are settled and committed, well within
    /// `max_poll_interval_ms`. Until then they are ours (unless `lost`) and nothing is fetched.
    Revoked {
        partitions: Vec<i32>,
        /// Another member may own them already: committing is pointless.
        lost: bool,
    },
    /// Answer to an asynchronous commit.
    Committed(CommitResult),
    /// Something is wrong; the client carries on by itself unless [`KafkaError::fault`] says otherwise.
    Error(KafkaError),
}

/// Called from a thread of librdkafka whenever records have come for a partition that had none; must not block.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// One member of a consumer group, reading one topic. Use it from one thread.
///
/// It must be polled all the time, whether records are wanted or not: a member that does not poll for
/// `max_poll_interval_ms` is expelled. Records lie in a queue per partition, so that a partition is held back by not
/// asking for its records: what was fetched ahead stays, and once it is enough, fetching rests. (librdkafka's own
/// pause drops what was fetched ahead, and its resume waits for the fetch that is under way: at every short shortage
/// that cost a worker half a second and the same records once more.)
///
/// Dropping it leaves the group (a static member leaves by session time-out instead) and commits nothing.
pub struct Consumer {
    /// Queues of the partitions that were accepted.
    queues: BTreeMap<i32, PartitionQueue<RebalanceContext>>,
    native: Arc<BaseConsumer<RebalanceContext>>,
    wake: Wake,
    keep: Keep,
    topic: String,
    max_unanswered_ms: u32,
    unanswered: Option<PendingRebalance>,
}

impl Consumer {
    /// Joins the group. No network call is waited for.
    pub fn new(client: &ClientSettings, settings: &ConsumerSettings, wake: Wake) -> Result<Self, KafkaError> {
        let config = settings.config(client)?;
        let native = BaseConsumer::from_config_and_context(&config, RebalanceContext::new(&settings.topic))
            .map_err(|error| KafkaError::broker("create consumer", error))?;
        native.subscribe(&[&settings.topic]).map_err(|error| KafkaError::broker("subscribe", error))?;
        Ok(Self {
            queues: BTreeMap::new(),
            native: Arc::new(native),
            wake,
            keep: Keep { bytes: settings.max_kept_bytes, headers: settings.max_kept_headers },
            topic: settings.topic.clone(),
            max_unanswered_ms: settings.max_poll_interval_ms,
            unanswered: None,
        })
    }

    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// How long a rebalance may stay unanswered.
    pub fn max_unanswered(&self) -> Duration {
        Duration::from_millis(self.max_unanswered_ms.into())
    }

    /// The next event, waiting up to `timeout`; zero does not wait. May return `None` early.
    pub fn poll(&mut self, timeout: Duration) -> Option<ConsumerEvent> {
        if let Some(event) = self.noted() {
            return Some(event);
        }
        let polled = match self.native.poll(timeout) {
            None => None,
            // Its partition's queue is apart before fetching starts. Were it ever not, to look away would lose the
            // record; a new client starts from the committed position.
            Some(Ok(_)) => Some(ConsumerEvent::Error(KafkaError::StrayRecord)),
            Some(Err(error)) => Some(ConsumerEvent::Error(KafkaError::broker("poll", error))),
        };
        polled.or_else(|| self.noted())
    }

    /// The next record that was fetched ahead of an accepted partition; does not wait.
    pub fn next_record(&self, partition: i32) -> Option<Result<Record, KafkaError>> {
        let message = self.queues.get(&partition)?.poll(Duration::ZERO)?;
        Some(
            message
                .map(|message| Record::from_native(&message, self.keep))
                .map_err(|error| KafkaError::broker("poll", error)),
        )
    }

    /// What the context took note of. A second rebalance stays queued until the first is answered.
    fn noted(&mut self) -> Option<ConsumerEvent> {
        let context = self.native.context();
        if let Some(result) = context.next_commit() {
            return Some(ConsumerEvent::Committed(result));
        }
        if self.unanswered.is_some() {
            return None;
        }
        let pending = context.next_rebalance()?;
        self.unanswered = Some(pending.clone());
        Some(match pending {
            PendingRebalance::Assign(partitions) => ConsumerEvent::Assigned(partitions),
            PendingRebalance::Revoke { partitions, lost } => ConsumerEvent::Revoked { partitions, lost },
        })
    }

    /// Takes over partitions that were offered, each from an explicit offset: librdkafka may go on from its position in
    /// memory rather than the committed one (librdkafka #1802).
    pub fn accept(&mut self, starts: &[(i32, StartOffset)]) -> Result<(), KafkaError> {
        let mut list = TopicPartitionList::with_capacity(starts.len());
        for (partition, start) in starts {
            let offset = match start {
                StartOffset::Beginning => Offset::Beginning,
                StartOffset::At(offset) => Offset::Offset(*offset),
            };
            list.add_partition_offset(&self.topic, *partition, offset)
                .map_err(|error| KafkaError::broker("assign", error))?;
            // Before the answer: from then on records come, and one in the common queue could not be held back.
            let queue = self.queue_of(*partition)?;
            self.queues.insert(*partition, queue);
        }
        answer(&self.native, true, &list).map_err(|error| KafkaError::broker("assign", error))?;
        self.unanswered = None;
        Ok(())
    }

    fn queue_of(&self, partition: i32) -> Result<PartitionQueue<RebalanceContext>, KafkaError> {
        let mut queue = self
            .native
            .split_partition_queue(&self.topic, partition)
            .ok_or_else(|| KafkaError::UnknownTopic(format!("{} [{partition}]", self.topic)))?;
        let wake = Arc::clone(&self.wake);
        queue.set_nonempty_callback(move || wake());
        Ok(queue)
    }

    /// Gives up partitions that were revoked.
    pub fn release(&mut self, partitions: &[i32]) -> Result<(), KafkaError> {
        self.unanswered = None;
        for partition in partitions {
            self.queues.remove(partition);
        }
        answer(&self.native, false, &self.list(partitions)).map_err(|error| KafkaError::broker("unassign", error))
    }

    /// Goes to another offset of an assigned partition. Records fetched ahead are dropped; no network call.
    pub fn seek(&self, partition: i32, offset: i64) -> Result<(), KafkaError> {
        self.native
            .seek(&self.topic, partition, Offset::Offset(offset), Duration::from_secs(2))
            .map_err(|error| KafkaError::broker("seek", error))
    }

    /// Commits next-to-read offsets, each with a text of its own.
    pub fn commit(&self, positions: &[PositionToCommit], mode: CommitMode) -> Result<(), KafkaError> {
        let mut list = TopicPartitionList::with_capacity(positions.len());
        for position in positions {
            let mut element = list.add_partition(&self.topic, position.partition);
            let offset = Offset::Offset(position.offset);
            element.set_offset(offset).map_err(|error| KafkaError::broker("commit offsets", error))?;
            if !position.metadata.is_empty() {
                element.set_metadata(&position.metadata);
            }
        }
        match mode {
            CommitMode::Sync => self
                .native
                .commit(&list, rdkafka::consumer::CommitMode::Sync)
                .map_err(|error| KafkaError::broker("commit offsets", error)),
            CommitMode::Async => {
                ffi::commit_async(&self.native, &list).map_err(|code| KafkaError::code_only("commit offsets", code))
            }
        }
    }

    /// Asks the coordinator for committed positions; blocks up to `timeout`.
    pub fn committed(&self, partitions: &[i32], timeout: Duration) -> Result<Vec<CommittedPosition>, KafkaError> {
        let list = self
            .native
            .committed_offsets(self.list(partitions), timeout)
            .map_err(|error| KafkaError::broker("fetch committed offsets", error))?;
        let mut positions = Vec::with_capacity(partitions.len());
        for (index, element) in list.elements().iter().enumerate() {
            element.error().map_err(|error| KafkaError::broker("fetch committed offsets", error))?;
            positions.push(CommittedPosition {
                partition: element.partition(),
                offset: match element.offset() {
                    Offset::Offset(offset) => Some(offset),
                    _ => None,
                },
                metadata: ffi::metadata_of(&list, index),
            });
        }
        Ok(positions)
    }

    /// Low and high watermark as of the last fetch; no network call. A partition that is held back keeps its old ones.
    pub fn cached_watermarks(&self, partition: i32) -> Option<(i64, i64)> {
        ffi::cached_watermarks(&self.native, &self.topic, partition)
    }

    /// Low and high watermark, asked of the broker; blocks up to `timeout`.
    pub fn watermarks(&self, partition: i32, timeout: Duration) -> Result<(i64, i64), KafkaError> {
        self.native
            .fetch_watermarks(&self.topic, partition, timeout)
            .map_err(|error| KafkaError::broker("fetch watermarks", error))
    }

    fn list(&self, partitions: &[i32]) -> TopicPartitionList {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions {
            list.add_partition(&self.topic, *partition);
        }
        list
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        // Each holds the client, which closes with its last owner.
        self.queues.clear();
        // Closing polls until the group is left, which never happens while a rebalance waits for its answer.
        let context = self.native.context();
        context.start_closing();
        let unanswered = self.unanswered.take();
        for pending in unanswered.into_iter().chain(std::iter::from_fn(|| context.next_rebalance())) {
            let (assign, partitions) = match pending {
                PendingRebalance::Assign(partitions) => (true, partitions),
                PendingRebalance::Revoke { partitions, .. } => (false, partitions),
            };
            if let Err(error) = answer(&self.native, assign, &self.list(&partitions)) {
                tracing::warn!(%error, "rebalance while closing");
            }
        }
    }
}
