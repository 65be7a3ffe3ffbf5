//! One worker: generations of the pipeline under supervision, health for operators, drain at the end.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use jtav_delivery::PostPermits;
use jtav_ingest::{BREAKER, IngestExit, IngestHandle};
use jtav_kafka::ClientSettings;
use jtav_pipeline::Observer;
use jtav_router::{EncodingCache, RouterLanes};
use jtav_settings::Settings;
use jtav_store::Store;
use jtav_telemetry::{Conservation, Metric, global};

use crate::networks::Networks;
use crate::topology::{BoxesParams, Pipeline, PipelineParams};

/// First wait before a new generation; doubles up to [`MAX_BACKOFF`].
const MIN_BACKOFF: Duration = Duration::from_millis(500);
/// Longest wait before a new generation.
const MAX_BACKOFF: Duration = Duration::from_secs(30);
/// A generation that ran so long was healthy: the next failure starts at [`MIN_BACKOFF`] again.
const HEALTHY_AFTER: Duration = Duration::from_secs(60);
/// Posts of a failed generation get so long to end before its arbiters are stopped.
const GRACE_OF_FAILED: Duration = Duration::from_secs(5);
/// A poll thread that has not gone round for so long is stuck; it takes up to 2 s where Kafka does not answer.
const STUCK_AFTER: Duration = Duration::from_secs(10);
/// Longest wait for the store's answer to a readiness probe.
const PING_TIMEOUT: Duration = Duration::from_secs(1);

/// How a worker ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkerExit {
    /// Nothing was in flight and everything settled is committed.
    Drained,
    /// The deadline passed; so many posts come again.
    DrainTimedOut {
        /// How many.
        left: usize,
    },
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
    running: RwLock<Option<Running>>,
}

/// The parts of the running generation that operators may look at.
#[derive(Clone)]
pub struct Running {
    /// Box 1.
    pub ingest: IngestHandle,
    /// Box 2.
    pub lanes: RouterLanes,
}

impl Worker {
    /// A worker that has not started.
    pub fn new(
        settings: Arc<Settings>,
        client: ClientSettings,
        store: Arc<dyn Store>,
        networks: Networks,
        observer: Arc<dyn Observer>,
    ) -> Self {
        seed_metrics();
        let cache = EncodingCache::new(settings.cache.max_bytes, &networks.model_version);
        let permits = PostPermits::new(settings.ingest.max_in_flight_posts);
        let conservation = Arc::new(Conservation::default());
        let boxes = BoxesParams { settings, networks, cache, observer };
        let params = PipelineParams { boxes, client, store, permits, conservation, rereading: None };
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

    /// Why the worker is not alive, if it is not: its poll thread is stuck or a device is gone.
    pub fn ailment(&self) -> Option<String> {
        if !self.params.boxes.networks.is_healthy() {
            return Some("a device thread has ended".to_owned());
        }
        let age = self.running().map(|running| running.ingest.progress_age()).filter(|age| *age > STUCK_AFTER)?;
        Some(format!("the poll thread has not gone round for {} s", age.as_secs()))
    }

    /// Why the worker takes no posts, if it takes none.
    pub async fn unready(&self) -> Option<String> {
        let reason = self.unready_reason().await;
        global().set(Metric::Ready, &[], if reason.is_none() { 1.0 } else { 0.0 });
        reason
    }

    async fn unready_reason(&self) -> Option<String> {
        if self.state.draining.load(Ordering::Relaxed) {
            return Some("draining".to_owned());
        }
        if let Some(ailment) = self.ailment() {
            return Some(ailment);
        }
        match self.running() {
            None => return Some("no pipeline runs".to_owned()),
            Some(running) if running.ingest.exit().is_some() => return Some("ingest has ended".to_owned()),
            Some(running) if running.ingest.status.snapshot().paused_by.contains(&BREAKER) => {
                return Some("breaker: intake is stopped, too many posts failed for reasons of our own".to_owned());
            }
            Some(_) => {}
        }
        match tokio::time::timeout(PING_TIMEOUT, self.params.store.ping()).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(format!("store: {error}")),
            Err(_) => Some("store: no answer".to_owned()),
        }
    }

