//! What a pass costs: of a CPU its time, which a busy machine does not stretch as it does the clock on the wall; of a GPU that clock.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::error::ModelError;

/// Least number of passes that are timed, of which the median counts.
const LEAST_PASSES: usize = 5;
/// Passes go on for so long.
const LEAST_TIME: Duration = Duration::from_millis(300);

/// What passes are timed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// CPU time of the whole process, whatever threads an engine has.
    Cpu,
    /// The clock on the wall: while a GPU computes, the CPU does nothing that says how long.
    Wall,
}

impl Clock {
    fn now(self) -> Duration {
        let time = clock_gettime(match self {
            Self::Cpu => ClockId::ProcessCPUTime,
            Self::Wall => ClockId::Monotonic,
        });
        Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
    }
}

/// Milliseconds by `clock` of one item of a pass over `batch` of them: the median over passes. On a GPU a pass has to wait for what it asked for.
pub(crate) fn cost_ms(
    clock: Clock,
    batch: usize,
    mut pass: impl FnMut() -> Result<(), ModelError>,
) -> Result<f64, ModelError> {
    // What the first passes make ready is no part of the cost.
    pass()?;
    pass()?;
    let mut passes = Vec::new();
    let mut spent = Duration::ZERO;
    while passes.len() < LEAST_PASSES || spent < LEAST_TIME {
        let started = clock.now();
        pass()?;
        let took = clock.now().saturating_sub(started);
        passes.push(took);
        spent += took.max(Duration::from_micros(1));
    }
    passes.sort_unstable();
    Ok(passes[passes.len() / 2].as_secs_f64() * 1e3 / batch as f64)
}
