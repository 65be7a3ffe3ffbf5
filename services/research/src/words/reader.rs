//! Posts as the networks of the zoo read them.

use std::sync::atomic::{AtomicUsize, Ordering};

use jtav_model::Tokenizer;
use jtav_schemas::TextPart;

use super::{CaptionVocabulary, WordTable};
use crate::zoo::WordVectors;

/// Words of the protagonist that are read (paper, section 4.1: lyrics are cut at 100).
const PROTAGONIST_WORDS: usize = 100;

/// Turns the texts of posts into word vectors.
///
/// The part with the most words is the protagonist (paper, section 3.1.1; ties to the part declared first), cut at 100 words,
/// its lines kept apart. The words of all other parts, in declared order, are cleaned to five. A word without a vector is a
/// row of zeros and is counted; it is never left out, so that positions stay what they are.
pub struct TextReader<'a> {
    table: &'a WordTable,
    captions: &'a CaptionVocabulary,
    tokenizer: Tokenizer,
    words: AtomicUsize,
    unknown: AtomicUsize,
}

impl<'a> TextReader<'a> {
    /// A reader that has seen no word yet.
    pub fn new(table: &'a WordTable, captions: &'a CaptionVocabulary) -> Self {
        let count = || AtomicUsize::new(0);
        Self { table, captions, tokenizer: Tokenizer::new(), words: count(), unknown: count() }
    }

    /// The word vectors of one post; `None` when its texts hold no word.
    pub fn read(&self, texts: &[TextPart]) -> Option<WordVectors> {
        let mut parts: Vec<Vec<Vec<String>>> = texts.iter().map(|part| self.lines(&part.text)).collect();
        let words_in = |part: &Vec<Vec<String>>| part.iter().map(Vec::len).sum::<usize>();
        let most = parts.iter().map(words_in).max().filter(|&words| words > 0)?;
        let protagonist_at = parts.iter().position(|part| words_in(part) == most)?;
        let protagonist = parts.remove(protagonist_at);
        let supporting: Vec<String> = parts.into_iter().flatten().flatten().collect();

        let words_per_line = cut(protagonist.iter().map(Vec::len), PROTAGONIST_WORDS);
        let protagonist: Vec<String> = protagonist.into_iter().flatten().take(PROTAGONIST_WORDS).collect();
        // None of these can fail: there is a word, all vectors are finite, and the lines were counted just now.
        let vectors = WordVectors::new(self.table.dimension(), self.vectors(&protagonist)).ok()?;
        let vectors = vectors.with_lines(words_per_line).ok()?;
        vectors.with_supporting(self.vectors(&self.captions.clean(&supporting))).ok()
    }

    /// Words without a vector, and all words, that were read so far.
    pub fn out_of_vocabulary(&self) -> (usize, usize) {
        (self.unknown.load(Ordering::Relaxed), self.words.load(Ordering::Relaxed))
    }

    /// The words of each line that has any.
    fn lines(&self, text: &str) -> Vec<Vec<String>> {
        let lines = text.split(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']);
        lines.map(|line| self.tokenizer.words(line)).filter(|words| !words.is_empty()).collect()
    }

    /// `[words, dimension]`, row-major.
    fn vectors(&self, words: &[String]) -> Vec<f32> {
        let dimension = self.table.dimension();
        let mut values = Vec::with_capacity(words.len() * dimension);
        let mut unknown = 0;
        for word in words {
            match self.table.vector(word) {
                Some(vector) => values.extend(vector),
                None => {
                    unknown += 1;
                    values.resize(values.len() + dimension, 0.0);
                }
            }
        }
        self.words.fetch_add(words.len(), Ordering::Relaxed);
        self.unknown.fetch_add(unknown, Ordering::Relaxed);
        values
    }
}

/// Lengths of lines up to `most` words in all; a line beyond that is dropped, the last one may be cut.
fn cut(lines: impl Iterator<Item = usize>, most: usize) -> Vec<usize> {
    let mut left = most;
    let lengths = lines.map(|words| {
        let kept = words.min(left);
        left -= kept;
        kept
    });
    lengths.filter(|&words| words > 0).collect()
}
