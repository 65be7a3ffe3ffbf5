//! Every fault but the kills: how it comes, how long it stays, how it goes.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use jtav_kafka::{InProcessCluster, InjectedError, Request};
use jtav_testkit::RealRedis;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::time::sleep;

use super::fault::Fault;
use super::stage::{Conduct, PARTITIONS, SESSION_MS, Stage, WORKERS};

const DRAIN_LIMIT: Duration = Duration::from_secs(20);

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What the workers of a run need for its fault.
pub fn conduct(fault: Fault) -> Conduct {
    let usual = Conduct::default();
    match fault {
        Fault::ChurnEager => Conduct { assignment_strategy: "range", ..usual },
        Fault::StaticMembers => Conduct { static_members: true, ..usual },
        Fault::PollBreach => Conduct { max_poll_interval_ms: 4_000, ..usual },
        _ => usual,
    }
}

/// Lets the fault come and go. On return it is over, and perhaps still felt.
pub async fn inject(stage: &mut Stage<'_>, fault: Fault) -> Result<()> {
    match fault {
        Fault::Kills => anyhow::bail!("kills have a schedule of their own"),
        Fault::ChurnCooperative | Fault::ChurnEager => churn(stage).await,
        Fault::StaticMembers => static_members(stage).await,
        Fault::SessionExpiry => session_expiry(stage).await,
        Fault::PollBreach => replaced(stage, "ingest:poll=hang(9000)@100", seconds(14)).await,
        Fault::Sigterm => sigterm(stage).await,
        Fault::Panics => replaced(stage, PANICS, seconds(6)).await,
        Fault::ClockSkew => clock_skew(stage).await,
        Fault::MediaHosts => lasting(stage, seconds(10)).await,
        Fault::KafkaRestart | Fault::KafkaKill | Fault::KafkaHang => kafka(stage, fault).await,
        Fault::RedisRestart | Fault::RedisKill | Fault::RedisLoading => redis_restart(stage, fault).await,
        Fault::RedisReadonly | Fault::RedisOom => redis_refuses(stage, fault).await,
        Fault::RedisHang => redis_hang(stage).await,
        Fault::Burst => burst(stage).await,
        Fault::RedisSlow | Fault::RedisReset => redis_again_and_again(stage, fault).await,
        _ => in_process(stage, fault).await,
    }
}

const PANICS: &str = "router:before_encode=panic@20;fetch:before=panic@1;text_encoder:handle=panic@60;\
                      encoder:mid_batch=panic@90;fusion:handle=panic@120;publisher:before_store=panic@150;\
                      router:before_settle=panic@200";

async fn lasting(stage: &mut Stage<'_>, time: Duration) -> Result<()> {
    sleep(time).await;
    stage.watch.healed();
    Ok(())
}

/// A worker with armed fail points in the place of one without, for a while.
async fn replaced(stage: &mut Stage<'_>, fail_points: &str, time: Duration) -> Result<()> {
    stage.worker(0)?.terminate(DRAIN_LIMIT)?;
    stage.start_worker(0, fail_points)?;
    stage.wait_ready()?;
    sleep(time).await;
    if !stage.worker(0)?.log()?.contains("injected fault") {
        stage.wrong(format!("no point of {fail_points} was reached"));
    }
    stage.watch.healed();
    Ok(())
}

async fn churn(stage: &mut Stage<'_>) -> Result<()> {
    let mut random = StdRng::seed_from_u64(stage.seed);
    for _ in 0..12 {
        stage.start_worker(WORKERS, "")?;
        sleep(Duration::from_millis(random.random_range(800..1_600))).await;
        // Now and then without a goodbye.
        if random.random_bool(0.25) {
            stage.worker(WORKERS)?.kill9()?;
            stage.kills += 1;
        } else {
            let status = stage.worker(WORKERS)?.terminate(DRAIN_LIMIT)?;
            if !status.success() {
                stage.wrong(format!("a leaving worker ended with {status}"));
            }
        }
        stage.slots.truncate(WORKERS);
        stage.watch.healed();
        sleep(Duration::from_millis(random.random_range(300..900))).await;
    }
    Ok(())
}

async fn static_members(stage: &mut Stage<'_>) -> Result<()> {
    for round in 0..4 {
        let slot = round % WORKERS;
        stage.worker(slot)?.kill9()?;
        stage.kills += 1;
        // Shorter than the session on one round, longer on the next.
        if round >= WORKERS {
            sleep(Duration::from_millis(SESSION_MS + 1_000)).await;
        }
        stage.start_worker(slot, "")?;
        stage.watch.healed();
        sleep(seconds(3)).await;
    }
    Ok(())
}

