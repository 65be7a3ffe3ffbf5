//! `zipf`.

use std::path::PathBuf;

use anyhow::Result;

use super::shared::{block_on, results, shown};
use crate::zipf::{self, Options};

/// Every post has a text, one of 640 images and one of 1,000 clips, the k-th most frequent with a probability like 1 / k. Two
/// workers, one with its cache and one without, label the same posts in blocks in the order A B A B.
#[derive(clap::Args)]
pub struct ZipfArguments {
    /// How much is measured, and with which worker.
    #[command(flatten)]
    options: Options,
    /// Where the result goes [default: docs/results]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Whether nothing was lost.
pub fn run(arguments: ZipfArguments) -> Result<bool> {
    let report = block_on(zipf::run(&arguments.options))?;
    println!("{}", report.markdown());
    for path in report.write(&arguments.out.unwrap_or_else(results))? {
        eprintln!("kept: {}", shown(&path));
    }
    Ok(report.lost == 0)
}
