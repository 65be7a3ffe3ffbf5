//! Logistic regression on standardised features. The rows are kept as they are and standardised on the way through.

use jtav_training::logistic::{Regression, dot, minimum};

use super::error::ClassicalError;

/// A fitted logistic regression, scikit-learn's by its objective:
/// `C sum(log loss) + |w|^2 / 2` over features that are standardised by the training rows, the intercept unpenalised.
#[derive(Debug, Clone, PartialEq)]
pub struct LogisticRegression {
    scaling: Scaling,
    coefficients: Vec<f64>,
    intercept: f64,
}

/// Mean and standard deviation of each feature; a deviation of 1 for a feature that never changes.
#[derive(Debug, Clone, PartialEq)]
struct Scaling {
    means: Vec<f64>,
    deviations: Vec<f64>,
}

impl LogisticRegression {
    /// Fits on rows of equal width. `c` is the inverse weight of the penalty in units of one row's loss
    /// (scikit-learn's `C`; 1 in docs/networks.md, "Heads").
    ///
    /// # Errors
    /// Lengths and widths that do not fit, a value or `c` that is not finite, `c` not above 0, only one label.
    pub fn fit(rows: &[Vec<f32>], labels: &[bool], c: f64) -> Result<Self, ClassicalError> {
        check(rows, labels, c)?;
        let scaling = Scaling::of(rows);
        let problem = Problem { rows, labels, c, scaling: &scaling };
        let mut coefficients = minimum(&problem);
        let intercept = coefficients.pop().unwrap_or_default();
        Ok(Self { scaling, coefficients, intercept })
    }

    /// Log-odds of the positive label. NaN for a row that is not as wide as the training rows, which no metric takes
    /// for a score.
    pub fn logit(&self, row: &[f32]) -> f64 {
        if row.len() != self.coefficients.len() {
            return f64::NAN;
        }
        let standardised = self.scaling.means.iter().zip(&self.scaling.deviations).zip(row);
        let terms = standardised.zip(&self.coefficients);
        self.intercept + terms.map(|(((mean, deviation), &x), w)| (f64::from(x) - mean) / deviation * w).sum::<f64>()
    }

    /// [`logit`](Self::logit) of each row.
    pub fn logits(&self, rows: &[Vec<f32>]) -> Vec<f64> {
        rows.iter().map(|row| self.logit(row)).collect()
    }

    /// One per standardised feature.
    pub fn coefficients(&self) -> &[f64] {
        &self.coefficients
    }

    /// Log-odds at the mean of the training rows.
    pub fn intercept(&self) -> f64 {
        self.intercept
    }
}

fn check(rows: &[Vec<f32>], labels: &[bool], c: f64) -> Result<(), ClassicalError> {
    if rows.len() != labels.len() || rows.is_empty() {
        return Err(ClassicalError::Lengths { rows: rows.len(), labels: labels.len() });
    }
    if !(c > 0.0 && c.is_finite()) {
        return Err(ClassicalError::Setting { name: "C", value: c, expected: "a finite number above 0" });
    }
    let expected = rows[0].len().max(1);
    for (at, row) in rows.iter().enumerate() {
        if row.len() != expected {
            return Err(ClassicalError::Width { row: at, found: row.len(), expected });
        }
        if let Some(feature) = row.iter().position(|value| !value.is_finite()) {
            return Err(ClassicalError::NotFinite { row: at, feature });
        }
    }
    let positive = labels.iter().filter(|&&label| label).count();
    if positive == 0 || positive == labels.len() {
        return Err(ClassicalError::OneLabel { positive, all: labels.len() });
    }
    Ok(())
}

