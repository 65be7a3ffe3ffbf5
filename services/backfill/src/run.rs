//! The backfill as a whole.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use jtav_feed_processor::parameters::permits;
use jtav_feed_processor::{BoxesParams, Networks, Pipeline, PipelineParams, Rereading};
use jtav_ingest::IngestExit;
use jtav_kafka::{ClientSettings, PartitionRange};
use jtav_media::DecodePool;
use jtav_pipeline::StageFlow;
use jtav_router::EncodingCache;
use jtav_settings::Settings;
use jtav_store::Store;
use jtav_telemetry::Conservation;

use crate::account::{Account, Tally};
use crate::plan::{InputTopic, Plan};
use crate::{dry_run, tombstones};

/// Longest wait for any one answer of a broker.
const PATIENCE: Duration = Duration::from_secs(20);
/// Time between two reports of progress.
const TICK: Duration = Duration::from_millis(250);

/// What a backfill works with. `settings` are the live worker's, but for the model.
#[derive(Clone)]
pub struct Backfill {
    /// Bounds, topics, patience.
    pub settings: Arc<Settings>,
    /// How to reach Kafka.
    pub client: ClientSettings,
    /// Where labels go.
    pub store: Arc<dyn Store>,
    /// The new model.
    pub networks: Networks,
    /// Decode media.
    pub decoders: DecodePool,
    pub options: Options,
}

/// What to label again, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Consumer group.
    pub group_id: String,
    /// From the first record as young as this, milliseconds since 1970; by default the oldest that is there.
    pub from_ms: Option<i64>,
    /// To the first record as young as this; by default the end of the topic at the time of the call.
    pub to_ms: Option<i64>,
    /// Posts a second at most.
    pub posts_per_second: f64,
    /// Produce labels and vectors to the topics of the settings too.
    pub publish: bool,
    /// Count and write nothing.
    pub dry_run: bool,
}

/// How a backfill ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// All of the offset range is settled.
    Complete,
    /// It was asked to stop: what was in flight is settled and committed, another call goes on.
    Stopped,
    /// It was asked to stop and so many posts did not settle in time; another call reads them again.
    StopTimedOut { in_flight: usize },
    /// It could not go on; another call does.
    Failed { reason: String },
}

/// What a backfill is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Looking for tombstones on the whole topic.
    Tombstones,
    /// Labelling, or counting in a dry run.
    Posts,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub phase: Phase,
    /// Records that are done in it.
    pub done: u64,
    /// Offsets to go through in it; those without a record count.
    pub total: u64,
}

/// The group that a backfill reads in if it is given none: one for each model, so that a second call goes on.
pub fn default_group(settings: &Settings, model_version: &str) -> String {
    format!("{}-backfill-{model_version}", settings.kafka.group_id)
}

/// Labels the offset range until it is done or `stop` resolves; `progress` is told every now and then. Must run inside an
/// actix system.
///
/// # Errors
/// Broker or store out of reach before the first post, the live worker's group. From then on the account tells.
pub async fn backfill(
    with: &Backfill,
    stop: impl Future<Output = ()>,
    mut progress: impl FnMut(Progress),
) -> anyhow::Result<(Account, End)> {
    let started = Instant::now();
    let Options { group_id, dry_run, .. } = &with.options;
    ensure!(
        *group_id != with.settings.kafka.group_id,
        "`{group_id}` is the group of the live workers (kafka.group_id): a backfill in it would move their offsets"
    );
    let mut stop = pin!(stop);
    let tally = Tally::default();
    tally.change(|account| {
        account.dry_run = *dry_run;
        account.model_version = with.networks.model_version.to_string();
        account.group.clone_from(group_id);
    });
    let prepared = tokio::select! {
        biased;
        () = &mut stop => None,
        plan = with.prepare(&tally, &mut progress) => Some(plan?),
    };
    let (end, left) = match prepared {
        None => (End::Stopped, 0),
        Some(_) if *dry_run => (End::Complete, 0),
        Some(plan) if total(&plan.left()) == 0 => (End::Complete, 0),
        Some(plan) => {
            let end = with.label(&plan, &tally, stop, &mut progress).await?;
            let left = if end == End::Complete { 0 } else { with.left(&plan).await };
            (end, left)
        }
    };
    let mut account = tally.now();
    account.left = left;
    account.seconds = started.elapsed().as_secs_f64();
    Ok((account, end))
}

