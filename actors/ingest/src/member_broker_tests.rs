//! A broker in memory that holds what a member does against what it may do.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jtav_kafka::{
    CommitResult, CommittedPosition, ConsumerEvent, Fault, KafkaError, PartitionCommit, PositionToCommit, Record,
    StartOffset,
};

use crate::consumer::Consumer;

/// What a member did and may not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Broken {
    CommittedUnsettled,
    CommittedAfterItsTime,
    LetInAfterItsTime,
    LetInWhileClosed,
    LetInTwice,
    MiscountedInFlight,
    BelievesInACommit,
}

/// A rebalance that waits for the member's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Rebalance {
    Assign,
    Revoke(Vec<i32>),
    Lose(Vec<i32>),
}

/// One ownership period: since where it reads, and what was settled in it.
#[derive(Debug, Clone, Default)]
pub(super) struct Period {
    start: i64,
    pub(super) settled: BTreeSet<i64>,
}

/// A partition of the member.
#[derive(Debug, Clone, Default)]
struct Reading {
    next: i64,
    period: Period,
    /// Number of the assignment; a commit of an earlier one is refused.
    generation: u64,
}

#[derive(Debug)]
pub(super) struct Broker {
    pub(super) now: Instant,
    pub(super) logs: BTreeMap<i32, Vec<i64>>,
    pub(super) committed: BTreeMap<i32, (i64, String)>,
    reading: BTreeMap<i32, Reading>,
    generation: u64,
    pub(super) rebalance: Option<Rebalance>,
    /// The member has heard of it.
    is_told: bool,
    events: VecDeque<ConsumerEvent>,
    /// Commits that are not answered.
    commits: VecDeque<Vec<(PositionToCommit, u64)>>,
    /// Calls that will fail, by kind.
    pub(super) failing: BTreeMap<Call, u32>,
    pub(super) broken: BTreeMap<Broken, String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Call {
    Committed,
    Commit,
    Seek,
    Watermarks,
}

/// What becomes of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Taken,
    Refused,
    /// Taken, and the answer never comes.
    TakenUnanswered,
    /// Neither taken nor answered.
    Vanished,
}

impl Broker {
    pub(super) fn new(now: Instant, partitions: i32) -> Self {
        Self {
            now,
            logs: (0..partitions).map(|partition| (partition, Vec::new())).collect(),
            committed: BTreeMap::new(),
            reading: BTreeMap::new(),
            generation: 0,
            rebalance: None,
            is_told: false,
            events: VecDeque::new(),
            commits: VecDeque::new(),
            failing: BTreeMap::new(),
            broken: BTreeMap::new(),
        }
    }

    pub(super) fn breaks(&mut self, rule: Broken, how: String) {
        self.broken.entry(rule).or_insert(how);
    }

    fn is_lost(&self, partition: i32) -> bool {
        matches!(&self.rebalance, Some(Rebalance::Lose(lost)) if lost.contains(&partition))
    }

    /// Whether the member may still work on the partition, as far as it was told.
    pub(super) fn is_owned(&self, partition: i32) -> bool {
        self.reading.contains_key(&partition) && !(self.is_told && self.is_lost(partition))
    }

    /// Whether its records may be let in.
    pub(super) fn is_staying(&self, partition: i32) -> bool {
        let leaves = matches!(&self.rebalance, Some(Rebalance::Revoke(leaving)) if leaving.contains(&partition));
        self.is_owned(partition) && !(self.is_told && leaves)
    }

    pub(super) fn free(&self) -> Vec<i32> {
        self.logs.keys().filter(|partition| !self.reading.contains_key(partition)).copied().collect()
    }

    pub(super) fn period(&mut self, partition: i32) -> Option<&mut Period> {
        self.reading.get_mut(&partition).map(|reading| &mut reading.period)
    }

    /// The end of what was settled of a partition in the present period.
    pub(super) fn settled_prefix(&self, partition: i32) -> Option<i64> {
        let (reading, log) = (self.reading.get(&partition)?, self.logs.get(&partition)?);
        let unread = log.iter().filter(|offset| **offset >= reading.period.start);
        let settled = unread.take_while(|offset| reading.period.settled.contains(offset)).last();
        settled.map(|offset| offset + 1)
    }

