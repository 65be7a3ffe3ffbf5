//! Open-loop load generator: posts arrive when they are due, whatever the worker does.

mod ceiling;
mod collector;
mod ledger;
mod local;
mod pacing;
mod process;
mod report;
mod run;
mod scenario;
mod sender;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};

use crate::run::Options;
use crate::scenario::Scenario;

/// Measures a jtav worker under load that does not wait for it.
///
/// Post n is sent at start + n / rate, whether or not earlier ones were answered, and its latency counts from that
/// moment to the moment a consumer reads its label. A worker that stalls for a second is charged with every post that
/// was due in that second; a generator that waits for answers would see one slow post (coordinated omission).
///
/// A run starts a real Kafka broker, a redis-server and one worker, warms them up, measures, measures a ceiling to
/// compare with, stops everything, prints a table and keeps it with date, commit and machine in load-tests/results/.
#[derive(Parser)]
#[command(name = "jtav-load-tests", after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples, from the repository (the worker first: cargo build --release --workspace --bin jtav):
  cargo run --release -p jtav-load-tests -- run --scenario stub
  cargo run --release -p jtav-load-tests -- run --scenario text --rate 800 --seconds 60
  cargo run --release -p jtav-load-tests -- run --scenario mixed --brokers 127.0.0.1:9092

How to find the capacity: raise --rate until the report says `saturated`, then quote latencies at 70 % of it.
Exit status: 0 clean, 1 posts lost, refused or dead-lettered (the result is kept all the same), 2 nothing measured.";

#[derive(Subcommand)]
enum Command {
    /// Run one scenario and keep its result
    Run(RunArguments),
    /// Name the scenarios
    List,
}

#[derive(clap::Args)]
struct RunArguments {
    /// Scenario: text, mixed, stub, or the path of a TOML file like those in load-tests/scenarios/
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
    /// Where the result goes [default: load-tests/results]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Run(arguments) => run_scenario(arguments),
        Command::List => list().map(|()| true),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether the run was clean.
fn run_scenario(arguments: RunArguments) -> Result<bool> {
    let root = local::repository_root()?;
    let mut scenario = Scenario::load(&root.join("load-tests/scenarios"), &arguments.scenario)?;
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
        with_ceiling: !arguments.no_ceiling,
        root: root.clone(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let report = runtime.block_on(async {
        tokio::select! {
            report = run::run(&options) => report,
            // Everything that was started is stopped when the run is dropped.
            _ = tokio::signal::ctrl_c() => bail!("interrupted; nothing was kept"),
        }
    })?;
    println!("{}", report.markdown());
    let paths = report.write(&arguments.out.unwrap_or_else(|| root.join("load-tests/results")))?;
    for path in paths {
        println!("kept: {}", path.strip_prefix(&root).unwrap_or(&path).display());
    }
    if !report.is_clean() {
        eprintln!("not clean: {} lost (first: {})", report.counts.lost, report.lost_ids.join(", "));
    }
    Ok(report.is_clean())
}

fn list() -> Result<()> {
    let folder = local::repository_root()?.join("load-tests/scenarios");
    let mut names: Vec<String> = std::fs::read_dir(&folder)?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok()?.strip_suffix(".toml").map(str::to_owned))
        .collect();
    names.sort();
    for name in names {
        let scenario = Scenario::load(&folder, &name)?;
        println!("{name:8} {} ({} posts a second)", scenario.description, scenario.rate_per_second);
    }
    Ok(())
}
