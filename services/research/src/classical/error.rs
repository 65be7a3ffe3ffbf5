//! What cannot be fitted.

/// Why nothing was fitted.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ClassicalError {
    /// Rows and labels that do not belong together.
    #[error("{rows} rows and {labels} labels: there must be as many of both, and at least one")]
    Lengths {
        /// Rows given.
        rows: usize,
        /// Labels given.
        labels: usize,
    },
    /// A row of another width than the first, or without features.
    #[error("row {row} has {found} features, expected {expected}")]
    Width {
        /// From 0.
        row: usize,
        /// Its features.
        found: usize,
        /// Those of the first row, at least 1.
        expected: usize,
    },
    /// A feature that is not a number.
    #[error("feature {feature} of row {row} is not finite")]
    NotFinite {
        /// From 0.
        row: usize,
        /// From 0.
        feature: usize,
    },
    /// Labels that leave nothing to be learned.
    #[error("{positive} of {all} labels are positive: both labels must occur")]
    OneLabel {
        /// Positive labels.
        positive: usize,
        /// All labels.
        all: usize,
    },
    /// A setting out of its range.
    #[error("{name} is {value}, expected {expected}")]
    Setting {
        /// Which one.
        name: &'static str,
        /// What it is.
        value: f64,
        /// What it may be.
        expected: &'static str,
    },
    /// Documents without words to learn from.
    #[error("fewer than two words stand in the documents {least} times or more")]
    NoWords {
        /// Times that a word must stand in them.
        least: usize,
    },
}

impl ClassicalError {
    /// Never: the same input is refused again.
    pub fn is_retryable(&self) -> bool {
        false
    }
}
