//! The readers' side under load: looking posts up, following the stream, and how long a server that was killed needs until
//! it finds neighbours again.

mod fill;
mod http;
mod lookups;
mod report;
mod rig;
mod streams;

use std::path::PathBuf;

use anyhow::Result;
pub use report::ServeReport;

use self::rig::ServeRig;
use crate::process::{self, machine};

/// How much is measured.
#[derive(Debug, Clone, clap::Args)]
pub struct ServePlan {
    /// Posts in the store, and vectors in the index
    #[arg(long, value_name = "N", default_value_t = 50_000)]
    pub posts: usize,
    /// Seconds of each measurement of lookups
    #[arg(long, value_name = "S", default_value_t = 15.0)]
    pub lookup_seconds: f64,
    /// Lookups a second while their latency is measured
    #[arg(long, value_name = "N", default_value_t = 5_000.0)]
    pub lookup_rate: f64,
    /// Readers of the stream; each wants one label in a hundred
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub readers: usize,
    /// Labels a second beside them
    #[arg(long, value_name = "N", default_value_t = 500.0)]
    pub label_rate: f64,
    /// Seconds of the stream
    #[arg(long, value_name = "S", default_value_t = 120.0)]
    pub stream_seconds: f64,
    /// The server's program [default: jtav beside this program]
    #[arg(long, value_name = "FILE")]
    pub program: Option<PathBuf>,
}

/// Measures one after the other on a server with one thread, a real broker and a real store.
pub async fn run(plan: &ServePlan) -> Result<ServeReport> {
    let machine = machine();
    let mut rig = ServeRig::start(plan).await?;
    eprintln!("filling the store and the topics with {} posts ...", plan.posts);
    fill::fill(&rig, plan.posts).await?;
    rig.wait_for_index(plan.posts).await?;
    eprintln!("looking posts up ...");
    let lookups = lookups::measure(&rig, plan).await?;
    eprintln!("{} readers follow the stream ...", plan.readers);
    let streams = streams::measure(&mut rig, plan).await?;
    eprintln!("killing the server ...");
    let rebuild = rig.kill_and_rebuild(plan.posts).await?;
    Ok(ServeReport {
        date: process::utc_now(),
        commit: process::commit(),
        machine,
        posts: plan.posts,
        lookups,
        streams,
        rebuild,
    })
}
