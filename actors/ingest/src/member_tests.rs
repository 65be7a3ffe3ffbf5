//! The loop in a world where partitions change hands, answers fail to come, and posts are late or given up: on a broker in
//! memory and a clock that is moved by hand.

use std::collections::{BTreeSet, VecDeque};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jtav_delivery::{AbandonCause, Hang, Outcome, PostPermits, Settlement, SettlementSink};
use jtav_kafka::{ClientSettings, ConsumerSettings, KafkaError};
use jtav_pipeline::{Admitted, RouterIntake, Run, Stage, StageFlow};
use jtav_schemas::DeadLetterReason;
use jtav_telemetry::{Conservation, PauseCause};
use proptest::prelude::*;

use self::broker::{Broken, Broker, Call, Fate, InMemory, lock};
use super::turn::Control;
use super::{Member, Surroundings};
use crate::note::{Note, Owner};
use crate::params::{IngestExit, IngestParams, IngestSettings, StageWatch};
use crate::status::IngestStatus;

#[path = "member_broker_tests.rs"]
mod broker;

const PARTITIONS: i32 = 3;
const STAGE: Stage = Stage::ImageEncoder;
const CAUSES: [PauseCause; 2] = [PauseCause::Operator, PauseCause::Restart];

#[derive(Debug, Clone)]
enum Step {
    /// The loop goes round; what guards have reported reaches it or not yet.
    Turn {
        hears: bool,
    },
    Tick(u64),
    Produce(i32, i64),
    Settle(usize),
    Drop(usize),
    /// A deadline passed: of a post that waited, or hung.
    Wait(usize),
    Hang(usize, bool),
    /// Other posts pass the stage.
    Pass,
    Offer(Vec<i32>),
    Revoke(Vec<i32>),
    Lose(Vec<i32>),
    Elsewhere(i32),
    Answer(Fate),
    Failing(Call, u32),
    ClientDead,
    Reconnecting,
    Pause(usize),
    Resume(usize),
    /// The process ends and another one begins.
    End,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let some = || prop::collection::btree_set(0..PARTITIONS, 1..=PARTITIONS as usize).prop_map(Vec::from_iter);
    let fate = prop_oneof![6 => Just(Fate::Taken), 2 => Just(Fate::Refused), 1 => Just(Fate::TakenUnanswered), 1 => Just(Fate::Vanished)];
    let call = prop_oneof![Just(Call::Committed), Just(Call::Commit), Just(Call::Seek), Just(Call::Watermarks)];
    let step = prop_oneof![
        24 => prop::bool::weighted(0.8).prop_map(|hears| Step::Turn { hears }),
        10 => prop_oneof![4 => 1..300_u64, 1 => 300..8_000_u64].prop_map(Step::Tick),
        8 => (0..PARTITIONS, 1..6_i64).prop_map(|(partition, records)| Step::Produce(partition, records)),
        12 => any::<usize>().prop_map(Step::Settle),
        2 => any::<usize>().prop_map(Step::Drop),
        1 => any::<usize>().prop_map(Step::Wait),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(post, overtaken)| Step::Hang(post, overtaken)),
        2 => Just(Step::Pass),
        5 => some().prop_map(Step::Offer),
        2 => some().prop_map(Step::Revoke),
        1 => some().prop_map(Step::Lose),
        1 => (0..PARTITIONS).prop_map(Step::Elsewhere),
        8 => fate.prop_map(Step::Answer),
        1 => (call, 1..4_u32).prop_map(|(call, times)| Step::Failing(call, times)),
        1 => prop_oneof![1 => Just(Step::ClientDead), 1 => Just(Step::End), 4 => Just(Step::Reconnecting)],
        1 => (0..CAUSES.len()).prop_map(Step::Pause),
        2 => (0..CAUSES.len()).prop_map(Step::Resume),
    ];
    prop::collection::vec(step, 1..250)
}

fn settings() -> impl Strategy<Value = (IngestSettings, usize)> {
    (1..6_usize, 1..12_usize, 0..4_u32, 1..8_usize).prop_map(|(in_flight, window, max_rewinds, permits)| {
        let settings = IngestSettings {
            max_in_flight_per_partition: in_flight,
            max_window_per_partition: in_flight + window,
            max_rewinds,
            drain_timeout_ms: 2_000,
            breaker_records: 10,
            ..IngestSettings::for_tests()
        };
        (settings, permits)
    })
}

