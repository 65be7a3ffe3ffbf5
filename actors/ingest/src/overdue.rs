//! Finds the record that hangs by its own content (ADR 27). Pure: deadlines in, decisions out; who lets in, waits and
//! commits is the poll loop. It knows no clock: every call is told what is around.
//!
//! A record whose deadline passed where its content counts is run again, beside all others. After some such deadlines it
//! is tried, with less time. One that was overtaken by later ones where it hung is tried beside others, and is guilty if
//! that happens again: the others show that the stage is well. Any other has the worker to itself, with no work of a
//! given-up post left on a device; if it fails so, others must have passed the very same stage since its last deadline and
//! must pass it soon after: other posts, or what the stage is tried out with. In an outage nothing passes, so nobody is
//! guilty.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use jtav_delivery::{AbandonCause, DeliveryTag, Hang, Outcome};
use jtav_pipeline::StagePasses;
use jtav_schemas::Stage;
use jtav_telemetry::TrialFinding;

use crate::case::{Around, Case, LastAlone, Place, Step};

/// Records of a partition whose deadlines stand beside its committed offset; the oldest are the ones that hold it.
const MAX_NOTED: usize = 16;

/// How that begins there.
const WORD: &str = "late=";

/// Time after a trial alone within which something else must have passed the stage, in times of the trial. Longer would
/// take a stage that was away during the trial and has come back for one that was there. A trial alone waits as long for
/// something to pass before it, and would say nothing without that.
const SOON: u32 = 6;

/// Intake rests after a trial alone that failed, in times of the trial: others get two thirds of the time at least.
const REST: u32 = 2;

/// When a record is tried, and how long a trial takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    /// Deadlines before the trial; 0 tries nobody.
    pub(crate) max_deadlines: u32,
    pub(crate) trial: Duration,
}

/// What may become of a record at the door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// As any other.
    Open,
    /// With less time, and what comes of it is judged.
    Trial,
    /// It hangs by its own content.
    SetAside {
        stage: Stage,
        deadlines: u32,
    },
    Wait,
}

/// A record that is tried.
#[derive(Debug, Clone, Copy)]
struct Trial {
    tag: DeliveryTag,
    is_alone: bool,
    passes: StagePasses,
    /// What was known of the record has been given up since: nothing follows from the trial.
    is_void: bool,
}

/// The record that gets, or has, the worker to itself.
#[derive(Debug, Clone, Copy)]
struct Claim {
    place: Place,
    is_inside: bool,
    /// It came to the door in this round.
    was_seen: bool,
}

/// All partitions of a worker.
#[derive(Debug)]
pub(crate) struct Overdue {
    terms: Terms,
    cases: BTreeMap<Place, Case>,
    trial: Option<Trial>,
    claim: Option<Claim>,
    /// Rounds over the doors so far.
    round: u64,
    last_alone: Option<LastAlone>,
    /// What stands beside the committed offsets, as far as the broker has answered.
    noted: BTreeMap<i32, String>,
}

impl Overdue {
    pub(crate) fn new(terms: Terms) -> Self {
        let (cases, noted) = (BTreeMap::new(), BTreeMap::new());
        Self { terms, cases, trial: None, claim: None, round: 0, last_alone: None, noted }
    }

    /// Nothing here concerns any record.
    pub(crate) fn is_idle(&self) -> bool {
        self.cases.is_empty() && self.claim.is_none()
    }

    /// Records that ran into a deadline and are not done with.
    pub(crate) fn len(&self) -> usize {
        self.cases.len()
    }

    /// Deadlines of a record so far.
    pub(crate) fn deadlines(&self, place: Place) -> u32 {
        self.cases.get(&place).map_or(0, |case| case.deadlines)
    }

    /// Whether a record is to be tried or set aside, and may have to wait for that.
    pub(crate) fn is_due(&self, place: Place) -> bool {
        let due = |case: &Case| self.terms.max_deadlines > 0 && case.deadlines >= self.terms.max_deadlines;
        self.cases.get(&place).is_some_and(due)
    }

