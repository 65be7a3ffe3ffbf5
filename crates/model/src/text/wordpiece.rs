//! Word pieces of BERT (Schuster and Nakajima 2012; Devlin et al. 2019), by the `tokenizers` library.

use std::path::Path;

use serde_json::Value;
use tokenizers::Tokenizer as Library;

use crate::bases::{Base, Bases};
use crate::error::ModelError;

/// Most pieces of a text, with the two that enclose it: as many as all-MiniLM-L6-v2 is meant for.
pub const MAX_PIECES: usize = 256;
/// What is beyond in a word is not looked at. Twice what the library itself makes one unknown piece of, so that only runs of
/// marks that it would drop are cut by it.
pub const MAX_WORD_CHARS: usize = 200;
/// What is beyond in a text is not looked at: three times what [`MAX_PIECES`] of English are long. Words that are long and unknown
/// cost the most and give the fewest pieces.
pub const MAX_TEXT_CHARS: usize = 4_096;
/// Longest word, after normalising, that has pieces; a longer one is unknown as a whole. Finding pieces takes the square of
/// a word's length.
const MAX_SPLIT_CHARS: u64 = 100;
/// In place of a word for the two pieces that no word has.
const NO_WORD: u32 = u32::MAX;

/// A text in word pieces: `[CLS]`, the pieces of its words, `[SEP]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pieces {
    ids: Vec<u32>,
    words: Vec<u32>,
    is_cut: bool,
}

impl Pieces {
    /// Rows of the table of word embeddings; 2 to [`MAX_PIECES`] of them.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Number of pieces, the two that enclose the text included; 0 for the pieces of a stand-in.
    #[allow(clippy::len_without_is_empty, reason = "a text's pieces are always two or more")]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// For each piece the position of its word; `None` for the two that enclose the text.
    pub fn words(&self) -> impl ExactSizeIterator<Item = Option<usize>> {
        self.words.iter().map(|&word| (word != NO_WORD).then_some(word as usize))
    }

    /// One piece for each of so many words: what a network is warmed up with.
    pub(crate) fn of_unknown_words(words: u32) -> Self {
        // Rows of `[CLS]`, `[UNK]` and `[SEP]` in every BERT.
        let (first, unknown, last) = (101, 100, 102);
        let ids = std::iter::once(first).chain((0..words).map(|_| unknown)).chain([last]).collect();
        let places = std::iter::once(NO_WORD).chain(0..words).chain([NO_WORD]).collect();
        Self { ids, words: places, is_cut: false }
    }

    /// The pieces of these words alone, ascending positions; numbered anew. No word's pieces depend on its neighbours.
    pub(super) fn of_words(&self, kept: &[usize]) -> Self {
        let mut of_kept = Self { ids: Vec::new(), words: Vec::new(), is_cut: self.is_cut };
        for (&id, &word) in self.ids.iter().zip(&self.words) {
            let place = if word == NO_WORD { Ok(NO_WORD as usize) } else { kept.binary_search(&(word as usize)) };
            if let Ok(place) = place {
                of_kept.ids.push(id);
                of_kept.words.push(place as u32);
            }
        }
        of_kept
    }

    /// Whether words at the end had no room. The last word that is there may be cut too.
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }
}

/// Splits words into pieces. Uncased: what it is given may have capitals and accents, they are dropped.
pub struct WordPieces {
    library: Library,
    first: u32,
    last: u32,
}

impl WordPieces {
    /// Those of a base.
    ///
    /// # Errors
    /// As [`Bases::read`] and [`from_json`](Self::from_json).
    pub fn open(bases: &Bases, base: &Base) -> Result<Self, ModelError> {
        Self::from_json(&bases.read(base)?, base.file.as_ref())
    }

