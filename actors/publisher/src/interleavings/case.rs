//! One case: a history of records, workers that read it, and the moments at which things go wrong.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use jtav_pipeline::{EraseRequest, InboundRecord, PublishRequest, RetryPolicy, SourcePosition, StageError};
use jtav_schemas::{
    AbsentReason, AttentionSummary, DeliveredFrom, EmbeddingV1, Label, ModalityStatus, PerModality, Probabilities,
    SentimentV1, UncertainBecause, Vector, event_id,
};
use jtav_store::{Standing, Store};
use jtav_telemetry::Telemetry;
use tokio::runtime::Handle;

use super::dice::Dice;
use super::world::{FarStore, FarTopics, Fate, Move, World};
use crate::publishing::Publishing;
use crate::{OutputTopics, PublisherParams, Reach};

/// Attempts at a record before it is abandoned; more than faults of a case, as retries outlast a fault that passes.
const ATTEMPTS: u32 = 2;
const MAX_FAULTS: usize = 1;
const MAX_HANDOVERS: usize = 3;
const MAX_CRASHES: usize = 2;
const MAX_STEPS: usize = 100_000;
/// The backfill's place among the workers; the two before it share the live group.
const BACKFILL: usize = 2;
const LIVE_MODEL: &str = "old@1";
const NEXT_MODEL: &str = "next@2";

/// What a record of the input topic asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Label { revision: u64 },
    Erase { revision: u64 },
}

/// What the cases have in common.
pub(super) struct Bench {
    pub(super) store: Arc<dyn Store>,
    pub(super) runtime: Handle,
    pub(super) telemetry: &'static Telemetry,
}

/// How often each kind of trouble came about.
#[derive(Debug, Default)]
pub(super) struct Tally {
    erased: u64,
    faults: u64,
    late: u64,
    handovers: u64,
    crashes: u64,
    overtaken: u64,
    steps: u64,
}

impl Tally {
    /// A harness in which nothing goes wrong proves nothing.
    pub(super) fn assert_that_everything_happened(&self) {
        for (what, count) in [
            ("erased posts", self.erased),
            ("faults", self.faults),
            ("late records", self.late),
            ("handovers", self.handovers),
            ("crashes", self.crashes),
            ("workers that were overtaken", self.overtaken),
        ] {
            assert!(count > 0, "no {what} in any case");
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { erased, faults, late, handovers, crashes, overtaken, steps } = self;
        write!(
            f,
            "{erased} erased, {faults} faults ({late} late records), {handovers} handovers ({overtaken} with work under \
             way), {crashes} crashes, {steps} steps"
        )
    }
}

type Work = Pin<Box<dyn Future<Output = Result<(), StageError>>>>;

struct Task {
    index: usize,
    attempt: u32,
    /// Ownership period in which it began; a settlement of another one counts for nothing.
    epoch: u64,
    work: Work,
}

struct Worker {
    model: &'static str,
    publishing: Arc<Publishing>,
    store: Arc<FarStore>,
    next: usize,
    task: Option<Task>,
}

/// Position of a consumer group.
#[derive(Debug, Clone, Default)]
struct Group {
    owner: usize,
    epoch: u64,
    settled: usize,
    committed: usize,
}

/// A case under way.
pub(super) struct Case {
    post_id: String,
    /// The input log as it will be; records after `produced` are not there yet.
    history: Vec<Event>,
    produced: usize,
    workers: Vec<Worker>,
    live: Group,
    backfill: Group,
    world: World,
    dice: Dice,
    bench: Arc<dyn Store>,
    runtime: Handle,
    attempts: u64,
    faults: usize,
    handovers: usize,
    crashes: usize,
    log: Vec<String>,
}

/// A case that has come to rest.
pub(super) struct Done {
    pub(super) post_id: String,
    pub(super) history: Vec<Event>,
    /// Model of each live worker, and of the backfill.
    pub(super) live_models: Vec<&'static str>,
    pub(super) backfill_model: &'static str,
    pub(super) standings: Vec<(&'static str, Standing, Option<jtav_store::StoredLabel>)>,
    pub(super) records: Vec<jtav_kafka::OutboundRecord>,
    log: Vec<String>,
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "history {:?}, live models {:?}", self.history, self.live_models)?;
        for record in &self.records {
            let value = record.value.as_deref().map(String::from_utf8_lossy);
            let value: String = value.map_or_else(|| "null".into(), |value| value.chars().take(120).collect());
            writeln!(f, "  {} {value}", record.topic)?;
        }
        writeln!(f, "{}", self.log.join("\n"))
    }
}

