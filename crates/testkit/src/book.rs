//! What must become of every record of a soak, and what did. Filled by the sender, settled by the reader of the output
//! topics; it keeps a few dozen bytes of a post, however long the soak.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash as _, Hasher as _};
use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;
use serde::Serialize;

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

/// Sums of a soak. Each post id ends in exactly one of the first three.
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

#[derive(Debug, Default)]
struct Entry {
    due: Duration,
    newest_revision: u64,
    is_poison: bool,
    is_erased: bool,
    settled: bool,
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
}

/// The book.
#[derive(Debug)]
pub struct Book {
    entries: HashMap<String, Entry>,
    tally: Tally,
    open: usize,
    settlements: u64,
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
            model_version: None,
            latencies_us: Histogram::new_with_bounds(1, 3_600_000_000, 3)?,
        })
    }

    /// Notes a record that is about to be sent, due `due` after the start.
    pub fn expect(&mut self, expected: &Expected, due: Duration) {
        self.tally.records += 1;
        let entry = self.entries.entry(expected.id().to_owned()).or_insert_with(|| Entry {
            // As if settled: opened below.
            settled: true,
            ..Entry::default()
        });
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

    /// Notes what a reader saw `at` after the start.
    pub fn see(&mut self, id: &str, seen: Seen<'_>, at: Duration) {
        let Some(entry) = self.entries.get_mut(id) else {
            self.tally.foreign += 1;
            return;
        };
        let tally = &mut self.tally;
        match seen {
            Seen::Label { revision, event_id, value } => {
                let label = (revision, hash(event_id.as_bytes()), hash(value));
                match entry.labels.iter().find(|known| known.0 == revision) {
                    Some(known) if *known == label => tally.duplicates_raw += 1,
                    Some(_) => tally.duplicates_visible += 1,
                    None => {
                        tally.backwards += u64::from(entry.labels.iter().any(|known| known.0 > revision));
                        entry.labels.push(label);
                    }
                }
                tally.duplicates_visible += u64::from(entry.dead_letter.is_some() || entry.last_is_null);
                entry.last_is_null = false;
            }
            Seen::NullLabel => entry.last_is_null = true,
            Seen::DeadLetter { source, reason } => {
                let source = hash(&[source.0, b":", source.1].concat());
                match entry.dead_letter.replace(source) {
                    Some(known) if known == source => tally.duplicates_raw += 1,
                    Some(_) => tally.duplicates_visible += 1,
                    None => {
                        tally.duplicates_visible += u64::from(entry.is_labelled());
                        if !entry.is_poison {
                            *tally.set_aside_reasons.entry(reason.to_owned()).or_default() += 1;
                        }
                    }
                }
            }
            Seen::Erasure if entry.is_erased => entry.erasure_told = true,
            Seen::Erasure => tally.foreign += 1,
        }
        if !entry.settled && entry.is_settled() {
            entry.settled = true;
            self.open -= 1;
            self.settlements += 1;
            if entry.is_labelled() && !entry.is_erased {
                let latency = at.saturating_sub(entry.due);
                self.latencies_us.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).max(1));
            }
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
        for entry in self.entries.values() {
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

    /// Some ids that wait for their outcome, to look for in the worker's log.
    pub fn open_ids(&self, at_most: usize) -> Vec<String> {
        self.entries.iter().filter(|entry| !entry.1.settled).take(at_most).map(|entry| entry.0.clone()).collect()
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
mod tests {
    use super::*;

    const AT: Duration = Duration::from_secs(1);

    fn book(expected: &[Expected]) -> Book {
        let mut book = Book::new().unwrap();
        expected.iter().for_each(|expected| book.expect(expected, Duration::ZERO));
        book
    }

    fn labelled(revision: u64) -> Expected {
        Expected::Labelled { id: "a".to_owned(), revision }
    }

    fn label<'a>(revision: u64, event_id: &'a str, value: &'a [u8]) -> Seen<'a> {
        Seen::Label { revision, event_id, value }
    }

    #[test]
    fn a_post_is_open_until_its_newest_revision_is_labelled() {
        let mut book = book(&[labelled(0)]);
        assert_eq!((book.open(), book.tally().lost), (1, 1));
        book.see("a", label(0, "e0", b"x"), AT);
        assert_eq!((book.open(), book.tally().labelled), (0, 1));
        book.expect(&labelled(1), Duration::ZERO);
        assert_eq!((book.open(), book.tally().lost), (1, 1));
        book.see("a", label(1, "e1", b"y"), AT);
        let tally = book.tally();
        assert_eq!((tally.ids, tally.records, tally.labelled, tally.lost, tally.duplicates_visible), (1, 2, 1, 0, 0));
        assert_eq!(book.stored(), [("a".to_owned(), Some((1, hash(b"e1"))))]);
    }

    #[test]
    fn an_exact_repetition_is_raw_and_anything_else_is_visible() {
        let mut book = book(&[labelled(0)]);
        book.see("a", label(0, "e", b"x"), AT);
        book.see("a", label(0, "e", b"x"), AT);
        assert_eq!((book.tally().duplicates_raw, book.tally().duplicates_visible), (1, 0));
        book.see("a", label(0, "e", b"other content"), AT);
        book.see("a", label(0, "other id", b"x"), AT);
        assert_eq!((book.tally().duplicates_raw, book.tally().duplicates_visible), (1, 2));
    }

    #[test]
    fn an_older_revision_after_a_newer_one_goes_backwards() {
        let mut book = book(&[labelled(0), labelled(1)]);
        book.see("a", label(1, "e1", b"y"), AT);
        assert_eq!((book.open(), book.tally().backwards), (0, 0));
        book.see("a", label(0, "e0", b"x"), AT);
        assert_eq!(book.tally().backwards, 1);
    }

    #[test]
    fn an_erased_post_needs_its_record_and_a_null_and_a_label_after_it_is_seen() {
        let mut book = book(&[labelled(0), Expected::Erased { id: "a".to_owned() }]);
        book.see("a", label(0, "e", b"x"), AT);
        book.see("a", Seen::Erasure, AT);
        assert_eq!(book.open(), 1, "the label still stands");
        book.see("a", Seen::NullLabel, AT);
        assert_eq!((book.open(), book.tally().erased), (0, 1));
        assert_eq!(book.stored(), [("a".to_owned(), None)]);
        book.see("a", label(0, "e", b"x"), AT);
        let tally = book.tally();
        assert_eq!((tally.duplicates_visible, tally.erased, tally.lost), (1, 0, 1));
    }

    #[test]
    fn a_dead_letter_of_a_good_post_and_a_second_one_of_a_bad_post_are_seen() {
        let letter = |offset: &'static [u8]| Seen::DeadLetter { source: (b"0", offset), reason: "no_modality" };
        let mut book = book(&[labelled(0), Expected::DeadLettered { id: "p".to_owned() }]);
        book.see("p", letter(b"7"), AT);
        book.see("p", letter(b"7"), AT);
        assert_eq!((book.tally().dead_lettered, book.tally().duplicates_raw), (1, 1));
        assert_eq!(book.tally().duplicates_visible, 0);
        book.see("p", letter(b"8"), AT);
        book.see("a", letter(b"9"), AT);
        let tally = book.tally();
        assert_eq!((tally.duplicates_visible, tally.lost, tally.set_aside, book.open()), (1, 0, 1, 0));
        assert_eq!(tally.set_aside_reasons, BTreeMap::from([("no_modality".to_owned(), 1)]));
        book.see("a", label(0, "e", b"x"), AT);
        assert_eq!((book.tally().duplicates_visible, book.tally().set_aside), (2, 0), "a label beside a dead letter");
        book.see("nobody", letter(b"1"), AT);
        assert_eq!(book.tally().foreign, 1);
    }
}
