//! How many posts may be inside: what a worker is done with in half a second, between two bounds. Pure; told the time.
//!
//! By Little's law posts inside = rate × time inside. More of them fill batches, for the broker as for a device, and so raise the rate
//! until a stage is busy all the time; from there each one more only makes all of them wait longer. A bound of the time inside needs no
//! guess at where that point lies, and neither a drain nor a crash meets more than so much work. (Trying whether more posts raise the
//! rate, by its gradient, was taken first and decided by noise: what other work on the machine does to a rate within a second is more
//! than a step brings. ADR 55.)

use std::time::{Duration, Instant};

/// Longest time that posts should take because of how many are inside. Broker and store that are far away take a part of it: with 64
/// posts that stay this long or longer, no more are let in.
const TIME_INSIDE: Duration = Duration::from_millis(500);
/// Least time over which a rate is measured.
const WINDOW: Duration = Duration::from_millis(200);
/// Windows last until so many posts are done with,
const ENOUGH_POSTS: u64 = 64;
/// or so long.
const LONGEST_WINDOW: Duration = Duration::from_secs(1);
/// The limit changes by this factor at most with each window: a rate is noise for a part.
const STEP: usize = 2;

/// The number of posts that may be inside.
#[derive(Debug, Clone)]
pub struct PostLimit {
    least: usize,
    most: usize,
    limit: usize,
    window: Option<Window>,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    since: Instant,
    settled: u64,
}

impl PostLimit {
    /// Begins at `least`; never below it nor above `most`.
    pub fn new(least: usize, most: usize) -> Self {
        let least = least.max(1);
        Self { least, most: most.max(least), limit: least, window: None }
    }

    /// Posts that may be inside.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// A post is done with.
    pub fn settled(&mut self) {
        if let Some(window) = &mut self.window {
            window.settled += 1;
        }
    }

    /// Time passes. Answers a new limit.
    pub fn turn(&mut self, now: Instant) -> Option<usize> {
        let window = *self.window.get_or_insert(Window { since: now, settled: 0 });
        let elapsed = now.saturating_duration_since(window.since);
        let is_over = elapsed >= WINDOW && (window.settled >= ENOUGH_POSTS || elapsed >= LONGEST_WINDOW);
        if !is_over {
            return None;
        }
        self.window = None;
        let wanted = window.settled as f64 * TIME_INSIDE.as_secs_f64() / elapsed.as_secs_f64();
        let next = (wanted.round() as usize).clamp(self.limit / STEP, self.limit * STEP).clamp(self.least, self.most);
        (next != self.limit).then(|| {
            self.limit = next;
            next
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Runs a limit before a system whose rate depends on the posts inside; answers the limits it took.
    fn run(limit: &mut PostLimit, ms: u32, rate_of: impl Fn(usize) -> f64) -> Vec<usize> {
        let start = Instant::now();
        let mut limits = vec![limit.limit()];
        let mut owed = 0.0;
        for ms in 0..ms {
            owed += rate_of(limit.limit()) / 1e3;
            while owed >= 1.0 {
                owed -= 1.0;
                limit.settled();
            }
            limits.extend(limit.turn(start + Duration::from_millis(u64::from(ms))));
        }
        limits
    }

    #[test]
    fn a_worker_that_comes_back_to_a_backlog_of_cheap_posts_lets_all_in_within_a_second() {
        let mut limit = PostLimit::new(64, 512);
        assert_eq!(run(&mut limit, 700, |posts| 6_000.0 * (posts as f64 / 64.0).powf(0.2)), [64, 128, 256, 512]);
    }

    #[test]
    fn behind_a_stage_that_is_busy_there_are_as_many_as_it_does_in_half_a_second() {
        let mut limit = PostLimit::new(64, 512);
        run(&mut limit, 30_000, |_| 300.0);
        assert!((145..=155).contains(&limit.limit()), "{}", limit.limit());
        let mut limit = PostLimit { limit: limit.limit(), ..PostLimit::new(64, 512) };
        run(&mut limit, 30_000, |_| 90.0);
        assert_eq!(limit.limit(), 64, "and never fewer than the least");
    }

    #[test]
    fn when_nothing_is_done_with_any_more_the_limit_falls_to_the_least() {
        let mut limit = PostLimit { limit: 512, ..PostLimit::new(64, 512) };
        assert_eq!(run(&mut limit, 10_000, |_| 0.0), [512, 256, 128, 64]);
    }

    #[test]
    fn a_far_broker_lets_more_in_as_long_as_a_post_takes_less_than_the_bound() {
        let inside = |seconds: f64| {
            let mut limit = PostLimit::new(64, 512);
            run(&mut limit, 60_000, |posts| posts as f64 / seconds);
            limit.limit()
        };
        assert_eq!((inside(0.2), inside(0.6)), (512, 64));
    }

    proptest! {
        #[test]
        fn it_stays_within_its_bounds_and_moves_by_a_factor_of_two_at_most(
            windows in prop::collection::vec((0u64..100_000, 1u64..2_000), 1..200), least in 1usize..100, more in 0usize..1_000,
        ) {
            let mut limit = PostLimit::new(least, least + more);
            let mut now = Instant::now();
            for (settled, ms) in windows {
                let before = limit.limit();
                (0..settled.min(2_000)).for_each(|_| limit.settled());
                now += Duration::from_millis(ms);
                limit.turn(now);
                let after = limit.limit();
                prop_assert!((least..=least + more).contains(&after));
                prop_assert!(after <= 2 * before && 2 * after + 1 >= before);
            }
        }
    }
}
