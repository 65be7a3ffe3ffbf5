//! Stops intake when most posts fail for reasons of our own (ADR 41): it would only turn good posts into abandoned
//! ones. Bad input never counts. After a pause a few posts are let in; if they go through, intake runs again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use jtav_delivery::Outcome;
use jtav_schemas::DeadLetterReason;

use crate::case::Place;
use crate::params::IngestSettings;

/// Posts that are let in to try; all of them must go through.
const PROBES: usize = 5;

/// Whether the outcome is a failure of ours: the store, the broker, the device, the program.
pub(crate) fn is_our_failure(outcome: Outcome) -> bool {
    match outcome {
        Outcome::Abandoned => true,
        Outcome::DeadLettered(reason) => matches!(
            reason,
            DeadLetterReason::NonFiniteOutput
                | DeadLetterReason::PoisonPill
                | DeadLetterReason::PublishRejected
                | DeadLetterReason::CrashedWorker
        ),
        Outcome::Published | Outcome::Skipped(_) | Outcome::Erased => false,
    }
}

/// What the poll loop must tell the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Intake stops for `wait`; `failed` of the last `of` posts failed.
    Opened { failed: usize, of: usize, wait: Duration },
    /// Some posts are let in to try.
    Trying,
    /// Intake runs again.
    Closed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed,
    Open {
        until: Instant,
    },
    /// So many posts may still be let in, and so many must still go through.
    Trying {
        to_let_in: usize,
        to_go_through: usize,
    },
}

/// A post that was settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Recent {
    place: Place,
    /// For a reason of ours.
    failed: bool,
}

/// A ratio over the last posts with three states. It knows no clock: every call is told the time.
#[derive(Debug)]
pub(crate) struct Breaker {
    failed_percent: usize,
    window: usize,
    first_wait: Duration,
    longest_wait: Duration,
    state: State,
    /// The last outcomes.
    recent: VecDeque<Recent>,
    failed: usize,
    /// Times that it opened without closing in between.
    openings: u32,
}

impl Breaker {
    pub(crate) fn new(settings: &IngestSettings) -> Self {
        Self {
            failed_percent: settings.breaker_failed_percent as usize,
            window: settings.breaker_records,
            first_wait: Duration::from_millis(settings.breaker_wait_ms),
            longest_wait: Duration::from_millis(settings.breaker_wait_max_ms),
            state: State::Closed,
            recent: VecDeque::new(),
            failed: 0,
            openings: 0,
        }
    }

    /// Whether a post may be let in now.
    pub(crate) fn admits(&self) -> bool {
        match self.state {
            State::Closed => true,
            State::Open { .. } => false,
            State::Trying { to_let_in, .. } => to_let_in > 0,
        }
    }

    /// Whether intake is not as it should be.
    pub(crate) fn is_tripped(&self) -> bool {
        self.state != State::Closed
    }

    /// A post was let in.
    pub(crate) fn admitted(&mut self) {
        if let State::Trying { to_let_in, .. } = &mut self.state {
            *to_let_in = to_let_in.saturating_sub(1);
        }
    }

    /// A post was settled. While the breaker is open, those that were inside before say nothing new.
    pub(crate) fn settled(&mut self, place: Place, outcome: Outcome, now: Instant) -> Option<Change> {
        let failed = is_our_failure(outcome);
        match &mut self.state {
            State::Open { .. } => None,
            State::Trying { .. } if failed => Some(self.open(1, 1, now)),
            State::Trying { to_go_through, .. } => {
                *to_go_through = to_go_through.saturating_sub(1);
                (*to_go_through == 0).then(|| self.close())
            }
            State::Closed => {
                self.remember(Recent { place, failed });
                let (failed, of) = (self.failed, self.recent.len());
                let too_many = self.failed_percent > 0 && failed * 100 >= self.failed_percent * of;
                (of >= self.window && too_many).then(|| self.open(failed, of, now))
            }
        }
    }

    /// Lets posts try once the pause is over.
    pub(crate) fn turn(&mut self, now: Instant) -> Option<Change> {
        match self.state {
            State::Open { until } if now >= until => {
                self.state = State::Trying { to_let_in: PROBES, to_go_through: PROBES };
                Some(Change::Trying)
            }
            _ => None,
        }
    }

    /// A post failed for what it holds: its failures were none of ours.
    pub(crate) fn acquit(&mut self, place: Place) {
        self.recent.retain(|recent| recent.place != place || !recent.failed);
        self.failed = self.recent.iter().filter(|recent| recent.failed).count();
    }

    fn remember(&mut self, recent: Recent) {
        self.recent.push_back(recent);
        self.failed += usize::from(recent.failed);
        if self.recent.len() > self.window && self.recent.pop_front().is_some_and(|recent| recent.failed) {
            self.failed -= 1;
        }
    }

    /// The pause doubles with every opening that is not followed by a closing.
    fn open(&mut self, failed: usize, of: usize, now: Instant) -> Change {
        let wait = self.first_wait.saturating_mul(1 << self.openings.min(16)).min(self.longest_wait);
        self.openings += 1;
        self.state = State::Open { until: now + wait };
        self.recent.clear();
        self.failed = 0;
        Change::Opened { failed, of, wait }
    }

