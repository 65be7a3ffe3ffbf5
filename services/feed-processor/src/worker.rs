//! One worker: generations of the pipeline under supervision, health for operators, drain at the end.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use jtav_ingest::{IngestExit, IngestHandle};
use jtav_kafka::ClientSettings;
use jtav_media::DecodePool;
use jtav_pipeline::{Observer, StageFlow};
use jtav_router::RouterLanes;
use jtav_schemas::{DeadLetterReason, Stage};
use jtav_settings::Settings;
use jtav_store::Store;
use jtav_telemetry::{Conservation, DrainCause, Metric, PauseCause, RestartReason, global};

use crate::erasures::ErasureRepair;
use crate::networks::Networks;
use crate::parameters::{BoxesParams, PipelineParams, encodings, permits};
use crate::progress::{BoxProgress, progress, watch};
use crate::store_watch::StoreWatch;
use crate::topology::Pipeline;
use crate::vitals::{Beats, BoxFailure};

/// First wait before a new generation; doubles up to [`MAX_BACKOFF`].
const MIN_BACKOFF: Duration = Duration::from_millis(500);
/// Longest wait before a new generation.
const MAX_BACKOFF: Duration = Duration::from_secs(30);
/// A generation that ran so long was healthy: the next failure starts at [`MIN_BACKOFF`] again.
const HEALTHY_AFTER: Duration = Duration::from_secs(60);
/// A new generation that has let no post in for so long has none to let in.
const NO_POST_WAITS: Duration = Duration::from_secs(60);
/// Between two looks at whether the worker is ready, for the metric.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How a worker ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkerExit {
    /// Nothing was in flight and everything settled is committed.
    Drained,
    /// The deadline passed; so many posts come again.
    DrainTimedOut { left: usize },
}

/// A worker and what operators may ask of it. Cheap to clone.
#[derive(Clone)]
pub struct Worker {
    params: PipelineParams,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    generation: AtomicU64,
    draining: AtomicBool,
    /// `run` is over.
    has_ended: AtomicBool,
    running: RwLock<Option<Running>>,
    store: StoreWatch,
}

/// The parts of the running generation that operators may look at.
#[derive(Clone)]
pub struct Running {
    pub ingest: IngestHandle,
    pub lanes: RouterLanes,
    /// Signs of life of the threads that run actors.
    pub beats: Beats,
}

impl Worker {
    /// A worker that has not started.
    pub fn new(
        settings: Arc<Settings>,
        client: ClientSettings,
        store: Arc<dyn Store>,
        networks: Networks,
        decoders: DecodePool,
        observer: Arc<dyn Observer>,
    ) -> Self {
        seed_metrics();
        let cache = encodings(&settings, store.as_ref(), &networks);
        let permits = permits(&settings);
        let conservation = Arc::new(Conservation::default());
        let boxes = BoxesParams { settings, networks, decoders, cache, observer, flow: StageFlow::default() };
        let params =
            PipelineParams { boxes, client, store, permits, conservation, way_out: Arc::default(), rereading: None };
        Self { params, state: Arc::default() }
    }

    /// What the pipeline is made of.
    pub fn params(&self) -> &PipelineParams {
        &self.params
    }

    /// The running generation, if one runs.
    pub fn running(&self) -> Option<Running> {
        self.state.running.read().map_or(None, |running| running.clone())
    }

    /// Number of the running generation.
    pub fn generation(&self) -> u64 {
        self.state.generation.load(Ordering::Relaxed)
    }

    /// Why the worker is not alive, if it is not: a device is gone, or a box hangs.
    pub fn ailment(&self) -> Option<String> {
        if !self.params.boxes.networks.is_healthy() {
            return Some("a device thread has ended".to_owned());
        }
        self.progress().iter().find(|progress| progress.is_hung()).map(BoxProgress::message)
    }

    fn progress(&self) -> Vec<BoxProgress> {
        let running = self.running();
        let running = running.as_ref().map(|running| (running.ingest.progress_age(), &running.beats));
        progress(&self.params.boxes, running)
    }

    /// Why the worker takes no posts, if it takes none. Answered from memory.
    pub fn unready(&self) -> Option<String> {
        let reason = self.unready_reason();
        Metric::ready().set(if reason.is_none() { 1.0 } else { 0.0 });
        reason
    }

