use std::sync::Arc;

use jtav_pipeline::StageError;
use jtav_schemas::AbsentReason;

/// Why there is no medium to show.
#[derive(Debug, Clone, thiserror::Error)]
pub enum MediumError {
    /// As many are on their way as may be, in all or from this site.
    #[error("as many media are on their way as serve.max_media allows")]
    Busy,
    /// The post has none of this kind.
    #[error("the post has none")]
    None,
    /// It cannot be had, as a worker would say it.
    #[error("the medium cannot be had: {0}")]
    Absent(AbsentReason),
    /// The post was erased a moment ago.
    #[error("the post is erased")]
    Erased,
    /// A failure of our own.
    #[error("{0}")]
    Failed(Arc<StageError>),
}

impl MediumError {
    /// Whether coming again may help.
    pub fn is_retryable(&self) -> bool {
        match self {
            MediumError::Busy | MediumError::Failed(_) => true,
            MediumError::None | MediumError::Erased => false,
            MediumError::Absent(reason) => !reason.is_deterministic(),
        }
    }
}
