//! A long run below capacity, with faults: does anything grow, is anything lost, does lag come back to 0?

mod bad_host;
pub mod feed;
pub mod hostile;
pub mod isolation;
pub mod options;
mod outage;
mod progress;
mod recovery;
mod report;
mod rig;
mod sample;
mod slope;
mod trouble;

use anyhow::{Result, bail};

use self::options::{RigOptions, SoakPlan};
use self::outage::Outage;
use self::recovery::{longest_gap_seconds, recoveries};
use self::report::{Growth, SoakReport};
use self::rig::{Rig, UNCOUNTED};
use crate::collector::lock;
use crate::process;

/// Posts a second, as a share of the capacity.
const LOAD: f64 = 0.8;

/// Measures the capacity, soaks, waits for the last outcome and judges.
pub async fn run(plan: &SoakPlan, options: &RigOptions) -> Result<SoakReport> {
    let (date, commit, machine) = (process::utc_now(), process::commit(), process::machine());
    let mut rig = Rig::start(options).await?;
    let capacity = rig.closed_loop(plan.capacity_seconds, UNCOUNTED, "measuring the capacity").await?;
    if rig.drain().await?.is_none() {
        bail!(
            "the worker did not come to rest after its capacity was measured: {}; the end of its log:\n{}",
            rig.state(),
            rig.worker.log_tail()
        );
    }
    let rate = plan.rate.unwrap_or(LOAD * capacity.posts_per_second);
    eprintln!(
        "capacity {:.1} posts a second; soaking for {:.0} minutes at {rate:.1} a second ...",
        capacity.posts_per_second, plan.minutes
    );
    lock(&rig.book).reset_latencies();
    let soak_from = rig.start.elapsed().as_secs_f64();
    let (sent, mut outages) = rig.soak(rate, plan).await?;
    let soak_until = rig.start.elapsed().as_secs_f64();
    let drained = rig.drain().await?;
    let store_differences = rig.store_differences().await?;

    let series = rig.sampler.series();
    recoveries(&mut outages, &series);
    let warm_up_seconds = soak_from + plan.warm_up_minutes * 60.0;
    // Another process after a kill has other memory.
    let until = outages.iter().find(|record| record.outage == Outage::WorkerKilled).map(|record| record.at_seconds);
    let growth = Growth::of(&series, warm_up_seconds, until.unwrap_or(soak_until));
    let book = lock(&rig.book);
    let mut report = SoakReport {
        format: 1,
        date,
        commit,
        machine,
        model: options.model_name().to_owned(),
        minutes: plan.minutes,
        soak_from_seconds: soak_from,
        warm_up_seconds,
        capacity,
        posts_per_second: rate,
        generator_late_by_at_most_ms: sent.max_lateness_ms,
        refused_by_broker: sent.refused.len(),
        post_faults: rig.feed.faults().clone(),
        outages,
        tally: book.tally(),
        lost_ids: book.open_ids(10),
        store_differences,
        latency_ms: [50.0, 99.0, 100.0].map(|percentile| book.latency_ms(percentile)),
        growth,
        at_the_end_idle: drained.is_some(),
        drained_after_seconds: drained.map(|drained| drained.as_secs_f64()),
        conservation_gap_longest_seconds: longest_gap_seconds(&series),
        problems: Vec::new(),
        series,
    };
    report.judge();
    Ok(report)
}
