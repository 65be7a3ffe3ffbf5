//! Commits: asynchronous always, one at a time, awaited where it matters by going round the loop.

use std::time::{Duration, Instant};

use jtav_delivery::AssignmentEpoch;
use jtav_kafka::{CommitMode, CommitResult};
use jtav_pipeline::{FailPoint, fail_point};
use jtav_telemetry::{Metric, global};

use crate::poll_loop::PollLoop;

/// Attempts at the last commit before a partition is given up or the thread ends; while a group changes hands, brokers
/// refuse some of them and take the next.
const LAST_COMMITS: u32 = 10;

/// Wait between them.
const LAST_COMMIT_GAP: Duration = Duration::from_millis(100);

/// A commit on its way.
#[derive(Debug)]
pub(crate) struct CommitSent {
    at: Instant,
    /// Partition, position, and the period it was made in.
    offsets: Vec<(i32, i64, AssignmentEpoch)>,
}

/// How the last commit of something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LastCommit {
    Done,
    Waiting,
}

impl PollLoop {
    pub(crate) fn commit_if_due(&mut self) {
        if self.last_commit.elapsed() >= Duration::from_millis(self.params.settings.commit_interval_ms) {
            self.commit_now();
        }
    }

    /// Sends the settled prefix of every partition, unless a commit is on its way already. Returns true if it sent one.
    pub(crate) fn commit_now(&mut self) -> bool {
        self.forget_unanswered_commit();
        if self.commit_sent.is_some() {
            return false;
        }
        let offsets: Vec<(i32, i64, AssignmentEpoch)> = self
            .partitions
            .iter()
            .filter_map(|(number, owned)| Some((*number, owned.ledger.commit_due()?, owned.ledger.epoch())))
            .collect();
        self.last_commit = Instant::now();
        if offsets.is_empty() {
            return false;
        }
        let plain: Vec<(i32, i64)> = offsets.iter().map(|(number, position, _)| (*number, *position)).collect();
        fail_point::hit(FailPoint::IngestBeforeCommit, "");
        match self.consumer.commit(&plain, "", CommitMode::Async) {
            Ok(()) => {
                self.commit_sent = Some(CommitSent { at: Instant::now(), offsets });
                true
            }
            Err(error) => {
                global().inc(Metric::Commits, &["error"]);
                tracing::warn!(%error, "commit");
                false
            }
        }
    }

    /// librdkafka answers every commit, also with a failure; this is for the day it does not.
    fn forget_unanswered_commit(&mut self) {
        let patience = Duration::from_millis(self.params.settings.commit_timeout_ms) * 4;
        if self.commit_sent.as_ref().is_some_and(|sent| sent.at.elapsed() > patience) {
            global().inc(Metric::Commits, &["error"]);
            self.commit_sent = None;
        }
    }

    pub(crate) fn commit_answered(&mut self, answer: &CommitResult) {
        let Some(sent) = self.commit_sent.take() else { return };
        let mut worst: Option<&'static str> = None;
        for (number, position, epoch) in sent.offsets {
            let result = answer
                .partitions
                .iter()
                .find(|partition| partition.partition == number)
                .map_or(&answer.result, |partition| &partition.result);
            match result {
                Ok(()) => {
                    if let Some(owned) = self.partitions.get_mut(&number)
                        && owned.ledger.epoch() == epoch
                    {
                        owned.ledger.committed(position);
                        owned.committed = Some(position);
                    }
                }
                // Normal while partitions change hands: whoever owns them now reads the records again.
                Err(error) if error.is_not_owner() => {
                    worst = worst.or(Some("not_owner"));
                    tracing::debug!(%error, partition = number, position, "commit");
                }
                Err(error) => {
                    worst = Some("error");
                    tracing::warn!(%error, partition = number, position, "commit");
                }
            }
        }
        fail_point::hit(FailPoint::IngestAfterCommit, "");
        global().inc(Metric::Commits, &[worst.unwrap_or("ok")]);
    }

    /// One turn of a last commit of `numbers`: sends, waits, sends again if refused. `sent` counts the attempts and
    /// `since` is when the first was due.
    pub(crate) fn last_commit_turn(&mut self, numbers: &[i32], sent: &mut u32, since: Instant) -> LastCommit {
        let is_due = numbers
            .iter()
            .any(|number| self.partitions.get(number).is_some_and(|owned| owned.ledger.commit_due().is_some()));
        if !is_due {
            return LastCommit::Done;
        }
        let out_of_time = since.elapsed() >= Duration::from_millis(self.params.settings.commit_timeout_ms);
        let out_of_attempts = *sent >= LAST_COMMITS && self.commit_sent.is_none();
        if out_of_time || out_of_attempts {
            tracing::warn!(?numbers, attempts = *sent, "the last commit did not go through; these records come again");
            return LastCommit::Done;
        }
        if (*sent == 0 || self.last_commit.elapsed() >= LAST_COMMIT_GAP) && self.commit_now() {
            *sent += 1;
        }
        LastCommit::Waiting
    }

    /// The commit at the end of a drain.
    pub(crate) fn final_commit_done(&mut self) -> bool {
        let numbers: Vec<i32> = self.partitions.keys().copied().collect();
        let Some(draining) = &mut self.draining else { return true };
        let since = *draining.committing_since.get_or_insert_with(Instant::now);
        let mut sent = draining.commits_sent;
        let state = self.last_commit_turn(&numbers, &mut sent, since);
        if let Some(draining) = &mut self.draining {
            draining.commits_sent = sent;
        }
        state == LastCommit::Done
    }
}
