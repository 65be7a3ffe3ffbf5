//! Every tombstone of the topic counts, wherever it lies: behind the end of the offset range, before its start, or where the
//! store has lost its marker.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use anyhow::Context as _;
use jtav_feed_processor::rereading::ensure_erased;
use jtav_kafka::PartitionRange;
use jtav_store::Store;

use crate::plan::InputTopic;
use crate::walk::{Event, walk};

/// What the tombstones of a topic came to.
#[derive(Debug, Default)]
pub(crate) struct Tombstones {
    pub(crate) found: u64,
    /// The store did not know of them.
    pub(crate) made_good: u64,
    /// Hashes of the posts that the store does not know to be erased, when nothing may be written.
    unwritten: HashSet<u64>,
}

impl Tombstones {
    /// Whether the post has a tombstone that the store does not know of.
    pub(crate) fn has_unwritten(&self, post_id: &str) -> bool {
        self.unwritten.contains(&hash(post_id))
    }
}

fn hash(post_id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    post_id.hash(&mut hasher);
    hasher.finish()
}

/// Reads `ranges` and sees to it that the posts of their tombstones are erased; without `erased_ttl` they are only
/// counted. `progress` is told how many records were read.
///
/// # Errors
/// Broker or store out of reach.
pub(crate) async fn carry_out(
    topic: &InputTopic,
    ranges: Vec<PartitionRange>,
    max_record_bytes: usize,
    store: &dyn Store,
    erased_ttl: Option<Duration>,
    mut progress: impl FnMut(u64),
) -> anyhow::Result<Tombstones> {
    let mut tombstones = Tombstones::default();
    let mut events = walk(topic, ranges, max_record_bytes);
    let mut read = 0;
    while let Some(event) = events.recv().await {
        let event = event.context("reading the topic for tombstones")?;
        read += 1;
        progress(read);
        let Event::Tombstone { post_id, revision } = event else { continue };
        tombstones.found += 1;
        let is_new = match erased_ttl {
            Some(ttl) => ensure_erased(store, &post_id, revision, ttl).await.context("erasing a post")?,
            None => {
                !store.is_erased(&post_id).await.context("asking the store for erased posts")?
                    && tombstones.unwritten.insert(hash(&post_id))
            }
        };
        tombstones.made_good += u64::from(is_new);
    }
    Ok(tombstones)
}
