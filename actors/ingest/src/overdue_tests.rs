//! Posts that hang among posts that do not, in a world where stages fail, processes end and partitions change hands.

use std::collections::{BTreeSet, VecDeque};
use std::time::Instant;

use jtav_delivery::{AssignmentEpoch, PartitionLedger, SettleEffect};
use jtav_schemas::DeadLetterReason;
use proptest::prelude::*;

use super::*;

const PARTITIONS: i32 = 2;
const PER_PARTITION: i64 = 10;
/// A feed that never ends, of posts that pass: what shows that a stage is well.
const TRAFFIC: i32 = 9;
const ROOM: usize = 6;
const TERMS: Terms = Terms { max_deadlines: 2, trial: Duration::from_secs(10) };
const STAGES: [Stage; 2] = [Stage::TextEncoder, Stage::ImageEncoder];
/// One that entered a stage so much later and passed has overtaken.
const MARGIN: Duration = Duration::from_secs(5);
/// A device goes on so long with the work of a post that was given up.
const LEFT_OVER: Duration = Duration::from_secs(20);

/// What a post does in the stage that it goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Passes,
    Hangs,
    /// Takes the device with it: nobody passes the stage meanwhile.
    Blocks,
}

#[derive(Debug, Clone)]
enum Step {
    Door(i32),
    Finish(usize),
    Deadline(usize),
    Commit,
    /// The process ends.
    End,
    /// The session is lost and the same process comes back.
    Lost,
    /// The breaker opens or closes.
    Trip,
    /// The stages are tried out.
    TryOut,
    Tick(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => (0..=PARTITIONS).prop_map(|partition| Step::Door(if partition == PARTITIONS { TRAFFIC } else { partition })),
        8 => any::<usize>().prop_map(Step::Finish),
        6 => any::<usize>().prop_map(Step::Deadline),
        3 => Just(Step::Commit),
        1 => Just(Step::End),
        1 => Just(Step::Lost),
        1 => Just(Step::Trip),
        2 => Just(Step::TryOut),
        6 => (1u64..8).prop_map(Step::Tick),
    ];
    prop::collection::vec(step, 1..300)
}

#[derive(Debug, Clone, Copy)]
struct Inside {
    tag: DeliveryTag,
    way: Way,
    entered: Instant,
}

struct Owned {
    ledger: PartitionLedger,
    next: i64,
    held: VecDeque<i64>,
}

struct World {
    kinds: BTreeMap<Place, Kind>,
    broker: BTreeMap<i32, (i64, String)>,
    done: BTreeSet<Place>,
    set_aside: BTreeSet<Place>,
    runs: BTreeMap<Place, u32>,
    now: Instant,
    passes: StagePasses,
    /// Of those that passed a stage, when the one that entered last had entered.
    latest: BTreeMap<Stage, Instant>,
    down: BTreeSet<Stage>,
    busy_until: BTreeMap<Stage, Instant>,
    is_tripped: bool,
    epoch: u64,
    overdue: Overdue,
    owned: BTreeMap<i32, Owned>,
    inside: Vec<Inside>,
}

impl World {
    fn new(kinds: BTreeMap<Place, Kind>) -> Self {
        let mut world = Self {
            kinds,
            broker: BTreeMap::new(),
            done: BTreeSet::new(),
            set_aside: BTreeSet::new(),
            runs: BTreeMap::new(),
            now: Instant::now(),
            passes: StagePasses::default(),
            latest: BTreeMap::new(),
            down: BTreeSet::new(),
            busy_until: BTreeMap::new(),
            is_tripped: false,
            epoch: 0,
            overdue: Overdue::new(TERMS),
            owned: BTreeMap::new(),
            inside: Vec::new(),
        };
        world.take_over();
        world
    }

    fn take_over(&mut self) {
        for partition in (0..PARTITIONS).chain([TRAFFIC]) {
            let (next, text) = self.broker.get(&partition).cloned().unwrap_or_default();
            self.overdue.take_over(partition, next, &format!("jtav1 clean {text}"), &self.around());
            self.epoch += 1;
            let ledger = PartitionLedger::new(partition, AssignmentEpoch(self.epoch), ROOM);
            self.owned.insert(partition, Owned { ledger, next, held: VecDeque::new() });
        }
    }

