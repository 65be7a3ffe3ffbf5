use jtav_schemas::VectorError;

use crate::VectorKind;

/// Why a record was not taken, or a question not answered.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum IndexError {
    /// The post's id, or the model's name, is empty or longer than an index keeps.
    #[error("the {what} has {bytes} bytes, and 1 to {max_bytes} are kept")]
    Name {
        /// `post id` or `model version`.
        what: &'static str,
        /// Its length in UTF-8.
        bytes: usize,
        /// The longest.
        max_bytes: usize,
    },
    /// A vector that cannot be compared.
    #[error("the vector `{kind}`: {source}")]
    Vector {
        /// Which one.
        kind: VectorKind,
        /// What is wrong with it.
        source: VectorError,
    },
    /// More components than any vector of ours.
    #[error("the vector `{kind}` has {dimensions} components, and at most {max} are compared")]
    TooLong {
        /// Which one.
        kind: VectorKind,
        /// Its components.
        dimensions: usize,
        /// The most.
        max: usize,
    },
    /// Vectors of one kind by one model have one length.
    #[error("the vector `{kind}` has {dimensions} components, and those of its model at hand have {expected}")]
    Dimensions {
        /// Which one.
        kind: VectorKind,
        /// Its components.
        dimensions: usize,
        /// Those of the others.
        expected: usize,
    },
    /// More models at once than an index keeps.
    #[error("vectors of {max} models are at hand, and no more are kept")]
    TooManyModels {
        /// The most.
        max: usize,
    },
}

impl IndexError {
    /// Whether the same call may go through later: only where a model may have gone by then.
    pub fn is_retryable(&self) -> bool {
        matches!(self, IndexError::TooManyModels { .. })
    }
}
