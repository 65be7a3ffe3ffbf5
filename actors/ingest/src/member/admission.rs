//! Records to posts: permits, bounds, and what settlements do.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jtav_delivery::{DeliveryGuard, DeliveryTag, PostPermit, Settlement};
use jtav_kafka::KafkaError;
use jtav_pipeline::{Admitted, FailPoint, InboundRecord, PostEvent, Rejection, Stage, fail_point, now_ms};
use jtav_schemas::DeadLetterReason;

use super::{Member, report};
use crate::case::Place;
use crate::consumer::Consumer;
use crate::owned::{Admission, Admitting};
use crate::parse::parse_record;
use crate::searches::{Answer, Entry};

/// Records taken in one turn before settlements, rebalances and commits get theirs.
const RECORDS_PER_TURN: usize = 64;

/// How long the broker is asked for the start of a log whose offsets leave a gap.
const GAP_WAIT: Duration = Duration::from_millis(500);

/// Why taking records ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Intake {
    /// The turn is over; there may be more.
    More,
    /// A record waits for a permit or for its note.
    Soon,
    /// Nothing waits that may be let in.
    Idle,
}

impl<C: Consumer> Member<C> {
    /// Lets records in, one of each partition at a time, as far as permits and the partitions' bounds go. A partition
    /// that may not be read is held back by not asking for its records; its next one waits in hand, for the lag to see.
    pub(super) fn take_records(&mut self) -> Intake {
        self.gate.begin_turn();
        self.commits.begin_turn();
        if self.gate.is_closed_for_good() {
            return Intake::Idle;
        }
        for _ in 0..RECORDS_PER_TURN {
            match self.take_one_of_each() {
                Intake::More => {}
                ended => return ended,
            }
        }
        Intake::More
    }

    fn take_one_of_each(&mut self) -> Intake {
        let now = self.now();
        let mut round = Intake::Idle;
        for number in self.owned.begin_round(self.gate.scene(now)) {
            if self.serve(number, now) {
                self.owned.served(number);
                self.gate.count_for_pace(now);
                round = Intake::More;
            }
        }
        match round {
            _ if self.gate.is_starved() => Intake::Soon,
            Intake::Idle if self.commits.is_note_awaited() => Intake::Soon,
            round => round,
        }
    }

    /// Lets one record of a partition in, if one may: one that is held before the next one. Returns true if it did.
    fn serve(&mut self, number: i32, now: Instant) -> bool {
        let held = if self.gate.is_closed() { Vec::new() } else { self.owned.held_due(number, now) };
        for offset in &held {
            if self.gate.keeps_pace(now)
                && let Some((entry, permit)) = self.ask((number, *offset), true, now)
            {
                let admission = self.owned.admit_held((number, *offset), entry, self.gate.scene(now));
                if let Some(admission) = admission {
                    self.let_in(admission, permit);
                }
                return true;
            }
        }
        // Where records go in one by one, a held one is the next one.
        if !held.is_empty() && self.owned.is_careful(number) {
            return false;
        }
        if !self.has_record(number) {
            self.owned.withdraw(number);
            return false;
        }
        if !self.gate.keeps_pace(now) || self.owned.lay_by(number, now) {
            return false;
        }
        let Some(offset) = self.owned.next_in_hand(number) else { return false };
        // The others are looked at all the same: their next record belongs in hand.
        let Some((entry, permit)) = self.ask((number, offset), false, now) else { return false };
        self.admit(number, entry, permit, now);
        true
    }

    /// How a record may go in, with leave to be inside; none if it may not now.
    fn ask(&mut self, place: Place, is_held: bool, now: Instant) -> Option<(Entry, PostPermit)> {
        let asked = self.owned.ask(place, is_held, self.gate.scene(now));
        if asked.is_gone_over {
            report::gone_over(place);
        }
        match asked.answer {
            Answer::Enter(entry) => Some((entry, self.gate.take_permit(self.owned.record_bytes(place, is_held))?)),
            Answer::NoteFirst => {
                self.commits.await_note();
                None
            }
            Answer::Wait => None,
        }
    }

    /// True if the partition's next record is in hand and may be let in, but for a permit.
    fn has_record(&mut self, number: i32) -> bool {
        if self.owned.wants_record(number) {
            match self.consumer.next_record(number) {
                None => return false,
                Some(Err(KafkaError::EndOfPartition(_))) => {
                    self.owned.end_of_log(number);
                    return false;
                }
                Some(Err(error)) => {
                    self.poll_error(&error);
                    return false;
                }
                Some(Ok(record)) => {
                    report::record_taken(number);
                    fail_point::hit(FailPoint::IngestAfterPoll, "");
                    self.owned.take_in_hand(number, record);
                    self.look_into_gaps(number);
                }
            }
        }
        self.owned.next_in_hand(number).is_some() && !self.gate.is_closed()
    }