    fn kind(&self, place: Place) -> Kind {
        self.kinds.get(&place).copied().unwrap_or(Kind::Passes)
    }

    fn stage(place: Place) -> Stage {
        STAGES[(place.1 % 2) as usize]
    }

    fn around(&self) -> Around {
        Around {
            now: self.now,
            passes: self.passes,
            of_worker: self.inside.len(),
            is_quiet: self.busy_until.values().all(|until| *until <= self.now),
            is_tripped: self.is_tripped,
            is_taken: false,
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Door(partition) => {
                self.overdue.begin_round(self.is_tripped);
                self.door(*partition);
            }
            Step::Finish(index) => self.finish_one(*index),
            Step::Deadline(index) => self.deadline(*index),
            Step::Commit => self.commit(),
            Step::End => {
                self.overdue = Overdue::new(TERMS);
                self.inside.clear();
                self.busy_until.clear();
                self.passes = StagePasses::default();
                self.latest.clear();
                self.take_over();
            }
            Step::Lost => {
                (0..PARTITIONS).chain([TRAFFIC]).for_each(|number| self.overdue.give_up(number));
                self.take_over();
            }
            Step::Trip => self.is_tripped = !self.is_tripped,
            Step::TryOut => self.try_out(),
            Step::Tick(seconds) => self.now += Duration::from_secs(*seconds),
        }
    }

    /// As the poll loop does it: what is held comes first, and what is to be tried steps aside.
    fn door(&mut self, partition: i32) {
        let owned = self.owned.get_mut(&partition).unwrap();
        for offset in owned.held.clone() {
            let way = self.overdue.door((partition, offset), &self.around());
            if way != Way::Wait {
                let owned = self.owned.get_mut(&partition).unwrap();
                owned.held.retain(|held| *held != offset);
                let tag = DeliveryTag { partition, offset, epoch: owned.ledger.epoch() };
                return self.let_in(tag, way);
            }
        }
        let owned = self.owned.get_mut(&partition).unwrap();
        let offset = owned.next;
        if !owned.ledger.has_room() || (partition != TRAFFIC && offset >= PER_PARTITION) {
            return;
        }
        if self.overdue.is_due((partition, offset)) {
            owned.ledger.receive(offset).unwrap();
            owned.next += 1;
            return owned.held.push_back(offset);
        }
        let way = self.overdue.door((partition, offset), &self.around());
        if way == Way::Wait {
            return;
        }
        let owned = self.owned.get_mut(&partition).unwrap();
        let tag = owned.ledger.receive(offset).unwrap();
        owned.next += 1;
        self.let_in(tag, way);
    }

    fn let_in(&mut self, tag: DeliveryTag, way: Way) {
        let place = (tag.partition, tag.offset);
        if way == Way::Trial {
            self.overdue.let_in(tag, &self.around());
        }
        if let Way::SetAside { stage, deadlines } = way {
            assert_ne!(self.kind(place), Kind::Passes, "{place:?} is innocent");
            assert_eq!(stage, Self::stage(place));
            assert!(deadlines > TERMS.max_deadlines, "{place:?} after {deadlines}");
        } else {
            *self.runs.entry(place).or_default() += 1;
        }
        self.inside.push(Inside { tag, way, entered: self.now });
    }

    fn is_up(&self, stage: Stage) -> bool {
        let blocks = |inside: &Inside| {
            let place = (inside.tag.partition, inside.tag.offset);
            !matches!(inside.way, Way::SetAside { .. })
                && Self::stage(place) == stage
                && self.kind(place) == Kind::Blocks
        };
        !self.down.contains(&stage)
            && self.busy_until.get(&stage).is_none_or(|until| *until <= self.now)
            && !self.inside.iter().any(blocks)
    }

    /// Whether one that is inside can only wait for its deadline.
    fn is_stuck(&self, inside: &Inside) -> bool {
        let place = (inside.tag.partition, inside.tag.offset);
        !matches!(inside.way, Way::SetAside { .. })
            && (self.kind(place) != Kind::Passes || !self.is_up(Self::stage(place)))
    }

    fn try_out(&mut self) {
        for stage in self.overdue.stages_in_question() {
            if self.is_up(stage) {
                self.passes = self.passes.and_one(stage);
            }
        }
    }

