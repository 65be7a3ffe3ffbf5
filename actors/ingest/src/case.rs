//! What is known of one record that ran into its deadline. Pure.

use std::time::Instant;

use jtav_delivery::Hang;
use jtav_pipeline::StagePasses;
use jtav_schemas::Stage;

/// Partition and offset.
pub(crate) type Place = (i32, i64);

/// What is around in the worker.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scene {
    pub(crate) now: Instant,
    /// Posts inside the worker, earlier generations' included.
    pub(crate) of_worker: usize,
    /// Posts fail for reasons of ours.
    pub(crate) is_tripped: bool,
}

/// What is around while a record comes to the door or leaves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Around {
    pub(crate) now: Instant,
    /// What has passed the stages so far.
    pub(crate) passes: StagePasses,
    /// Posts inside the worker.
    pub(crate) of_worker: usize,
    /// No device works for a post that was given up.
    pub(crate) is_quiet: bool,
    /// Posts fail for reasons of ours: deadlines say nothing of the posts.
    pub(crate) is_tripped: bool,
    /// Another search needs the worker for itself.
    pub(crate) is_taken: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Watched,
    /// It failed alone, when `passes` had passed the stage.
    HungAlone {
        stage: Stage,
        passes: u64,
        until: Instant,
    },
    Guilty(Stage),
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    pub(crate) deadlines: u32,
    /// The last one; none where another process saw them.
    pub(crate) hang: Option<Hang>,
    /// What had passed then, and when that was.
    pub(crate) passes: StagePasses,
    pub(crate) at: Instant,
    pub(crate) step: Step,
    /// Trials alone so far.
    pub(crate) trials: u32,
    /// Round in which it last came to the door.
    pub(crate) seen: u64,
}

impl Case {
    pub(crate) fn new(deadlines: u32, passes: StagePasses, at: Instant) -> Self {
        Self { deadlines, hang: None, passes, at, step: Step::Watched, trials: 0, seen: 0 }
    }

    /// Whether anything has passed since where it hung; nobody knows where that was in another process.
    pub(crate) fn is_stage_well(&self, passes: StagePasses) -> bool {
        self.hang.is_none_or(|hang| passes.of(hang.stage) > self.passes.of(hang.stage))
    }

    /// Whether later ones pass where it hangs. Media wait for their turn at decoding by what their authors have taken
    /// already, so being overtaken there says nothing.
    pub(crate) fn is_overtaken(&self) -> bool {
        self.hang.is_some_and(|hang| hang.was_overtaken && hang.stage != Stage::Decode)
    }
}

/// A trial alone that failed. Until something has passed where it did, or enough time has gone by to say that nothing
/// does, another one would fail of what the first has left behind, and so in turn for ever.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LastAlone {
    pub(crate) stage: Stage,
    /// What had passed the stage when it ended.
    pub(crate) passes: u64,
    pub(crate) rest_until: Instant,
    pub(crate) until: Instant,
}

impl LastAlone {
    pub(crate) fn keeps_others_waiting(&self, around: &Around) -> bool {
        let may_still_pass = around.passes.of(self.stage) <= self.passes && around.now < self.until;
        around.now < self.rest_until || may_still_pass
    }
}
