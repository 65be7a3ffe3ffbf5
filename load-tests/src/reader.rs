//! Reads the worker's output topics while the load goes on.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use jtav_schemas::{ModalityStatus, PerModality};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde::Deserialize;

use crate::ledger::{Ledger, Outcome};

/// What a phase of a run is booked in.
#[derive(Debug)]
pub struct Phase {
    /// The posts.
    pub ledger: Ledger,
    /// When the first is due.
    pub start: Instant,
    /// Per modality and status (`image=present`, `image=timeout`), how many labels said so: a label without the image
    /// that the post had is cheap, and must not pass for speed.
    pub modalities: BTreeMap<String, u64>,
    /// Reading errors that librdkafka does not mend by itself; the first.
    pub error: Option<String>,
}

/// A thread that polls the sentiment and dead-letter topics and books what comes.
pub struct Collector {
    phase: Arc<Mutex<Option<Phase>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Deserialize)]
struct Statuses {
    modalities: PerModality<ModalityStatus>,
}

impl Collector {
    /// Reads both topics, of `partitions` partitions each, from their beginning.
    pub fn start(brokers: &str, sentiment: &str, dead_letters: &str, partitions: i32) -> Result<Self> {
        let consumer = plain_consumer(brokers, &[sentiment, dead_letters], partitions)?;
        let phase = Arc::new(Mutex::new(None));
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, stopped, sentiment) = (Arc::clone(&phase), Arc::clone(&stop), sentiment.to_owned());
        let thread = std::thread::Builder::new().name("collector".to_owned()).spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let Some(polled) = consumer.poll(Duration::from_millis(100)) else { continue };
                let now = Instant::now();
                let mut phase = lock(&shared);
                let Some(phase) = phase.as_mut() else { continue };
                match polled {
                    Ok(message) => {
                        let is_label = message.topic() == sentiment;
                        let outcome = if is_label { Outcome::Labelled } else { Outcome::DeadLettered };
                        let at = now.saturating_duration_since(phase.start);
                        phase.ledger.settle(message.key().unwrap_or_default(), outcome, at);
                        if is_label {
                            count_modalities(message.payload().unwrap_or_default(), &mut phase.modalities);
                        }
                    }
                    Err(error) => _ = phase.error.get_or_insert_with(|| error.to_string()),
                }
            }
        })?;
        Ok(Self { phase, stop, thread: Some(thread) })
    }

    /// Books from now on into a new phase; what was booked before is given back.
    pub fn begin(&self, ledger: Ledger, start: Instant) -> Option<Phase> {
        lock(&self.phase).replace(Phase { ledger, start, modalities: BTreeMap::new(), error: None })
    }

    /// Ends the phase.
    pub fn end(&self) -> Option<Phase> {
        lock(&self.phase).take()
    }

    /// Posts of the phase without an outcome.
    pub fn open(&self) -> usize {
        lock(&self.phase).as_ref().map_or(0, |phase| phase.ledger.open())
    }

    /// Notes posts that the broker did not take.
    pub fn refuse(&self, indices: &[usize]) {
        if let Some(phase) = lock(&self.phase).as_mut() {
            indices.iter().for_each(|index| phase.ledger.refuse(*index));
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            _ = thread.join();
        }
    }
}

fn lock(phase: &Mutex<Option<Phase>>) -> MutexGuard<'_, Option<Phase>> {
    phase.lock().unwrap_or_else(PoisonError::into_inner)
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

/// A consumer of all partitions from the beginning: no group, no commits.
pub fn plain_consumer(brokers: &str, topics: &[&str], partitions: i32) -> Result<BaseConsumer> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("client.id", "jtav-load-collector")
        .set("group.id", "jtav-load-collector")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest")
        // The defaults rest for up to a second once enough is fetched ahead, which would show as latency.
        .set("fetch.queue.backoff.ms", "5")
        .create()
        .context("cannot create the collecting consumer")?;
    let mut assignment = TopicPartitionList::new();
    for topic in topics {
        for partition in 0..partitions {
            assignment.add_partition_offset(topic, partition, Offset::Beginning)?;
        }
    }
    consumer.assign(&assignment).context("cannot assign the output topics")?;
    Ok(consumer)
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
