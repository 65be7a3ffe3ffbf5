//! `make chaos`: the fault matrix on a real broker and a real store, and on the in-process cluster.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use jtav_testkit::{jtav_binary, require_real};
use jtav_tests::chaos::{Fault, Plan, Report, RunResult, run};

/// Breaks things on purpose and counts what was lost or shown twice.
///
/// Every run is one fault on topics, group and database of its own: two workers, a feed of 150 posts a second with
/// edits, tombstones, poison and media, the fault, and an oracle that reads everything afterwards. Broker and store
/// are started here and end with it.
#[derive(Parser)]
#[command(name = "jtav-chaos", after_help = EXAMPLES)]
struct Arguments {
    /// Seeds of the killed workers (each kills at every fail point once); other faults run once for four of them
    #[arg(long, default_value_t = 8, value_name = "N")]
    seeds: u64,
    /// Only these faults, by name
    #[arg(long, value_delimiter = ',', value_name = "FAULT,…")]
    only: Vec<String>,
    /// Posts a second
    #[arg(long, default_value_t = 150, value_name = "N")]
    rate: u32,
    /// Name the faults and end
    #[arg(long)]
    list: bool,
    /// Print one JSON object, the last line on stdout
    #[arg(long)]
    json: bool,
    /// Write chaos.md and chaos.json into this folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  make chaos SEEDS=8                                         the whole matrix, about three quarters of an hour
  make chaos SEEDS=1 ARGS='--only kills'                     one worker killed at every fail point
  make chaos SEEDS=1 ARGS='--only redis-hang,kafka-kill --json'

Exit status: 0 nothing found, 1 something was lost, shown twice or otherwise wrong, 2 the harness itself failed.";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.list {
        for fault in Fault::ALL {
            println!("{}", fault.as_str());
        }
        return ExitCode::SUCCESS;
    }
    match chaos(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn chaos(arguments: &Arguments) -> Result<bool> {
    let faults = faults(&arguments.only)?;
    ensure!(arguments.rate > 0 && arguments.seeds > 0, "--rate and --seeds must be at least 1");
    ensure!(require_real("chaos"), "a real broker and a real store are needed; `make setup` installs them");
    jtav_binary()?;
    let plan = Plan { posts_per_second: arguments.rate, ..Plan::matrix(arguments.seeds, &faults) };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let bar = bar(plan.runs.len() as u64);
    let report = runtime.block_on(run(&plan, |fault, seed, result| tell(&bar, *fault, seed, result)))?;
    bar.finish_and_clear();
    print(arguments, &report)?;
    Ok(report.is_clean())
}

fn faults(names: &[String]) -> Result<Vec<Fault>> {
    if names.is_empty() {
        return Ok(Fault::ALL.to_vec());
    }
    names
        .iter()
        .map(|name| Fault::named(name).with_context(|| format!("there is no fault `{name}`; --list names them")))
        .collect()
}

fn bar(runs: u64) -> ProgressBar {
    let bar = ProgressBar::new(runs);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} runs  {elapsed_precise}  {msg}") {
        bar.set_style(style);
    }
    if std::io::stderr().is_terminal() {
        bar.enable_steady_tick(Duration::from_millis(500));
    }
    bar
}

fn tell(bar: &ProgressBar, fault: Fault, seed: u64, result: Option<&RunResult>) {
    let name = fault.as_str();
    let Some(result) = result else { return bar.set_message(format!("{name}, seed {seed}")) };
    bar.inc(1);
    let line = format!(
        "{name:<18} seed {seed}: {:>5} records, {:>2} kills, {:>3} rebalances, {} findings, {:.0} s",
        result.records,
        result.kills,
        result.rebalances,
        result.findings.len(),
        result.seconds
    );
    bar.suspend(|| eprintln!("{line}"));
    for finding in result.findings.iter().take(10) {
        bar.suspend(|| eprintln!("    {:?}: {}", finding.harm, finding.text));
    }
}

fn print(arguments: &Arguments, report: &Report) -> Result<()> {
    let markdown = report.markdown();
    let json = serde_json::to_string(&report.json())?;
    println!("{markdown}");
    let findings = report.findings();
    for finding in findings.iter().take(50) {
        println!("{finding}");
    }
    if let Some(folder) = &arguments.out {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        for (name, text) in [("chaos.md", &markdown), ("chaos.json", &json)] {
            let path = folder.join(name);
            std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    if arguments.json {
        println!("{json}");
    }
    if report.runs().next().is_none() {
        bail!("nothing was run");
    }
    Ok(())
}
