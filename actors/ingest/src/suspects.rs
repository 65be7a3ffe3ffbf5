//! Finds the record that ends the process (ADR 12). Pure: notes in, decisions out; who commits and waits is the
//! poll loop.
//!
//! Before anything of a partition is let in, its note says `open`; a goodbye makes it `clean`. Whoever takes a partition
//! over and finds it `open` by another process lets the records that can have been inside in one by one, each with a note
//! that says so first. The record that is found inside like this when the process has ended again is tried with nothing
//! else inside at all, and after [`MAX_ENDS`] it is not tried any more. One careful record at a time goes in over all
//! partitions, or the innocent one of another partition would be counted with the guilty one.

use std::collections::BTreeMap;

use jtav_delivery::{DeliveryTag, Outcome};

use crate::note::{Note, Owner};

/// Ends of the process with one record inside after which the record is set aside.
pub(crate) const MAX_ENDS: u32 = 3;

/// Records let in beyond what the note says before a new note is due.
const NOTE_AFTER: i64 = 32;

/// Records beyond the note's that can have been inside as well: those let in until a note that is due is taken, and some
/// more for an answer that takes its time. More than these only cost one end of the process more.
const BEYOND_NOTE: i64 = 64;

/// What may become of the next record of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// Let it in.
    Open,
    /// Do not work on it: the process has ended so often while it was inside.
    SetAside { ends: u32 },
    /// A note must be committed first.
    NoteFirst,
    /// Others must end first.
    Wait,
}

/// What is inside while a record waits at the door.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Inside {
    /// Unsettled records of its partition.
    pub(crate) of_partition: usize,
    /// Posts of the whole worker, earlier generations included.
    pub(crate) of_worker: usize,
}

/// How a partition is gone over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Careful {
    /// Records below this offset go in one by one.
    pub(crate) until: i64,
    /// The record under suspicion and the ends of the process that count against it.
    pub(crate) suspect: Option<(i64, u32)>,
}

#[derive(Debug, Default)]
struct State {
    /// What the broker has, as far as it has answered.
    acknowledged: Option<(i64, Note)>,
    /// The note is ours to write; before, what was found stands.
    ours: bool,
    careful_until: Option<i64>,
    /// Offset at which ends were counted, and how many.
    found: Option<(i64, u32)>,
    /// The careful record that is at the door or inside, with the number that its end would have.
    candidate: Option<(i64, u32)>,
    /// Offset after the last one that was let in.
    reach: i64,
    /// Position while the ledger knows none.
    base: Option<i64>,
    /// The broker's note says that this record is inside, and it is not (any more): the next end would be blamed on it.
    overstated: Option<i64>,
}

/// A careful record inside.
#[derive(Debug, Clone, Copy)]
struct Tried {
    tag: DeliveryTag,
    /// Nothing else may be inside.
    alone: bool,
}

/// All partitions of a worker.
#[derive(Debug)]
pub(crate) struct Suspects {
    owner: Owner,
    partitions: BTreeMap<i32, State>,
    tried: Option<Tried>,
    /// The partition whose careful record is next: two notes that each say so would both count at the end that one of
    /// the two records brings about.
    claim: Option<Claim>,
}

#[derive(Debug, Clone, Copy)]
struct Claim {
    partition: i32,
    /// The record gets the worker to itself.
    alone: bool,
}

impl Suspects {
    pub(crate) fn new(owner: Owner) -> Self {
        Self { owner, partitions: BTreeMap::new(), tried: None, claim: None }
    }

    /// Whether a partition with this note must be gone over; then [`Self::take_over`] wants to know its end.
    pub(crate) fn is_unclean(&self, note: Note) -> bool {
        match note {
            Note::Clean => false,
            Note::Open { owner, .. } => owner != self.owner,
            Note::Careful { .. } | Note::Suspect { .. } => true,
        }
    }

