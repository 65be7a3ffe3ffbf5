//! A linear model over hashed n-grams, as it serves: plain arithmetic over two tables.
//!
//! The features are those of the classic baseline (sublinear term frequency, inverse document frequency, unit length;
//! Salton and Buckley 1988), words and pieces each of length 1. Thirty words give a few hundred table reads, so they
//! stay out of libtorch.

use super::{Ngram, Ngrams, TextInput};
use crate::error::ModelError;

/// Two tables and a constant.
#[derive(Debug, Clone, PartialEq)]
pub struct NgramBag {
    /// Logit per unit of feature, one per bucket.
    weight: Vec<f32>,
    /// Inverse document frequency, one per bucket; 0 for a bucket that training never or hardly ever saw.
    idf: Vec<f32>,
    bias: f32,
}

/// What the n-grams of one post say.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// Logits of the words (with the constant) and of the pieces.
    pub logits: [f32; 2],
    /// What each word adds to the two, by size.
    pub per_word: Vec<f32>,
}

impl NgramBag {
    /// An error unless both tables have the same length and hold finite numbers.
    pub fn new(weight: Vec<f32>, idf: Vec<f32>, bias: f32) -> Result<Self, ModelError> {
        let sound = weight.len() == idf.len()
            && !weight.is_empty()
            && weight.iter().chain(&idf).chain([&bias]).all(|value| value.is_finite());
        if !sound {
            return Err(ModelError::Configuration(format!(
                "a bag of n-grams with {} weights and {} document frequencies, expected equally many finite ones",
                weight.len(),
                idf.len()
            )));
        }
        Ok(Self { weight, idf, bias })
    }

    /// What all n-grams of a post say together.
    pub fn logit(&self, ngrams: &Ngrams) -> f32 {
        let mut logit = self.bias;
        for group in [&ngrams.words, &ngrams.pieces] {
            for_each_feature(group, &self.idf, |bucket, value, _| logit += value * self.weight[bucket]);
        }
        logit
    }

    /// Reads one post. A bigram counts half for each of its words.
    pub fn evidence(&self, input: &TextInput) -> Evidence {
        let mut per_word = vec![0.0; input.word_count()];
        let mut logits = [self.bias, 0.0];
        for (group, logit) in [&input.ngrams.words, &input.ngrams.pieces].into_iter().zip(&mut logits) {
            for_each_feature(group, &self.idf, |bucket, value, places| {
                let part = value * self.weight[bucket];
                *logit += part;
                let share = part / (2 * places.len()) as f32;
                for word in places.iter().flat_map(|ngram| ngram.words) {
                    if let Some(credit) = per_word.get_mut(usize::from(word)) {
                        *credit += share;
                    }
                }
            });
        }
        for credit in &mut per_word {
            *credit = credit.abs();
        }
        Evidence { logits, per_word }
    }
}

/// Calls `each` with bucket, value and places of every n-gram of a group, the values together of length 1. `idf` has one
/// value per bucket; an n-gram whose bucket has none (0) is as if it were not there.
pub fn for_each_feature(group: &[Ngram], idf: &[f32], mut each: impl FnMut(usize, f32, &[Ngram])) {
    let features = || {
        group.chunk_by(|a, b| a.hash == b.hash).filter_map(|places| {
            let bucket = places[0].hash as usize % idf.len();
            let value = (1.0 + (places.len() as f32).ln()) * idf[bucket];
            (value > 0.0).then_some((bucket, value, places))
        })
    };
    let length = features().map(|(_, value, _)| value * value).sum::<f32>().sqrt();
    for (bucket, value, places) in features() {
        each(bucket, value / length, places);
    }
}

/// Buckets of a text among `table` of them, ascending, each once.
pub fn buckets(ngrams: &Ngrams, table: usize) -> Vec<usize> {
    let of_group = |group: &[Ngram]| -> Vec<usize> {
        group.chunk_by(|a, b| a.hash == b.hash).map(|places| places[0].hash as usize % table).collect()
    };
    let mut all = of_group(&ngrams.words);
    all.extend(of_group(&ngrams.pieces));
    all.sort_unstable();
    all.dedup();
    all
}

#[cfg(test)]
#[path = "bag_tests.rs"]
mod tests;
