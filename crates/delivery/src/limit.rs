//! How many posts may be inside: found by trying, between two bounds. Pure; told the time.
//!
//! With one more post inside, the rate at which posts are done with rises as long as something waits for posts, and from where
//! a stage is busy all the time each one more only makes all of them wait longer. By Little's law (posts inside = rate × time
//! inside) a rate that follows the number of posts means a time inside that does not, so the gradient of one is that of the
//! other; the rate needs no clock for each post, and no guess at what a post takes when nobody else is there, which changes with
//! what is posted. Congestion control by gradient: TCP Vegas (Brakmo, Peterson 1995); here as a search, since a batch that is
//! not full, like a linger time, makes time inside rise and fall with the number of posts for reasons of its own.

use std::time::{Duration, Instant};

/// Least time over which a rate is measured. A worker that comes back to a backlog should not take long to find its pace.
const WINDOW: Duration = Duration::from_millis(200);
/// Fewer posts say nothing about a rate, nor do fewer than go through with two fillings.
const MIN_POSTS: u64 = 64;
const MIN_FILLINGS: u64 = 2;
/// What a step multiplies or divides by.
const STEP: f64 = 2.0;
/// Share of a step that the rate has to follow for it to be worth more posts. Where a post costs next to nothing, eight times as many
/// inside make a worker half as fast again or more: a fifth of each step.
const WORTH: f64 = 0.1;
/// Windows between two tries once more posts were not worth it: at first, so that one busy moment does not decide for long, and
/// at most, each time twice as many.
const FIRST_REST: u32 = 10;
const LONGEST_REST: u32 = 80;

/// A search for the number of posts above which the rate does not rise any more.
#[derive(Debug, Clone)]
pub struct PostLimit {
    least: usize,
    most: usize,
    limit: usize,
    phase: Phase,
    /// Windows of the next rest.
    rest: u32,
    window: Option<Window>,
}

/// What the window that runs is to tell.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    /// The rate at this limit, before the next step.
    Measure,
    /// Whether the step from `limit`, with `rate`, was worth it.
    Try { limit: usize, rate: f64 },
    /// Nothing, for so many windows.
    Rest(u32),
}

#[derive(Debug, Clone, Copy)]
struct Window {
    since: Instant,
    settled: u64,
    turns: u32,
    /// Of these, those in which somebody was kept out.
    bound: u32,
}

/// Share of the turns of a window in which somebody must be kept out: a fetch that is late lets a few pass.
const BOUND_SHARE: f64 = 0.8;

