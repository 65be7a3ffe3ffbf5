//! What is owned: partitions with their ledgers, ownership periods and records, and what is known of those that do harm.
//! It decides and remembers; what is to be done is returned to the poll loop. Told the time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use jtav_delivery::{AssignmentEpoch, DeliveryTag, Settlement};
use jtav_kafka::Record;
use jtav_pipeline::{InboundRecord, Stage};

use crate::case::{Place, Scene};
use crate::commits::Position;
use crate::handover::{Offer, Revocation};
use crate::held::{Held, MAX_HELD_BYTES};
use crate::note::Owner;
use crate::params::{IngestSettings, StageWatch};
use crate::partition::{Partition, Received, Rewinding, Settled};
use crate::searches::{Answer, Entry, Judged, Searches};
use crate::status::PartitionSnapshot;

mod periods;

/// What the poll loop hears of a record at the door.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AtTheDoor {
    pub(crate) answer: Answer,
    /// Its partition was gone over without an end of the process.
    pub(crate) is_gone_over: bool,
}

/// A record that was let in: a post is to be made of it.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(crate) tag: DeliveryTag,
    pub(crate) record: Arc<InboundRecord>,
    pub(crate) entry: Entry,
}

/// What became of the record in hand.
#[derive(Debug)]
pub(crate) enum Admitting {
    LetIn(Admission),
    /// The topic was made anew, or its end was cut off by an unclean election: reading on would drop every record up to the
    /// old position.
    LogWentBack {
        offset: i64,
        rewinding: Rewinding,
    },
}

/// What a settlement led to.
#[derive(Debug, Default)]
pub(crate) struct Consequence {
    pub(crate) judged: Option<Judged>,
    /// The record comes again with its partition.
    pub(crate) rewinding: Option<Rewinding>,
}

pub(crate) struct Owned {
    settings: IngestSettings,
    partitions: BTreeMap<i32, Partition>,
    /// Number of the last ownership period of any partition.
    last_epoch: u64,
    /// Posts let in whose guard has not reported, whatever period they belong to.
    in_flight: usize,
    /// Partition whose record was let in last.
    last_served: i32,
    offer: Option<Offer>,
    revocation: Option<Revocation>,
    searches: Searches,
}

impl Owned {
    pub(crate) fn new(settings: &IngestSettings, stages: StageWatch, owner: Owner) -> Self {
        Self {
            settings: settings.clone(),
            partitions: BTreeMap::new(),
            last_epoch: 0,
            in_flight: 0,
            last_served: -1,
            offer: None,
            revocation: None,
            searches: Searches::new(settings, stages, owner),
        }
    }

    pub(crate) fn numbers(&self) -> Vec<i32> {
        self.partitions.keys().copied().collect()
    }

    pub(crate) fn count(&self) -> usize {
        self.partitions.len()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    fn next_epoch(&mut self) -> AssignmentEpoch {
        self.last_epoch += 1;
        AssignmentEpoch(self.last_epoch)
    }

    fn scene(&self, scene: Scene) -> Scene {
        Scene { of_worker: self.in_flight.max(scene.of_worker), ..scene }
    }

    fn is_leaving(&self, number: i32) -> bool {
        self.revocation.as_ref().is_some_and(|revocation| revocation.contains(number))
    }
}

/// Records that go in.
impl Owned {
    /// A round over the partitions; begins behind the one that was served last, so that scarce permits go round.
    pub(crate) fn begin_round(&mut self, scene: Scene) -> Vec<i32> {
        self.searches.begin_round(scene.is_tripped);
        let (served, waiting): (Vec<i32>, Vec<i32>) =
            self.partitions.keys().partition(|number| **number <= self.last_served);
        waiting.into_iter().chain(served).collect()
    }

    pub(crate) fn served(&mut self, number: i32) {
        self.last_served = number;
    }

    /// The partition, unless it is about to be given up or to be read again: whoever reads it next begins at the committed
    /// position.
    fn staying(&self, number: i32) -> Option<&Partition> {
        self.partitions.get(&number).filter(|owned| !self.is_leaving(number) && !owned.will_rewind())
    }

    /// Held records of a partition whose time has come, the one that waited longest first.
    pub(crate) fn held_due(&self, number: i32, now: Instant) -> Vec<i64> {
        self.staying(number).map_or_else(Vec::new, |owned| owned.held_due(now))
    }

    /// Whether records of the partition go in one by one.
    pub(crate) fn is_careful(&self, number: i32) -> bool {
        self.searches.careful(number).is_some()
    }

    /// The partition's next record should be in hand and is not.
    pub(crate) fn wants_record(&self, number: i32) -> bool {
        self.staying(number).is_some_and(Partition::wants_record)
    }

    pub(crate) fn take_in_hand(&mut self, number: i32, record: Record) {
        if let Some(owned) = self.partitions.get_mut(&number) {
            owned.take_in_hand(record);
        }
    }

