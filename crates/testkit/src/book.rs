//! What must become of every record of a feed, and what did. Filled by the sender, settled by the reader of the output
//! topics; it keeps a few dozen bytes of a post, however long the feed.

pub mod sums;

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;

use self::sums::{Counts, Latency, Tally};

/// What a record must lead to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// A label of this revision.
    Labelled {
        /// Post.
        id: String,
        /// Revision.
        revision: u64,
    },
    /// A dead letter and nothing else.
    DeadLettered {
        /// Post.
        id: String,
    },
    /// An erasure record, and null as the last label.
    Erased {
        /// Post.
        id: String,
    },
}

impl Expected {
    /// The post.
    pub fn id(&self) -> &str {
        match self {
            Self::Labelled { id, .. } | Self::DeadLettered { id } | Self::Erased { id } => id,
        }
    }
}

/// What a reader of the output topics saw of a post.
#[derive(Debug, Clone, Copy)]
pub enum Seen<'a> {
    /// A label.
    Label {
        /// Revision in it.
        revision: u64,
        /// Its event id.
        event_id: &'a str,
        /// The whole record.
        value: &'a [u8],
    },
    /// Null on the sentiment topic.
    NullLabel,
    /// A dead letter, by the place of the record it repeats.
    DeadLetter {
        /// Partition and offset of the input.
        source: (&'a [u8], &'a [u8]),
        /// Its reason code.
        reason: &'a str,
    },
    /// An erasure record.
    Erasure,
}

#[derive(Debug, Default)]
struct Entry {
    due: Duration,
    newest_revision: u64,
    is_poison: bool,
    is_erased: bool,
    /// Nobody waits for its outcome.
    settled: bool,
    is_refused: bool,
    /// Revision, hash of the event id, hash of the record.
    labels: Vec<(u64, u64, u64)>,
    dead_letter: Option<u64>,
    erasure_told: bool,
    last_is_null: bool,
}

impl Entry {
    fn is_settled(&self) -> bool {
        match (self.is_erased, self.is_poison) {
            (true, _) => self.erasure_told && self.last_is_null,
            (false, true) => self.dead_letter.is_some(),
            (false, false) => self.is_labelled() || self.dead_letter.is_some(),
        }
    }

    fn is_labelled(&self) -> bool {
        self.labels.iter().any(|label| label.0 == self.newest_revision)
    }

    fn see(&mut self, seen: Seen<'_>, tally: &mut Tally) {
        match seen {
            Seen::Label { revision, event_id, value } => {
                let label = (revision, hash(event_id.as_bytes()), hash(value));
                match self.labels.iter().find(|known| known.0 == revision) {
                    Some(known) if *known == label => tally.duplicates_raw += 1,
                    Some(_) => tally.duplicates_visible += 1,
                    None => {
                        tally.backwards += u64::from(self.labels.iter().any(|known| known.0 > revision));
                        self.labels.push(label);
                    }
                }
                tally.duplicates_visible += u64::from(self.dead_letter.is_some() || self.last_is_null);
                self.last_is_null = false;
            }
            Seen::NullLabel => self.last_is_null = true,
            Seen::DeadLetter { source, reason } => {
                let source = hash(&[source.0, b":", source.1].concat());
                match self.dead_letter.replace(source) {
                    Some(known) if known == source => tally.duplicates_raw += 1,
                    Some(_) => tally.duplicates_visible += 1,
                    None => {
                        tally.duplicates_visible += u64::from(self.is_labelled());
                        if !self.is_poison {
                            *tally.set_aside_reasons.entry(reason.to_owned()).or_default() += 1;
                        }
                    }
                }
            }
            Seen::Erasure if self.is_erased => self.erasure_told = true,
            Seen::Erasure => tally.foreign += 1,
        }
    }
}

/// The book.
#[derive(Debug)]
pub struct Book {
    entries: HashMap<String, Entry>,
    tally: Tally,
    open: usize,
    settlements: u64,
    last_settled_at: Duration,
    model_version: Option<String>,
    latencies_us: Histogram<u64>,
}

impl Book {
    /// An empty one.
    pub fn new() -> Result<Self> {
        Ok(Self {
            entries: HashMap::new(),
            tally: Tally::default(),
            open: 0,
            settlements: 0,
            last_settled_at: Duration::ZERO,
            model_version: None,
            // 1 us to one hour, to three digits; it grows nothing while the feed goes on.
            latencies_us: Histogram::new_with_bounds(1, 3_600_000_000, 3)?,
        })
    }

    /// Notes a record that is about to be sent, due `due` after the start.
    pub fn expect(&mut self, expected: &Expected, due: Duration) {
        self.tally.records += 1;
        // As if settled: opened below.
        let new = || Entry { settled: true, ..Entry::default() };
        let entry = self.entries.entry(expected.id().to_owned()).or_insert_with(new);
        entry.due = due;
        match expected {
            Expected::Labelled { revision, .. } => entry.newest_revision = *revision,
            Expected::DeadLettered { .. } => entry.is_poison = true,
            Expected::Erased { .. } => entry.is_erased = true,
        }
        let was_settled = entry.settled;
        entry.settled = entry.is_settled();
        self.open += usize::from(was_settled && !entry.settled);
    }

