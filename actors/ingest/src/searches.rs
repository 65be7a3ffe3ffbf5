//! The two searches for records that do harm, asked as one: for the record that ends the process, and for the one that
//! hangs by its own content. Pure but for what it sees of the stages; told the time.

use std::time::{Duration, Instant};

use jtav_delivery::{AbandonCause, DeliveryTag, Hang, Outcome};
use jtav_kafka::CommittedPosition;
use jtav_pipeline::{Run, Stage};
use jtav_telemetry::TrialFinding;

use crate::case::{Around, Place, Scene};
use crate::note::{Note, Owner};
use crate::overdue::{Overdue, Terms, Way};
use crate::params::{IngestSettings, StageWatch};
use crate::suspects::{Careful, Door, Inside, Suspects};

/// Times that a stage is tried out in the time of a trial.
const TRIED_OUT_PER_TRIAL: u32 = 5;

/// How a record goes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
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

    /// How its post is to be run.
    pub(crate) fn run(self) -> Run {
        match self {
            Entry::Read(run) => run,
            Entry::Hung { stage, deadlines } => Run::SetAside { stage, deadlines },
            Entry::Crashed { .. } => Run::Ordinary,
        }
    }
}

/// What the searches say of a record that would go in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Enter(Entry),
    /// A note must be committed first.
    NoteFirst,
    Wait,
}

/// What a record that is not inside any more means for the search for those that hang.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Judged {
    /// Where it hung, if it did, and its deadlines so far.
    pub(crate) hang: Option<(Hang, u32)>,
    /// What its trial came to, if it was tried, and whether it was alone.
    pub(crate) finding: Option<(TrialFinding, bool)>,
}

pub(crate) struct Searches {
    stages: StageWatch,
    trial: Duration,
    suspects: Suspects,
    overdue: Overdue,
    /// When stages were last tried out.
    tried_out: Option<Instant>,
}

impl Searches {
    pub(crate) fn new(settings: &IngestSettings, stages: StageWatch, owner: Owner) -> Self {
        let trial = settings.trial_deadline;
        let overdue = Overdue::new(Terms { max_deadlines: settings.max_deadlines, trial });
        Self { stages, trial, suspects: Suspects::new(owner), overdue, tried_out: None }
    }

    fn around(&self, number: i32, scene: Scene) -> Around {
        Around {
            now: scene.now,
            passes: self.stages.flow.passes(),
            of_worker: scene.of_worker,
            is_quiet: (self.stages.is_quiet)(),
            is_tripped: scene.is_tripped,
            is_taken: self.suspects.needs_the_worker(number),
        }
    }

    /// A round over the doors begins.
    pub(crate) fn begin_round(&mut self, is_tripped: bool) {
        self.overdue.begin_round(is_tripped);
    }

    /// How a record may go in, beside `pending` unsettled ones of its partition.
    pub(crate) fn ask(&mut self, (number, offset): Place, pending: usize, scene: Scene) -> Answer {
        let way = self.way((number, offset), scene);
        if way == Way::Wait {
            self.suspects.withdraw(number);
            return Answer::Wait;
        }
        let inside = Inside { of_partition: pending, of_worker: scene.of_worker };
        match self.suspects.door(number, offset, inside) {
            Door::Open => Answer::Enter(Entry::of(way)),
            Door::SetAside { ends } => Answer::Enter(Entry::Crashed { ends }),
            Door::NoteFirst => Answer::NoteFirst,
            Door::Wait => Answer::Wait,
        }
    }

    fn way(&mut self, place: Place, scene: Scene) -> Way {
        if self.overdue.is_idle() {
            return Way::Open;
        }
        let around = self.around(place.0, scene);
        self.overdue.door(place, &around)
    }

    /// The partition's next record does not come to the door for now.
    pub(crate) fn withdraw(&mut self, number: i32) {
        self.suspects.withdraw(number);
    }

    /// The record was let in.
    pub(crate) fn let_in(&mut self, tag: DeliveryTag, run: Run, scene: Scene) {
        self.suspects.let_in(tag);
        if run == Run::Trial {
            let around = self.around(tag.partition, scene);
            self.overdue.let_in(tag, &around);
        }
    }

