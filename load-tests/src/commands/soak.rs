//! `soak`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};

use super::shared::{block_on, results, shown};
use crate::soak;
use crate::soak::options::{RigOptions, SoakPlan};

/// First the capacity is measured, with a fixed number of posts under way. Then posts arrive when they are due, drawn from
/// the sample feed, media over HTTP. One in a hundred has a fault: a media host that hangs, drips, lies, breaks off or
/// answers 404 or 503, a forbidden address, a record that is not JSON, a post of nothing, an edit, a tombstone. Every 45 s
/// Redis or the broker fails for 3 s. At the end every id must have its one outcome, on the topics and in the store, and
/// the lag must be 0. Memory, descriptors, lag and throughput are kept as JSON and drawn as PNG.
///
/// Exit status: 0 clean; 1 lost, duplicated, lag that stays, or memory that grows by more than 1 MB an hour beyond
/// doubt (what was found is kept); 2 nothing was measured.
#[derive(clap::Args)]
pub struct SoakArguments {
    /// Length, without the measurement of the capacity
    #[arg(long, value_name = "N", default_value_t = 30.0)]
    minutes: f64,
    /// Minutes at the beginning that do not count for the slopes [default: a third, at most 10]
    #[arg(long, value_name = "N")]
    warm_up_minutes: Option<f64>,
    /// Posts a second [default: 80 % of the capacity]
    #[arg(long, value_name = "N")]
    rate: Option<f64>,
    /// Seconds over which the capacity is measured
    #[arg(long, value_name = "S", default_value_t = 60.0)]
    capacity_seconds: f64,
    /// Percent of posts with a fault
    #[arg(long, value_name = "P", default_value_t = 1.0)]
    fault_percent: f64,
    /// Seconds between two outages of Redis or the broker; 0: none
    #[arg(long, value_name = "S", default_value_t = 45.0)]
    outage_every_seconds: f64,
    /// Every n-th outage is a SIGKILL of the worker instead; slopes then end with the first. 0: never
    #[arg(long, value_name = "N", default_value_t = 0)]
    kill_every: usize,
    /// Stubs instead of the bundled networks: a hundred times the posts, nothing of libtorch
    #[arg(long)]
    stub: bool,
    /// The worker's program [default: jtav beside this program]
    #[arg(long, value_name = "FILE")]
    worker: Option<PathBuf>,
    /// Where the result goes [default: docs/results]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The result as one line of JSON, the last on stdout, instead of a table
    #[arg(long)]
    json: bool,
}

/// Whether the soak was clean.
pub fn run(arguments: SoakArguments) -> Result<bool> {
    let positive = |name: &str, value: f64| {
        if value.is_finite() && value > 0.0 { Ok(()) } else { bail!("--{name} {value}: give a number above 0") }
    };
    positive("minutes", arguments.minutes)?;
    positive("capacity-seconds", arguments.capacity_seconds)?;
    if !(0.0..=100.0).contains(&arguments.fault_percent) {
        bail!("--fault-percent {} is not between 0 and 100", arguments.fault_percent);
    }
    let every = arguments.outage_every_seconds;
    let plan = SoakPlan {
        minutes: arguments.minutes,
        warm_up_minutes: arguments.warm_up_minutes.unwrap_or((arguments.minutes / 3.0).min(10.0)),
        capacity_seconds: arguments.capacity_seconds,
        rate: arguments.rate,
        outage_every: (every > 0.0).then(|| Duration::try_from_secs_f64(every)).transpose()?,
        kill_every: arguments.kill_every,
    };
    let options = RigOptions {
        fault_share: arguments.fault_percent / 100.0,
        stub: arguments.stub,
        circuit_breaker: true,
        small_cache: true,
        further_hosts: Vec::new(),
        worker: arguments.worker,
    };
    let report = block_on(soak::run(&plan, &options))?;
    let paths = report.write(&arguments.out.unwrap_or_else(results))?;
    for problem in &report.problems {
        eprintln!("not clean: {problem}");
    }
    if arguments.json {
        println!("{}", report.summary()?);
    } else {
        println!("{}", report.markdown());
    }
    for path in paths {
        eprintln!("kept: {}", shown(&path));
    }
    Ok(report.problems.is_empty())
}
