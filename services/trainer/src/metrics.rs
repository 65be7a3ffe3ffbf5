//! Figures for a binary classifier, with the conventions of scikit-learn (docs/networks.md, "Scoring"; ADR 43).
//!
//! Pure functions of scores and labels. `auc` ranks the scores; `auc_hard` is what the paper calls AUC: the area
//! under the one-point curve of thresholded predictions, which is balanced accuracy.

use serde::{Deserialize, Serialize};

/// Bins of the calibration error.
pub const CALIBRATION_BINS: usize = 15;

/// Why there are no figures.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum MetricsError {
    /// No example.
    #[error("there is no example to score")]
    Empty,
    /// Scores, labels and predictions do not belong together.
    #[error("{scores} scores, {labels} labels and {predictions} predictions")]
    Lengths { scores: usize, labels: usize, predictions: usize },
    /// Brier score and calibration error are defined for probabilities.
    #[error("score {index} is {value}, expected a probability")]
    NotAProbability {
        /// Position of the first such score.
        index: usize,
        value: f64,
    },
}

impl MetricsError {
    /// Never.
    pub fn is_retryable(&self) -> bool {
        false
    }
}

/// The figures of one set of predictions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Area under the ROC curve (Mann-Whitney, ties count half); null when one class is missing.
    pub auc: Option<f64>,
    /// Balanced accuracy of the predictions, the paper's "AUC"; null when one class is missing.
    pub auc_hard: Option<f64>,
    /// F1 of both classes, weighted by their support.
    pub f1_weighted: f64,
    /// Precision of both classes, weighted by their support.
    pub precision_weighted: f64,
    /// Share of right predictions.
    pub accuracy: f64,
    /// Accuracy of always predicting the more frequent class of these very labels.
    pub majority: f64,
    /// Mean squared difference of score and label.
    pub brier: f64,
    /// Expected calibration error over [`CALIBRATION_BINS`] equal bins of the positive class's probability.
    pub ece: f64,
    /// Examples.
    pub n: usize,
}

impl Metrics {
    /// Figures of `scores` (probabilities of the positive class) with `predictions` made beforehand, as they are when
    /// each post has a threshold of its own. All three slices have the same length.
    pub fn of_predictions(scores: &[f64], labels: &[bool], predictions: &[bool]) -> Result<Self, MetricsError> {
        check(scores, labels, predictions)?;
        let n = labels.len() as f64;
        let mut table = Confusion::default();
        for (&label, &prediction) in labels.iter().zip(predictions) {
            table.add(label, prediction, 1);
        }
        let hard = table.figures();
        let squared = scores.iter().zip(labels).map(|(score, &label)| (score - f64::from(u8::from(label))).powi(2));
        Ok(Self {
            auc: auc(scores, labels),
            auc_hard: hard.auc,
            f1_weighted: hard.f1_weighted,
            precision_weighted: hard.precision_weighted,
            accuracy: hard.accuracy,
            majority: hard.majority,
            brier: squared.sum::<f64>() / n,
            ece: expected_calibration_error(scores, labels),
            n: labels.len(),
        })
    }

    /// Figures with one threshold for all: positive when `score >= threshold`.
    pub fn at_threshold(scores: &[f64], labels: &[bool], threshold: f64) -> Result<Self, MetricsError> {
        let predictions: Vec<bool> = scores.iter().map(|&score| score >= threshold).collect();
        Self::of_predictions(scores, labels, &predictions)
    }
}

fn check(scores: &[f64], labels: &[bool], predictions: &[bool]) -> Result<(), MetricsError> {
    if scores.len() != labels.len() || labels.len() != predictions.len() {
        return Err(MetricsError::Lengths {
            scores: scores.len(),
            labels: labels.len(),
            predictions: predictions.len(),
        });
    }
    if scores.is_empty() {
        return Err(MetricsError::Empty);
    }
    match scores.iter().position(|score| !(0.0..=1.0).contains(score)) {
        Some(index) => Err(MetricsError::NotAProbability { index, value: scores[index] }),
        None => Ok(()),
    }
}

/// What the figures of one class are made of.
struct ClassFigures {
    support: f64,
    predicted: f64,
    right: f64,
}

impl ClassFigures {
    fn precision(&self) -> f64 {
        ratio(self.right, self.predicted)
    }

    fn recall(&self) -> f64 {
        ratio(self.right, self.support)
    }

    fn f1(&self) -> f64 {
        ratio(2.0 * self.right, self.support + self.predicted)
    }
}

/// `zero_division = 0`.
fn ratio(part: f64, whole: f64) -> f64 {
    if whole == 0.0 { 0.0 } else { part / whole }
}

