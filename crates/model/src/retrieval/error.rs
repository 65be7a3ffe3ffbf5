//! Why nothing is retrieved.

use std::path::{Path, PathBuf};

use crate::error::ModelError;

/// Errors of image2song. None goes away by itself.
#[derive(Debug, thiserror::Error)]
pub enum RetrievalError {
    /// Files, weights, vectors of a wrong length.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Vectors of other networks than the towers were trained on.
    #[error(
        "the towers {model} read vectors of {expected}, not those of {found}; train them on these (jtav train --task image2song)"
    )]
    OtherEncoder {
        /// The towers.
        model: String,
        /// Whose vectors they read.
        expected: String,
        /// Whose vectors there are.
        found: String,
    },
    /// A catalogue of other towers.
    #[error("{}: the catalogue was made with {found}, the towers are {expected}; make it again (jtav index songs)", path.display())]
    OtherModel { path: PathBuf, expected: String, found: String },
    /// The same of a catalogue in memory.
    #[error("the catalogue was made with {found}, the towers are {expected}; make it again (jtav index songs)")]
    OtherTowers { expected: String, found: String },
    /// A file that is no catalogue.
    #[error("{}: {reason}", path.display())]
    NoCatalogue { path: PathBuf, reason: String },
    /// A song that no catalogue takes.
    #[error("song `{id}`: {reason}")]
    Song { id: String, reason: String },
    /// More songs than a catalogue holds.
    #[error("a catalogue holds {0} songs at most")]
    TooManySongs(usize),
}

impl RetrievalError {
    /// Whether the same call could succeed later without a change. Never: files and arithmetic are what they are.
    pub fn is_retryable(&self) -> bool {
        false
    }

    pub(super) fn no_catalogue(path: &Path, reason: impl std::fmt::Display) -> Self {
        Self::NoCatalogue { path: path.to_owned(), reason: reason.to_string() }
    }
}
