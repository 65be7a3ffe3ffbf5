//! What the text network reads of one post, with the roles of its parts (paper, section 3.1.1): the longest part is the
//! protagonist, the others support it.

use std::collections::HashSet;

pub use jtav_text::roles::{MAX_PROTAGONIST_WORDS, MAX_SUPPORTING_WORDS};

use super::word::Word;
use super::{Ngrams, Pieces, lexicon};

/// Words with the pieces that the sentence encoder makes of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadText {
    /// In order; at least one.
    pub words: Vec<Word>,
    /// Of all words, or of the first ones where there are too many.
    pub pieces: Pieces,
}

impl ReadText {
    /// The same without the words at these positions; `None` when nothing but punctuation is left.
    fn without(&self, struck: &HashSet<usize>) -> Option<Self> {
        let kept: Vec<usize> = (0..self.words.len()).filter(|at| !struck.contains(at)).collect();
        let words: Vec<Word> = kept.iter().map(|&at| self.words[at].clone()).collect();
        let has_word = words.iter().any(|word| !word.is_mark);
        has_word.then(|| Self { words, pieces: self.pieces.of_words(&kept) })
    }
}

/// The likeliest language of a post's texts.
#[derive(Debug, Clone, PartialEq)]
pub struct Language {
    /// ISO 639; `zxx` where nothing in the texts belongs to a language (emoji, digits).
    pub code: String,
    /// 0 to 1.
    pub probability: f32,
}

/// What the text network reads of one post; made by [`TextFrontEnd::input`](super::TextFrontEnd::input).
#[derive(Debug, Clone, PartialEq)]
pub struct TextInput {
    /// The part with the most words, at most [`MAX_PROTAGONIST_WORDS`] of them.
    pub protagonist: ReadText,
    /// All other parts' words, joined in declared order, at most [`MAX_SUPPORTING_WORDS`]; `None` when they have none.
    pub supporting: Option<ReadText>,
    /// N-grams of all words but punctuation, for the bag beside the BiGRU; empty in a profile without one. Words are numbered
    /// as by [`words`](Self::words).
    pub ngrams: Ngrams,
    /// What VADER says of the words, -1 to 1 (Hutto and Gilbert 2014); 0 for a stand-in network, which nobody tells.
    pub lexicon: f32,
    /// `None` where nothing can be told.
    pub language: Option<Language>,
    /// The texts have more words than are read.
    pub is_truncated: bool,
}

impl TextInput {
    pub(crate) fn new(protagonist: ReadText, supporting: Option<ReadText>, has_bag: bool) -> Self {
        let texts = || std::iter::once(&protagonist).chain(&supporting).map(|text| text.words.as_slice());
        let ngrams = if has_bag { Ngrams::of_parts(texts()) } else { Ngrams::default() };
        let lexicon = lexicon::compound(texts());
        Self { protagonist, supporting, ngrams, lexicon, language: None, is_truncated: false }
    }

    /// For a stand-in network, which reads words and nothing that is counted of them.
    pub(crate) fn of_words(protagonist: ReadText, supporting: Option<ReadText>) -> Self {
        let (ngrams, lexicon) = (Ngrams::default(), 0.0);
        Self { protagonist, supporting, ngrams, lexicon, language: None, is_truncated: false }
    }

    /// Words that the network reads, those of the protagonist first.
    pub fn words(&self) -> impl Iterator<Item = &Word> {
        std::iter::once(&self.protagonist).chain(&self.supporting).flat_map(|text| &text.words)
    }

    /// How many those are.
    pub fn word_count(&self) -> usize {
        std::iter::once(&self.protagonist).chain(&self.supporting).map(|text| text.words.len()).sum()
    }

    /// Pieces that a sentence encoder reads of them.
    pub fn piece_count(&self) -> usize {
        std::iter::once(&self.protagonist).chain(&self.supporting).map(|text| text.pieces.len()).sum()
    }

    /// The post with the words at these positions struck out, numbered through the protagonist and then the supporting
    /// part: the others move together, the roles stay. `None` when no word of the protagonist is left.
    pub fn without_words(&self, positions: &[usize]) -> Option<Self> {
        let first = self.protagonist.words.len();
        let (of_first, of_second): (Vec<usize>, Vec<usize>) = positions.iter().partition(|&&at| at < first);
        let protagonist = self.protagonist.without(&of_first.into_iter().collect())?;
        let struck: HashSet<usize> = of_second.into_iter().map(|at| at - first).collect();
        let supporting = self.supporting.as_ref().and_then(|text| text.without(&struck));
        let has_bag = !self.ngrams.words.is_empty();
        let (language, is_truncated) = (self.language.clone(), self.is_truncated);
        Some(Self { language, is_truncated, ..Self::new(protagonist, supporting, has_bag) })
    }
}

#[cfg(test)]
#[path = "input_tests.rs"]
pub(crate) mod tests;