/// Where guards report; the world hands it on when it likes.
#[derive(Default)]
struct Reports(Mutex<VecDeque<Settlement>>);

impl Reports {
    fn next(&self) -> Option<Settlement> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl SettlementSink for Reports {
    fn settled(&self, settlement: Settlement) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(settlement);
    }
}

/// A router that does nothing by itself.
struct Router {
    broker: Arc<Mutex<Broker>>,
    inside: Mutex<Vec<Admitted>>,
    is_closed: AtomicBool,
}

impl Router {
    fn inside(&self) -> std::sync::MutexGuard<'_, Vec<Admitted>> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, index: usize) -> Option<Admitted> {
        let mut inside = self.inside();
        if inside.is_empty() {
            return None;
        }
        let index = index % inside.len();
        Some(inside.swap_remove(index))
    }
}

impl RouterIntake for Router {
    fn admit(&self, post: Admitted) {
        let tag = post.guard.tag();
        let mut broker = lock(&self.broker);
        if self.is_closed.load(Ordering::SeqCst) {
            broker.breaks(Broken::LetInWhileClosed, format!("{tag:?}"));
        }
        if !broker.is_staying(tag.partition) {
            broker.breaks(Broken::LetInAfterItsTime, format!("{tag:?}"));
        }
        let mut inside = self.inside();
        if inside.iter().any(|other| other.guard.tag() == tag) {
            broker.breaks(Broken::LetInTwice, format!("{tag:?}"));
        }
        inside.push(post);
    }
}

struct World {
    broker: Arc<Mutex<Broker>>,
    router: Arc<Router>,
    reports: Arc<Reports>,
    flow: StageFlow,
    params: IngestParams,
    member: Member<InMemory>,
    owner: u64,
    paused: BTreeSet<PauseCause>,
    is_draining: bool,
    exit: Option<IngestExit>,
}

impl World {
    fn new((settings, permits): (IngestSettings, usize)) -> Self {
        let broker = Arc::new(Mutex::new(Broker::new(Instant::now(), PARTITIONS)));
        let router = Arc::new(Router {
            broker: Arc::clone(&broker),
            inside: Mutex::default(),
            is_closed: AtomicBool::new(false),
        });
        let flow = StageFlow::default();
        let params = IngestParams {
            client: ClientSettings::default(),
            consumer: ConsumerSettings::for_tests(),
            settings,
            intake: Arc::clone(&router) as Arc<dyn RouterIntake>,
            permits: PostPermits::new(permits),
            conservation: Arc::new(Conservation::default()),
            stages: StageWatch { flow: flow.clone(), ..StageWatch::default() },
        };
        let reports = Arc::default();
        let member = start(&params, &broker, &reports, 1);
        let (paused, is_draining, exit) = (BTreeSet::new(), false, None);
        Self { broker, router, reports, flow, params, member, owner: 1, paused, is_draining, exit }
    }

    /// A new generation, of the same process or another one. What was inside is given up.
    fn start_again(&mut self) {
        self.router.inside().clear();
        self.reports = Arc::default();
        lock(&self.broker).end_of_session();
        self.member = start(&self.params, &self.broker, &self.reports, self.owner);
        self.paused.clear();
        self.is_draining = false;
        self.exit = None;
        self.say_whether_closed();
    }

    fn say_whether_closed(&self) {
        self.router.is_closed.store(!self.paused.is_empty() || self.is_draining, Ordering::SeqCst);
    }

    fn tick(&self, time: Duration) {
        lock(&self.broker).now += time;
    }

    fn turn(&mut self, hears: bool) {
        while hears && let Some(settlement) = self.reports.next() {
            self.hear(settlement);
        }
        let ended = self.member.turn();
        self.look();
        if let ControlFlow::Break(exit) = ended {
            self.exit = Some(exit);
        }
    }

    fn hear(&mut self, settlement: Settlement) {
        let tag = settlement.tag;
        let now = lock(&self.broker).now;
        let epochs = self.member.owned.snapshots(|_| None, now);
        let is_of_this_period = epochs.iter().any(|one| one.partition == tag.partition && one.epoch == tag.epoch.0);
        if is_of_this_period
            && settlement.outcome.is_settled()
            && let Some(period) = lock(&self.broker).period(tag.partition)
        {
            period.settled.insert(tag.offset);
        }
        self.member.settle(settlement);
    }

