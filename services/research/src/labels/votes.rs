//! Two logistic regressions on the raters' votes: positive against negative, and neutral against both.

use jtav_training::logistic::{Regression, minimum};

use super::model::three_way;
use super::rated::RatedText;

/// Feature rows, however they are kept.
pub trait FeatureRows {
    /// Number of features.
    fn columns(&self) -> usize;

    /// `sum(x w)` of a row.
    fn dot(&self, row: usize, weights: &[f64]) -> f64;

    /// Adds `value * x` of a row to the sums.
    fn add(&self, row: usize, value: f64, sums: &mut [f64]);
}

/// A text whose mean rating is nearer to 0 says little about polarity.
const LEAST_MEAN: f64 = 0.2;

/// The fitted pair.
#[derive(Debug, Clone, PartialEq)]
pub struct VoteRegression {
    /// One weight per feature and the constant.
    polarity: Vec<f64>,
    neutral: Vec<f64>,
}

impl VoteRegression {
    /// Fits on the rows, one per text; each text stands for its shares of the votes. `c` is scikit-learn's `C`.
    pub fn fit(rows: &impl FeatureRows, texts: &[&RatedText], c: f64) -> Self {
        let shares: Vec<[f64; 3]> = texts.iter().map(|text| text.shares()).collect();
        let with_polarity: Vec<usize> = (0..texts.len()).filter(|&at| texts[at].mean.abs() > LEAST_MEAN).collect();
        let poles = with_polarity.iter().map(|&at| [shares[at][0], shares[at][2]]).collect();
        let polarity = minimum(&Shares { rows, examples: with_polarity, weights: poles, c });
        let all = (0..texts.len()).collect();
        let neutral = shares.iter().map(|share| [1.0 - share[1], share[1]]).collect();
        let neutral = minimum(&Shares { rows, examples: all, weights: neutral, c });
        Self { polarity, neutral }
    }

    /// Probabilities of negative, neutral and positive: that of neutral is the second regression's, what is left is divided
    /// by the first.
    pub fn probabilities(&self, rows: &impl FeatureRows, row: usize) -> [f64; 3] {
        let logit = |weights: &[f64]| match weights.split_last() {
            Some((constant, weights)) => rows.dot(row, weights) + constant,
            None => 0.0,
        };
        let (s, u) = (logit(&self.polarity), logit(&self.neutral));
        // ln(2 cosh(s / 2)), the logarithm of what the two poles have together.
        let poles = (s / 2.0).abs() + (-s.abs()).exp().ln_1p();
        three_way(s, u + poles)
    }
}

/// Every example twice, once with each label, weighted by the share of its votes: first all with the negative label.
struct Shares<'a, R> {
    rows: &'a R,
    examples: Vec<usize>,
    weights: Vec<[f64; 2]>,
    c: f64,
}

impl<R: FeatureRows> Regression for Shares<'_, R> {
    fn features(&self) -> usize {
        self.rows.columns()
    }

    fn c(&self) -> f64 {
        self.c
    }

    fn labels(&self) -> impl Iterator<Item = bool> {
        let n = self.examples.len();
        (0..2 * n).map(move |at| at >= n)
    }

    fn weight(&self, example: usize) -> f64 {
        let n = self.examples.len();
        self.weights[example % n][example / n]
    }

    fn forward(&self, weights: &[f64]) -> Vec<f64> {
        let (weights, constant) = (&weights[..self.features()], weights[self.features()]);
        let once: Vec<f64> = self.examples.iter().map(|&row| self.rows.dot(row, weights) + constant).collect();
        [&once[..], &once].concat()
    }

    fn backward(&self, values: &[f64]) -> Vec<f64> {
        let mut sums = vec![0.0; self.features() + 1];
        let (negative, positive) = values.split_at(self.examples.len());
        for ((&row, a), b) in self.examples.iter().zip(negative).zip(positive) {
            let value = self.c * (a + b);
            self.rows.add(row, value, &mut sums);
            sums[self.rows.columns()] += value;
        }
        sums
    }
}

