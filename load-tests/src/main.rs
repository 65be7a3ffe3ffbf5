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
mod soak;
mod zipf;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

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
  cargo run --release -p jtav-load-tests -- soak --minutes 30

How to find the capacity: raise --rate until the report says `saturated`, then quote latencies at 70 % of it.
Exit status: 0 clean, 1 posts lost, refused or dead-lettered (the result is kept all the same), 2 nothing measured.";

#[derive(Subcommand)]
enum Command {
    /// Run one scenario and keep its result
    Run(RunArguments),
    /// Run for long at 80 % of the capacity, with faults, and see whether anything grows, is lost or shows twice
    Soak(SoakArguments),
    /// Measure what one dead media host costs posts with media on other hosts
    Isolation(IsolationArguments),
    /// Measure what hostile posts cost the honest ones, and see that each comes to its end
    Hostile(HostileArguments),
    /// Measure what the media cache is worth on a feed whose media come as often as Zipf's law says
    Zipf(ZipfArguments),
    /// Name the scenarios
    List,
}

#[derive(clap::Args)]
struct RunArguments {
    /// Scenario: text, mixed, stub, media, media-threads, or the path of a TOML file like those in load-tests/scenarios/
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

/// First the capacity is measured, with a fixed number of posts under way. Then posts arrive when they are due, drawn from
/// the sample feed, media over HTTP. One in a hundred has a fault: a media host that hangs, drips, lies, breaks off or
/// answers 404 or 503, a forbidden address, a record that is not JSON, a post of nothing, an edit, a tombstone. Every 45 s
/// Redis or the broker fails for 3 s. At the end every id must have its one outcome, on the topics and in the store, and
/// the lag must be 0. Memory, descriptors, lag and throughput are kept as JSON and drawn as PNG.
///
/// Exit status: 0 clean; 1 lost, duplicated, lag that stays, or memory that grows by more than 1 MB an hour beyond
/// doubt (what was found is kept); 2 nothing was measured.
#[derive(clap::Args)]
struct SoakArguments {
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

/// A tenth of the posts have an image on a host that takes connections and never answers. The throughput is held against
/// that of the same posts with an image that is not there, in blocks in the order A B A B A.
#[derive(clap::Args)]
struct IsolationArguments {
    /// Seconds of a block; there are five
    #[arg(long, value_name = "S", default_value_t = 60.0)]
    block_seconds: f64,
    /// Switch the worker's circuit breaker off, to see what it is worth
    #[arg(long)]
    without_circuit_breaker: bool,
    /// Stubs instead of the bundled networks
    #[arg(long)]
    stub: bool,
    /// The worker's program [default: jtav beside this program]
    #[arg(long, value_name = "FILE")]
    worker: Option<PathBuf>,
    /// Where the result goes [default: docs/results]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// The sample feed at 70 % of what the worker can do, alone and with one post in twenty from strangers who mean harm: texts
/// that are dear to read, records that fit nowhere, servers that hang, drip, lie and never end on a hundred addresses,
/// pictures and sounds that are small and cost much. Blocks in the order A B A B, on a real broker and a real Redis.
///
/// Exit status: 0 clean; 1 a post was lost or set aside, a hostile one came to no end or to a wrong one, something restarted, or
/// the honest posts got less than 0.9 of their rate or more than twice their 99th percentile (what was found is kept);
/// 2 nothing was measured.
#[derive(clap::Args)]
struct HostileArguments {
    /// Seconds of a block
    #[arg(long, value_name = "S", default_value_t = 60.0)]
    block_seconds: f64,
    /// Pairs of blocks, one without and one with hostile posts
    #[arg(long, value_name = "N", default_value_t = 2)]
    pairs: usize,
    /// Seconds over which the capacity is measured
    #[arg(long, value_name = "S", default_value_t = 60.0)]
    capacity_seconds: f64,
    /// Honest posts a second [default: 70 % of the capacity]
    #[arg(long, value_name = "N")]
    rate: Option<f64>,
    /// Stubs instead of the bundled networks
    #[arg(long)]
    stub: bool,
    /// Judge what becomes of the posts and not how fast: for a short look on a busy machine
    #[arg(long)]
    outcomes_only: bool,
    /// The worker's program [default: jtav beside this program]
    #[arg(long, value_name = "FILE")]
    worker: Option<PathBuf>,
    /// Where the result goes [default: docs/results]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Every post has a text, one of 640 images and one of 1,000 clips, the k-th most frequent with a probability like 1 / k. Two
/// workers, one with its cache and one without, label the same posts in blocks in the order A B A B.
#[derive(clap::Args)]
struct ZipfArguments {
    /// Seconds of a block; there are four
    #[arg(long, value_name = "S", default_value_t = 60.0)]
    block_seconds: f64,
    /// Seconds before the first block of each worker, which fill its cache
    #[arg(long, value_name = "S", default_value_t = 30.0)]
    warm_up_seconds: f64,
    /// Stubs instead of the bundled networks
    #[arg(long)]
    stub: bool,
    /// The worker's program [default: jtav beside this program]
    #[arg(long, value_name = "FILE")]
    worker: Option<PathBuf>,
    /// Where the result goes [default: docs/results]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Run(arguments) => run_scenario(arguments),
        Command::Soak(arguments) => run_soak(arguments),
        Command::Isolation(arguments) => run_isolation(arguments),
        Command::Hostile(arguments) => run_hostile(arguments),
        Command::Zipf(arguments) => run_zipf(arguments),
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
    let report = block_on(run::run(&options))?;
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

/// Whether the soak was clean.
fn run_soak(arguments: SoakArguments) -> Result<bool> {
    let positive = |name: &str, value: f64| {
        if value.is_finite() && value > 0.0 { Ok(()) } else { bail!("--{name} {value}: give a number above 0") }
    };
    positive("minutes", arguments.minutes)?;
    positive("capacity-seconds", arguments.capacity_seconds)?;
    if !(0.0..=100.0).contains(&arguments.fault_percent) {
        bail!("--fault-percent {} is not between 0 and 100", arguments.fault_percent);
    }
    let root = local::repository_root()?;
    let every = arguments.outage_every_seconds;
    let options = soak::Options {
        minutes: arguments.minutes,
        warm_up_minutes: arguments.warm_up_minutes.unwrap_or((arguments.minutes / 3.0).min(10.0)),
        capacity_seconds: arguments.capacity_seconds,
        rate: arguments.rate,
        load: 0.8,
        fault_share: arguments.fault_percent / 100.0,
        outage_every: (every > 0.0).then(|| Duration::try_from_secs_f64(every)).transpose()?,
        kill_every: arguments.kill_every,
        stub: arguments.stub,
        circuit_breaker: true,
        small_cache: true,
        further_hosts: Vec::new(),
        worker: arguments.worker,
        root: root.clone(),
    };
    let report = block_on(soak::run(&options))?;
    let paths = report.write(&arguments.out.unwrap_or_else(|| root.join("docs/results")))?;
    for problem in &report.problems {
        eprintln!("not clean: {problem}");
    }
    if arguments.json {
        println!("{}", report.summary()?);
    } else {
        println!("{}", report.markdown());
    }
    for path in paths {
        eprintln!("kept: {}", path.strip_prefix(&root).unwrap_or(&path).display());
    }
    Ok(report.problems.is_empty())
}

/// Whether nothing was lost.
fn run_isolation(arguments: IsolationArguments) -> Result<bool> {
    let root = local::repository_root()?;
    let options = soak::Options {
        minutes: 0.0,
        warm_up_minutes: 0.0,
        capacity_seconds: 0.0,
        rate: None,
        load: 1.0,
        fault_share: soak::isolation::SHARE,
        outage_every: None,
        kill_every: 0,
        stub: arguments.stub,
        circuit_breaker: !arguments.without_circuit_breaker,
        small_cache: false,
        further_hosts: Vec::new(),
        worker: arguments.worker,
        root: root.clone(),
    };
    let report = block_on(soak::isolation::run(&options, arguments.block_seconds))?;
    println!("{}", report.markdown());
    for path in report.write(&arguments.out.unwrap_or_else(|| root.join("docs/results")))? {
        eprintln!("kept: {}", path.strip_prefix(&root).unwrap_or(&path).display());
    }
    Ok(report.lost == 0)
}

/// Whether every post came to its end and, unless that is not asked, the honest ones to theirs in time.
fn run_hostile(arguments: HostileArguments) -> Result<bool> {
    let root = local::repository_root()?;
    let options = soak::Options {
        minutes: 0.0,
        warm_up_minutes: 0.0,
        capacity_seconds: arguments.capacity_seconds,
        rate: arguments.rate,
        load: 0.7,
        fault_share: 0.0,
        outage_every: None,
        kill_every: 0,
        stub: arguments.stub,
        circuit_breaker: true,
        small_cache: true,
        further_hosts: Vec::new(),
        worker: arguments.worker,
        root: root.clone(),
    };
    let plan = soak::hostile::Plan { block_seconds: arguments.block_seconds, pairs: arguments.pairs };
    let report = block_on(soak::hostile::run(&options, plan))?;
    println!("{}", report.markdown());
    for path in report.write(&arguments.out.unwrap_or_else(|| root.join("docs/results")))? {
        eprintln!("kept: {}", path.strip_prefix(&root).unwrap_or(&path).display());
    }
    Ok(report.is_safe() && (arguments.outcomes_only || report.is_fair()))
}

/// Whether nothing was lost.
fn run_zipf(arguments: ZipfArguments) -> Result<bool> {
    let root = local::repository_root()?;
    let options = zipf::Options {
        block_seconds: arguments.block_seconds,
        warm_up_seconds: arguments.warm_up_seconds,
        stub: arguments.stub,
        worker: arguments.worker,
        root: root.clone(),
    };
    let report = block_on(zipf::run(&options))?;
    println!("{}", report.markdown());
    for path in report.write(&arguments.out.unwrap_or_else(|| root.join("docs/results")))? {
        eprintln!("kept: {}", path.strip_prefix(&root).unwrap_or(&path).display());
    }
    Ok(report.lost == 0)
}

fn block_on<T>(run: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        tokio::select! {
            report = run => report,
            // Everything that was started is stopped when the run is dropped.
            _ = tokio::signal::ctrl_c() => bail!("interrupted; nothing was kept"),
        }
    })
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
