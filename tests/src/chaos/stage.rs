//! One run: workers, feed and watch around a fault, and the reckoning afterwards.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use jtav_kafka::{ClientSettings, read_all, watermarks};
use jtav_store::Store;
use jtav_testkit::{Finding, Harm, Oracle, Worker, is_through};

use super::fault::Fault;
use super::feed::{FeedParams, RunningFeed, poison_reason};
use super::parts::Parts;
use super::report::RunResult;
use super::watch::{Names, Watch};
use super::{Plan, inject, kills};

pub const PARTITIONS: i32 = 6;
/// Workers of a run.
pub const WORKERS: usize = 2;
pub const SESSION_MS: u64 = 3_000;
pub const COMMIT_INTERVAL_MS: u64 = 200;
/// Posts inside one worker.
pub const MAX_IN_FLIGHT: u64 = 64;
const PATIENCE: Duration = Duration::from_secs(60);
/// Everything that was produced must be committed so long after the last fault.
const SETTLE: Duration = Duration::from_secs(120);

/// How the workers of a run are configured, besides what all share.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    pub assignment_strategy: &'static str,
    pub max_poll_interval_ms: u64,
    pub static_members: bool,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        Self { assignment_strategy: "cooperative-sticky", max_poll_interval_ms: 60_000, static_members: false }
    }
}

/// What a fault acts on.
pub struct Stage<'a> {
    pub parts: &'a mut Parts,
    pub watch: Watch,
    pub names: Names,
    pub seed: u64,
    /// How many times the usual number of posts the feed brings.
    pub feed_times: Arc<AtomicU32>,
    /// Running workers by slot; a slot is empty while its worker is away on purpose.
    pub slots: Vec<Option<Worker>>,
    config: WorkerConfig,
    database: u8,
    /// Workers that the fault killed.
    pub kills: u64,
    /// What is wrong with the workers' own conduct.
    pub findings: Vec<Finding>,
}