/// `[truth][prediction]`.
#[derive(Default)]
pub(crate) struct Confusion([[usize; 2]; 2]);

/// The figures of labels alone, whatever the scores behind them.
pub(crate) struct HardFigures {
    pub auc: Option<f64>,
    pub f1_weighted: f64,
    pub precision_weighted: f64,
    pub accuracy: f64,
    pub majority: f64,
}

impl Confusion {
    /// Counts one example `times` times.
    pub(crate) fn add(&mut self, label: bool, prediction: bool, times: usize) {
        self.0[usize::from(label)][usize::from(prediction)] += times;
    }

    pub(crate) fn figures(&self) -> HardFigures {
        let [negative, positive] = [self.class(false), self.class(true)];
        let n = negative.support + positive.support;
        let weighted = |value: fn(&ClassFigures) -> f64| {
            ratio(negative.support * value(&negative) + positive.support * value(&positive), n)
        };
        let both = negative.support > 0.0 && positive.support > 0.0;
        HardFigures {
            auc: both.then(|| (negative.recall() + positive.recall()) / 2.0),
            f1_weighted: weighted(ClassFigures::f1),
            precision_weighted: weighted(ClassFigures::precision),
            accuracy: ratio(negative.right + positive.right, n),
            majority: ratio(negative.support.max(positive.support), n),
        }
    }

    fn class(&self, positive: bool) -> ClassFigures {
        let (own, other) = (usize::from(positive), usize::from(!positive));
        ClassFigures {
            support: (self.0[own][own] + self.0[own][other]) as f64,
            predicted: (self.0[own][own] + self.0[other][own]) as f64,
            right: self.0[own][own] as f64,
        }
    }
}

/// Mann-Whitney U over its maximum: the chance that a positive outranks a negative, ties half. `None` when one class
/// is missing or a score is NaN.
pub fn auc(scores: &[f64], labels: &[bool]) -> Option<f64> {
    if scores.len() != labels.len() || scores.iter().any(|score| score.is_nan()) {
        return None;
    }
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    let positives = labels.iter().filter(|&&label| label).count() as f64;
    let negatives = labels.len() as f64 - positives;
    if positives == 0.0 || negatives == 0.0 {
        return None;
    }
    let mut rank_sum = 0.0;
    let mut first = 0;
    while first < order.len() {
        // -0.0 and 0.0 are one score, so the run is found by equality and not by the sort order.
        let tied = order[first..].iter().take_while(|&&i| scores[i] == scores[order[first]]).count();
        let mid_rank = first as f64 + (tied as f64 + 1.0) / 2.0;
        rank_sum += mid_rank * order[first..first + tied].iter().filter(|&&i| labels[i]).count() as f64;
        first += tied;
    }
    Some((rank_sum - positives * (positives + 1.0) / 2.0) / (positives * negatives))
}

/// Bins `[k/15, (k+1)/15)`, the last one closed; weighted mean of |mean score − share of positives|.
fn expected_calibration_error(scores: &[f64], labels: &[bool]) -> f64 {
    reliability(scores, labels).iter().map(ReliabilityBin::gap).sum::<f64>() / scores.len() as f64
}

/// One bin of a reliability plot.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ReliabilityBin {
    /// Examples in the bin.
    pub n: usize,
    /// Sum of their scores.
    pub score_sum: f64,
    /// How many of them are positive.
    pub positives: usize,
}

impl ReliabilityBin {
    /// What the bin adds to the calibration error, times the number of all examples.
    pub(crate) fn gap(&self) -> f64 {
        (self.score_sum - self.positives as f64).abs()
    }
}

/// Index of the bin of a probability.
pub(crate) fn bin_of(score: f64) -> usize {
    ((score * CALIBRATION_BINS as f64) as usize).min(CALIBRATION_BINS - 1)
}

