//! What a pass costs: CPU time, which a busy machine does not stretch as it does the clock on the wall.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::error::ModelError;

/// Least number of passes that are timed, of which the median counts.
const LEAST_PASSES: usize = 5;
/// Passes go on for so long.
const LEAST_TIME: Duration = Duration::from_millis(300);

/// CPU milliseconds of one item of a pass over `batch` of them, of the whole process: the median over passes.
pub(crate) fn cpu_ms(batch: usize, mut pass: impl FnMut() -> Result<(), ModelError>) -> Result<f64, ModelError> {
    // What the first passes make ready is no part of the cost.
    pass()?;
    pass()?;
    let mut passes = Vec::new();
    let mut spent = Duration::ZERO;
    while passes.len() < LEAST_PASSES || spent < LEAST_TIME {
        let started = now();
        pass()?;
        let took = now().saturating_sub(started);
        passes.push(took);
        spent += took.max(Duration::from_micros(1));
    }
    passes.sort_unstable();
    Ok(passes[passes.len() / 2].as_secs_f64() * 1e3 / batch as f64)
}

fn now() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}
