//! `costs`.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use jtav_testkit::workspace_root;

use super::shared::{block_on, shown};
use crate::costs::{self, Options};

/// Six workers, one after the other, each with a broker and a store of its own: texts with stub networks, texts, images, clips, the
/// whole sample feed, and that with its media known. Each is idle for 5 s, then saturated, then at 70 % of what it could do, by
/// which CPU time is told. What comes out is what `jtav plan` reckons with; build `jtav` again after it.
///
/// Exit status: 0 written; 2 nothing was measured, because something is missing or a post got no label.
#[derive(clap::Args)]
pub struct CostsArguments {
    /// Seconds of each phase that counts; there are two for each worker
    #[arg(long, value_name = "S", default_value_t = 20.0)]
    seconds: f64,
    /// The worker's program [default: jtav beside this program]
    #[arg(long, value_name = "FILE")]
    worker: Option<PathBuf>,
    /// Where the costs go [default: config/costs.json]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Always, or an error.
pub fn run(arguments: CostsArguments) -> Result<bool> {
    let seconds = arguments.seconds;
    ensure!(seconds.is_finite() && seconds >= 1.0, "--seconds {seconds}: give a number of at least 1");
    let costs = block_on(costs::run(&Options { seconds, worker: arguments.worker }))?;
    let path = arguments.out.unwrap_or_else(|| workspace_root().join(costs::FILE));
    costs.write(&path)?;
    eprintln!("kept: {}", shown(&path));
    Ok(true)
}
