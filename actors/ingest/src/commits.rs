//! Commits: asynchronous always, one at a time, awaited where it matters by going round the loop.

use std::time::{Duration, Instant};

use jtav_delivery::AssignmentEpoch;
use jtav_kafka::{CommitMode, CommitResult, PositionToCommit};
use jtav_pipeline::{FailPoint, fail_point};
use jtav_telemetry::{Metric, global};

use crate::note::Note;
use crate::poll_loop::PollLoop;

/// Attempts at the last commit before a partition is given up or the thread ends; while a group changes hands, brokers
/// refuse some of them and take the next.
const LAST_COMMITS: u32 = 10;

/// Wait between them, and before any refused commit that somebody waits for is tried again.
const COMMIT_GAP: Duration = Duration::from_millis(100);

/// A commit on its way.
#[derive(Debug)]
pub(crate) struct CommitSent {
    at: Instant,
    positions: Vec<Position>,
}

/// What was sent for one partition.
#[derive(Debug, Clone)]
struct Position {
    partition: i32,
    offset: i64,
    note: Note,
    /// Records that ran into their deadline.
    words: String,
    /// The period it was made in.
    epoch: AssignmentEpoch,
}

impl Position {
    /// What stands beside the offset.
    fn text(&self) -> String {
        if self.words.is_empty() { self.note.to_string() } else { format!("{} {}", self.note, self.words) }
    }
}

/// How the last commit of something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LastCommit {
    Done,
    Waiting,
}

impl PollLoop {
    /// Commits at the interval, and at once if a record waits for its note or a note has fallen behind.
    pub(crate) fn commit_if_due(&mut self) {
        let interval = Duration::from_millis(self.params.settings.commit_interval_ms);
        let is_pressing = self.note_awaited || self.suspects.is_pressing();
        let may_hurry = self.commit_refused.is_none_or(|refused| refused.elapsed() >= COMMIT_GAP);
        if self.last_commit.elapsed() >= interval || (is_pressing && may_hurry) {
            self.commit_now();
        }
    }

    /// Sends the settled prefix of every partition with its note, unless a commit is on its way already. Returns true if
    /// it sent one.
    pub(crate) fn commit_now(&mut self) -> bool {
        self.forget_unanswered_commit();
        if self.commit_sent.is_some() {
            return false;
        }
        let positions: Vec<Position> =
            self.partitions.keys().filter_map(|number| self.position_to_commit(*number)).collect();
        self.last_commit = Instant::now();
        if positions.is_empty() {
            return false;
        }
        let with_text: Vec<PositionToCommit> =
            positions.iter().map(|sent| PositionToCommit::new(sent.partition, sent.offset, sent.text())).collect();
        fail_point::hit(FailPoint::IngestBeforeCommit, "");
        match self.consumer.commit(&with_text, CommitMode::Async) {
            Ok(()) => {
                self.commit_sent = Some(CommitSent { at: Instant::now(), positions });
                true
            }
            Err(error) => {
                self.commit_refused = Some(Instant::now());
                global().inc(Metric::Commits, &["error"]);
                tracing::warn!(%error, "commit");
                false
            }
        }
    }

    /// What the broker should have of a partition and has not.
    fn position_to_commit(&self, number: i32) -> Option<Position> {
        let ledger = &self.partitions.get(&number)?.ledger;
        let is_leaving = self.saying_goodbye.contains(&number);
        let position = ledger.commit_position();
        let (offset, note) = self.suspects.standing(number, position, is_leaving)?;
        let words = self.overdue.words(number, offset);
        let is_due = self.suspects.due(number, position, is_leaving).is_some();
        let sent = Position { partition: number, offset, note, words, epoch: ledger.epoch() };
        (is_due || self.overdue.is_news(number, &sent.words)).then_some(sent)
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
        for Position { partition: number, offset: position, note, words, epoch } in sent.positions {
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
                        self.suspects.acknowledged(number, position, note);
                        self.overdue.acknowledged(number, words);
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
        self.commit_refused = worst.map(|_| Instant::now());
        global().inc(Metric::Commits, &[worst.unwrap_or("ok")]);
    }

    /// One turn of a last commit of `numbers`, with notes that say goodbye: sends, waits, sends again if refused. `sent`
    /// counts the attempts and `since` is when the first was due.
    pub(crate) fn last_commit_turn(&mut self, numbers: &[i32], sent: &mut u32, since: Instant) -> LastCommit {
        self.saying_goodbye.extend(numbers);
        let is_due = numbers.iter().any(|number| self.position_to_commit(*number).is_some());
        if !is_due {
            return LastCommit::Done;
        }
        let out_of_time = since.elapsed() >= Duration::from_millis(self.params.settings.commit_timeout_ms);
        let out_of_attempts = *sent >= LAST_COMMITS && self.commit_sent.is_none();
        if out_of_time || out_of_attempts {
            tracing::warn!(?numbers, attempts = *sent, "the last commit did not go through; these records come again");
            return LastCommit::Done;
        }
        if (*sent == 0 || self.last_commit.elapsed() >= COMMIT_GAP) && self.commit_now() {
            *sent += 1;
        }
        LastCommit::Waiting
    }

    /// The commit at the end of a drain or of a pipeline that cannot go on.
    pub(crate) fn final_commit_done(&mut self) -> bool {
        let numbers: Vec<i32> = self.partitions.keys().copied().collect();
        let (since, mut sent) = self.final_commit.unwrap_or((Instant::now(), 0));
        let state = self.last_commit_turn(&numbers, &mut sent, since);
        self.final_commit = Some((since, sent));
        state == LastCommit::Done
    }
}
