//! TF-IDF of words and of pieces of words, scikit-learn's by its arithmetic: the classic rival of every text network.
//!
//! Word 1- and 2-grams beside character 2- to 5-grams inside words, sublinear term frequency, smoothed inverse document
//! frequency, each of the two groups of length 1 (Salton and Buckley 1988).

use std::collections::HashMap;

use super::votes::FeatureRows;

/// Longest piece of a word, in characters.
const LONGEST_PIECE: usize = 5;
/// Pieces that fewer texts hold are left out.
const LEAST_TEXTS: u32 = 2;

/// Texts as sparse rows.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SparseRows {
    columns: usize,
    /// Entries of row `i` are `starts[i]..starts[i + 1]`.
    starts: Vec<usize>,
    entries: Vec<(u32, f32)>,
}

impl SparseRows {
    /// The entries of a row, as `(column, value)`.
    pub fn row(&self, row: usize) -> &[(u32, f32)] {
        &self.entries[self.starts[row]..self.starts[row + 1]]
    }
}

impl FeatureRows for SparseRows {
    fn columns(&self) -> usize {
        self.columns
    }

    fn dot(&self, row: usize, weights: &[f64]) -> f64 {
        self.row(row).iter().map(|&(column, value)| f64::from(value) * weights[column as usize]).sum()
    }

    fn add(&self, row: usize, value: f64, sums: &mut [f64]) {
        for &(column, entry) in self.row(row) {
            sums[column as usize] += value * f64::from(entry);
        }
    }
}

/// Fitted vocabularies of the two groups.
#[derive(Debug, Clone, PartialEq)]
pub struct TfIdf {
    words: Group,
    pieces: Group,
}

/// Column and inverse document frequency of each n-gram.
#[derive(Debug, Clone, PartialEq)]
struct Group {
    columns: HashMap<String, (u32, f64)>,
}

impl TfIdf {
    /// Counts the n-grams of the training texts.
    pub fn fit(texts: &[String]) -> Self {
        let words = Group::fit(texts, word_ngrams, 1, 0);
        let pieces = Group::fit(texts, piece_ngrams, LEAST_TEXTS, words.columns.len());
        Self { words, pieces }
    }

    /// Number of features.
    pub fn columns(&self) -> usize {
        self.words.columns.len() + self.pieces.columns.len()
    }

    /// The texts as rows, columns ascending; n-grams that training did not see count for nothing.
    pub fn rows(&self, texts: &[String]) -> SparseRows {
        let mut rows = SparseRows { columns: self.columns(), starts: vec![0], entries: Vec::new() };
        for text in texts {
            rows.entries.extend(self.words.entries(word_ngrams(text)));
            rows.entries.extend(self.pieces.entries(piece_ngrams(text)));
            rows.starts.push(rows.entries.len());
        }
        rows
    }
}

impl Group {
    fn fit(texts: &[String], ngrams: fn(&str) -> Vec<String>, least: u32, first: usize) -> Self {
        let mut frequencies: HashMap<String, u32> = HashMap::new();
        for text in texts {
            let mut once = ngrams(text);
            once.sort_unstable();
            once.dedup();
            for ngram in once {
                *frequencies.entry(ngram).or_default() += 1;
            }
        }
        let mut kept: Vec<(String, u32)> = frequencies.into_iter().filter(|(_, count)| *count >= least).collect();
        // A column's place enters sums, so it must not hang on the order of a hash map.
        kept.sort_unstable();
        let n = texts.len() as f64;
        let column = |(at, (ngram, count)): (usize, (String, u32))| {
            (ngram, ((first + at) as u32, ((1.0 + n) / (1.0 + f64::from(count))).ln() + 1.0))
        };
        Self { columns: kept.into_iter().enumerate().map(column).collect() }
    }

    fn entries(&self, ngrams: Vec<String>) -> Vec<(u32, f32)> {
        let mut found: Vec<(u32, f64)> = ngrams.iter().filter_map(|ngram| self.columns.get(ngram)).copied().collect();
        found.sort_unstable_by_key(|(column, _)| *column);
        let value = |same: &[(u32, f64)]| (same[0].0, (1.0 + (same.len() as f64).ln()) * same[0].1);
        let values: Vec<(u32, f64)> = found.chunk_by(|a, b| a.0 == b.0).map(value).collect();
        let length = values.iter().map(|(_, value)| value * value).sum::<f64>().sqrt();
        values.into_iter().map(|(column, value)| (column, (value / length) as f32)).collect()
    }
}

