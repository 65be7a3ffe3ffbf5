//! The embeddings topic: what neighbours are found among.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jtav_kafka::{ClientSettings, KafkaError, Record, partition_ranges};
use jtav_neighbours::NeighbourIndex;
use jtav_pipeline::now_ms;
use jtav_schemas::EmbeddingV1;
use jtav_telemetry::Metric;

use super::Following;

const ASK_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two looks for hours that are over.
const EXPIRE_EVERY: Duration = Duration::from_secs(30);

/// Fills the index.
pub(crate) struct Vectors {
    index: Arc<NeighbourIndex>,
    window_ms: i64,
    last_look: Instant,
}

impl Vectors {
    pub(crate) fn new(index: Arc<NeighbourIndex>, window_ms: i64) -> Self {
        Self { index, window_ms, last_look: Instant::now() }
    }

    fn expire(&mut self) {
        if self.last_look.elapsed() >= EXPIRE_EVERY {
            self.index.expire(now_ms());
            self.last_look = Instant::now();
        }
    }
}

impl Following for Vectors {
    /// As far back as posts can be found.
    fn starts(&mut self, client: &ClientSettings, topic: &str) -> Result<BTreeMap<i32, i64>, KafkaError> {
        let since_ms = now_ms().saturating_sub(self.window_ms);
        let ranges = partition_ranges(client, topic, Some(since_ms), ASK_TIMEOUT)?;
        Ok(ranges.into_iter().map(|range| (range.partition, range.start)).collect())
    }

    fn record(&mut self, record: Record) {
        let post_id = record.key.as_deref().and_then(|key| std::str::from_utf8(key).ok());
        match (&record.value, post_id) {
            (None, Some(post_id)) => {
                self.index.erase(post_id);
            }
            (Some(value), _) if record.cut.is_none() => {
                let applied = serde_json::from_slice::<EmbeddingV1>(value)
                    .map_err(|error| error.to_string())
                    .and_then(|record| self.index.apply(&record, now_ms()).map_err(|error| error.to_string()));
                if let Err(error) = applied {
                    Metric::index_refused().inc();
                    tracing::debug!(partition = record.partition, offset = record.offset, error, "no vectors of ours");
                }
            }
            _ => Metric::index_refused().inc(),
        }
        self.expire();
    }

    fn pause(&mut self) {
        self.expire();
    }
}
