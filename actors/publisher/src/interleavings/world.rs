//! Store and topics behind a network: a call is issued, carried out and answered at moments of their own.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use jtav_kafka::{Fault, KafkaError, OutboundRecord};
use jtav_store::{Applied, Found, LabelWrite, Standing, Store, StoreError, StoredLabel};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::dice::Dice;
use crate::RecordSink;

/// Gives the caller its answer.
type Answer = Box<dyn FnOnce() + Send>;

/// What to do with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Carry it out and answer.
    Well,
    /// Answer with a failure, and never carry it out.
    Lost,
    /// Carry it out, and answer with a failure.
    AnswerLost,
    /// Answer with a failure, and carry it out later: it stays in the producer's queue.
    Late,
}

struct Call {
    worker: usize,
    /// Records of one producer and topic keep their order.
    topic: Option<String>,
    carry: Box<dyn FnMut(Fate) -> Option<Answer> + Send>,
    /// It was answered already and is only carried out.
    answered: bool,
    not_before: usize,
}

struct Waiting {
    worker: usize,
    answer: Answer,
    not_before: usize,
}

struct Inner {
    now: usize,
    dice: Dice,
    calls: Vec<Call>,
    answers: Vec<Waiting>,
    records: Vec<OutboundRecord>,
}

impl Inner {
    /// Most things happen soon. Some take so long that another worker gets through whole records meanwhile, which a fair
    /// lot at every step would hardly ever bring about.
    fn not_before(&mut self, one_in: usize) -> usize {
        self.now + if self.dice.one_in(one_in) { self.dice.below(LONG_STEPS) } else { 0 }
    }
}

/// Longest time that something is held up, in steps; a record takes about ten.
const LONG_STEPS: usize = 80;

/// What all workers of a case share.
#[derive(Clone)]
pub(super) struct World {
    inner: Arc<Mutex<Inner>>,
}

/// Something that the network may do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Move {
    Carry(usize),
    Answer(usize),
}

impl World {
    pub(super) fn new(dice: Dice) -> Self {
        let (calls, answers, records) = (Vec::new(), Vec::new(), Vec::new());
        Self { inner: Arc::new(Mutex::new(Inner { now: 0, dice, calls, answers, records })) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// The records of all topics in the order in which the brokers took them.
    pub(super) fn records(&self) -> Vec<OutboundRecord> {
        self.lock().records.clone()
    }

    fn issue<T: Send + 'static, E: Send + 'static>(
        &self,
        worker: usize,
        topic: Option<String>,
        failure: E,
        effect: impl FnOnce() -> Result<T, E> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, E>> {
        let (sender, receiver) = oneshot::channel();
        let (mut effect, mut waiting) = (Some(effect), Some((sender, failure)));
        let carry = move |fate| {
            let done =
                if matches!(fate, Fate::Well | Fate::AnswerLost) { effect.take().map(|effect| effect()) } else { None };
            let (sender, failure) = waiting.take()?;
            let answer = match (fate, done) {
                (Fate::Well, Some(done)) => done,
                _ => Err(failure),
            };
            Some(Box::new(move || drop(sender.send(answer))) as Answer)
        };
        let mut inner = self.lock();
        let not_before = inner.not_before(6);
        inner.calls.push(Call { worker, topic, carry: Box::new(carry), answered: false, not_before });
        drop(inner);
        receiver.map(|answer| answer.expect("a worker that is polled gets its answers")).boxed()
    }

    /// What may happen now.
    pub(super) fn moves(&self) -> Vec<Move> {
        let mut inner = self.lock();
        inner.now += 1;
        let inner = &*inner;
        let is_first = |at: usize| {
            let call = &inner.calls[at];
            call.topic.is_none()
                || !inner.calls[..at].iter().any(|other| other.worker == call.worker && other.topic == call.topic)
        };
        let carries = (0..inner.calls.len()).filter(|at| inner.calls[*at].not_before <= inner.now && is_first(*at));
        let answers = (0..inner.answers.len()).filter(|at| inner.answers[*at].not_before <= inner.now);
        carries.map(Move::Carry).chain(answers.map(Move::Answer)).collect()
    }

    /// Whether something is on its way.
    pub(super) fn is_busy(&self) -> bool {
        let inner = self.lock();
        !inner.calls.is_empty() || !inner.answers.is_empty()
    }

    /// Whether the call could be late: one to a topic that waits for its answer.
    pub(super) fn may_be_late(&self, at: usize) -> bool {
        let inner = self.lock();
        inner.calls[at].topic.is_some() && !inner.calls[at].answered
    }

    pub(super) fn is_answered(&self, at: usize) -> bool {
        self.lock().calls[at].answered
    }

    pub(super) fn carry(&self, at: usize, fate: Fate) {
        let mut call = self.lock().calls.remove(at);
        // Without the lock: the effect takes it.
        let answer = (call.carry)(fate);
        let mut inner = self.lock();
        if let Some(answer) = answer {
            let not_before = inner.not_before(6);
            inner.answers.push(Waiting { worker: call.worker, answer, not_before });
        }
        if fate == Fate::Late {
            call.answered = true;
            call.not_before = inner.not_before(1);
            inner.calls.insert(at, call);
        }
    }

    pub(super) fn answer(&self, at: usize) {
        let waiting = self.lock().answers.remove(at);
        (waiting.answer)();
    }

    /// A worker is gone. What it had sent arrives or is lost, each producer's records from some point on; the group waits
    /// for longer than that before another member gets its partitions (the session time-out).
    pub(super) fn crash(&self, worker: usize, dice: &mut Dice) {
        self.lock().answers.retain(|waiting| waiting.worker != worker);
        let mut lost: Vec<Option<String>> = Vec::new();
        loop {
            let next = self.lock().calls.iter().position(|call| call.worker == worker);
            let Some(at) = next else { return };
            let topic = self.lock().calls[at].topic.clone();
            if lost.contains(&topic) || dice.one_in(2) {
                lost.push(topic);
                self.lock().calls.remove(at);
            } else {
                self.carry(at, Fate::Well);
                self.lock().answers.retain(|waiting| waiting.worker != worker);
            }
        }
    }
}

/// The store as one worker sees it.
pub(super) struct FarStore {
    pub(super) store: Arc<dyn Store>,
    pub(super) world: World,
    pub(super) worker: usize,
    pub(super) runtime: Handle,
}

impl FarStore {
    fn call<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&dyn Store) -> BoxFuture<'static, Result<T, StoreError>> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        let (store, runtime) = (Arc::clone(&self.store), self.runtime.clone());
        let failure = StoreError::Unavailable { code: "connection", message: "reset".into() };
        self.world.issue(self.worker, None, failure, move || runtime.block_on(ask(&*store)))
    }
}

impl Store for FarStore {
    fn apply(&self, write: &LabelWrite) -> BoxFuture<'static, Result<Applied, StoreError>> {
        let write = write.clone();
        self.call(move |store| store.apply(&write))
    }

