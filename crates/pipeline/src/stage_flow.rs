//! Which stages posts are in, and whether stages let posts through: what tells a post that hangs by its own content from
//! one that waits for others.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jtav_delivery::{AbandonCause, Hang};
use jtav_schemas::Stage;

const STAGES: usize = Stage::ALL.len();

/// Who has been in a stage for this part of its deadline hangs there.
const LONG_STAY: u32 = 4;

/// Who came this part of a deadline later and passed has overtaken: no queue is that much out of order.
const FAR_BEHIND: u32 = 2;

/// How often each stage has let a post through, at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StagePasses([u64; STAGES]);

impl StagePasses {
    pub fn of(&self, stage: Stage) -> u64 {
        self.0[stage as usize]
    }

    /// The same with one more of a stage, for those who make up a world.
    pub fn and_one(mut self, stage: Stage) -> Self {
        self.0[stage as usize] += 1;
        self
    }
}

/// What passes through the stages of a worker, all posts together. Cheap to clone.
#[derive(Debug, Clone)]
pub struct StageFlow(Arc<Flow>);

#[derive(Debug)]
struct Flow {
    started: Instant,
    passed: [AtomicU64; STAGES],
    /// Of the posts that passed, when the one that entered last had entered; microseconds since `started`.
    latest_entry_us: [AtomicU64; STAGES],
}

impl Default for StageFlow {
    fn default() -> Self {
        let zeros = || std::array::from_fn(|_| AtomicU64::new(0));
        Self(Arc::new(Flow { started: Instant::now(), passed: zeros(), latest_entry_us: zeros() }))
    }
}

impl StageFlow {
    /// How often each stage has let a post through so far.
    pub fn passes(&self) -> StagePasses {
        StagePasses(std::array::from_fn(|stage| self.0.passed[stage].load(Ordering::Relaxed)))
    }

    /// Follows one post.
    pub fn tracker(&self) -> StageTracker {
        StageTracker { flow: self.clone(), visits: Arc::default() }
    }

    fn since_start_us(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.0.started).as_micros() as u64
    }

    fn passed(&self, stage: Stage, entered: Instant) {
        self.0.passed[stage as usize].fetch_add(1, Ordering::Relaxed);
        self.0.latest_entry_us[stage as usize].fetch_max(self.since_start_us(entered), Ordering::Relaxed);
    }

    /// Whether one that entered at least `by` later has passed.
    fn is_overtaken(&self, stage: Stage, entered: Instant, by: Duration) -> bool {
        self.0.latest_entry_us[stage as usize].load(Ordering::Relaxed) >= self.since_start_us(entered + by)
    }
}

/// The stages that one post is in: up to three at once, one for each modality. Cheap to clone.
#[derive(Debug, Clone)]
pub struct StageTracker {
    flow: StageFlow,
    visits: Arc<Mutex<Vec<(Stage, Instant)>>>,
}

impl StageTracker {
    /// The post enters a stage; it leaves it when the visit is dropped.
    pub fn enter(&self, stage: Stage) -> StageVisit {
        let entered = Instant::now();
        self.visits.lock().unwrap_or_else(PoisonError::into_inner).push((stage, entered));
        StageVisit { tracker: self.clone(), stage, entered }
    }

    /// The post waits for its parts until the visit is dropped: where it is in no other stage meanwhile, it waits for what
    /// another post has in hand.
    pub fn gather(&self) -> StageVisit {
        self.enter(Stage::Router)
    }

    /// Why the post is not done with within `deadline`, which passes now. One that has just come into a stage does not hang
    /// there: it waited before. In the router it waits for what another one has in hand; at a sink, or with nothing begun,
    /// it is none of the posts.
    pub fn cause(&self, deadline: Duration) -> AbandonCause {
        if let Some(hang) = self.hang(deadline / LONG_STAY, deadline / FAR_BEHIND) {
            return AbandonCause::Hung(hang);
        }
        let visits = self.visits.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = visits.iter().any(|(stage, _)| *stage == Stage::Router);
        if waits { AbandonCause::Waited } else { AbandonCause::NotTheRecord }
    }

