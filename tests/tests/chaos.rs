//! A short slice of `make chaos`, with fixed seeds: the same runs and the same oracle.

use anyhow::Result;
use jtav_testkit::{jtav_binary, require_real};
use jtav_tests::chaos::{Fault, Plan, Report, run};

async fn slice(test: &str, fault: Fault, seed: u64) -> Result<Option<Report>> {
    if !require_real(test) {
        return Ok(None);
    }
    jtav_binary()?;
    let report = run(&Plan::slice(fault, seed), |_, _, _| {}).await?;
    assert!(report.is_clean(), "{}", report.findings().join("\n"));
    for (_, run) in report.runs() {
        assert!(run.looks > 5, "the watch looked {} times while the fault was there", run.looks);
        assert!(run.labels > 500, "{} labels: too short a feed to prove anything", run.labels);
    }
    Ok(Some(report))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_killed_at_twelve_points_lose_nothing_and_show_nothing_twice() -> Result<()> {
    let test = "workers_killed_at_twelve_points_lose_nothing_and_show_nothing_twice";
    let Some(report) = slice(test, Fault::Kills, 1).await? else { return Ok(()) };
    let kills: u64 = report.runs().map(|(_, run)| run.kills).sum();
    assert!(kills >= 12, "{kills} kills");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_to_the_store_cut_in_mid_pipeline_lose_nothing_and_show_nothing_twice() -> Result<()> {
    let test = "connections_to_the_store_cut_in_mid_pipeline_lose_nothing_and_show_nothing_twice";
    slice(test, Fault::RedisReset, 2).await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_and_timed_out_writes_to_the_broker_lose_nothing_and_show_nothing_twice() -> Result<()> {
    let test = "refused_and_timed_out_writes_to_the_broker_lose_nothing_and_show_nothing_twice";
    slice(test, Fault::ProduceErrors, 3).await.map(drop)
}
