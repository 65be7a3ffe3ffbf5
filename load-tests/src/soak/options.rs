//! What the command line decides about a soak and its kin.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use jtav_testkit::WorkerConfig;

/// Bytes of the worker's cache of encodings: about half of the sample feed's, so that it hits, misses and evicts all along
/// and the networks work for every other post.
const CACHE_BYTES: i64 = 32_000;

/// What a soak is to do.
#[derive(Debug, Clone)]
pub struct SoakPlan {
    /// Length.
    pub minutes: f64,
    /// Minutes until the slopes begin.
    pub warm_up_minutes: f64,
    /// Length of the measurement of the capacity.
    pub capacity_seconds: f64,
    /// Posts a second; none: a share of the capacity.
    pub rate: Option<f64>,
    /// Between two outages of store or broker; none: no outages.
    pub outage_every: Option<Duration>,
    /// Every n-th outage is a SIGKILL of the worker; 0: never.
    pub kill_every: usize,
}

/// Which posts go to which worker.
#[derive(Debug, Clone)]
pub struct RigOptions {
    /// Share of posts with a fault.
    pub fault_share: f64,
    /// Stubs instead of the bundled networks.
    pub stub: bool,
    /// Whether the worker may close its eyes to a dead media host.
    pub circuit_breaker: bool,
    /// Whether the cache of encodings is too small for the feed, so that the networks work.
    pub small_cache: bool,
    /// Hosts that the worker may fetch from besides those of the rig.
    pub further_hosts: Vec<SocketAddr>,
    /// The worker's program.
    pub worker: Option<PathBuf>,
}

impl RigOptions {
    /// For reports.
    pub fn model_name(&self) -> &'static str {
        if self.stub { "stub" } else { "models/jtav-modern" }
    }

    /// What differs from the worker's defaults.
    pub fn worker_config(&self) -> WorkerConfig {
        let mut config = WorkerConfig::default();
        if self.small_cache {
            config = config.set("cache.max_bytes", CACHE_BYTES);
        }
        if !self.circuit_breaker {
            config = config.set("media.circuit_failures", 0);
        }
        if self.stub {
            config = config.set("model.stub", true);
        }
        config
    }
}
