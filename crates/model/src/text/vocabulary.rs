//! Rows of the embedding table: whole words where they are frequent, hashed pieces of words for all.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::steps::looked_at;
use crate::error::ModelError;

/// How a [`Vocabulary`] is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VocabularyConfig {
    /// A word gets a row of its own when the texts hold it at least this often.
    pub min_count: usize,
    /// Size of the embedding table: word rows and bucket rows together.
    pub max_rows: usize,
    /// Rows shared by the hashed character n-grams.
    pub buckets: usize,
}

impl Default for VocabularyConfig {
    fn default() -> Self {
        Self { min_count: 3, max_rows: 20_000, buckets: 12_000 }
    }
}

/// Shortest and longest character n-gram, counted on `<word>` (fastText's defaults).
const MIN_NGRAM: usize = 3;
const MAX_NGRAM: usize = 6;

/// Maps a word to rows: its own row if it has one, then one bucket row for each character n-gram of `<word>`.
///
/// An unknown word is the mean of its n-gram rows, so it is never lost (Bojanowski et al. 2017). Rows
/// `0..words` are words, `words..words + buckets` are buckets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vocabulary {
    words: Vec<String>,
    row_of: HashMap<String, u32>,
    buckets: u32,
}

/// The JSON file of a checkpoint.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct VocabularyFile {
    format: u32,
    min_ngram: usize,
    max_ngram: usize,
    buckets: u32,
    words: Vec<String>,
}

impl Vocabulary {
    /// Counts the words of all texts (each a list of words from a [`Tokenizer`](super::Tokenizer)) and gives the most
    /// frequent ones a row; ties in alphabetical order, so that equal texts give equal vocabularies.
    pub fn build<W>(texts: impl IntoIterator<Item = W>, config: VocabularyConfig) -> Self
    where
        W: IntoIterator,
        W::Item: AsRef<str>,
    {
        let mut counts: HashMap<String, usize> = HashMap::new();
        for text in texts {
            for word in text {
                match counts.get_mut(word.as_ref()) {
                    Some(count) => *count += 1,
                    None => drop(counts.insert(word.as_ref().to_owned(), 1)),
                }
            }
        }
        let mut frequent: Vec<(String, usize)> =
            counts.into_iter().filter(|&(_, count)| count >= config.min_count.max(1)).collect();
        frequent.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let buckets = config.buckets.max(1);
        frequent.truncate(config.max_rows.saturating_sub(buckets));
        Self::from_words(frequent.into_iter().map(|(word, _)| word).collect(), buckets as u32)
    }

    fn from_words(words: Vec<String>, buckets: u32) -> Self {
        let row_of = words.iter().enumerate().map(|(row, word)| (word.clone(), row as u32)).collect();
        Self { words, row_of, buckets }
    }

    /// Words with a row of their own, most frequent first.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// Height of the embedding table.
    pub fn rows_total(&self) -> usize {
        self.words.len() + self.buckets as usize
    }

    /// Rows whose mean is the vector of `word`; never empty, the word's own row first if it has one.
    pub fn rows(&self, word: &str) -> Vec<u32> {
        let mut rows: Vec<u32> = self.row_of.get(word).copied().into_iter().collect();
        let first_bucket = self.words.len() as u32;
        for_each_ngram(word, |ngram| rows.push(first_bucket + fnv1a(ngram) % self.buckets));
        if rows.is_empty() {
            // Only the empty word has no n-gram; it still gets a row, so that no caller divides by zero.
            rows.push(first_bucket + fnv1a(word) % self.buckets);
        }
        rows
    }

    /// Reads the JSON file.
    pub fn load(path: &Path) -> Result<Self, ModelError> {
        let text = std::fs::read(path).map_err(|e| ModelError::io(path, e))?;
        Self::from_json(&text).map_err(|reason| ModelError::malformed(path, reason))
    }

    /// Writes the JSON file.
    pub fn save(&self, path: &Path) -> Result<(), ModelError> {
        let mut file = std::fs::File::create(path).map_err(|e| ModelError::io(path, e))?;
        file.write_all(self.to_json().as_bytes()).map_err(|e| ModelError::io(path, e))
    }

    pub(crate) fn to_json(&self) -> String {
        let file = VocabularyFile {
            format: 1,
            min_ngram: MIN_NGRAM,
            max_ngram: MAX_NGRAM,
            buckets: self.buckets,
            words: self.words.clone(),
        };
        let mut text = serde_json::to_string(&file).unwrap_or_default();
        text.push('\n');
        text
    }

