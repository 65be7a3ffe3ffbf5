//! Counts what a backfill would do.

use anyhow::Context as _;
use jtav_kafka::PartitionRange;
use jtav_store::Store;

use crate::account::{Account, Tally};
use crate::plan::InputTopic;
use crate::tombstones::Tombstones;
use crate::walk::{Event, walk};

/// Reads `ranges` and counts. Posts of which nothing can be used or with nothing to label, and revisions that a newer one makes stale, are counted
/// as written: only labelling them would tell.
///
/// # Errors
/// Broker or store out of reach.
pub(crate) async fn count(
    topic: &InputTopic,
    ranges: Vec<PartitionRange>,
    max_record_bytes: usize,
    store: &dyn Store,
    tombstones: &Tombstones,
    tally: &Tally,
    mut progress: impl FnMut(&Account),
) -> anyhow::Result<()> {
    use jtav_delivery::{Outcome, SkipReason};
    let mut events = walk(topic, ranges, max_record_bytes);
    while let Some(event) = events.recv().await {
        let outcome = match event.context("reading the offset range")? {
            Event::Tombstone { .. } => Outcome::Erased,
            Event::Rejected(rejection) => Outcome::DeadLettered(rejection.reason),
            Event::Post(id) if tombstones.has_unwritten(&id) => Outcome::Skipped(SkipReason::Erased),
            Event::Post(id) => match store.is_erased(&id).await.context("asking the store for erased posts")? {
                true => Outcome::Skipped(SkipReason::Erased),
                false => Outcome::Published,
            },
        };
        tally.change(|account| account.count(outcome));
        progress(&tally.now());
    }
    Ok(())
}
