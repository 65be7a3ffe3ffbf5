//! What became of the posts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use jtav_delivery::{Outcome, SkipReason};
use jtav_pipeline::{Observer, PostReport};
use serde::Serialize;

/// The account of one call. A post that is read again after a fault counts again.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Account {
    /// Nothing was written: the figures say what would be.
    pub dry_run: bool,
    /// Whose labels these are.
    pub model_version: String,
    /// Consumer group; a further call with it goes on.
    pub group: String,
    /// Offsets of the range; those without a record count.
    pub records: u64,
    /// Of these, what the group had read before this call.
    pub done_before: u64,
    /// Of these, what is left for another call.
    pub left: u64,
    /// Posts that this call settled: the sum of `written`, `skipped` and `rejected`.
    pub posts: u64,
    /// Labels of the new model that stand in the store.
    pub written: u64,
    /// `stale`, `erased` and `nothing_to_label`.
    pub skipped: u64,
    /// The store held a newer revision by the new model.
    pub stale: u64,
    /// The post is erased.
    pub erased: u64,
    /// The post has no media and no word.
    pub nothing_to_label: u64,
    /// Records that could not be labelled; not set aside again.
    pub rejected: u64,
    /// The same by reason.
    pub rejected_by_reason: BTreeMap<&'static str, u64>,
    /// Tombstones in what this call read of the offset range.
    pub tombstones: u64,
    /// Tombstones on the whole topic.
    pub tombstones_on_topic: u64,
    /// Of these, posts that the store did not know to be erased; they are now.
    pub erasures_made_good: u64,
    /// Duration of the call.
    pub seconds: f64,
}

impl Account {
    pub(crate) fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Published => self.written += 1,
            Outcome::Skipped(SkipReason::Stale) => self.stale += 1,
            Outcome::Skipped(SkipReason::Erased) => self.erased += 1,
            Outcome::Skipped(SkipReason::NothingToLabel) => self.nothing_to_label += 1,
            Outcome::DeadLettered(reason) => *self.rejected_by_reason.entry(reason.as_str()).or_default() += 1,
            Outcome::Erased => self.tombstones += 1,
            // Its offset is held and it comes again.
            Outcome::Abandoned => {}
        }
        self.skipped = self.stale + self.erased + self.nothing_to_label;
        self.rejected = self.rejected_by_reason.values().sum();
        self.posts = self.written + self.skipped + self.rejected;
    }

    /// Records that this call settled.
    pub fn settled(&self) -> u64 {
        self.posts + self.tombstones
    }
}

/// Counts outcomes as they come.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    account: Arc<Mutex<Account>>,
}

impl Tally {
    pub(crate) fn change(&self, change: impl FnOnce(&mut Account)) {
        change(&mut self.account.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn now(&self) -> Account {
        self.account.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Observer for Tally {
    fn settled(&self, report: PostReport) {
        self.change(|account| account.count(report.outcome));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jtav_schemas::DeadLetterReason;

    #[test]
    fn every_outcome_has_its_place_and_an_abandoned_post_none() {
        let mut account = Account::default();
        for outcome in [
            Outcome::Published,
            Outcome::Published,
            Outcome::Skipped(SkipReason::Stale),
            Outcome::Skipped(SkipReason::Erased),
            Outcome::Skipped(SkipReason::NothingToLabel),
            Outcome::DeadLettered(DeadLetterReason::InvalidJson),
            Outcome::DeadLettered(DeadLetterReason::NoModality),
            Outcome::DeadLettered(DeadLetterReason::NoModality),
            Outcome::Erased,
            Outcome::Abandoned,
        ] {
            account.count(outcome);
        }
        assert_eq!((account.posts, account.written, account.skipped, account.rejected), (8, 2, 3, 3));
        assert_eq!((account.tombstones, account.settled()), (1, 9));
        assert_eq!(account.rejected_by_reason["no_modality"], 2);
    }
}
