//! Captions cleaned to five words (docs/networks.md, "Text").

use std::collections::{HashMap, HashSet};

/// Words of a caption that are kept (paper, section 4.1).
const CAPTION_WORDS: usize = 5;
/// Times that the training captions must hold a word.
const MIN_COUNT: usize = 2;

/// Words that the training captions hold at least twice.
///
/// The paper cleans captions "into five words according to a caption corpus" and leaves the rule open; this is ours.
#[derive(Debug, Clone, Default)]
pub struct CaptionVocabulary {
    words: HashSet<String>,
}

impl CaptionVocabulary {
    /// Counts the words of the training captions, each a list of words.
    pub fn of<'a>(captions: impl Iterator<Item = &'a [String]>) -> Self {
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for word in captions.flatten() {
            *counts.entry(word).or_default() += 1;
        }
        let known = counts.into_iter().filter(|&(_, count)| count >= MIN_COUNT);
        Self { words: known.map(|(word, _)| word.to_owned()).collect() }
    }

    /// The first five words that are known, in their order; the first five of all where none is known.
    pub fn clean(&self, words: &[String]) -> Vec<String> {
        let known: Vec<String> =
            words.iter().filter(|word| self.words.contains(*word)).take(CAPTION_WORDS).cloned().collect();
        if known.is_empty() { words.iter().take(CAPTION_WORDS).cloned().collect() } else { known }
    }
}
