//! What must become of every record of a feed, and what did. Filled by the sender, settled by the reader of the output
//! topics; it keeps a few dozen bytes of a post, however long the feed.

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

    /// Posts `p0`, `p1`, … that are due one after the other, so many a second.
    fn paced(posts: usize, per_second: f64) -> Book {
        let mut book = Book::new().unwrap();
        for index in 0..posts {
            let expected = Expected::Labelled { id: id(index), revision: 0 };
            book.expect(&expected, Duration::from_secs_f64(index as f64 / per_second));
        }
        book
    }

    fn id(index: usize) -> String {
        format!("p{index}")
    }

    const LABELLED: Seen<'static> = Seen::Label { revision: 0, event_id: "e", value: b"x" };
    const DEAD_LETTERED: Seen<'static> = Seen::DeadLetter { source: (b"0", b"1"), reason: "no_modality" };

    #[test]
    fn percentiles_agree_with_the_sorted_latencies() {
        let mut book = paced(1000, 1000.0);
        for index in 0..1000 {
            let latency = Duration::from_millis(index as u64 + 1);
            book.see(&id(index), LABELLED, Duration::from_millis(index as u64) + latency);
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
        let mut book = paced(101, 10.0);
        for index in 0..101 {
            book.see(&id(index), LABELLED, Duration::from_secs(10));
        }
        let p50 = book.latency().unwrap().p50_ms;
        assert!((4_900.0..5_100.0).contains(&p50), "{p50}");
    }

    #[test]
    fn a_post_with_neither_label_nor_dead_letter_is_lost() {
        let mut book = paced(4, 1.0);
        book.see("p0", LABELLED, Duration::from_secs(1));
        book.see("p1", DEAD_LETTERED, Duration::from_secs(1));
        book.refuse("p2");
        let counts = book.counts();
        assert_eq!((counts.labelled, counts.dead_lettered, counts.refused_by_broker, counts.lost), (1, 1, 1, 1));
        assert_eq!(book.open_ids(10), ["p3"]);
        assert_eq!(book.open(), 1);
    }

    #[test]
    fn a_second_outcome_is_a_repetition_and_changes_no_latency() {
        let mut book = paced(1, 1.0);
        book.see("p0", LABELLED, Duration::from_millis(10));
        book.see("p0", LABELLED, Duration::from_secs(10));
        book.see("p0", DEAD_LETTERED, Duration::from_secs(10));
        let counts = book.counts();
        assert_eq!((counts.labelled, counts.dead_lettered, counts.repeated, counts.lost), (1, 0, 2, 0));
        assert!(book.latency().unwrap().max_ms < 11.0);
        assert_eq!(book.last_settled_at(), Duration::from_millis(10));
    }

    #[test]
    fn a_key_of_another_phase_is_foreign() {
        let mut book = paced(1, 1.0);
        book.see("warm", LABELLED, Duration::from_secs(1));
        assert_eq!((book.counts().foreign, book.counts().lost), (1, 1));
    }

    #[test]
    fn a_post_whose_acknowledgement_was_lost_but_which_was_labelled_counts_as_labelled() {
        let mut book = paced(1, 1.0);
        book.refuse("p0");
        book.see("p0", LABELLED, Duration::from_secs(1));
        assert_eq!((book.counts().labelled, book.counts().refused_by_broker, book.open()), (1, 0, 0));
    }

    #[test]
    fn dead_letters_do_not_flatter_the_latencies() {
        let mut book = paced(1, 1.0);
        book.see("p0", DEAD_LETTERED, Duration::from_millis(1));
        assert_eq!(book.latency(), None);
    }
}
