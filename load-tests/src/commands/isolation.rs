//! `isolation`.

use std::path::PathBuf;

use anyhow::Result;

use super::shared::{block_on, results, shown};
use crate::soak::{isolation, options::RigOptions};

/// A tenth of the posts have an image on a host that takes connections and never answers. The throughput is held against
/// that of the same posts with an image that is not there, in blocks in the order A B A B A.
#[derive(clap::Args)]
pub struct IsolationArguments {
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

/// Whether nothing was lost.
pub fn run(arguments: IsolationArguments) -> Result<bool> {
    let options = RigOptions {
        fault_share: isolation::SHARE,
        stub: arguments.stub,
        circuit_breaker: !arguments.without_circuit_breaker,
        small_cache: false,
        further_hosts: Vec::new(),
        worker: arguments.worker,
    };
    let report = block_on(isolation::run(&options, arguments.block_seconds))?;
    println!("{}", report.markdown());
    for path in report.write(&arguments.out.unwrap_or_else(results))? {
        eprintln!("kept: {}", shown(&path));
    }
    Ok(report.lost == 0)
}
