//! Logistic regression over dense rows, and what is fitted out of fold with it.

use crate::logistic::{Regression, minimum};

/// Rows with their labels; every row counts alike.
pub struct DenseRows<'a> {
    rows: Vec<&'a [f32]>,
    positive: Vec<bool>,
    width: usize,
    c: f64,
}

impl<'a> DenseRows<'a> {
    /// `rows` of `width` values each, no less; `c` as in scikit-learn: the penalty is `|w|^2 / 2` beside `c` times the sum of
    /// the rows' losses.
    pub fn new(rows: Vec<&'a [f32]>, positive: Vec<bool>, width: usize, c: f64) -> Self {
        Self { rows, positive, width, c }
    }

    /// The weights of least loss, the constant last.
    pub fn solve(&self) -> Vec<f64> {
        minimum(self)
    }
}

impl Regression for DenseRows<'_> {
    fn features(&self) -> usize {
        self.width
    }

    fn c(&self) -> f64 {
        self.c
    }

    fn labels(&self) -> impl Iterator<Item = bool> {
        self.positive.iter().copied()
    }

    fn forward(&self, weights: &[f64]) -> Vec<f64> {
        self.rows.iter().map(|row| logit(row, weights)).collect()
    }

    fn backward(&self, values: &[f64]) -> Vec<f64> {
        let mut gradient = vec![0.0; self.width + 1];
        let (weights, constant) = gradient.split_at_mut(self.width);
        for (row, value) in self.rows.iter().zip(values) {
            let value = self.c * value;
            for (sum, &x) in weights.iter_mut().zip(*row) {
                *sum += value * f64::from(x);
            }
            constant[0] += value;
        }
        gradient
    }
}

/// Sums that run side by side: one alone waits for each addition.
const LANES: usize = 8;

/// `w . row + b`, the constant last in `weights`.
pub fn logit(row: &[f32], weights: &[f64]) -> f64 {
    let mut sums = [0.0; LANES];
    let (rows, weights_of) = (row.chunks_exact(LANES), weights.chunks_exact(LANES));
    let rest = row.len() - rows.remainder().len();
    for (row, weights) in rows.zip(weights_of) {
        for ((sum, &x), w) in sums.iter_mut().zip(row).zip(weights) {
            *sum += f64::from(x) * w;
        }
    }
    let rest: f64 = row.iter().zip(weights).skip(rest).map(|(&x, w)| f64::from(x) * w).sum();
    sums.iter().sum::<f64>() + rest + weights.get(row.len()).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    /// From `tests/fixtures/logistic.py`.
    #[derive(Deserialize)]
    struct Reference {
        rows: Vec<Vec<f32>>,
        positive: Vec<bool>,
        fits: Vec<Fit>,
    }

    #[derive(Deserialize)]
    struct Fit {
        c: f64,
        views: usize,
        weights: Vec<f64>,
    }

    #[test]
    fn weights_are_those_of_scikit_learn() {
        let reference: Reference = serde_json::from_str(include_str!("../tests/fixtures/logistic.json")).unwrap();
        let width = reference.rows[0].len();
        for Fit { c, views, weights } in reference.fits {
            // As many rows of the same picture as it has views, each with its share of the weight.
            let rows = reference.rows.iter().flat_map(|row| std::iter::repeat_n(row.as_slice(), views)).collect();
            let positive = reference.positive.iter().flat_map(|&label| std::iter::repeat_n(label, views)).collect();
            let found = DenseRows::new(rows, positive, width, c / views as f64).solve();
            for (found, expected) in found.iter().zip(&weights) {
                assert!((found - expected).abs() < 1e-6 * expected.abs().max(1.0), "C {c}: {found} {expected}");
            }
        }
    }

    #[test]
    fn a_logit_is_the_sum_of_its_products_whatever_the_width() {
        for width in 0..20 {
            let row: Vec<f32> = (0..width).map(|at| (at as f32 * 1.3).sin()).collect();
            let weights: Vec<f64> = (0..=width).map(|at| (at as f64 * 0.7).cos()).collect();
            let expected: f64 = row.iter().zip(&weights).map(|(&x, w)| f64::from(x) * w).sum::<f64>() + weights[width];
            assert!((logit(&row, &weights) - expected).abs() < 1e-12);
        }
    }
}