    /// Runs generations until `shutdown` resolves, then drains. Must run inside an actix system.
    ///
    /// # Errors
    /// The first generation cannot start: settings or clients that no restart would mend.
    pub async fn run(&self, shutdown: impl Future<Output = ()>) -> anyhow::Result<WorkerExit> {
        tokio::pin!(shutdown);
        let mut backoff = MIN_BACKOFF;
        let mut pipeline = self.start_generation()?;
        loop {
            let started = Instant::now();
            let reason = tokio::select! {
                () = &mut shutdown => return Ok(self.drain(&pipeline).await),
                exit = pipeline.ingest.exited() => match exit {
                    IngestExit::Failed(reason) => reason,
                    exit => return Ok(worker_exit(exit)),
                },
            };
            self.retire(&pipeline, &reason).await;
            if started.elapsed() > HEALTHY_AFTER {
                backoff = MIN_BACKOFF;
            }
            pipeline = loop {
                tracing::warn!(wait_ms = backoff.as_millis() as u64, "starting a new generation after a pause");
                tokio::select! {
                    () = &mut shutdown => return Ok(WorkerExit::Drained),
                    () = tokio::time::sleep(backoff) => {}
                }
                backoff = (backoff * 2).min(MAX_BACKOFF);
                match self.start_generation() {
                    Ok(pipeline) => break pipeline,
                    Err(error) => tracing::error!(error = %format!("{error:#}"), "the generation did not start"),
                }
            };
        }
    }

    fn start_generation(&self) -> anyhow::Result<Pipeline> {
        let pipeline = Pipeline::start(&self.params)?;
        let generation = self.state.generation.fetch_add(1, Ordering::Relaxed) + 1;
        global().set(Metric::PipelineGeneration, &[], generation as f64);
        self.set_running(Some(Running { ingest: pipeline.ingest.clone(), lanes: pipeline.boxes.lanes.clone() }));
        tracing::info!(generation, "pipeline started");
        Ok(pipeline)
    }

    fn set_running(&self, running: Option<Running>) {
        if let Ok(mut slot) = self.state.running.write() {
            *slot = running;
        }
    }

    /// One for all: half a pipeline is worth nothing, and the truth is in Kafka.
    async fn retire(&self, pipeline: &Pipeline, reason: &str) {
        tracing::error!(reason, "the pipeline failed; all of it restarts");
        global().inc(Metric::PipelineRestarts, &["ingest_failed"]);
        self.set_running(None);
        let deadline = Instant::now() + GRACE_OF_FAILED;
        while self.params.permits.in_flight() > 0 && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        pipeline.boxes.stop();
    }

    async fn drain(&self, pipeline: &Pipeline) -> WorkerExit {
        self.state.draining.store(true, Ordering::Relaxed);
        global().set(Metric::Ready, &[], 0.0);
        let timeout = self.params.boxes.settings.shutdown.shutdown_timeout();
        tracing::info!(
            timeout_ms = timeout.as_millis() as u64,
            in_flight = self.params.permits.in_flight(),
            "draining"
        );
        let started = Instant::now();
        let exit = pipeline.drain(timeout).await;
        global().observe(Metric::DrainSeconds, &["shutdown"], started.elapsed().as_secs_f64());
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

/// Writes 0 to the series that alerts watch for a rise: a counter that first appears at 1 has not risen.
fn seed_metrics() {
    let telemetry = global();
    telemetry.set(Metric::BuildInfo, &[env!("CARGO_PKG_VERSION")], 1.0);
    telemetry.set(Metric::Ready, &[], 0.0);
    telemetry.add(Metric::Abandoned, &[], 0.0);
    telemetry.add(Metric::Degraded, &[], 0.0);
    telemetry.add(Metric::Rewinds, &[], 0.0);
    telemetry.add(Metric::PipelineRestarts, &["ingest_failed"], 0.0);
    for kind in ["assign", "revoke", "lost"] {
        telemetry.add(Metric::Rebalances, &[kind], 0.0);
    }
    for result in ["ok", "not_owner", "error"] {
        telemetry.add(Metric::Commits, &[result], 0.0);
    }
    for sink in ["redis", "sentiment", "embeddings", "erasures"] {
        telemetry.add(Metric::PublishRecords, &[sink, "error"], 0.0);
    }
}