    /// A stage lets the one through that entered first.
    fn finish_one(&mut self, index: usize) {
        let can: Vec<usize> = (0..self.inside.len()).filter(|at| !self.is_stuck(&self.inside[*at])).collect();
        if can.is_empty() {
            return;
        }
        let place = |inside: &Inside| (inside.tag.partition, inside.tag.offset);
        let stage = Self::stage(place(&self.inside[can[index % can.len()]]));
        let first = can.into_iter().find(|at| Self::stage(place(&self.inside[*at])) == stage).unwrap();
        let Inside { tag, way, entered } = self.inside.remove(first);
        let place = (tag.partition, tag.offset);
        let outcome = match way {
            Way::SetAside { .. } => {
                self.set_aside.insert(place);
                Outcome::DeadLettered(DeadLetterReason::DeadlineExceeded)
            }
            _ => {
                self.passes = self.passes.and_one(stage);
                let latest = self.latest.entry(stage).or_insert(entered);
                *latest = entered.max(*latest);
                Outcome::Published
            }
        };
        self.done.insert(place);
        self.settle(tag, outcome, AbandonCause::NotTheRecord);
    }

    fn deadline(&mut self, index: usize) {
        let stuck: Vec<usize> = (0..self.inside.len()).filter(|at| self.is_stuck(&self.inside[*at])).collect();
        if stuck.is_empty() {
            return;
        }
        let Inside { tag, entered, .. } = self.inside.remove(stuck[index % stuck.len()]);
        let place = (tag.partition, tag.offset);
        let stage = Self::stage(place);
        if self.kind(place) == Kind::Blocks {
            self.busy_until.insert(stage, self.now + LEFT_OVER);
        }
        let was_overtaken = self.latest.get(&stage).is_some_and(|latest| *latest >= entered + MARGIN);
        self.settle(tag, Outcome::Abandoned, AbandonCause::Hung(Hang { stage, was_overtaken }));
    }

    fn settle(&mut self, tag: DeliveryTag, outcome: Outcome, cause: AbandonCause) {
        let around = self.around();
        self.overdue.left(tag, outcome, cause, &around);
        let owned = self.owned.get_mut(&tag.partition).unwrap();
        if owned.ledger.settle(tag, outcome) == SettleEffect::Abandoned {
            owned.held.push_back(tag.offset);
        }
    }

    fn commit(&mut self) {
        for (partition, owned) in &self.owned {
            let committed = self.broker.get(partition).map_or(0, |(position, _)| *position);
            let position = owned.ledger.commit_position().unwrap_or(committed).max(committed);
            for offset in committed..position {
                assert!(self.done.contains(&(*partition, offset)), "{partition}: {position} passes {offset}");
            }
            let words = self.overdue.words(*partition, position);
            self.broker.insert(*partition, (position, words.clone()));
            self.overdue.acknowledged(*partition, words.clone());
            assert!(!self.overdue.is_news(*partition, &words));
        }
    }

    /// Nothing goes wrong any more but what the posts do. Gives false if it takes too long.
    fn finish(&mut self, has_traffic: bool) -> bool {
        (self.is_tripped, self.down) = (false, BTreeSet::new());
        self.runs.clear();
        for _ in 0..3_000 {
            self.commit();
            let is_through = |partition| self.broker[&partition].0 == PER_PARTITION;
            if (0..PARTITIONS).all(is_through) {
                return true;
            }
            self.overdue.begin_round(false);
            // More than one: posts of each stage are among them.
            let traffic = if has_traffic { &[TRAFFIC, TRAFFIC][..] } else { &[] };
            for partition in (0..PARTITIONS).chain(traffic.iter().copied()) {
                self.door(partition);
            }
            self.try_out();
            self.now += Duration::from_secs(1);
            while self.inside.iter().any(|inside| !self.is_stuck(inside)) {
                self.finish_one(0);
            }
            let is_over = |inside: &Inside| {
                let time = if inside.way == Way::Trial { TERMS.trial } else { 3 * TERMS.trial };
                self.is_stuck(inside) && inside.entered + time <= self.now
            };
            let stuck: Vec<usize> = (0..self.inside.len()).filter(|at| self.is_stuck(&self.inside[*at])).collect();
            if let Some(index) = stuck.iter().position(|at| is_over(&self.inside[*at])) {
                self.deadline(index);
            }
        }
        false
    }
}

