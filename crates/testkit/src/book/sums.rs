use std::collections::BTreeMap;

use serde::Serialize;

/// Sums of a feed. Each post id ends in exactly one of the first three.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Records sent, edits and tombstones included.
    pub records: u64,
    /// Post ids.
    pub ids: u64,
    /// Ids whose newest revision was labelled.
    pub labelled: u64,
    /// Ids that were set aside, as they should.
    pub dead_lettered: u64,
    /// Ids that were erased, as they should.
    pub erased: u64,
    /// Ids that were set aside and should have been labelled: nothing is lost, and somebody has to replay them.
    pub set_aside: u64,
    /// Those, by the reason that was given.
    pub set_aside_reasons: BTreeMap<String, u64>,
    /// Ids without any outcome, or with one that must not be.
    pub lost: u64,
    /// Contradictions that a reader sees who drops event ids he knows: a second event id of a revision, an event id with
    /// other content, a second dead letter, a label and a dead letter of one post, a label after its post was erased.
    pub duplicates_visible: u64,
    /// Exact repetitions, which such a reader drops.
    pub duplicates_raw: u64,
    /// Older revisions that came for the first time after newer ones.
    pub backwards: u64,
    /// Records of posts that nobody sent.
    pub foreign: u64,
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
