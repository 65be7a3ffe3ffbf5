//! Logistic regression over a few hundred dense rows in f64, with two labels and with several, as scikit-learn's
//! `LogisticRegression` states it: `C sum(loss) + |w|^2 / 2`, the constants free of penalty. Two labels go to the solver of
//! [`logistic`](crate::logistic); several have one of their own, since their weights bend each other. What is fitted on
//! rows by the ten thousand, borrowed and in f32, is in [`dense`](crate::dense).

use crate::logistic::{Regression, minimum};

/// Most Newton steps; ten or so are enough.
const MAX_STEPS: usize = 60;
/// Smallest gradient, as a share of the first one, that is still descended.
const GRADIENT_TOLERANCE: f64 = 1e-9;

/// `weights . row + bias`.
#[derive(Debug, Clone, PartialEq)]
pub struct Linear {
    /// One per value of a row.
    pub weights: Vec<f64>,
    /// The constant.
    pub bias: f64,
}

impl Linear {
    pub fn logit(&self, row: &[f64]) -> f64 {
        dot(&self.weights, row) + self.bias
    }
}

/// Fits rows of equal length with two labels. Where all labels are one, nothing can be told apart: all weights and the
/// constant are 0.
pub fn fit(rows: &[Vec<f64>], positive: &[bool], c: f64) -> Linear {
    let width = rows.first().map_or(0, Vec::len);
    if positive.iter().all(|&label| label) || !positive.iter().any(|&label| label) {
        return Linear { weights: vec![0.0; width], bias: 0.0 };
    }
    let mut weights = minimum(&Binary { rows, positive, c, width });
    let bias = weights.pop().unwrap_or(0.0);
    Linear { weights, bias }
}

struct Binary<'a> {
    rows: &'a [Vec<f64>],
    positive: &'a [bool],
    c: f64,
    width: usize,
}

impl Regression for Binary<'_> {
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
        self.rows.iter().map(|row| dot(row, weights) + weights[self.width]).collect()
    }

    fn backward(&self, values: &[f64]) -> Vec<f64> {
        let mut gradient = vec![0.0; self.width + 1];
        for (row, value) in self.rows.iter().zip(values) {
            add_scaled(&mut gradient[..self.width], self.c * value, row);
            gradient[self.width] += self.c * value;
        }
        gradient
    }
}

/// Fits rows of equal length with labels below `classes`: the logits of a softmax, one [`Linear`] per class. All are 0 where
/// fewer than two labels occur.
pub fn fit_softmax(rows: &[Vec<f64>], labels: &[usize], classes: usize, c: f64) -> Vec<Linear> {
    let width = rows.first().map_or(0, Vec::len);
    let several = labels.iter().any(|label| Some(label) != labels.first());
    let problem = Softmax { rows, labels, classes, c, width };
    let weights = if several { problem.minimum() } else { problem.zeros() };
    let linear = |row: &[f64]| Linear { weights: row[..width].to_vec(), bias: row[width] };
    weights.chunks_exact(width + 1).map(linear).collect()
}

/// Weights are `[classes, width + 1]`, row-major, the constants last. Newton's method, each step by conjugate gradients
/// (Nocedal and Wright 2006, algorithm 7.1). The loss does not change when every class gains the same constant, but no
/// gradient points that way either, so that the constants stay where they began, around 0.
struct Softmax<'a> {
    rows: &'a [Vec<f64>],
    labels: &'a [usize],
    classes: usize,
    c: f64,
    width: usize,
}