impl PostLimit {
    /// Begins at `least`; never below it nor above `most`.
    pub fn new(least: usize, most: usize) -> Self {
        let least = least.max(1);
        Self { least, most: most.max(least), limit: least, phase: Phase::Measure, rest: FIRST_REST, window: None }
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

    /// Time passes; `keeps_out` says whether a post waits for nothing but to be let in. Answers a new limit.
    pub fn turn(&mut self, keeps_out: bool, now: Instant) -> Option<usize> {
        let window = self.window.get_or_insert(Window { since: now, settled: 0, turns: 0, bound: 0 });
        window.turns += 1;
        window.bound += u32::from(keeps_out);
        let elapsed = now.saturating_duration_since(window.since);
        if elapsed < WINDOW || window.settled < MIN_POSTS.max(MIN_FILLINGS * self.limit as u64) {
            // Long windows are for slow networks; who is let in as he comes says nothing about the limit.
            if elapsed >= WINDOW && !is_bound(window) {
                self.window = None;
            }
            return None;
        }
        if !is_bound(window) {
            self.window = None;
            return None;
        }
        let rate = window.settled as f64 / elapsed.as_secs_f64();
        self.window = None;
        let next = self.next(rate);
        (next != self.limit).then(|| {
            self.limit = next;
            next
        })
    }

    /// The limit after a window with this rate.
    fn next(&mut self, rate: f64) -> usize {
        match self.phase {
            Phase::Rest(0) | Phase::Measure => {
                let up = scaled(self.limit, STEP).min(self.most);
                self.phase =
                    if up == self.limit { Phase::Rest(LONGEST_REST) } else { Phase::Try { limit: self.limit, rate } };
                up
            }
            Phase::Rest(left) => {
                self.phase = Phase::Rest(left - 1);
                self.limit
            }
            Phase::Try { limit: before, rate: rate_before } => {
                let posts = self.limit as f64 / before as f64 - 1.0;
                let gain = rate / rate_before - 1.0;
                if gain >= WORTH * posts {
                    (self.phase, self.rest) = (Phase::Measure, FIRST_REST);
                    return self.limit;
                }
                self.phase = Phase::Rest(self.rest);
                self.rest = (2 * self.rest).min(LONGEST_REST);
                // Not only this step: where the last posts are in the way, fewer may do.
                let is_worse = gain < -WORTH * posts;
                if is_worse { scaled(before, 1.0 / STEP).max(self.least) } else { before }
            }
        }
    }
}

fn is_bound(window: &Window) -> bool {
    f64::from(window.bound) >= BOUND_SHARE * f64::from(window.turns)
}

fn scaled(posts: usize, by: f64) -> usize {
    (posts as f64 * by).round() as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Runs a limit before a system whose rate depends on the posts inside; answers the limits it took.
    fn run(limit: &mut PostLimit, seconds: u32, rate_of: impl Fn(usize) -> f64) -> Vec<usize> {
        let start = Instant::now();
        let mut limits = vec![limit.limit()];
        let mut owed = 0.0;
        for ms in 0..seconds * 1_000 {
            owed += rate_of(limit.limit()) / 1e3;
            while owed >= 1.0 {
                owed -= 1.0;
                limit.settled();
            }
            limits.extend(limit.turn(true, start + Duration::from_millis(u64::from(ms))));
        }
        limits
    }

    #[test]
    fn it_grows_as_long_as_the_rate_follows_and_stays_near_where_it_stops() {
        // 20 ms inside whatever the number, until 10,000 posts a second are reached at 200.
        let mut limit = PostLimit::new(64, 512);
        run(&mut limit, 30, |posts| (posts as f64 / 0.02).min(10_000.0));
        assert!((150..=330).contains(&limit.limit()), "{}", limit.limit());
        let mut limit = PostLimit::new(64, 512);
        let limits = run(&mut limit, 60, |posts| posts as f64 / 0.02);
        assert_eq!(limits.last(), Some(&512));
    }

    #[test]
    fn a_worker_that_comes_back_to_a_backlog_of_cheap_posts_lets_all_in_within_three_seconds() {
        // Eight times the posts, one and a half times the rate.
        let mut limit = PostLimit::new(64, 512);
        let limits = run(&mut limit, 3, |posts| 6_000.0 * (posts as f64 / 64.0).powf(0.2));
        assert_eq!(limits, [64, 128, 256, 512]);
    }

    #[test]
    fn one_busy_moment_does_not_decide_for_long() {
        let mut limit = PostLimit::new(64, 512);
        assert_eq!(limit.next(5_000.0), 128);
        // Somebody else had the machine.
        assert_eq!(limit.next(4_000.0), 64);
        let windows = (1..100).find(|_| limit.next(5_000.0) == 128);
        assert_eq!(windows, Some(FIRST_REST + 1));
    }

    #[test]
    fn behind_a_stage_that_is_busy_it_stays_where_it_is() {
        let mut limit = PostLimit::new(64, 512);
        let limits = run(&mut limit, 120, |_| 90.0);
        assert!(limits.iter().all(|posts| *posts <= 128), "{limits:?}");
        assert_eq!(limit.limit().min(64), 64);
        let tried = limits.iter().filter(|posts| **posts > 64).count();
        assert!((1..=12).contains(&tried), "it looks again from time to time, and rarely: {limits:?}");
    }

    #[test]
    fn a_system_that_gets_worse_with_more_posts_gets_fewer() {
        let mut limit = PostLimit::new(16, 512);
        run(&mut limit, 10, |posts| posts as f64 / 0.02);
        assert_eq!(limit.limit(), 512);
        let mut limit = PostLimit { limit: 200, ..PostLimit::new(16, 512) };
        run(&mut limit, 200, |posts| 1_000_000.0 / posts as f64);
        assert!(limit.limit() < 64, "{}", limit.limit());
    }

    #[test]
    fn nothing_is_learned_while_posts_are_let_in_as_they_come() {
        let mut limit = PostLimit::new(64, 512);
        let start = Instant::now();
        for ms in 0..10_000 {
            (0..10).for_each(|_| limit.settled());
            assert_eq!(limit.turn(ms % 4 == 0, start + Duration::from_millis(ms)), None);
        }
        assert_eq!(limit.limit(), 64);
    }

    proptest! {
        #[test]
        fn it_stays_within_its_bounds_whatever_the_rates_are(
            rates in prop::collection::vec(0.0..1e6f64, 1..200), least in 1usize..100, more in 0usize..1_000,
        ) {
            let mut limit = PostLimit::new(least, least + more);
            for rate in rates {
                limit.limit = limit.next(rate);
                prop_assert!((least..=least + more).contains(&limit.limit));
            }
        }
    }
}