    /// A record that was inside is not any more, of whatever period.
    pub(crate) fn left(
        &mut self,
        tag: DeliveryTag,
        outcome: Outcome,
        cause: AbandonCause,
        scene: Scene,
    ) -> Option<Judged> {
        let judged = self.judge(tag, outcome, cause, scene);
        self.suspects.settled(tag, outcome);
        judged
    }

    fn judge(&mut self, tag: DeliveryTag, outcome: Outcome, cause: AbandonCause, scene: Scene) -> Option<Judged> {
        if self.overdue.is_idle() && cause.hang().is_none() {
            return None;
        }
        let around = self.around(tag.partition, scene);
        let finding = self.overdue.left(tag, outcome, cause, &around);
        let hang = cause.hang().map(|hang| (hang, self.overdue.deadlines((tag.partition, tag.offset))));
        Some(Judged { hang, finding })
    }

    /// Whether a record is to be tried or set aside, and may have to wait for that.
    pub(crate) fn is_due(&self, place: Place) -> bool {
        self.overdue.is_due(place)
    }

    /// Stages that are to be tried out now: records hang there that are to be judged, and others may be long in coming.
    pub(crate) fn stages_to_try_out(&mut self, now: Instant) -> Vec<Stage> {
        let every = self.trial / TRIED_OUT_PER_TRIAL;
        let was_lately = self.tried_out.is_some_and(|last| now.saturating_duration_since(last) < every);
        if self.overdue.is_idle() || was_lately {
            return Vec::new();
        }
        self.tried_out = Some(now);
        self.overdue.stages_in_question().into_iter().collect()
    }

    /// Whether the last owner of a partition did not say goodbye; then [`Self::take_over`] wants to know its end.
    pub(crate) fn is_unclean(&self, found: &CommittedPosition) -> bool {
        found.offset.is_some() && self.suspects.is_unclean(Note::read(&found.metadata))
    }

    /// Takes a partition over as it was found, with its end as far as that is known.
    pub(crate) fn take_over(&mut self, found: &CommittedPosition, high: Option<i64>, scene: Scene) {
        let number = found.partition;
        let around = self.around(number, scene);
        self.overdue.take_over(number, found.offset.unwrap_or(0), &found.metadata, &around);
        let note = found.offset.map(|offset| (offset, Note::read(&found.metadata)));
        self.suspects.take_over(number, note, high);
    }

    /// The partition is not ours any more.
    pub(crate) fn give_up(&mut self, number: i32) {
        self.suspects.give_up(number);
        self.overdue.give_up(number);
    }

    /// The offsets of a partition mean other records now.
    pub(crate) fn log_went_back(&mut self, number: i32) {
        self.overdue.give_up(number);
    }

    /// The partition is read again from `position`, in the same ownership.
    pub(crate) fn rewound(&mut self, number: i32, position: i64) {
        self.suspects.rewound(number, position);
    }

    /// How the partition is gone over, if it is.
    pub(crate) fn careful(&self, number: i32) -> Option<Careful> {
        self.suspects.careful(number)
    }

    /// Offset, note and words that the broker should have of a partition, where `position` is the ledger's; none while its
    /// note is not ours to write.
    pub(crate) fn standing(&self, number: i32, position: Option<i64>, is_leaving: bool) -> Option<(i64, Note, String)> {
        let (offset, note) = self.suspects.standing(number, position, is_leaving)?;
        Some((offset, note, self.overdue.words(number, offset)))
    }

    /// Whether the broker has something else than these words, or another offset or note.
    pub(crate) fn is_news(&self, number: i32, position: Option<i64>, is_leaving: bool, words: &str) -> bool {
        self.suspects.due(number, position, is_leaving).is_some() || self.overdue.is_news(number, words)
    }

    /// A note is so far behind that it should not wait for the next interval.
    pub(crate) fn is_pressing(&self) -> bool {
        self.suspects.is_pressing()
    }

    /// The broker took it.
    pub(crate) fn acknowledged(&mut self, number: i32, position: i64, note: Note, words: String) {
        self.suspects.acknowledged(number, position, note);
        self.overdue.acknowledged(number, words);
    }

    /// Records that ran into a deadline and are not done with.
    pub(crate) fn overdue_records(&self) -> usize {
        self.overdue.len()
    }
}