    /// Where the post has been for `stay` now, if what it holds can be why. Of several stages the one in which it was
    /// overtaken by one that came `by` later, else the one that it entered first.
    fn hang(&self, stay: Duration, by: Duration) -> Option<Hang> {
        let visits = self.visits.lock().unwrap_or_else(PoisonError::into_inner);
        let long = visits.iter().filter(|(stage, entered)| stage.depends_on_content() && entered.elapsed() >= stay);
        let hangs: Vec<Hang> = long
            .map(|(stage, entered)| Hang { stage: *stage, was_overtaken: self.flow.is_overtaken(*stage, *entered, by) })
            .collect();
        hangs.iter().find(|hang| hang.was_overtaken).or(hangs.first()).copied()
    }
}

/// A post in a stage.
#[derive(Debug)]
pub struct StageVisit {
    tracker: StageTracker,
    stage: Stage,
    entered: Instant,
}

impl StageVisit {
    /// Time since the post entered.
    pub fn age(&self) -> Duration {
        self.entered.elapsed()
    }

    /// The stage has done its work on the post.
    pub fn passed(self) {
        self.tracker.flow.passed(self.stage, self.entered);
    }
}

impl Drop for StageVisit {
    fn drop(&mut self) {
        let mut visits = self.tracker.visits.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = visits.iter().position(|visit| *visit == (self.stage, self.entered)) {
            visits.remove(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The post has been where it is for most of it.
    const DEADLINE: Duration = Duration::from_millis(20);

    fn stay() {
        std::thread::sleep(DEADLINE);
    }

    fn hung(stage: Stage, was_overtaken: bool) -> AbandonCause {
        AbandonCause::Hung(Hang { stage, was_overtaken })
    }

    #[test]
    fn a_post_hangs_where_it_entered_and_did_not_leave() {
        let flow = StageFlow::default();
        let post = flow.tracker();
        let decode = post.enter(Stage::Decode);
        let text = post.enter(Stage::TextEncoder);
        stay();
        assert_eq!(post.cause(DEADLINE), hung(Stage::Decode, false));
        decode.passed();
        assert_eq!(post.cause(DEADLINE), hung(Stage::TextEncoder, false));
        drop(text);
        assert_eq!(post.cause(DEADLINE), AbandonCause::NotTheRecord);
        assert_eq!((flow.passes().of(Stage::Decode), flow.passes().of(Stage::TextEncoder)), (1, 0));
    }

    #[test]
    fn only_one_that_came_later_and_passed_the_same_stage_overtakes() {
        let flow = StageFlow::default();
        let (earlier, post, later) = (flow.tracker(), flow.tracker(), flow.tracker());
        let before = earlier.enter(Stage::ImageEncoder);
        let _hanging = post.enter(Stage::ImageEncoder);
        before.passed();
        stay();
        later.enter(Stage::TextEncoder).passed();
        drop(later.enter(Stage::ImageEncoder));
        assert_eq!(post.cause(DEADLINE), hung(Stage::ImageEncoder, false), "earlier, elsewhere, or not passed");
        later.enter(Stage::ImageEncoder).passed();
        assert_eq!(post.cause(DEADLINE), hung(Stage::ImageEncoder, true));
        assert!(!post.flow.is_overtaken(Stage::ImageEncoder, Instant::now(), DEADLINE), "not by so much");
    }

    #[test]
    fn a_post_that_waits_for_what_another_has_in_hand_does_not_hang_nor_if_it_gets_it_at_last() {
        let post = StageFlow::default().tracker();
        assert_eq!(post.cause(DEADLINE), AbandonCause::NotTheRecord);
        let _gathering = post.enter(Stage::Router);
        stay();
        assert_eq!(post.cause(DEADLINE), AbandonCause::Waited);
        let _image = post.enter(Stage::ImageEncoder);
        assert_eq!(post.cause(Duration::from_secs(60)), AbandonCause::Waited, "it has just come in");
        stay();
        assert_eq!(post.cause(DEADLINE), hung(Stage::ImageEncoder, false));
    }

    #[test]
    fn a_post_that_waits_for_a_sink_does_not_hang_by_what_it_holds() {
        let post = StageFlow::default().tracker();
        let _publishing = post.enter(Stage::Publisher);
        let _fusing = post.enter(Stage::Fusion);
        stay();
        assert_eq!(post.cause(DEADLINE), AbandonCause::NotTheRecord);
    }
}
