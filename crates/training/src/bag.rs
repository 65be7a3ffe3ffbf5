//! Fitting of the bag of n-grams: logistic regression over sparse rows.
//!
//! Each feature is scaled by the size of its log-count ratio first (Wang and Manning 2012), so that the penalty falls
//! lightly on n-grams that tell the labels apart and heavily on those that both have. The scales go into the table and
//! cost nothing later.
//!
//! The penalty is the only choice in it. Gradient steps through libtorch would need hundreds of passes to come as near.

use std::ops::Range;

use jtav_model::text::{buckets, for_each_feature};
use jtav_model::{ModelError, Ngrams};

use crate::logistic::{Regression, minimum};

/// Tables of a fitted bag.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FittedBag {
    pub weight: Vec<f32>,
    pub idf: Vec<f32>,
    pub bias: f32,
}

/// Fits on `(n-grams, label)` pairs; `penalty` is the inverse weight of the L2 term in units of one example's loss
/// (scikit-learn's `C`).
pub(crate) fn fit(
    examples: &[(&Ngrams, bool)],
    table: usize,
    penalty: f64,
    least_documents: usize,
) -> Result<FittedBag, ModelError> {
    let positive = examples.iter().filter(|(_, positive)| *positive).count();
    if positive == 0 || positive == examples.len() {
        return Err(ModelError::Input(format!(
            "a bag of n-grams needs texts of both labels, {positive} of {} are positive",
            examples.len()
        )));
    }
    let idf = document_frequencies(examples, table, least_documents);
    let rows = Rows::new(examples, &idf);
    let whole = Scaled::new(&rows, penalty).solve();
    let mut weight = vec![0.0; table];
    for (&bucket, &value) in rows.used.iter().zip(&whole) {
        weight[bucket] = value as f32;
    }
    let bias = whole.last().copied().unwrap_or(0.0) as f32;
    Ok(FittedBag { weight, idf, bias })
}

/// `ln((1 + n) / (1 + df)) + 1`, 0 for a bucket that fewer than `least` texts fall into.
fn document_frequencies(examples: &[(&Ngrams, bool)], table: usize, least: usize) -> Vec<f32> {
    let mut counts = vec![0_u32; table];
    for (ngrams, _) in examples {
        for bucket in buckets(ngrams, table) {
            counts[bucket] += 1;
        }
    }
    let texts = examples.len() as f64;
    let idf = |&count: &u32| match count as usize >= least.max(1) {
        true => (((1.0 + texts) / (1.0 + f64::from(count))).ln() + 1.0) as f32,
        false => 0.0,
    };
    counts.iter().map(idf).collect()
}

/// The examples as sparse rows over the buckets that occur.
struct Rows {
    /// Bucket of each column.
    used: Vec<usize>,
    /// Where the entries of each example are.
    spans: Vec<Range<usize>>,
    columns: Vec<u32>,
    values: Vec<f32>,
    positive: Vec<bool>,
}

impl Rows {
    fn new(examples: &[(&Ngrams, bool)], idf: &[f32]) -> Self {
        let used: Vec<usize> = (0..idf.len()).filter(|&bucket| idf[bucket] > 0.0).collect();
        let mut column_of = vec![0_u32; idf.len()];
        for (column, &bucket) in (0..).zip(&used) {
            column_of[bucket] = column;
        }
        let mut rows = Self { used, spans: Vec::new(), columns: Vec::new(), values: Vec::new(), positive: Vec::new() };
        for (ngrams, positive) in examples {
            let first = rows.columns.len();
            for group in [&ngrams.words, &ngrams.pieces] {
                for_each_feature(group, idf, |bucket, value, _| {
                    rows.columns.push(column_of[bucket]);
                    rows.values.push(value);
                });
            }
            rows.spans.push(first..rows.columns.len());
            rows.positive.push(*positive);
        }
        rows
    }

    /// Columns and values of an example.
    fn entries(&self, at: usize) -> impl Iterator<Item = (usize, f64)> {
        let span = self.spans[at].clone();
        let entries = self.columns[span.clone()].iter().zip(&self.values[span]);
        entries.map(|(&column, &value)| (column as usize, f64::from(value)))
    }

    /// For each column, the logarithm of the share of the positive texts that hold it over that of the negative ones,
    /// one text added to each count.
    fn log_count_ratios(&self) -> Vec<f64> {
        let (mut counts, mut texts) = ([vec![1.0; self.used.len()], vec![1.0; self.used.len()]], [0.0; 2]);
        for (at, &positive) in self.positive.iter().enumerate() {
            let label = usize::from(positive);
            texts[label] += 1.0;
            for (column, _) in self.entries(at) {
                counts[label][column] += 1.0;
            }
        }
        let [negative, positive] = counts;
        let shift = (texts[0] + 1.0_f64).ln() - (texts[1] + 1.0_f64).ln();
        negative.iter().zip(&positive).map(|(n, p): (&f64, &f64)| (p / n).ln() + shift).collect()
    }
}

/// The regression over the rows, one weight per column. The unknowns of the search are `w / scale`.
struct Scaled<'a> {
    rows: &'a Rows,
    penalty: f64,
    /// One per column, and 1 for the constant.
    scales: Vec<f64>,
}

