use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use jtav_delivery::{AssignmentEpoch, PartitionLedger};
use jtav_kafka::{PartitionRange, Record};
use jtav_pipeline::InboundRecord;

use crate::expired::Gaps;
use crate::params::IngestSettings;

/// A seek back that is due.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rewind {
    /// Not before.
    pub(crate) at: Instant,
    /// Where to; none means the oldest unsettled record at that time.
    pub(crate) target: Option<i64>,
}

/// A record that may be let in again without reading its partition again.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) record: Arc<InboundRecord>,
    /// Let in not before this.
    pub(crate) at: Instant,
    /// Times that it was held.
    pub(crate) times: u32,
}

impl Held {
    /// Bytes of key, value and headers.
    pub(crate) fn bytes(&self) -> usize {
        let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let headers: usize = self.record.headers.iter().map(|(name, value)| name.len() + length(value)).sum();
        length(&self.record.key) + length(&self.record.value) + headers
    }
}

/// One owned partition in one ownership period.
#[derive(Debug)]
pub(crate) struct Partition {
    pub(crate) ledger: PartitionLedger,
    /// The next record, taken from the consumer and not let in yet.
    pub(crate) in_hand: Option<Record>,
    /// Offset and timestamp of received records, oldest first; the settled ones leave with [`Self::forget_settled`].
    pub(crate) timestamps: VecDeque<(i64, i64)>,
    /// Records of this period whose guard was dropped.
    pub(crate) abandoned: usize,
    /// Records that were let in and are not settled, by offset.
    pub(crate) inside: BTreeMap<i64, Held>,
    /// Records that are to be let in again, by offset.
    pub(crate) held: BTreeMap<i64, Held>,
    pub(crate) rewind: Option<Rewind>,
    /// Seeks back since the partition last made progress, and the position of the last one.
    pub(crate) rewinds: u32,
    pub(crate) rewound_to: i64,
    /// Position that the broker has.
    pub(crate) committed: Option<i64>,
    /// Offset after the last one that was polled.
    pub(crate) position: Option<i64>,
    /// End of the partition as the broker was last asked for it, while nothing is fetched.
    pub(crate) asked_high: Option<i64>,
    /// Since when records wait on the broker while nothing of the partition is in flight.
    pub(crate) behind_since: Option<Instant>,
    /// Offsets that were expected and not read.
    pub(crate) gaps: Gaps,
    /// Nothing from this offset on is read; none reads for ever.
    pub(crate) end: Option<i64>,
    /// Everything before `end` was received.
    pub(crate) at_end: bool,
}

impl Partition {
    pub(crate) fn new(ledger: PartitionLedger, committed: Option<i64>) -> Self {
        let mut gaps = Gaps::default();
        gaps.start(committed);
        Self {
            ledger,
            in_hand: None,
            timestamps: VecDeque::new(),
            abandoned: 0,
            inside: BTreeMap::new(),
            held: BTreeMap::new(),
            rewind: None,
            rewinds: 0,
            rewound_to: -1,
            committed,
            position: committed,
            gaps,
            asked_high: None,
            behind_since: None,
            end: None,
            at_end: false,
        }
    }

    /// Reads no further than to the end of `range`.
    pub(crate) fn read_only(&mut self, range: PartitionRange) {
        self.end = Some(range.end);
        self.at_end = range.is_empty();
        self.position = Some(range.start);
        self.gaps.start(None);
    }

    /// Takes a record that was read, unless it lies past the end.
    pub(crate) fn take_in_hand(&mut self, record: Record) {
        if self.end.is_some_and(|end| record.offset >= end) {
            self.at_end = true;
            return;
        }
        self.at_end = self.end.is_some_and(|end| record.offset + 1 >= end);
        self.position = Some(record.offset + 1);
        self.gaps.read(record.offset);
        self.in_hand = Some(record);
    }

    /// Nothing is left to read or to settle.
    pub(crate) fn is_done(&self) -> bool {
        self.at_end && self.in_hand.is_none() && self.rewind.is_none() && self.ledger.pending() == 0
    }

    /// Starts a new period at `position`, in the same ownership.
    pub(crate) fn start_period(&mut self, number: i32, epoch: AssignmentEpoch, limit: usize, position: i64) {
        self.ledger = PartitionLedger::new(number, epoch, limit);
        self.in_hand = None;
        self.timestamps.clear();
        self.abandoned = 0;
        self.inside.clear();
        self.held.clear();
        self.rewind = None;
        self.rewound_to = position;
        self.position = Some(position);
        self.gaps.start(Some(position));
        self.at_end = false;
    }

    /// Records that may still be settled: the abandoned ones never will be.
    pub(crate) fn unsettled(&self) -> usize {
        self.ledger.pending().saturating_sub(self.abandoned)
    }

    /// Too many records are unsettled for another one.
    pub(crate) fn is_full(&self, settings: &IngestSettings) -> bool {
        !self.ledger.has_room() || self.ledger.window() >= settings.max_window_per_partition
    }

