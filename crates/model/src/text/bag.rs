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
    /// What each word of the protagonist adds to the two, by size.
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

    /// Reads one post. A bigram counts half for each of its words.
    pub fn evidence(&self, input: &TextInput) -> Evidence {
        let mut per_word = vec![0.0; input.protagonist.rows.len()];
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
mod tests {
    use super::*;
    use crate::text::{Tokenizer, Vocabulary, VocabularyConfig};
    use serde::Deserialize;

    fn input(parts: &[(&str, &str)]) -> TextInput {
        let vocabulary = Vocabulary::build(std::iter::empty::<Vec<String>>(), VocabularyConfig::default());
        TextInput::from_parts(&Tokenizer::new(), &vocabulary, parts).unwrap()
    }

    #[derive(Deserialize)]
    struct Reference {
        buckets: usize,
        evidence: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        parts: Vec<(String, String)>,
        logits: [f32; 2],
        per_word: Vec<f32>,
    }

    /// The tables of `tests/fixtures/ngram_bag.py`: no bucket that 7 divides was ever seen.
    fn bag(buckets: usize) -> NgramBag {
        let weight = (0..buckets).map(|i| (i as f64 * 0.7).sin() as f32).collect();
        let idf = (0..buckets).map(|i| if i % 7 == 0 { 0.0 } else { 1.0 + (i % 5) as f32 }).collect();
        NgramBag::new(weight, idf, 0.25).unwrap()
    }

    #[test]
    fn evidence_is_that_of_the_written_down_reference() {
        let reference: Reference = serde_json::from_str(include_str!("../../tests/fixtures/ngram_bag.json")).unwrap();
        let bag = bag(reference.buckets);
        for case in reference.evidence {
            let found = bag.evidence(&input(&case.parts.iter().map(|(r, t)| (&**r, &**t)).collect::<Vec<_>>()));
            assert_eq!(found.per_word.len(), case.per_word.len());
            let pairs = found.logits.iter().zip(&case.logits).chain(found.per_word.iter().zip(&case.per_word));
            for (a, b) in pairs {
                assert!((a - b).abs() < 1e-4, "{found:?} for {:?} {:?}", case.logits, case.per_word);
            }
        }
    }

    #[test]
    fn values_have_length_one_and_unseen_ngrams_do_not_dilute_them() {
        let text = input(&[("body", "the sea the sea and the sky")]);
        let mut square = 0.0;
        for_each_feature(&text.ngrams.words, &[1.0; 64], |_, value, _| square += value * value);
        assert!((square - 1.0).abs() < 1e-5);
        let mut known = vec![0.0; 64];
        known[text.ngrams.words[0].hash as usize % 64] = 3.0;
        let mut found = Vec::new();
        for_each_feature(&text.ngrams.words[..1], &known, |bucket, value, _| found.push((bucket, value)));
        assert_eq!(found, [(text.ngrams.words[0].hash as usize % 64, 1.0)]);
        for_each_feature(&text.ngrams.words, &[0.0; 64], |_, _, _| panic!("nothing was ever seen"));
    }

    #[test]
    fn tables_that_do_not_fit_are_refused() {
        assert!(NgramBag::new(vec![0.0; 3], vec![0.0; 4], 0.0).is_err());
        assert!(NgramBag::new(vec![f32::NAN], vec![0.0], 0.0).is_err());
        assert!(NgramBag::new(Vec::new(), Vec::new(), 0.0).is_err());
    }

    proptest::proptest! {
        /// Whatever the texts, the parts of the words and of the supporting part add up to the logits.
        #[test]
        fn evidence_is_finite_and_credit_covers_the_protagonist(text in "[a-z !:)é]{1,80}", caption in "[a-z ]{0,20}") {
            let vocabulary = Vocabulary::build(std::iter::empty::<Vec<String>>(), VocabularyConfig::default());
            let parts = [("body", text), ("caption", caption)];
            if let Some(input) = TextInput::from_parts(&Tokenizer::new(), &vocabulary, &parts) {
                let evidence = bag(97).evidence(&input);
                proptest::prop_assert_eq!(evidence.per_word.len(), input.protagonist.words.len());
                proptest::prop_assert!(evidence.per_word.iter().all(|c| c.is_finite() && *c >= 0.0));
                // Unit features and weights of at most 1 bound a logit by the root of their number.
                proptest::prop_assert!(evidence.logits.iter().all(|l| l.is_finite() && l.abs() < 60.0));
            }
        }
    }
}
