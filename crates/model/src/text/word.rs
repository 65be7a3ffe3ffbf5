//! A word of a text.

/// A word as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// Normalised and lower-case; never empty.
    pub text: String,
    /// A mark of punctuation, which the network reads and a bag of n-grams does not.
    pub is_mark: bool,
    /// It was written in capitals.
    pub is_shouted: bool,
}
