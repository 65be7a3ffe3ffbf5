//! A text: words, rows of the embedding table, attention per word.

use std::fmt::Write as _;

use jtav_model::{TextInput, TextNetwork, TokenisedText, Tokenizer, Vocabulary};
use serde::Serialize;
use serde_json::{Value, json};

use super::InspectError;
use crate::npy::npy_f32;

/// N-gram rows named in a line of the table; all of them stand in the JSON.
const ROWS_SHOWN: usize = 6;

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WordInspection {
    /// As normalised.
    pub word: String,
    /// Row of its own in the embedding table, for a word that was frequent in training.
    pub own_row: Option<u32>,
    /// Rows of its character n-grams; the word's vector is the mean of all its rows.
    pub ngram_rows: Vec<u32>,
    /// Share of the attention; null for supporting words, which gate the others and get none.
    pub attention: Option<f32>,
}

/// What became of a text.
#[derive(Debug, Clone, PartialEq)]
pub struct TextInspection {
    /// Words of the part with the most words, the first 100.
    pub words: Vec<WordInspection>,
    /// Words of the other parts, the first 20; empty without one.
    pub supporting: Vec<WordInspection>,
    /// Words of each part before anything was cut off.
    pub words_by_part: Vec<usize>,
}

/// Tokenises the parts of a text as those of one post and asks `network` which words it read for.
///
/// # Errors
/// No word in any part; a device fault.
pub fn inspect_text(
    parts: &[String],
    vocabulary: &Vocabulary,
    network: &TextNetwork,
) -> Result<TextInspection, InspectError> {
    let tokenizer = Tokenizer::new();
    // Roles decide nothing: the longest part is the protagonist.
    let with_roles: Vec<(&str, &str)> = parts.iter().map(|part| ("body", part.as_str())).collect();
    let input = TextInput::from_parts(&tokenizer, vocabulary, &with_roles).ok_or(InspectError::NoWord)?;
    let encoded = network.encode(std::slice::from_ref(&input))?;
    let attention = encoded.into_iter().next().map(|text| text.attention).unwrap_or_default();
    let words = words(&input.protagonist, vocabulary, attention.into_iter().map(Some));
    let supporting = input.supporting.as_ref();
    Ok(TextInspection {
        words,
        supporting: supporting.map_or_else(Vec::new, |text| self::words(text, vocabulary, std::iter::repeat(None))),
        words_by_part: parts.iter().map(|part| tokenizer.words(part).len()).collect(),
    })
}

fn words(
    text: &TokenisedText,
    vocabulary: &Vocabulary,
    attention: impl Iterator<Item = Option<f32>>,
) -> Vec<WordInspection> {
    let known = vocabulary.words().len();
    let word = |((word, rows), attention): ((&String, &Vec<u32>), Option<f32>)| {
        let (own, ngrams): (Vec<u32>, Vec<u32>) = rows.iter().partition(|&&row| (row as usize) < known);
        WordInspection { word: word.clone(), own_row: own.first().copied(), ngram_rows: ngrams, attention }
    };
    text.words.iter().zip(&text.rows).zip(attention).map(word).collect()
}

impl TextInspection {
    /// The attention as an `.npy` file: f32 `[words]`.
    pub fn npy(&self) -> Option<Vec<u8>> {
        let attention: Vec<f32> = self.words.iter().filter_map(|word| word.attention).collect();
        npy_f32(&[attention.len()], &attention)
    }

    /// For programs.
    pub fn json(&self) -> Value {
        json!({
            "modality": "text",
            "words_by_part": self.words_by_part,
            "words": self.words,
            "supporting": self.supporting,
        })
    }

    /// For a person.
    pub fn text(&self) -> String {
        let total = self.words_by_part.iter().max().copied().unwrap_or(0);
        let mut text = format!("{} of {total} words are read\n\n", self.words.len());
        text.push_str(&table(&self.words));
        if !self.supporting.is_empty() {
            let _ = write!(text, "\n{} supporting words, which gate those above\n\n", self.supporting.len());
            text.push_str(&table(&self.supporting));
        }
        text.push_str(
            "\nA word's vector is the mean of its rows: its own, if it was frequent in training, and its n-grams'.\n",
        );
        text
    }
}

fn table(words: &[WordInspection]) -> String {
    let width = words.iter().map(|word| word.word.chars().count()).max().unwrap_or(0).clamp(4, 24);
    let most = words.iter().filter_map(|word| word.attention).fold(f32::MIN_POSITIVE, f32::max);
    let mut text =
        format!("{:>4} {:<width$} {:<9} {:<20} {:>7}  rows of n-grams\n", "", "word", "attention", "", "own row");
    for (position, word) in words.iter().enumerate() {
        let share = word.attention.map_or_else(String::new, |share| format!("{share:.3}"));
        let bar = "#".repeat(word.attention.map_or(0, |share| (share / most * 20.0).round() as usize));
        let own = word.own_row.map_or_else(|| "-".to_owned(), |row| row.to_string());
        let shown: Vec<String> = word.ngram_rows.iter().take(ROWS_SHOWN).map(u32::to_string).collect();
        let more = match word.ngram_rows.len().saturating_sub(ROWS_SHOWN) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{:>4} {:<width$} {share:<9} {bar:<20} {own:>7}  {}{more}",
            position + 1,
            word.word,
            shown.join(" ")
        );
    }
    text
}
