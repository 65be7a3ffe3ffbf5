//! `zipf`.

use std::path::PathBuf;

use anyhow::Result;

use super::shared::{block_on, results, shown};
use crate::zipf::{self, Options};

/// Every post has a text, one of 640 images and one of 1,000 clips, the k-th most frequent with a probability like 1 / k. Two
/// workers, one with its cache and one without, label the same posts in blocks in the order A B A B.
#[derive(clap::Args)]
pub struct ZipfArguments {
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

/// Whether nothing was lost.
pub fn run(arguments: ZipfArguments) -> Result<bool> {
    let options = Options {
        block_seconds: arguments.block_seconds,
        warm_up_seconds: arguments.warm_up_seconds,
        stub: arguments.stub,
        worker: arguments.worker,
    };
    let report = block_on(zipf::run(&options))?;
    println!("{}", report.markdown());
    for path in report.write(&arguments.out.unwrap_or_else(results))? {
        eprintln!("kept: {}", shown(&path));
    }
    Ok(report.lost == 0)
}
