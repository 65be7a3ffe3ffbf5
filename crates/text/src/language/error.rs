//! What can be wrong with a model file.

/// Why bytes are not a model that this reader can use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LanguageError {
    /// Another kind of file, or fastText's format before 2017.
    #[error("not a fastText model of format 12; expected a file like lid.176.ftz")]
    NotAModel,
    /// A fastText model, but with a part that this reader has no code for.
    #[error("the fastText model has {0}; expected a quantised classifier with hierarchical softmax, like lid.176.ftz")]
    Unsupported(&'static str),
    /// The file is shorter than what it announces.
    #[error("the fastText model ends within {0}; fetch the file again")]
    Truncated(&'static str),
    /// Parts of the file contradict each other.
    #[error("the fastText model is damaged: {0}; fetch the file again")]
    Damaged(&'static str),
}

impl LanguageError {
    /// Never: the same bytes fail the same way.
    pub fn is_retryable(&self) -> bool {
        false
    }
}
