//! Figures for a binary classifier, with the conventions of scikit-learn (docs/networks.md, "Scoring"; ADR 43).
//!
//! Pure functions of scores and labels. `auc` ranks the scores; `auc_hard` is what the paper calls AUC: the area
//! under the one-point curve of thresholded predictions, which is balanced accuracy.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::items::Items;

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

/// The calibration error that 95 of 100 samples stay below where these very probabilities are exactly right: what an error
/// is to be held against, since that of a finite sample is never 0.
///
/// As [`calibration_quantile_of_items`] with an item for each probability.
pub fn calibration_quantile(probabilities: &[f64], resamples: usize, seed: u64) -> f64 {
    let items: Vec<usize> = (0..probabilities.len()).collect();
    calibration_quantile_of_items(probabilities, &items, resamples, seed)
}

/// The same for posts of which some share an item (a text, a clip, a picture) and so succeed or fail together. In each of
/// `resamples` samples as many items are drawn, with replacement, as there are; each draw has one uniform number, and
/// those of its posts are positive whose probability is above it. Every post is then positive as often as its probability
/// says, and posts of one item are as dependent as they can be.
///
/// `items` names the item of each probability. NaN without a probability or a resample, for another number of items, and
/// where a value is no probability. Equal seeds give equal quantiles.
pub fn calibration_quantile_of_items(probabilities: &[f64], items: &[usize], resamples: usize, seed: u64) -> f64 {
    let is_whole = probabilities.len() == items.len() && probabilities.iter().all(|p| (0.0..=1.0).contains(p));
    if probabilities.is_empty() || resamples == 0 || !is_whole {
        return f64::NAN;
    }
    let mut posts_of: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for (&item, &probability) in items.iter().zip(probabilities) {
        posts_of.entry(item).or_default().push(probability);
    }
    let posts_of: Vec<Vec<f64>> = posts_of.into_values().collect();
    let mut random = StdRng::seed_from_u64(seed);
    let mut sample = || {
        let mut bins = [ReliabilityBin::default(); CALIBRATION_BINS];
        for _ in 0..posts_of.len() {
            let posts = &posts_of[random.random_range(0..posts_of.len())];
            let luck: f64 = random.random();
            for &probability in posts {
                bins[bin_of(probability)].add(probability, luck < probability);
            }
        }
        bins.iter().map(ReliabilityBin::gap).sum::<f64>() / bins.iter().map(|bin| bin.n).sum::<usize>() as f64
    };
    let mut errors: Vec<f64> = (0..resamples).map(|_| sample()).collect();
    errors.sort_by(f64::total_cmp);
    errors[((resamples - 1) as f64 * 0.95).round() as usize]
}

