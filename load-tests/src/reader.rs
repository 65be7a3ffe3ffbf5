//! Reads the worker's output topics while the load goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

/// A thread that reads topics from their beginning; ends when dropped.
pub struct Reader {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    /// Hands on every record of `topics`, of `partitions` partitions each, and every error that librdkafka tells of; it goes
    /// on by itself after most.
    pub fn start(
        brokers: &str,
        topics: &[&str],
        partitions: i32,
        mut each: impl FnMut(Result<BorrowedMessage<'_>, KafkaError>) + Send + 'static,
    ) -> Result<Self> {
        let consumer = plain_consumer(brokers, topics, partitions)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("reader".to_owned()).spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                if let Some(polled) = consumer.poll(Duration::from_millis(100)) {
                    each(polled);
                }
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
