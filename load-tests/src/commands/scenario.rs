//! `run`: one scenario.

use std::path::PathBuf;

use anyhow::{Result, bail};
use jtav_testkit::workspace_root;

use super::shared::{block_on, shown};
use crate::run::{self, Options};
use crate::scenario::Scenario;

#[derive(clap::Args)]
pub struct RunArguments {
    /// Scenario: text, mixed, stub, images, sounds, media, media-threads, or the path of a TOML file like those in load-tests/scenarios/
    #[arg(long, value_name = "NAME")]
    scenario: String,
    /// Posts a second [default: the scenario's]
    #[arg(long, value_name = "N")]
    rate: Option<f64>,
    /// Seconds of the measured phase [default: the scenario's]
    #[arg(long, value_name = "S")]
    seconds: Option<f64>,
    /// A running broker to use instead of an own one; the run makes topics of its own there and leaves them
    #[arg(long, value_name = "HOST:PORT")]
    brokers: Option<String>,
    /// A running Redis to use instead of an own one
    #[arg(long, value_name = "URL")]
    redis_url: Option<String>,
    /// The worker's program [default: jtav beside this program]
    #[arg(long, value_name = "FILE")]
    worker: Option<PathBuf>,
    /// Do not measure the ceiling
    #[arg(long)]
    no_ceiling: bool,
    /// Sample the worker's stacks while it is measured and draw them into this SVG; needs Linux's perf. The figures of
    /// such a run are not to be quoted
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// Where the result goes [default: load-tests/results]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Whether the run was clean.
pub fn run(arguments: RunArguments) -> Result<bool> {
    let mut scenario = Scenario::load(&workspace_root().join("load-tests/scenarios"), &arguments.scenario)?;
    scenario.rate_per_second = arguments.rate.unwrap_or(scenario.rate_per_second);
    scenario.seconds = arguments.seconds.unwrap_or(scenario.seconds);
    if !(scenario.seconds.is_finite() && scenario.seconds > 0.0) {
        bail!("--seconds {} makes no run: give a number above 0", scenario.seconds);
    }
    let path = PathBuf::from(&arguments.scenario);
    let options = Options {
        name: path.file_stem().map_or(arguments.scenario, |stem| stem.to_string_lossy().into_owned()),
        scenario,
        brokers: arguments.brokers,
        redis_url: arguments.redis_url,
        worker: arguments.worker,
        with_ceiling: !arguments.no_ceiling && arguments.profile.is_none(),
        profile: arguments.profile,
    };
    let is_profiled = options.profile.is_some();
    let report = block_on(run::run(&options))?;
    println!("{}", report.markdown());
    if is_profiled {
        return Ok(report.is_clean());
    }
    let paths = report.write(&arguments.out.unwrap_or_else(|| workspace_root().join("load-tests/results")))?;
    for path in paths {
        println!("kept: {}", shown(&path));
    }
    if !report.is_clean() {
        eprintln!("not clean: {} lost (first: {})", report.counts.lost, report.lost_ids.join(", "));
    }
    Ok(report.is_clean())
}