/// The same for posts of several parts, each of which they may share with others. The posts are as they are and their luck
/// alone is drawn, `resamples` times: in equal parts that of each of their items, so that posts which share some go together
/// in part and posts which share all wholly (a Gaussian copula). Items are not drawn again beside it: one that is drawn twice
/// would bring its luck twice, and the error would be larger than that of such a split.
///
/// None without a probability or a resample, for items of another number, and where a value is no probability.
pub fn calibration_quantile_of_parts(probabilities: &[f64], items: &Items, resamples: usize, seed: u64) -> Option<f64> {
    let is_whole = probabilities.len() == items.examples() && probabilities.iter().all(|p| (0.0..=1.0).contains(p));
    if probabilities.is_empty() || !is_whole {
        return None;
    }
    let mut random = StdRng::seed_from_u64(seed);
    let mut error = || {
        let luck = items.luck(&mut random);
        let labels: Vec<bool> = luck.iter().zip(probabilities).map(|(luck, probability)| luck < probability).collect();
        expected_calibration_error(probabilities, &labels)
    };
    let mut errors: Vec<f64> = (0..resamples).map(|_| error()).collect();
    errors.sort_by(f64::total_cmp);
    errors.get((errors.len().checked_sub(1)? as f64 * 0.95).round() as usize).copied()
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
    fn add(&mut self, score: f64, positive: bool) {
        self.n += 1;
        self.score_sum += score;
        self.positives += usize::from(positive);
    }

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
        bins[bin_of(score)].add(score, label);
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

    /// Uneven probabilities, as a sharp model has them.
    fn sharp(n: usize) -> Vec<f64> {
        (0..n).map(|i| 1.0 / (1.0 + (-4.0 * (i as f64 * 0.7).sin()).exp())).collect()
    }

    #[test]
    fn a_calibrated_model_stays_below_the_quantile_in_ninety_five_of_a_hundred_samples() {
        let scores = sharp(300);
        let quantile = calibration_quantile(&scores, 2000, 1);
        let mut random = StdRng::seed_from_u64(2);
        let mut error = |shift: f64| {
            let labels: Vec<bool> =
                scores.iter().map(|&p| random.random_bool((p + shift * (1.0 - p)).clamp(0.0, 1.0))).collect();
            expected_calibration_error(&scores, &labels)
        };
        let below = (0..1000).filter(|_| error(0.0) <= quantile).count();
        assert!((930..=970).contains(&below), "{below}");
        let of_an_other = (0..200).filter(|_| error(0.3) <= quantile).count();
        assert!(of_an_other < 20, "a model that says too little is told from one that is right: {of_an_other}");
    }

    #[test]
    fn posts_that_share_items_err_more_by_chance() {
        let scores = sharp(300);
        let alone = calibration_quantile(&scores, 500, 1);
        let shared: Vec<usize> = (0..300).map(|at| at / 10).collect();
        let together = calibration_quantile_of_items(&scores, &shared, 500, 1);
        assert!(together > 1.1 * alone, "{together} {alone}");
        // Ten copies of a post are one post.
        let copies: Vec<f64> = sharp(30).into_iter().flat_map(|p| [p; 10]).collect();
        let of_copies = calibration_quantile_of_items(&copies, &shared, 500, 1);
        assert!((of_copies - calibration_quantile(&sharp(30), 500, 1)).abs() < 1e-9, "{of_copies}");
        // Four times the posts, half the error.
        let more = calibration_quantile(&sharp(1200), 500, 1);
        assert!((alone / more - 2.0).abs() < 0.4, "{alone} {more}");
        assert_eq!(calibration_quantile(&scores, 500, 1), alone);
    }

    #[test]
    fn luck_that_is_shared_in_part_makes_less_error_than_luck_that_is_shared_whole_and_more_than_none() {
        let scores = sharp(300);
        let names = |of: &dyn Fn(usize) -> usize| (0..300).map(|at| Some(of(at).to_string())).collect::<Vec<_>>();
        let quantile = |kinds| calibration_quantile_of_parts(&scores, &Items::of_kinds(kinds), 1000, 1).unwrap();
        let (texts, clips) = (names(&|at| at), names(&|at| at / 10));
        let [alone, partly, wholly] = [vec![texts.clone()], vec![texts, clips.clone()], vec![clips]].map(quantile);
        assert!((alone / calibration_quantile(&scores, 1000, 1) - 1.0).abs() < 0.05, "{alone}");
        let shared: Vec<usize> = (0..300).map(|at| at / 10).collect();
        assert!((wholly / calibration_quantile_of_items(&scores, &shared, 1000, 1) - 1.0).abs() < 0.1, "{wholly}");
        assert!(alone < partly && 1.05 * partly < wholly, "{alone} {partly} {wholly}");
        assert_eq!(calibration_quantile_of_parts(&scores, &Items::apart(3), 10, 1), None);
        assert_eq!(calibration_quantile_of_parts(&scores, &Items::apart(300), 0, 1), None);
        assert_eq!(calibration_quantile_of_parts(&[f64::NAN], &Items::apart(1), 10, 1), None);
    }

    #[test]
    fn a_calibrated_model_stays_below_the_quantile_of_parts_in_ninety_five_of_a_hundred_splits() {
        let scores = sharp(300);
        let names = |of: &dyn Fn(usize) -> usize| (0..300).map(|at| Some(of(at).to_string())).collect::<Vec<_>>();
        let items = Items::of_kinds(vec![names(&|at| at), names(&|at| at % 40), names(&|at| at / 12)]);
        let quantile = calibration_quantile_of_parts(&scores, &items, 2000, 1).unwrap();
        let mut random = StdRng::seed_from_u64(2);
        let below = (0..1000).filter(|_| {
            let labels: Vec<bool> = items.luck(&mut random).iter().zip(&scores).map(|(luck, p)| luck < p).collect();
            expected_calibration_error(&scores, &labels) <= quantile
        });
        let below = below.count();
        assert!((930..=970).contains(&below), "{below}");
    }

    #[test]
    fn certainties_have_no_error_and_no_probability_has_no_quantile() {
        assert_eq!(calibration_quantile(&[0.0, 1.0, 1.0], 20, 1), 0.0);
        for nan in [
            calibration_quantile(&[], 20, 1),
            calibration_quantile(&[0.5], 0, 1),
            calibration_quantile(&[0.5, f64::NAN], 20, 1),
            calibration_quantile(&[1.5], 20, 1),
            calibration_quantile_of_items(&[0.5], &[1, 2], 20, 1),
        ] {
            assert!(nan.is_nan());
        }
    }
}
