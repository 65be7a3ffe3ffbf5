use jtav_pipeline::Stage;

use crate::{BatchLimits, FatalHook};

/// How to run one model.
#[derive(Clone)]
pub struct InferenceParams {
    /// Name in metrics, logs and thread names.
    pub model: &'static str,
    /// Stage that errors are attributed to.
    pub stage: Stage,
    /// Threads, each with its own copy of the network, that share one queue.
    pub streams: usize,
    /// Bounds of a batch.
    pub limits: BatchLimits,
    /// Items that may wait. At least the number of permits, so that a full queue is a bug and not a state.
    pub queue_capacity: usize,
    /// Called when the device fails for good.
    pub on_fatal: FatalHook,
}