    /// Takes a partition over with the text that was committed beside `position`.
    pub(crate) fn take_over(&mut self, partition: i32, position: i64, text: &str, around: &Around) {
        self.give_up(partition);
        let noted = read(text);
        self.cases.extend(
            noted
                .into_iter()
                .filter(|(offset, _)| *offset >= position)
                .map(|(offset, deadlines)| ((partition, offset), Case::new(deadlines, around.passes, around.now))),
        );
        self.noted.insert(partition, self.words(partition, position));
    }

    /// The partition is not ours any more, or its offsets mean other records now.
    pub(crate) fn give_up(&mut self, partition: i32) {
        self.cases.retain(|(number, _), _| *number != partition);
        self.noted.remove(&partition);
        if let Some(trial) = self.trial.as_mut().filter(|trial| trial.tag.partition == partition) {
            trial.is_void = true;
        }
    }

    /// A round over the doors begins. Who has claimed the worker and did not come to the door in the last one loses it:
    /// its partition was taken away, or is to be read again.
    pub(crate) fn begin_round(&mut self, is_tripped: bool) {
        self.round += 1;
        let may_stay = |claim: &Claim| claim.is_inside || (claim.was_seen && !is_tripped);
        self.claim = self.claim.filter(may_stay).map(|claim| Claim { was_seen: false, ..claim });
    }

    /// Decides about a record at the door.
    pub(crate) fn door(&mut self, place: Place, around: &Around) -> Way {
        if self.claim.is_some_and(|claim| claim.place != place || claim.is_inside) {
            return Way::Wait;
        }
        if !self.cases.contains_key(&place) {
            return Way::Open;
        }
        let is_due = self.is_due(place);
        let is_next = self.is_next(place, around);
        let Some(case) = self.cases.get_mut(&place) else { return Way::Open };
        case.seen = self.round;
        let deadlines = case.deadlines;
        match case.step {
            Step::Guilty(stage) => return Way::SetAside { stage, deadlines },
            Step::HungAlone { stage, passes, .. } if around.passes.of(stage) > passes && !around.is_tripped => {
                case.step = Step::Guilty(stage);
                return Way::SetAside { stage, deadlines };
            }
            Step::HungAlone { until, .. } if around.now < until && !around.is_tripped => return Way::Wait,
            Step::HungAlone { .. } => case.step = Step::Watched,
            Step::Watched => {}
        }
        if !is_due || around.is_tripped {
            return Way::Open;
        }
        if self.trial.is_some() {
            return Way::Wait;
        }
        if case.is_overtaken() {
            return Way::Trial;
        }
        let must_rest = self.last_alone.is_some_and(|last| last.keeps_others_waiting(around));
        let may_still_pass = !case.is_stage_well(around.passes) && around.now < case.at + SOON * self.terms.trial;
        if must_rest || may_still_pass || around.is_taken || !is_next {
            return Way::Wait;
        }
        self.claim = Some(Claim { place, is_inside: false, was_seen: true });
        if around.of_worker > 0 || !around.is_quiet { Way::Wait } else { Way::Trial }
    }

    /// Whether it is this record's turn to be tried alone. One that says nothing, time and again, must not keep those from
    /// it that would pass: they are what shows that the stage is well.
    fn is_next(&self, place: Place, around: &Around) -> bool {
        let trials = |place| self.cases.get(&place).map_or(0, |case| case.trials);
        let comes_first = |(other, case): (&Place, &Case)| {
            self.is_due(*other)
                && case.step == Step::Watched
                && !case.is_overtaken()
                && case.seen + 1 >= self.round
                && case.trials < trials(place)
                && (case.is_stage_well(around.passes) || around.now >= case.at + SOON * self.terms.trial)
        };
        !self.cases.iter().any(comes_first)
    }

    /// A trial was let in.
    pub(crate) fn let_in(&mut self, tag: DeliveryTag, around: &Around) {
        let place = (tag.partition, tag.offset);
        let claim = self.claim.as_mut().filter(|claim| claim.place == place);
        let is_alone = claim.is_some();
        if let Some(claim) = claim {
            claim.is_inside = true;
            if let Some(case) = self.cases.get_mut(&place) {
                case.trials += 1;
            }
        }
        self.trial = Some(Trial { tag, is_alone, passes: around.passes, is_void: false });
    }

