//! Fitting of the bag of n-grams: logistic regression over sparse rows.
//!
//! Each feature is scaled by the size of its log-count ratio first (Wang and Manning 2012), so that the penalty falls
//! lightly on n-grams that tell the labels apart and heavily on those that both have. The scales go into the table and
//! cost nothing later.
//!
//! The penalty is the only choice in it. Gradient steps through libtorch would need hundreds of passes to come as near.

use jtav_model::text::{buckets, for_each_feature};
use jtav_model::{ModelError, Ngrams};

use crate::logistic::{Regression, minimum};

/// Tables of a fitted bag.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FittedBag {
    pub weight: Vec<f32>,
    pub idf: Vec<f32>,
    pub bias: f32,
    /// Logits of words and of pieces for every example, from a bag that was fitted without it.
    pub held_out: Vec<[f32; 2]>,
}

/// Parts that the examples are dealt into; each is judged by a bag of the others.
const FOLDS: usize = 5;
/// Neighbours in the file often come from one document, so they are dealt together.
const BLOCK: usize = 16;

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
    let all: Vec<usize> = (0..examples.len()).collect();
    let whole = Scaled::new(&rows, &all, penalty).solve();
    let mut held_out = vec![[0.0; 2]; examples.len()];
    for fold in 0..FOLDS {
        let (judged, others): (Vec<usize>, Vec<usize>) = all.iter().partition(|&&at| at / BLOCK % FOLDS == fold);
        if judged.is_empty() || others.is_empty() {
            continue;
        }
        let fitted = Scaled::new(&rows, &others, penalty).solve();
        for at in judged {
            held_out[at] = rows.logits(at, &fitted);
        }
    }
    let mut weight = vec![0.0; table];
    for (&bucket, &value) in rows.used.iter().zip(&whole) {
        weight[bucket] = value as f32;
    }
    let bias = whole.last().copied().unwrap_or(0.0) as f32;
    Ok(FittedBag { weight, idf, bias, held_out })
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
    /// Where the words of each example begin, where its pieces begin, and where the next example does.
    starts: Vec<[usize; 3]>,
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
        let mut rows = Self { used, starts: Vec::new(), columns: Vec::new(), values: Vec::new(), positive: Vec::new() };
        for (ngrams, positive) in examples {
            let mut starts = [rows.columns.len(); 3];
            for (group, end) in [&ngrams.words, &ngrams.pieces].into_iter().zip(1..) {
                for_each_feature(group, idf, |bucket, value, _| {
                    rows.columns.push(column_of[bucket]);
                    rows.values.push(value);
                });
                starts[end] = rows.columns.len();
            }
            rows.starts.push(starts);
            rows.positive.push(*positive);
        }
        rows
    }

    /// Sum over entries `from..to`.
    fn dot(&self, from: usize, to: usize, weights: &[f64]) -> f64 {
        let entries = self.columns[from..to].iter().zip(&self.values[from..to]);
        entries.map(|(&column, &value)| f64::from(value) * weights[column as usize]).sum()
    }

    /// For each column, the logarithm of the share of the positive texts that hold it over that of the negative ones,
    /// one text added to each count.
    fn log_count_ratios(&self, examples: &[usize]) -> Vec<f64> {
        let (mut counts, mut texts) = ([vec![1.0; self.used.len()], vec![1.0; self.used.len()]], [0.0; 2]);
        for &at in examples {
            let label = usize::from(self.positive[at]);
            texts[label] += 1.0;
            for &column in &self.columns[self.starts[at][0]..self.starts[at][2]] {
                counts[label][column as usize] += 1.0;
            }
        }
        let [negative, positive] = counts;
        let shift = (texts[0] + 1.0_f64).ln() - (texts[1] + 1.0_f64).ln();
        negative.iter().zip(&positive).map(|(n, p): (&f64, &f64)| (p / n).ln() + shift).collect()
    }

    /// Logits of words (with the constant, which follows the columns) and of pieces.
    fn logits(&self, at: usize, weights: &[f64]) -> [f32; 2] {
        let [words, pieces, end] = self.starts[at];
        let bias = weights.last().copied().unwrap_or(0.0);
        [(self.dot(words, pieces, weights) + bias) as f32, self.dot(pieces, end, weights) as f32]
    }
}

/// The regression over some of the examples, one weight per column. The unknowns of the search are `w / scale`.
struct Scaled<'a> {
    rows: &'a Rows,
    examples: &'a [usize],
    penalty: f64,
    /// One per column, and 1 for the constant.
    scales: Vec<f64>,
}

impl<'a> Scaled<'a> {
    fn new(rows: &'a Rows, examples: &'a [usize], penalty: f64) -> Self {
        let scales = rows.log_count_ratios(examples).iter().map(|ratio| ratio.abs()).chain([1.0]).collect();
        Self { rows, examples, penalty, scales }
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
        self.examples.iter().map(|&at| self.rows.positive[at])
    }

