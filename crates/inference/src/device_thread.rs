use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError};
use jtav_courier::{Courier, Parcel};
use jtav_pipeline::{FailPoint, Progress, Stage, StageError, fail_point};
use jtav_schemas::DeadLetterReason;
use jtav_telemetry::Metric;
use tokio::sync::oneshot;

use crate::{Backend, BackendError, BatchLimits, FatalHook, take_batch};

/// How to run one model.
#[derive(Clone)]
pub struct InferenceParams {
    /// Name in metrics, logs and thread names.
    pub model: &'static str,
    /// Stage that errors are attributed to.
    pub stage: Stage,
    /// Threads, each with its own copy of the network, that share one queue.
    pub streams: usize,
    /// Bounds of a batch.
    pub limits: BatchLimits,
    /// Items that may wait. At least the number of permits, so that a full queue is a bug and not a state.
    pub queue_capacity: usize,
    /// Called when the device fails for good.
    pub on_fatal: FatalHook,
}

struct Entry<B: Backend> {
    item: B::Item,
    queued_at: Instant,
    reply: Reply<B>,
}

/// Where an answer goes, and how it gets there.
struct Reply<B: Backend> {
    sender: oneshot::Sender<Answer<B>>,
    courier: Courier,
}

type Answer<B> = Result<<B as Backend>::Output, StageError>;

/// Answers of one batch that are waited for on one thread.
struct Answers<B: Backend>(Vec<(oneshot::Sender<Answer<B>>, Answer<B>)>);

impl<B: Backend> Parcel for Answers<B> {
    fn open(self: Box<Self>) {
        for (sender, answer) in self.0 {
            // The post may have given up meanwhile.
            let _ = sender.send(answer);
        }
    }
}

/// Sends answers to where each is waited for, those of one thread together.
fn answer_all<B: Backend>(answers: impl IntoIterator<Item = (Reply<B>, Answer<B>)>) {
    let mut parcels: Vec<(Courier, Answers<B>)> = Vec::new();
    for (Reply { sender, courier }, answer) in answers {
        match parcels.iter_mut().find(|(other, _)| other.is_same(&courier)) {
            Some((_, parcel)) => parcel.0.push((sender, answer)),
            None => parcels.push((courier, Answers(vec![(sender, answer)]))),
        }
    }
    for (courier, parcel) in parcels {
        courier.carry(Box::new(parcel));
    }
}

struct Shared {
    waiting: AtomicUsize,
    live_threads: AtomicUsize,
    failed: AtomicBool,
    /// The batch that each thread runs.
    progress: Progress,
}

/// Hands items to the threads of one model. Cheap to clone; when the last clone is gone the threads end.
pub struct InferenceHandle<B: Backend> {
    sender: Sender<Entry<B>>,
    shared: Arc<Shared>,
    model: &'static str,
    stage: Stage,
}

impl<B: Backend> Clone for InferenceHandle<B> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), shared: Arc::clone(&self.shared), model: self.model, stage: self.stage }
    }
}

impl<B: Backend> InferenceHandle<B> {
    /// Queues one item and waits for its answer, in the runtime in which it is called. Dropping the future is safe: an item
    /// nobody waits for is skipped.
    pub fn submit(&self, item: B::Item) -> impl Future<Output = Result<B::Output, StageError>> + Send + 'static {
        let (sender, answer) = oneshot::channel();
        let reply = Reply { sender, courier: Courier::here() };
        let queued = self.enqueue(Entry { item, queued_at: Instant::now(), reply });
        let stage = self.stage;
        async move {
            queued?;
            answer.await.unwrap_or_else(|_| Err(StageError::retryable(stage, "device_thread_gone", "no answer")))
        }
    }

    fn enqueue(&self, entry: Entry<B>) -> Result<(), StageError> {
        self.shared.waiting.fetch_add(1, Ordering::Relaxed);
        self.sender.try_send(entry).map_err(|error| {
            self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
            let code = match error {
                TrySendError::Full(_) => "queue_full",
                TrySendError::Disconnected(_) => "device_thread_gone",
            };
            StageError::retryable(self.stage, code, self.model)
        })
    }

    /// Items waiting.
    pub fn queue_len(&self) -> usize {
        self.shared.waiting.load(Ordering::Relaxed)
    }

    /// Time since a thread took the batch, or the half of one, that it still runs; of several the longest.
    pub fn progress_age(&self) -> Duration {
        self.shared.progress.age()
    }

    /// No thread runs a batch and none waits to be run.
    pub fn is_idle(&self) -> bool {
        self.queue_len() == 0 && self.shared.progress.is_idle()
    }

    /// True while every thread of the model runs and its device works.
    pub fn is_healthy(&self) -> bool {
        !self.shared.failed.load(Ordering::Relaxed) && self.shared.live_threads.load(Ordering::Relaxed) > 0
    }
}