    pub(super) fn is_all_committed(&self) -> bool {
        let is_committed = |(partition, log): (&i32, &Vec<i64>)| match (log.last(), self.committed.get(partition)) {
            (None, _) => true,
            (Some(last), Some((position, _))) => *position == last + 1,
            (Some(_), None) => false,
        };
        self.logs.iter().all(is_committed)
    }

    pub(super) fn offer(&mut self, partitions: Vec<i32>) {
        if self.rebalance.is_none() && partitions.iter().all(|partition| !self.reading.contains_key(partition)) {
            self.rebalance = Some(Rebalance::Assign);
            self.is_told = false;
            self.events.push_back(ConsumerEvent::Assigned(partitions));
        }
    }

    pub(super) fn take_back(&mut self, mut partitions: Vec<i32>, lost: bool) {
        partitions.retain(|partition| self.reading.contains_key(partition));
        if self.rebalance.is_none() && !partitions.is_empty() {
            self.is_told = false;
            self.events.push_back(ConsumerEvent::Revoked { partitions: partitions.clone(), lost });
            self.rebalance = Some(if lost { Rebalance::Lose(partitions) } else { Rebalance::Revoke(partitions) });
        }
    }

    /// The member is gone, whatever it was about.
    pub(super) fn end_of_session(&mut self) {
        self.reading.clear();
        self.rebalance = None;
        self.events.clear();
        self.commits.clear();
    }

    /// Somebody else owns the partition for a while.
    pub(super) fn worked_on_by_another(&mut self, partition: i32) {
        if self.reading.contains_key(&partition) || self.rebalance.is_some() {
            return;
        }
        let from = self.committed.get(&partition).map_or(0, |(position, _)| *position);
        if let Some(next) = self.logs[&partition].iter().find(|offset| **offset >= from) {
            self.committed.insert(partition, (next + 1, "jtav1 clean".to_owned()));
        }
    }

    pub(super) fn answer(&mut self, fate: Fate) {
        let Some(commit) = self.commits.pop_front() else { return };
        let refusal = |code: &str| KafkaError::Broker {
            operation: "commit offsets",
            code: code.to_owned(),
            message: String::new(),
            fault: Fault::Retryable,
        };
        let mut partitions = Vec::new();
        for (position, generation) in commit {
            let PositionToCommit { partition, offset, metadata } = position.clone();
            let is_owner = !self.is_lost(partition)
                && self.reading.get(&partition).is_some_and(|reading| reading.generation == generation);
            let result = match fate {
                Fate::Taken | Fate::TakenUnanswered if is_owner => {
                    self.committed.insert(partition, (offset, metadata));
                    Ok(())
                }
                Fate::Taken | Fate::TakenUnanswered => Err(refusal("IllegalGeneration")),
                Fate::Refused | Fate::Vanished => Err(refusal("NotCoordinator")),
            };
            partitions.push(PartitionCommit { position, result });
        }
        if matches!(fate, Fate::Taken | Fate::Refused) {
            let result = partitions.iter().find_map(|answer| answer.result.clone().err()).map_or(Ok(()), Err);
            self.events.push_back(ConsumerEvent::Committed(CommitResult { result, partitions }));
        }
    }

    pub(super) fn report(&mut self, error: KafkaError) {
        self.events.push_back(ConsumerEvent::Error(error));
    }

    fn fails(&mut self, call: Call, waited: Duration) -> Result<(), KafkaError> {
        match self.failing.get_mut(&call).filter(|left| **left > 0) {
            None => Ok(()),
            Some(left) => {
                *left -= 1;
                self.now += waited;
                Err(KafkaError::Timeout { operation: "test", waited_ms: waited.as_millis() as u64 })
            }
        }
    }

    fn check_commit(&mut self, position: &PositionToCommit) {
        let PositionToCommit { partition, offset, .. } = position;
        if !self.is_owned(*partition) {
            self.breaks(Broken::CommittedAfterItsTime, format!("{position:?}"));
            return;
        }
        let period = &self.reading[partition].period;
        let passed = self.logs[partition].iter().filter(|one| **one >= period.start && **one < *offset);
        if let Some(unsettled) = passed.filter(|one| !period.settled.contains(one)).min() {
            self.breaks(Broken::CommittedUnsettled, format!("{position:?} passes {unsettled}"));
        }
    }
}