impl Stage<'_> {
    /// Starts a worker in a slot, with fail points armed or none. It is not waited for.
    pub fn start_worker(&mut self, slot: usize, fail_points: &str) -> Result<()> {
        let text = self.worker_config(slot);
        let worker = Worker::spawn_with(&format!("worker {slot}"), &text, &[("JTAV_FAIL_POINTS", fail_points)])?;
        if self.slots.len() <= slot {
            self.slots.resize_with(slot + 1, || None);
        }
        self.slots[slot] = Some(worker);
        let pids = self.slots.iter().flatten().map(Worker::pid).collect();
        self.watch.workers(pids);
        Ok(())
    }

    pub fn worker(&mut self, slot: usize) -> Result<&mut Worker> {
        self.slots.get_mut(slot).and_then(Option::as_mut).with_context(|| format!("no worker in slot {slot}"))
    }

    /// Blocks until every worker is ready.
    pub fn wait_ready(&mut self) -> Result<()> {
        for worker in self.slots.iter_mut().flatten() {
            worker.wait_ready(PATIENCE)?;
        }
        Ok(())
    }

    fn worker_config(&self, slot: usize) -> String {
        let config = &self.config;
        let Names { group, input, sentiment, embeddings, dead_letters, erasures } = &self.names;
        let instance = if config.static_members { format!("member-{slot}") } else { String::new() };
        format!(
            r#"
[kafka]
brokers = "{brokers}"
group_id = "{group}"
group_instance_id = "{instance}"
assignment_strategy = "{strategy}"
input_topic = "{input}"
sentiment_topic = "{sentiment}"
embeddings_topic = "{embeddings}"
dead_letters_topic = "{dead_letters}"
erasures_topic = "{erasures}"
[ingest]
session_timeout_ms = {SESSION_MS}
max_poll_interval_ms = {max_poll}
drain_timeout_ms = 1400
commit_interval_ms = {COMMIT_INTERVAL_MS}
max_in_flight_posts = {MAX_IN_FLIGHT}
[router]
post_deadline_ms = 15000
[media]
allow = ["{media}"]
connect_timeout_ms = 1000
total_timeout_ms = 1500
attempts = 2
[model]
device = "cpu"
stub = true
[store]
url = "{redis}"
command_timeout_ms = 1000
[publish]
deadline_ms = 5000
[shutdown]
shutdown_timeout_ms = 15000
"#,
            brokers = self.parts.client().brokers,
            strategy = config.assignment_strategy,
            max_poll = config.max_poll_interval_ms,
            media = self.parts.media.address(),
            redis = self.parts.redis.url(self.database),
        )
    }

    /// A finding about how a worker behaves.
    pub fn wrong(&mut self, text: String) {
        self.findings.push(Finding { harm: Harm::Wrong, text });
    }

    /// Waits until every fault so far has stopped being felt.
    pub async fn recovered(&mut self) -> Result<()> {
        let started = Instant::now();
        while !self.watch.all_recovered() {
            if started.elapsed() > SETTLE || self.watch.has_ended() {
                let trouble = self.watch.trouble();
                bail!(
                    "what was there at the fault's end is not committed after {SETTLE:?} ({trouble}):\n{}",
                    self.logs()
                );
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    fn logs(&self) -> String {
        let logs = self.slots.iter().flatten().map(Worker::log_tail).collect::<Vec<_>>();
        logs.join("\n--- next worker\n")
    }
}

/// One fault on topics, group and database of its own.
pub async fn run_one(parts: &mut Parts, fault: Fault, seed: u64, number: usize, plan: &Plan) -> Result<RunResult> {
    let started = Instant::now();
    let names = Names::of(number);
    let database = (number % 16) as u8;
    let client = parts.client();
    parts.redis.command(&["-n", &database.to_string(), "flushdb"])?;
    let topics = [&names.input, &names.sentiment, &names.embeddings, &names.dead_letters, &names.erasures];
    parts.create_topics(&topics.map(|topic| (topic.as_str(), PARTITIONS))).await?;
    let store: Arc<dyn Store> = Arc::new(parts.redis.store(database)?);
    let (rebalances_before, visits_before) = (parts.rebalances(), parts.canary.visits());
    let params = FeedParams {
        topic: names.input.clone(),
        seed,
        posts_per_second: plan.posts_per_second,
        times: Arc::new(AtomicU32::new(1)),
        media_base_url: parts.media.base_url(),
        forbidden_url: format!("http://{}/secret.jpg", parts.canary.address()),
        bad_media_percent: if fault == Fault::MediaHosts { 20 } else { 1 },
    };
    let watch = Watch::start(client.clone(), names.clone(), Arc::clone(&store))?;
    let config = inject::worker_config(fault);
    let mut stage = Stage {
        parts,
        watch,
        names: names.clone(),
        seed,
        feed_times: Arc::clone(&params.times),
        slots: Vec::new(),
        config,
        database,
        kills: 0,
        findings: Vec::new(),
    };
    for slot in 0..WORKERS {
        stage.start_worker(slot, "")?;
    }
    stage.wait_ready()?;
    let feed = RunningFeed::start(&client, params)?;
    // Something must be under way before the fault, or it has nothing to hit.
    wait_for_labels(&client, &names, 100).await?;
    let hit = match fault {
        Fault::Kills => kills::kill_at(&mut stage, &plan.kill_points).await,
        fault => inject::inject(&mut stage, fault).await,
    };
    hit.with_context(|| format!("{} with seed {seed}", fault.as_str()))?;
    stage.recovered().await?;
    let fed = feed.end().await?;
    wait_for_the_end(&mut stage, &client).await?;
    let worker_findings = drain(&mut stage).await?;

    let Stage { parts, watch, kills, mut findings, .. } = stage;
    findings.extend(worker_findings);
    let seen = watch.end()?;
    findings.extend(seen.findings);
    let visits = parts.canary.visits() - visits_before;
    if visits > 0 {
        findings.push(Finding { harm: Harm::Wrong, text: format!("{visits} connections to a forbidden address") });
    }
    let reckoned = reckon(&client, &names, &*store, &mut findings).await?;
    ensure!(reckoned.records >= fed.acknowledged, "the broker acknowledged more records than its log has");
    if fault == Fault::Kills {
        let bound = kills::duplicates_bound(kills, plan.posts_per_second);
        if reckoned.repeated as u64 > bound {
            let text = format!("{} repeated records after {kills} kills, the bound is {bound}", reckoned.repeated);
            findings.push(Finding { harm: Harm::Wrong, text });
        }
    }
    Ok(RunResult {
        seed,
        records: reckoned.records,
        labels: reckoned.labels,
        kills,
        rebalances: parts.rebalances() - rebalances_before,
        duplicates_raw: reckoned.repeated,
        recovered_s: seen.recovered_s,
        looks: seen.looks,
        resident_bytes: seen.resident_bytes,
        seconds: started.elapsed().as_secs_f64(),
        findings,
    })
}

async fn wait_for_labels(client: &ClientSettings, names: &Names, least: i64) -> Result<()> {
    let started = Instant::now();
    loop {
        // A topic that was made a moment ago may have no leader yet.
        let marks = watermarks(client, &names.sentiment, PATIENCE);
        if marks.as_ref().is_ok_and(|marks| marks.values().map(|(_, high)| high).sum::<i64>() >= least) {
            return Ok(());
        }
        ensure!(started.elapsed() < PATIENCE, "{least} labels are not there after {PATIENCE:?}: {marks:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until the group has committed the end of every partition.
async fn wait_for_the_end(stage: &mut Stage<'_>, client: &ClientSettings) -> Result<()> {
    let started = Instant::now();
    while !is_through(client, &stage.names.group, &stage.names.input, PATIENCE)? {
        for worker in stage.slots.iter_mut().flatten() {
            ensure!(worker.is_running(), "a worker has ended:\n{}", worker.log_tail());
        }
        if started.elapsed() > SETTLE {
            bail!("the end of the feed is not committed after {SETTLE:?}:\n{}", stage.logs());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// SIGTERM to every worker: exit 0, and nothing counted twice or lost inside.
async fn drain(stage: &mut Stage<'_>) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for (slot, worker) in stage.slots.iter_mut().enumerate() {
        let Some(worker) = worker else { continue };
        let gap = worker.gap_at_rest().await?;
        if gap != Some(0.0) {
            findings.push(Finding { harm: Harm::Lost, text: format!("worker {slot}: conservation gap {gap:?}") });
        }
        let status = worker.terminate(Duration::from_secs(30))?;
        if !status.success() {
            findings.push(Finding { harm: Harm::Wrong, text: format!("worker {slot} ended with {status}") });
        }
    }
    Ok(findings)
}

struct Reckoned {
    records: usize,
    labels: usize,
    repeated: usize,
}

/// Reads everything and lets the oracle judge.
async fn reckon(
    client: &ClientSettings,
    names: &Names,
    store: &dyn Store,
    findings: &mut Vec<Finding>,
) -> Result<Reckoned> {
    let read = |topic: &str| read_all(client, topic, PATIENCE).with_context(|| topic.to_owned());
    let log = read(&names.input)?;
    let oracle = Oracle::of_log(&names.input, &log, poison_reason)?;
    let sentiment = read(&names.sentiment)?;
    let (labels, found) = oracle.inspect_topics(&sentiment, &read(&names.dead_letters)?, &read(&names.erasures)?);
    findings.extend(found);
    findings.extend(oracle.inspect_embeddings(&labels, &read(&names.embeddings)?));
    findings.extend(oracle.inspect_store(&labels, store).await?.1);
    Ok(Reckoned { records: log.len(), labels: labels.attempts.len(), repeated: labels.repeated })
}