    fn look(&mut self) {
        let (inside, waiting) = (self.router.inside().len(), self.reports.len());
        let mut broker = lock(&self.broker);
        let in_flight = self.member.owned.in_flight();
        if in_flight != inside + waiting {
            broker.breaks(Broken::MiscountedInFlight, format!("{in_flight} of {inside} + {waiting}"));
        }
        for snapshot in self.member.owned.snapshots(|_| None, broker.now) {
            let stands = broker.committed.get(&snapshot.partition).map(|(position, _)| *position);
            if snapshot.committed > stands && broker.is_owned(snapshot.partition) {
                broker.breaks(Broken::BelievesInACommit, format!("{snapshot:?}, and the broker has {stands:?}"));
            }
        }
    }

    fn finish(&self, post: Admitted) {
        let outcome = match post.run {
            Run::SetAside { .. } => Outcome::DeadLettered(DeadLetterReason::DeadlineExceeded),
            _ => Outcome::Published,
        };
        post.guard.settle(outcome);
    }

    fn abandon(&self, index: usize, cause: AbandonCause) {
        if let Some(post) = self.router.take(index) {
            post.guard.abandon(cause);
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Turn { hears } => self.turn(*hears),
            Step::Tick(ms) => self.tick(Duration::from_millis(*ms)),
            Step::Produce(partition, records) => self.produce(*partition, *records),
            Step::Settle(index) => {
                if let Some(post) = self.router.take(*index) {
                    self.finish(post);
                }
            }
            Step::Drop(index) => self.abandon(*index, AbandonCause::NotTheRecord),
            Step::Wait(index) => self.abandon(*index, AbandonCause::Waited),
            Step::Hang(index, was_overtaken) => {
                self.abandon(*index, AbandonCause::Hung(Hang { stage: STAGE, was_overtaken: *was_overtaken }));
            }
            Step::Pass => self.flow.tracker().enter(STAGE).passed(),
            Step::Offer(partitions) => lock(&self.broker).offer(partitions.clone()),
            Step::Revoke(partitions) => lock(&self.broker).take_back(partitions.clone(), false),
            Step::Lose(partitions) => lock(&self.broker).take_back(partitions.clone(), true),
            Step::Elsewhere(partition) => lock(&self.broker).worked_on_by_another(*partition),
            Step::Answer(fate) => lock(&self.broker).answer(*fate),
            Step::Failing(call, times) => drop(lock(&self.broker).failing.insert(*call, *times)),
            Step::ClientDead => lock(&self.broker).report(KafkaError::StrayRecord),
            Step::Reconnecting => {
                lock(&self.broker).report(KafkaError::Timeout { operation: "poll", waited_ms: 1 });
            }
            Step::Pause(cause) => {
                self.paused.insert(CAUSES[*cause]);
                self.member.control(Control::Pause { cause: CAUSES[*cause] });
            }
            Step::Resume(cause) => {
                self.paused.remove(&CAUSES[*cause]);
                self.member.control(Control::Resume { cause: CAUSES[*cause] });
            }
            Step::End => {
                self.owner += 1;
                self.start_again();
            }
        }
        self.say_whether_closed();
        if self.exit.is_some() {
            self.start_again();
        }
    }

    /// Offsets have gaps.
    fn produce(&self, partition: i32, records: i64) {
        let mut broker = lock(&self.broker);
        let log = broker.logs.entry(partition).or_default();
        let next = log.last().map_or(0, |last| last + 1 + i64::from(log.len() % 5 == 4));
        log.extend(next..next + records);
    }

    /// Everything that was wrong is mended.
    fn mend(&mut self) {
        lock(&self.broker).failing.clear();
        for cause in std::mem::take(&mut self.paused) {
            self.member.control(Control::Resume { cause });
        }
        self.say_whether_closed();
        // An answer that never came is not waited for any longer.
        self.tick(Duration::from_secs(21));
        self.turn(true);
        self.answer_all();
    }

    fn answer_all(&self) {
        for _ in 0..8 {
            lock(&self.broker).answer(Fate::Taken);
        }
    }

    /// A good turn: everything inside goes through, all commits are taken, the partitions are ours.
    fn good_turn(&mut self) {
        while let Some(post) = self.router.take(0) {
            self.flow.tracker().enter(STAGE).passed();
            self.finish(post);
        }
        self.turn(true);
        self.answer_all();
        let free = lock(&self.broker).free();
        if !free.is_empty() && !self.is_draining {
            lock(&self.broker).offer(free);
        }
        self.tick(Duration::from_millis(200));
        if self.exit.is_some() && !self.is_draining {
            self.start_again();
        }
    }