/// The member's end of it.
pub(super) struct InMemory(pub(super) Arc<Mutex<Broker>>);

pub(super) fn lock(broker: &Mutex<Broker>) -> MutexGuard<'_, Broker> {
    broker.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Consumer for InMemory {
    fn poll(&mut self) -> Option<ConsumerEvent> {
        let mut broker = lock(&self.0);
        let event = broker.events.pop_front();
        if matches!(event, Some(ConsumerEvent::Assigned(_) | ConsumerEvent::Revoked { .. })) {
            broker.is_told = true;
        }
        event
    }

    fn next_record(&mut self, partition: i32) -> Option<Result<Record, KafkaError>> {
        let mut broker = lock(&self.0);
        let broker = &mut *broker;
        let reading = broker.reading.get_mut(&partition)?;
        let offset = *broker.logs.get(&partition)?.iter().find(|offset| **offset >= reading.next)?;
        reading.next = offset + 1;
        // Some cannot be read.
        let value = if offset % 7 == 3 { "no post" } else { r#"{"id":"p"}"# };
        let (key, value) = (Some("p".into()), Some(value.into()));
        Some(Ok(Record { partition, offset, key, value, ..Record::default() }))
    }

    fn committed(&mut self, partitions: &[i32], timeout: Duration) -> Result<Vec<CommittedPosition>, KafkaError> {
        let mut broker = lock(&self.0);
        broker.fails(Call::Committed, timeout)?;
        let position = |partition: &i32| {
            let found = broker.committed.get(partition);
            let (offset, metadata) = (found.map(|(offset, _)| *offset), found.map(|(_, text)| text.clone()));
            CommittedPosition { partition: *partition, offset, metadata: metadata.unwrap_or_default() }
        };
        Ok(partitions.iter().map(position).collect())
    }

    fn accept(&mut self, starts: &[(i32, StartOffset)]) -> Result<(), KafkaError> {
        let mut broker = lock(&self.0);
        broker.rebalance = None;
        broker.generation += 1;
        let generation = broker.generation;
        for (partition, start) in starts {
            let start = if let StartOffset::At(offset) = start { *offset } else { 0 };
            let period = Period { start, settled: BTreeSet::new() };
            broker.reading.insert(*partition, Reading { next: start, period, generation });
        }
        Ok(())
    }

    fn release(&mut self, partitions: &[i32]) -> Result<(), KafkaError> {
        let mut broker = lock(&self.0);
        broker.rebalance = None;
        for partition in partitions {
            broker.reading.remove(partition);
        }
        Ok(())
    }

    fn seek(&mut self, partition: i32, offset: i64) -> Result<(), KafkaError> {
        let mut broker = lock(&self.0);
        broker.fails(Call::Seek, Duration::ZERO)?;
        if let Some(reading) = broker.reading.get_mut(&partition) {
            reading.next = offset;
            reading.period = Period { start: offset, settled: BTreeSet::new() };
        }
        Ok(())
    }

    fn commit(&mut self, positions: &[PositionToCommit]) -> Result<(), KafkaError> {
        let mut broker = lock(&self.0);
        broker.fails(Call::Commit, Duration::ZERO)?;
        for position in positions {
            broker.check_commit(position);
        }
        let generation = |partition| broker.reading.get(partition).map_or(0, |reading| reading.generation);
        let commit = positions.iter().map(|position| (position.clone(), generation(&position.partition))).collect();
        broker.commits.push_back(commit);
        Ok(())
    }

    fn watermarks(&mut self, partition: i32, timeout: Duration) -> Result<(i64, i64), KafkaError> {
        let mut broker = lock(&self.0);
        broker.fails(Call::Watermarks, timeout)?;
        Ok((0, broker.logs[&partition].last().map_or(0, |last| last + 1)))
    }

    fn cached_watermarks(&self, partition: i32) -> Option<(i64, i64)> {
        Some((0, lock(&self.0).logs[&partition].last().map_or(0, |last| last + 1)))
    }

    fn max_unanswered(&self) -> Duration {
        Duration::from_secs(30)
    }
}
