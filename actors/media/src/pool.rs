//! Threads that decode, or have a process decode, behind a bounded queue.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use futures::future::BoxFuture;
use jtav_pipeline::{Decoded, FailPoint, FetchedMedia, MediaDecoder, Stage, StageError, fail_point};
use jtav_schemas::AbsentReason;
use jtav_telemetry::Metric;
use tokio::sync::oneshot;

use crate::params::{DecodeParams, Isolation};
use crate::process::{Engine, Nursery};

/// Decodes on its own threads; cheap to clone. The threads end when the last clone is gone and the queue is empty.
#[derive(Clone)]
pub struct DecodePool {
    jobs: Sender<Job>,
}

struct Job {
    media: FetchedMedia,
    reply: oneshot::Sender<Result<Result<Decoded, AbsentReason>, StageError>>,
}

impl DecodePool {
    /// Starts the workers. Blocks until the program that worker processes come from has started, some tenths of a second.
    ///
    /// # Errors
    /// The system gives no thread; worker processes cannot be had.
    pub fn start(params: &DecodeParams) -> io::Result<Self> {
        let (jobs, queue) = bounded(params.max_queued.max(1));
        let nursery = match &params.isolation {
            Isolation::Threads => None,
            Isolation::Processes(process) => Some(Arc::new(Nursery::start(process.clone(), &params.limits)?)),
        };
        for worker in 0..params.workers.max(1) {
            let queue = queue.clone();
            let engine = match &nursery {
                None => Engine::Here(params.limits.clone()),
                Some(nursery) => Engine::process(Arc::clone(nursery)),
            };
            std::thread::Builder::new().name(format!("decode-{worker}")).spawn(move || work(&queue, engine))?;
        }
        Ok(Self { jobs })
    }

    /// Decodes one medium. Dropping the future takes the job out of the queue unless a worker has begun it.
    ///
    /// # Errors
    /// The outer one is retryable: the queue is full, no worker is to be had, or they are going down. The inner one is the
    /// medium's.
    pub async fn decode(&self, media: FetchedMedia) -> Result<Result<Decoded, AbsentReason>, StageError> {
        let (reply, answer) = oneshot::channel();
        // Counted before it is queued: a worker may take it at once, and the gauge must not go below zero.
        jtav_telemetry::global().add(Metric::DecodeQueue, &[], 1.0);
        if let Err(error) = self.jobs.try_send(Job { media, reply }) {
            jtav_telemetry::global().add(Metric::DecodeQueue, &[], -1.0);
            let code = match error {
                TrySendError::Full(_) => "queue_full",
                TrySendError::Disconnected(_) => "workers_gone",
            };
            return Err(StageError::retryable(Stage::Decode, code, "no decode worker took the medium"));
        }
        let gone = |_| StageError::retryable(Stage::Decode, "workers_gone", "the decode worker went away");
        answer.await.map_err(gone)?
    }
}

impl MediaDecoder for DecodePool {
    fn decode(&self, media: FetchedMedia) -> BoxFuture<'static, Result<Result<Decoded, AbsentReason>, StageError>> {
        let pool = self.clone();
        Box::pin(async move { DecodePool::decode(&pool, media).await })
    }
}

fn work(queue: &Receiver<Job>, mut engine: Engine) {
    engine.prepare();
    while let Ok(Job { media, reply }) = queue.recv() {
        jtav_telemetry::global().add(Metric::DecodeQueue, &[], -1.0);
        if reply.is_closed() {
            continue;
        }
        // A panic that is not the medium's (those are caught with the decoder) costs this job and not the thread: a pool
        // that shrinks in silence would answer slower and slower. Whoever asked is told by the reply that is dropped.
        let ended = catch_unwind(AssertUnwindSafe(|| {
            let result = engine.decode(&media).map(|verdict| verdict.map(|(decoded, _)| decoded));
            fail_point::hit(FailPoint::DecodeAfter, media.modality.as_str());
            // The bytes' share of the budget goes back before anybody learns that the work is done.
            drop(media);
            // Whoever asked may have gone; nobody else wants the answer.
            let _ = reply.send(result);
        }));
        if ended.is_err() {
            jtav_telemetry::global().inc(Metric::StageErrors, &["decode", "worker_panicked", "true"]);
            tracing::error!("a decode worker panicked; it goes on with the next medium");
        }
        // Whoever asked has its answer; the next medium finds a worker that is ready.
        engine.prepare();
    }
}