fn kinds(hanging: &[Kind]) -> impl Strategy<Value = BTreeMap<Place, Kind>> + use<> {
    let kind = prop::sample::select(hanging.to_vec());
    prop::collection::btree_map((0..PARTITIONS, 0..PER_PARTITION), kind, 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, ..ProptestConfig::default() })]
    #[test]
    fn posts_that_hang_are_set_aside_after_bounded_work_and_everybody_else_gets_through(
        kinds in kinds(&[Kind::Hangs, Kind::Blocks]), steps in steps(), has_traffic in any::<bool>(),
    ) {
        let mut world = World::new(kinds.clone());
        for step in &steps {
            world.step(step);
        }
        prop_assert!(world.finish(has_traffic), "{:?} of {:?}", world.set_aside, kinds);
        for (place, runs) in &world.runs {
            // Two deadlines, a trial beside others, one alone; and once more for each that takes the device with it.
            prop_assert!(*runs <= TERMS.max_deadlines + 4 + 2 * kinds.len() as u32, "{:?} ran {} times", place, runs);
        }
        for place in kinds.keys() {
            prop_assert!(world.set_aside.contains(place), "{:?} is still at large", place);
        }
    }

    #[test]
    fn a_stage_that_fails_for_everybody_sets_nobody_aside(
        steps in steps(), from in 0_usize..300, length in 1_usize..300, stages in 1_usize..=2,
    ) {
        let mut world = World::new(BTreeMap::new());
        for (number, step) in steps.iter().enumerate() {
            let is_down = (from..from + length).contains(&number);
            world.down = STAGES[..stages].iter().copied().filter(|_| is_down).collect();
            world.step(step);
        }
        // `let_in` would have said so.
        prop_assert!(world.finish(true));
        prop_assert_eq!(world.set_aside, BTreeSet::new());
    }

    #[test]
    fn words_read_as_they_were_written(offsets in prop::collection::btree_map(0_i64..i64::MAX, 1_u32.., 0..40)) {
        let mut overdue = Overdue::new(TERMS);
        for (offset, deadlines) in &offsets {
            overdue.cases.insert((3, *offset), Case::new(*deadlines, StagePasses::default(), Instant::now()));
        }
        let words = overdue.words(3, 0);
        prop_assert!(words.len() < 1_024, "{}", words);
        let expected: Vec<(i64, u32)> = offsets.into_iter().take(MAX_NOTED).collect();
        prop_assert_eq!(read(&format!("jtav1 open 1 2 {words}")), expected);
    }

    #[test]
    fn whatever_else_stands_there_is_read_without_a_panic(text in "(jtav1 )?(late=)?[ a-z0-9:,=-]{0,40}") {
        let _ = read(&text);
    }
}

fn tag(offset: i64) -> DeliveryTag {
    DeliveryTag { partition: 0, offset, epoch: AssignmentEpoch(1) }
}

fn around(now: Instant, passes: StagePasses) -> Around {
    Around { now, passes, of_worker: 0, is_quiet: true, is_tripped: false, is_taken: false }
}

const STAGE: Stage = Stage::ImageEncoder;

fn hung(was_overtaken: bool) -> AbandonCause {
    AbandonCause::Hung(Hang { stage: STAGE, was_overtaken })
}

/// Two deadlines, so that the record is due for a trial.
fn with_two_deadlines(was_overtaken: bool, around: &Around) -> Overdue {
    let mut overdue = Overdue::new(TERMS);
    for _ in 0..2 {
        assert_eq!(overdue.door((0, 1), around), Way::Open);
        overdue.left(tag(1), Outcome::Abandoned, hung(was_overtaken), around);
    }
    overdue
}

#[test]
fn one_that_was_overtaken_is_tried_beside_others_and_guilty_if_it_is_again() {
    let around = around(Instant::now(), StagePasses::default());
    let mut overdue = with_two_deadlines(true, &Around { of_worker: 40, ..around });
    let busy = Around { of_worker: 40, is_quiet: false, ..around };
    assert_eq!(overdue.door((0, 1), &busy), Way::Trial);
    overdue.let_in(tag(1), &busy);
    assert_eq!(overdue.door((0, 2), &busy), Way::Open, "nobody waits for it");
    assert_eq!(overdue.left(tag(1), Outcome::Abandoned, hung(true), &busy), Some((TrialFinding::Guilty, false)));
    assert_eq!(overdue.door((0, 1), &busy), Way::SetAside { stage: STAGE, deadlines: 3 });
}