    fn erase(&self, post_id: &str, revision: u64, ttl: Duration) -> BoxFuture<'static, Result<u32, StoreError>> {
        let post_id = post_id.to_owned();
        self.call(move |store| store.erase(&post_id, revision, ttl))
    }

    fn read(&self, post_id: &str, model: &str) -> BoxFuture<'static, Result<Option<StoredLabel>, StoreError>> {
        let (post_id, model) = (post_id.to_owned(), model.to_owned());
        self.call(move |store| store.read(&post_id, &model))
    }

    fn standing(&self, post_id: &str, model: &str) -> BoxFuture<'static, Result<Standing, StoreError>> {
        let (post_id, model) = (post_id.to_owned(), model.to_owned());
        self.call(move |store| store.standing(&post_id, &model))
    }

    fn look_up(
        &self,
        post_ids: &[String],
        model: Option<&str>,
    ) -> BoxFuture<'static, Result<Vec<Result<Found, StoreError>>, StoreError>> {
        let (post_ids, model) = (post_ids.to_vec(), model.map(str::to_owned));
        self.call(move |store| store.look_up(&post_ids, model.as_deref()))
    }

    fn is_erased(&self, post_id: &str) -> BoxFuture<'static, Result<bool, StoreError>> {
        let post_id = post_id.to_owned();
        self.call(move |store| store.is_erased(&post_id))
    }

    fn ping(&self) -> BoxFuture<'static, Result<(), StoreError>> {
        self.call(|store| store.ping())
    }
}

/// The producer of one worker.
pub(super) struct FarTopics {
    pub(super) world: World,
    pub(super) worker: usize,
}

impl RecordSink for FarTopics {
    fn send(&self, record: Arc<OutboundRecord>) -> BoxFuture<'static, Result<(), KafkaError>> {
        let record = Arc::unwrap_or_clone(record);
        let failure = KafkaError::Broker {
            operation: "produce",
            code: "MessageTimedOut".into(),
            message: "no answer".into(),
            fault: Fault::Retryable,
        };
        let (world, topic) = (self.world.clone(), record.topic.clone());
        let effect = move || {
            world.lock().records.push(record);
            Ok(())
        };
        self.world.issue(self.worker, Some(topic), failure, effect)
    }
}
