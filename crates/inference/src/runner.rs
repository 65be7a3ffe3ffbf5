//! Runs batches and answers each item, on whatever thread the network lives.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use jtav_courier::{Courier, Parcel};
use jtav_pipeline::{FailPoint, Progress, StageError, fail_point};
use jtav_schemas::DeadLetterReason;
use jtav_telemetry::Metric;
use tokio::sync::oneshot;

use crate::{Backend, BackendError, InferenceParams};

pub(crate) struct Entry<B: Backend> {
    pub(crate) item: B::Item,
    pub(crate) queued_at: Instant,
    pub(crate) reply: Reply<B>,
}

/// Where an answer goes, and how it gets there.
pub(crate) struct Reply<B: Backend> {
    pub(crate) sender: oneshot::Sender<Answer<B>>,
    pub(crate) courier: Courier,
}

pub(crate) type Answer<B> = Result<<B as Backend>::Output, StageError>;

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

/// What the handle of a model and those who run it know of each other.
pub(crate) struct Shared {
    pub(crate) waiting: AtomicUsize,
    pub(crate) live_threads: AtomicUsize,
    pub(crate) failed: AtomicBool,
    /// The batch that each thread runs.
    pub(crate) progress: Progress,
}

impl Shared {
    pub(crate) fn new(streams: usize) -> Self {
        Self {
            waiting: AtomicUsize::new(0),
            live_threads: AtomicUsize::new(0),
            failed: AtomicBool::new(false),
            progress: Progress::new(streams),
        }
    }
}

/// What runs the batches of one stream.
pub(crate) struct Runner {
    pub(crate) stream: usize,
    pub(crate) params: InferenceParams,
    pub(crate) shared: Arc<Shared>,
}

impl Runner {
    pub(crate) fn device_failed(&self, message: &str) {
        self.shared.failed.store(true, Ordering::Relaxed);
        tracing::error!(model = self.params.model, message, "device failed for good");
        (self.params.on_fatal)(message);
    }

    pub(crate) fn forward_batch<B: Backend>(&self, backend: &mut B, batch: Vec<Entry<B>>) {
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

    /// Runs one item by itself; what fails once may pass, what fails twice is its own fault.
    pub(crate) fn run_alone<B: Backend>(&self, backend: &mut B, item: B::Item) -> Answer<B> {
        let stage = self.params.stage;
        Metric::encoder_batch_items(self.params.model).observe(1.0);
        let items = [item];
        let mut message = String::new();
        for _ in 0..2 {
            if self.shared.failed.load(Ordering::Relaxed) {
                return Err(StageError::fatal(stage, "device_fault", "device failed earlier"));
            }
            match self.forward(backend, &items) {
                Ok(mut outputs) if outputs.len() == 1 => return Ok(outputs.remove(0)),
                Ok(outputs) => message = format!("{} answers for one item", outputs.len()),
                Err(BackendError::Batch(said)) => message = said,
                Err(BackendError::Device(said)) => {
                    self.device_failed(&said);
                    return Err(StageError::fatal(stage, "device_fault", said));
                }
            }
        }
        Err(StageError::permanent(stage, DeadLetterReason::PoisonPill, message))
    }

    /// Runs `items`; on failure halves them, so that the guilty one is found in log2(n) steps and the others pass. One
    /// that failed alone and never before (`is_first`) gets a second try: what fails once may pass.
    fn forward_slice<B: Backend>(
        &self,
        backend: &mut B,
        items: &[B::Item],
        replies: &mut VecDeque<Reply<B>>,
        is_first: bool,
    ) {
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
    fn forward<B: Backend>(&self, backend: &mut B, items: &[B::Item]) -> Result<Vec<B::Output>, BackendError> {
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

    fn bisect<B: Backend>(
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

    fn give_up<B: Backend>(&self, count: usize, replies: &mut VecDeque<Reply<B>>, message: &str) {
        let failure = || StageError::fatal(self.params.stage, "device_fault", message);
        answer_all(replies.drain(..count).map(|reply| (reply, Err(failure()))));
    }
}

pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a message".to_owned())
}
