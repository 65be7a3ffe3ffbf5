//! `hostile`.

use std::path::PathBuf;

use anyhow::Result;

use super::shared::{block_on, results, shown};
use crate::soak::{hostile, options::RigOptions};

/// The sample feed at 70 % of what the worker can do, alone and with one post in twenty from strangers who mean harm: texts
/// that are dear to read, records that fit nowhere, servers that hang, drip, lie and never end on a hundred addresses,
/// pictures and sounds that are small and cost much. Blocks in the order A B A B, on a real broker and a real Redis.
///
/// Exit status: 0 clean; 1 a post was lost or set aside, a hostile one came to no end or to a wrong one, something restarted, or
/// the honest posts got less than 0.9 of their rate or more than twice their 99th percentile (what was found is kept);
/// 2 nothing was measured.
#[derive(clap::Args)]
pub struct HostileArguments {
    /// How much is measured.
    #[command(flatten)]
    plan: hostile::Plan,
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

/// Whether every post came to its end and, unless that is not asked, the honest ones to theirs in time.
pub fn run(arguments: HostileArguments) -> Result<bool> {
    let options = RigOptions {
        fault_share: 0.0,
        stub: arguments.stub,
        circuit_breaker: true,
        small_cache: true,
        further_hosts: Vec::new(),
        worker: arguments.worker,
    };
    let report = block_on(hostile::run(arguments.plan, &options))?;
    println!("{}", report.markdown());
    for path in report.write(&arguments.out.unwrap_or_else(results))? {
        eprintln!("kept: {}", shown(&path));
    }
    Ok(report.is_safe() && (arguments.outcomes_only || report.is_fair()))
}