/// Examples by the bin of their score; scores must be probabilities.
pub fn reliability(scores: &[f64], labels: &[bool]) -> [ReliabilityBin; CALIBRATION_BINS] {
    let mut bins = [ReliabilityBin::default(); CALIBRATION_BINS];
    for (&score, &label) in scores.iter().zip(labels) {
        let bin = &mut bins[bin_of(score)];
        bin.n += 1;
        bin.score_sum += score;
        bin.positives += usize::from(label);
    }
    bins
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cases() -> impl Strategy<Value = Vec<(f64, bool)>> {
        // Twelve levels, so that ties are the rule.
        prop::collection::vec(((0_u8..12).prop_map(|level| f64::from(level) / 11.0), any::<bool>()), 1..60)
    }

    fn auc_by_pairs(scores: &[f64], labels: &[bool]) -> Option<f64> {
        let (mut won, mut pairs) = (0.0, 0.0);
        for (a, &positive) in scores.iter().zip(labels) {
            for (b, &other) in scores.iter().zip(labels) {
                if positive && !other {
                    pairs += 1.0;
                    won += if a > b {
                        1.0
                    } else if a == b {
                        0.5
                    } else {
                        0.0
                    };
                }
            }
        }
        (pairs > 0.0).then(|| won / pairs)
    }

    proptest! {
        #[test]
        fn auc_is_the_share_of_pairs_in_order(examples in cases()) {
            let (scores, labels): (Vec<_>, Vec<_>) = examples.into_iter().unzip();
            match (auc(&scores, &labels), auc_by_pairs(&scores, &labels)) {
                (Some(a), Some(b)) => prop_assert!((a - b).abs() < 1e-12),
                (a, b) => prop_assert_eq!(a, b),
            }
        }

        #[test]
        fn reversing_the_scores_reverses_the_auc_and_every_figure_is_a_share(examples in cases()) {
            let (scores, labels): (Vec<_>, Vec<_>) = examples.into_iter().unzip();
            let reversed: Vec<f64> = scores.iter().map(|score| 1.0 - score).collect();
            if let (Some(a), Some(b)) = (auc(&scores, &labels), auc(&reversed, &labels)) {
                prop_assert!((a + b - 1.0).abs() < 1e-12);
            }
            let m = Metrics::at_threshold(&scores, &labels, 0.5).unwrap();
            for value in [m.f1_weighted, m.precision_weighted, m.accuracy, m.majority, m.brier, m.ece] {
                prop_assert!((0.0..=1.0).contains(&value), "{m:?}");
            }
        }

        #[test]
        fn the_hard_auc_is_the_auc_of_the_predictions(examples in cases(), threshold in 0.0..1.0) {
            let (scores, labels): (Vec<_>, Vec<_>) = examples.into_iter().unzip();
            let hard: Vec<f64> = scores.iter().map(|&s| f64::from(u8::from(s >= threshold))).collect();
            let metrics = Metrics::at_threshold(&scores, &labels, threshold).unwrap();
            match (metrics.auc_hard, auc(&hard, &labels)) {
                (Some(a), Some(b)) => prop_assert!((a - b).abs() < 1e-12),
                (a, b) => prop_assert_eq!(a, b),
            }
        }

        #[test]
        fn the_order_of_the_examples_does_not_matter(mut examples in cases()) {
            let of = |examples: &[(f64, bool)]| {
                let (scores, labels): (Vec<_>, Vec<_>) = examples.iter().copied().unzip();
                Metrics::at_threshold(&scores, &labels, 0.4).unwrap()
            };
            let before = of(&examples);
            examples.reverse();
            let after = of(&examples);
            prop_assert!((before.brier - after.brier).abs() < 1e-12 && (before.ece - after.ece).abs() < 1e-12);
            prop_assert_eq!(before.auc, after.auc);
            prop_assert_eq!(before.f1_weighted, after.f1_weighted);
        }
    }

    #[test]
    fn the_all_positive_row_of_the_paper_is_half_right_at_best() {
        let labels: Vec<bool> = (0..326).map(|i| i < 230).collect();
        let metrics = Metrics::at_threshold(&vec![0.9; 326], &labels, 0.7).unwrap();
        assert_eq!((metrics.auc, metrics.auc_hard), (Some(0.5), Some(0.5)));
        let rounded = [metrics.f1_weighted, metrics.precision_weighted, metrics.accuracy].map(|x| (x * 1000.0).round());
        assert_eq!(rounded, [584.0, 498.0, 706.0]);
    }

    #[test]
    fn one_class_has_no_auc_but_everything_else() {
        let metrics = Metrics::at_threshold(&[0.2, 0.8], &[true, true], 0.5).unwrap();
        assert_eq!((metrics.auc, metrics.auc_hard), (None, None));
        assert_eq!((metrics.accuracy, metrics.majority), (0.5, 1.0));
    }

    #[test]
    fn what_is_no_probability_is_refused() {
        let error = |scores: &[f64], labels: &[bool]| Metrics::at_threshold(scores, labels, 0.5).unwrap_err();
        assert_eq!(error(&[], &[]), MetricsError::Empty);
        assert!(matches!(error(&[0.5, f64::NAN], &[true, false]), MetricsError::NotAProbability { index: 1, .. }));
        assert!(matches!(error(&[1.5], &[true]), MetricsError::NotAProbability { index: 0, .. }));
        assert!(matches!(error(&[0.5], &[]), MetricsError::Lengths { .. }));
    }
}
