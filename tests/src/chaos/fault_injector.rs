//! The fault injector, of every fault but the kills: how it comes, how long it stays, how it goes.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use jtav_kafka::{InProcessCluster, InjectedError, Request};
use jtav_testkit::RealRedis;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rustix::process::Signal;
use tokio::time::sleep;

use super::fault::Fault;
use super::targets::{MemberOptions, PARTITIONS, SESSION_MS, Targets, WORKERS};

const DRAIN_LIMIT: Duration = Duration::from_secs(20);

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What the workers of a run need for its fault.
pub fn member_options(fault: Fault) -> MemberOptions {
    let usual = MemberOptions::default();
    match fault {
        Fault::ChurnEager => MemberOptions { assignment_strategy: "range", ..usual },
        Fault::StaticMembers => MemberOptions { static_members: true, ..usual },
        Fault::PollBreach => MemberOptions { max_poll_interval_ms: 4_000, ..usual },
        _ => usual,
    }
}

/// Lets the fault come and go. On return it is over, and perhaps still felt.
pub async fn inject(targets: &mut Targets<'_>, fault: Fault) -> Result<()> {
    match fault {
        Fault::Kills => anyhow::bail!("kills have a schedule of their own"),
        Fault::ChurnCooperative | Fault::ChurnEager => churn(targets).await,
        Fault::StaticMembers => static_members(targets).await,
        Fault::SessionExpiry => session_expiry(targets).await,
        Fault::PollBreach => replaced(targets, "ingest:poll=hang(9000)@100", seconds(14)).await,
        Fault::Sigterm => sigterm(targets).await,
        Fault::Panics => replaced(targets, PANICS, seconds(6)).await,
        Fault::ClockSkew => clock_skew(targets).await,
        Fault::MediaHosts => lasting(targets, seconds(10)).await,
        Fault::KafkaRestart | Fault::KafkaKill | Fault::KafkaHang => kafka(targets, fault).await,
        Fault::RedisRestart | Fault::RedisKill | Fault::RedisLoading => redis_restart(targets, fault).await,
        Fault::RedisReadonly | Fault::RedisOom => redis_refuses(targets, fault).await,
        Fault::RedisHang => redis_hang(targets).await,
        Fault::Burst => burst(targets).await,
        Fault::RedisSlow | Fault::RedisReset => redis_again_and_again(targets, fault).await,
        _ => in_process(targets, fault).await,
    }
}

const PANICS: &str = "router:before_encode=panic@20;fetch:before=panic@1;text_encoder:handle=panic@60;\
                      encoder:mid_batch=panic@90;fusion:handle=panic@120;publisher:before_store=panic@150;\
                      router:before_settle=panic@200";

async fn lasting(targets: &mut Targets<'_>, time: Duration) -> Result<()> {
    sleep(time).await;
    targets.watch.healed();
    Ok(())
}

/// A worker with armed fail points in the place of one without, for a while.
async fn replaced(targets: &mut Targets<'_>, fail_points: &str, time: Duration) -> Result<()> {
    targets.worker(0)?.terminate(DRAIN_LIMIT)?;
    targets.start_worker(0, fail_points)?;
    targets.wait_ready()?;
    sleep(time).await;
    if !targets.worker(0)?.log()?.contains("injected fault") {
        targets.wrong(format!("no point of {fail_points} was reached"));
    }
    targets.watch.healed();
    Ok(())
}

async fn churn(targets: &mut Targets<'_>) -> Result<()> {
    let mut random = StdRng::seed_from_u64(targets.seed);
    for _ in 0..12 {
        targets.start_worker(WORKERS, "")?;
        sleep(Duration::from_millis(random.random_range(800..1_600))).await;
        // Now and then without a goodbye.
        if random.random_bool(0.25) {
            targets.worker(WORKERS)?.kill9()?;
            targets.kills += 1;
        } else {
            let status = targets.worker(WORKERS)?.terminate(DRAIN_LIMIT)?;
            if !status.success() {
                targets.wrong(format!("a leaving worker ended with {status}"));
            }
        }
        targets.slots.truncate(WORKERS);
        targets.watch.healed();
        sleep(Duration::from_millis(random.random_range(300..900))).await;
    }
    Ok(())
}

async fn static_members(targets: &mut Targets<'_>) -> Result<()> {
    for round in 0..4 {
        let slot = round % WORKERS;
        targets.worker(slot)?.kill9()?;
        targets.kills += 1;
        // Shorter than the session on one round, longer on the next.
        if round >= WORKERS {
            sleep(Duration::from_millis(SESSION_MS + 1_000)).await;
        }
        targets.start_worker(slot, "")?;
        targets.watch.healed();
        sleep(seconds(3)).await;
    }
    Ok(())
}

async fn session_expiry(targets: &mut Targets<'_>) -> Result<()> {
    for slot in 0..WORKERS {
        targets.worker(slot)?.signal(Signal::STOP)?;
        sleep(Duration::from_millis(SESSION_MS + 2_500)).await;
        // It wakes with posts in hand whose partitions others own by now, and finishes them.
        targets.worker(slot)?.signal(Signal::CONT)?;
        targets.watch.healed();
        sleep(seconds(4)).await;
    }
    Ok(())
}

