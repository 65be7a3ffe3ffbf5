//! The readers' side under load: looking posts up, following the stream, and how long a server that was killed needs until
//! it finds neighbours again.

mod fill;
mod http;
mod lookups;
mod plan;
mod report;
mod rig;
mod streams;

use anyhow::Result;
pub use plan::ServePlan;
pub use report::ServeReport;

use self::rig::ServeRig;
use crate::process::{self, machine};

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