impl<'a> Scaled<'a> {
    fn new(rows: &'a Rows, penalty: f64) -> Self {
        let scales = rows.log_count_ratios().iter().map(|ratio| ratio.abs()).chain([1.0]).collect();
        Self { rows, penalty, scales }
    }

    /// Weights of the columns and the constant.
    fn solve(&self) -> Vec<f64> {
        self.times_scales(&minimum(self))
    }

    fn times_scales(&self, weights: &[f64]) -> Vec<f64> {
        weights.iter().zip(&self.scales).map(|(w, scale)| w * scale).collect()
    }
}

impl Regression for Scaled<'_> {
    fn features(&self) -> usize {
        self.rows.used.len()
    }

    fn c(&self) -> f64 {
        self.penalty
    }

    fn labels(&self) -> impl Iterator<Item = bool> {
        self.rows.positive.iter().copied()
    }

    fn forward(&self, weights: &[f64]) -> Vec<f64> {
        let weights = self.times_scales(weights);
        let bias = weights[self.features()];
        let row = |at| self.rows.entries(at).map(|(column, value)| value * weights[column]).sum::<f64>() + bias;
        (0..self.rows.spans.len()).map(row).collect()
    }

    fn backward(&self, values: &[f64]) -> Vec<f64> {
        let constant = self.features();
        let mut sums = vec![0.0; constant + 1];
        for (at, &value) in values.iter().enumerate() {
            let value = self.penalty * value;
            for (column, entry) in self.rows.entries(at) {
                sums[column] += value * entry;
            }
            sums[constant] += value;
        }
        self.times_scales(&sums)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jtav_model::TextFrontEnd;
    use jtav_model::text::NgramBag;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Reference {
        buckets: usize,
        fit: Case,
    }

    #[derive(Deserialize)]
    struct Case {
        texts: Vec<String>,
        labels: Vec<bool>,
        penalty: f64,
        logits: Vec<f64>,
    }

    fn ngrams(texts: &[String]) -> Vec<Ngrams> {
        let front_end = TextFrontEnd::of_ngrams();
        texts.iter().map(|text| front_end.input(&[("body", text)]).unwrap().unwrap().ngrams).collect()
    }

    fn sentences(count: usize) -> (Vec<String>, Vec<bool>) {
        let text = |i: usize| {
            format!("{} day number {}", if i.is_multiple_of(2) { "lovely" } else { "awful" }, i * 7919 % 101)
        };
        ((0..count).map(text).collect(), (0..count).map(|i| i.is_multiple_of(2)).collect())
    }

    fn bag(fitted: FittedBag) -> NgramBag {
        NgramBag::new(fitted.weight, fitted.idf, fitted.bias).unwrap()
    }

    /// `crates/model/tests/fixtures/ngram_bag.py` fits the same texts with scikit-learn.
    #[test]
    fn the_fit_is_scikit_learns() {
        let Reference { buckets, fit: case } =
            serde_json::from_str(include_str!("../../model/tests/fixtures/ngram_bag.json")).unwrap();
        let ngrams = ngrams(&case.texts);
        let examples: Vec<(&Ngrams, bool)> = ngrams.iter().zip(case.labels).collect();
        let fitted = bag(fit(&examples, buckets, case.penalty, 2).unwrap());
        for (at, (text, expected)) in ngrams.iter().zip(&case.logits).enumerate() {
            let found = f64::from(fitted.logit(text));
            assert!((found - expected).abs() < 2e-3, "text {at}: {found}, scikit-learn says {expected}");
        }
    }

    #[test]
    fn a_text_that_was_not_fitted_is_judged_by_the_words_that_tell_labels_apart() {
        let (texts, labels) = sentences(100);
        let seen = ngrams(&texts[..60]);
        let examples: Vec<(&Ngrams, bool)> = seen.iter().zip(labels.iter().copied()).collect();
        let fitted = bag(fit(&examples, 4096, 5.0, 1).unwrap());
        for (text, positive) in ngrams(&texts[60..]).iter().zip(&labels[60..]) {
            assert_eq!(fitted.logit(text) > 0.0, *positive);
        }
    }

    #[test]
    fn an_ngram_that_too_few_texts_hold_is_not_counted() {
        let (texts, labels) = sentences(20);
        let ngrams = ngrams(&texts);
        let examples: Vec<(&Ngrams, bool)> = ngrams.iter().zip(labels).collect();
        let counted = |least| fit(&examples, 4096, 5.0, least).unwrap().idf.iter().filter(|&&idf| idf > 0.0).count();
        assert!(counted(21) == 0 && counted(20) > 0 && counted(2) < counted(1), "{} {}", counted(20), counted(2));
    }

    #[test]
    fn one_label_is_refused() {
        let (texts, _) = sentences(4);
        let ngrams = ngrams(&texts);
        let examples: Vec<(&Ngrams, bool)> = ngrams.iter().map(|n| (n, true)).collect();
        assert!(fit(&examples, 64, 1.0, 1).unwrap_err().to_string().contains("4 of 4 are positive"));
        assert!(fit(&[], 64, 1.0, 1).is_err());
    }
}