    /// Nothing lies behind the last record now.
    pub(crate) fn end_of_log(&mut self, number: i32) {
        if let Some(owned) = self.partitions.get_mut(&number) {
            owned.end_of_log();
        }
    }

    /// The record in hand of a partition that has room for it.
    pub(crate) fn next_in_hand(&self, number: i32) -> Option<i64> {
        self.staying(number).filter(|owned| !owned.is_full(&self.settings))?.in_hand()
    }

    /// Bytes of a record that is held, or in hand; 0 of none.
    pub(crate) fn record_bytes(&self, (number, offset): Place, is_held: bool) -> usize {
        self.partitions
            .get(&number)
            .map_or(0, |owned| if is_held { owned.held_record_bytes(offset) } else { owned.bytes_in_hand() })
    }

    /// The partition's next record does not come to the door for now.
    pub(crate) fn withdraw(&mut self, number: i32) {
        self.searches.withdraw(number);
    }

    /// Takes the next record of a partition out of the way of those behind it, if it is to be tried: it may wait for that.
    /// Returns true if it did.
    pub(crate) fn lay_by(&mut self, number: i32, now: Instant) -> bool {
        let room = self.room_to_hold();
        let Some(owned) = self.partitions.get_mut(&number) else { return false };
        // Where records go in one by one, those behind it wait in any case.
        let may_wait = self.searches.careful(number).is_none()
            && owned.in_hand().is_some_and(|offset| self.searches.is_due((number, offset)));
        may_wait && owned.lay_by(room, now)
    }

    /// How a record may go in.
    pub(crate) fn ask(&mut self, place: Place, is_held: bool, scene: Scene) -> AtTheDoor {
        let scene = self.scene(scene);
        let Some(owned) = self.partitions.get(&place.0) else {
            return AtTheDoor { answer: Answer::Wait, is_gone_over: false };
        };
        let others = owned.pending() - usize::from(is_held);
        let was_careful = self.is_careful(place.0);
        let answer = self.searches.ask(place, others, scene);
        AtTheDoor { answer, is_gone_over: was_careful && !self.is_careful(place.0) }
    }

    /// Lets the record in hand in.
    pub(crate) fn admit(&mut self, number: i32, entry: Entry, scene: Scene) -> Option<Admitting> {
        match self.partitions.get_mut(&number)?.receive(scene.now)? {
            Received::Record(tag, held) => Some(Admitting::LetIn(self.let_in(tag, held, entry, scene))),
            Received::LogWentBack(offset) => {
                self.searches.log_went_back(number);
                let rewinding = self.plan_rewind(number, Some(offset), false, scene.now)?;
                Some(Admitting::LogWentBack { offset, rewinding })
            }
        }
    }

    /// Lets a record in again that is received already and held since.
    pub(crate) fn admit_held(&mut self, (number, offset): Place, entry: Entry, scene: Scene) -> Option<Admission> {
        let (tag, held) = self.partitions.get_mut(&number)?.take_held(number, offset)?;
        Some(self.let_in(tag, held, entry, scene))
    }

    fn let_in(&mut self, tag: DeliveryTag, held: Held, entry: Entry, scene: Scene) -> Admission {
        let scene = self.scene(scene);
        self.searches.let_in(tag, entry.run(), scene);
        self.in_flight += 1;
        let record = Arc::clone(&held.record);
        if let Some(owned) = self.partitions.get_mut(&tag.partition) {
            owned.let_in(tag.offset, held);
        }
        Admission { tag, record, entry }
    }
}

/// Records that are done with, or come again.
impl Owned {
    /// Takes what a guard reports. Of another period it only frees its place.
    pub(crate) fn settle(&mut self, settlement: Settlement, scene: Scene) -> Consequence {
        let Settlement { tag, outcome, cause } = settlement;
        self.in_flight = self.in_flight.saturating_sub(1);
        let seen = self.scene(scene);
        let judged = self.searches.left(tag, outcome, cause, seen);
        let settled = self.partitions.get_mut(&tag.partition).map(|owned| owned.settle(tag, outcome));
        let Some(Settled::ComesAgain(held)) = settled else { return Consequence { judged, rewinding: None } };
        // From here where its own work may be why, and else with its partition.
        let by_content = cause.is_by_content();
        let is_held = held.filter(|_| by_content).is_some_and(|held| self.hold(tag, held, scene.now));
        let rewinding = if is_held { None } else { self.plan_rewind(tag.partition, None, by_content, scene.now) };
        Consequence { judged, rewinding }
    }

    fn room_to_hold(&self) -> usize {
        MAX_HELD_BYTES.saturating_sub(self.partitions.values().map(Partition::held_bytes).sum())
    }

