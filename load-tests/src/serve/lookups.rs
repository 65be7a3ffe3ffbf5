//! `GET /v1/posts/{id}`: how many a core answers, and how soon at a given rate.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures::future::try_join_all;
use hdrhistogram::Histogram;
use serde::Serialize;

use super::fill;
use super::http::Connection;
use super::plan::ServePlan;
use super::rig::ServeRig;
use crate::pacing::Schedule;
use crate::process::cpu_seconds;

/// Connections with a question under way.
const CONNECTIONS: usize = 16;
/// Coprime to any round number of posts: they are asked for all over.
const STRIDE: usize = 7_919;
/// Seconds before each measurement that do not count.
const WARM_UP: f64 = 2.0;

/// As many as the server answers.
#[derive(Debug, Clone, Serialize)]
pub struct Saturated {
    /// Answers a second.
    pub per_second: f64,
    /// The server's CPU milliseconds for each.
    pub cpu_ms: f64,
    /// Answers that one core could give: 1000 / `cpu_ms`.
    pub per_core_second: f64,
}

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Lookups {
    /// Of a post's label.
    pub posts: Saturated,
    /// Of `/healthz`, which does nothing: the ceiling of server and generator.
    pub ceiling: Saturated,
    /// Questions a second while latencies were taken.
    pub rate_per_second: f64,
    /// From the moment a question was due to its whole answer.
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub p99_9_ms: f64,
    pub max_ms: f64,
    /// Answers a second meanwhile.
    pub achieved_per_second: f64,
}

/// Ceiling, capacity, and latency at the plan's rate.
pub async fn measure(rig: &ServeRig, plan: &ServePlan) -> Result<Lookups> {
    let ceiling = saturated(rig, plan.lookup_seconds, |_| "/healthz".to_owned()).await?;
    let posts = plan.posts;
    let path = move |index: usize| format!("/v1/posts/{}", fill::id(index.wrapping_mul(STRIDE) % posts));
    let saturated = saturated(rig, plan.lookup_seconds, path).await?;
    let (latencies, achieved_per_second) = open_loop(rig.address(), plan, path).await?;
    let at = |quantile: f64| latencies.value_at_quantile(quantile) as f64 / 1e3;
    Ok(Lookups {
        posts: saturated,
        ceiling,
        rate_per_second: plan.lookup_rate,
        p50_ms: at(0.5),
        p99_ms: at(0.99),
        p99_9_ms: at(0.999),
        max_ms: latencies.max() as f64 / 1e3,
        achieved_per_second,
    })
}

/// Every connection asks again as soon as it is answered.
async fn saturated(
    rig: &ServeRig,
    seconds: f64,
    path: impl Fn(usize) -> String + Copy + Send + Sync + 'static,
) -> Result<Saturated> {
    let (next, is_over) = (Arc::new(AtomicUsize::new(0)), Arc::new(std::sync::atomic::AtomicBool::new(false)));
    let address = rig.address();
    let asking = (0..CONNECTIONS).map(|_| {
        let (next, is_over) = (Arc::clone(&next), Arc::clone(&is_over));
        tokio::spawn(async move {
            let mut connection = Connection::open(address).await?;
            while !is_over.load(Ordering::Relaxed) {
                let path = path(next.fetch_add(1, Ordering::Relaxed));
                let answer = connection.get(&path).await?;
                ensure!(answer.status == 200, "{path}: {}", answer.status);
            }
            anyhow::Ok(())
        })
    });
    let asking: Vec<_> = asking.collect();
    tokio::time::sleep(Duration::from_secs_f64(WARM_UP)).await;
    let (begin, asked, cpu) = (Instant::now(), next.load(Ordering::Relaxed), cpu_seconds(rig.server.pid())?);
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    let answers = (next.load(Ordering::Relaxed) - asked) as f64;
    let (seconds, cpu) = (begin.elapsed().as_secs_f64(), cpu_seconds(rig.server.pid())? - cpu);
    is_over.store(true, Ordering::Relaxed);
    for ended in try_join_all(asking).await? {
        ended?;
    }
    ensure!(answers > 0.0 && cpu > 0.0, "nothing was answered");
    Ok(Saturated { per_second: answers / seconds, cpu_ms: cpu * 1e3 / answers, per_core_second: answers / cpu })
}

/// Questions when they are due, over as many connections as it takes; microseconds from then to the answer.
async fn open_loop(
    address: SocketAddr,
    plan: &ServePlan,
    path: impl Fn(usize) -> String + Copy + Send + Sync + 'static,
) -> Result<(Histogram<u64>, f64)> {
    let schedule = Schedule::new(plan.lookup_rate)?;
    let all = schedule.records_in(plan.lookup_seconds + WARM_UP);
    let uncounted = schedule.records_in(WARM_UP);
    let next = Arc::new(AtomicUsize::new(0));
    let begin = Instant::now() + Duration::from_millis(100);
    // A connection takes the next question that nobody has, and waits until it is due: one that is held up leaves those to others.
    let asking = (0..CONNECTIONS * 2).map(|_| {
        let next = Arc::clone(&next);
        tokio::spawn(async move {
            let mut connection = Connection::open(address).await?;
            let mut latencies: Histogram<u64> = Histogram::new(3)?;
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= all {
                    return anyhow::Ok(latencies);
                }
                let due = begin + schedule.due(index);
                tokio::time::sleep_until(due.into()).await;
                let path = path(index);
                let answer = connection.get(&path).await?;
                ensure!(answer.status == 200, "{path}: {}", answer.status);
                if index >= uncounted {
                    latencies.record(due.elapsed().as_micros() as u64)?;
                }
            }
        })
    });
    let asking: Vec<_> = asking.collect();
    let mut latencies: Histogram<u64> = Histogram::new(3)?;
    for own in try_join_all(asking).await? {
        latencies.add(own?)?;
    }
    Ok((latencies, all as f64 / begin.elapsed().as_secs_f64()))
}