fn total(ranges: &[PartitionRange]) -> u64 {
    ranges.iter().map(PartitionRange::len).sum()
}

impl Backfill {
    fn topic(&self) -> InputTopic {
        let name = self.settings.kafka.input_topic.clone();
        InputTopic { client: self.client.clone(), name, patience: PATIENCE }
    }

    /// Makes the plan, sees to the tombstones and, in a dry run, counts.
    async fn prepare(&self, tally: &Tally, progress: &mut impl FnMut(Progress)) -> anyhow::Result<Plan> {
        let (topic, options) = (self.topic(), self.options.clone());
        let ask = move || topic.plan(&options.group_id, options.from_ms, options.to_ms);
        let plan = tokio::task::spawn_blocking(ask).await.context("the thread that asks the brokers")??;
        tally.change(|account| (account.records, account.done_before) = (plan.records(), plan.done_before()));

        let dry_run = self.options.dry_run;
        let max_record_bytes = self.settings.ingest.max_record_bytes;
        let erased_ttl = (!dry_run).then(|| self.settings.store.erased_ttl());
        let log = total(&plan.log);
        let told = |done| progress(Progress { phase: Phase::Tombstones, done, total: log });
        let (topic, store) = (self.topic(), &*self.store);
        let tombstones =
            tombstones::carry_out(&topic, plan.log.clone(), max_record_bytes, store, erased_ttl, told).await?;
        tally.change(|account| {
            (account.tombstones_on_topic, account.erasures_made_good) = (tombstones.found, tombstones.made_good);
        });
        if dry_run {
            let left = plan.left();
            let total = total(&left);
            let told = |account: &Account| progress(Progress { phase: Phase::Posts, done: account.settled(), total });
            dry_run::count(&topic, left, max_record_bytes, store, &tombstones, tally, told).await?;
        }
        Ok(plan)
    }

    async fn label(
        &self,
        plan: &Plan,
        tally: &Tally,
        mut stop: Pin<&mut impl Future<Output = ()>>,
        progress: &mut impl FnMut(Progress),
    ) -> anyhow::Result<End> {
        let pipeline = Pipeline::start(&self.pipeline(plan, tally))?;
        let total = total(&plan.left());
        let mut tick = tokio::time::interval(TICK);
        let end = loop {
            tokio::select! {
                exit = pipeline.ingest.exited() => break match exit {
                    IngestExit::Drained => End::Complete,
                    exit => end_of(exit),
                },
                () = &mut stop => {
                    break end_of(pipeline.drain(self.settings.shutdown.shutdown_timeout()).await);
                }
                _ = tick.tick() => {
                    progress(Progress { phase: Phase::Posts, done: tally.now().settled(), total });
                }
            }
        };
        pipeline.boxes.stop();
        Ok(end)
    }

    fn pipeline(&self, plan: &Plan, tally: &Tally) -> PipelineParams {
        let Options { group_id, posts_per_second, publish, .. } = &self.options;
        PipelineParams {
            boxes: BoxesParams {
                settings: Arc::clone(&self.settings),
                networks: self.networks.clone(),
                decoders: self.decoders.clone(),
                cache: EncodingCache::new(self.settings.cache.max_bytes, &self.networks.model_version),
                observer: Arc::new(tally.clone()),
                flow: StageFlow::default(),
            },
            client: self.client.clone(),
            store: Arc::clone(&self.store),
            permits: permits(&self.settings),
            conservation: Arc::new(Conservation::default()),
            way_out: Arc::default(),
            rereading: Some(Rereading {
                group_id: group_id.clone(),
                offset_range: plan.ingest_range(),
                posts_per_second: *posts_per_second,
                publish: *publish,
            }),
        }
    }

    /// Offsets that another call has before it; all that were left at the start where the brokers do not say.
    async fn left(&self, plan: &Plan) -> u64 {
        let (topic, group_id) = (self.topic(), self.options.group_id.clone());
        let positions = tokio::task::spawn_blocking(move || topic.positions(&group_id)).await;
        match positions {
            Ok(Ok(positions)) => total(&Plan { positions, ..plan.clone() }.left()),
            _ => total(&plan.left()),
        }
    }
}

fn end_of(exit: IngestExit) -> End {
    match exit {
        IngestExit::Drained => End::Stopped,
        IngestExit::DrainTimedOut { left } => End::StopTimedOut { in_flight: left },
        IngestExit::Failed(reason) => End::Failed { reason },
    }
}