    /// Keeps an abandoned record to let it in again; false where there is no room for it.
    fn hold(&mut self, tag: DeliveryTag, mut held: Held, now: Instant) -> bool {
        let room = self.room_to_hold();
        held.times += 1;
        held.at = now + self.settings.rewind_backoff(held.times);
        self.partitions.get_mut(&tag.partition).is_some_and(|owned| owned.hold(tag.offset, held, room))
    }

    fn plan_rewind(&mut self, number: i32, target: Option<i64>, by_content: bool, now: Instant) -> Option<Rewinding> {
        let owned = self.partitions.get_mut(&number)?;
        Some(owned.plan_rewind(target, by_content, &self.settings, now))
    }

    /// Partitions whose seek back is due; those that are given up are read again by whoever is next.
    pub(crate) fn rewinds_due(&self, now: Instant) -> Vec<i32> {
        let is_due = |(number, owned): &(&i32, &Partition)| owned.is_rewind_due(now) && !self.is_leaving(**number);
        self.partitions.iter().filter(is_due).map(|(number, _)| *number).collect()
    }

    /// Where a seek back goes.
    pub(crate) fn rewind_target(&mut self, number: i32) -> Option<i64> {
        self.partitions.get_mut(&number)?.rewind_target()
    }

    /// The consumer reads from `position` again. Posts of the old period that are still in flight come again with the rest:
    /// their settlements are ignored by the epoch, their effects are idempotent.
    pub(crate) fn rewound(&mut self, number: i32, position: i64) -> AssignmentEpoch {
        let (epoch, limit) = (self.next_epoch(), self.settings.max_in_flight_per_partition);
        if let Some(owned) = self.partitions.get_mut(&number) {
            owned.start_period(number, epoch, limit, position);
        }
        self.searches.rewound(number, position);
        epoch
    }

    /// The seek back did not go through.
    pub(crate) fn postpone_rewind(&mut self, number: i32, now: Instant) {
        if let Some(owned) = self.partitions.get_mut(&number) {
            owned.postpone_rewind(&self.settings, now);
        }
    }

    /// Stages that are to be tried out now.
    pub(crate) fn stages_to_try_out(&mut self, now: Instant) -> Vec<Stage> {
        self.searches.stages_to_try_out(now)
    }

    /// Everything of the offset range is settled. A member that was offered no partition yet waits: the others may leave
    /// theirs to it.
    pub(crate) fn is_range_done(&self) -> bool {
        self.settings.offset_range.is_some()
            && !self.partitions.is_empty()
            && self.offer.is_none()
            && self.revocation.is_none()
            && self.in_flight == 0
            && self.partitions.values().all(Partition::is_done)
    }
}

/// Positions, and what there is to say.
impl Owned {
    /// What the broker should have of a partition and has not, as far as it was seen to take it; or what it should have in
    /// any case (`is_a_must`).
    pub(crate) fn position_to_commit(&self, number: i32, is_leaving: bool, is_a_must: bool) -> Option<Position> {
        let owned = self.partitions.get(&number)?;
        let position = owned.commit_position();
        let (offset, note, words) = self.searches.standing(number, position, is_leaving)?;
        let is_due = is_a_must || self.searches.is_news(number, position, is_leaving, &words);
        is_due.then(|| Position { partition: number, offset, note, words, epoch: owned.epoch() })
    }

    /// A note is so far behind that it should not wait for the next interval.
    pub(crate) fn is_note_pressing(&self) -> bool {
        self.searches.is_pressing()
    }

    /// The broker took it.
    pub(crate) fn acknowledged(&mut self, taken: Position) {
        let Position { partition, offset, note, words, epoch } = taken;
        if let Some(owned) = self.partitions.get_mut(&partition).filter(|owned| owned.epoch() == epoch) {
            owned.committed(offset);
            self.searches.acknowledged(partition, offset, note, words);
        }
    }

    /// The broker was asked for the end of a partition.
    pub(crate) fn ends_at(&mut self, number: i32, high: i64) {
        if let Some(owned) = self.partitions.get_mut(&number) {
            owned.ends_at(high);
        }
    }

    /// What there is to say of every partition; `marks` gives its low and high watermark as of the last fetch.
    pub(crate) fn snapshots(
        &mut self,
        marks: impl Fn(i32) -> Option<(i64, i64)>,
        now: Instant,
    ) -> Vec<PartitionSnapshot> {
        let (searches, revocation) = (&self.searches, &self.revocation);
        let snapshot = |(number, owned): (&i32, &mut Partition)| {
            let careful = searches.careful(*number);
            PartitionSnapshot {
                revoking: revocation.as_ref().is_some_and(|revocation| revocation.contains(*number)),
                careful_until: careful.map(|careful| careful.until),
                suspect: careful.and_then(|careful| careful.suspect),
                ..owned.snapshot(*number, marks(*number), now)
            }
        };
        self.partitions.iter_mut().map(snapshot).collect()
    }

    /// Records that ran into a deadline and are not done with.
    pub(crate) fn overdue_records(&self) -> usize {
        self.searches.overdue_records()
    }
}
