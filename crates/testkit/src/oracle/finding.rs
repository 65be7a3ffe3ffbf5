use jtav_schemas::PostV1;

/// What a finding means for whoever reads the labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Harm {
    /// A record without the outcome it must have.
    Lost,
    /// An effect that shows twice to a reader who drops event ids that it has seen.
    ShownTwice,
    /// An erased post that still shows, or shows again.
    Resurrected,
    /// Anything else that must not be.
    Wrong,
}

/// One thing that must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it means.
    pub harm: Harm,
    /// For a person.
    pub text: String,
}

impl Finding {
    pub(crate) fn new(harm: Harm, text: impl Into<String>) -> Self {
        Self { harm, text: text.into() }
    }
}

/// Whether a post has neither media nor a letter or digit: nothing may come of it. Enough for the feeds of tests, which
/// have no emoji alone.
pub(crate) fn has_nothing(post: &PostV1) -> bool {
    let has_word = post.texts.iter().any(|part| {
        part.text
            .split(' ')
            .any(|word| !word.starts_with('@') && !word.contains("://") && word.contains(char::is_alphanumeric))
    });
    post.audio.is_none() && post.image.is_none() && !has_word
}
