//! What became of the hostile posts, and of the media of the honest ones: read from the output topics by a consumer of its own.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use anyhow::Result;
use jtav_schemas::{ModalityStatus, PerModality};
use jtav_testkit::Topics;
use rdkafka::message::{BorrowedMessage, Message as _};
use serde::{Deserialize, Serialize};

use super::kinds::{Hostile, Kind, PostEnd};
use crate::collector::lock;
use crate::reader::Reader;
use crate::topics::PARTITIONS;

/// What became of the posts of a kind.
#[derive(Debug, Clone, Default, Serialize)]
pub struct KindResult {
    /// Posts.
    pub sent: u64,
    /// How posts ended, and how many so.
    pub ended: BTreeMap<PostEnd, u64>,
    /// Ends that were not the expected one.
    pub wrong: u64,
    /// From the moment it was due to its end, the slowest.
    pub slowest_seconds: f64,
}

#[derive(Debug)]
struct Open {
    kind: Kind,
    revision: u64,
    due: Instant,
    ended: bool,
}

/// The book of all that was sent.
#[derive(Debug, Default)]
pub struct Outcomes {
    posts: HashMap<String, Open>,
    kinds: BTreeMap<Kind, KindResult>,
    honest: BTreeMap<String, u64>,
}

#[derive(Deserialize)]
struct Label {
    revision: u64,
    modalities: PerModality<ModalityStatus>,
}

impl Outcomes {
    /// Notes a post that is about to be sent.
    pub fn expect(&mut self, hostile: &Hostile, due: Instant) {
        let open = Open { kind: hostile.kind, revision: hostile.revision, due, ended: false };
        self.posts.insert(hostile.key.clone(), open);
        self.kinds.entry(hostile.kind).or_default().sent += 1;
    }

    /// Posts that must show on a topic and have not.
    pub fn open(&self) -> usize {
        self.posts.values().filter(|post| !post.ended && post.kind.expected() != PostEnd::Skipped).count()
    }

    /// Posts of which nothing must show.
    pub fn silent(&self) -> u64 {
        self.kinds.iter().filter(|(kind, _)| kind.expected() == PostEnd::Skipped).map(|(_, result)| result.sent).sum()
    }

    /// By kind.
    pub fn kinds(&self) -> &BTreeMap<Kind, KindResult> {
        &self.kinds
    }

    /// Some posts without an end.
    pub fn open_keys(&self, at_most: usize) -> Vec<String> {
        let is_open = |post: &Open| !post.ended && post.kind.expected() != PostEnd::Skipped;
        let open = self.posts.iter().filter(|(_, post)| is_open(post));
        open.take(at_most).map(|(key, post)| format!("{} ({:?})", &key[..key.len().min(40)], post.kind)).collect()
    }

    /// Parts of honest posts by modality and status since the last call.
    pub fn take_honest(&mut self) -> BTreeMap<String, u64> {
        std::mem::take(&mut self.honest)
    }

    fn end(&mut self, key: &str, post_end: PostEnd, revision: Option<u64>, now: Instant) {
        let Some(post) = self.posts.get_mut(key) else { return };
        // An earlier revision's label is none of the newest.
        if post.ended || revision.is_some_and(|revision| revision < post.revision) {
            return;
        }
        post.ended = true;
        let result = self.kinds.entry(post.kind).or_default();
        *result.ended.entry(post_end).or_default() += 1;
        result.wrong += u64::from(post_end != post.kind.expected());
        result.slowest_seconds = result.slowest_seconds.max(now.saturating_duration_since(post.due).as_secs_f64());
    }

    fn label(&mut self, key: &str, value: &[u8], now: Instant) {
        let Ok(label) = serde_json::from_slice::<Label>(value) else { return };
        if self.posts.contains_key(key) {
            return self.end(key, PostEnd::Labelled, Some(label.revision), now);
        }
        for (modality, status) in label.modalities.iter() {
            *self.honest.entry(format!("{modality}={}", status.as_str())).or_default() += 1;
        }
    }
}

/// Reads labels, dead letters and erasures into a book.
pub struct OutcomeReader {
    outcomes: Arc<Mutex<Outcomes>>,
    _reader: Reader,
}

impl OutcomeReader {
    /// Reads from the beginning.
    pub fn start(brokers: &str, topics: &Topics) -> Result<Self> {
        let outcomes = Arc::<Mutex<Outcomes>>::default();
        let shared = Arc::clone(&outcomes);
        let names = [&topics.sentiment[..], &topics.dead_letters, &topics.erasures];
        let topics = topics.clone();
        let reader = Reader::start(brokers, &names, PARTITIONS, move |polled| {
            let Ok(message) = polled else { return };
            note(&mut lock(&shared), &message, &topics.sentiment, &topics.dead_letters);
        })?;
        Ok(Self { outcomes, _reader: reader })
    }

    /// The book.
    pub fn book(&self) -> MutexGuard<'_, Outcomes> {
        lock(&self.outcomes)
    }
}

fn note(outcomes: &mut Outcomes, message: &BorrowedMessage<'_>, sentiment: &str, dead_letters: &str) {
    let (key, now) = (String::from_utf8_lossy(message.key().unwrap_or_default()), Instant::now());
    match (message.topic(), message.payload()) {
        (topic, Some(value)) if topic == sentiment => outcomes.label(&key, value, now),
        // The null of an erasure, which has a record of its own.
        (topic, None) if topic == sentiment => {}
        (topic, _) if topic == dead_letters => outcomes.end(&key, PostEnd::DeadLettered, None, now),
        _ => outcomes.end(&key, PostEnd::Erased, None, now),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hostile(kind: Kind, key: &str, revision: u64) -> Hostile {
        Hostile { kind, key: key.to_owned(), revision, records: Vec::new() }
    }

    #[test]
    fn a_post_is_open_until_its_newest_revision_is_labelled_and_another_end_is_wrong() {
        let (mut book, now) = (Outcomes::default(), Instant::now());
        book.expect(&hostile(Kind::EditsItself, "e", 2), now);
        book.expect(&hostile(Kind::NotJson, "n", 0), now);
        book.expect(&hostile(Kind::MentionOnly, "m", 0), now);
        assert_eq!((book.open(), book.silent()), (2, 1), "what is skipped shows nowhere");
        let label = |revision: u64| {
            format!(r#"{{"revision":{revision},"modalities":{{"text":"present","audio":"absent","image":"timeout"}}}}"#)
        };
        book.label("e", label(1).as_bytes(), now);
        assert_eq!(book.open(), 2);
        book.label("e", label(2).as_bytes(), now);
        book.label("n", label(0).as_bytes(), now);
        assert_eq!(
            (book.open(), book.kinds()[&Kind::EditsItself].wrong, book.kinds()[&Kind::NotJson].wrong),
            (0, 0, 1)
        );
        book.label("honest", label(0).as_bytes(), now);
        assert_eq!(book.take_honest()["image=timeout"], 1, "only of posts that are not hostile");
    }
}
