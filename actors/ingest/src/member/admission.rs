//! Records to posts: permits, bounds, and what settlements do.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use jtav_delivery::{DeliveryGuard, DeliveryTag, Outcome, PostPermit, SettleEffect, Settlement, SettlementSink};
use jtav_kafka::{KafkaError, Record};
use jtav_pipeline::{Admitted, FailPoint, InboundRecord, PostEvent, Rejection, Run, Stage, fail_point, now_ms};
use jtav_schemas::DeadLetterReason;
use jtav_telemetry::{Metric, global};

use crate::overdue::Way;
use crate::parse::{inbound, parse_record};
use crate::partition::Held;
use crate::poll_loop::PollLoop;
use crate::status::RESTART;
use crate::suspects::{Door, Inside};

/// Records taken in one turn before settlements, rebalances and commits get theirs.
const RECORDS_PER_TURN: usize = 64;

impl PollLoop {
    /// Lets records in, one of each partition at a time, as far as permits and the partitions' bounds go. A partition
    /// that may not be read is held back by not asking for its records; its next one waits in hand, for the lag to see.
    pub(crate) fn take_records(&mut self) -> Intake {
        self.starved = false;
        self.note_awaited = false;
        if self.draining.is_some() || self.failed.is_some() {
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

    /// One round over the partitions; begins behind the one that was served last, so that scarce permits go round.
    fn take_one_of_each(&mut self) -> Intake {
        let (served, waiting): (Vec<i32>, Vec<i32>) =
            self.partitions.keys().partition(|number| **number <= self.last_served);
        let now = Instant::now();
        self.overdue.begin_round(self.breaker.is_tripped());
        let mut round = Intake::Idle;
        for number in waiting.into_iter().chain(served) {
            if self.serve(number, now) {
                self.last_served = number;
                self.pace.admitted(now);
                round = Intake::More;
            }
        }
        match round {
            _ if self.starved => Intake::Soon,
            Intake::Idle if self.note_awaited => Intake::Soon,
            round => round,
        }
    }

    /// Lets one record of a partition in, if one may: one that is held before the next one. Returns true if it did.
    fn serve(&mut self, number: i32, now: Instant) -> bool {
        let held = if self.is_open(number) { self.held_due(number, now) } else { Vec::new() };
        for offset in &held {
            if self.pace.admits(now)
                && let Some((entry, permit)) = self.ask(number, *offset, true)
            {
                self.admit_held(number, *offset, permit, entry);
                return true;
            }
        }
        // Where records go in one by one, a held one is the next one.
        if !held.is_empty() && self.suspects.careful(number).is_some() {
            return false;
        }
        if !self.has_record(number) {
            self.suspects.withdraw(number);
            return false;
        }
        if !self.pace.admits(now) || self.lay_by(number) {
            return false;
        }
        let in_hand = self.partitions.get(&number).and_then(|owned| owned.in_hand.as_ref());
        let Some(offset) = in_hand.map(|record| record.offset) else { return false };
        // The others are looked at all the same: their next record belongs in hand.
        let Some((entry, permit)) = self.ask(number, offset, false) else { return false };
        match self.partitions.get_mut(&number).and_then(|owned| owned.in_hand.take()) {
            Some(record) => self.admit(record, permit, entry),
            None => return false,
        }
        true
    }

    /// How a record may go in, with leave to be inside; none if it may not now.
    fn ask(&mut self, number: i32, offset: i64, is_held: bool) -> Option<(Entry, PostPermit)> {
        let way = self.way((number, offset));
        if way == Way::Wait {
            self.suspects.withdraw(number);
            return None;
        }
        let entry = match self.door(number, offset, is_held) {
            Door::Open => Entry::of(way),
            Door::SetAside { ends } => Entry::Crashed { ends },
            Door::NoteFirst => {
                self.note_awaited = true;
                return None;
            }
            Door::Wait => return None,
        };
        let permit = self.params.permits.try_acquire();
        self.starved |= permit.is_none();
        Some((entry, permit?))
    }

    /// What the search for the record that ends the process says of a record of a partition.
    fn door(&mut self, number: i32, offset: i64, is_held: bool) -> Door {
        let Some(owned) = self.partitions.get(&number) else { return Door::Wait };
        let of_worker = self.in_flight.max(self.params.permits.in_flight());
        let was_careful = self.suspects.careful(number).is_some();
        let of_partition = owned.ledger.pending() - usize::from(is_held);
        let door = self.suspects.door(number, offset, Inside { of_partition, of_worker });
        if was_careful && self.suspects.careful(number).is_none() {
            tracing::info!(partition = number, offset, "gone over without an end of the process; back to normal");
        }
        door
    }

    /// Whether records of the partition may be let in at all. About to be given up or to be read again: whoever reads it
    /// next begins at the committed position.
    fn is_open(&self, number: i32) -> bool {
        let is_leaving = self.revocation.as_ref().is_some_and(|revocation| revocation.contains(number));
        let will_rewind = self.partitions.get(&number).is_none_or(|owned| owned.rewind.is_some());
        !is_leaving && !will_rewind && !self.is_closed()
    }

    /// True if the partition's next record is in hand and may be let in, but for a permit.
    fn has_record(&mut self, number: i32) -> bool {
        let is_leaving = self.revocation.as_ref().is_some_and(|revocation| revocation.contains(number));
        let is_closed = self.is_closed();
        let Some(owned) = self.partitions.get_mut(&number) else { return false };
        // About to be given up or to be read again: whoever reads it next begins at the committed position.
        if is_leaving || owned.rewind.is_some() {
            return false;
        }
        if owned.in_hand.is_none() && !owned.at_end {
            match self.consumer.next_record(number) {
                None => return false,
                Some(Err(KafkaError::EndOfPartition(_))) => {
                    // Of a log whose last offsets hold no record.
                    owned.at_end = owned.end.is_some();
                    return false;
                }
                Some(Err(error)) => {
                    self.poll_error(&error);
                    return false;
                }
                Some(Ok(record)) => {
                    global().inc(Metric::IngestRecords, &[number.to_string().as_str()]);
                    fail_point::hit(FailPoint::IngestAfterPoll, "");
                    owned.take_in_hand(record);
                    self.look_into_gaps(number);
                }
            }
        }
        let owned = self.partitions.get(&number);
        owned.is_some_and(|owned| owned.in_hand.is_some() && !owned.is_full(&self.params.settings)) && !is_closed
    }

    fn admit(&mut self, record: Record, permit: PostPermit, entry: Entry) {
        let (number, offset) = (record.partition, record.offset);
        let Some(owned) = self.partitions.get_mut(&number) else { return };
        let Some(tag) = owned.ledger.receive(offset) else {
            // The log went back: the topic was made anew, or its end was cut off by an unclean election. Reading on
            // would drop every record up to the old position, so a new period starts here.
            tracing::warn!(partition = number, offset, "offset is not above the last one; reading from there again");
            self.overdue.give_up(number);
            self.schedule_rewind(number, Some(offset), false);
            return;
        };
        owned.timestamps.push_back((offset, record.timestamp_ms.unwrap_or_else(now_ms)));
        let held = Held { record: Arc::new(inbound(record)), at: Instant::now(), times: 0 };
        self.let_in(tag, held, permit, entry);
    }

    /// Lets a record in again that is received already and held since.
    fn admit_held(&mut self, number: i32, offset: i64, permit: PostPermit, entry: Entry) {
        let Some(owned) = self.partitions.get_mut(&number) else { return };
        let Some(held) = owned.held.remove(&offset) else { return };
        owned.abandoned = owned.abandoned.saturating_sub(1);
        let tag = DeliveryTag { partition: number, offset, epoch: owned.ledger.epoch() };
        self.let_in(tag, held, permit, entry);
    }

    fn let_in(&mut self, tag: DeliveryTag, held: Held, permit: PostPermit, entry: Entry) {
        let received_at_ms = now_ms();
        self.suspects.let_in(tag);
        let run = match entry {
            Entry::Read(run) => run,
            Entry::Hung { stage, deadlines } => {
                self.breaker.acquit((tag.partition, tag.offset));
                Run::SetAside { stage, deadlines }
            }
            Entry::Crashed { .. } => Run::Ordinary,
        };
        if run == Run::Trial {
            let around = self.around(tag.partition);
            self.overdue.let_in(tag, &around);
        }
        self.in_flight += 1;
        self.breaker.admitted();
        self.params.conservation.received();
        let guard = DeliveryGuard::new(tag, Arc::clone(&self.sink) as Arc<dyn SettlementSink>);
        let record = Arc::clone(&held.record);
        let event = match entry {
            Entry::Read(_) => read(&record, self.params.settings.max_record_bytes, tag),
            Entry::Crashed { ends } => Err(suspect(tag, ends)),
            Entry::Hung { stage, deadlines } => Err(hung(tag, stage, deadlines)),
        };
        if let Some(owned) = self.partitions.get_mut(&tag.partition) {
            owned.inside.insert(tag.offset, held);
        }
        fail_point::hit(FailPoint::IngestBeforeAdmit, event.as_ref().map_or("", |event| event.post_id()));
        let post = Admitted { record, event, run, guard, permit, received_at: Instant::now(), received_at_ms };
        self.params.intake.admit(post);
    }

    /// Takes what a guard reports. The sink has counted it already; of another period it only frees its place.
    pub(crate) fn settle(&mut self, settlement: Settlement) {
        let Settlement { tag, outcome, cause } = settlement;
        self.in_flight = self.in_flight.saturating_sub(1);
        // Before the breaker hears of it: what it made of earlier ones is what counts.
        self.judge(tag, outcome, cause);
        let is_given_up = outcome == Outcome::Abandoned && self.paused_by.contains(RESTART);
        if !is_given_up {
            let change = self.breaker.settled((tag.partition, tag.offset), outcome, Instant::now());
            self.breaker_changed(change);
        }
        self.suspects.settled(tag, outcome);
        let Some(owned) = self.partitions.get_mut(&tag.partition) else { return };
        match owned.ledger.settle(tag, outcome) {
            SettleEffect::Ignored => {}
            SettleEffect::Settled => {
                owned.inside.remove(&tag.offset);
                let passed = owned.ledger.commit_position().is_some_and(|position| position > owned.rewound_to);
                if owned.rewinds > 0 && owned.rewind.is_none() && passed {
                    owned.rewinds = 0;
                }
            }
            SettleEffect::Abandoned => {
                owned.abandoned += 1;
                let held = owned.inside.remove(&tag.offset);
                self.comes_again(tag, held, cause);
            }
        }
    }
}

/// How a record goes in.
#[derive(Debug, Clone, Copy)]
enum Entry {
    /// It is read and run.
    Read(Run),
    /// Unread: the process has ended so often while it was inside.
    Crashed { ends: u32 },
    /// Unread: it hangs.
    Hung { stage: Stage, deadlines: u32 },
}

impl Entry {
    fn of(way: Way) -> Self {
        match way {
            Way::Trial => Entry::Read(Run::Trial),
            Way::SetAside { stage, deadlines } => Entry::Hung { stage, deadlines },
            Way::Open | Way::Wait => Entry::Read(Run::Ordinary),
        }
    }
}

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

/// Reads a record. A reader that panics must not take the poll thread with it, at every restart again.
fn read(record: &InboundRecord, max_record_bytes: usize, tag: DeliveryTag) -> Result<PostEvent, Rejection> {
    // Unwind safe: the reader changes nothing.
    let event = catch_unwind(AssertUnwindSafe(|| parse_record(record, max_record_bytes))).unwrap_or_else(|_| {
        let message = "reading the record panicked".to_owned();
        Err(Rejection { reason: DeadLetterReason::PoisonPill, message })
    });
    if let Err(rejection) = &event {
        global().inc(Metric::IngestInvalid, &[rejection.reason.as_str()]);
        let DeliveryTag { partition, offset, .. } = tag;
        tracing::debug!(partition, offset, reason = %rejection.reason, "{}", rejection.message);
    }
    event
}

/// The record is not even read: that may be what ends the process.
fn suspect(tag: DeliveryTag, ends: u32) -> Rejection {
    let DeliveryTag { partition, offset, .. } = tag;
    tracing::error!(partition, offset, ends, "set aside unread: the process has ended so often while it was inside");
    let message = format!("the worker's process ended {ends} times while this record was inside by itself");
    Rejection { reason: DeadLetterReason::CrashedWorker, message }
}

/// The record is not run again: it would hang again.
fn hung(tag: DeliveryTag, stage: Stage, deadlines: u32) -> Rejection {
    let DeliveryTag { partition, offset, .. } = tag;
    tracing::error!(partition, offset, %stage, deadlines, "set aside: the post hangs where all others pass");
    let message = format!(
        "the post's deadline passed {deadlines} times, the last time in a trial, while others passed {stage}, where it hung"
    );
    Rejection { reason: DeadLetterReason::DeadlineExceeded, message }
}
