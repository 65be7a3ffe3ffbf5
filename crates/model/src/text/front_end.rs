//! From the text parts of a post to what the text network reads.

use jtav_text::language::Languages;
use jtav_text::reading::{Reader, WordKind};
use jtav_text::roles::{MAX_PROTAGONIST_WORDS, PlacedWord, PostReading};

use super::input::{Language, ReadText, TextInput};
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
        let Some(read) = PostReading::of(&self.reader, parts.iter().map(|(_role, text)| text.as_ref())) else {
            return Ok(None);
        };
        let PostReading { protagonist, supporting, truncated: mut is_truncated, speaks } = read;
        let protagonist = self.read(words(protagonist))?;
        let supporting = if supporting.is_empty() { None } else { Some(self.read(words(supporting))?) };
        is_truncated |= std::iter::once(&protagonist).chain(&supporting).any(|text| text.pieces.is_cut());
        let language =
            self.languages.as_ref().and_then(|known| if speaks { language(known, parts) } else { Some(none()) });
        let is_stand_in = self.pieces.is_none() && !self.has_bag;
        let input = match is_stand_in {
            true => TextInput::of_words(protagonist, supporting),
            false => TextInput::new(protagonist, supporting, self.has_bag),
        };
        Ok(Some(TextInput { language, is_truncated, ..input }))
    }

    fn read(&self, words: Vec<Word>) -> Result<ReadText, ModelError> {
        let pieces = match &self.pieces {
            Some(pieces) => pieces.pieces(&words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>())?,
            None => Pieces::default(),
        };
        Ok(ReadText { words, pieces })
    }
}

fn words(placed: Vec<PlacedWord>) -> Vec<Word> {
    let word = |PlacedWord { word, .. }: PlacedWord| Word {
        is_mark: word.kind == WordKind::Punctuation,
        is_shouted: word.shouted,
        text: word.text,
    };
    placed.into_iter().map(word).collect()
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
