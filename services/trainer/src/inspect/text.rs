//! A text: words with their pieces, attention per word, language, label.

use std::fmt::Write as _;

use jtav_model::{FusionInput, FusionNetwork, Judgement, ReadText, TextFrontEnd, TextInput, TextNetwork};
use serde::Serialize;
use serde_json::{Value, json};

use super::InspectError;
use crate::npy::npy_f32;

/// Columns of a word and of the bar beside its share.
const WORD_COLUMNS: usize = 24;
const BAR_COLUMNS: f32 = 20.0;

/// What a text goes through, all of one checkpoint.
pub struct TextReaders {
    /// Finds the words.
    pub front_end: TextFrontEnd,
    /// Encodes them.
    pub network: TextNetwork,
    /// Labels the text alone.
    pub fusion: FusionNetwork,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WordInspection {
    /// As it is read.
    pub word: String,
    /// Punctuation, which is read and never named in a label.
    pub is_mark: bool,
    /// It was written in capitals.
    pub is_shouted: bool,
    /// Its word pieces; none for a word that came after the last piece that has room.
    pub pieces: Vec<String>,
    /// Share of the attention; those of all words, supporting ones too, sum to 1.
    pub attention: f32,
}

/// What became of a text.
#[derive(Debug, Clone, PartialEq)]
pub struct TextInspection {
    /// Words of the part with the most words, as many as are read.
    pub words: Vec<WordInspection>,
    /// Words of the other parts; empty without one.
    pub supporting: Vec<WordInspection>,
    /// The parts have more words than are read.
    pub is_truncated: bool,
    /// ISO 639 code and probability of the likeliest language; none where nothing can be told.
    pub language: Option<(String, f32)>,
    /// Whether the text has a vector of what it is about.
    pub is_semantic: bool,
    /// What is said of the text alone.
    pub judgement: Judgement,
}

/// Reads the parts of a text as those of one post, and asks which words the network looked at and what it says.
///
/// # Errors
/// No word in any part; a device fault.
pub fn inspect_text(parts: &[String], readers: &TextReaders) -> Result<TextInspection, InspectError> {
    let TextReaders { front_end, network, fusion } = readers;
    // Roles decide nothing: the part with the most words is the protagonist.
    let with_roles: Vec<(&str, &str)> = parts.iter().map(|part| ("body", part.as_str())).collect();
    let input = front_end.input(&with_roles)?.ok_or(InspectError::NoWord)?;
    let encoded = network.encode(std::slice::from_ref(&input))?.into_iter().next().ok_or(InspectError::NoWord)?;
    let alone = FusionInput { text: Some(encoded.encoded.vector), ..FusionInput::default() };
    let fused = fusion.fuse(&[alone])?.into_iter().next().ok_or(InspectError::NoWord)?;
    let [words, supporting] = words(&input, &encoded.encoded.attention, front_end);
    Ok(TextInspection {
        words,
        supporting,
        is_truncated: input.is_truncated,
        language: input.language.map(|language| (language.code, language.probability)),
        is_semantic: encoded.semantic.is_some(),
        judgement: fused.judgement,
    })
}

/// Those of the protagonist and those of the supporting part.
fn words(input: &TextInput, attention: &[f32], front_end: &TextFrontEnd) -> [Vec<WordInspection>; 2] {
    let of_text = |text: &ReadText, attention: &[f32]| -> Vec<WordInspection> {
        let mut pieces = vec![Vec::new(); text.words.len()];
        for (&id, word) in text.pieces.ids().iter().zip(text.pieces.words()) {
            if let Some(of_word) = word.and_then(|word| pieces.get_mut(word)) {
                of_word.push(front_end.piece_name(id).unwrap_or_else(|| id.to_string()));
            }
        }
        let with_share = text.words.iter().zip(pieces).zip(attention);
        with_share
            .map(|((word, pieces), &attention)| WordInspection {
                word: word.text.clone(),
                is_mark: word.is_mark,
                is_shouted: word.is_shouted,
                pieces,
                attention,
            })
            .collect()
    };
    let (first, rest) = attention.split_at(input.protagonist.words.len().min(attention.len()));
    [of_text(&input.protagonist, first), input.supporting.as_ref().map_or_else(Vec::new, |text| of_text(text, rest))]
}

/// The two calibrated logits of a judgement: positive against negative, and neutral against the mean of both. Finite, whatever
/// the probabilities.
fn logits(judgement: &Judgement) -> (f32, f32) {
    let [negative, neutral, positive] = judgement.probabilities.map(|share| share.max(f32::MIN_POSITIVE).ln());
    (positive - negative, neutral - (positive + negative) / 2.0)
}

impl TextInspection {
    /// The attention as an `.npy` file: f32 `[words]`, those of the supporting parts last.
    pub fn npy(&self) -> Option<Vec<u8>> {
        let attention: Vec<f32> = self.words.iter().chain(&self.supporting).map(|word| word.attention).collect();
        npy_f32(&[attention.len()], &attention)
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let language = self.language.as_ref();
        let (s, n) = logits(&self.judgement);
        json!({
            "modality": "text",
            "words": self.words,
            "supporting": self.supporting,
            "is_truncated": self.is_truncated,
            "language": language.map(|(code, probability)| json!({ "code": code, "probability": probability })),
            "semantic": self.is_semantic,
            "s": s,
            "n": n,
            "probabilities": self.judgement.probabilities,
        })
    }

