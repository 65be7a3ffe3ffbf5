use jtav_schemas::DeadLetterReason;

use crate::Stage;

/// What to do about a failure; two questions in one: whose fault, and can a retry help (ADR 41).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// The same call may go through later: time-outs, a store or broker that is away, a full queue.
    Retryable,
    /// This post will fail again: set it aside.
    Permanent(DeadLetterReason),
    /// Nothing will work until somebody acts: a device fault, missing weights. Stop intake, settle nothing.
    Fatal,
}

/// A failure of a stage that is not just an absent modality.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{stage}: {code}: {message}")]
pub struct StageError {
    pub stage: Stage,
    pub class: ErrorClass,
    /// Bounded name, fit for a metric label.
    pub code: &'static str,
    /// One line for a person; no content of a post.
    pub message: String,
}

impl StageError {
    /// A failure that a retry may heal.
    pub fn retryable(stage: Stage, code: &'static str, message: impl std::fmt::Display) -> Self {
        Self { stage, class: ErrorClass::Retryable, code, message: message.to_string() }
    }

    /// A failure of this post for good.
    pub fn permanent(stage: Stage, reason: DeadLetterReason, message: impl std::fmt::Display) -> Self {
        Self { stage, class: ErrorClass::Permanent(reason), code: reason.as_str(), message: message.to_string() }
    }

    /// A failure of the system.
    pub fn fatal(stage: Stage, code: &'static str, message: impl std::fmt::Display) -> Self {
        Self { stage, class: ErrorClass::Fatal, code, message: message.to_string() }
    }

    /// Can a retry help?
    pub fn is_retryable(&self) -> bool {
        self.class == ErrorClass::Retryable
    }
}