#[test]
fn one_that_was_not_overtaken_has_the_worker_to_itself_and_others_must_pass_before_and_soon_after() {
    let now = Instant::now();
    let first = around(now, StagePasses::default());
    let mut overdue = with_two_deadlines(false, &first);
    let passed = around(now, first.passes.and_one(STAGE));
    let busy = Around { of_worker: 1, ..passed };
    assert_eq!(overdue.door((0, 1), &busy), Way::Wait, "another one is inside");
    assert_eq!(overdue.door((0, 2), &busy), Way::Wait, "and no further one goes in");
    assert_eq!(overdue.door((0, 1), &Around { is_quiet: false, ..passed }), Way::Wait, "a device is at work");
    assert_eq!(overdue.door((0, 1), &passed), Way::Trial);
    overdue.let_in(tag(1), &passed);
    assert_eq!(overdue.door((0, 2), &busy), Way::Wait);
    assert_eq!(overdue.left(tag(1), Outcome::Abandoned, hung(false), &passed), Some((TrialFinding::HungAlone, true)));
    assert_eq!(overdue.door((0, 1), &passed), Way::Wait, "nobody has passed since");
    assert_eq!(overdue.door((0, 2), &passed), Way::Open);
    let elsewhere = Around { passes: passed.passes.and_one(Stage::TextEncoder), ..passed };
    assert_eq!(overdue.door((0, 1), &elsewhere), Way::Wait, "another stage says nothing of this one");
    let after = Around { passes: passed.passes.and_one(STAGE), ..passed };
    let mut late = Overdue { cases: overdue.cases.clone(), ..Overdue::new(TERMS) };
    assert_eq!(overdue.door((0, 1), &after), Way::SetAside { stage: STAGE, deadlines: 3 });
    // Had nobody passed in time, the trial would say nothing.
    let too_late = Around { now: now + SOON * TERMS.trial, ..passed };
    assert_eq!(late.door((0, 1), &too_late), Way::Trial);
}

#[test]
fn a_trial_alone_after_which_nobody_can_say_whether_others_pass_is_repeated_after_a_rest() {
    let now = Instant::now();
    let nobody = around(now, StagePasses::default());
    let mut overdue = with_two_deadlines(false, &nobody);
    assert_eq!(overdue.door((0, 1), &nobody), Way::Wait, "somebody may still pass");
    let nobody = Around { now: now + SOON * TERMS.trial, ..nobody };
    assert_eq!(overdue.door((0, 1), &nobody), Way::Trial);
    overdue.let_in(tag(1), &nobody);
    let found = overdue.left(tag(1), Outcome::Abandoned, hung(false), &nobody);
    assert_eq!(found, Some((TrialFinding::Inconclusive, true)), "nobody passed before it");
    let well = Around { passes: nobody.passes.and_one(STAGE), ..nobody };
    assert_eq!(overdue.door((0, 1), &well), Way::Wait);
    assert_eq!(overdue.door((0, 2), &well), Way::Open, "others are let in meanwhile");
    let rested = Around { now: nobody.now + REST * TERMS.trial, ..well };
    assert_eq!(overdue.door((0, 1), &rested), Way::Trial);
}

/// Found by the property above: three posts that take a device with them, on a feed without anything else. Each trial
/// began when the device was free of the one before, so nothing ever passed in between.
#[test]
fn trials_in_a_row_leave_time_for_something_to_pass() {
    let now = Instant::now();
    let nobody = around(now, StagePasses::default());
    let mut overdue = with_two_deadlines(false, &nobody);
    for _ in 0..2 {
        overdue.left(tag(2), Outcome::Abandoned, hung(false), &nobody);
    }
    let nobody = Around { now: now + SOON * TERMS.trial, ..nobody };
    assert_eq!(overdue.door((0, 1), &nobody), Way::Trial);
    overdue.let_in(tag(1), &nobody);
    overdue.left(tag(1), Outcome::Abandoned, hung(false), &nobody);
    let rested = Around { now: nobody.now + REST * TERMS.trial, ..nobody };
    overdue.begin_round(false);
    assert_eq!(overdue.door((0, 2), &rested), Way::Wait, "whether anybody passes is not known yet");
    let well = Around { passes: rested.passes.and_one(STAGE), ..rested };
    assert_eq!(overdue.door((0, 2), &well), Way::Trial);
    overdue.let_in(tag(2), &well);
    assert_eq!(overdue.left(tag(2), Outcome::Abandoned, hung(false), &well), Some((TrialFinding::HungAlone, true)));
}