/// Rows of equal width, standardised by those that the regression is fitted on.
#[derive(Debug, Clone, PartialEq)]
pub struct DenseRows {
    width: usize,
    values: Vec<f32>,
}

/// Mean and deviation of each feature.
#[derive(Debug, Clone, PartialEq)]
pub struct Scaling {
    means: Vec<f64>,
    deviations: Vec<f64>,
}

impl Scaling {
    /// Of these rows. A deviation has a thousandth added, so that a feature that hardly moves does not become large.
    pub fn of(rows: &[Vec<f32>]) -> Self {
        let width = rows.first().map_or(0, Vec::len);
        let n = rows.len().max(1) as f64;
        let mut means = vec![0.0; width];
        for row in rows {
            means.iter_mut().zip(row).for_each(|(mean, &x)| *mean += f64::from(x) / n);
        }
        let mut squares = vec![0.0; width];
        for row in rows {
            let features = squares.iter_mut().zip(row).zip(&means);
            features.for_each(|((square, &x), mean)| *square += (f64::from(x) - mean).powi(2) / n);
        }
        Self { means, deviations: squares.into_iter().map(|square| square.sqrt() + 1e-3).collect() }
    }

    /// The rows in these units.
    pub fn apply(&self, rows: &[Vec<f32>]) -> DenseRows {
        let scaled = |row: &Vec<f32>| {
            let features = row.iter().zip(&self.means).zip(&self.deviations);
            features.map(|((&x, mean), deviation)| ((f64::from(x) - mean) / deviation) as f32).collect::<Vec<f32>>()
        };
        DenseRows { width: self.means.len(), values: rows.iter().flat_map(scaled).collect() }
    }
}

impl DenseRows {
    fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.width..(row + 1) * self.width]
    }
}

impl FeatureRows for DenseRows {
    fn columns(&self) -> usize {
        self.width
    }

    /// Eight sums side by side, so that the loop runs on vector registers.
    fn dot(&self, row: usize, weights: &[f64]) -> f64 {
        let (row_blocks, weight_blocks) = (self.row(row).chunks_exact(8), weights.chunks_exact(8));
        let tail = row_blocks.remainder().iter().zip(weight_blocks.remainder());
        let tail: f64 = tail.map(|(&x, w)| f64::from(x) * w).sum();
        let mut sums = [0.0; 8];
        for (row, weights) in row_blocks.zip(weight_blocks) {
            for ((sum, &x), w) in sums.iter_mut().zip(row).zip(weights) {
                *sum += f64::from(x) * w;
            }
        }
        sums.iter().sum::<f64>() + tail
    }

    fn add(&self, row: usize, value: f64, sums: &mut [f64]) {
        sums.iter_mut().zip(self.row(row)).for_each(|(sum, &x)| *sum += value * f64::from(x));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Reference {
        rows: Vec<Vec<f32>>,
        votes: Vec<[u32; 3]>,
        means: Vec<f64>,
        c: f64,
        probabilities: Vec<[f64; 3]>,
    }

    #[test]
    fn two_regressions_on_votes_are_those_of_scikit_learn() {
        let reference: Reference =
            serde_json::from_str(include_str!("../../tests/fixtures/label_rivals/votes.json")).unwrap();
        let texts: Vec<RatedText> = reference
            .votes
            .iter()
            .zip(&reference.means)
            .map(|(votes, &mean)| RatedText {
                id: String::new(),
                group: String::new(),
                text: String::new(),
                mean,
                negative: votes[0],
                zero: votes[1],
                positive: votes[2],
            })
            .collect();
        let texts: Vec<&RatedText> = texts.iter().collect();
        let rows = Scaling::of(&reference.rows).apply(&reference.rows);
        let fitted = VoteRegression::fit(&rows, &texts, reference.c);
        for (at, expected) in reference.probabilities.iter().enumerate() {
            let found = fitted.probabilities(&rows, at);
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-4), "{at}: {found:?} {expected:?}");
        }
    }
}