    fn until_all_is_committed(&mut self) -> Result<(), TestCaseError> {
        for _ in 0..3_000 {
            let is_done = lock(&self.broker).is_all_committed() && self.router.inside().is_empty();
            if is_done && self.reports.len() == 0 && lock(&self.broker).free().is_empty() {
                return Ok(());
            }
            self.good_turn();
        }
        let broker = lock(&self.broker);
        Err(TestCaseError::fail(format!("nothing goes on: {:?} of {:?}", broker.committed, broker.logs)))
    }

    fn drain(&mut self, patience: Duration) {
        let deadline = lock(&self.broker).now + patience;
        self.member.control(Control::Drain { deadline });
        self.is_draining = true;
        self.say_whether_closed();
    }

    fn keeps(&self, rules: &[Broken]) -> Result<(), TestCaseError> {
        let broker = lock(&self.broker);
        for rule in rules {
            prop_assert!(!broker.broken.contains_key(rule), "{rule:?}: {}", broker.broken[rule]);
        }
        Ok(())
    }
}

fn start(params: &IngestParams, broker: &Arc<Mutex<Broker>>, reports: &Arc<Reports>, owner: u64) -> Member<InMemory> {
    let time = Arc::clone(broker);
    let surroundings = Surroundings {
        clock: Box::new(move || lock(&time).now),
        sink: Arc::clone(reports) as Arc<dyn SettlementSink>,
        status: Arc::new(IngestStatus::new()),
        owner: Owner(owner),
    };
    Member::new(params, InMemory(Arc::clone(broker)), surroundings)
}

fn after(settings: (IngestSettings, usize), steps: &[Step]) -> World {
    let mut world = World::new(settings);
    for step in steps {
        world.step(step);
    }
    world
}

proptest! {
    #[test]
    fn the_commit_position_never_passes_a_record_that_is_not_settled_and_nothing_of_an_ended_period_counts(
        settings in settings(), steps in steps(),
    ) {
        let mut world = after(settings, &steps);
        world.mend();
        world.until_all_is_committed()?;
        world.keeps(&[Broken::CommittedUnsettled])?;
    }

    #[test]
    fn no_record_of_an_owned_partition_is_lost(settings in settings(), steps in steps()) {
        let mut world = after(settings, &steps);
        world.mend();
        world.until_all_is_committed()?;
    }

    #[test]
    fn in_flight_is_what_is_inside_and_comes_back_to_zero(settings in settings(), steps in steps()) {
        let mut world = after(settings, &steps);
        world.mend();
        world.until_all_is_committed()?;
        world.keeps(&[Broken::MiscountedInFlight, Broken::LetInTwice])?;
        prop_assert_eq!((world.member.owned.in_flight(), world.params.permits.in_flight()), (0, 0));
    }

    #[test]
    fn after_a_revocation_nothing_of_the_partition_is_committed_or_let_in(settings in settings(), steps in steps()) {
        let world = after(settings, &steps);
        world.keeps(&[Broken::CommittedAfterItsTime, Broken::LetInAfterItsTime])?;
    }

    #[test]
    fn a_closed_gate_lets_nothing_in(settings in settings(), steps in steps()) {
        let world = after(settings, &steps);
        world.keeps(&[Broken::LetInWhileClosed])?;
    }

    #[test]
    fn what_is_believed_to_be_committed_is_what_the_broker_has(settings in settings(), steps in steps()) {
        let world = after(settings, &steps);
        world.keeps(&[Broken::BelievesInACommit])?;
    }

    #[test]
    fn a_drain_ends_with_goodbyes_committed_for_everything_that_was_settled(
        settings in settings(), steps in steps(), to_settle in 0..8_usize,
    ) {
        let mut world = after(settings, &steps);
        world.mend();
        if world.exit.is_some() {
            return Ok(());
        }
        world.drain(Duration::from_secs(3));
        for _ in 0..to_settle {
            world.step(&Step::Settle(0));
        }
        for _ in 0..1_000 {
            if world.exit.is_some() {
                break;
            }
            world.turn(true);
            world.answer_all();
            world.tick(Duration::from_millis(50));
        }
        let left = world.router.inside().len();
        let expected = if left == 0 { IngestExit::Drained } else { IngestExit::DrainTimedOut { left } };
        match &world.exit {
            // A dead client commits nothing, and it may have died of a second failure, which is not the one that is told.
            Some(IngestExit::Failed(_)) if world.member.gate.failure().is_some_and(|failure| failure.is_client_dead) => {
                return Ok(());
            }
            Some(IngestExit::Failed(_)) => {}
            exit => prop_assert_eq!(exit, &Some(expected)),
        }
        world.keeps(&[Broken::CommittedUnsettled, Broken::LetInWhileClosed])?;
        let broker = lock(&world.broker);
        for partition in world.member.owned.numbers() {
            let stands = broker.committed.get(&partition);
            prop_assert!(stands.map(|(position, _)| *position) >= broker.settled_prefix(partition), "{:?}", *broker);
            // That of a dead owner stands where nothing was gone over yet.
            let owner = Owner(world.owner);
            let is_goodbye = match stands.map_or(Note::Clean, |(_, text)| Note::read(text)) {
                Note::Open { owner: signed, .. } | Note::Suspect { owner: signed, .. } => signed != owner,
                Note::Clean | Note::Careful { .. } => true,
            };
            prop_assert!(is_goodbye, "{partition}: {stands:?}");
        }
    }
}