    /// Notes what a reader saw `at` after the start. Only labels count in the latencies: a dead letter is quick for the
    /// wrong reason.
    pub fn see(&mut self, id: &str, seen: Seen<'_>, at: Duration) {
        let Some(entry) = self.entries.get_mut(id) else {
            self.tally.foreign += 1;
            return;
        };
        entry.see(seen, &mut self.tally);
        if entry.is_settled() && (!entry.settled || entry.is_refused) {
            self.open -= usize::from(!entry.settled);
            // The acknowledgement was lost, the record was not.
            (entry.settled, entry.is_refused) = (true, false);
            self.settlements += 1;
            self.last_settled_at = self.last_settled_at.max(at);
            if entry.is_labelled() && !entry.is_erased {
                let latency = at.saturating_sub(entry.due);
                self.latencies_us.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).max(1));
            }
        }
    }

    /// Notes that the broker did not take a record; nobody will wait for its outcome.
    pub fn refuse(&mut self, id: &str) {
        if let Some(entry) = self.entries.get_mut(id).filter(|entry| !entry.settled) {
            (entry.settled, entry.is_refused) = (true, true);
            self.open -= 1;
        }
    }

    /// Notes the model that labels; the first, as a worker has one.
    pub fn note_model(&mut self, model_version: &str) {
        self.model_version.get_or_insert_with(|| model_version.to_owned());
    }

    /// The model that labels.
    pub fn model_version(&self) -> Option<&str> {
        self.model_version.as_deref()
    }

    /// Ids that wait for their outcome.
    pub fn open(&self) -> usize {
        self.open
    }

    /// How often an id got its outcome; an edited post gets one more.
    pub fn settlements(&self) -> u64 {
        self.settlements
    }

    /// From the start to the last outcome of an id that had none.
    pub fn last_settled_at(&self) -> Duration {
        self.last_settled_at
    }

    /// Percentiles of the labels' latencies; none if there are none.
    pub fn latency(&self) -> Option<Latency> {
        if self.latencies_us.is_empty() {
            return None;
        }
        Some(Latency {
            mean_ms: self.latencies_us.mean() / 1e3,
            p50_ms: self.latency_ms(50.0),
            p90_ms: self.latency_ms(90.0),
            p95_ms: self.latency_ms(95.0),
            p99_ms: self.latency_ms(99.0),
            p99_9_ms: self.latency_ms(99.9),
            max_ms: self.latencies_us.max() as f64 / 1e3,
        })
    }

    /// Latency of labels, from the moment a post was due, at this percentile.
    pub fn latency_ms(&self, percentile: f64) -> f64 {
        self.latencies_us.value_at_percentile(percentile) as f64 / 1e3
    }

    /// Forgets the latencies so far.
    pub fn reset_latencies(&mut self) {
        self.latencies_us.reset();
    }

    /// The sums; what is open now counts as lost.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally { ids: self.entries.len() as u64, ..self.tally.clone() };
        for entry in self.entries.values().filter(|entry| !entry.is_refused) {
            match (entry.is_settled(), entry.is_erased, entry.is_poison) {
                (false, ..) => tally.lost += 1,
                (true, true, _) => tally.erased += 1,
                (true, false, true) => tally.dead_lettered += 1,
                (true, false, false) if entry.is_labelled() => tally.labelled += 1,
                (true, false, false) => tally.set_aside += 1,
            }
        }
        tally
    }

    /// The sums of a feed in which every post should be labelled.
    pub fn counts(&self) -> Counts {
        let tally = self.tally();
        Counts {
            planned: self.entries.len(),
            labelled: tally.labelled as usize,
            dead_lettered: tally.set_aside as usize,
            refused_by_broker: self.entries.values().filter(|entry| entry.is_refused).count(),
            lost: tally.lost as usize,
            repeated: (tally.duplicates_raw + tally.duplicates_visible) as usize,
            foreign: tally.foreign as usize,
        }
    }

    /// Some ids that wait for their outcome, to look for in the worker's log; the first that was due comes first.
    pub fn open_ids(&self, at_most: usize) -> Vec<String> {
        let mut open: Vec<_> = self.entries.iter().filter(|(_, entry)| !entry.settled).collect();
        open.sort_by_key(|(_, entry)| entry.due);
        open.into_iter().take(at_most).map(|(id, _)| id.clone()).collect()
    }

    /// What the store must hold: for each id the newest revision with the hash of its event id, or none where the post was
    /// erased. Poison never came to the store.
    pub fn stored(&self) -> Vec<(String, Option<(u64, u64)>)> {
        let of = |entry: &Entry| {
            let newest = entry.labels.iter().find(|label| label.0 == entry.newest_revision);
            newest.filter(|_| !entry.is_erased).map(|label| (label.0, label.1))
        };
        let known = |entry: &Entry| entry.settled && (entry.is_erased || entry.is_labelled());
        let entries = self.entries.iter().filter(|entry| !entry.1.is_poison && known(entry.1));
        entries.map(|(id, entry)| (id.clone(), of(entry))).collect()
    }
}

/// Of bytes; the same within a run.
pub fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