    fn close(&mut self) -> Change {
        self.state = State::Closed;
        self.openings = 0;
        Change::Closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jtav_delivery::SkipReason;
    use proptest::prelude::*;

    const FAILED: Outcome = Outcome::Abandoned;
    const PLACE: Place = (0, 7);

    fn breaker() -> Breaker {
        Breaker::new(&IngestSettings {
            breaker_failed_percent: 50,
            breaker_records: 50,
            breaker_wait_ms: 1_000,
            breaker_wait_max_ms: 3_000,
            ..IngestSettings::for_tests()
        })
    }

    fn settle(breaker: &mut Breaker, outcome: Outcome, times: usize, now: Instant) -> Vec<Change> {
        (0..times).filter_map(|_| breaker.settled(PLACE, outcome, now)).collect()
    }

    #[test]
    fn it_opens_when_half_of_the_last_fifty_failed_for_reasons_of_ours_and_not_before() {
        let (mut breaker, now) = (breaker(), Instant::now());
        assert!(settle(&mut breaker, FAILED, 49, now).is_empty() && breaker.admits());
        let wait = Duration::from_secs(1);
        assert_eq!(settle(&mut breaker, FAILED, 1, now), [Change::Opened { failed: 50, of: 50, wait }]);
        assert!(!breaker.admits() && breaker.is_tripped());
    }

    #[test]
    fn bad_input_never_opens_it() {
        let (mut breaker, now) = (breaker(), Instant::now());
        for reason in [
            DeadLetterReason::InvalidJson,
            DeadLetterReason::InvalidPost,
            DeadLetterReason::KeyMismatch,
            DeadLetterReason::RecordTooLarge,
            DeadLetterReason::NoModality,
            DeadLetterReason::DeadlineExceeded,
        ] {
            assert!(settle(&mut breaker, Outcome::DeadLettered(reason), 200, now).is_empty());
        }
        assert!(settle(&mut breaker, Outcome::Skipped(SkipReason::Stale), 200, now).is_empty());
        let ours = Outcome::DeadLettered(DeadLetterReason::PoisonPill);
        assert_eq!(settle(&mut breaker, ours, 25, now).len(), 1);
    }

    #[test]
    fn after_the_pause_a_few_posts_try_and_intake_runs_again_when_all_go_through() {
        let (mut breaker, now) = (breaker(), Instant::now());
        settle(&mut breaker, FAILED, 50, now);
        assert_eq!(breaker.turn(now + Duration::from_millis(999)), None);
        let later = now + Duration::from_secs(1);
        assert_eq!(breaker.turn(later), Some(Change::Trying));
        for _ in 0..PROBES {
            assert!(breaker.admits());
            breaker.admitted();
        }
        assert!(!breaker.admits());
        assert!(settle(&mut breaker, Outcome::Published, PROBES - 1, later).is_empty());
        assert_eq!(settle(&mut breaker, Outcome::Published, 1, later), [Change::Closed]);
        assert!(breaker.admits() && !breaker.is_tripped());
        assert!(settle(&mut breaker, FAILED, 49, later).is_empty(), "what was before is forgotten");
    }

    #[test]
    fn a_probe_that_fails_opens_it_for_twice_as_long_up_to_the_longest_wait() {
        let (mut breaker, mut now) = (breaker(), Instant::now());
        settle(&mut breaker, FAILED, 50, now);
        for expected in [2, 3, 3] {
            now += Duration::from_secs(10);
            assert_eq!(breaker.turn(now), Some(Change::Trying));
            let wait = Duration::from_secs(expected);
            assert_eq!(breaker.settled(PLACE, FAILED, now), Some(Change::Opened { failed: 1, of: 1, wait }));
        }
    }

    #[test]
    fn the_failures_of_a_post_that_was_found_guilty_are_taken_out_of_the_count() {
        let (mut breaker, now) = (breaker(), Instant::now());
        let (guilty, other) = ((1, 1), (1, 2));
        for _ in 0..25 {
            assert_eq!(breaker.settled(guilty, FAILED, now), None);
        }
        assert!(settle(&mut breaker, Outcome::Published, 24, now).is_empty());
        breaker.acquit(guilty);
        assert_eq!((breaker.failed, breaker.recent.len()), (0, 24));
        for _ in 0..23 {
            assert_eq!(breaker.settled(other, FAILED, now), None, "23 of 47");
        }
        assert_eq!(settle(&mut breaker, Outcome::Published, 2, now), []);
        assert!(breaker.settled(other, FAILED, now).is_none() && breaker.settled(other, FAILED, now).is_some());
    }

    #[test]
    fn zero_percent_switches_it_off() {
        let settings = IngestSettings { breaker_failed_percent: 0, ..IngestSettings::for_tests() };
        let mut breaker = Breaker::new(&settings);
        assert!(settle(&mut breaker, FAILED, 1_000, Instant::now()).is_empty());
    }

    proptest! {
        #[test]
        fn the_count_of_failures_is_that_of_the_window_and_it_never_stays_open_for_good(
            outcomes in prop::collection::vec((any::<bool>(), 0_u64..2_000), 1..400),
        ) {
            let (mut breaker, mut now) = (breaker(), Instant::now());
            for (failed, wait_ms) in outcomes {
                now += Duration::from_millis(wait_ms);
                breaker.turn(now);
                breaker.settled(PLACE, if failed { FAILED } else { Outcome::Published }, now);
                prop_assert_eq!(breaker.failed, breaker.recent.iter().filter(|recent| recent.failed).count());
                prop_assert!(breaker.recent.len() <= 50);
            }
            breaker.turn(now + Duration::from_secs(3));
            prop_assert!(breaker.admits());
        }
    }
}