/// One permit, one record of a partition at a time, no seek back without progress.
fn narrow() -> World {
    let settings = IngestSettings {
        max_in_flight_per_partition: 1,
        max_rewinds: 0,
        breaker_records: 10,
        ..IngestSettings::for_tests()
    };
    World::new((settings, 1))
}

fn turns(hears: bool, count: usize) -> Vec<Step> {
    vec![Step::Turn { hears }; count]
}

#[test]
fn the_late_answer_to_a_commit_that_was_given_up_is_not_taken_for_that_to_the_next() {
    let mut world = narrow();
    let before = [vec![Step::Offer(vec![1, 2]), Step::Produce(2, 1)], turns(true, 2)].concat();
    let after = vec![Step::Tick(20_001), Step::Produce(1, 1), Step::Answer(Fate::Taken), Step::Turn { hears: true }];
    for step in [before, after].concat() {
        world.step(&step);
    }
    assert_eq!(lock(&world.broker).committed.len(), 1, "the second one is not answered");
    world.keeps(&[Broken::BelievesInACommit]).unwrap();
}

#[test]
fn a_note_that_is_on_its_way_does_not_outlive_the_goodbye() {
    let mut world = narrow();
    let begin = vec![Step::Produce(2, 2), Step::Elsewhere(2), Step::Offer(vec![2])];
    for step in [begin, turns(true, 2)].concat() {
        world.step(&step);
    }
    world.answer_all();
    assert!(
        matches!(Note::read(&lock(&world.broker).committed[&2].1), Note::Open { .. }),
        "and nobody has heard of it"
    );
    world.drain(Duration::from_secs(1));
    while world.exit.is_none() {
        world.turn(true);
        world.answer_all();
        world.tick(Duration::from_millis(50));
    }
    assert_eq!(Note::read(&lock(&world.broker).committed[&2].1), Note::Clean);
}

#[test]
fn a_record_that_is_to_be_tried_alone_and_one_that_goes_in_by_itself_do_not_wait_for_each_other() {
    let mut world = narrow();
    let hangs = || vec![Step::Hang(0, false), Step::Turn { hears: true }, Step::Tick(300), Step::Turn { hears: true }];
    let script = [
        vec![Step::Offer(vec![1]), Step::Produce(1, 1)],
        turns(true, 2),
        vec![Step::Answer(Fate::Taken)],
        turns(true, 2),
        hangs(),
        hangs(),
        vec![Step::Answer(Fate::Taken), Step::Tick(1_000), Step::Turn { hears: true }, Step::Answer(Fate::Taken)],
        vec![Step::Offer(vec![0]), Step::Produce(0, 1), Step::Turn { hears: true }, Step::Turn { hears: true }],
        vec![Step::Answer(Fate::Taken), Step::End],
    ];
    for step in script.concat() {
        world.step(&step);
    }
    let notes = lock(&world.broker).committed.clone();
    assert!(notes[&1].1.contains("late=0:2") && notes[&0].1.contains("open"), "{notes:?}");
    world.until_all_is_committed().unwrap();
}