    fn forward(&self, weights: &[f64]) -> Vec<f64> {
        let weights = self.times_scales(weights);
        let bias = weights[self.features()];
        let row = |&at: &usize| self.rows.dot(self.rows.starts[at][0], self.rows.starts[at][2], &weights) + bias;
        self.examples.iter().map(row).collect()
    }

    fn backward(&self, values: &[f64]) -> Vec<f64> {
        let constant = self.features();
        let mut sums = vec![0.0; constant + 1];
        for (&at, &value) in self.examples.iter().zip(values) {
            let value = self.penalty * value;
            let [from, _, to] = self.rows.starts[at];
            for (&column, &entry) in self.rows.columns[from..to].iter().zip(&self.rows.values[from..to]) {
                sums[column as usize] += value * f64::from(entry);
            }
            sums[constant] += value;
        }
        self.times_scales(&sums)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jtav_model::{TextInput, Tokenizer, Vocabulary, VocabularyConfig};
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
        let vocabulary = Vocabulary::build(std::iter::empty::<Vec<String>>(), VocabularyConfig::default());
        let input = |text: &String| TextInput::from_parts(&Tokenizer::new(), &vocabulary, &[("body", text)]);
        texts.iter().map(|text| input(text).unwrap().ngrams).collect()
    }

    fn sentences(count: usize) -> (Vec<String>, Vec<bool>) {
        let text = |i: usize| {
            format!("{} day number {}", if i.is_multiple_of(2) { "lovely" } else { "awful" }, i * 7919 % 101)
        };
        ((0..count).map(text).collect(), (0..count).map(|i| i.is_multiple_of(2)).collect())
    }

    fn as_rows(examples: &[(&Ngrams, bool)], fitted: &FittedBag) -> (Rows, Vec<f64>) {
        let rows = Rows::new(examples, &fitted.idf);
        let weights = rows.used.iter().map(|&bucket| f64::from(fitted.weight[bucket]));
        let weights = weights.chain([f64::from(fitted.bias)]).collect();
        (rows, weights)
    }

    /// `crates/model/tests/fixtures/ngram_bag.py` fits the same texts with scikit-learn.
    #[test]
    fn the_fit_is_scikit_learns() {
        let Reference { buckets, fit: case } =
            serde_json::from_str(include_str!("../../model/tests/fixtures/ngram_bag.json")).unwrap();
        let ngrams = ngrams(&case.texts);
        let examples: Vec<(&Ngrams, bool)> = ngrams.iter().zip(case.labels).collect();
        let fitted = fit(&examples, buckets, case.penalty, 2).unwrap();
        let (rows, weights) = as_rows(&examples, &fitted);
        for (at, expected) in case.logits.iter().enumerate() {
            let found: f64 = rows.logits(at, &weights).iter().map(|&logit| f64::from(logit)).sum();
            assert!((found - expected).abs() < 2e-3, "text {at}: {found}, scikit-learn says {expected}");
        }
    }

    /// A word that only one text has says everything about that text, but not to a bag that never saw it.
    #[test]
    fn an_example_is_judged_by_bags_that_did_not_see_it() {
        let texts: Vec<String> = (0..160).map(|i| format!("w{}x w{}y", i * 7, i * 11)).collect();
        let labels: Vec<bool> = (0..160).map(|i: usize| (i * 2_654_435_761 / 64).is_multiple_of(2)).collect();
        let ngrams = ngrams(&texts);
        let examples: Vec<(&Ngrams, bool)> = ngrams.iter().zip(labels.iter().copied()).collect();
        let fitted = fit(&examples, 1 << 14, 100.0, 1).unwrap();
        let right = |logits: &[f32]| logits.iter().zip(&labels).filter(|(l, p)| (**l > 0.0) == **p).count();
        let held_out: Vec<f32> = fitted.held_out.iter().map(|parts| parts.iter().sum()).collect();
        let (rows, weights) = as_rows(&examples, &fitted);
        let seen: Vec<f32> = (0..160).map(|at| rows.logits(at, &weights).iter().sum()).collect();
        assert!(right(&seen) > 150, "{} of 160 are learned by heart", right(&seen));
        assert!(right(&held_out) < 110, "{} of 160 noise labels are guessed", right(&held_out));
    }

    #[test]
    fn held_out_logits_follow_the_label_where_it_can_be_learned() {
        let (texts, labels) = sentences(100);
        let ngrams = ngrams(&texts);
        let examples: Vec<(&Ngrams, bool)> = ngrams.iter().zip(labels).collect();
        let fitted = fit(&examples, 4096, 5.0, 1).unwrap();
        for ((_, positive), parts) in examples.iter().zip(&fitted.held_out) {
            assert_eq!(parts.iter().sum::<f32>() > 0.0, *positive);
        }
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
