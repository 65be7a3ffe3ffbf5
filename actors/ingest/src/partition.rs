//! One owned partition in one ownership period: what was read of it, what is inside, what comes again. Pure; told the time.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use jtav_delivery::{AssignmentEpoch, DeliveryTag, Outcome, PartitionLedger, SettleEffect};
use jtav_kafka::{PartitionRange, Record};
use jtav_pipeline::now_ms;

use crate::expired::Gaps;
use crate::held::Held;
use crate::params::IngestSettings;
use crate::parse::inbound;
use crate::status::PartitionSnapshot;

/// A seek back that is due.
#[derive(Debug, Clone, Copy)]
struct Rewind {
    /// Not before.
    at: Instant,
    /// Where to; none means the oldest unsettled record at that time.
    target: Option<i64>,
}

/// What came of planning a seek back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rewinding {
    Planned {
        attempt: u32,
    },
    /// One is due already.
    Joined,
    /// There were too many without progress.
    NoProgress,
}

/// What became of the record in hand.
#[derive(Debug)]
pub(crate) enum Received {
    Record(DeliveryTag, Held),
    /// Its offset is not above the last one.
    LogWentBack(i64),
}

/// What a settlement did.
#[derive(Debug)]
pub(crate) enum Settled {
    /// Of an ended period, or a second one.
    Ignored,
    Counted,
    /// The record was abandoned and comes again.
    ComesAgain(Option<Held>),
}

#[derive(Debug)]
pub(crate) struct Partition {
    ledger: PartitionLedger,
    /// The next record, taken from the consumer and not let in yet.
    in_hand: Option<Record>,
    /// Offset and timestamp of received records, oldest first; the settled ones leave with [`Self::forget_settled`].
    timestamps: VecDeque<(i64, i64)>,
    /// Records of this period whose guard was dropped.
    abandoned: usize,
    /// Records that were let in and are not settled, by offset.
    inside: BTreeMap<i64, Held>,
    /// Records that are to be let in again, by offset.
    held: BTreeMap<i64, Held>,
    rewind: Option<Rewind>,
    /// Seeks back since the partition last made progress, and the position of the last one.
    rewinds: u32,
    rewound_to: i64,
    /// Position that the broker has.
    committed: Option<i64>,
    /// Offset after the last one that was polled.
    position: Option<i64>,
    /// End of the partition as the broker was last asked for it, while nothing is fetched.
    asked_high: Option<i64>,
    /// Since when records wait on the broker while nothing of the partition is in flight.
    behind_since: Option<Instant>,
    /// Offsets that were expected and not read.
    gaps: Gaps,
    /// Nothing from this offset on is read; none reads for ever.
    end: Option<i64>,
    /// Everything before `end` was received.
    at_end: bool,
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

