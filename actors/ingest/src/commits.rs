//! What was committed: asynchronously always, one commit at a time. Pure: it says what is due and what an answer means;
//! who sends and waits is the poll loop. It knows no clock: every call is told the time.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use jtav_delivery::AssignmentEpoch;
use jtav_kafka::{CommitResult, KafkaError, PositionToCommit};

use crate::note::Note;
use crate::params::IngestSettings;

/// Attempts at the last commit before a partition is given up or the thread ends; while a group changes hands, brokers
/// refuse some of them and take the next.
const LAST_COMMITS: u32 = 10;

/// Wait between them, and before any refused commit that somebody waits for is tried again.
const COMMIT_GAP: Duration = Duration::from_millis(100);

/// Time-outs of a commit after which an answer is not waited for any more.
const PATIENCE: u32 = 4;

/// What is to be committed of one partition.
#[derive(Debug, Clone)]
pub(crate) struct Position {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) note: Note,
    /// Records that ran into their deadline.
    pub(crate) words: String,
    /// The period it was made in.
    pub(crate) epoch: AssignmentEpoch,
}

impl Position {
    /// As the broker gets it.
    pub(crate) fn to_commit(&self) -> PositionToCommit {
        let text = if self.words.is_empty() { self.note.to_string() } else { format!("{} {}", self.note, self.words) };
        PositionToCommit::new(self.partition, self.offset, text)
    }
}

/// A commit on its way.
#[derive(Debug)]
struct CommitSent {
    at: Instant,
    positions: Vec<Position>,
}

impl CommitSent {
    fn is_answered_by(&self, answer: &CommitResult) -> bool {
        let sent: Vec<PositionToCommit> = self.positions.iter().map(Position::to_commit).collect();
        let is_said = |position: &PositionToCommit| answer.partitions.iter().any(|own| own.position == *position);
        // One that says nothing of any partition is of the commit as a whole.
        answer.partitions.is_empty() || (answer.partitions.len() == sent.len() && sent.iter().all(is_said))
    }
}

/// What the broker said to a commit.
#[derive(Debug, Default)]
pub(crate) struct Answered {
    pub(crate) taken: Vec<Position>,
    pub(crate) refused: Vec<(Position, KafkaError)>,
}

impl Answered {
    /// It was refused for another reason than that the partitions change hands.
    pub(crate) fn is_error(&self) -> bool {
        self.refused.iter().any(|(_, error)| !error.is_not_owner())
    }
}

/// Since when a last commit is due, and how often it was sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempts {
    since: Instant,
    sent: u32,
}

impl Attempts {
    pub(crate) fn new(now: Instant) -> Self {
        Self { since: now, sent: 0 }
    }

    pub(crate) fn sent(&self) -> u32 {
        self.sent
    }

    pub(crate) fn count_one(&mut self) {
        self.sent += 1;
    }
}

/// What is next for a last commit that did not go through yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LastTurn {
    Send,
    Wait,
    /// Too long, or too often.
    GiveUp,
}

/// Commits of a member, all partitions together.
#[derive(Debug)]
pub(crate) struct Commits {
    interval: Duration,
    timeout: Duration,
    on_its_way: Option<CommitSent>,
    last: Instant,
    /// When the broker last refused one, if it has not taken one since.
    refused: Option<Instant>,
    /// Partitions of which nobody knows what the broker has: a commit was sent and not seen to be taken. One that was refused
    /// for a time-out, or not answered, may have been.
    unsure: BTreeSet<i32>,
    /// A record waits until its note is committed.
    is_note_awaited: bool,
    /// Partitions whose next commit is the last one of this ownership.
    goodbyes: BTreeSet<i32>,
    /// The commit at the end of the thread, once that is due.
    at_the_end: Option<Attempts>,
}

impl Commits {
    pub(crate) fn new(settings: &IngestSettings, now: Instant) -> Self {
        Self {
            interval: Duration::from_millis(settings.commit_interval_ms),
            timeout: Duration::from_millis(settings.commit_timeout_ms),
            on_its_way: None,
            last: now,
            refused: None,
            unsure: BTreeSet::new(),
            is_note_awaited: false,
            goodbyes: BTreeSet::new(),
            at_the_end: None,
        }
    }