    /// Takes a partition over as it was found. Records at or above `high`, its end, came later than anything that can
    /// have ended the process.
    pub(crate) fn take_over(&mut self, partition: i32, found: Option<(i64, Note)>, high: Option<i64>) {
        let mut state = State { acknowledged: found, base: found.map(|(position, _)| position), ..State::default() };
        if let Some((position, note)) = found {
            state.reach = position;
            let (until, ends) = match note {
                Note::Clean => (position, 0),
                Note::Open { owner, until } if owner == self.owner => {
                    state.reach = until;
                    (position, 0)
                }
                Note::Open { until, .. } => (until.max(position).saturating_add(BEYOND_NOTE), 0),
                Note::Careful { until, ends } => (until, ends),
                // This process did not end: whatever took the partition away, it was not the record.
                Note::Suspect { owner, until, ends } if owner == self.owner => (until, ends.saturating_sub(1)),
                Note::Suspect { until, ends, .. } => (until, ends),
            };
            let is_own = |owner| owner == self.owner;
            if matches!(note, Note::Suspect { owner, .. } if is_own(owner)) {
                state.overstated = Some(position);
            }
            state.found = (ends > 0).then_some((position, ends));
            // The suspect itself is always gone over, whatever the end of the partition is said to be.
            let until = until.min(high.unwrap_or(i64::MAX)).max(if ends > 0 { position + 1 } else { position });
            state.careful_until = (until > position).then_some(until);
            // With nothing to go over, the dead owner's note has said all it can. Left standing while no record comes, it
            // would outlive our goodbye and put our successor's records under suspicion.
            let is_spent = note != Note::Clean && state.careful_until.is_none();
            state.ours =
                is_spent || matches!(note, Note::Open { owner, .. } | Note::Suspect { owner, .. } if is_own(owner));
        }
        self.partitions.insert(partition, state);
    }

    /// The partition is not ours any more. A record of it may still be inside: it stays the one that is tried.
    pub(crate) fn give_up(&mut self, partition: i32) {
        self.partitions.remove(&partition);
        self.give_up_claim(partition);
    }

    /// The partition's next record does not come to the door for now. One whose note may be out already keeps its claim.
    pub(crate) fn withdraw(&mut self, partition: i32) {
        if self.partitions.get(&partition).is_none_or(|state| state.candidate.is_none()) {
            self.give_up_claim(partition);
        }
    }

    fn give_up_claim(&mut self, partition: i32) {
        self.claim = self.claim.filter(|claim| claim.partition != partition);
    }

    fn is_claimed_by_other(&self, partition: i32, alone_only: bool) -> bool {
        self.claim.is_some_and(|claim| claim.partition != partition && (claim.alone || !alone_only))
    }

    /// The partition is read again from `position`, in the same ownership.
    pub(crate) fn rewound(&mut self, partition: i32, position: i64) {
        self.give_up_claim(partition);
        let Some(state) = self.partitions.get_mut(&partition) else { return };
        state.candidate = None;
        if state.acknowledged.is_some_and(|(acknowledged, _)| position < acknowledged) {
            state.start_anew(position);
        }
        state.base = Some(position);
    }

    /// Decides about the next record of a partition.
    pub(crate) fn door(&mut self, partition: i32, offset: i64, inside: Inside) -> Door {
        if self.is_claimed_by_other(partition, true) || self.tried.is_some_and(|tried| tried.alone) {
            return Door::Wait;
        }
        if self.partitions.iter().any(|(other, state)| *other != partition && state.overstated.is_some()) {
            return Door::NoteFirst;
        }
        let owner = self.owner;
        let Some(state) = self.partitions.get_mut(&partition) else { return Door::Wait };
        if state.candidate.is_none() && state.acknowledged.is_some_and(|(position, _)| offset < position) {
            state.start_anew(offset);
        }
        if state.careful_until.is_some_and(|until| offset < until) {
            return self.careful_door(partition, offset, inside);
        }
        state.careful_until = None;
        state.candidate = None;
        if matches!(state.acknowledged, Some((_, Note::Open { owner: noted, .. })) if noted == owner) {
            return Door::Open;
        }
        state.ours = true;
        state.base.get_or_insert(offset);
        state.reach = state.reach.max(offset);
        Door::NoteFirst
    }

    fn careful_door(&mut self, partition: i32, offset: i64, inside: Inside) -> Door {
        let is_claimed = self.is_claimed_by_other(partition, false);
        let Some(state) = self.partitions.get_mut(&partition) else { return Door::Wait };
        let ends = state.ends_of(offset);
        if ends >= MAX_ENDS {
            return Door::SetAside { ends };
        }
        // Its note is committed at its own offset: everything before it must be settled.
        if inside.of_partition > 0 || self.tried.is_some() || is_claimed {
            return Door::Wait;
        }
        self.claim = Some(Claim { partition, alone: ends > 0 });
        if ends > 0 && inside.of_worker > 0 {
            return Door::Wait;
        }
        state.ours = true;
        state.candidate = Some((offset, ends + 1));
        if state.acknowledged != state.wanted(self.owner, None, false) {
            return Door::NoteFirst;
        }
        state.overstated = None;
        Door::Open
    }

