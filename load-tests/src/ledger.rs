//! What became of every post, and how long it took from the moment it was due.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::pacing::Schedule;

/// How a post ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A label was published.
    Labelled,
    /// Its original record was published as a dead letter.
    DeadLettered,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Refused,
    Done(Outcome),
}

/// Latencies in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Latency {
    /// Mean.
    pub mean_ms: f64,
    /// Median.
    pub p50_ms: f64,
    /// 90 %.
    pub p90_ms: f64,
    /// 95 %.
    pub p95_ms: f64,
    /// 99 %.
    pub p99_ms: f64,
    /// 99.9 %.
    pub p99_9_ms: f64,
    /// Largest.
    pub max_ms: f64,
}

/// How many posts ended how.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Posts of the schedule.
    pub planned: usize,
    /// Posts with a label; the first outcome counts.
    pub labelled: usize,
    /// Posts with a dead letter instead.
    pub dead_lettered: usize,
    /// Posts that the broker never acknowledged, so the worker is not to blame.
    pub refused_by_broker: usize,
    /// Posts with neither label nor dead letter: losses.
    pub lost: usize,
    /// Further outcomes of posts that had one: redeliveries.
    pub repeated: usize,
    /// Records whose key is no post of this phase.
    pub foreign: usize,
}

/// Book of one phase of a run. Posts are numbered in the order of the schedule.
#[derive(Debug)]
pub struct Ledger {
    schedule: Schedule,
    index_of: HashMap<Bytes, usize>,
    states: Vec<State>,
    open: usize,
    repeated: usize,
    foreign: usize,
    last_outcome: Duration,
    latencies_us: Histogram<u64>,
}

impl Ledger {
    /// A book for posts with these ids, due as `schedule` says.
    pub fn new(schedule: Schedule, ids: impl IntoIterator<Item = Bytes>) -> Result<Self> {
        let index_of: HashMap<Bytes, usize> = ids.into_iter().enumerate().map(|(index, id)| (id, index)).collect();
        let posts = index_of.len();
        Ok(Self {
            schedule,
            index_of,
            states: vec![State::Open; posts],
            open: posts,
            repeated: 0,
            foreign: 0,
            last_outcome: Duration::ZERO,
            // 1 us to one hour, to three digits; it grows nothing while the run goes on.
            latencies_us: Histogram::new_with_bounds(1, 3_600_000_000, 3)?,
        })
    }