    /// Asks for the start of a log that left a gap while it was read: what lies before it is gone.
    fn look_into_gaps(&mut self, number: i32) {
        let now = self.now();
        if !self.owned.gaps(number).is_some_and(|gaps| gaps.is_due(now)) {
            return;
        }
        match self.consumer.watermarks(number, GAP_WAIT) {
            Ok((low, _)) => {
                let expired = self.owned.gaps(number).map(|gaps| gaps.expired(low, now));
                for (from, to) in expired.unwrap_or_default() {
                    report::expired(number, from, to);
                }
            }
            Err(error) => report::start_unknown(number, &error),
        }
    }

    fn admit(&mut self, number: i32, entry: Entry, permit: PostPermit, now: Instant) {
        match self.owned.admit(number, entry, self.gate.scene(now)) {
            None => {}
            Some(Admitting::LetIn(admission)) => self.let_in(admission, permit),
            Some(Admitting::LogWentBack { offset, rewinding }) => {
                report::log_went_back(number, offset);
                self.rewinding(number, rewinding);
            }
        }
    }

    fn let_in(&mut self, admission: Admission, permit: PostPermit) {
        let Admission { tag, record, entry } = admission;
        let received_at_ms = now_ms();
        if let Entry::Hung { .. } = entry {
            self.gate.acquit((tag.partition, tag.offset));
        }
        self.gate.admitted();
        self.conservation.received();
        let guard = DeliveryGuard::new(tag, Arc::clone(&self.sink));
        let event = match entry {
            Entry::Read(_) => read(&record, self.settings.max_record_bytes, tag),
            Entry::Crashed { ends } => Err(suspect(tag, ends)),
            Entry::Hung { stage, deadlines } => Err(hung(tag, stage, deadlines)),
        };
        fail_point::hit(FailPoint::IngestBeforeAdmit, event.as_ref().map_or("", |event| event.post_id()));
        let (run, received_at) = (entry.run(), self.now());
        self.intake.admit(Admitted { record, event, run, guard, permit, received_at, received_at_ms });
    }

    /// Takes what a guard reports. The sink has counted it already.
    pub(crate) fn settle(&mut self, settlement: Settlement) {
        let Settlement { tag, outcome, .. } = settlement;
        let now = self.now();
        // Before the breaker hears of it: what it made of earlier ones is what counts.
        let consequence = self.owned.settle(settlement, self.gate.scene(now));
        if let Some(judged) = consequence.judged {
            report::judged(tag, judged);
        }
        let change = self.gate.settled((tag.partition, tag.offset), outcome, now);
        self.breaker_changed(change);
        if let Some(rewinding) = consequence.rewinding {
            self.rewinding(tag.partition, rewinding);
        }
    }

    /// Tries the stages out in which records hang that are to be judged.
    pub(super) fn try_stages_out(&mut self) {
        for stage in self.owned.stages_to_try_out(self.now()) {
            (self.stages.try_out)(stage);
        }
    }
}

/// Reads a record. A reader that panics must not take the poll thread with it, at every restart again.
fn read(record: &InboundRecord, max_record_bytes: usize, tag: DeliveryTag) -> Result<PostEvent, Rejection> {
    // Unwind safe: the reader changes nothing.
    let event = catch_unwind(AssertUnwindSafe(|| parse_record(record, max_record_bytes))).unwrap_or_else(|_| {
        let message = "reading the record panicked".to_owned();
        Err(Rejection { reason: DeadLetterReason::PoisonPill, message })
    });
    if let Err(rejection) = &event {
        report::invalid(tag, rejection);
    }
    event
}

/// The record is not even read: that may be what ends the process.
fn suspect(tag: DeliveryTag, ends: u32) -> Rejection {
    report::set_aside_as_suspect(tag, ends);
    let message = format!("the worker's process ended {ends} times while this record was inside by itself");
    Rejection { reason: DeadLetterReason::CrashedWorker, message }
}

/// The record is not run again: it would hang again.
fn hung(tag: DeliveryTag, stage: Stage, deadlines: u32) -> Rejection {
    report::set_aside_as_hung(tag, stage, deadlines);
    let message = format!(
        "the post's deadline passed {deadlines} times, the last time in a trial, while others passed {stage}, where it hung"
    );
    Rejection { reason: DeadLetterReason::DeadlineExceeded, message }
}