/// Found by the property above: the session is lost while a trial is under way, and the count begins anew.
#[test]
fn nothing_follows_from_a_trial_whose_partition_has_changed_hands_meanwhile() {
    let first = around(Instant::now(), StagePasses::default());
    let mut overdue = with_two_deadlines(false, &first);
    let well = Around { passes: first.passes.and_one(STAGE), ..first };
    assert_eq!(overdue.door((0, 1), &well), Way::Trial);
    overdue.let_in(tag(1), &well);
    overdue.take_over(0, 0, "", &well);
    overdue.left(tag(1), Outcome::Abandoned, hung(true), &well);
    let after = Around { passes: well.passes.and_one(STAGE), ..well };
    assert_eq!((overdue.deadlines((0, 1)), overdue.door((0, 1), &after)), (1, Way::Open));
}

#[test]
fn while_the_breaker_is_open_no_deadline_counts_and_nobody_is_tried() {
    let closed = around(Instant::now(), StagePasses::default());
    let open = Around { is_tripped: true, ..closed };
    let mut overdue = Overdue::new(TERMS);
    for _ in 0..5 {
        overdue.left(tag(1), Outcome::Abandoned, hung(true), &open);
    }
    assert!(overdue.is_idle());
    let mut overdue = with_two_deadlines(true, &closed);
    assert_eq!(overdue.door((0, 1), &open), Way::Open);
    overdue.left(tag(1), Outcome::Abandoned, AbandonCause::NotTheRecord, &closed);
    assert_eq!(overdue.deadlines((0, 1)), 2, "a sink that was away counts nothing");
}

#[test]
fn who_claims_the_worker_and_comes_no_more_to_the_door_holds_nobody_up() {
    let around = around(Instant::now(), StagePasses::default());
    let mut overdue = with_two_deadlines(false, &around);
    let around = Around { passes: around.passes.and_one(STAGE), ..around };
    let busy = Around { of_worker: 1, ..around };
    overdue.begin_round(false);
    assert_eq!(overdue.door((0, 1), &busy), Way::Wait);
    overdue.begin_round(false);
    assert_eq!(overdue.door((1, 5), &busy), Way::Wait, "it was there in the last round");
    overdue.begin_round(false);
    assert_eq!(overdue.door((1, 5), &busy), Way::Open);
    assert_eq!(overdue.door((0, 1), &Around { is_taken: true, ..around }), Way::Wait, "another search comes first");
    assert_eq!(overdue.door((1, 5), &around), Way::Open);
}

#[test]
fn being_overtaken_at_decoding_says_nothing() {
    let around = around(Instant::now(), StagePasses::default());
    let at_decoding = AbandonCause::Hung(Hang { stage: Stage::Decode, was_overtaken: true });
    let mut overdue = Overdue::new(TERMS);
    for _ in 0..2 {
        overdue.left(tag(1), Outcome::Abandoned, at_decoding, &around);
    }
    let well = Around { passes: around.passes.and_one(Stage::Decode), ..around };
    assert_eq!(overdue.door((0, 1), &Around { of_worker: 1, ..well }), Way::Wait, "it is tried alone");
    assert_eq!(overdue.door((0, 1), &well), Way::Trial);
}

#[test]
fn with_no_deadlines_allowed_for_nobody_is_ever_tried() {
    let around = around(Instant::now(), StagePasses::default());
    let mut overdue = Overdue::new(Terms { max_deadlines: 0, ..TERMS });
    for _ in 0..9 {
        overdue.left(tag(1), Outcome::Abandoned, hung(true), &around);
    }
    assert_eq!(overdue.door((0, 1), &around), Way::Open);
}
