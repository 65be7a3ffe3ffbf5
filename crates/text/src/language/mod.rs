//! Which language a text is in, by fastText's `lid.176.ftz` (Joulin et al. 2016, 2017): 176 languages, 0.9 MB.
//!
//! A small reader of fastText's quantised classifiers, held against fastText's own answers: product-quantised input,
//! pruned n-grams, hierarchical softmax. The weights (CC BY-SA 3.0) are a file beside the program, never part of it. A
//! damaged file is an error, never a panic, and takes no more memory than a small multiple of its length.
//!
//! Three things are done to a text that fastText leaves to its caller: it is cut at [`MAX_CHARACTERS`], lower-cased (the
//! model hardly knows capitals: of 96 sentences in `tests/fixtures` it tells 88 as written, 89 in lower case and 22 in
//! capitals), and read over its newlines and over a literal `</s>`, at either of which fastText would stop.

mod dictionary;
mod error;
mod file;
mod quantised;
mod tree;

pub use error::LanguageError;

use dictionary::Dictionary;
use file::{File, Header};
use quantised::Quantised;
use tree::Tree;

/// Characters of a text that count.
pub const MAX_CHARACTERS: usize = 1_000;

/// The code for "undetermined" (ISO 639-2).
const UNDETERMINED: &str = "und";

/// The likeliest language of a text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Identified<'a> {
    /// Its code as the model's labels have it, for `lid.176.ftz` ISO 639-1 or, where there is none, 639-3 ("en", "ceb"),
    /// with a few of Wikipedia's own ("als", "eml"). "und" where the model has nothing to go by.
    pub language: &'a str,
    /// The model's probability, 0 to 1.
    pub probability: f32,
    /// Words and n-grams of the text that the model knows. At 0 (emoji, digits, a link) `language` is only the commonest
    /// one of the training texts.
    pub known: usize,
}

/// A fastText classifier of languages; it can be shared between threads.
#[derive(Debug, Clone)]
pub struct Languages {
    dictionary: Dictionary,
    input: Quantised,
    tree: Tree,
    /// By leaf of the tree.
    labels: Vec<String>,
}

impl Languages {
    /// Reads the bytes of a `.ftz` file.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, LanguageError> {
        let mut file = File::new(bytes);
        let header = Header::read(&mut file)?;
        let (dictionary, labels) = Dictionary::read(&mut file, &header)?;
        let input = Quantised::read(&mut file, header.dimensions)?;
        if dictionary.rows() > input.rows() {
            return Err(LanguageError::Damaged("words or n-grams without a row"));
        }
        let counts = labels.iter().map(|label| label.count).collect();
        let tree = Tree::read(&mut file, header.dimensions, counts)?;
        Ok(Self { dictionary, input, tree, labels: labels.into_iter().map(|label| label.language).collect() })
    }

    /// The languages it tells apart, the commonest of its training texts first.
    pub fn languages(&self) -> impl Iterator<Item = &str> {
        self.labels.iter().map(String::as_str)
    }

    /// The likeliest language of a text's first [`MAX_CHARACTERS`].
    pub fn identify(&self, text: &str) -> Identified<'_> {
        let text = text.char_indices().nth(MAX_CHARACTERS).map_or(text, |(end, _)| &text[..end]).to_lowercase();
        let mut hidden = vec![0.0; self.input.columns()];
        let mut known = 0;
        self.dictionary.for_each_row(&text, |row| {
            self.input.add_row(row, &mut hidden);
            known += 1;
        });
        let mut rows = known;
        if let Some(row) = self.dictionary.end_of_line() {
            self.input.add_row(row, &mut hidden);
            rows += 1;
        }
        if rows == 0 {
            return Identified { language: UNDETERMINED, probability: 0.0, known };
        }
        let share = 1.0 / rows as f32;
        for value in &mut hidden {
            *value *= share;
        }
        let (leaf, probability) = self.tree.likeliest(&hidden);
        let language = self.labels.get(leaf).map_or(UNDETERMINED, String::as_str);
        Identified { language, probability, known }
    }
}

#[cfg(test)]
mod tests;
