//! What a fault acts on: the workers of a run and all that they work with.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use jtav_testkit::{Finding, Harm, Topics, Worker, WorkerConfig};

use super::environment::Environment;
use super::watch::Watch;

pub const PARTITIONS: i32 = 6;
/// Workers of a run.
pub const WORKERS: usize = 2;
pub const SESSION_MS: u64 = 3_000;
pub const COMMIT_INTERVAL_MS: u64 = 200;
/// Posts inside one worker.
pub const MAX_IN_FLIGHT: u64 = 64;
/// Longest wait for one answer.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Everything that was produced must be committed so long after the last fault.
pub const SETTLE: Duration = Duration::from_secs(120);

/// How the workers of a run behave in their group, besides what all share.
#[derive(Debug, Clone)]
pub struct MemberOptions {
    pub assignment_strategy: &'static str,
    pub max_poll_interval_ms: u64,
    pub static_members: bool,
}

impl Default for MemberOptions {
    fn default() -> Self {
        Self { assignment_strategy: "cooperative-sticky", max_poll_interval_ms: 60_000, static_members: false }
    }
}

/// What a fault acts on.
pub struct Targets<'a> {
    pub environment: &'a mut Environment,
    pub watch: Watch,
    pub topics: Topics,
    pub seed: u64,
    /// How many times the usual number of posts the feed brings.
    pub feed_times: Arc<AtomicU32>,
    /// Running workers by slot; a slot is empty while its worker is away on purpose.
    pub slots: Vec<Option<Worker>>,
    pub member_options: MemberOptions,
    pub database: u8,
    /// Workers that the fault killed.
    pub kills: u64,
    /// What is wrong with the workers' own behaviour.
    pub findings: Vec<Finding>,
}

impl Targets<'_> {
    /// Starts a worker in a slot, with fail points armed or none. It is not waited for.
    pub fn start_worker(&mut self, slot: usize, fail_points: &str) -> Result<()> {
        let config = self.worker_config(slot);
        let worker = Worker::spawn_with(&format!("worker {slot}"), &config, &[("JTAV_FAIL_POINTS", fail_points)])?;
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

    fn worker_config(&self, slot: usize) -> WorkerConfig {
        let member_options = &self.member_options;
        let instance = if member_options.static_members { format!("member-{slot}") } else { String::new() };
        WorkerConfig::new(&self.environment.client().brokers)
            .topics(&self.topics)
            .set("kafka.group_instance_id", instance)
            .set("kafka.assignment_strategy", member_options.assignment_strategy)
            .set("ingest.session_timeout_ms", SESSION_MS as i64)
            .set("ingest.max_poll_interval_ms", member_options.max_poll_interval_ms as i64)
            .set("ingest.drain_timeout_ms", 1_400)
            .set("ingest.commit_interval_ms", COMMIT_INTERVAL_MS as i64)
            .set("ingest.max_in_flight_posts", MAX_IN_FLIGHT as i64)
            .set("router.post_deadline_ms", 15_000)
            .media_hosts(&[self.environment.media.address()])
            .set("media.connect_timeout_ms", 1_000)
            .set("media.total_timeout_ms", 1_500)
            .set("media.attempts", 2)
            .stub_networks()
            .redis(&self.environment.redis.url(self.database))
            .set("store.command_timeout_ms", 1_000)
            .set("publish.deadline_ms", 5_000)
            .set("shutdown.shutdown_timeout_ms", 15_000)
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

    /// The end of every worker's log.
    pub fn logs(&self) -> String {
        let logs = self.slots.iter().flatten().map(Worker::log_tail).collect::<Vec<_>>();
        logs.join("\n--- next worker\n")
    }
}