/// Words, and pairs of neighbours. A word is letters, digits, `_` and apostrophes inside it; so are `!` and `?` each.
fn word_ngrams(text: &str) -> Vec<String> {
    let words = words(&text.to_lowercase());
    let pairs: Vec<String> = words.windows(2).map(|pair| pair.join(" ")).collect();
    [words, pairs].concat()
}

/// `\b\w[\w']*\b|[!?]`.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let finish = |word: &mut String, words: &mut Vec<String>| {
        // An apostrophe at the end is no part of the word.
        let end = word.trim_end_matches('\'').len();
        word.truncate(end);
        if !word.is_empty() {
            words.push(std::mem::take(word));
        }
    };
    for character in text.chars() {
        match character {
            c if c.is_alphanumeric() || c == '_' => word.push(c),
            '\'' if !word.is_empty() => word.push('\''),
            c => {
                finish(&mut word, &mut words);
                if matches!(c, '!' | '?') {
                    words.push(c.to_string());
                }
            }
        }
    }
    finish(&mut word, &mut words);
    words
}

/// Runs of two to five characters inside each word between blanks, one blank on either side counted in. A word shorter than a
/// run is taken whole, once.
fn piece_ngrams(text: &str) -> Vec<String> {
    let mut pieces = Vec::new();
    for word in text.to_lowercase().split_whitespace() {
        let characters: Vec<char> = format!(" {word} ").chars().collect();
        for length in 2..=LONGEST_PIECE {
            if characters.len() <= length {
                pieces.push(characters.iter().collect());
                break;
            }
            pieces.extend(characters.windows(length).map(|run| run.iter().collect::<String>()));
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Reference {
        train: Vec<String>,
        texts: Vec<String>,
        columns: usize,
        /// Entries of each text, sorted by value.
        values: Vec<Vec<f64>>,
        /// Products of all pairs of texts.
        products: Vec<Vec<f64>>,
    }

    #[test]
    fn features_are_those_of_scikit_learn() {
        let reference: Reference =
            serde_json::from_str(include_str!("../../tests/fixtures/label_rivals/tfidf.json")).unwrap();
        let fitted = TfIdf::fit(&reference.train);
        assert_eq!(fitted.columns(), reference.columns);
        let rows = fitted.rows(&reference.texts);
        let dense: Vec<Vec<f64>> = (0..reference.texts.len())
            .map(|row| {
                let mut dense = vec![0.0; rows.columns()];
                rows.add(row, 1.0, &mut dense);
                dense
            })
            .collect();
        for (at, text) in reference.texts.iter().enumerate() {
            let mut values: Vec<f64> = rows.row(at).iter().map(|(_, value)| f64::from(*value)).collect();
            values.sort_by(f64::total_cmp);
            assert_eq!(values.len(), reference.values[at].len(), "{text:?}");
            assert!(values.iter().zip(&reference.values[at]).all(|(a, b)| (a - b).abs() < 1e-6), "{text:?}");
            for (other, expected) in reference.products[at].iter().enumerate() {
                assert!((rows.dot(at, &dense[other]) - expected).abs() < 1e-5, "{text:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn each_group_of_a_text_has_length_one_or_nothing(texts in prop::collection::vec("[a-c '!]{0,12}", 1..12)) {
            let rows = TfIdf::fit(&texts).rows(&texts);
            for at in 0..texts.len() {
                let square: f64 = rows.row(at).iter().map(|(_, value)| f64::from(*value).powi(2)).sum();
                prop_assert!([0.0, 1.0, 2.0].iter().any(|whole| (square - whole).abs() < 1e-5), "{}", square);
                prop_assert!(rows.row(at).windows(2).all(|pair| pair[0].0 < pair[1].0));
            }
        }

        #[test]
        fn no_text_is_too_strange(text in any::<String>()) {
            let texts = [text];
            let rows = TfIdf::fit(&texts).rows(&texts);
            prop_assert!(rows.row(0).iter().all(|(_, value)| value.is_finite()));
        }
    }
}
