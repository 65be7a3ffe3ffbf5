//! Reads what the worker publishes into the book.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Result;
use jtav_schemas::DeadLetterHeaders;
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use serde::Deserialize;

use super::book::{Book, Seen};
use super::{SharedBook, lock};
use crate::collector::plain_consumer;
use crate::run::{PARTITIONS, Topics};

/// A thread that reads labels, dead letters and erasures.
pub struct Reader {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Deserialize)]
struct Label {
    event_id: String,
    revision: u64,
    model_version: String,
}

impl Reader {
    /// Reads from the beginning; times count from `start`.
    pub fn start(brokers: &str, topics: &Topics, book: SharedBook, start: Instant) -> Result<Self> {
        let (sentiment, dead_letters) = (topics.sentiment.clone(), topics.dead_letters.clone());
        let consumer = plain_consumer(brokers, &[&sentiment, &dead_letters, &topics.erasures], PARTITIONS)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("reader".to_owned()).spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                // Errors here are those of a broker that stands still; librdkafka goes on by itself.
                let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else { continue };
                let at = start.elapsed();
                note(&mut lock(&book), &message, &sentiment, &dead_letters, at);
            }
        })?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            _ = thread.join();
        }
    }
}

fn note(book: &mut Book, message: &BorrowedMessage<'_>, sentiment: &str, dead_letters: &str, at: Duration) {
    let id = String::from_utf8_lossy(message.key().unwrap_or_default());
    if message.topic() == sentiment {
        let Some(value) = message.payload() else { return book.see(&id, Seen::NullLabel, at) };
        // A label that nobody can read is as good as none: its post stays open and is counted as lost.
        if let Ok(Label { event_id, revision, model_version }) = serde_json::from_slice(value) {
            book.note_model(&model_version);
            book.see(&id, Seen::Label { revision, event_id: &event_id, value }, at);
        }
    } else if message.topic() == dead_letters {
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