impl Scaling {
    fn of(rows: &[Vec<f32>]) -> Self {
        let n = rows.len() as f64;
        let first: Vec<f64> = rows[0].iter().map(|&x| f64::from(x)).collect();
        let mut sums = vec![0.0; first.len()];
        let mut squares = vec![0.0; first.len()];
        // Differences to the first row: those of a feature that never changes are exactly 0.
        for row in rows {
            for ((sum, &x), origin) in sums.iter_mut().zip(row).zip(&first) {
                *sum += f64::from(x) - origin;
            }
        }
        let means: Vec<f64> = sums.iter().zip(&first).map(|(sum, origin)| origin + sum / n).collect();
        for row in rows {
            for ((square, &x), mean) in squares.iter_mut().zip(row).zip(&means) {
                *square += (f64::from(x) - mean).powi(2);
            }
        }
        let deviations = squares.iter().map(|&square| if square > 0.0 { (square / n).sqrt() } else { 1.0 });
        Self { deviations: deviations.collect(), means }
    }
}

/// The objective over the coefficients, with the intercept after them.
struct Problem<'a> {
    rows: &'a [Vec<f32>],
    labels: &'a [bool],
    c: f64,
    scaling: &'a Scaling,
}

impl Regression for Problem<'_> {
    fn features(&self) -> usize {
        self.scaling.means.len()
    }

    fn c(&self) -> f64 {
        self.c
    }

    fn labels(&self) -> impl Iterator<Item = bool> {
        self.labels.iter().copied()
    }

    fn forward(&self, weights: &[f64]) -> Vec<f64> {
        let scaled: Vec<f64> = weights.iter().zip(&self.scaling.deviations).map(|(w, d)| w / d).collect();
        let shift = weights[scaled.len()] - dot(&scaled, &self.scaling.means);
        self.rows.iter().map(|row| product(row, &scaled) + shift).collect()
    }

    fn backward(&self, values: &[f64]) -> Vec<f64> {
        let mut sums = vec![0.0; self.scaling.means.len()];
        for (row, value) in self.rows.iter().zip(values) {
            for (sum, &x) in sums.iter_mut().zip(row) {
                *sum += f64::from(x) * value;
            }
        }
        let total: f64 = values.iter().sum();
        let features = sums.iter().zip(&self.scaling.means).zip(&self.scaling.deviations);
        let mut sums: Vec<f64> =
            features.map(|((sum, mean), deviation)| self.c * (sum - mean * total) / deviation).collect();
        sums.push(self.c * total);
        sums
    }
}