    /// The next record is not in hand, and there may be one.
    pub(crate) fn wants_record(&self) -> bool {
        self.in_hand.is_none() && !self.at_end
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

    /// Nothing lies behind the last record: of a log whose last offsets hold none.
    pub(crate) fn end_of_log(&mut self) {
        self.at_end = self.end.is_some();
    }

    pub(crate) fn in_hand(&self) -> Option<i64> {
        self.in_hand.as_ref().map(|record| record.offset)
    }

    /// Bytes of the record in hand; 0 where there is none.
    pub(crate) fn bytes_in_hand(&self) -> usize {
        self.in_hand.as_ref().map_or(0, Record::bytes)
    }

    /// Bytes of a held record; 0 where there is none.
    pub(crate) fn held_record_bytes(&self, offset: i64) -> usize {
        self.held.get(&offset).map_or(0, Held::bytes)
    }

    /// Receives the record in hand.
    pub(crate) fn receive(&mut self, now: Instant) -> Option<Received> {
        let record = self.in_hand.take()?;
        let Some(tag) = self.ledger.receive(record.offset) else { return Some(Received::LogWentBack(record.offset)) };
        self.timestamps.push_back((record.offset, record.timestamp_ms.unwrap_or_else(now_ms)));
        Some(Received::Record(tag, Held::new(inbound(record), now)))
    }

    /// Takes the next record out of the way of those behind it, within `room` bytes. Returns true if it did.
    pub(crate) fn lay_by(&mut self, room: usize, now: Instant) -> bool {
        let Some(record) = self.in_hand.take() else { return false };
        let (offset, timestamp_ms) = (record.offset, record.timestamp_ms);
        let held = Held::new(inbound(record.clone()), now);
        if held.bytes() > room || self.ledger.receive(offset).is_none() {
            self.in_hand = Some(record);
            return false;
        }
        self.timestamps.push_back((offset, timestamp_ms.unwrap_or_else(now_ms)));
        // Unsettled, and nobody works on it.
        self.abandoned += 1;
        self.held.insert(offset, held);
        true
    }

    /// A record was let in.
    pub(crate) fn let_in(&mut self, offset: i64, held: Held) {
        self.inside.insert(offset, held);
    }

    /// Takes a held record to let it in again.
    pub(crate) fn take_held(&mut self, number: i32, offset: i64) -> Option<(DeliveryTag, Held)> {
        let held = self.held.remove(&offset)?;
        self.abandoned = self.abandoned.saturating_sub(1);
        Some((DeliveryTag { partition: number, offset, epoch: self.ledger.epoch() }, held))
    }

    /// Held records whose time has come, the one that waited longest first.
    pub(crate) fn held_due(&self, now: Instant) -> Vec<i64> {
        let mut due: Vec<(Instant, i64)> =
            self.held.iter().filter(|(_, held)| held.at <= now).map(|(offset, held)| (held.at, *offset)).collect();
        due.sort_unstable();
        due.into_iter().map(|(_, offset)| offset).collect()
    }

    pub(crate) fn held_bytes(&self) -> usize {
        self.held.values().map(Held::bytes).sum()
    }

    /// Keeps an abandoned record to let it in again; false where `room` bytes are not enough for it.
    pub(crate) fn hold(&mut self, offset: i64, held: Held, room: usize) -> bool {
        // It is about to be read again with all of its partition.
        if self.rewind.is_some() {
            return true;
        }
        let has_room = held.bytes() <= room;
        if has_room {
            self.held.insert(offset, held);
        }
        has_room
    }

    /// Takes what a guard reports.
    pub(crate) fn settle(&mut self, tag: DeliveryTag, outcome: Outcome) -> Settled {
        match self.ledger.settle(tag, outcome) {
            SettleEffect::Ignored => Settled::Ignored,
            SettleEffect::Settled => {
                self.inside.remove(&tag.offset);
                let passed = self.ledger.commit_position().is_some_and(|position| position > self.rewound_to);
                if self.rewinds > 0 && self.rewind.is_none() && passed {
                    self.rewinds = 0;
                }
                Settled::Counted
            }
            SettleEffect::Abandoned => {
                self.abandoned += 1;
                Settled::ComesAgain(self.inside.remove(&tag.offset))
            }
        }
    }

    /// Plans a seek back. Several abandonments of one period make one; too many without progress end the thread, unless
    /// the record is to blame (`by_content`): new boxes would hang as well.
    pub(crate) fn plan_rewind(
        &mut self,
        target: Option<i64>,
        by_content: bool,
        settings: &IngestSettings,
        now: Instant,
    ) -> Rewinding {
        if let Some(rewind) = &mut self.rewind {
            rewind.target = match (rewind.target, target) {
                (Some(planned), Some(wanted)) => Some(planned.min(wanted)),
                (planned, wanted) => planned.or(wanted),
            };
            return Rewinding::Joined;
        }
        self.rewinds += u32::from(!by_content);
        let attempt = self.rewinds;
        if attempt > settings.max_rewinds {
            return Rewinding::NoProgress;
        }
        self.rewind = Some(Rewind { at: now + settings.rewind_backoff(attempt), target });
        Rewinding::Planned { attempt }
    }

    pub(crate) fn will_rewind(&self) -> bool {
        self.rewind.is_some()
    }

    pub(crate) fn is_rewind_due(&self, now: Instant) -> bool {
        self.rewind.is_some_and(|rewind| rewind.at <= now)
    }

    /// Where the seek back goes. None if there is nothing to go back for any more; then it is off.
    pub(crate) fn rewind_target(&mut self) -> Option<i64> {
        let target = self.rewind?.target.or_else(|| self.ledger.rewind_position());
        if target.is_none() {
            self.rewind = None;
        }
        target
    }

    /// The seek back did not go through.
    pub(crate) fn postpone_rewind(&mut self, settings: &IngestSettings, now: Instant) {
        if let Some(rewind) = &mut self.rewind {
            rewind.at = now + settings.rewind_backoff(self.rewinds);
        }
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

    pub(crate) fn epoch(&self) -> AssignmentEpoch {
        self.ledger.epoch()
    }

    pub(crate) fn commit_position(&self) -> Option<i64> {
        self.ledger.commit_position()
    }

    /// The broker took a position of this period.
    pub(crate) fn committed(&mut self, position: i64) {
        self.ledger.committed(position);
        self.committed = Some(position);
    }

    /// Records received and not settled.
    pub(crate) fn pending(&self) -> usize {
        self.ledger.pending()
    }

    /// Records that may still be settled: the abandoned ones never will be.
    pub(crate) fn unsettled(&self) -> usize {
        self.ledger.pending().saturating_sub(self.abandoned)
    }

    /// Too many records are unsettled for another one.
    pub(crate) fn is_full(&self, settings: &IngestSettings) -> bool {
        !self.ledger.has_room() || self.ledger.window() >= settings.max_window_per_partition
    }

    /// Nothing is left to read or to settle.
    pub(crate) fn is_done(&self) -> bool {
        self.at_end && self.in_hand.is_none() && self.rewind.is_none() && self.ledger.pending() == 0
    }

    pub(crate) fn gaps(&mut self) -> &mut Gaps {
        &mut self.gaps
    }

    /// The broker was asked for the end of the partition.
    pub(crate) fn ends_at(&mut self, high: i64) {
        self.asked_high = Some(high);
    }

    /// What there is to say of it; `marks` are its low and high watermark as of the last fetch.
    pub(crate) fn snapshot(&mut self, number: i32, marks: Option<(i64, i64)>, now: Instant) -> PartitionSnapshot {
        let marks = marks.map(|(low, high)| (low, high.max(self.asked_high.unwrap_or(high))));
        let low_committed = self.committed.or(marks.map(|(low, _)| low));
        let lag_records = match (marks, low_committed) {
            (Some((_, high)), Some(committed)) => (high - committed).max(0),
            _ => 0,
        };
        let event_lag_seconds = self.event_lag_seconds(now_ms(), marks, now);
        PartitionSnapshot {
            partition: number,
            epoch: self.ledger.epoch().0,
            pending: self.ledger.pending(),
            window: self.ledger.window(),
            committed: self.committed,
            lag_records,
            event_lag_seconds,
            // Between two turns a record in hand is one that may not be let in.
            paused: self.in_hand.is_some(),
            revoking: false,
            rewinds: self.rewinds,
            held: self.held.len(),
            careful_until: None,
            suspect: None,
        }
    }

    fn forget_settled(&mut self) {
        let oldest = self.ledger.rewind_position().unwrap_or(i64::MAX);
        while self.timestamps.front().is_some_and(|(offset, _)| *offset < oldest) {
            self.timestamps.pop_front();
        }
    }

    /// Age in seconds of the oldest record that is received and not settled. With nothing received but records waiting
    /// on the broker, the time since that was first seen: their own timestamps are not known before they are read.
    fn event_lag_seconds(&mut self, now_ms: i64, marks: Option<(i64, i64)>, now: Instant) -> f64 {
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
        let since = *self.behind_since.get_or_insert(now);
        now.saturating_duration_since(since).as_secs_f64()
    }
}

#[cfg(test)]
#[path = "partition_tests.rs"]
mod tests;