/// Edits, tombstones, redelivered revisions (a producer's duplicate, a replayed dead letter) in any order.
fn history(dice: &mut Dice) -> Vec<Event> {
    let records = 1 + dice.below(7);
    let mut history: Vec<Event> = Vec::with_capacity(records);
    for _ in 0..records {
        let revision = dice.below(4) as u64;
        history.push(match dice.below(6) {
            0 => Event::Erase { revision },
            1 if !history.is_empty() => history[dice.below(history.len())],
            _ => Event::Label { revision },
        });
    }
    history
}

impl Case {
    pub(super) fn new(seed: u64, bench: &Bench) -> Self {
        let mut dice = Dice::new(seed);
        let world = World::new(Dice::new(!seed));
        // A roll-out in every third case: the second worker of the group labels with the next model already.
        let second = if dice.one_in(3) { NEXT_MODEL } else { LIVE_MODEL };
        let workers = [(LIVE_MODEL, Reach::Topics), (second, Reach::Topics), (NEXT_MODEL, Reach::Store)];
        let workers = workers
            .into_iter()
            .enumerate()
            .map(|(number, (model, reach))| {
                let (store, runtime) = (Arc::clone(&bench.store), bench.runtime.clone());
                let store = Arc::new(FarStore { store, world: world.clone(), worker: number, runtime });
                let sink = Arc::new(FarTopics { world: world.clone(), worker: number });
                let params = params(store.clone(), sink, reach, model);
                let publishing = Arc::new(Publishing { params, telemetry: bench.telemetry });
                Worker { model, publishing, store, next: 0, task: None }
            })
            .collect();
        Self {
            post_id: format!("post-{seed}"),
            history: history(&mut dice),
            produced: 0,
            workers,
            live: Group::default(),
            backfill: Group { owner: BACKFILL, ..Group::default() },
            world,
            dice,
            bench: Arc::clone(&bench.store),
            runtime: bench.runtime.clone(),
            attempts: 0,
            faults: 0,
            handovers: 0,
            crashes: 0,
            log: Vec::new(),
        }
    }

    pub(super) fn run(mut self, tally: &mut Tally) -> Done {
        let mut steps = 0;
        while self.step(tally) {
            steps += 1;
            assert!(steps < MAX_STEPS, "{} does not come to rest:\n{}", self.post_id, self.log.join("\n"));
        }
        tally.steps += steps as u64;
        tally.erased += u64::from(self.history.iter().any(|event| matches!(event, Event::Erase { .. })));
        let models: Vec<&'static str> = self.workers.iter().map(|worker| worker.model).collect();
        let mut distinct = models.clone();
        distinct.sort_unstable();
        distinct.dedup();
        let (store, runtime, id) = (&self.bench, &self.runtime, &self.post_id);
        let standings = distinct.into_iter().map(|model| {
            let standing = runtime.block_on(store.standing(id, model)).unwrap();
            (model, standing, runtime.block_on(store.read(id, model)).unwrap())
        });
        Done {
            standings: standings.collect(),
            records: self.world.records(),
            post_id: self.post_id.clone(),
            history: self.history,
            live_models: models[..BACKFILL].to_vec(),
            backfill_model: models[BACKFILL],
            log: self.log,
        }
    }

    /// Does one thing of those that can be done; false if there is none.
    fn step(&mut self, tally: &mut Tally) -> bool {
        let moves = self.world.moves();
        let idle: Vec<usize> = (0..self.workers.len()).filter(|worker| self.can_start(*worker)).collect();
        let produces = usize::from(self.produced < self.history.len());
        let at = self.dice.below(moves.len() + idle.len() + produces + 1);
        if moves.is_empty() && idle.is_empty() && produces == 0 {
            return self.world.is_busy();
        }
        if let Some(next) = moves.get(at) {
            self.network(*next, tally);
        } else if let Some(worker) = idle.get(at - moves.len()) {
            self.start(*worker);
        } else if at - moves.len() - idle.len() < produces {
            self.log.push(format!("produced {}: {:?}", self.produced, self.history[self.produced]));
            self.produced += 1;
        } else {
            self.trouble(tally);
        }
        for worker in 0..self.workers.len() {
            self.poll(worker);
        }
        true
    }

