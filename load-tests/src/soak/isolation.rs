//! What one dead media host costs the others: throughput with a tenth of the posts pointing at it, against the same posts
//! pointing at an image that is not there, which costs nothing but the request. Blocks in the order A B A B A, so that a
//! machine that gets slower or faster favours neither.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Serialize;

use super::feed::PostFault;
use super::options::RigOptions;
use super::rig::Rig;
use crate::collector::lock;
use crate::files;
use crate::process::{self, Machine};

/// A tenth of the posts.
pub const SHARE: f64 = 0.1;
/// Before the first block.
const WARM_UP_SECONDS: f64 = 20.0;

#[derive(Debug, Clone, Serialize)]
pub struct IsolationReport {
    /// Version of this layout.
    pub format: u32,
    /// UTC, RFC 3339.
    pub date: String,
    /// Commit of the checkout.
    pub commit: String,
    /// Where.
    pub machine: Machine,
    /// `models/jtav-modern` or `stub`.
    pub model: String,
    /// Whether the worker's circuit breaker was on.
    pub circuit_breaker: bool,
    /// Length of a block.
    pub block_seconds: f64,
    /// Posts a second of blocks without the dead host.
    pub without: Vec<f64>,
    /// Posts a second of blocks with it.
    pub with: Vec<f64>,
    /// Each block with it, by the mean of its neighbours.
    pub ratios: Vec<f64>,
    /// Posts without an outcome.
    pub lost: u64,
}

/// Runs the five blocks.
pub async fn run(options: &RigOptions, block_seconds: f64) -> Result<IsolationReport> {
    let (date, commit, machine) = (process::utc_now(), process::commit(), process::machine());
    let mut rig = Rig::start(options).await?;
    let (healthy, dead) = (PostFault::MediaNotFound, PostFault::MediaHostHangs);
    rig.feed.always(healthy);
    rig.closed_loop(WARM_UP_SECONDS, 0.0, "warming up").await?;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for (fault, name) in
        [(healthy, "1 of 5"), (dead, "2 of 5"), (healthy, "3 of 5"), (dead, "4 of 5"), (healthy, "5 of 5")]
    {
        rig.drain().await?;
        rig.feed.always(fault);
        let block = rig.closed_loop(block_seconds, 0.0, &format!("block {name}")).await?;
        if fault == dead { &mut with } else { &mut without }.push(block.posts_per_second);
    }
    rig.drain().await?;
    let neighbours = without.windows(2).map(|pair| f64::midpoint(pair[0], pair[1]));
    Ok(IsolationReport {
        format: 1,
        date,
        commit,
        machine,
        model: options.model_name().to_owned(),
        circuit_breaker: options.circuit_breaker,
        block_seconds,
        ratios: with.iter().zip(neighbours).map(|(with, without)| with / without).collect(),
        without,
        with,
        lost: lock(&rig.book).tally().lost,
    })
}

impl IsolationReport {
    /// Heading and table.
    pub fn markdown(&self) -> String {
        let list = |values: &[f64], digits: usize| {
            let values: Vec<String> = values.iter().map(|value| format!("{value:.digits$}")).collect();
            values.join(", ")
        };
        format!(
            "# One dead media host, {}\n\nCommit {}; {}. Networks: {}. Circuit breaker: {}.\n\n\
             A tenth of the posts have an image on a host that takes connections and never answers (with), or one that is not\n\
             there (without); 128 posts are under way at every moment; blocks of {} s in turn.\n\n\
             | what | value |\n|---|---|\n| posts a second without | {} |\n| posts a second with | {} |\n\
             | with / mean of the neighbours without | {} |\n| lost | {} |\n",
            self.date,
            self.commit,
            self.machine,
            self.model,
            if self.circuit_breaker { "on" } else { "off" },
            self.block_seconds,
            list(&self.without, 1),
            list(&self.with, 1),
            list(&self.ratios, 3),
            self.lost,
        )
    }

    /// Writes `dead-host-DATE.json` and `.md`.
    pub fn write(&self, folder: &Path) -> Result<[PathBuf; 2]> {
        files::write(
            folder,
            &format!("dead-host-{}", self.date.replace(':', "")),
            [("json", serde_json::to_string_pretty(self)? + "\n"), ("md", self.markdown())],
        )
    }
}
