use std::path::PathBuf;

/// Why a pack was refused.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// A file is missing or unreadable.
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    /// A line that cannot be used.
    #[error("{}:{line}: {reason}", path.display())]
    Line {
        path: PathBuf,
        /// From 1.
        line: usize,
        reason: String,
    },
    /// A file is not the one that `dataset.json` describes.
    #[error("{}: {reason}", path.display())]
    Integrity { path: PathBuf, reason: String },
}

impl DatasetError {
    /// Never: the same folder is refused again.
    pub fn is_retryable(&self) -> bool {
        false
    }
}