    /// A record is not inside any more, of whatever period. Gives what its trial came to, and whether it was alone.
    pub(crate) fn left(
        &mut self,
        tag: DeliveryTag,
        outcome: Outcome,
        cause: AbandonCause,
        around: &Around,
    ) -> Option<(TrialFinding, bool)> {
        let place = (tag.partition, tag.offset);
        let trial = self.trial.take_if(|trial| trial.tag == tag);
        if trial.is_some_and(|trial| trial.is_alone) {
            self.claim = None;
        }
        let finding = if outcome.is_settled() {
            self.cases.remove(&place);
            TrialFinding::Passed
        } else {
            match cause.hang() {
                Some(hang) if !around.is_tripped && self.terms.max_deadlines > 0 => {
                    self.hung(place, hang, trial, around)
                }
                _ => TrialFinding::CutShort,
            }
        };
        trial.map(|trial| (finding, trial.is_alone))
    }

    fn hung(&mut self, place: Place, hang: Hang, trial: Option<Trial>, around: &Around) -> TrialFinding {
        let case = self.cases.entry(place).or_insert(Case::new(0, around.passes, around.now));
        let before = std::mem::replace(&mut case.passes, around.passes);
        case.at = around.now;
        case.deadlines = case.deadlines.saturating_add(1);
        case.hang = Some(hang);
        let stage = hang.stage;
        match trial {
            Some(Trial { is_alone: true, passes, is_void, .. }) => {
                let (rest_until, until) = (around.now + REST * self.terms.trial, around.now + SOON * self.terms.trial);
                let passed = around.passes.of(stage);
                self.last_alone = Some(LastAlone { stage, passes: passed, rest_until, until });
                if is_void || passes.of(stage) <= before.of(stage) {
                    return TrialFinding::Inconclusive;
                }
                case.step = Step::HungAlone { stage, passes: passed, until };
                TrialFinding::HungAlone
            }
            Some(Trial { is_void: false, .. }) if case.is_overtaken() => {
                case.step = Step::Guilty(stage);
                TrialFinding::Guilty
            }
            _ => TrialFinding::Inconclusive,
        }
    }

    /// Stages of which it must be known whether they are well: where records hang that are to be tried alone or were.
    pub(crate) fn stages_in_question(&self) -> BTreeSet<Stage> {
        let in_question = self.cases.iter().filter(|(place, case)| self.is_due(**place) && !case.is_overtaken());
        in_question.filter_map(|(_, case)| case.hang.map(|hang| hang.stage)).collect()
    }

    /// What should stand beside the committed offset `from` besides the note of the owner; empty where nothing should.
    pub(crate) fn words(&self, partition: i32, from: i64) -> String {
        let mut words = String::new();
        let cases = self.cases.range((partition, from)..=(partition, i64::MAX)).filter(|(_, case)| case.deadlines > 0);
        for ((_, offset), case) in cases.take(MAX_NOTED) {
            let before = if words.is_empty() { WORD } else { "," };
            // Writing to a string does not fail.
            let _ = write!(words, "{before}{offset}:{}", case.deadlines);
        }
        words
    }

    /// Whether the broker has other words than these.
    pub(crate) fn is_news(&self, partition: i32, words: &str) -> bool {
        self.noted.get(&partition).map_or("", String::as_str) != words
    }

    /// The broker took them.
    pub(crate) fn acknowledged(&mut self, partition: i32, words: String) {
        self.noted.insert(partition, words);
    }
}

/// Offsets and deadlines out of a text that was committed. What cannot be read counts as nothing.
fn read(text: &str) -> Vec<(i64, u32)> {
    let words = text.split_ascii_whitespace().find_map(|word| word.strip_prefix(WORD)).unwrap_or_default();
    let pair = |pair: &str| {
        let (offset, deadlines) = pair.split_once(':')?;
        Some((offset.parse().ok()?, deadlines.parse().ok()?))
    };
    words.split(',').take(MAX_NOTED).filter_map(pair).collect()
}

#[cfg(test)]
#[path = "overdue_tests.rs"]
mod tests;
