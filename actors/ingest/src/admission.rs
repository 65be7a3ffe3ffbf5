//! Records to posts: permits, bounds, and what settlements do.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use jtav_delivery::{DeliveryGuard, DeliveryTag, Outcome, PostPermit, SettleEffect, Settlement, SettlementSink};
use jtav_kafka::{KafkaError, Record};
use jtav_pipeline::{Admitted, FailPoint, InboundRecord, PostEvent, Rejection, fail_point, now_ms};
use jtav_schemas::DeadLetterReason;
use jtav_telemetry::{Metric, global};

use crate::parse::{inbound, parse_record};
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
        let mut round = Intake::Idle;
        for number in waiting.into_iter().chain(served) {
            if !self.has_record(number) {
                self.suspects.withdraw(number);
                continue;
            }
            if !self.pace.admits(now) {
                continue;
            }
            let set_aside = match self.door(number) {
                Door::Open => None,
                Door::SetAside { ends } => Some(ends),
                Door::NoteFirst => {
                    self.note_awaited = true;
                    continue;
                }
                Door::Wait => continue,
            };
            // The others are looked at all the same: their next record belongs in hand.
            let Some(permit) = self.params.permits.try_acquire() else {
                self.starved = true;
                continue;
            };
            if let Some(record) = self.partitions.get_mut(&number).and_then(|owned| owned.in_hand.take()) {
                self.last_served = number;
                self.pace.admitted(now);
                self.admit(record, permit, set_aside);
                round = Intake::More;
            }
        }
        match round {
            _ if self.starved => Intake::Soon,
            Intake::Idle if self.note_awaited => Intake::Soon,
            round => round,
        }
    }

    /// What the search for the record that ends the process says of the next record of a partition.
    fn door(&mut self, number: i32) -> Door {
        let Some(owned) = self.partitions.get(&number) else { return Door::Wait };
        let Some(offset) = owned.in_hand.as_ref().map(|record| record.offset) else { return Door::Wait };
        let of_worker = self.in_flight.max(self.params.permits.in_flight());
        let was_careful = self.suspects.careful(number).is_some();
        let door = self.suspects.door(number, offset, Inside { of_partition: owned.ledger.pending(), of_worker });
        if was_careful && self.suspects.careful(number).is_none() {
            tracing::info!(partition = number, offset, "gone over without an end of the process; back to normal");
        }
        door
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
                }
            }
        }
        owned.in_hand.is_some() && !is_closed && !owned.is_full(&self.params.settings)
    }

    fn admit(&mut self, record: Record, permit: PostPermit, set_aside: Option<u32>) {
        let (number, offset) = (record.partition, record.offset);
        let Some(owned) = self.partitions.get_mut(&number) else { return };
        let Some(tag) = owned.ledger.receive(offset) else {
            // The log went back: the topic was made anew, or its end was cut off by an unclean election. Reading on
            // would drop every record up to the old position, so a new period starts here.
            tracing::warn!(partition = number, offset, "offset is not above the last one; reading from there again");
            self.schedule_rewind(number, Some(offset));
            return;
        };
        let received_at_ms = now_ms();
        owned.timestamps.push_back((offset, record.timestamp_ms.unwrap_or(received_at_ms)));
        self.suspects.let_in(tag);
        self.in_flight += 1;
        self.breaker.admitted();
        self.params.conservation.received();
        let guard = DeliveryGuard::new(tag, Arc::clone(&self.sink) as Arc<dyn SettlementSink>);
        let record = Arc::new(inbound(record));
        let event = match set_aside {
            None => read(&record, self.params.settings.max_record_bytes, tag),
            Some(ends) => Err(suspect(tag, ends)),
        };
        fail_point::hit(FailPoint::IngestBeforeAdmit, event.as_ref().map_or("", |event| event.post_id()));
        let post = Admitted { record, event, guard, permit, received_at: Instant::now(), received_at_ms };
        self.params.intake.admit(post);
    }

    /// Takes what a guard reports. The sink has counted it already; of another period it only frees its place.
    pub(crate) fn settle(&mut self, settlement: Settlement) {
        self.in_flight = self.in_flight.saturating_sub(1);
        let is_given_up = settlement.outcome == Outcome::Abandoned && self.paused_by.contains(RESTART);
        if !is_given_up {
            let change = self.breaker.settled(settlement.outcome, Instant::now());
            self.breaker_changed(change);
        }
        self.suspects.settled(settlement.tag, settlement.outcome);
        let number = settlement.tag.partition;
        let Some(owned) = self.partitions.get_mut(&number) else { return };
        match owned.ledger.settle(settlement.tag, settlement.outcome) {
            SettleEffect::Ignored => {}
            SettleEffect::Settled => {
                let passed = owned.ledger.commit_position().is_some_and(|position| position > owned.rewound_to);
                if owned.rewinds > 0 && owned.rewind.is_none() && passed {
                    owned.rewinds = 0;
                }
            }
            SettleEffect::Abandoned => {
                owned.abandoned += 1;
                self.schedule_rewind(number, None);
            }
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
