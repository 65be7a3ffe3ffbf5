//! Records that ran into their deadline. They stay in hand and are let in again from there: to read their partition again
//! would repeat every other record behind them, once for each deadline.

use std::sync::Arc;
use std::time::Instant;

use jtav_delivery::{AbandonCause, DeliveryTag, Hang};
use jtav_telemetry::{Metric, global};

use crate::overdue::{Around, Finding, Place, Way};
use crate::parse::inbound;
use crate::partition::Held;
use crate::poll_loop::PollLoop;

/// Bytes of records that are held, all partitions together; it stands in the memory ceiling. What does not fit makes its
/// partition be read again.
const MAX_HELD_BYTES: usize = 8 << 20;

/// Times that a stage is tried out in the time of a trial.
const TRIED_OUT_PER_TRIAL: u32 = 5;

impl PollLoop {
    /// What is around a record of a partition, for the search for records that hang.
    pub(crate) fn around(&self, number: i32) -> Around {
        Around {
            now: Instant::now(),
            passes: self.params.stages.flow.passes(),
            of_worker: self.in_flight.max(self.params.permits.in_flight()),
            is_quiet: (self.params.stages.is_quiet)(),
            is_tripped: self.breaker.is_tripped(),
            is_taken: self.suspects.needs_the_worker(number),
        }
    }

    /// Tries the stages out in which records hang that are to be judged: others may be long in coming.
    pub(crate) fn try_stages_out(&mut self) {
        let every = self.params.settings.trial_deadline / TRIED_OUT_PER_TRIAL;
        if self.overdue.is_idle() || self.stages_tried_out.is_some_and(|last| last.elapsed() < every) {
            return;
        }
        self.stages_tried_out = Some(Instant::now());
        for stage in self.overdue.stages_in_question() {
            (self.params.stages.try_out)(stage);
        }
    }

    fn held_bytes(&self) -> usize {
        self.partitions.values().flat_map(|owned| owned.held.values()).map(Held::bytes).sum()
    }

    /// Keeps an abandoned record to let it in again; false where there is no room for it.
    fn hold(&mut self, number: i32, offset: i64, mut held: Held) -> bool {
        let room = MAX_HELD_BYTES.saturating_sub(self.held_bytes());
        held.times += 1;
        held.at = Instant::now() + self.params.settings.rewind_backoff(held.times);
        match self.partitions.get_mut(&number) {
            // It is about to be read again with all of its partition.
            Some(owned) if owned.rewind.is_some() => true,
            Some(owned) if held.bytes() <= room => {
                owned.held.insert(offset, held);
                true
            }
            _ => false,
        }
    }

    /// A record was abandoned: it is let in again from here where its own work may be why, and else with its partition.
    pub(crate) fn comes_again(&mut self, tag: DeliveryTag, held: Option<Held>, cause: AbandonCause) {
        let by_content = cause.is_by_content();
        let is_held = match held {
            Some(held) if by_content => self.hold(tag.partition, tag.offset, held),
            _ => false,
        };
        if !is_held {
            self.schedule_rewind(tag.partition, None, by_content);
        }
    }

    /// Held records whose time has come, the one that waited longest first.
    pub(crate) fn held_due(&self, number: i32, now: Instant) -> Vec<i64> {
        let Some(owned) = self.partitions.get(&number) else { return Vec::new() };
        let mut due: Vec<(Instant, i64)> =
            owned.held.iter().filter(|(_, held)| held.at <= now).map(|(offset, held)| (held.at, *offset)).collect();
        due.sort_unstable();
        due.into_iter().map(|(_, offset)| offset).collect()
    }

    /// Takes the next record of a partition out of the way of those behind it, if it is to be tried: it may wait for that.
    /// Returns true if it did.
    pub(crate) fn lay_by(&mut self, number: i32) -> bool {
        let room = MAX_HELD_BYTES.saturating_sub(self.held_bytes());
        // Where records go in one by one, those behind it wait in any case.
        if self.suspects.careful(number).is_some() {
            return false;
        }
        let Some(owned) = self.partitions.get_mut(&number) else { return false };
        let Some(record) = owned.in_hand.take_if(|record| self.overdue.is_due((number, record.offset))) else {
            return false;
        };
        let (offset, timestamp_ms) = (record.offset, record.timestamp_ms);
        let held = Held { record: Arc::new(inbound(record.clone())), at: Instant::now(), times: 0 };
        if held.bytes() > room || owned.ledger.receive(offset).is_none() {
            owned.in_hand = Some(record);
            return false;
        }
        owned.timestamps.push_back((offset, timestamp_ms.unwrap_or_else(jtav_pipeline::now_ms)));
        // Unsettled, and nobody works on it.
        owned.abandoned += 1;
        owned.held.insert(offset, held);
        true
    }

    /// What the search for records that hang says of a record.
    pub(crate) fn way(&mut self, place: Place) -> Way {
        if self.overdue.is_idle() {
            return Way::Open;
        }
        let around = self.around(place.0);
        self.overdue.door(place, &around)
    }

    /// A record that is inside no more, seen by the search for those that hang.
    pub(crate) fn judge(&mut self, tag: DeliveryTag, outcome: jtav_delivery::Outcome, cause: AbandonCause) {
        if self.overdue.is_idle() && cause.hang().is_none() {
            return;
        }
        let around = self.around(tag.partition);
        let found = self.overdue.left(tag, outcome, cause, &around);
        let DeliveryTag { partition, offset, .. } = tag;
        if let Some(Hang { stage, was_overtaken }) = cause.hang() {
            let deadlines = self.overdue.deadlines((partition, offset));
            tracing::warn!(
                partition, offset, %stage, was_overtaken, deadlines,
                "a post's deadline passed where its content counts; it is tried again"
            );
        }
        let Some((finding, is_alone)) = found else { return };
        let kind = if is_alone { "alone" } else { "beside" };
        global().inc(Metric::PostTrials, &[kind, finding.as_str()]);
        match finding {
            Finding::Passed => tracing::info!(partition, offset, kind, "the post that was tried is done with"),
            finding => tracing::warn!(partition, offset, kind, result = finding.as_str(), "the post was tried"),
        }
    }
}