    fn network(&mut self, next: Move, tally: &mut Tally) {
        match next {
            Move::Answer(at) => self.world.answer(at),
            Move::Carry(at) if self.faults < MAX_FAULTS && !self.world.is_answered(at) && self.dice.one_in(12) => {
                self.faults += 1;
                tally.faults += 1;
                let fate = match self.dice.below(4) {
                    0 => Fate::Lost,
                    1 => Fate::AnswerLost,
                    _ if self.world.may_be_late(at) => Fate::Late,
                    _ => Fate::AnswerLost,
                };
                tally.late += u64::from(fate == Fate::Late);
                self.log.push(format!("{fate:?}"));
                self.world.carry(at, fate);
            }
            Move::Carry(at) => self.world.carry(at, Fate::Well),
        }
    }

    /// A commit, a handover or a crash.
    fn trouble(&mut self, tally: &mut Tally) {
        match self.dice.below(4) {
            0 | 1 => {
                self.live.committed = self.live.settled;
                self.backfill.committed = self.backfill.settled;
            }
            2 if self.handovers < MAX_HANDOVERS => {
                self.handovers += 1;
                tally.handovers += 1;
                tally.overtaken += u64::from(self.workers[self.live.owner].task.is_some());
                self.hand_over();
            }
            3 if self.crashes < MAX_CRASHES => {
                let worker = self.dice.below(self.workers.len());
                let epoch = self.group(worker).epoch;
                if self.workers[worker].task.as_ref().is_some_and(|task| task.epoch != epoch) {
                    // It has lost the partition and is about to look after its records. Killed between a record and the
                    // look it would leave the record behind the new owner's; nothing short of fencing would prevent it.
                    return;
                }
                self.crashes += 1;
                tally.crashes += 1;
                self.log.push(format!("crash of {worker}"));
                self.workers[worker].task = None;
                self.world.crash(worker, &mut self.dice);
                if worker == BACKFILL {
                    self.begin_again(BACKFILL);
                } else if worker == self.live.owner {
                    self.hand_over();
                }
            }
            _ => {}
        }
    }

    /// The other member gets the partition; what the first has under way goes on.
    fn hand_over(&mut self) {
        self.live.owner = 1 - self.live.owner;
        self.log.push(format!("{} owns the partition from {}", self.live.owner, self.live.committed));
        self.begin_again(self.live.owner);
    }

    fn begin_again(&mut self, worker: usize) {
        let group = self.group(worker);
        group.epoch += 1;
        group.settled = group.committed;
        let next = group.committed;
        self.workers[worker].next = next;
    }

    fn group(&mut self, worker: usize) -> &mut Group {
        if worker == BACKFILL { &mut self.backfill } else { &mut self.live }
    }

    /// Records of a post are worked on one after the other, over ownership periods too.
    fn can_start(&self, worker: usize) -> bool {
        let group = if worker == BACKFILL { &self.backfill } else { &self.live };
        let state = &self.workers[worker];
        group.owner == worker && state.task.is_none() && state.next < self.produced
    }

    fn start(&mut self, worker: usize) {
        let (index, epoch) = (self.workers[worker].next, self.group(worker).epoch);
        self.workers[worker].next += 1;
        self.log.push(format!("{worker} starts {index}"));
        let work = self.work(worker, index);
        self.workers[worker].task = Some(Task { index, attempt: 1, epoch, work });
    }

    fn work(&mut self, worker: usize, index: usize) -> Work {
        self.attempts += 1;
        let source = SourcePosition { partition: 0, offset: index as i64 };
        let Worker { model, publishing, store, .. } = &self.workers[worker];
        let (publishing, store, post_id) = (Arc::clone(publishing), Arc::clone(store), self.post_id.clone());
        match self.history[index] {
            Event::Label { revision } => {
                let request = request(&post_id, revision, source, model, self.attempts);
                Box::pin(async move { publishing.publish(request).await.map(drop) })
            }
            // A backfill only sees to the marker.
            Event::Erase { revision } if worker == BACKFILL => Box::pin(async move {
                let gone = || StageError::retryable(jtav_pipeline::Stage::Publisher, "connection", "reset");
                if !store.is_erased(&post_id).await.map_err(|_| gone())? {
                    store.erase(&post_id, revision, Duration::from_secs(3_600)).await.map_err(|_| gone())?;
                }
                Ok(())
            }),
            Event::Erase { revision } => {
                Box::pin(async move { publishing.erase(EraseRequest { post_id, revision, source }).await.map(drop) })
            }
        }
    }

