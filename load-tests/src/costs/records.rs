//! The records of a run: how large they are, and what their posts have.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Result, ensure};
use jtav_feed_simulator::FeedRecord;
use jtav_schemas::PostV1;
use jtav_testkit::Topics;
use rdkafka::message::Message as _;

use super::file::Shares;
use crate::reader::Reader;
use crate::topics::PARTITIONS;

/// Records and their bytes.
#[derive(Debug, Default)]
struct Sum {
    records: AtomicU64,
    bytes: AtomicU64,
}

/// Counts labels and embeddings while they come, as a server of readers would take them.
pub struct OutputBytes {
    sums: Arc<[Sum; 2]>,
    _reader: Reader,
}

impl OutputBytes {
    /// Reads both topics from their beginning.
    pub fn start(brokers: &str, topics: &Topics) -> Result<Self> {
        let sums: Arc<[Sum; 2]> = Arc::default();
        let (counted, embeddings) = (Arc::clone(&sums), topics.embeddings.clone());
        let names = [&topics.sentiment[..], &topics.embeddings];
        let reader = Reader::start(brokers, &names, PARTITIONS, move |polled| {
            // librdkafka goes on by itself after most errors, and a mean needs no record in particular.
            let Ok(message) = polled else { return };
            let bytes = message.key().map_or(0, <[u8]>::len) + message.payload().map_or(0, <[u8]>::len);
            let sum = &counted[usize::from(message.topic() == embeddings)];
            sum.records.fetch_add(1, Ordering::Relaxed);
            sum.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        })?;
        Ok(Self { sums, _reader: reader })
    }

    /// Bytes of a label and of an embedding, key and value, on average so far.
    ///
    /// # Errors
    /// One of the topics has none.
    pub fn means(&self) -> Result<[f64; 2]> {
        let [labels, embeddings] = self.sums.each_ref().map(|sum| {
            let (records, bytes) = (sum.records.load(Ordering::Relaxed), sum.bytes.load(Ordering::Relaxed));
            bytes as f64 / records as f64
        });
        ensure!(labels.is_finite() && embeddings.is_finite(), "no labels or no embeddings were read");
        Ok([labels, embeddings])
    }
}

/// Bytes of a record, key and value, on average.
pub fn mean_bytes(records: &[FeedRecord]) -> f64 {
    let bytes: usize = records.iter().map(|record| record.key.len() + record.value.len()).sum();
    bytes as f64 / records.len().max(1) as f64
}

/// How many of the posts have each part.
pub fn shares_of(round: &[FeedRecord]) -> Result<Shares> {
    let mut shares = Shares::default();
    for record in round {
        let post: PostV1 = serde_json::from_slice(&record.value)?;
        let one = 1.0 / round.len() as f64;
        let has_text = post.texts.iter().any(|part| !part.text.trim().is_empty());
        shares.text += if has_text { one } else { 0.0 };
        shares.audio += if post.audio.is_some() { one } else { 0.0 };
        shares.image += if post.image.is_some() { one } else { 0.0 };
    }
    // Sums of a hundred times a hundredth are a little more than 1 at times.
    Ok(Shares { text: shares.text.min(1.0), audio: shares.audio.min(1.0), image: shares.image.min(1.0) })
}

#[cfg(test)]
mod tests {
    use jtav_feed_simulator::{Pack, SAMPLE_FEED};
    use jtav_testkit::workspace_root;

    use super::*;
    use crate::scenario::{Posts, records_of};

    #[test]
    fn the_shares_of_a_round_are_those_of_its_posts() {
        let pack = Pack::open(workspace_root().join(SAMPLE_FEED)).unwrap();
        let round = |posts| records_of(&pack, posts, "http://127.0.0.1:1").unwrap();
        let of = |posts| {
            let Shares { text, audio, image } = shares_of(&round(posts)).unwrap().rounded();
            [text, audio, image]
        };
        assert_eq!(of(Posts::Texts), [1.0, 0.0, 0.0]);
        assert_eq!(of(Posts::Images), [0.0, 0.0, 1.0]);
        assert_eq!(of(Posts::Sounds), [0.0, 1.0, 0.0]);
        assert!(of(Posts::All).iter().all(|share| (0.5..1.0).contains(share)), "{:?}", of(Posts::All));
        assert!(mean_bytes(&round(Posts::All)) > mean_bytes(&round(Posts::Images)));
    }
}
