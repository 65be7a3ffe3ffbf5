//! What librdkafka tells besides records: log lines, errors, rebalances, commit results.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jtav_telemetry::Metric;
use rdkafka::config::RDKafkaLogLevel as Level;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError as Native, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use crate::commit::{CommitResult, PartitionCommit, PositionToCommit};
use crate::{KafkaError, ffi};

/// Sends librdkafka's log lines to `tracing` and counts its errors.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LogContext;

impl ClientContext for LogContext {
    fn log(&self, level: Level, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, error: Native, reason: &str) {
        count_error(&error, reason);
    }
}

/// While a broker is away every client says so, many times a second: of one kind a line in so long is enough.
const SAY_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// Kinds that are remembered; beyond, all are forgotten and said again.
const MAX_KINDS: usize = 256;

/// Whether a trouble of this kind has not just been said, by whichever client.
fn is_news(kind: &str, at: Option<&str>, now: Instant) -> bool {
    static SAID: Mutex<BTreeMap<String, Instant>> = Mutex::new(BTreeMap::new());
    let kind = format!("{kind} {}", at.unwrap_or_default());
    let mut said = lock(&SAID);
    if said.get(&kind).is_some_and(|last| now.saturating_duration_since(*last) < SAY_AGAIN_AFTER) {
        return false;
    }
    if said.len() >= MAX_KINDS {
        said.clear();
    }
    said.insert(kind, now);
    true
}

/// `[thrd:HOST:PORT/ID]`, with which librdkafka begins what it says of one broker.
fn thread_of(message: &str) -> Option<&str> {
    message.strip_prefix("[thrd:")?.split_once(']').map(|(thread, _)| thread)
}

fn log_line(level: Level, facility: &str, message: &str) {
    let is_trouble = !matches!(level, Level::Notice | Level::Info | Level::Debug);
    if is_trouble && !is_news(facility, thread_of(message), Instant::now()) {
        return;
    }
    match level {
        Level::Emerg | Level::Alert | Level::Critical | Level::Error => {
            tracing::error!(target: "librdkafka", facility, "{message}");
        }
        Level::Warning => tracing::warn!(target: "librdkafka", facility, "{message}"),
        Level::Notice | Level::Info => tracing::info!(target: "librdkafka", facility, "{message}"),
        Level::Debug => tracing::debug!(target: "librdkafka", facility, "{message}"),
    }
}

fn count_error(error: &Native, reason: &str) {
    let code = error.rdkafka_error_code().unwrap_or(Code::Unknown);
    if code == Code::PartitionEOF {
        return;
    }
    Metric::kafka_errors(format!("{code:?}")).inc();
    if is_news(&format!("{code:?}"), None, Instant::now()) {
        tracing::warn!(target: "librdkafka", code = ?code, "{reason}");
    }
}

/// A rebalance that waits for the owner's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PendingRebalance {
    Assign(Vec<i32>),
    Revoke { partitions: Vec<i32>, lost: bool },
}

/// What the poll call leaves for [`crate::Consumer::poll`] to pick up. The mutexes are only ever taken by the polling
/// thread; the trait asks for `Sync`.
#[derive(Debug)]
pub(crate) struct RebalanceContext {
    topic: String,
    rebalances: Mutex<VecDeque<PendingRebalance>>,
    commits: Mutex<VecDeque<CommitResult>>,
    /// Set before closing: nobody is left to answer, so rebalances are carried out on the spot.
    closing: AtomicBool,
}

impl RebalanceContext {
    pub(crate) fn new(topic: &str) -> Self {
        Self {
            topic: topic.to_owned(),
            rebalances: Mutex::default(),
            commits: Mutex::default(),
            closing: AtomicBool::new(false),
        }
    }

    pub(crate) fn next_rebalance(&self) -> Option<PendingRebalance> {
        lock(&self.rebalances).pop_front()
    }

    pub(crate) fn next_commit(&self) -> Option<CommitResult> {
        lock(&self.commits).pop_front()
    }

    pub(crate) fn start_closing(&self) {
        self.closing.store(true, Ordering::Release);
    }
}

/// A poisoned lock only says that a thread panicked; what it guards is whole after every step.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl ClientContext for RebalanceContext {
    fn log(&self, level: Level, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, error: Native, reason: &str) {
        count_error(&error, reason);
    }
}

impl ConsumerContext for RebalanceContext {
    /// Runs inside the poll call. librdkafka holds the group's state until assign or unassign is called, however much
    /// later that is (within `max.poll.interval.ms`), and keeps sending heartbeats meanwhile; so this only takes note.
    fn rebalance(&self, consumer: &BaseConsumer<Self>, kind: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let assign = kind == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.closing.load(Ordering::Acquire) {
            if let Err(error) = answer(consumer, assign, list) {
                tracing::warn!(%error, "rebalance while closing");
            }
            return;
        }
        let partitions = list
            .elements()
            .iter()
            .filter(|element| element.topic() == self.topic)
            .map(|element| element.partition())
            .collect();
        lock(&self.rebalances).push_back(if assign {
            PendingRebalance::Assign(partitions)
        } else {
            // Asked here, because the flag is cleared once the partitions are given up.
            PendingRebalance::Revoke { partitions, lost: consumer.assignment_lost() }
        });
    }

    fn commit_callback(&self, result: KafkaResult<()>, offsets: &TopicPartitionList) {
        let whole = result.map_err(|error| KafkaError::broker("commit offsets", error));
        let partitions = offsets
            .elements()
            .iter()
            .enumerate()
            .filter_map(|(index, element)| {
                let Offset::Offset(offset) = element.offset() else { return None };
                let own = element.error().map_err(|error| KafkaError::broker("commit offsets", error));
                let metadata = ffi::metadata_of(offsets, index);
                let position = PositionToCommit { partition: element.partition(), offset, metadata };
                Some(PartitionCommit { position, result: own.and_then(|()| whole.clone()) })
            })
            .collect();
        lock(&self.commits).push_back(CommitResult { result: whole, partitions });
    }
}

/// Carries a rebalance out: incrementally where the group's protocol is cooperative, wholesale otherwise. librdkafka
/// refuses the other way round.
pub(crate) fn answer(
    consumer: &BaseConsumer<RebalanceContext>,
    assign: bool,
    list: &TopicPartitionList,
) -> KafkaResult<()> {
    let cooperative = matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative);
    match (assign, cooperative) {
        (true, true) => consumer.incremental_assign(list),
        (true, false) => consumer.assign(list),
        (false, true) => consumer.incremental_unassign(list),
        (false, false) => consumer.unassign(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_is_said_once_for_all_clients_and_again_when_it_lasts() {
        let start = Instant::now();
        let said = |at, seconds| is_news("TEST", at, start + Duration::from_secs(seconds));
        assert_eq!(
            [said(Some("a:9092/1"), 0), said(Some("a:9092/1"), 9), said(Some("a:9092/1"), 10)],
            [true, false, true]
        );
        assert!(said(Some("b:9092/2"), 0), "another broker's is another");
        assert!(said(None, 0));
    }

    #[test]
    fn what_librdkafka_says_of_a_broker_names_it_first() {
        assert_eq!(
            thread_of("[thrd:127.0.0.1:9092/1]: 127.0.0.1:9092/1: Connection refused"),
            Some("127.0.0.1:9092/1")
        );
        assert_eq!(thread_of("no broker here"), None);
    }
}