async fn session_expiry(stage: &mut Stage<'_>) -> Result<()> {
    for slot in 0..WORKERS {
        stage.worker(slot)?.signal("-STOP")?;
        sleep(Duration::from_millis(SESSION_MS + 2_500)).await;
        // It wakes with posts in hand whose partitions others own by now, and finishes them.
        stage.worker(slot)?.signal("-CONT")?;
        stage.watch.healed();
        sleep(seconds(4)).await;
    }
    Ok(())
}

async fn sigterm(stage: &mut Stage<'_>) -> Result<()> {
    for slot in 0..WORKERS {
        let started = Instant::now();
        let status = stage.worker(slot)?.terminate(seconds(30))?;
        if !status.success() || started.elapsed() > DRAIN_LIMIT {
            stage.wrong(format!("SIGTERM: {status} after {:?}", started.elapsed()));
        }
        stage.start_worker(slot, "")?;
        stage.wait_ready()?;
        stage.watch.healed();
        sleep(seconds(2)).await;
    }
    Ok(())
}

async fn clock_skew(stage: &mut Stage<'_>) -> Result<()> {
    for skew in ["clock:now=skew(3600000)", "clock:now=skew(-3600000)", "clock:now=skew(-3600000)@500"] {
        stage.worker(0)?.terminate(DRAIN_LIMIT)?;
        stage.start_worker(0, skew)?;
        stage.wait_ready()?;
        lasting(stage, seconds(4)).await?;
    }
    Ok(())
}

async fn kafka(stage: &mut Stage<'_>, fault: Fault) -> Result<()> {
    match fault {
        Fault::KafkaHang => {
            stage.parts.kafka()?.freeze()?;
            sleep(seconds(8)).await;
            stage.parts.kafka()?.thaw()?;
        }
        _ => {
            if fault == Fault::KafkaKill {
                stage.parts.kafka()?.kill9()?;
            } else {
                stage.parts.kafka()?.stop()?;
            }
            sleep(seconds(5)).await;
            stage.parts.kafka()?.restart()?;
        }
    }
    stage.watch.healed();
    Ok(())
}

async fn redis_restart(stage: &mut Stage<'_>, fault: Fault) -> Result<()> {
    let redis = &mut stage.parts.redis;
    if fault == Fault::RedisKill {
        redis.kill9()?;
    } else {
        redis.stop()?;
    }
    if fault == Fault::RedisLoading {
        // Every command of its file takes 1.5 ms, until it is told not to wait any more; it looks at its clients after
        // every KiB.
        redis.restart(&["--key-load-delay", "1500", "--loading-process-events-interval-bytes", "1024"])?;
        sleep(seconds(5)).await;
        let is_loading = redis.command(&["ping"]).is_err();
        redis.command(&["config", "set", "key-load-delay", "0"])?;
        let started = Instant::now();
        while redis.command(&["ping"]).is_err() && started.elapsed() < seconds(60) {
            sleep(Duration::from_millis(50)).await;
        }
        if !is_loading {
            stage.wrong("the store was not LOADING after 5 s".to_owned());
        }
    } else {
        sleep(seconds(3)).await;
        redis.restart(&[])?;
    }
    stage.watch.healed();
    Ok(())
}

async fn redis_refuses(stage: &mut Stage<'_>, fault: Fault) -> Result<()> {
    let redis = &mut stage.parts.redis;
    let (begin, end): (&[&str], &[&str]) = match fault {
        // A replica of nobody: it serves what it has and refuses every write.
        Fault::RedisReadonly => (&["replicaof", "127.0.0.1", "1"], &["replicaof", "no", "one"]),
        _ => (&["config", "set", "maxmemory", "1"], &["config", "set", "maxmemory", "0"]),
    };
    redis.command(begin)?;
    sleep(seconds(5)).await;
    redis.command(end)?;
    stage.watch.healed();
    Ok(())
}

async fn redis_hang(stage: &mut Stage<'_>) -> Result<()> {
    let rebalances = rebalances_at_rest(stage).await;
    stage.parts.redis.freeze()?;
    sleep(seconds(30)).await;
    stage.parts.redis.thaw()?;
    stage.watch.healed();
    all_stayed(stage, rebalances);
    Ok(())
}