/// Eight sums side by side, so that the loop runs on vector registers; nearly all of the time goes by in here.
fn product(row: &[f32], weights: &[f64]) -> f64 {
    let (row_blocks, weight_blocks) = (row.chunks_exact(8), weights.chunks_exact(8));
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

#[cfg(test)]
mod tests {
    use super::*;
    use jtav_training::logistic::sigmoid;
    use proptest::prelude::*;

    fn examples() -> impl Strategy<Value = (Vec<Vec<f32>>, Vec<bool>)> {
        let row = prop::collection::vec(-3.0_f32..3.0, 3);
        prop::collection::vec((row, any::<bool>()), 4..40)
            .prop_map(|examples| examples.into_iter().unzip())
            .prop_filter("both labels", |(_, labels): &(Vec<Vec<f32>>, Vec<bool>)| {
                labels.contains(&true) && labels.contains(&false)
            })
    }

    fn assert_same(a: &LogisticRegression, b: &LogisticRegression) {
        for (a, b) in a.coefficients.iter().chain([&a.intercept]).zip(b.coefficients.iter().chain([&b.intercept])) {
            assert!((a - b).abs() < 1e-6, "{a} against {b}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_row_twice_at_half_the_c_is_the_same_model((rows, labels) in examples(), c in 0.05..5.0) {
            let once = LogisticRegression::fit(&rows, &labels, c).unwrap();
            let twice = LogisticRegression::fit(&[&rows[..], &rows].concat(), &[&labels[..], &labels].concat(), c / 2.0);
            assert_same(&once, &twice.unwrap());
        }

        #[test]
        fn other_units_and_origins_of_a_feature_change_nothing((rows, labels) in examples()) {
            let moved: Vec<Vec<f32>> = rows.iter().map(|r| vec![4.0 * r[0], r[1] + 2.0, r[2]]).collect();
            let a = LogisticRegression::fit(&rows, &labels, 1.0).unwrap();
            let b = LogisticRegression::fit(&moved, &labels, 1.0).unwrap();
            for (row, moved) in rows.iter().zip(&moved) {
                prop_assert!((a.logit(row) - b.logit(moved)).abs() < 1e-4);
            }
        }

        #[test]
        fn swapped_labels_swap_the_sign((rows, labels) in examples()) {
            let swapped: Vec<bool> = labels.iter().map(|label| !label).collect();
            let a = LogisticRegression::fit(&rows, &labels, 1.0).unwrap();
            let b = LogisticRegression::fit(&rows, &swapped, 1.0).unwrap();
            for row in &rows {
                prop_assert!((a.logit(row) + b.logit(row)).abs() < 1e-6);
            }
        }

        /// At the optimum the intercept's derivative is 0: the mean probability is the share of positive rows.
        #[test]
        fn the_mean_probability_is_the_base_rate((rows, labels) in examples()) {
            let fitted = LogisticRegression::fit(&rows, &labels, 1.0).unwrap();
            let mean = fitted.logits(&rows).into_iter().map(sigmoid).sum::<f64>() / rows.len() as f64;
            let base = labels.iter().filter(|&&l| l).count() as f64 / rows.len() as f64;
            prop_assert!((mean - base).abs() < 1e-6);
        }
    }

    #[test]
    fn a_feature_that_never_changes_has_no_weight() {
        let rows: Vec<Vec<f32>> = (0..20).map(|i| vec![0.1, i as f32]).collect();
        let labels: Vec<bool> = (0..20).map(|i| i > 9).collect();
        let fitted = LogisticRegression::fit(&rows, &labels, 1.0).unwrap();
        assert!(fitted.coefficients()[0].abs() < 1e-12, "rounding alone");
        assert!(fitted.coefficients()[1] > 1.0);
    }

    #[test]
    fn separable_rows_and_a_huge_c_end_in_finite_weights() {
        let rows: Vec<Vec<f32>> = (0..40).map(|i| vec![i as f32, -(i as f32)]).collect();
        let labels: Vec<bool> = (0..40).map(|i| i > 19).collect();
        let fitted = LogisticRegression::fit(&rows, &labels, 1e6).unwrap();
        assert!(
            fitted
                .logits(&rows)
                .iter()
                .zip(&labels)
                .all(|(logit, &label)| logit.is_finite() && (*logit > 0.0) == label)
        );
    }

    #[test]
    fn what_cannot_be_fitted_is_refused() {
        let fit = |rows: &[Vec<f32>], labels: &[bool], c| LogisticRegression::fit(rows, labels, c).unwrap_err();
        assert!(matches!(fit(&[], &[], 1.0), ClassicalError::Lengths { .. }));
        assert!(matches!(fit(&[vec![1.0]], &[], 1.0), ClassicalError::Lengths { rows: 1, labels: 0 }));
        assert!(matches!(fit(&[vec![], vec![]], &[true, false], 1.0), ClassicalError::Width { row: 0, found: 0, .. }));
        assert!(matches!(fit(&[vec![1.0], vec![]], &[true, false], 1.0), ClassicalError::Width { row: 1, .. }));
        assert!(matches!(fit(&[vec![f32::NAN]], &[true], 1.0), ClassicalError::NotFinite { row: 0, feature: 0 }));
        assert!(matches!(fit(&[vec![1.0]], &[true], 1.0), ClassicalError::OneLabel { positive: 1, all: 1 }));
        assert!(matches!(fit(&[vec![1.0]], &[true], 0.0), ClassicalError::Setting { .. }));
        let two = LogisticRegression::fit(&[vec![1.0], vec![2.0]], &[true, false], 1.0).unwrap();
        assert!(two.logit(&[1.0, 2.0]).is_nan());
    }
}
