//! Frozen word vectors and posts read through them: what the networks of the profiles `paper` and `authors-code` see
//! of a text (docs/networks.md, "Text").
//!
//! The paper reads fastText vectors of the English Wikipedia, which nobody can bundle. [`WordTable`] therefore opens
//! whatever file its user holds, or trains vectors of the same kind on the training texts.

mod caption;
mod check;
mod reader;
mod scan;
mod table;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

pub use caption::CaptionVocabulary;
pub use reader::TextReader;
pub use table::WordTable;

/// Why there are no word vectors.
#[derive(Debug, thiserror::Error)]
pub enum WordsError {
    /// A file is missing, unreadable or cannot be written.
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    /// A file of word vectors that is damaged or of a kind that is not read.
    #[error("{}: {reason}", path.display())]
    Malformed {
        path: PathBuf,
        /// What is wrong with it, and what to use instead where there is something.
        reason: String,
    },
    /// Texts or settings from which no vectors can be trained.
    #[error("word vectors cannot be trained: {0}")]
    Training(String),
}

impl WordsError {
    /// Never: the same file and the same texts are refused again.
    pub fn is_retryable(&self) -> bool {
        false
    }
}