    /// At the interval, and at once if a record waits for its note or a note has fallen behind (`is_pressing`).
    pub(crate) fn is_due(&self, is_pressing: bool, now: Instant) -> bool {
        let since = |earlier: Instant| now.saturating_duration_since(earlier);
        let may_hurry = self.refused.is_none_or(|refused| since(refused) >= COMMIT_GAP);
        since(self.last) >= self.interval || ((self.is_note_awaited || is_pressing) && may_hurry)
    }

    /// A turn of taking records begins: who waits for a note will say so again.
    pub(crate) fn begin_turn(&mut self) {
        self.is_note_awaited = false;
    }

    pub(crate) fn await_note(&mut self) {
        self.is_note_awaited = true;
    }

    pub(crate) fn is_note_awaited(&self) -> bool {
        self.is_note_awaited
    }

    /// librdkafka answers every commit, also with a failure; this is for the day it does not. True if one was given up.
    pub(crate) fn forget_unanswered(&mut self, now: Instant) -> bool {
        let patience = self.timeout * PATIENCE;
        self.on_its_way.take_if(|sent| now.saturating_duration_since(sent.at) > patience).is_some()
    }

    pub(crate) fn is_on_its_way(&self) -> bool {
        self.on_its_way.is_some()
    }

    /// It was looked for what is to be committed, found or not.
    pub(crate) fn looked(&mut self, now: Instant) {
        self.last = now;
    }

    pub(crate) fn sent(&mut self, positions: Vec<Position>, now: Instant) {
        self.unsure.extend(positions.iter().map(|position| position.partition));
        self.on_its_way = Some(CommitSent { at: now, positions });
    }

    /// The client did not even send it.
    pub(crate) fn not_sent(&mut self, now: Instant) {
        self.refused = Some(now);
    }

    /// The broker's answer; none if nobody waits for this one: it is to a commit that was given up as unanswered.
    pub(crate) fn answered(&mut self, answer: &CommitResult, now: Instant) -> Option<Answered> {
        let sent = self.on_its_way.take_if(|sent| sent.is_answered_by(answer))?;
        let mut answered = Answered::default();
        for position in sent.positions {
            let own = answer.partitions.iter().find(|own| own.position.partition == position.partition);
            match own.map_or(&answer.result, |own| &own.result) {
                Ok(()) => {
                    self.unsure.remove(&position.partition);
                    answered.taken.push(position);
                }
                Err(error) => answered.refused.push((position, error.clone())),
            }
        }
        self.refused = (!answered.refused.is_empty()).then_some(now);
        Some(answered)
    }

    /// The next commit of these partitions is the last one of this ownership.
    pub(crate) fn say_goodbye(&mut self, numbers: &[i32]) {
        self.goodbyes.extend(numbers);
    }

    pub(crate) fn says_goodbye(&self, number: i32) -> bool {
        self.goodbyes.contains(&number)
    }

    /// A goodbye must be sent whatever the broker was last seen to have.
    pub(crate) fn must_say_goodbye(&self, number: i32) -> bool {
        self.goodbyes.contains(&number) && self.unsure.contains(&number)
    }

    /// The ownership is over.
    pub(crate) fn give_up(&mut self, number: i32) {
        self.goodbyes.remove(&number);
        self.unsure.remove(&number);
    }

    /// Sends, waits, sends again if refused.
    pub(crate) fn last_turn(&self, attempts: Attempts, now: Instant) -> LastTurn {
        let since = |earlier: Instant| now.saturating_duration_since(earlier);
        let out_of_attempts = attempts.sent >= LAST_COMMITS && self.on_its_way.is_none();
        if since(attempts.since) >= self.timeout || out_of_attempts {
            LastTurn::GiveUp
        } else if attempts.sent == 0 || since(self.last) >= COMMIT_GAP {
            LastTurn::Send
        } else {
            LastTurn::Wait
        }
    }

    /// Of the commit at the end of a drain or of a pipeline that cannot go on.
    pub(crate) fn attempts_at_the_end(&mut self, now: Instant) -> Attempts {
        *self.at_the_end.get_or_insert(Attempts::new(now))
    }

    pub(crate) fn set_attempts_at_the_end(&mut self, attempts: Attempts) {
        self.at_the_end = Some(attempts);
    }
}