    pub(crate) fn from_json(bytes: &[u8]) -> Result<Self, String> {
        let file: VocabularyFile = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        if (file.format, file.min_ngram, file.max_ngram) != (1, MIN_NGRAM, MAX_NGRAM) {
            return Err(format!(
                "format {} with n-grams {}..={} is not what this version hashes",
                file.format, file.min_ngram, file.max_ngram
            ));
        }
        if file.buckets == 0 {
            return Err("buckets must be at least 1".to_owned());
        }
        let vocabulary = Self::from_words(file.words, file.buckets);
        if vocabulary.row_of.len() != vocabulary.words.len() {
            return Err("a word is listed twice".to_owned());
        }
        Ok(vocabulary)
    }
}

/// Calls `each` with every character n-gram of `<word>`.
fn for_each_ngram(word: &str, mut each: impl FnMut(&str)) {
    if word.is_empty() {
        return;
    }
    let marked = format!("<{word}>");
    let starts: Vec<usize> = marked.char_indices().map(|(at, _)| at).chain([marked.len()]).collect();
    for from in 0..starts.len() - 1 {
        for chars in MIN_NGRAM..=MAX_NGRAM {
            let Some(&end) = starts.get(from + chars) else { break };
            looked_at(chars);
            each(&marked[starts[from]..end]);
        }
    }
}

/// FNV-1a's offset basis.
pub(super) const FNV_START: u32 = 2_166_136_261;

/// 32-bit FNV-1a as fastText computes it: every byte is sign-extended before the exclusive or.
fn fnv1a(text: &str) -> u32 {
    fnv1a_from(FNV_START, text.as_bytes())
}

/// Goes on from a hash, so that strings with the same beginning share its cost.
pub(super) fn fnv1a_from(hash: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(hash, |hash, &byte| (hash ^ (byte as i8) as u32).wrapping_mul(16_777_619))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Vocabulary {
        let texts = [vec!["sea", "sea", "sky"], vec!["sky", "sea", "rare"]];
        Vocabulary::build(texts, VocabularyConfig { min_count: 2, max_rows: 102, buckets: 100 })
    }

    #[test]
    fn frequent_words_have_rows_and_rare_ones_only_pieces() {
        let vocabulary = small();
        assert_eq!(vocabulary.words(), ["sea", "sky"]);
        assert_eq!(vocabulary.rows("sea")[0], 0);
        assert!(vocabulary.rows("rare").iter().all(|&row| row >= 2 && (row as usize) < vocabulary.rows_total()));
    }

    /// `<sea>` has 3 trigrams, 2 four-grams and 1 five-gram.
    #[test]
    fn a_word_has_one_row_for_each_of_its_ngrams() {
        assert_eq!(small().rows("sea").len(), 1 + 3 + 2 + 1);
        assert_eq!(small().rows("é").len(), 1);
    }

    /// Values of the published algorithm (offset basis 2166136261, prime 16777619); for ASCII, sign extension is idle.
    #[test]
    fn hashes_agree_with_published_fnv_vectors() {
        assert_eq!(fnv1a(""), 0x811c_9dc5);
        assert_eq!(fnv1a("a"), 0xe40c_292c);
        assert_eq!(fnv1a("foobar"), 0xbf9c_f968);
    }

    /// "é" is C3 A9: with sign extension the upper 24 bits of each step are flipped.
    #[test]
    fn bytes_above_127_are_sign_extended() {
        let step = |hash: u32, byte: u32| (hash ^ byte).wrapping_mul(16_777_619);
        assert_eq!(fnv1a("é"), step(step(2_166_136_261, 0xFFFF_FFC3), 0xFFFF_FFA9));
    }

    #[test]
    fn the_file_gives_the_same_vocabulary_back() {
        let vocabulary = small();
        assert_eq!(Vocabulary::from_json(vocabulary.to_json().as_bytes()), Ok(vocabulary));
        assert!(Vocabulary::from_json(br#"{"format":1,"min_ngram":3,"max_ngram":6,"buckets":0,"words":[]}"#).is_err());
        assert!(
            Vocabulary::from_json(br#"{"format":1,"min_ngram":3,"max_ngram":6,"buckets":9,"words":["a","a"]}"#)
                .is_err()
        );
    }

    #[test]
    fn the_table_never_outgrows_its_limit() {
        let texts = (0..500).map(|i| vec![format!("word{i}")]);
        let vocabulary = Vocabulary::build(texts, VocabularyConfig { min_count: 1, max_rows: 150, buckets: 100 });
        assert_eq!(vocabulary.rows_total(), 150);
    }
}