async fn sigterm(targets: &mut Targets<'_>) -> Result<()> {
    for slot in 0..WORKERS {
        let started = Instant::now();
        let status = targets.worker(slot)?.terminate(seconds(30))?;
        if !status.success() || started.elapsed() > DRAIN_LIMIT {
            targets.wrong(format!("SIGTERM: {status} after {:?}", started.elapsed()));
        }
        targets.start_worker(slot, "")?;
        targets.wait_ready()?;
        targets.watch.healed();
        sleep(seconds(2)).await;
    }
    Ok(())
}

async fn clock_skew(targets: &mut Targets<'_>) -> Result<()> {
    for skew in ["clock:now=skew(3600000)", "clock:now=skew(-3600000)", "clock:now=skew(-3600000)@500"] {
        targets.worker(0)?.terminate(DRAIN_LIMIT)?;
        targets.start_worker(0, skew)?;
        targets.wait_ready()?;
        lasting(targets, seconds(4)).await?;
    }
    Ok(())
}

async fn kafka(targets: &mut Targets<'_>, fault: Fault) -> Result<()> {
    match fault {
        Fault::KafkaHang => {
            targets.environment.kafka()?.freeze()?;
            sleep(seconds(8)).await;
            targets.environment.kafka()?.thaw()?;
        }
        _ => {
            if fault == Fault::KafkaKill {
                targets.environment.kafka()?.kill9()?;
            } else {
                targets.environment.kafka()?.stop()?;
            }
            sleep(seconds(5)).await;
            targets.environment.kafka()?.restart()?;
        }
    }
    targets.watch.healed();
    Ok(())
}

async fn redis_restart(targets: &mut Targets<'_>, fault: Fault) -> Result<()> {
    let redis = &mut targets.environment.redis;
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
            targets.wrong("the store was not LOADING after 5 s".to_owned());
        }
    } else {
        sleep(seconds(3)).await;
        redis.restart(&[])?;
    }
    targets.watch.healed();
    Ok(())
}

async fn redis_refuses(targets: &mut Targets<'_>, fault: Fault) -> Result<()> {
    let redis = &mut targets.environment.redis;
    let (begin, end): (&[&str], &[&str]) = match fault {
        // A replica of nobody: it serves what it has and refuses every write.
        Fault::RedisReadonly => (&["replicaof", "127.0.0.1", "1"], &["replicaof", "no", "one"]),
        _ => (&["config", "set", "maxmemory", "1"], &["config", "set", "maxmemory", "0"]),
    };
    redis.command(begin)?;
    sleep(seconds(5)).await;
    redis.command(end)?;
    targets.watch.healed();
    Ok(())
}

async fn redis_hang(targets: &mut Targets<'_>) -> Result<()> {
    let rebalances = rebalances_at_rest(targets).await;
    targets.environment.redis.freeze()?;
    sleep(seconds(30)).await;
    targets.environment.redis.thaw()?;
    targets.watch.healed();
    all_stayed(targets, rebalances);
    Ok(())
}

async fn burst(targets: &mut Targets<'_>) -> Result<()> {
    let rebalances = rebalances_at_rest(targets).await;
    targets.feed_times.store(10, Ordering::Relaxed);
    sleep(seconds(5)).await;
    targets.feed_times.store(1, Ordering::Relaxed);
    targets.watch.healed();
    targets.recovered().await?;
    all_stayed(targets, rebalances);
    Ok(())
}

/// Rebalances so far, once the group has come to rest: sharing out among members who have just joined takes several.
async fn rebalances_at_rest(targets: &Targets<'_>) -> usize {
    let mut rebalances = targets.environment.rebalances();
    // Bounded: a group that is never at rest is found by whoever counts afterwards.
    for _ in 0..10 {
        sleep(Duration::from_millis(SESSION_MS + 1_000)).await;
        let now = targets.environment.rebalances();
        if now == rebalances {
            break;
        }
        rebalances = now;
    }
    rebalances
}

/// Workers that hold their partitions back go on polling: the group does not expel them.
fn all_stayed(targets: &mut Targets<'_>, rebalances_before: usize) {
    let rebalances = targets.environment.rebalances() - rebalances_before;
    if rebalances > 0 {
        targets.wrong(format!("{rebalances} rebalances although nobody came or went"));
    }
}

async fn redis_again_and_again(targets: &mut Targets<'_>, fault: Fault) -> Result<()> {
    let started = Instant::now();
    while started.elapsed() < seconds(5) {
        let redis: &RealRedis = &targets.environment.redis;
        match fault {
            Fault::RedisSlow => redis.command(&["debug", "sleep", "0.2"])?,
            _ => redis.command(&["client", "kill", "type", "normal"])?,
        };
        sleep(Duration::from_millis(20)).await;
    }
    targets.watch.healed();
    Ok(())
}

async fn in_process(targets: &mut Targets<'_>, fault: Fault) -> Result<()> {
    let (group, input) = (targets.topics.group.clone(), targets.topics.input.clone());
    let cluster = targets.environment.cluster()?;
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
    targets.watch.healed();
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
