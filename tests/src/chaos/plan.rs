use jtav_pipeline::FailPoint;

use super::fault::Fault;
use super::kills;

/// What to run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Runs of each fault, in this order; a seed decides feed, order and moments.
    pub runs: Vec<(Fault, u64)>,
    /// Posts a second.
    pub posts_per_second: u32,
    /// Where the workers of [`Fault::Kills`] are killed.
    pub kill_points: Vec<FailPoint>,
}

impl Plan {
    /// The matrix: killed workers at every fail point `seeds` times, every other fault once for eight of them.
    pub fn matrix(seeds: u64, faults: &[Fault]) -> Self {
        let runs = faults.iter().flat_map(|fault| {
            let runs = if matches!(fault, Fault::Kills) { seeds } else { seeds.div_ceil(8) };
            (0..runs).map(|seed| (*fault, seed))
        });
        Self { runs: runs.collect(), posts_per_second: 150, kill_points: kills::points() }
    }

    /// One short run of a fault; workers are killed at the twelve points between taking a record and committing it.
    pub fn slice(fault: Fault, seed: u64) -> Self {
        Self { runs: vec![(fault, seed)], posts_per_second: 150, kill_points: kills::TWELVE_POINTS.to_vec() }
    }
}
