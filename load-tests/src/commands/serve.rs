//! `serve`.

use std::path::PathBuf;

use anyhow::Result;

use super::shared::{block_on, results, shown};
use crate::serve::{self, ServePlan};

/// A server with one thread on a real broker and a real store: lookups of posts as fast as it answers, and their latency at a rate
/// that does not wait; many readers of the stream beside labels; SIGKILL, and the seconds until it finds neighbours again.
#[derive(clap::Args)]
pub struct ServeArguments {
    #[command(flatten)]
    plan: ServePlan,
    /// Where the result goes [default: docs/results]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Whether every reader was told everything.
pub fn run(arguments: ServeArguments) -> Result<bool> {
    let report = block_on(serve::run(&arguments.plan))?;
    println!("{}", report.markdown());
    for path in report.write(&arguments.out.unwrap_or_else(results))? {
        eprintln!("kept: {}", shown(&path));
    }
    Ok(report.is_whole())
}
