//! L1–L7 over random histories: receipts with gaps, settlements in any order, repeats, late ones, abandonments with
//! seeks back, and crashes that lose everything but the committed position.

use std::collections::BTreeSet;

use proptest::prelude::*;

use crate::{AssignmentEpoch, DeliveryTag, Outcome, PartitionLedger, SettleEffect};

#[derive(Debug, Clone)]
enum Step {
    Receive,
    /// Settles one of the deliveries ever made, by index.
    Settle(usize),
    Abandon(usize),
    Commit,
    /// A commit that the broker never saw.
    CommitLost,
    /// New period from the rewind position (seek) or from the committed one (crash, revoke and re-assign).
    Seek,
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => Just(Step::Receive),
        6 => any::<usize>().prop_map(Step::Settle),
        1 => any::<usize>().prop_map(Step::Abandon),
        2 => Just(Step::Commit),
        1 => Just(Step::CommitLost),
        1 => Just(Step::Seek),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 1..120)
}

/// The log with its gaps, and what the outside world knows.
struct World {
    log: Vec<i64>,
    next_index: usize,
    epoch: u64,
    ledger: PartitionLedger,
    deliveries: Vec<DeliveryTag>,
    /// Offsets whose effects are durable; survives a crash.
    done: BTreeSet<i64>,
    durable_commit: i64,
    last_commit_in_epoch: Option<i64>,
}

impl World {
    fn new(log: Vec<i64>) -> Self {
        let durable_commit = log[0];
        Self {
            log,
            next_index: 0,
            epoch: 1,
            ledger: PartitionLedger::new(3, AssignmentEpoch(1), 8),
            deliveries: Vec::new(),
            done: BTreeSet::new(),
            durable_commit,
            last_commit_in_epoch: None,
        }
    }

    fn restart_from(&mut self, offset: i64) {
        self.epoch += 1;
        self.ledger = PartitionLedger::new(3, AssignmentEpoch(self.epoch), 8);
        self.next_index = self.log.partition_point(|o| *o < offset);
        self.last_commit_in_epoch = None;
    }

    fn apply(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Receive => {
                if self.next_index < self.log.len() && self.ledger.has_room() {
                    let tag = self.ledger.receive(self.log[self.next_index]);
                    prop_assert!(tag.is_some(), "a fresh offset is always taken");
                    self.deliveries.extend(tag);
                    self.next_index += 1;
                }
            }
            Step::Settle(index) => {
                if let Some(tag) = pick(&self.deliveries, *index) {
                    self.done.insert(tag.offset);
                    let before = self.ledger.commit_due();
                    let effect = self.ledger.settle(tag, Outcome::Published);
                    if tag.epoch.0 != self.epoch {
                        prop_assert_eq!(effect, SettleEffect::Ignored, "L3: late settlement");
                        prop_assert_eq!(self.ledger.commit_due(), before);
                    }
                    // L4: once more changes nothing.
                    let after = self.ledger.commit_due();
                    prop_assert_eq!(self.ledger.settle(tag, Outcome::Published), SettleEffect::Ignored);
                    prop_assert_eq!(self.ledger.commit_due(), after);
                }
            }
            Step::Abandon(index) => {
                if let Some(tag) = pick(&self.deliveries, *index) {
                    let before = self.ledger.commit_due();
                    self.ledger.settle(tag, Outcome::Abandoned);
                    prop_assert_eq!(self.ledger.commit_due(), before, "an abandoned record moves nothing");
                }
            }
            Step::Commit => {
                if let Some(position) = self.ledger.commit_due() {
                    prop_assert!(self.last_commit_in_epoch.is_none_or(|last| last < position), "L2");
                    self.last_commit_in_epoch = Some(position);
                    self.ledger.committed(position);
                    self.durable_commit = self.durable_commit.max(position);
                }
            }
            Step::CommitLost => {
                if let Some(position) = self.ledger.commit_due() {
                    self.ledger.committed(position);
                    self.last_commit_in_epoch = Some(position);
                }
            }
            Step::Seek => {
                if let Some(offset) = self.ledger.rewind_position() {
                    self.restart_from(offset);
                }
            }
            Step::Crash => self.restart_from(self.durable_commit),
        }
        self.check()
    }

    fn check(&self) -> Result<(), TestCaseError> {
        prop_assert!(self.ledger.pending() <= 8, "L5");
        for position in self.ledger.commit_due().into_iter().chain([self.durable_commit]) {
            for offset in self.log.iter().filter(|o| **o < position) {
                prop_assert!(self.done.contains(offset), "L1: {offset} is below {position} and not done");
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), TestCaseError> {
        // Abandoned ones hold the period: seek back as the owner does, then run the log to its end.
        if let Some(offset) = self.ledger.rewind_position() {
            self.restart_from(offset);
        }
        while self.next_index < self.log.len() {
            let tag = self.ledger.receive(self.log[self.next_index]);
            self.next_index += 1;
            if let Some(tag) = tag {
                self.done.insert(tag.offset);
                self.ledger.settle(tag, Outcome::Published);
            }
        }
        if let Some(position) = self.ledger.commit_due() {
            prop_assert_eq!(position, self.log[self.log.len() - 1] + 1, "L7 and L6");
        }
        self.check()
    }
}

fn pick(deliveries: &[DeliveryTag], index: usize) -> Option<DeliveryTag> {
    (!deliveries.is_empty()).then(|| deliveries[index % deliveries.len()])
}

/// `JTAV_LEDGER_HISTORIES`: `make chaos` runs 100,000 and more.
fn histories() -> u32 {
    std::env::var("JTAV_LEDGER_HISTORIES").ok().and_then(|number| number.parse().ok()).unwrap_or(2_000)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(histories()))]

    #[test]
    fn the_ledger_keeps_its_seven_invariants_over_random_histories(
        gaps in prop::collection::vec(1i64..4, 1..60), steps in steps(),
    ) {
        let log: Vec<i64> = gaps.iter().scan(100, |at, gap| { *at += gap; Some(*at) }).collect();
        let mut world = World::new(log);
        for step in &steps {
            world.apply(step)?;
        }
        world.finish()?;
    }
}

#[test]
fn out_of_order_settlements_commit_only_the_contiguous_prefix() {
    let mut ledger = PartitionLedger::new(0, AssignmentEpoch(1), 10);
    let tags: Vec<_> = [10, 11, 15].into_iter().filter_map(|offset| ledger.receive(offset)).collect();
    ledger.settle(tags[2], Outcome::Published);
    assert_eq!(ledger.commit_due(), None);
    ledger.settle(tags[0], Outcome::Published);
    assert_eq!(ledger.commit_due(), Some(11));
    ledger.settle(tags[1], Outcome::Published);
    assert_eq!(ledger.commit_due(), Some(16));
}

#[test]
fn late_settlement_after_revoke_is_ignored() {
    let mut first = PartitionLedger::new(0, AssignmentEpoch(1), 10);
    let Some(tag) = first.receive(10) else { panic!("a fresh ledger takes any offset") };
    let mut second = PartitionLedger::new(0, AssignmentEpoch(2), 10);
    second.receive(10);
    assert_eq!(second.settle(tag, Outcome::Published), SettleEffect::Ignored);
    assert_eq!(second.commit_due(), None);
}
