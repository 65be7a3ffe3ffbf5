use std::time::{Duration, Instant};

/// How much of the rate may be made up for at once. The poll thread may sleep up to 20 ms; without it a high rate would
/// come down to one post for each time that it wakes.
const CREDIT: Duration = Duration::from_millis(100);

/// Keeps the rate at which posts are let in below a bound. It knows no clock: every call is told the time.
#[derive(Debug)]
pub(crate) struct Pace {
    gap: Duration,
    next: Option<Instant>,
}

impl Pace {
    pub(crate) fn new(gap: Duration) -> Self {
        Self { gap, next: None }
    }

    /// Whether a post may be let in now.
    pub(crate) fn admits(&self, now: Instant) -> bool {
        self.next.is_none_or(|next| next <= now)
    }

    /// A post was let in.
    pub(crate) fn admitted(&mut self, now: Instant) {
        if self.gap.is_zero() {
            return;
        }
        let oldest = now.checked_sub(CREDIT).unwrap_or(now);
        self.next = Some(self.next.map_or(now, |next| next.max(oldest)) + self.gap);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted_within(seconds: u64, wake_ms: u64, gap: Duration) -> usize {
        let start = Instant::now();
        let mut pace = Pace::new(gap);
        let mut admitted = 0;
        for ms in (0..seconds * 1_000).step_by(wake_ms as usize) {
            let now = start + Duration::from_millis(ms);
            while pace.admits(now) {
                pace.admitted(now);
                admitted += 1;
                assert!(admitted < 1_000_000, "no bound at all");
            }
        }
        admitted
    }

    #[test]
    fn the_rate_is_kept_however_seldom_the_thread_wakes() {
        for wake_ms in [1, 20, 90] {
            let admitted = admitted_within(10, wake_ms, Duration::from_millis(5));
            assert!(
                (1_960..=2_001).contains(&admitted),
                "{admitted} posts in 10 s at 200/s, waking every {wake_ms} ms"
            );
        }
    }

    #[test]
    fn a_rest_is_not_made_up_for() {
        let mut pace = Pace::new(Duration::from_millis(10));
        let start = Instant::now();
        pace.admitted(start);
        let later = start + Duration::from_secs(3_600);
        let mut burst = 0;
        while pace.admits(later) {
            pace.admitted(later);
            burst += 1;
        }
        assert_eq!(burst, 11, "a credit of 100 ms at 100/s, and the one that is due");
    }

    #[test]
    fn without_a_gap_everything_is_let_in() {
        let mut pace = Pace::new(Duration::ZERO);
        let now = Instant::now();
        for _ in 0..1_000 {
            assert!(pace.admits(now));
            pace.admitted(now);
        }
    }
}
