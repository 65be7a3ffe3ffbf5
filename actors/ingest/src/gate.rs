//! What holds the gate shut: pauses, the breaker, the pace, permits, a drain, a failure. Pure but for the permits, which
//! are shared with everything that lets posts in. It knows no clock: every call is told the time.

use std::collections::BTreeSet;
use std::time::Instant;

use jtav_delivery::{Outcome, PostLimit, PostPermit, PostPermits};
use jtav_telemetry::{Metric, PauseCause};

use crate::breaker::{Breaker, Change};
use crate::case::{Place, Scene};
use crate::pace::Pace;
use crate::params::IngestSettings;

/// Why no post may be let in any more, for the supervisor.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) reason: String,
    /// The client answers nothing any more.
    pub(crate) is_client_dead: bool,
}

/// A pause was lifted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lifted {
    /// What became of earlier posts says nothing any more.
    pub(crate) outcomes_are_forgotten: bool,
}

/// Lets posts in or not.
#[derive(Debug)]
pub(crate) struct Gate {
    settings: IngestSettings,
    permits: PostPermits,
    limit: PostLimit,
    paused_by: BTreeSet<PauseCause>,
    breaker: Breaker,
    pace: Pace,
    /// A record waits for a permit.
    is_starved: bool,
    draining: Option<Instant>,
    failure: Option<Failure>,
    is_client_dead: bool,
}

impl Gate {
    pub(crate) fn new(settings: &IngestSettings, permits: PostPermits) -> Self {
        let most = permits.bounds().posts;
        let limit = PostLimit::new(settings.least_in_flight_posts.min(most), most);
        permits.set_limit(limit.limit());
        Metric::post_limit().set(limit.limit() as f64);
        Self {
            settings: settings.clone(),
            permits,
            limit,
            paused_by: BTreeSet::new(),
            breaker: Breaker::new(settings),
            pace: Pace::new(settings.min_admission_gap),
            is_starved: false,
            draining: None,
            failure: None,
            is_client_dead: false,
        }
    }

    /// No post may be let in now.
    pub(crate) fn is_closed(&self) -> bool {
        !self.paused_by.is_empty() || self.is_closed_for_good() || !self.breaker.admits()
    }

    /// Nor will one ever be again.
    pub(crate) fn is_closed_for_good(&self) -> bool {
        self.draining.is_some() || self.failure.is_some()
    }

    /// Stopped by somebody or by the breaker, and to be opened again.
    pub(crate) fn is_stopped(&self) -> bool {
        !self.paused_by.is_empty() || self.breaker.is_tripped()
    }

    /// Why intake is stopped.
    pub(crate) fn causes(&self) -> Vec<PauseCause> {
        let mut causes = self.paused_by.clone();
        if self.breaker.is_tripped() {
            causes.insert(PauseCause::Breaker);
        }
        causes.into_iter().collect()
    }

    pub(crate) fn pause(&mut self, cause: PauseCause) {
        self.paused_by.insert(cause);
    }

    /// Lifts one cause; none if it did not hold. After a restart the boxes are new: what became of posts in the old ones
    /// says nothing of these. Those that went to a dead router before anybody noticed may have opened the breaker.
    pub(crate) fn resume(&mut self, cause: PauseCause) -> Option<Lifted> {
        if !self.paused_by.remove(&cause) {
            return None;
        }
        let outcomes_are_forgotten = cause == PauseCause::Restart;
        if outcomes_are_forgotten {
            self.breaker = Breaker::new(&self.settings);
        }
        Some(Lifted { outcomes_are_forgotten })
    }

    /// Time passes.
    pub(crate) fn turn(&mut self, now: Instant) -> Option<Change> {
        if let Some(posts) = self.limit.turn(now) {
            self.permits.set_limit(posts);
            Metric::post_limit().set(posts as f64);
        }
        self.breaker.turn(now)
    }

    /// A turn of taking records begins.
    pub(crate) fn begin_turn(&mut self) {
        self.is_starved = false;
    }

    /// The least time since the last post has passed.
    pub(crate) fn keeps_pace(&self, now: Instant) -> bool {
        self.pace.admits(now)
    }

    /// A record was served.
    pub(crate) fn count_for_pace(&mut self, now: Instant) {
        self.pace.admitted(now);
    }

    /// Leave for one post, with a record of so many bytes, to be inside; who gets none waits.
    pub(crate) fn take_permit(&mut self, record_bytes: usize) -> Option<PostPermit> {
        let permit = self.permits.try_acquire(record_bytes);
        self.is_starved |= permit.is_none();
        permit
    }

    pub(crate) fn is_starved(&self) -> bool {
        self.is_starved
    }

    /// A post was let in.
    pub(crate) fn admitted(&mut self) {
        self.breaker.admitted();
    }

    /// A post failed for what it holds.
    pub(crate) fn acquit(&mut self, place: Place) {
        self.breaker.acquit(place);
    }

    /// A post is not inside any more. One that was given up with boxes that are made anew says nothing.
    pub(crate) fn settled(&mut self, place: Place, outcome: Outcome, now: Instant) -> Option<Change> {
        if outcome != Outcome::Abandoned {
            self.limit.settled();
        }
        let is_given_up = outcome == Outcome::Abandoned && self.paused_by.contains(&PauseCause::Restart);
        if is_given_up { None } else { self.breaker.settled(place, outcome, now) }
    }

    /// What is around in the worker, as far as the gate sees it.
    pub(crate) fn scene(&self, now: Instant) -> Scene {
        Scene { now, of_worker: self.permits.in_flight(), is_tripped: self.breaker.is_tripped() }
    }

    /// Starts a drain; a second one can only shorten the wait. True if it is the first.
    pub(crate) fn drain(&mut self, deadline: Instant) -> bool {
        match &mut self.draining {
            Some(earlier) => {
                *earlier = deadline.min(*earlier);
                false
            }
            None => {
                self.draining = Some(deadline);
                true
            }
        }
    }

    /// The deadline of the drain that is under way.
    pub(crate) fn draining(&self) -> Option<Instant> {
        self.draining
    }

    /// Closes it for a reason; the first one counts. True if this is the first.
    pub(crate) fn fail(&mut self, failure: Failure) -> bool {
        self.is_client_dead |= failure.is_client_dead;
        let is_first = self.failure.is_none();
        self.failure.get_or_insert(failure);
        is_first
    }

    /// The first failure. Its client is dead if that of any later one is.
    pub(crate) fn failure(&self) -> Option<Failure> {
        let first = self.failure.as_ref()?;
        Some(Failure { reason: first.reason.clone(), is_client_dead: self.is_client_dead })
    }

    /// Posts with leave to be inside, earlier generations' included.
    pub(crate) fn posts_inside(&self) -> usize {
        self.permits.in_flight()
    }
}