    /// Notes an outcome seen `at` after the start. Only labels count in the latencies: a dead letter is quick for the
    /// wrong reason.
    pub fn settle(&mut self, id: &[u8], outcome: Outcome, at: Duration) {
        let Some(&index) = self.index_of.get(id) else {
            self.foreign += 1;
            return;
        };
        match self.states[index] {
            State::Done(_) => {
                self.repeated += 1;
                return;
            }
            State::Open => self.open -= 1,
            // The acknowledgement was lost, the record was not.
            State::Refused => {}
        }
        self.states[index] = State::Done(outcome);
        self.last_outcome = self.last_outcome.max(at);
        if outcome == Outcome::Labelled {
            let latency = at.saturating_sub(self.schedule.due(index));
            self.latencies_us.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).max(1));
        }
    }

    /// Notes that the broker did not take a post; nobody will wait for its outcome.
    pub fn refuse(&mut self, index: usize) {
        if let Some(state @ State::Open) = self.states.get_mut(index) {
            *state = State::Refused;
            self.open -= 1;
        }
    }

    /// Posts still without an outcome.
    pub fn open(&self) -> usize {
        self.open
    }

    /// From the start to the last first outcome.
    pub fn last_outcome(&self) -> Duration {
        self.last_outcome
    }

    /// The sums; what is open now counts as lost.
    pub fn counts(&self) -> Counts {
        let count = |wanted| self.states.iter().filter(|state| **state == wanted).count();
        Counts {
            planned: self.states.len(),
            labelled: count(State::Done(Outcome::Labelled)),
            dead_lettered: count(State::Done(Outcome::DeadLettered)),
            refused_by_broker: count(State::Refused),
            lost: self.open,
            repeated: self.repeated,
            foreign: self.foreign,
        }
    }

    /// Some ids of lost posts, to look for in the worker's log.
    pub fn lost_ids(&self, at_most: usize) -> Vec<String> {
        // Sorted by their place in the schedule, so that the first to be lost comes first.
        let lost: BTreeMap<usize, &Bytes> = self
            .index_of
            .iter()
            .filter(|(_, index)| self.states[**index] == State::Open)
            .map(|(id, index)| (*index, id))
            .collect();
        lost.values().take(at_most).map(|id| String::from_utf8_lossy(id).into_owned()).collect()
    }

    /// Percentiles of the labelled posts; none if there are none.
    pub fn latency(&self) -> Option<Latency> {
        if self.latencies_us.is_empty() {
            return None;
        }
        let at = |percentile| self.latencies_us.value_at_percentile(percentile) as f64 / 1e3;
        Some(Latency {
            mean_ms: self.latencies_us.mean() / 1e3,
            p50_ms: at(50.0),
            p90_ms: at(90.0),
            p95_ms: at(95.0),
            p99_ms: at(99.0),
            p99_9_ms: at(99.9),
            max_ms: self.latencies_us.max() as f64 / 1e3,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(index: usize) -> Bytes {
        Bytes::from(format!("p{index}"))
    }

    fn ledger(posts: usize, rate: f64) -> Ledger {
        Ledger::new(Schedule::new(rate).unwrap(), (0..posts).map(id)).unwrap()
    }

    #[test]
    fn percentiles_agree_with_the_sorted_latencies() {
        let mut book = ledger(1000, 1000.0);
        for index in 0..1000 {
            let latency = Duration::from_millis(index as u64 + 1);
            book.settle(&id(index), Outcome::Labelled, Duration::from_millis(index as u64) + latency);
        }
        let latency = book.latency().unwrap();
        let near = |found: f64, expected: f64| assert!((found / expected - 1.0).abs() < 0.002, "{found} {expected}");
        near(latency.p50_ms, 500.0);
        near(latency.p90_ms, 900.0);
        near(latency.p99_ms, 990.0);
        near(latency.p99_9_ms, 999.0);
        near(latency.max_ms, 1000.0);
        near(latency.mean_ms, 500.5);
    }

    #[test]
    fn a_stall_is_charged_to_every_post_that_was_due_during_it() {
        // Ten posts a second; the system freezes from 0 s to 10 s, then answers all at once. A generator that waits
        // for answers would have sent one post and reported one latency of 10 s.
        let mut book = ledger(101, 10.0);
        for index in 0..101 {
            book.settle(&id(index), Outcome::Labelled, Duration::from_secs(10));
        }
        let p50 = book.latency().unwrap().p50_ms;
        assert!((4_900.0..5_100.0).contains(&p50), "{p50}");
    }

    #[test]
    fn a_post_with_neither_label_nor_dead_letter_is_lost() {
        let mut book = ledger(4, 1.0);
        book.settle(b"p0", Outcome::Labelled, Duration::from_secs(1));
        book.settle(b"p1", Outcome::DeadLettered, Duration::from_secs(1));
        book.refuse(2);
        let counts = book.counts();
        assert_eq!((counts.labelled, counts.dead_lettered, counts.refused_by_broker, counts.lost), (1, 1, 1, 1));
        assert_eq!(book.lost_ids(10), ["p3"]);
        assert_eq!(book.open(), 1);
    }

    #[test]
    fn a_second_outcome_is_a_repetition_and_changes_no_latency() {
        let mut book = ledger(1, 1.0);
        book.settle(b"p0", Outcome::Labelled, Duration::from_millis(10));
        book.settle(b"p0", Outcome::Labelled, Duration::from_secs(10));
        book.settle(b"p0", Outcome::DeadLettered, Duration::from_secs(10));
        let counts = book.counts();
        assert_eq!((counts.labelled, counts.dead_lettered, counts.repeated, counts.lost), (1, 0, 2, 0));
        assert!(book.latency().unwrap().max_ms < 11.0);
        assert_eq!(book.last_outcome(), Duration::from_millis(10));
    }

    #[test]
    fn a_key_of_another_phase_is_foreign() {
        let mut book = ledger(1, 1.0);
        book.settle(b"warm", Outcome::Labelled, Duration::from_secs(1));
        assert_eq!((book.counts().foreign, book.counts().lost), (1, 1));
    }

    #[test]
    fn a_post_whose_acknowledgement_was_lost_but_which_was_labelled_counts_as_labelled() {
        let mut book = ledger(1, 1.0);
        book.refuse(0);
        book.settle(b"p0", Outcome::Labelled, Duration::from_secs(1));
        assert_eq!((book.counts().labelled, book.counts().refused_by_broker, book.open()), (1, 0, 0));
    }

    #[test]
    fn dead_letters_do_not_flatter_the_latencies() {
        let mut book = ledger(1, 1.0);
        book.settle(b"p0", Outcome::DeadLettered, Duration::from_millis(1));
        assert_eq!(book.latency(), None);
    }
}
