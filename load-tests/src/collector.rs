//! Books what the worker publishes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use jtav_schemas::{DeadLetterHeaders, ModalityStatus, PerModality};
use jtav_testkit::{Book, Expected, Seen, Topics};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use serde::Deserialize;

use crate::reader::Reader;
use crate::topics::PARTITIONS;

/// What the sender expects and the reader sees.
pub type SharedBook = Arc<Mutex<Book>>;

/// Locks it; a thread that panicked while it held the lock has left a whole book.
pub fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads labels, dead letters and erasures into `book`; times count from `start`.
pub fn collect(brokers: &str, topics: &Topics, book: SharedBook, start: Instant) -> Result<Reader> {
    let names = [&topics.sentiment[..], &topics.dead_letters, &topics.erasures];
    let topics = topics.clone();
    Reader::start(brokers, &names, PARTITIONS, move |polled| {
        // Errors here are those of a broker that stands still.
        let Ok(message) = polled else { return };
        let at = start.elapsed();
        note(&mut lock(&book), &message, &topics, at);
    })
}

/// What a phase of a run is booked in.
#[derive(Debug)]
pub struct Phase {
    pub book: Book,
    /// When the first is due.
    pub start: Instant,
    /// Per modality and status (`image=present`, `image=timeout`), how many labels said so: a label without the image
    /// that the post had is cheap, and must not pass for speed.
    pub modalities: BTreeMap<String, u64>,
    /// Reading errors that librdkafka does not mend by itself; the first.
    pub error: Option<String>,
}

/// Books one phase after the other.
pub struct Collector {
    phase: Arc<Mutex<Option<Phase>>>,
    _reader: Reader,
}

#[derive(Deserialize)]
struct Label {
    event_id: String,
    revision: u64,
    model_version: String,
}

#[derive(Deserialize)]
struct Statuses {
    modalities: PerModality<ModalityStatus>,
}

impl Collector {
    /// Reads labels and dead letters from their beginning; what comes outside of a phase is left alone.
    pub fn start(brokers: &str, topics: &Topics) -> Result<Self> {
        let phase = Arc::new(Mutex::new(None));
        let shared: Arc<Mutex<Option<Phase>>> = Arc::clone(&phase);
        let names = [&topics.sentiment[..], &topics.dead_letters];
        let topics = topics.clone();
        let reader = Reader::start(brokers, &names, PARTITIONS, move |polled| {
            let now = Instant::now();
            let mut phase = lock(&shared);
            let Some(phase) = phase.as_mut() else { return };
            match polled {
                Ok(message) => {
                    note(&mut phase.book, &message, &topics, now.saturating_duration_since(phase.start));
                    if message.topic() == topics.sentiment {
                        count_modalities(message.payload().unwrap_or_default(), &mut phase.modalities);
                    }
                }
                Err(error) => _ = phase.error.get_or_insert_with(|| error.to_string()),
            }
        })?;
        Ok(Self { phase, _reader: reader })
    }

    /// Books from now on into a new phase; what was booked before is given back.
    pub fn begin(&self, book: Book, start: Instant) -> Option<Phase> {
        lock(&self.phase).replace(Phase { book, start, modalities: BTreeMap::new(), error: None })
    }

    pub fn end(&self) -> Option<Phase> {
        lock(&self.phase).take()
    }

    /// Books a post of the phase that is sent now.
    pub fn expect(&self, expected: &Expected) {
        if let Some(phase) = lock(&self.phase).as_mut() {
            let due = phase.start.elapsed();
            phase.book.expect(expected, due);
        }
    }

    /// Outcomes of the phase.
    pub fn settlements(&self) -> u64 {
        lock(&self.phase).as_ref().map_or(0, |phase| phase.book.settlements())
    }

    /// Posts of the phase without an outcome.
    pub fn open(&self) -> usize {
        lock(&self.phase).as_ref().map_or(0, |phase| phase.book.open())
    }

    /// Notes posts that the broker did not take.
    pub fn refuse<'a>(&self, ids: impl Iterator<Item = &'a str>) {
        if let Some(phase) = lock(&self.phase).as_mut() {
            ids.for_each(|id| phase.book.refuse(id));
        }
    }
}

/// Books a record of an output topic.
fn note(book: &mut Book, message: &BorrowedMessage<'_>, topics: &Topics, at: Duration) {
    let id = String::from_utf8_lossy(message.key().unwrap_or_default());
    if message.topic() == topics.sentiment {
        let Some(value) = message.payload() else { return book.see(&id, Seen::NullLabel, at) };
        // A label that nobody can read is as good as none: its post stays open and is counted as lost.
        if let Ok(Label { event_id, revision, model_version }) = serde_json::from_slice(value) {
            book.note_model(&model_version);
            book.see(&id, Seen::Label { revision, event_id: &event_id, value }, at);
        }
    } else if message.topic() == topics.dead_letters {
        let header = |name: &str| {
            let headers = message.headers()?;
            headers.iter().filter(|header| header.key == name).last()?.value
        };
        let source = [DeadLetterHeaders::SOURCE_PARTITION, DeadLetterHeaders::SOURCE_OFFSET].map(header);
        let source = (source[0].unwrap_or_default(), source[1].unwrap_or_default());
        let reason = header(DeadLetterHeaders::REASON).and_then(|reason| std::str::from_utf8(reason).ok());
        book.see(&id, Seen::DeadLetter { source, reason: reason.unwrap_or_default() }, at);
    } else {
        book.see(&id, Seen::Erasure, at);
    }
}

fn count_modalities(value: &[u8], counts: &mut BTreeMap<String, u64>) {
    let Ok(record) = serde_json::from_slice::<Statuses>(value) else {
        *counts.entry("unreadable label".to_owned()).or_default() += 1;
        return;
    };
    for (modality, status) in record.modalities.iter() {
        *counts.entry(format!("{modality}={}", status.as_str())).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_statuses_of_a_label_are_counted_by_modality() {
        let mut counts = BTreeMap::new();
        let label = br#"{"post_id":"p","modalities":{"text":"present","audio":"timeout","image":"absent"}}"#;
        count_modalities(label, &mut counts);
        count_modalities(label, &mut counts);
        count_modalities(b"{", &mut counts);
        let found: Vec<(&str, u64)> = counts.iter().map(|(name, count)| (name.as_str(), *count)).collect();
        assert_eq!(found, [("audio=timeout", 2), ("image=absent", 2), ("text=present", 2), ("unreadable label", 1)]);
    }
}
