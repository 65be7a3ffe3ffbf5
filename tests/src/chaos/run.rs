//! One run: workers, feed and watch around a fault, and the reckoning afterwards.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use jtav_kafka::{ClientSettings, read_all, watermarks};
use jtav_store::Store;
use jtav_testkit::{Finding, Harm, Oracle, Topics, is_through};

use super::environment::Environment;
use super::fault::Fault;
use super::feed::{FeedParams, RunningFeed, poison_reason};
use super::plan::Plan;
use super::report::RunResult;
use super::targets::{PARTITIONS, PATIENCE, SETTLE, Targets, WORKERS};
use super::watch::Watch;
use super::{fault_injector, kills};

/// One fault on topics, group and database of its own.
pub async fn run_one(
    environment: &mut Environment,
    fault: Fault,
    seed: u64,
    number: usize,
    plan: &Plan,
) -> Result<RunResult> {
    let started = Instant::now();
    let topics = Topics::named(format!("chaos-{number}"), |what| format!("{what}-{number}"));
    let database = (number % 16) as u8;
    let client = environment.client();
    environment.redis.command(&["-n", &database.to_string(), "flushdb"])?;
    environment.create_topics(&topics.all().map(|topic| (topic, PARTITIONS))).await?;
    let store: Arc<dyn Store> = Arc::new(environment.redis.store(database)?);
    let (rebalances_before, visits_before) = (environment.rebalances(), environment.canary.visits());
    let params = feed_params(environment, &topics, fault, seed, plan);
    let mut targets = Targets {
        watch: Watch::start(client.clone(), topics.clone(), Arc::clone(&store))?,
        environment,
        topics: topics.clone(),
        seed,
        feed_times: Arc::clone(&params.times),
        slots: Vec::new(),
        member_options: fault_injector::member_options(fault),
        database,
        kills: 0,
        findings: Vec::new(),
    };
    let acknowledged = feed_and_fault(&mut targets, params, fault, plan).await?;
    let worker_findings = drain(&mut targets).await?;

    let Targets { environment, watch, kills, mut findings, .. } = targets;
    findings.extend(worker_findings);
    let seen = watch.end()?;
    findings.extend(seen.findings);
    let visits = environment.canary.visits() - visits_before;
    if visits > 0 {
        findings.push(Finding { harm: Harm::Wrong, text: format!("{visits} connections to a forbidden address") });
    }
    let reckoned = reckon(&client, &topics, &*store, &mut findings).await?;
    ensure!(reckoned.records >= acknowledged, "the broker acknowledged more records than its log has");
    if fault == Fault::Kills {
        findings.extend(too_many_repeated(reckoned.repeated, kills, plan.posts_per_second));
    }
    Ok(RunResult {
        seed,
        records: reckoned.records,
        labels: reckoned.labels,
        kills,
        rebalances: environment.rebalances() - rebalances_before,
        duplicates_raw: reckoned.repeated,
        recovered_s: seen.recovered_s,
        looks: seen.looks,
        resident_bytes: seen.resident_bytes,
        seconds: started.elapsed().as_secs_f64(),
        findings,
    })
}

fn feed_params(environment: &Environment, topics: &Topics, fault: Fault, seed: u64, plan: &Plan) -> FeedParams {
    FeedParams {
        topic: topics.input.clone(),
        seed,
        posts_per_second: plan.posts_per_second,
        times: Arc::new(AtomicU32::new(1)),
        media_base_url: environment.media.base_url(),
        forbidden_url: format!("http://{}/secret.jpg", environment.canary.address()),
        bad_media_percent: if fault == Fault::MediaHosts { 20 } else { 1 },
    }
}

/// Starts workers and feed, lets the fault come and go, and waits until all is committed; gives the records that the
/// broker has acknowledged.
async fn feed_and_fault(targets: &mut Targets<'_>, params: FeedParams, fault: Fault, plan: &Plan) -> Result<usize> {
    for slot in 0..WORKERS {
        targets.start_worker(slot, "")?;
    }
    targets.wait_ready()?;
    let client = targets.environment.client();
    let feed = RunningFeed::start(&client, params)?;
    // Something must be under way before the fault, or it has nothing to hit.
    wait_for_labels(&client, &targets.topics, 100).await?;
    let hit = match fault {
        Fault::Kills => kills::kill_at(targets, &plan.kill_points).await,
        fault => fault_injector::inject(targets, fault).await,
    };
    hit.with_context(|| format!("{} with seed {}", fault.as_str(), targets.seed))?;
    targets.recovered().await?;
    let fed = feed.end().await?;
    wait_for_the_end(targets, &client).await?;
    Ok(fed.acknowledged)
}

fn too_many_repeated(repeated: usize, kills: u64, posts_per_second: u32) -> Option<Finding> {
    let bound = kills::duplicates_bound(kills, posts_per_second);
    let text = format!("{repeated} repeated records after {kills} kills, the bound is {bound}");
    (repeated as u64 > bound).then_some(Finding { harm: Harm::Wrong, text })
}

async fn wait_for_labels(client: &ClientSettings, topics: &Topics, least: i64) -> Result<()> {
    let started = Instant::now();
    loop {
        // A topic that was made a moment ago may have no leader yet.
        let marks = watermarks(client, &topics.sentiment, PATIENCE);
        if marks.as_ref().is_ok_and(|marks| marks.values().map(|(_, high)| high).sum::<i64>() >= least) {
            return Ok(());
        }
        ensure!(started.elapsed() < PATIENCE, "{least} labels are not there after {PATIENCE:?}: {marks:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until the group has committed the end of every partition.
async fn wait_for_the_end(targets: &mut Targets<'_>, client: &ClientSettings) -> Result<()> {
    let started = Instant::now();
    while !is_through(client, &targets.topics.group, &targets.topics.input, PATIENCE)? {
        for worker in targets.slots.iter_mut().flatten() {
            ensure!(worker.is_running(), "a worker has ended:\n{}", worker.log_tail());
        }
        if started.elapsed() > SETTLE {
            bail!("the end of the feed is not committed after {SETTLE:?}:\n{}", targets.logs());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// SIGTERM to every worker: exit 0, and nothing counted twice or lost inside.
async fn drain(targets: &mut Targets<'_>) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for (slot, worker) in targets.slots.iter_mut().enumerate() {
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
    topics: &Topics,
    store: &dyn Store,
    findings: &mut Vec<Finding>,
) -> Result<Reckoned> {
    let read = |topic: &str| read_all(client, topic, PATIENCE).with_context(|| topic.to_owned());
    let log = read(&topics.input)?;
    let oracle = Oracle::of_log(&topics.input, &log, poison_reason)?;
    let sentiment = read(&topics.sentiment)?;
    let (labels, found) = oracle.inspect_topics(&sentiment, &read(&topics.dead_letters)?, &read(&topics.erasures)?);
    findings.extend(found);
    findings.extend(oracle.inspect_embeddings(&labels, &read(&topics.embeddings)?));
    findings.extend(oracle.inspect_store(&labels, store).await?.1);
    Ok(Reckoned { records: log.len(), labels: labels.attempts.len(), repeated: labels.repeated })
}