async fn burst(stage: &mut Stage<'_>) -> Result<()> {
    let rebalances = rebalances_at_rest(stage).await;
    stage.feed_times.store(10, Ordering::Relaxed);
    sleep(seconds(5)).await;
    stage.feed_times.store(1, Ordering::Relaxed);
    stage.watch.healed();
    stage.recovered().await?;
    all_stayed(stage, rebalances);
    Ok(())
}

/// Rebalances so far, once the group has come to rest: sharing out among members who have just joined takes several.
async fn rebalances_at_rest(stage: &Stage<'_>) -> usize {
    let mut rebalances = stage.parts.rebalances();
    // Bounded: a group that is never at rest is found by whoever counts afterwards.
    for _ in 0..10 {
        sleep(Duration::from_millis(SESSION_MS + 1_000)).await;
        let now = stage.parts.rebalances();
        if now == rebalances {
            break;
        }
        rebalances = now;
    }
    rebalances
}

/// Workers that hold their partitions back go on polling: the group does not expel them.
fn all_stayed(stage: &mut Stage<'_>, rebalances_before: usize) {
    let rebalances = stage.parts.rebalances() - rebalances_before;
    if rebalances > 0 {
        stage.wrong(format!("{rebalances} rebalances although nobody came or went"));
    }
}

async fn redis_again_and_again(stage: &mut Stage<'_>, fault: Fault) -> Result<()> {
    let started = Instant::now();
    while started.elapsed() < seconds(5) {
        let redis: &RealRedis = &stage.parts.redis;
        match fault {
            Fault::RedisSlow => redis.command(&["debug", "sleep", "0.2"])?,
            _ => redis.command(&["client", "kill", "type", "normal"])?,
        };
        sleep(Duration::from_millis(20)).await;
    }
    stage.watch.healed();
    Ok(())
}

async fn in_process(stage: &mut Stage<'_>, fault: Fault) -> Result<()> {
    let (group, input) = (stage.topics.group.clone(), stage.topics.input.clone());
    let cluster = stage.parts.cluster()?;
    match fault {
        Fault::RoundTrip => {
            cluster.set_round_trip(None, seconds(2))?;
            sleep(seconds(8)).await;
            cluster.set_round_trip(None, Duration::ZERO)?;
        }
        Fault::BrokerDown => {
            cluster.broker_down(Some(2))?;
            sleep(seconds(4)).await;
            cluster.broker_up(Some(2))?;
        }
        Fault::LeaderMove => {
            for round in 0..6u32 {
                for partition in 0..PARTITIONS {
                    cluster.set_leader(&input, partition, Some(1 + (round + partition as u32) % 3))?;
                }
                sleep(Duration::from_millis(700)).await;
            }
        }
        Fault::CoordinatorMove => {
            for round in 0..4u32 {
                cluster.set_coordinator(&group, 1 + round % 3)?;
                sleep(Duration::from_millis(1_500)).await;
            }
        }
        fault => {
            let (requests, errors) = errors_of(fault).context("a fault of the in-process cluster")?;
            inject_errors(cluster, requests, errors).await?;
        }
    }
    stage.watch.healed();
    Ok(())
}

/// Bursts of errors, one after the other, with time between them to be felt.
async fn inject_errors(cluster: &InProcessCluster, requests: &[Request], errors: &[InjectedError]) -> Result<()> {
    for _ in 0..3 {
        for request in requests {
            cluster.inject(*request, errors)?;
        }
        sleep(Duration::from_millis(1_500)).await;
    }
    for request in requests {
        cluster.clear_injected(*request)?;
    }
    Ok(())
}

fn errors_of(fault: Fault) -> Option<(&'static [Request], &'static [InjectedError])> {
    use InjectedError as E;
    Some(match fault {
        Fault::ProduceErrors => {
            (&[Request::Produce], &[E::NotEnoughReplicas, E::RequestTimedOut, E::NotLeader, E::Disconnect])
        }
        Fault::FetchErrors => (&[Request::Fetch], &[E::NotLeader, E::Disconnect, E::RequestTimedOut]),
        Fault::CommitErrors => (
            &[Request::OffsetCommit],
            &[E::NotCoordinator, E::CoordinatorLoading, E::RequestTimedOut, E::RebalanceInProgress],
        ),
        Fault::GroupErrors => (
            &[Request::JoinGroup, Request::SyncGroup, Request::Heartbeat],
            &[E::NotCoordinator, E::RebalanceInProgress, E::CoordinatorLoading],
        ),
        _ => return None,
    })
}
