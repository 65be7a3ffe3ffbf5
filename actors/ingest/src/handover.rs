//! Partitions that are about to come or to go. The consumer hands a rebalance out as an event and the group waits for the
//! answer. Pure; told the time.

use std::time::{Duration, Instant};

use crate::commits::Attempts;

/// Wait between two questions for committed positions.
const COMMITTED_RETRY: Duration = Duration::from_millis(500);

/// Partitions that were offered and are not taken over yet: their committed positions must be known first.
#[derive(Debug)]
pub(crate) struct Offer {
    partitions: Vec<i32>,
    since: Instant,
    next_try: Instant,
}

impl Offer {
    pub(crate) fn new(partitions: Vec<i32>, now: Instant) -> Self {
        Self { partitions, since: now, next_try: now }
    }

    /// The partitions, if the coordinator is to be asked for their positions now.
    pub(crate) fn due(&self, now: Instant) -> Option<Vec<i32>> {
        (self.next_try <= now).then(|| self.partitions.clone())
    }

    /// The coordinator did not answer. Gives for how long it has not.
    pub(crate) fn unanswered(&mut self, now: Instant) -> Duration {
        self.next_try = now + COMMITTED_RETRY;
        now.saturating_duration_since(self.since)
    }
}

/// Partitions that are being given up.
#[derive(Debug)]
pub(crate) struct Revocation {
    partitions: Vec<i32>,
    started: Instant,
    /// What is in flight is waited for until then.
    deadline: Instant,
    last_commit: Option<Attempts>,
}

impl Revocation {
    pub(crate) fn new(partitions: Vec<i32>, patience: Duration, now: Instant) -> Self {
        Self { partitions, started: now, deadline: now + patience, last_commit: None }
    }

    pub(crate) fn contains(&self, number: i32) -> bool {
        self.partitions.contains(&number)
    }

    pub(crate) fn partitions(&self) -> &[i32] {
        &self.partitions
    }

    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// Nothing is in flight any more, or it was waited for long enough.
    pub(crate) fn is_drained(&self, unsettled: usize, now: Instant) -> bool {
        unsettled == 0 || now >= self.deadline
    }

    pub(crate) fn last_commit(&self, now: Instant) -> Attempts {
        self.last_commit.unwrap_or(Attempts::new(now))
    }

    pub(crate) fn set_last_commit(&mut self, attempts: Attempts) {
        self.last_commit = Some(attempts);
    }
}