/// Starts the threads of one model and waits until each has built and warmed its network. `build` runs on the thread
/// that will own the network, once per stream.
///
/// # Errors
/// Limits that cannot work, a thread that cannot start, or the first failure of `build`.
pub fn spawn<B: Backend>(
    params: InferenceParams,
    build: impl Fn() -> Result<B, BackendError> + Send + Sync + 'static,
) -> Result<InferenceHandle<B>, StageError> {
    let fatal = |code, error: &dyn std::fmt::Display| StageError::fatal(params.stage, code, error);
    params.limits.check(params.model).map_err(|error| fatal("bad_limits", &error))?;
    let (sender, receiver) = crossbeam_channel::bounded(params.queue_capacity.max(1));
    let shared = Arc::new(Shared {
        waiting: AtomicUsize::new(0),
        live_threads: AtomicUsize::new(0),
        failed: AtomicBool::new(false),
        progress: Progress::new(params.streams.max(1)),
    });
    let build = Arc::new(build);
    let (ready_sender, ready) = crossbeam_channel::bounded(params.streams.max(1));
    for stream in 0..params.streams.max(1) {
        let worker = Worker { stream, params: params.clone(), receiver: receiver.clone(), shared: Arc::clone(&shared) };
        let (build, ready_sender) = (Arc::clone(&build), ready_sender.clone());
        std::thread::Builder::new()
            .name(format!("{}-{stream}", params.model))
            .spawn(move || worker.run(&*build, &ready_sender))
            .map_err(|error| fatal("no_thread", &error))?;
    }
    drop(ready_sender);
    for _ in 0..params.streams.max(1) {
        match ready.recv() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(fatal("model_load", &error)),
            Err(_) => return Err(fatal("model_load", &"the device thread ended while loading")),
        }
    }
    Ok(InferenceHandle { sender, shared, model: params.model, stage: params.stage })
}

struct Worker<B: Backend> {
    stream: usize,
    params: InferenceParams,
    receiver: Receiver<Entry<B>>,
    shared: Arc<Shared>,
}

/// Counts a thread out however it ends.
struct Live(Arc<Shared>);

