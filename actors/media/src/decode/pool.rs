//! Threads that decode, or have a process decode, behind a bounded queue.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use jtav_pipeline::{Decoded, FailPoint, FetchedMedia, MediaDecoder, Progress, Stage, StageError, fail_point};
use jtav_schemas::AbsentReason;
use jtav_telemetry::{Metric, ShareKind};
use tokio::sync::oneshot;

use super::params::{DecodeParams, Isolation};
use super::process::{Engine, Keeper};
use super::queue::JobQueue;

/// Decodes on its own threads; cheap to clone. The threads end when the last clone is gone and the queue is empty.
#[derive(Clone)]
pub struct DecodePool {
    jobs: Arc<Jobs>,
    progress: Progress,
}

/// Closes the queue with the last clone of the pool.
struct Jobs(JobQueue<Job>);

impl Drop for Jobs {
    fn drop(&mut self) {
        self.0.close();
    }
}

struct Job {
    media: FetchedMedia,
    reply: oneshot::Sender<Result<Result<Decoded, AbsentReason>, StageError>>,
    queued: Queued,
}

/// Counts a medium in the queue for as long as it is there.
struct Queued(Instant);

impl Queued {
    fn now() -> Self {
        Metric::decode_queue().shift(1.0);
        Self(Instant::now())
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        Metric::decode_queue().shift(-1.0);
        Metric::share_wait_seconds(ShareKind::Decode).observe(self.0.elapsed().as_secs_f64());
    }
}

impl DecodePool {
    /// Starts the workers. Blocks until the program that worker processes come from has started, some tenths of a second.
    ///
    /// # Errors
    /// The system gives no thread; worker processes cannot be had.
    pub fn start(params: &DecodeParams) -> io::Result<Self> {
        let workers = params.workers.max(1);
        let queue = JobQueue::new(workers, params.max_queued.max(1));
        // From here on a thread that cannot be had ends those that could.
        let pool = Self { jobs: Arc::new(Jobs(queue.clone())), progress: Progress::new(workers) };
        let keeper = match &params.isolation {
            Isolation::Threads => None,
            Isolation::Processes(process) => Some(Arc::new(Keeper::start(process.clone(), &params.limits)?)),
        };
        let progress = pool.progress.clone();
        for worker in 0..workers {
            let queue = queue.clone();
            let engine = match &keeper {
                None => Engine::Here(params.limits.clone()),
                Some(keeper) => Engine::process(Arc::clone(keeper)),
            };
            let progress = progress.clone();
            let run = move || work(&queue, engine, &progress, worker);
            std::thread::Builder::new().name(format!("decode-{worker}")).spawn(run)?;
        }
        Ok(pool)
    }

    /// Time since a worker took the medium that it still has in hand; of several the longest.
    pub fn progress_age(&self) -> Duration {
        self.progress.age()
    }

    /// Decodes one medium. Dropping the future takes the job out of the queue unless a worker has begun it.
    ///
    /// # Errors
    /// The outer one is retryable: the queue is full, no worker is to be had, or they are going down. The inner one is the
    /// medium's.
    pub async fn decode(&self, media: FetchedMedia) -> Result<Result<Decoded, AbsentReason>, StageError> {
        let (reply, answer) = oneshot::channel();
        let account = media.account.clone();
        let Ok(_place) = self.jobs.0.push(account, Job { media, reply, queued: Queued::now() }) else {
            return Err(StageError::retryable(Stage::Decode, "queue_full", "no decode worker took the medium"));
        };
        let gone = |_| StageError::retryable(Stage::Decode, "workers_gone", "the decode worker went away");
        answer.await.map_err(gone)?
    }
}

impl MediaDecoder for DecodePool {
    fn decode(&self, media: FetchedMedia) -> BoxFuture<'static, Result<Result<Decoded, AbsentReason>, StageError>> {
        fail_point::hit(FailPoint::DecodeBefore, media.modality.as_str());
        let pool = self.clone();
        Box::pin(async move { DecodePool::decode(&pool, media).await })
    }
}

fn work(queue: &JobQueue<Job>, mut engine: Engine, progress: &Progress, worker: usize) {
    engine.prepare();
    while let Some((Job { media, reply, queued }, turn)) = queue.next(|job| job.media.account.clone()) {
        drop(queued);
        if reply.is_closed() {
            continue;
        }
        let _work = progress.begin(worker);
        // A panic that is not the medium's (those are caught with the decoder) costs this job and not the thread: a pool
        // that shrinks in silence would answer slower and slower. Whoever asked is told by the reply that is dropped.
        let ended = catch_unwind(AssertUnwindSafe(|| {
            let result = engine.decode(&media).map(|result| result.map(|(decoded, _)| decoded));
            fail_point::hit(FailPoint::DecodeAfter, media.modality.as_str());
            // The bytes' share of the budget goes back before anybody learns that the work is done.
            drop(media);
            // Whoever asked may have gone; nobody else wants the answer.
            let _ = reply.send(result);
        }));
        if ended.is_err() {
            Metric::stage_errors(Stage::Decode, "worker_panicked", true).inc();
            tracing::error!("a decode worker panicked; it goes on with the next medium");
        }
        // Whoever asked has its answer; the next medium finds a worker that is ready.
        engine.prepare();
        drop(turn);
    }
}
