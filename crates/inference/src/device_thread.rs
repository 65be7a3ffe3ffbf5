use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError};
use jtav_courier::Courier;
use jtav_pipeline::{Stage, StageError};
use jtav_telemetry::Metric;
use tokio::sync::oneshot;

use crate::runner::{Answer, Entry, Reply, Runner, Shared, panic_text};
use crate::{Backend, BackendError, InferenceParams, take_batch};

/// Hands items to the threads of one model, or computes them at once. Cheap to clone; when the last clone is gone the threads
/// end.
pub struct InferenceHandle<B: Backend> {
    way: Way<B>,
    shared: Arc<Shared>,
    model: &'static str,
    stage: Stage,
}

/// How items get to the network.
enum Way<B: Backend> {
    Queue(Sender<Entry<B>>),
    AtOnce(Arc<dyn Fn(B::Item) -> Answer<B> + Send + Sync>),
}

/// What came of handing an item over.
enum Asked<B: Backend> {
    Answered(Answer<B>),
    Waits(oneshot::Receiver<Answer<B>>),
}

impl<B: Backend> Clone for Way<B> {
    fn clone(&self) -> Self {
        match self {
            Way::Queue(sender) => Way::Queue(sender.clone()),
            Way::AtOnce(answer) => Way::AtOnce(Arc::clone(answer)),
        }
    }
}

impl<B: Backend> Clone for InferenceHandle<B> {
    fn clone(&self) -> Self {
        Self { way: self.way.clone(), shared: Arc::clone(&self.shared), model: self.model, stage: self.stage }
    }
}

impl<B: Backend> InferenceHandle<B> {
    /// Queues one item and waits for its answer, in the runtime in which it is called; of a network that answers at once ([`at_once`])
    /// the answer is there when this returns. Dropping the future is safe: an item nobody waits for is skipped.
    pub fn submit(&self, item: B::Item) -> impl Future<Output = Result<B::Output, StageError>> + Send + 'static {
        let asked = match &self.way {
            Way::AtOnce(answer) => Asked::<B>::Answered(answer(item)),
            Way::Queue(sender) => match self.enqueue(sender, item) {
                Ok(answer) => Asked::Waits(answer),
                Err(error) => Asked::Answered(Err(error)),
            },
        };
        let stage = self.stage;
        async move {
            match asked {
                Asked::Answered(answer) => answer,
                Asked::Waits(answer) => answer
                    .await
                    .unwrap_or_else(|_| Err(StageError::retryable(stage, "device_thread_gone", "no answer"))),
            }
        }
    }

    fn enqueue(&self, queue: &Sender<Entry<B>>, item: B::Item) -> Result<oneshot::Receiver<Answer<B>>, StageError> {
        let (sender, answer) = oneshot::channel();
        let entry = Entry { item, queued_at: Instant::now(), reply: Reply { sender, courier: Courier::here() } };
        self.shared.waiting.fetch_add(1, Ordering::Relaxed);
        queue.try_send(entry).map(|()| answer).map_err(|error| {
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
    let shared = Arc::new(Shared::new(params.streams.max(1)));
    let build = Arc::new(build);
    let (ready_sender, ready) = crossbeam_channel::bounded(params.streams.max(1));
    for stream in 0..params.streams.max(1) {
        let runner = Runner { stream, params: params.clone(), shared: Arc::clone(&shared) };
        let worker = Worker { runner, receiver: receiver.clone() };
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
    Ok(InferenceHandle { way: Way::Queue(sender), shared, model: params.model, stage: params.stage })
}

/// A network whose answers take less time than to hand an item to another thread and back: each is computed by whoever submits
/// it, one after the other, and never in a batch. Failures, panics and a device that is gone mean what they mean on a thread of
/// its own, and so do the ages of [`InferenceHandle::progress_age`]; of the parameters streams, limits and queue are without
/// meaning.
pub fn at_once<B: Backend + Send>(params: InferenceParams, backend: B) -> InferenceHandle<B> {
    let (model, stage) = (params.model, params.stage);
    let shared = Arc::new(Shared::new(1));
    shared.live_threads.store(1, Ordering::Relaxed);
    let runner = Runner { stream: 0, params, shared: Arc::clone(&shared) };
    let backend = Mutex::new(backend);
    let answer = move |item| {
        // A panic within a forward pass is caught there.
        let mut backend = backend.lock().unwrap_or_else(PoisonError::into_inner);
        runner.run_alone(&mut *backend, item)
    };
    InferenceHandle { way: Way::AtOnce(Arc::new(answer)), shared, model, stage }
}

struct Worker<B: Backend> {
    runner: Runner,
    receiver: Receiver<Entry<B>>,
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
        self.runner.shared.live_threads.fetch_add(1, Ordering::Relaxed);
        let _live = Live(Arc::clone(&self.runner.shared));
        // The spawner may have given up on another stream; then the channel closes and this loop ends at once.
        let _ = ready.send(Ok(()));
        let worked = std::panic::catch_unwind(AssertUnwindSafe(|| {
            let mut waiting = VecDeque::new();
            while self.gather(&backend, &mut waiting) {
                let _work = self.runner.shared.progress.begin(self.runner.stream);
                let batch = self.next_batch(&backend, &mut waiting);
                self.runner.forward_batch(&mut backend, batch);
            }
        }));
        if let Err(panic) = worked {
            // A network without its thread answers nobody, and what state the device is in nobody knows.
            self.runner.device_failed(&format!(
                "the thread of model {} panicked: {}",
                self.runner.params.model,
                panic_text(&*panic)
            ));
        }
    }

    /// Waits for at least one entry, then takes what is there without waiting (or up to `max_wait`). False at the end.
    fn gather(&self, backend: &B, waiting: &mut VecDeque<Entry<B>>) -> bool {
        if waiting.is_empty() {
            match self.receiver.recv() {
                Ok(entry) => waiting.push_back(entry),
                Err(_) => return false,
            }
        }
        let limits = &self.runner.params.limits;
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
        let taken = take_batch(waiting.iter().map(|entry| backend.cost(&entry.item)), &self.runner.params.limits);
        let batch: Vec<_> = waiting.drain(..taken).collect();
        let left = self.runner.shared.waiting.fetch_sub(taken, Ordering::Relaxed) - taken;
        Metric::encoder_queue(self.runner.params.model).set(left as f64);
        // A post that gave up (deadline) has dropped its receiver: its work would be wasted.
        batch.into_iter().filter(|entry| !entry.reply.sender.is_closed()).collect()
    }
}

#[cfg(test)]
#[path = "device_thread_tests.rs"]
mod tests;
