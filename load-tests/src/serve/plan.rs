//! What is asked for.

use std::path::PathBuf;

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
