//! When to try again, for every stage that does.
//!
//! | class of failure | who tries again | what ends it |
//! |---|---|---|
//! | retryable: time-out of a connection, 429, 5xx, broker or store away | the stage itself, by this policy | attempts, the stage's deadline, the post's |
//! | retryable, and the stage has given up; a panic | the router, the whole post, by this policy | `router.attempts`, the post's deadline; then the offset is held |
//! | degradable: 404, too large, not decodable | nobody | the part is absent with its reason |
//! | permanent: no post, nothing usable, a second panic | nobody | the dead-letter topic |
//! | fatal: device gone, sink refuses | nobody here | the pipeline or the process begins anew |

use std::time::Duration;

/// How often and for how long something is tried: full jitter (Brooker, "Exponential Backoff And Jitter", AWS 2015),
/// bounded by a number of attempts and by a deadline for the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts, the first included; at least 1.
    pub max_attempts: u32,
    /// Upper end of the first pause; it doubles with every attempt.
    pub base_delay: Duration,
    /// Upper end of any pause.
    pub max_delay: Duration,
    /// Longest time of all attempts and pauses together.
    pub deadline: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 8,
            base_delay: Duration::from_millis(50),
            max_delay: Duration::from_secs(2),
            deadline: Duration::from_secs(30),
        }
    }
}

impl RetryPolicy {
    /// The pause after `failed_attempts` (1 or more) that took `elapsed`, with `jitter` drawn evenly from 0 to 1;
    /// `None` to give up. A pause that would end past the deadline is not begun.
    pub fn pause(&self, failed_attempts: u32, elapsed: Duration, jitter: f64) -> Option<Duration> {
        self.pause_of_at_least(Duration::ZERO, failed_attempts, elapsed, jitter)
    }

    /// The same for a server that said how long to stay away (`Retry-After`): never earlier, and with the jitter on top,
    /// for it told everybody the same. A server that asks for more than the deadline allows is given up at once.
    pub fn pause_of_at_least(
        &self,
        least: Duration,
        failed_attempts: u32,
        elapsed: Duration,
        jitter: f64,
    ) -> Option<Duration> {
        if failed_attempts >= self.max_attempts {
            return None;
        }
        let doublings = failed_attempts.saturating_sub(1).min(31);
        let ceiling = self.base_delay.saturating_mul(1 << doublings).min(self.max_delay);
        let pause = least.saturating_add(ceiling.mul_f64(jitter.clamp(0.0, 1.0)));
        (elapsed.saturating_add(pause) < self.deadline).then_some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const POLICY: RetryPolicy = RetryPolicy {
        max_attempts: 4,
        base_delay: Duration::from_millis(100),
        max_delay: Duration::from_millis(300),
        deadline: Duration::from_secs(1),
    };

    #[test]
    fn the_upper_end_of_the_pause_doubles_up_to_its_maximum() {
        let ends: Vec<_> =
            (1..4).map(|failed| POLICY.pause(failed, Duration::ZERO, 1.0).unwrap().as_millis()).collect();
        assert_eq!(ends, [100, 200, 300]);
        assert_eq!(POLICY.pause(1, Duration::ZERO, 0.5), Some(Duration::from_millis(50)));
    }

    #[test]
    fn attempts_and_deadline_both_end_it() {
        assert_eq!(POLICY.pause(4, Duration::ZERO, 0.0), None, "attempts");
        assert_eq!(POLICY.pause(1, Duration::from_millis(950), 1.0), None, "deadline");
        assert!(POLICY.pause(1, Duration::from_millis(950), 0.1).is_some());
    }

    #[test]
    fn a_server_that_names_a_time_is_not_asked_before_and_one_that_names_an_hour_not_at_all() {
        let second = Duration::from_millis(500);
        assert_eq!(POLICY.pause_of_at_least(second, 1, Duration::ZERO, 0.0), Some(second));
        assert_eq!(POLICY.pause_of_at_least(second, 1, Duration::ZERO, 1.0), Some(Duration::from_millis(600)));
        assert_eq!(POLICY.pause_of_at_least(Duration::from_secs(3600), 1, Duration::ZERO, 0.0), None);
    }

    proptest! {
        #[test]
        fn no_pause_is_longer_than_allowed(
            failed in 1..u32::MAX, attempts in 1..u32::MAX, base in 0..u64::MAX, max in 0..10_000u64,
            elapsed in 0..100_000u64, jitter in -1.0..2.0f64,
        ) {
            let policy = RetryPolicy {
                max_attempts: attempts,
                base_delay: Duration::from_millis(base),
                max_delay: Duration::from_millis(max),
                deadline: Duration::from_secs(60),
            };
            if let Some(pause) = policy.pause(failed, Duration::from_millis(elapsed), jitter) {
                prop_assert!(failed < attempts);
                prop_assert!(pause <= policy.max_delay);
                prop_assert!(Duration::from_millis(elapsed) + pause < policy.deadline);
            }
        }
    }
}