    /// For a person.
    pub fn text(&self) -> String {
        let more = if self.is_truncated { "; the text goes on, and is not read further" } else { "" };
        let mut text = format!("{} words are read{more}\n\n", self.words.len());
        let most =
            self.words.iter().chain(&self.supporting).map(|word| word.attention).fold(f32::MIN_POSITIVE, f32::max);
        text.push_str(&table(&self.words, 0, most));
        // Writing to a String cannot fail.
        if !self.supporting.is_empty() {
            let _ = write!(text, "\n{} supporting words\n\n", self.supporting.len());
            text.push_str(&table(&self.supporting, self.words.len(), most));
        }
        let language = self.language.as_ref();
        let language = language.map_or_else(|| "unclear".to_owned(), |(code, share)| format!("{code} ({share:.2})"));
        let [negative, neutral, positive] = self.judgement.probabilities;
        let (s, n) = logits(&self.judgement);
        let about = if self.is_semantic { "yes" } else { "no" };
        let _ = writeln!(
            text,
            "\nlanguage   {language}\nsemantic   {about}\nlogits     s {s:.2}, n {n:.2}\nlabel      negative {negative:.2}, neutral \
             {neutral:.2}, positive {positive:.2} (of the text alone)"
        );
        text
    }
}

fn table(words: &[WordInspection], first: usize, most: f32) -> String {
    let width = words.iter().map(|word| word.word.chars().count()).max().unwrap_or(0).clamp(4, WORD_COLUMNS);
    let mut text = format!("{:>4} {:<width$} {:<9} {:<20} pieces\n", "", "word", "attention", "");
    for (position, word) in words.iter().enumerate() {
        let bar = "#".repeat((word.attention / most * BAR_COLUMNS).round().max(0.0) as usize);
        let pieces = if word.pieces.is_empty() { "-".to_owned() } else { word.pieces.join(" ") };
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{:>4} {:<width$} {:<9} {bar:<20} {pieces}",
            first + position + 1,
            word.word,
            format!("{:.3}", word.attention)
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judgement(probabilities: [f32; 3]) -> Judgement {
        Judgement { probabilities, polarity: 0.5, valence: 0.0, certain_from: 1.0 }
    }

    #[test]
    fn logits_are_those_that_the_probabilities_were_made_from() {
        for (s, n) in [(0.0_f32, 0.3_f32), (2.5, -1.0), (-4.0, 2.0)] {
            let powers = [-s / 2.0, n, s / 2.0].map(f32::exp);
            let sum: f32 = powers.iter().sum();
            let (found, neutral) = logits(&judgement(powers.map(|power| power / sum)));
            assert!((found - s).abs() < 1e-4 && (neutral - n).abs() < 1e-4, "{s} {n}: {found} {neutral}");
        }
        for certain in [[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]] {
            let (s, n) = logits(&judgement(certain));
            assert!(s.is_finite() && n.is_finite(), "{certain:?}");
        }
    }
}
