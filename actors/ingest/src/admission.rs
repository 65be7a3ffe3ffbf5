//! Records to posts: permits, pausing, and what settlements do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jtav_delivery::{DeliveryGuard, DeliveryTag, PostPermit, SettleEffect, Settlement, SettlementSink};
use jtav_kafka::Record;
use jtav_pipeline::{Admitted, InboundRecord, now_ms};
use jtav_schemas::DeliveredFrom;
use jtav_telemetry::{Metric, global};

use crate::parse::parse_record;
use crate::poll_loop::PollLoop;

/// After a shortage of permits partitions are read again once a quarter of the permits is free, or once any has been
/// free for so long: pausing and resuming at every single permit would fetch the same records over and over.
const RESUME_ANYWAY_AFTER: Duration = Duration::from_millis(200);

impl PollLoop {
    pub(crate) fn take_record(&mut self, record: Record) -> Taken {
        let number = record.partition;
        let is_leaving = self.revocation.as_ref().is_some_and(|revocation| revocation.contains(number));
        let is_draining = self.draining.is_some();
        let is_closed = self.is_closed();
        // Not owned any more, about to be given up, or about to be read again: whoever reads it next reads it from the
        // committed position, so nothing is lost by looking away.
        let Some(owned) = self.partitions.get_mut(&number) else { return Taken::Passed };
        if is_leaving || is_draining || owned.rewind.is_some() {
            return Taken::Passed;
        }
        global().inc(Metric::IngestRecords, &[number.to_string().as_str()]);
        owned.position = Some(record.offset + 1);
        owned.update_full(&self.params.settings);
        if is_closed || owned.full || !owned.in_hand.is_empty() {
            owned.in_hand.push_back(record);
            return Taken::Held;
        }
        match self.params.permits.try_acquire() {
            Some(permit) => {
                self.admit(record, permit);
                Taken::Passed
            }
            None => {
                owned.in_hand.push_back(record);
                self.held_since.get_or_insert_with(Instant::now);
                Taken::Held
            }
        }
    }

    /// Lets held records in, one of each partition at a time, as far as permits go.
    pub(crate) fn admit_held(&mut self) {
        let mut wants_permit = false;
        if !self.is_closed() {
            let numbers: Vec<i32> = self.partitions.keys().copied().collect();
            let mut moved = true;
            while moved && !wants_permit {
                moved = false;
                for number in &numbers {
                    match self.admit_one_held(*number) {
                        Held::LetIn => moved = true,
                        Held::NoPermit => wants_permit = true,
                        Held::Nothing => {}
                    }
                }
            }
        }
        self.update_starved(wants_permit);
    }

    fn admit_one_held(&mut self, number: i32) -> Held {
        let is_leaving = self.revocation.as_ref().is_some_and(|revocation| revocation.contains(number));
        let Some(owned) = self.partitions.get_mut(&number) else { return Held::Nothing };
        owned.update_full(&self.params.settings);
        if owned.in_hand.is_empty() || owned.full || owned.rewind.is_some() || is_leaving {
            return Held::Nothing;
        }
        let Some(permit) = self.params.permits.try_acquire() else { return Held::NoPermit };
        let Some(record) = owned.in_hand.pop_front() else { return Held::Nothing };
        self.admit(record, permit);
        Held::LetIn
    }

    fn update_starved(&mut self, wants_permit: bool) {
        let permits = &self.params.permits;
        let free = permits.capacity().saturating_sub(permits.in_flight());
        if wants_permit {
            let since = *self.held_since.get_or_insert_with(Instant::now);
            self.starved |= since.elapsed() >= Duration::from_millis(self.params.settings.pause_after_ms);
            return;
        }
        let waited = self.held_since.map_or(Duration::ZERO, |since| since.elapsed());
        let enough = free >= (permits.capacity() / 4).max(1);
        if !self.starved || enough || (free > 0 && waited >= RESUME_ANYWAY_AFTER) {
            self.starved = false;
            self.held_since = None;
        }
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
        self.params.conservation.received();
        let guard = DeliveryGuard::new(tag, Arc::clone(&self.sink) as Arc<dyn SettlementSink>);
        let record = Arc::new(inbound(record));
        let event = parse_record(&record, self.params.settings.max_record_bytes);
        if let Err(rejection) = &event {
            global().inc(Metric::IngestInvalid, &[rejection.reason.as_str()]);
            let DeliveryTag { partition, offset, .. } = tag;
            tracing::debug!(partition, offset, reason = %rejection.reason, "{}", rejection.message);
        }
        let post = Admitted { record, event, guard, permit, received_at: Instant::now(), received_at_ms };
        self.params.intake.admit(post);
    }

    /// Takes what a guard reports. The sink has counted it already; of another period it only frees its place.
    pub(crate) fn settle(&mut self, settlement: Settlement) {
        self.in_flight = self.in_flight.saturating_sub(1);
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

    /// Brings what librdkafka was told in line with what should be, with one call per change of state.
    pub(crate) fn pause_and_resume(&mut self) {
        let all = self.starved || self.is_closed();
        let (mut to_pause, mut to_resume) = (Vec::new(), Vec::new());
        for (number, owned) in &mut self.partitions {
            owned.update_full(&self.params.settings);
            let is_leaving = self.revocation.as_ref().is_some_and(|revocation| revocation.contains(*number));
            let pause = all || owned.full || owned.rewind.is_some() || is_leaving;
            // What is in hand goes first; with a permit about to come free it is not worth a pause.
            if pause && !owned.paused {
                to_pause.push(*number);
            } else if !pause && owned.paused && owned.in_hand.is_empty() {
                to_resume.push(*number);
            }
        }
        self.tell(&to_pause, true);
        self.tell(&to_resume, false);
    }

    fn tell(&mut self, numbers: &[i32], paused: bool) {
        if numbers.is_empty() {
            return;
        }
        let told = if paused { self.consumer.pause(numbers) } else { self.consumer.resume(numbers) };
        match told {
            Ok(()) => {
                for number in numbers {
                    if let Some(owned) = self.partitions.get_mut(number) {
                        owned.paused = paused;
                    }
                }
            }
            // Tried again at the next turn.
            Err(error) => tracing::warn!(%error, ?numbers, paused, "pause or resume"),
        }
    }
}

/// What became of a polled record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It waits in hand.
    Held,
    /// It was let in, or nobody here needs it.
    Passed,
}

enum Held {
    LetIn,
    NoPermit,
    Nothing,
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
