//! Fitting of the bag of n-grams: logistic regression with an L2 penalty, solved to the optimum in plain arithmetic.
//!
//! Each feature is scaled by the size of its log-count ratio first (Wang and Manning 2012), so that the penalty falls
//! lightly on n-grams that tell the labels apart and heavily on those that both have. The scales go into the table and
//! cost nothing later.
//!
//! It is convex, so no step size, no order of examples and no early stopping enter it, and the penalty is the only
//! choice. Gradient steps through libtorch would need hundreds of passes to come as near.

use crate::ModelError;
use crate::text::{Ngrams, buckets, for_each_feature};

/// Tables of a fitted bag.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct FittedBag {
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
pub(super) fn fit(
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
    let whole = Regression::new(&rows, &all, penalty).solve();
    let mut held_out = vec![[0.0; 2]; examples.len()];
    for fold in 0..FOLDS {
        let (judged, others): (Vec<usize>, Vec<usize>) = all.iter().partition(|&&at| at / BLOCK % FOLDS == fold);
        if judged.is_empty() || others.is_empty() {
            continue;
        }
        let fitted = Regression::new(&rows, &others, penalty).solve();
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
    targets: Vec<f64>,
}

impl Rows {
    fn new(examples: &[(&Ngrams, bool)], idf: &[f32]) -> Self {
        let used: Vec<usize> = (0..idf.len()).filter(|&bucket| idf[bucket] > 0.0).collect();
        let mut column_of = vec![0_u32; idf.len()];
        for (column, &bucket) in (0..).zip(&used) {
            column_of[bucket] = column;
        }
        let mut rows = Self { used, starts: Vec::new(), columns: Vec::new(), values: Vec::new(), targets: Vec::new() };
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
            rows.targets.push(f64::from(u8::from(*positive)));
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
            let label = usize::from(self.targets[at] > 0.5);
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

/// `min |w / scale|^2 / 2 + C sum(log loss)` over one weight per column and a constant without a penalty.
struct Regression<'a> {
    rows: &'a Rows,
    examples: &'a [usize],
    penalty: f64,
    /// One per column, and 1 for the constant. The unknowns of the search are `w / scale`.
    scales: Vec<f64>,
}

impl<'a> Regression<'a> {
    fn new(rows: &'a Rows, examples: &'a [usize], penalty: f64) -> Self {
        let scales = rows.log_count_ratios(examples).iter().map(|ratio| ratio.abs()).chain([1.0]).collect();
        Self { rows, examples, penalty, scales }
    }

    /// Newton's method, each step by conjugate gradients (Lin, Weng and Keerthi 2008, with a line search in place of
    /// the trust region). Stops when the gradient has shrunk by 1e-4, far below what f16 keeps of the weights.
    fn solve(&self) -> Vec<f64> {
        let unscaled = self.minimum();
        unscaled.iter().zip(&self.scales).map(|(w, scale)| w * scale).collect()
    }

    fn minimum(&self) -> Vec<f64> {
        let mut weights = vec![0.0; self.rows.used.len() + 1];
        let mut least = f64::INFINITY;
        for _ in 0..40 {
            let logits = self.forward(&weights);
            let errors: Vec<f64> = self.pair(&logits, |logit, target| sigmoid(logit) - target);
            let gradient = self.with_penalty(self.backward(&errors), &weights);
            let size = norm(&gradient);
            least = least.min(1e-4 * size);
            if size <= least {
                break;
            }
            let curvature: Vec<f64> = logits.iter().map(|&logit| sigmoid(logit) * sigmoid(-logit)).collect();
            let step = self.newton_step(&gradient, &curvature);
            let along = dot(&gradient, &step);
            let before = self.objective(&logits, &weights);
            let mut scale = 1.0;
            loop {
                let moved: Vec<f64> = weights.iter().zip(&step).map(|(w, s)| w + scale * s).collect();
                if self.objective(&self.forward(&moved), &moved) <= before + 1e-4 * scale * along || scale < 1e-8 {
                    weights = moved;
                    break;
                }
                scale /= 2.0;
            }
        }
        weights
    }

    /// Solves `H step = -gradient` to a tenth.
    fn newton_step(&self, gradient: &[f64], curvature: &[f64]) -> Vec<f64> {
        let mut step = vec![0.0; gradient.len()];
        let mut residual: Vec<f64> = gradient.iter().map(|g| -g).collect();
        let mut direction = residual.clone();
        let mut square = dot(&residual, &residual);
        let enough = 0.01 * square;
        for _ in 0..200 {
            if square <= enough {
                break;
            }
            let through: Vec<f64> = self.forward(&direction).iter().zip(curvature).map(|(a, b)| a * b).collect();
            let product = self.with_penalty(self.backward(&through), &direction);
            let length = square / dot(&direction, &product);
            for ((s, r), (d, p)) in step.iter_mut().zip(&mut residual).zip(direction.iter().zip(&product)) {
                *s += length * d;
                *r -= length * p;
            }
            let next = dot(&residual, &residual);
            for (d, r) in direction.iter_mut().zip(&residual) {
                *d = r + next / square * *d;
            }
            square = next;
        }
        step
    }

    /// `X w + b` over this regression's examples.
    fn forward(&self, unscaled: &[f64]) -> Vec<f64> {
        let weights: Vec<f64> = unscaled.iter().zip(&self.scales).map(|(w, scale)| w * scale).collect();
        let bias = weights[self.rows.used.len()];
        let row = |&at: &usize| self.rows.dot(self.rows.starts[at][0], self.rows.starts[at][2], &weights) + bias;
        self.examples.iter().map(row).collect()
    }

    /// `C X' values`, scaled, and their sum for the constant.
    fn backward(&self, values: &[f64]) -> Vec<f64> {
        let constant = self.rows.used.len();
        let mut sums = vec![0.0; constant + 1];
        for (&at, &value) in self.examples.iter().zip(values) {
            let value = self.penalty * value;
            let [from, _, to] = self.rows.starts[at];
            for (&column, &entry) in self.rows.columns[from..to].iter().zip(&self.rows.values[from..to]) {
                sums[column as usize] += value * f64::from(entry);
            }
            sums[constant] += value;
        }
        for (sum, scale) in sums.iter_mut().zip(&self.scales) {
            *sum *= scale;
        }
        sums
    }

    /// Adds the penalty's share, which the constant is free of.
    fn with_penalty(&self, mut sums: Vec<f64>, weights: &[f64]) -> Vec<f64> {
        for (sum, weight) in sums.iter_mut().zip(&weights[..self.rows.used.len()]) {
            *sum += weight;
        }
        sums
    }

    fn objective(&self, logits: &[f64], weights: &[f64]) -> f64 {
        let loss: f64 = self.pair(logits, |logit, target| softplus(logit) - target * logit).iter().sum();
        let penalised = &weights[..self.rows.used.len()];
        self.penalty * loss + 0.5 * dot(penalised, penalised)
    }

    fn pair(&self, logits: &[f64], of: impl Fn(f64, f64) -> f64) -> Vec<f64> {
        logits.iter().zip(self.examples).map(|(&logit, &at)| of(logit, self.rows.targets[at])).collect()
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}

fn sigmoid(logit: f64) -> f64 {
    1.0 / (1.0 + (-logit).exp())
}

/// `ln(1 + exp(x))` without overflow.
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{TextInput, Tokenizer, Vocabulary, VocabularyConfig};
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

    /// `tests/fixtures/ngram_bag.py` fits the same texts with scikit-learn.
    #[test]
    fn the_fit_is_scikit_learns() {
        let Reference { buckets, fit: case } =
            serde_json::from_str(include_str!("../../tests/fixtures/ngram_bag.json")).unwrap();
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