impl Softmax<'_> {
    fn zeros(&self) -> Vec<f64> {
        vec![0.0; self.classes * (self.width + 1)]
    }

    fn minimum(&self) -> Vec<f64> {
        let mut weights = self.zeros();
        let mut first = None;
        for _ in 0..MAX_STEPS {
            let shares = self.shares(&weights);
            let gradient = self.gradient(&weights, &shares);
            let size = dot(&gradient, &gradient).sqrt();
            let start = *first.get_or_insert(size);
            if size <= GRADIENT_TOLERANCE * start {
                break;
            }
            let step = self.newton_step(&gradient, &shares, (size / start).sqrt().min(0.1));
            let Some(moved) = self.line_search(&weights, &gradient, &step) else { break };
            weights = moved;
        }
        weights
    }

    /// The probabilities of the classes for each row, `[rows][classes]`.
    fn shares(&self, weights: &[f64]) -> Vec<Vec<f64>> {
        self.rows.iter().map(|row| softmax(self.logits(row, weights))).collect()
    }

    fn logits(&self, row: &[f64], weights: &[f64]) -> Vec<f64> {
        weights.chunks_exact(self.width + 1).map(|of_class| dot(of_class, row) + of_class[self.width]).collect()
    }

    fn objective(&self, weights: &[f64]) -> f64 {
        let loss = |(row, &label): (&Vec<f64>, &usize)| {
            let logits = self.logits(row, weights);
            let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = logits.iter().map(|logit| (logit - most).exp()).sum();
            most + sum.ln() - logits.get(label).copied().unwrap_or(0.0)
        };
        let losses: f64 = self.rows.iter().zip(self.labels).map(loss).sum();
        let penalty: f64 =
            weights.chunks_exact(self.width + 1).map(|row| dot(&row[..self.width], &row[..self.width])).sum();
        self.c * losses + penalty / 2.0
    }

    fn gradient(&self, weights: &[f64], shares: &[Vec<f64>]) -> Vec<f64> {
        let errors = shares.iter().zip(self.labels).map(|(shares, &label)| {
            shares.iter().enumerate().map(|(class, share)| share - f64::from(u8::from(class == label))).collect()
        });
        self.through(errors, weights)
    }

    /// The second derivative times `direction`.
    fn bend(&self, direction: &[f64], shares: &[Vec<f64>]) -> Vec<f64> {
        let changes = self.rows.iter().zip(shares).map(|(row, shares)| {
            let changes = self.logits(row, direction);
            let mean = dot(shares, &changes);
            shares.iter().zip(changes).map(|(share, change)| share * (change - mean)).collect()
        });
        self.through(changes, direction)
    }

    /// `C X' values`, with the penalty's share of `weights`.
    fn through(&self, values: impl Iterator<Item = Vec<f64>>, weights: &[f64]) -> Vec<f64> {
        let mut sums = self.zeros();
        for (row, values) in self.rows.iter().zip(values) {
            for (sums, value) in sums.chunks_exact_mut(self.width + 1).zip(values) {
                add_scaled(&mut sums[..self.width], self.c * value, row);
                sums[self.width] += self.c * value;
            }
        }
        for (sums, weights) in sums.chunks_exact_mut(self.width + 1).zip(weights.chunks_exact(self.width + 1)) {
            add_scaled(&mut sums[..self.width], 1.0, &weights[..self.width]);
        }
        sums
    }

    /// Solves `H step = -gradient` until the residual has shrunk by `accuracy`.
    fn newton_step(&self, gradient: &[f64], shares: &[Vec<f64>], accuracy: f64) -> Vec<f64> {
        let mut step = self.zeros();
        let mut residual: Vec<f64> = gradient.iter().map(|g| -g).collect();
        let mut direction = residual.clone();
        let mut square = dot(&residual, &residual);
        let enough = accuracy.powi(2) * square;
        for _ in 0..2 * step.len() {
            if square <= enough {
                break;
            }
            let product = self.bend(&direction, shares);
            let bend = dot(&direction, &product);
            if bend <= 0.0 {
                break;
            }
            let length = square / bend;
            add_scaled(&mut step, length, &direction);
            add_scaled(&mut residual, -length, &product);
            let next = dot(&residual, &residual);
            direction.iter_mut().zip(&residual).for_each(|(d, r)| *d = r + next / square * *d);
            square = next;
        }
        step
    }

    /// The first point along the step, halved each time, that lowers the objective; `None` when rounding hides every gain.
    fn line_search(&self, weights: &[f64], gradient: &[f64], step: &[f64]) -> Option<Vec<f64>> {
        let (before, slope) = (self.objective(weights), dot(gradient, step));
        let rounding = 1e-13 * before.abs();
        let mut scale = 1.0;
        while scale > 1e-10 {
            let mut moved = weights.to_vec();
            add_scaled(&mut moved, scale, step);
            if self.objective(&moved) <= before + 1e-4 * scale * slope + rounding {
                return Some(moved);
            }
            scale /= 2.0;
        }
        None
    }
}

fn softmax(logits: Vec<f64>) -> Vec<f64> {
    let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let shares: Vec<f64> = logits.iter().map(|logit| (logit - most).exp()).collect();
    let sum: f64 = shares.iter().sum();
    shares.iter().map(|share| share / sum).collect()
}

/// Over the shorter of both. Four sums side by side: one alone waits for each addition.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let length = a.len().min(b.len());
    let (a, a_rest) = a[..length].as_chunks::<4>();
    let (b, b_rest) = b[..length].as_chunks::<4>();
    let mut sums = [0.0; 4];
    for (a, b) in a.iter().zip(b) {
        (0..4).for_each(|lane| sums[lane] += a[lane] * b[lane]);
    }
    sums.iter().sum::<f64>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f64>()
}

fn add_scaled(sums: &mut [f64], scale: f64, values: &[f64]) {
    sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += scale * value);
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    /// From `tests/fixtures/logistic_regression.py`.
    #[derive(Deserialize)]
    struct Reference {
        rows: Vec<Vec<f64>>,
        labels: Vec<usize>,
        fits: Vec<Fit>,
    }

    #[derive(Deserialize)]
    struct Fit {
        c: f64,
        weights: Vec<Vec<f64>>,
        biases: Vec<f64>,
    }

    fn assert_alike(found: &[Linear], expected: &Fit) {
        assert_eq!(found.len(), expected.weights.len());
        for (found, (weights, bias)) in found.iter().zip(expected.weights.iter().zip(&expected.biases)) {
            assert!((found.bias - bias).abs() < 1e-5, "{} {bias}", found.bias);
            for (a, b) in found.weights.iter().zip(weights) {
                assert!((a - b).abs() < 1e-5, "{a} {b}");
            }
        }
    }

    #[test]
    fn two_and_three_classes_have_the_weights_of_scikit_learn() {
        let reference: Reference =
            serde_json::from_str(include_str!("../tests/fixtures/logistic_regression.json")).unwrap();
        let positive: Vec<bool> = reference.labels.iter().map(|&label| label == 1).collect();
        for expected in &reference.fits {
            match expected.weights.len() {
                1 => assert_alike(&[fit(&reference.rows, &positive, expected.c)], expected),
                classes => {
                    assert_alike(&fit_softmax(&reference.rows, &reference.labels, classes, expected.c), expected);
                }
            }
        }
    }

    #[test]
    fn one_label_and_no_rows_say_nothing() {
        let rows = vec![vec![1.0, 2.0], vec![3.0, 4.0]];
        assert_eq!(fit(&rows, &[true, true], 1.0), Linear { weights: vec![0.0; 2], bias: 0.0 });
        assert!(fit_softmax(&rows, &[2, 2], 4, 1.0).iter().all(|class| class.logit(&rows[0]) == 0.0));
        assert_eq!(fit(&[], &[], 1.0), Linear { weights: vec![], bias: 0.0 });
        assert_eq!(fit_softmax(&[], &[], 4, 1.0).len(), 4);
    }
}