    /// From the bytes of a `tokenizer.json` of the library whose model is WordPiece; `origin` names it in errors.
    ///
    /// Padding, truncation and the template are taken out: they belong to batches. So are the special tokens: a post that holds
    /// `[SEP]` means these five characters.
    ///
    /// # Errors
    /// [`ModelError::Malformed`] for another file.
    pub fn from_json(bytes: &[u8], origin: &Path) -> Result<Self, ModelError> {
        let malformed = |reason: String| ModelError::malformed(origin, reason);
        let mut file: Value = serde_json::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
        let model = &file["model"];
        if !file.is_object() || model["type"] != "WordPiece" {
            return Err(malformed("the model is not WordPiece".to_owned()));
        }
        let id = |piece: &str| {
            let id = model["vocab"][piece].as_u64().and_then(|id| u32::try_from(id).ok());
            id.ok_or_else(|| malformed(format!("the vocabulary lacks `{piece}`")))
        };
        let (first, last) = (id("[CLS]")?, id("[SEP]")?);
        id(model["unk_token"].as_str().unwrap_or_default())?;
        let longest = model["max_input_chars_per_word"].as_u64();
        if longest.is_none_or(|longest| longest > MAX_SPLIT_CHARS) {
            return Err(malformed(format!("words of more than {MAX_SPLIT_CHARS} characters are to be split")));
        }
        for name in ["padding", "truncation", "post_processor"] {
            file[name] = Value::Null;
        }
        file["added_tokens"] = Value::Array(Vec::new());
        let library = serde_json::to_vec(&file).map_err(|error| malformed(error.to_string()))?;
        let library = Library::from_bytes(library).map_err(|error| malformed(error.to_string()))?;
        Ok(Self { library, first, last })
    }

    /// The largest id that a piece can have.
    pub fn largest_id(&self) -> u32 {
        self.library.get_vocab(false).into_values().max().unwrap_or_default()
    }

    /// A piece as it is written, `##` before what goes on a word.
    pub fn name(&self, id: u32) -> Option<String> {
        self.library.id_to_token(id)
    }

    /// The pieces of these words, in order. Each is split by itself, so that no word changes its neighbours' pieces; a word may
    /// have none (marks alone), and what is not in the vocabulary is `[UNK]` (emoji are). Stops at
    /// [`MAX_PIECES`] pieces or [`MAX_TEXT_CHARS`] characters and reads [`MAX_WORD_CHARS`] of a word: time grows with the words'
    /// length up to these bounds and no further.
    ///
    /// # Errors
    /// [`ModelError::Input`] where the library fails, which no text is known to bring about.
    pub fn pieces<W: AsRef<str>>(&self, words: &[W]) -> Result<Pieces, ModelError> {
        let (mut ids, mut places) = (vec![self.first], vec![NO_WORD]);
        let (mut is_cut, mut unread_chars) = (false, MAX_TEXT_CHARS);
        for (place, word) in (0_u32..).zip(words) {
            let room = MAX_PIECES - 1 - ids.len();
            if room == 0 || unread_chars == 0 {
                is_cut = true;
                break;
            }
            let (word, chars) = bounded(word.as_ref());
            // An empty word counts as well: a list of them is read no further than any other.
            unread_chars = unread_chars.saturating_sub(chars.max(1));
            let split = self.library.encode_fast(word, false);
            let split = split.map_err(|error| ModelError::Input(format!("word pieces: {error}")))?;
            let taken = split.get_ids().len().min(room);
            is_cut |= taken < split.get_ids().len();
            ids.extend_from_slice(&split.get_ids()[..taken]);
            places.resize(ids.len(), place);
        }
        ids.push(self.last);
        places.push(NO_WORD);
        Ok(Pieces { ids, words: places, is_cut })
    }
}

/// The first [`MAX_WORD_CHARS`] characters, and how many there are.
fn bounded(word: &str) -> (&str, usize) {
    match word.char_indices().nth(MAX_WORD_CHARS) {
        Some((end, _)) => (&word[..end], MAX_WORD_CHARS),
        None => (word, word.chars().count()),
    }
}

#[cfg(test)]
#[path = "wordpiece_tests.rs"]
mod tests;
