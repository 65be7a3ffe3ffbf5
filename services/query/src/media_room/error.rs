use std::time::Duration;

use jtav_pipeline::StageError;
use jtav_schemas::AbsentReason;

/// When to ask again where all places were taken: most media take less than this.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why there is nothing to show.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RoomError {
    /// The worker's own reason for a part that it could not use.
    #[error("the medium cannot be shown: {0}")]
    Absent(AbsentReason),
    /// All places are taken, or those of its site.
    #[error("too many media are being fetched")]
    Busy { retry_after: Duration },
    /// The deadline of the room passed.
    #[error("the medium was not ready in time")]
    TimedOut,
    /// The post was erased a moment ago.
    #[error("the post is erased")]
    Erased,
    /// A fault of ours.
    #[error("the medium could not be decoded: {0}")]
    Failed(String),
}

impl RoomError {
    pub(super) fn busy() -> Self {
        Self::Busy { retry_after: RETRY_AFTER }
    }

    pub(super) fn of_stage(error: &StageError) -> Self {
        match error.code {
            "queue_full" => Self::busy(),
            _ => Self::Failed(error.to_string()),
        }
    }

    /// Can asking again help?
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Busy { .. } | Self::TimedOut | Self::Failed(_) => true,
            Self::Absent(reason) => matches!(reason, AbsentReason::FetchFailed | AbsentReason::Timeout),
            Self::Erased => false,
        }
    }
}
