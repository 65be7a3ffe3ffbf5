//! From the text parts of a post to what the text network reads.

use jtav_text::language::Languages;
use jtav_text::reading::{Reader, Reading, WordKind};

use super::input::{Language, MAX_PROTAGONIST_WORDS, MAX_SUPPORTING_WORDS, ReadText, TextInput};
use super::word::Word;
use super::{Pieces, WordPieces};
use crate::checkpoint::Checkpoint;
use crate::error::ModelError;
use crate::manifest::roles;

/// Code of a text that is in no language (ISO 639-2).
pub const NO_LANGUAGE: &str = "zxx";

/// Reads posts for one checkpoint: words, their pieces, the language. No device is involved; it can be shared between
/// threads. Its time grows with the texts' length up to the bounds of [`Reader`] and no further.
pub struct TextFrontEnd {
    reader: Reader,
    /// None for a stand-in network, which reads none.
    pieces: Option<WordPieces>,
    languages: Option<Languages>,
    has_bag: bool,
}

impl TextFrontEnd {
    /// With the word pieces and the language identification that the checkpoint names.
    ///
    /// # Errors
    /// A base that is missing ([`ModelError::BaseMissing`], which says the command) or damaged.
    pub fn of_checkpoint(checkpoint: &Checkpoint) -> Result<Self, ModelError> {
        let manifest = checkpoint.manifest();
        let (pieces, language) = (manifest.base(roles::PIECES)?, manifest.base(roles::LANGUAGE)?);
        let bases = checkpoint.bases();
        let languages = Languages::from_bytes(&bases.read(language)?);
        Ok(Self {
            pieces: Some(WordPieces::open(bases, pieces)?),
            languages: Some(languages.map_err(|reason| ModelError::malformed(language.file.as_ref(), reason))?),
            ..Self::new(manifest.dimensions.ngram_buckets > 0)
        })
    }

    /// With word pieces and without language identification, for training.
    pub fn with_pieces(pieces: WordPieces, has_bag: bool) -> Self {
        Self { pieces: Some(pieces), ..Self::new(has_bag) }
    }

    /// For a stand-in network: finds words, and no pieces of them.
    pub fn without_pieces() -> Self {
        Self::new(false)
    }

    /// Finds words and their n-grams, and no pieces: what a bag of n-grams alone reads.
    pub fn of_ngrams() -> Self {
        Self::new(true)
    }

    fn new(has_bag: bool) -> Self {
        Self { reader: Reader::with_max_words(MAX_PROTAGONIST_WORDS), pieces: None, languages: None, has_bag }
    }

    /// A word piece as it is written; none from a front end without pieces.
    pub fn piece_name(&self, id: u32) -> Option<String> {
        self.pieces.as_ref()?.name(id)
    }

    /// Reads `(role, text)` parts and chooses the protagonist: most words, ties to the part declared first. `None` when no
    /// part has a word (only links, handles or punctuation).
    ///
    /// # Errors
    /// [`ModelError::Input`] where word pieces fail, which no text is known to bring about.
    pub fn input<R, T>(&self, parts: &[(R, T)]) -> Result<Option<TextInput>, ModelError>
    where
        R: AsRef<str>,
        T: AsRef<str>,
    {
        let mut readings: Vec<Reading> = parts.iter().map(|(_role, text)| self.reader.read(text.as_ref())).collect();
        readings.retain(|reading| reading.words_only().next().is_some());
        let Some(longest) = readings.iter().map(|reading| reading.words.len()).max() else { return Ok(None) };
        let protagonist_at = readings.iter().position(|reading| reading.words.len() == longest).unwrap_or(0);
        let speaks = readings.iter().any(speaks);
        let mut is_truncated = readings.iter().any(|reading| reading.truncated);
        let protagonist = self.read(words(&readings.remove(protagonist_at)))?;
        let mut others: Vec<Word> = readings.iter().flat_map(words).collect();
        is_truncated |= others.len() > MAX_SUPPORTING_WORDS;
        others.truncate(MAX_SUPPORTING_WORDS);
        let supporting = if others.is_empty() { None } else { Some(self.read(others)?) };
        is_truncated |= std::iter::once(&protagonist).chain(&supporting).any(|text| text.pieces.is_cut());
        let language =
            self.languages.as_ref().and_then(|known| if speaks { language(known, parts) } else { Some(none()) });
        Ok(Some(TextInput { language, is_truncated, ..TextInput::new(protagonist, supporting, self.has_bag) }))
    }

    fn read(&self, words: Vec<Word>) -> Result<ReadText, ModelError> {
        let pieces = match &self.pieces {
            Some(pieces) => pieces.pieces(&words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>())?,
            None => Pieces::default(),
        };
        Ok(ReadText { words, pieces })
    }
}

fn words(reading: &Reading) -> Vec<Word> {
    let word = |word: &jtav_text::reading::ReadWord| Word {
        text: word.text.clone(),
        is_mark: word.kind == WordKind::Punctuation,
        is_shouted: word.shouted,
    };
    reading.words.iter().map(word).collect()
}

/// Whether a text has a word of a language: what emoji and emoticons are written out as is none, and a number neither.
fn speaks(reading: &Reading) -> bool {
    let of_language = |kind| matches!(kind, WordKind::Word | WordKind::Hashtag);
    reading.words.iter().any(|word| of_language(word.kind) && word.text.contains(char::is_alphabetic))
}

fn none() -> Language {
    Language { code: NO_LANGUAGE.to_owned(), probability: 1.0 }
}

/// Of the parts as they were written, each on a line: the case that was folded and the emoji that were written out would
/// mislead. `None` where the model knows nothing of them.
fn language<R, T: AsRef<str>>(languages: &Languages, parts: &[(R, T)]) -> Option<Language> {
    let mut text = String::new();
    for (_, part) in parts {
        let end = part.as_ref().char_indices().nth(jtav_text::language::MAX_CHARACTERS);
        text.push_str(&part.as_ref()[..end.map_or(part.as_ref().len(), |(end, _)| end)]);
        text.push('\n');
    }
    let identified = languages.identify(&text);
    let code = identified.language.to_owned();
    (identified.known > 0).then_some(Language { code, probability: identified.probability })
}

#[cfg(test)]
#[path = "front_end_tests.rs"]
mod tests;