    /// Lets a worker go on as far as it can.
    fn poll(&mut self, worker: usize) {
        let Some(mut task) = self.workers[worker].task.take() else { return };
        let result = match task.work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => {
                self.workers[worker].task = Some(task);
                return;
            }
            Poll::Ready(result) => result,
        };
        let is_current = {
            let group = self.group(worker);
            group.owner == worker && group.epoch == task.epoch
        };
        self.log.push(format!("{worker} ends {} {:?}", task.index, result.as_ref().map_err(|error| error.code)));
        match result {
            Ok(()) if is_current => self.group(worker).settled = task.index + 1,
            Ok(()) => {}
            Err(_) if task.attempt < ATTEMPTS => {
                let work = self.work(worker, task.index);
                self.workers[worker].task = Some(Task { attempt: task.attempt + 1, work, ..task });
                self.poll(worker);
            }
            // Abandoned: the owner goes back, of another one nobody hears.
            Err(_) if is_current => self.begin_again(worker),
            Err(_) => {}
        }
    }
}

fn params(store: Arc<FarStore>, sink: Arc<FarTopics>, reach: Reach, model: &str) -> PublisherParams {
    PublisherParams {
        store,
        sink,
        topics: OutputTopics {
            sentiment: "sentiment".into(),
            embeddings: "embeddings".into(),
            dead_letters: "dead-letters".into(),
            erasures: "erasures".into(),
        },
        reach,
        // A retry is the case's to make, between any two steps of anybody.
        retry: RetryPolicy { max_attempts: 1, deadline: Duration::from_secs(600), ..RetryPolicy::default() },
        label_ttl: Duration::from_secs(3_600),
        erased_ttl: Duration::from_secs(7_200),
        model_version: model.into(),
        pipeline_version: "0.1.0".into(),
        way_out: Arc::default(),
    }
}

/// Every attempt labels anew and comes out a little different, as with a download that fails the second time.
fn request(post_id: &str, revision: u64, source: SourcePosition, model: &str, attempt: u64) -> PublishRequest {
    let event_id = event_id(post_id, revision, model);
    let shade = (attempt % 64) as f32 / 128.0;
    let vector = Vector::pack(&[1.0 + shade, -0.5]).unwrap();
    PublishRequest {
        sentiment: Arc::new(SentimentV1 {
            event_id: event_id.clone(),
            post_id: post_id.into(),
            revision,
            label: Label::Neutral,
            probabilities: Probabilities { negative: 0.0, neutral: 0.75 - shade / 4.0, positive: 0.25 + shade / 4.0 },
            valence: 0.25 + shade / 4.0,
            probability: 1.0,
            confidence: 0.75 - shade / 4.0,
            threshold: 0.9,
            certain: false,
            uncertain_because: Some(UncertainBecause::LowProbability),
            lang: Some("en".into()),
            moods: Vec::new(),
            modalities: PerModality {
                text: ModalityStatus::Present,
                audio: ModalityStatus::Absent(AbsentReason::Absent),
                image: ModalityStatus::Absent(AbsentReason::NotFound),
            },
            truncated: Vec::new(),
            attention: AttentionSummary::default(),
            contributions: None,
            model_version: model.into(),
            event_time_ms: None,
            received_at_ms: attempt as i64,
            labelled_at_ms: attempt as i64,
        }),
        embedding: Arc::new(EmbeddingV1 {
            event_id,
            post_id: post_id.into(),
            revision,
            fused: vector.clone(),
            modalities: PerModality { text: Some(vector.clone()), audio: None, image: None },
            semantic: Some(vector),
            label: Label::Neutral,
            certain: false,
            lang: Some("en".into()),
            model_version: model.into(),
            event_time_ms: None,
            labelled_at_ms: attempt as i64,
        }),
        source,
        record: Arc::new(InboundRecord {
            source: DeliveredFrom {
                topic: "posts".into(),
                partition: source.partition,
                offset: source.offset,
                timestamp_ms: None,
            },
            key: None,
            value: None,
            headers: Vec::new(),
            cut: None,
        }),
    }
}