impl Drop for Live {
    fn drop(&mut self) {
        self.0.live_threads.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<B: Backend> Worker<B> {
    fn run(self, build: &dyn Fn() -> Result<B, BackendError>, ready: &Sender<Result<(), BackendError>>) {
        let mut backend = match std::panic::catch_unwind(AssertUnwindSafe(build)) {
            Ok(Ok(backend)) => backend,
            Ok(Err(error)) => return drop(ready.send(Err(error))),
            Err(panic) => return drop(ready.send(Err(BackendError::Device(panic_text(&*panic))))),
        };
        self.shared.live_threads.fetch_add(1, Ordering::Relaxed);
        let _live = Live(Arc::clone(&self.shared));
        // The spawner may have given up on another stream; then the channel closes and this loop ends at once.
        let _ = ready.send(Ok(()));
        let worked = std::panic::catch_unwind(AssertUnwindSafe(|| {
            let mut waiting = VecDeque::new();
            while self.gather(&backend, &mut waiting) {
                let _work = self.shared.progress.begin(self.stream);
                let batch = self.next_batch(&backend, &mut waiting);
                self.forward_batch(&mut backend, batch);
            }
        }));
        if let Err(panic) = worked {
            // A network without its thread answers nobody, and what state the device is in nobody knows.
            self.device_failed(&format!("the thread of model {} panicked: {}", self.params.model, panic_text(&*panic)));
        }
    }

    fn device_failed(&self, message: &str) {
        self.shared.failed.store(true, Ordering::Relaxed);
        tracing::error!(model = self.params.model, message, "device failed for good");
        (self.params.on_fatal)(message);
    }

    /// Waits for at least one entry, then takes what is there without waiting (or up to `max_wait`). False at the end.
    fn gather(&self, backend: &B, waiting: &mut VecDeque<Entry<B>>) -> bool {
        if waiting.is_empty() {
            match self.receiver.recv() {
                Ok(entry) => waiting.push_back(entry),
                Err(_) => return false,
            }
        }
        let limits = &self.params.limits;
        let deadline = Instant::now() + limits.max_wait;
        // One entry beyond the batch tells that it is full; more stay in the queue for the other streams.
        while take_batch(waiting.iter().map(|entry| backend.cost(&entry.item)), limits) == waiting.len()
            && waiting.len() < limits.max_items
        {
            let next = if limits.max_wait.is_zero() {
                self.receiver.try_recv().ok()
            } else {
                self.receiver.recv_deadline(deadline).ok()
            };
            match next {
                Some(entry) => waiting.push_back(entry),
                None => break,
            }
        }
        true
    }

    fn next_batch(&self, backend: &B, waiting: &mut VecDeque<Entry<B>>) -> Vec<Entry<B>> {
        let taken = take_batch(waiting.iter().map(|entry| backend.cost(&entry.item)), &self.params.limits);
        let batch: Vec<_> = waiting.drain(..taken).collect();
        let left = self.shared.waiting.fetch_sub(taken, Ordering::Relaxed) - taken;
        Metric::encoder_queue(self.params.model).set(left as f64);
        // A post that gave up (deadline) has dropped its receiver: its work would be wasted.
        batch.into_iter().filter(|entry| !entry.reply.sender.is_closed()).collect()
    }

    fn forward_batch(&self, backend: &mut B, batch: Vec<Entry<B>>) {
        if batch.is_empty() {
            return;
        }
        let model = self.params.model;
        let mut items = Vec::with_capacity(batch.len());
        let mut replies = VecDeque::with_capacity(batch.len());
        for entry in batch {
            Metric::encoder_queue_seconds(model).observe(entry.queued_at.elapsed().as_secs_f64());
            items.push(entry.item);
            replies.push_back(entry.reply);
        }
        Metric::encoder_batch_items(model).observe(items.len() as f64);
        self.forward_slice(backend, &items, &mut replies, items.len() == 1);
    }

    /// Runs `items`; on failure halves them, so that the guilty one is found in log2(n) steps and the others pass. One
    /// that failed alone and never before (`is_first`) gets a second try: what fails once may pass.
    fn forward_slice(&self, backend: &mut B, items: &[B::Item], replies: &mut VecDeque<Reply<B>>, is_first: bool) {
        if self.shared.failed.load(Ordering::Relaxed) {
            return self.give_up(items.len(), replies, "device failed earlier");
        }
        match self.forward(backend, items) {
            Ok(outputs) if outputs.len() == items.len() => {
                answer_all(replies.drain(..items.len()).zip(outputs.into_iter().map(Ok)));
            }
            Ok(outputs) => {
                let message = format!("{} answers for {} items", outputs.len(), items.len());
                self.bisect(backend, items, replies, is_first, &message);
            }
            Err(BackendError::Batch(message)) => self.bisect(backend, items, replies, is_first, &message),
            Err(BackendError::Device(message)) => {
                self.give_up(items.len(), replies, &message);
                self.device_failed(&message);
            }
        }
    }

    /// One forward pass. A panic is a failure of the batch; a device that is gone says so itself.
    fn forward(&self, backend: &mut B, items: &[B::Item]) -> Result<Vec<B::Output>, BackendError> {
        let started = Instant::now();
        let _work = self.shared.progress.begin(self.stream);
        let result = std::panic::catch_unwind(AssertUnwindSafe(|| {
            match fail_point::error(FailPoint::EncoderMidBatch, self.params.model) {
                Some(injected) => Err(BackendError::Device(injected)),
                None => backend.forward(items),
            }
        }))
        .unwrap_or_else(|panic| Err(BackendError::Batch(format!("panic: {}", panic_text(&*panic)))));
        Metric::encoder_forward_seconds(self.params.model).observe(started.elapsed().as_secs_f64());
        result
    }

    fn bisect(
        &self,
        backend: &mut B,
        items: &[B::Item],
        replies: &mut VecDeque<Reply<B>>,
        is_first: bool,
        message: &str,
    ) {
        if let [_] = items {
            if is_first {
                return self.forward_slice(backend, items, replies, false);
            }
            if let Some(reply) = replies.pop_front() {
                let error = StageError::permanent(self.params.stage, DeadLetterReason::PoisonPill, message);
                answer_all([(reply, Err(error))]);
            }
            return;
        }
        Metric::encoder_bisections(self.params.model).inc();
        tracing::warn!(model = self.params.model, items = items.len(), message, "batch failed, halving it");
        let (first, second) = items.split_at(items.len() / 2);
        self.forward_slice(backend, first, replies, false);
        self.forward_slice(backend, second, replies, false);
    }

    fn give_up(&self, count: usize, replies: &mut VecDeque<Reply<B>>, message: &str) {
        let failure = || StageError::fatal(self.params.stage, "device_fault", message);
        answer_all(replies.drain(..count).map(|reply| (reply, Err(failure()))));
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a message".to_owned())
}

#[cfg(test)]
#[path = "device_thread_tests.rs"]
mod tests;