    fn unready_reason(&self) -> Option<String> {
        if self.state.draining.load(Ordering::Relaxed) {
            return Some("draining".to_owned());
        }
        if let Some(ailment) = self.ailment() {
            return Some(ailment);
        }
        match self.running() {
            None => return Some("no pipeline runs".to_owned()),
            Some(running) if running.ingest.exit().is_some() => return Some("ingest has ended".to_owned()),
            Some(running) if running.ingest.status.snapshot().paused_by.contains(&PauseCause::Breaker) => {
                return Some("breaker: intake is stopped, too many posts failed for reasons of our own".to_owned());
            }
            Some(_) => {}
        }
        if let Some(refusal) = self.params.way_out.refusal() {
            return Some(format!("dead letters: {refusal}"));
        }
        self.state.store.problem(Instant::now())
    }

    /// Asks the store whether it answers, and looks after its erasures, for as long as what is returned lives.
    fn watch_store(&self) -> [Background; 2] {
        let (worker, params) = (self.clone(), &self.params);
        let ask = async move {
            let look = async {
                loop {
                    worker.unready();
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            };
            futures::join!(worker.state.store.ask(&*worker.params.store), look);
        };
        // A part of the feed that is read again is no reason to look after what live workers look after.
        let keeper = params.rereading.is_none().then(|| params.store.erasure_keeper()).flatten();
        let repair = keeper
            .map(|keeper| ErasureRepair::new(keeper, params.client.clone(), Arc::clone(&params.boxes.settings)).run());
        let repair = async move {
            if let Some(repair) = repair {
                repair.await;
            }
        };
        [Background(actix_rt::spawn(ask)), Background(actix_rt::spawn(repair))]
    }

    /// Runs generations until `shutdown` resolves, then drains. Must run inside an actix system.
    ///
    /// # Errors
    /// The first generation cannot start: settings or clients that no restart would mend.
    pub async fn run(&self, shutdown: impl Future<Output = ()>) -> anyhow::Result<WorkerExit> {
        let worker = self.clone();
        let look = move || (!worker.state.has_ended.load(Ordering::Relaxed)).then(|| worker.progress());
        watch(look, Arc::clone(&self.params.boxes.networks.on_fatal))?;
        let exit = self.supervise(shutdown).await;
        self.state.has_ended.store(true, Ordering::Relaxed);
        exit
    }

    async fn supervise(&self, shutdown: impl Future<Output = ()>) -> anyhow::Result<WorkerExit> {
        tokio::pin!(shutdown);
        let hung_after = self.params.boxes.settings.admin.hung_after();
        let _watching = self.watch_store();
        let mut backoff = MIN_BACKOFF;
        let mut pipeline = Pipeline::start(&self.params)?;
        self.started(&pipeline);
        loop {
            let started = Instant::now();
            let failure = tokio::select! {
                () = &mut shutdown => return Ok(self.drain(&pipeline).await),
                exit = pipeline.ingest.exited() => match exit {
                    IngestExit::Failed(reason) => Failure::Ingest(reason),
                    exit => return Ok(worker_exit(exit)),
                },
                failure = pipeline.boxes.failed(hung_after) => Failure::Boxes(failure),
            };
            let failed_at = Instant::now();
            self.stop_failed(&pipeline, &failure).await;
            if started.elapsed() > HEALTHY_AFTER {
                backoff = MIN_BACKOFF;
            }
            let received = self.params.conservation.received_count();
            loop {
                tracing::warn!(wait_ms = backoff.as_millis() as u64, "starting a new generation after a pause");
                tokio::select! {
                    () = &mut shutdown => return Ok(self.end_without_boxes(&pipeline).await),
                    () = tokio::time::sleep(backoff) => {}
                }
                backoff = (backoff * 2).min(MAX_BACKOFF);
                match self.restart(&mut pipeline).await {
                    Ok(()) => break,
                    Err(error) => tracing::error!(error = %format!("{error:#}"), "the generation did not start"),
                }
            }
            self.started(&pipeline);
            actix_rt::spawn(watch_recovery(Arc::clone(&self.params.conservation), received, failed_at));
        }
    }

    /// One for all: half a pipeline is worth nothing, and the truth is in Kafka. Ingest is part of it only if it has
    /// ended; its thread, its ledgers and its membership know nothing of the boxes behind it.
    async fn restart(&self, pipeline: &mut Pipeline) -> anyhow::Result<()> {
        if pipeline.ingest.exit().is_some() {
            *pipeline = Pipeline::start(&self.params)?;
            return Ok(());
        }
        pipeline.restart_boxes(&self.params).await
    }

    fn started(&self, pipeline: &Pipeline) {
        let generation = self.state.generation.fetch_add(1, Ordering::Relaxed) + 1;
        Metric::pipeline_generation().set(generation as f64);
        self.set_running(Some(Running {
            ingest: pipeline.ingest.clone(),
            lanes: pipeline.boxes.lanes.clone(),
            beats: pipeline.boxes.beats.clone(),
        }));
        tracing::info!(generation, "pipeline started");
    }

    fn set_running(&self, running: Option<Running>) {
        if let Ok(mut slot) = self.state.running.write() {
            *slot = running;
        }
    }

    async fn stop_failed(&self, pipeline: &Pipeline, failure: &Failure) {
        match failure {
            Failure::Ingest(reason) => tracing::error!(reason, "ingest failed; all of the pipeline restarts"),
            Failure::Boxes(BoxFailure::Ended(actor)) => {
                tracing::error!(actor, "an actor ended that must not; all boxes restart");
            }
            Failure::Boxes(BoxFailure::Hung(actor)) => {
                tracing::error!(actor, "the thread of an actor hangs; all boxes restart on new ones");
            }
        }
        Metric::pipeline_restarts(failure.reason()).inc();
        self.set_running(None);
        pipeline.stop_boxes().await;
    }

    /// What was inside is abandoned already; what was settled before may still have to be committed.
    async fn end_without_boxes(&self, pipeline: &Pipeline) -> WorkerExit {
        if pipeline.ingest.exit().is_some() { WorkerExit::Drained } else { self.drain(pipeline).await }
    }

    async fn drain(&self, pipeline: &Pipeline) -> WorkerExit {
        self.state.draining.store(true, Ordering::Relaxed);
        Metric::ready().set(0.0);
        let timeout = self.params.boxes.settings.shutdown.shutdown_timeout();
        tracing::info!(
            timeout_ms = timeout.as_millis() as u64,
            in_flight = self.params.permits.in_flight(),
            "draining"
        );
        let started = Instant::now();
        let exit = pipeline.drain(timeout).await;
        Metric::drain_seconds(DrainCause::Shutdown).observe(started.elapsed().as_secs_f64());
        tracing::info!(?exit, seconds = started.elapsed().as_secs_f64(), "drained");
        pipeline.boxes.stop();
        worker_exit(exit)
    }
}

fn worker_exit(exit: IngestExit) -> WorkerExit {
    match exit {
        IngestExit::Drained => WorkerExit::Drained,
        IngestExit::DrainTimedOut { left } => WorkerExit::DrainTimedOut { left },
        IngestExit::Failed(reason) => {
            tracing::warn!(reason, "ingest failed while draining; what was not committed comes again");
            WorkerExit::DrainTimedOut { left: 0 }
        }
    }
}

/// A task that ends with this value.
struct Background(tokio::task::JoinHandle<()>);

impl Drop for Background {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Why a generation cannot go on.
enum Failure {
    Ingest(String),
    Boxes(BoxFailure),
}

impl Failure {
    /// Metric label.
    fn reason(&self) -> RestartReason {
        match self {
            Failure::Ingest(_) => RestartReason::IngestFailed,
            Failure::Boxes(BoxFailure::Ended(_)) => RestartReason::ActorEnded,
            Failure::Boxes(BoxFailure::Hung(_)) => RestartReason::ActorHung,
        }
    }
}

/// Measures how long it took from a failure to the first post that was let in again.
async fn watch_recovery(conservation: Arc<Conservation>, before: u64, failed_at: Instant) {
    while conservation.received_count() == before {
        if failed_at.elapsed() > NO_POST_WAITS {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let elapsed = failed_at.elapsed();
    Metric::pipeline_recovery_seconds().observe(elapsed.as_secs_f64());
    tracing::info!(after_ms = elapsed.as_millis() as u64, "posts are let in again");
}

/// Writes 0 to the series that alerts watch for a rise: a counter that first appears at 1 has not risen.
fn seed_metrics() {
    global().start_from_zero();
    // Not among those: a readers' server without a worker would be a worker that is never ready.
    Metric::ready().set(0.0);
    Metric::build_info(env!("CARGO_PKG_VERSION")).set(1.0);
    // Not every stage sets a post aside for every reason.
    Metric::dead_letters(Stage::Ingest, DeadLetterReason::CrashedWorker).add(0.0);
    for stage in Stage::ALL.into_iter().filter(|stage| stage.depends_on_content()) {
        Metric::dead_letters(stage, DeadLetterReason::DeadlineExceeded).add(0.0);
    }
}
