//! What a text is read as.

use std::ops::Range;

/// What a word was in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WordKind {
    /// Letters, or letters with digits (`gr8`).
    Word,
    /// Digits, with dots and commas between them (`1,000.5`).
    Number,
    /// One to three equal marks of `. , ! ? : ;`.
    Punctuation,
    /// A word of an emoji's name.
    Emoji,
    /// A word of what an emoticon shows.
    Emoticon,
    /// A part of a hashtag's or cashtag's name.
    Hashtag,
}

/// A word as the networks read it, and where it stood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadWord {
    /// Normalised and lower-case; never empty, never with white space, at most 40 characters.
    pub text: String,
    /// What it was in the text.
    pub kind: WordKind,
    /// Bytes of the original text, on character boundaries. Words of one emoji share its range, and so do words of one
    /// character that stands for several (`㎏`).
    pub source: Range<usize>,
    /// Two letters or more, all of them capitals.
    pub shouted: bool,
    /// Three or more equal letters stood in a row, or marks of punctuation two or more.
    pub stretched: bool,
}

/// A text, read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// In the order of the text; their ranges begin in that order too.
    pub words: Vec<ReadWord>,
    /// The text went on after the last word.
    pub truncated: bool,
}

impl Reading {
    /// What a sentence encoder reads: words and punctuation with one blank between.
    pub fn plain(&self) -> String {
        let mut plain = String::with_capacity(self.words.iter().map(|word| word.text.len() + 1).sum());
        for word in &self.words {
            if !plain.is_empty() {
                plain.push(' ');
            }
            plain.push_str(&word.text);
        }
        plain
    }

    /// What n-grams are made of: all but punctuation.
    pub fn words_only(&self) -> impl Iterator<Item = &ReadWord> {
        self.words.iter().filter(|word| word.kind != WordKind::Punctuation)
    }
}