    fn forget_settled(&mut self) {
        let oldest = self.ledger.rewind_position().unwrap_or(i64::MAX);
        while self.timestamps.front().is_some_and(|(offset, _)| *offset < oldest) {
            self.timestamps.pop_front();
        }
    }

    /// Age in seconds of the oldest record that is received and not settled. With nothing received but records waiting
    /// on the broker, the time since that was first seen: their own timestamps are not known before they are read.
    pub(crate) fn event_lag_seconds(&mut self, now_ms: i64, marks: Option<(i64, i64)>) -> f64 {
        self.forget_settled();
        let received = self.timestamps.front().map(|(_, timestamp)| *timestamp);
        let held = self.in_hand.as_ref().and_then(|record| record.timestamp_ms);
        if let Some(oldest) = received.into_iter().chain(held).min() {
            self.behind_since = None;
            // Strangers set timestamps, up to the ends of the range.
            return now_ms.saturating_sub(oldest).max(0) as f64 / 1e3;
        }
        let waiting = marks.is_some_and(|(low, high)| high > self.position.unwrap_or(low));
        if !waiting {
            self.behind_since = None;
            return 0.0;
        }
        self.behind_since.get_or_insert_with(Instant::now).elapsed().as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jtav_delivery::Outcome;

    fn partition(limit: usize) -> Partition {
        Partition::new(PartitionLedger::new(0, AssignmentEpoch(1), limit), Some(0))
    }

    #[test]
    fn event_lag_is_the_age_of_the_oldest_unsettled_record() {
        let mut owned = partition(10);
        let tags: Vec<_> = (0..3).map(|offset| owned.ledger.receive(offset).unwrap()).collect();
        owned.timestamps.extend([(0, 1_000), (1, 4_000), (2, 6_000)]);
        assert_eq!(owned.event_lag_seconds(10_000, Some((0, 3))), 9.0);
        owned.ledger.settle(tags[1], Outcome::Published);
        assert_eq!(owned.event_lag_seconds(10_000, Some((0, 3))), 9.0, "the oldest still is");
        owned.ledger.settle(tags[0], Outcome::Published);
        assert_eq!(owned.event_lag_seconds(10_000, Some((0, 3))), 4.0);
        owned.ledger.settle(tags[2], Outcome::Published);
        owned.position = Some(3);
        assert_eq!(owned.event_lag_seconds(10_000, Some((0, 3))), 0.0);
    }

    #[test]
    fn records_that_wait_on_the_broker_while_intake_is_paused_show_as_lag() {
        let mut owned = partition(10);
        owned.position = Some(3);
        owned.event_lag_seconds(10_000, Some((0, 4)));
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert!(owned.event_lag_seconds(10_000, Some((0, 4))) >= 0.02);
        assert_eq!(owned.event_lag_seconds(10_000, Some((0, 3))), 0.0);
    }

    fn record(offset: i64) -> Record {
        Record {
            topic: String::new(),
            partition: 0,
            offset,
            timestamp_ms: None,
            key: None,
            value: None,
            headers: Vec::new(),
            cut: None,
        }
    }

    #[test]
    fn a_stretch_is_done_when_its_last_record_is_settled_and_what_lies_behind_it_is_left() {
        let mut owned = partition(10);
        owned.read_only(PartitionRange { partition: 0, start: 3, end: 6 });
        assert!(!owned.at_end);
        owned.take_in_hand(record(3));
        assert!(!owned.at_end);
        // Offsets have gaps: 4 and 5 hold no record.
        let tag = owned.ledger.receive(3).unwrap();
        owned.in_hand = None;
        owned.take_in_hand(record(6));
        assert!(owned.at_end && owned.in_hand.is_none() && !owned.is_done());
        owned.ledger.settle(tag, Outcome::Published);
        assert!(owned.is_done());
        owned.start_period(0, AssignmentEpoch(2), 10, 3);
        assert!(!owned.is_done(), "what is read again is not done");
        owned.take_in_hand(record(5));
        assert!(owned.at_end && !owned.is_done(), "the last record is in hand");
        owned.read_only(PartitionRange { partition: 0, start: 6, end: 6 });
        assert!(owned.at_end, "an empty stretch");
    }

    #[test]
    fn one_slow_post_bounds_the_window_behind_it() {
        let settings = IngestSettings {
            max_in_flight_per_partition: 4,
            max_window_per_partition: 6,
            ..IngestSettings::for_tests()
        };
        let mut owned = partition(4);
        owned.ledger.receive(0).unwrap();
        for offset in 1..6 {
            let tag = owned.ledger.receive(offset).unwrap();
            owned.ledger.settle(tag, Outcome::Published);
        }
        assert!(owned.is_full(&settings), "pending {} window {}", owned.ledger.pending(), owned.ledger.window());
    }
}