    /// The record was let in.
    pub(crate) fn let_in(&mut self, tag: DeliveryTag) {
        let Some(state) = self.partitions.get_mut(&tag.partition) else { return };
        state.ours = true;
        state.reach = state.reach.max(tag.offset + 1);
        if let Some((offset, ends)) = state.candidate
            && offset == tag.offset
        {
            self.tried = Some(Tried { tag, alone: ends > 1 });
        }
        self.give_up_claim(tag.partition);
    }

    /// A record that was inside is not any more, of whatever period.
    pub(crate) fn settled(&mut self, tag: DeliveryTag, outcome: Outcome) {
        let was_tried = self.tried.is_some_and(|tried| tried.tag == tag);
        if was_tried {
            self.tried = None;
        }
        let Some(state) = self.partitions.get_mut(&tag.partition) else { return };
        if was_tried && state.candidate.is_some_and(|(offset, _)| offset == tag.offset) {
            state.candidate = None;
            state.overstated = Some(tag.offset);
        }
        if outcome.is_settled() {
            state.found = state.found.filter(|(offset, _)| *offset != tag.offset);
            // They go in one by one, so the last one's end is the end of it.
            state.careful_until = state.careful_until.filter(|until| tag.offset + 1 < *until);
        }
    }

    /// Position and note that the broker should have and has not, where `position` is the ledger's.
    pub(crate) fn due(&self, partition: i32, position: Option<i64>, goodbye: bool) -> Option<(i64, Note)> {
        let state = self.partitions.get(&partition)?;
        self.standing(partition, position, goodbye).filter(|wanted| state.acknowledged != Some(*wanted))
    }

    /// The same whether the broker has it or not; none while the note is not ours to write.
    pub(crate) fn standing(&self, partition: i32, position: Option<i64>, goodbye: bool) -> Option<(i64, Note)> {
        let state = self.partitions.get(&partition).filter(|state| state.ours)?;
        state.wanted(self.owner, position, goodbye)
    }

    /// Whether a record of another partition is about to get the worker to itself, or has it; or is next where records go
    /// in one by one, as they do in this partition. Who took the worker then would wait for that record, which would wait
    /// for the worker.
    pub(crate) fn needs_the_worker(&self, partition: i32) -> bool {
        let alone_only = self.careful(partition).is_none();
        self.is_claimed_by_other(partition, alone_only) || self.tried.is_some_and(|tried| tried.alone)
    }

    /// The broker took it.
    pub(crate) fn acknowledged(&mut self, partition: i32, position: i64, note: Note) {
        if let Some(state) = self.partitions.get_mut(&partition) {
            state.acknowledged = Some((position, note));
            let is_suspect = matches!(note, Note::Suspect { .. });
            state.overstated = state.overstated.filter(|offset| is_suspect && *offset == position);
        }
    }

    /// A note is so far behind that it should not wait for the next interval.
    pub(crate) fn is_pressing(&self) -> bool {
        self.partitions.values().any(|state| {
            let is_behind = match state.acknowledged {
                Some((_, Note::Open { until, .. })) => state.ours && state.reach - until >= NOTE_AFTER,
                _ => false,
            };
            is_behind || state.overstated.is_some()
        })
    }

    /// How the partition is gone over, if it is.
    pub(crate) fn careful(&self, partition: i32) -> Option<Careful> {
        let state = self.partitions.get(&partition)?;
        Some(Careful { until: state.careful_until?, suspect: state.candidate.or(state.found) })
    }
}

impl State {
    fn ends_of(&self, offset: i64) -> u32 {
        self.found.filter(|(found, _)| *found == offset).map_or(0, |(_, ends)| ends)
    }

    /// The log goes back below what was committed: the topic was made anew, and nothing that is known holds.
    fn start_anew(&mut self, offset: i64) {
        *self = Self { base: Some(offset), reach: offset, ours: self.ours, ..Self::default() };
    }

    /// Position and note as they should stand. The position never goes back.
    fn wanted(&self, owner: Owner, position: Option<i64>, goodbye: bool) -> Option<(i64, Note)> {
        let acknowledged = self.acknowledged.map(|(position, _)| position);
        let known = self.candidate.map(|(offset, _)| offset).or(position).or(self.base)?;
        let position = acknowledged.map_or(known, |acknowledged| acknowledged.max(known));
        let note = match (self.candidate, self.careful_until) {
            (Some((_, ends)), Some(until)) if !goodbye => Note::Suspect { owner, until, ends },
            (_, Some(until)) if position < until => Note::Careful { until, ends: self.ends_of(position) },
            _ if goodbye => Note::Clean,
            _ => Note::Open { owner, until: self.reach.max(position) },
        };
        Some((position, note))
    }
}

#[cfg(test)]
#[path = "suspects_tests.rs"]
mod tests;
