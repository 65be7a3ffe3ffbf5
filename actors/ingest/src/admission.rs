//! Records to posts: permits, bounds, and what settlements do.

use std::sync::Arc;
use std::time::Instant;

use jtav_delivery::{DeliveryGuard, DeliveryTag, PostPermit, SettleEffect, Settlement, SettlementSink};
use jtav_kafka::{KafkaError, Record};
use jtav_pipeline::{Admitted, FailPoint, InboundRecord, fail_point, now_ms};
use jtav_schemas::DeliveredFrom;
use jtav_telemetry::{Metric, global};

use crate::parse::parse_record;
use crate::poll_loop::PollLoop;

/// Records taken in one turn before settlements, rebalances and commits get theirs.
const RECORDS_PER_TURN: usize = 64;

impl PollLoop {
    /// Lets records in, one of each partition at a time, as far as permits and the partitions' bounds go. A partition
    /// that may not be read is held back by not asking for its records; its next one waits in hand, for the lag to see.
    pub(crate) fn take_records(&mut self) -> Intake {
        self.starved = false;
        if self.draining.is_some() {
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
                continue;
            }
            // The others are looked at all the same: their next record belongs in hand.
            if !self.pace.admits(now) {
                continue;
            }
            let Some(permit) = self.params.permits.try_acquire() else {
                self.starved = true;
                continue;
            };
            if let Some(record) = self.partitions.get_mut(&number).and_then(|owned| owned.in_hand.take()) {
                self.last_served = number;
                self.pace.admitted(now);
                self.admit(record, permit);
                round = Intake::More;
            }
        }
        if self.starved { Intake::NoPermit } else { round }
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

    fn admit(&mut self, record: Record, permit: PostPermit) {
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
        self.in_flight += 1;
        self.breaker.admitted();
        self.params.conservation.received();
        let guard = DeliveryGuard::new(tag, Arc::clone(&self.sink) as Arc<dyn SettlementSink>);
        let record = Arc::new(inbound(record));
        let event = parse_record(&record, self.params.settings.max_record_bytes);
        if let Err(rejection) = &event {
            global().inc(Metric::IngestInvalid, &[rejection.reason.as_str()]);
            let DeliveryTag { partition, offset, .. } = tag;
            tracing::debug!(partition, offset, reason = %rejection.reason, "{}", rejection.message);
        }
        fail_point::hit(FailPoint::IngestBeforeAdmit, event.as_ref().map_or("", |event| event.post_id()));
        let post = Admitted { record, event, guard, permit, received_at: Instant::now(), received_at_ms };
        self.params.intake.admit(post);
    }

    /// Takes what a guard reports. The sink has counted it already; of another period it only frees its place.
    pub(crate) fn settle(&mut self, settlement: Settlement) {
        self.in_flight = self.in_flight.saturating_sub(1);
        let change = self.breaker.settled(settlement.outcome, Instant::now());
        self.breaker_changed(change);
        let number = settlement.tag.partition;
        let Some(owned) = self.partitions.get_mut(&number) else { return };
        match owned.ledger.settle(settlement.tag, settlement.outcome) {
            SettleEffect::Ignored => {}
            SettleEffect::Settled => {
                let passed = owned.ledger.commit_due().is_some_and(|position| position > owned.rewound_to);
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
    /// A record waits for a permit.
    NoPermit,
    /// Nothing waits that may be let in.
    Idle,
}

fn inbound(record: Record) -> InboundRecord {
    InboundRecord {
        source: DeliveredFrom {
            topic: record.topic,
            partition: record.partition,
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
        },
        key: record.key,
        value: record.value,
        headers: record.headers,
    }
}
