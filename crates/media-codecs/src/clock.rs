//! CPU time as a limit, of sounds and pictures.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// What one medium may still take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    started: Duration,
    limit: Duration,
}

impl Clock {
    /// Runs from now on, for this thread.
    pub(crate) fn start(limit: Duration) -> Self {
        Self { started: thread_cpu_time(), limit }
    }

    /// A look is a system call, as dear as a small packet.
    pub(crate) fn is_over(&self) -> bool {
        thread_cpu_time().saturating_sub(self.started) > self.limit
    }
}

/// CPU time of this thread. Wall time would blame a medium for a busy machine.
pub(crate) fn thread_cpu_time() -> Duration {
    // In a decode worker the filter lets `clock_gettime` through and nothing else that this may ask the kernel for.
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_clock_of_a_thread_runs_with_its_work() {
        let before = thread_cpu_time();
        let mut x = 1_u64;
        while thread_cpu_time() < before + Duration::from_millis(2) {
            x = std::hint::black_box(x.wrapping_mul(3));
        }
        std::thread::sleep(Duration::from_millis(30));
        assert!(thread_cpu_time() - before < Duration::from_millis(30), "sleeping is no CPU time ({x})");
    }
}
