use std::sync::Arc;

use jtav_pipeline::Rejection;
use jtav_schemas::{AbsentReason, EmbeddingV1, ModalityStatus, PerModality, SentimentV1};

/// What came of a post.
#[derive(Debug, Clone)]
pub enum Judged {
    /// Its label and vectors.
    Labelled {
        /// As it would be published.
        sentiment: Arc<SentimentV1>,
        /// As it would be published.
        embedding: Arc<EmbeddingV1>,
    },
    /// It has nothing to label.
    Skipped(&'static str),
    /// It would be set aside.
    NotLabelled {
        /// Why, for programs.
        reason: &'static str,
        /// Why, for people.
        message: String,
        /// Which parts could be used.
        modalities: Option<PerModality<ModalityStatus>>,
    },
}

/// Why a post was not judged.
#[derive(Debug, Clone, thiserror::Error)]
pub enum JudgeError {
    /// As many are on their way as may be.
    #[error("as many posts are being labelled as serve.max_label_posts allows")]
    Busy,
    /// It is no post.
    #[error("{}", .0.message)]
    Invalid(Rejection),
    /// A deletion: nothing is erased here.
    #[error("this is a deletion; posts are erased through the feed")]
    Deletion,
    /// No outcome in time.
    #[error("no outcome in time")]
    TimedOut,
    /// A picture that cannot be used.
    #[error("the picture cannot be used: {0}")]
    Picture(AbsentReason),
    /// A failure of our own.
    #[error("{0}")]
    Failed(String),
}

impl JudgeError {
    /// Whether coming again may help.
    pub fn is_retryable(&self) -> bool {
        matches!(self, JudgeError::Busy | JudgeError::TimedOut | JudgeError::Failed(_))
    }
}
