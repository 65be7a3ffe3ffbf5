//! How far a figure would move with another draw of items: percentile bootstrap (Efron & Tibshirani 1993, chapter 13). Posts
//! that share a text, a clip or a picture are no independent evidence, so what is drawn is [`Items`].
//!
//! A resample is a number of times per example, so nothing is copied or sorted again: with the order of the scores
//! found once, each resample costs one pass.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::items::Items;
use crate::metrics::{CALIBRATION_BINS, Confusion, ReliabilityBin, bin_of};

/// A percentile interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// 2.5 % of the resamples lie below.
    pub low: f64,
    /// 2.5 % of the resamples lie above.
    pub high: f64,
}

/// 95 % intervals of the figures of [`Metrics`](crate::metrics::Metrics); null where the figure itself is.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Intervals {
    pub auc: Option<Interval>,
    pub auc_hard: Option<Interval>,
    pub f1_weighted: Option<Interval>,
    pub precision_weighted: Option<Interval>,
    pub accuracy: Option<Interval>,
    pub brier: Option<Interval>,
    pub ece: Option<Interval>,
}

/// As [`intervals_of_items`], with an item for each example.
pub fn intervals(scores: &[f64], labels: &[bool], predictions: &[bool], resamples: usize, seed: u64) -> Intervals {
    intervals_of_items(scores, labels, predictions, &Items::apart(scores.len()), resamples, seed)
}

/// Draws `resamples` times as many items as there are, with replacement, and gives the middle 95 % of each figure.
///
/// The three slices have the same length as there are examples of `items`, and scores are probabilities, as `Metrics`
/// checks; with no example or no resample every interval is `None`. Resamples that lack a class have no AUC and do not
/// count for it. Equal seeds give equal intervals.
pub fn intervals_of_items(
    scores: &[f64],
    labels: &[bool],
    predictions: &[bool],
    items: &Items,
    resamples: usize,
    seed: u64,
) -> Intervals {
    let n = scores.len();
    if n == 0 || [labels.len(), predictions.len(), items.examples()] != [n; 3] {
        return Intervals::default();
    }
    let examples = Examples::new(scores, labels, predictions);
    let mut random = StdRng::seed_from_u64(seed);
    let mut times = Vec::new();
    let mut drawn = Drawn::default();
    for _ in 0..resamples {
        items.draw(&mut random, &mut times);
        // Of several kinds of items those drawn need not meet in any example.
        if times.iter().any(|&times| times > 0) {
            drawn.add(&examples, &times);
        }
    }
    drawn.intervals()
}

/// The same for the mean of `values`; `None` without a value or a resample.
pub fn mean_interval(values: &[f64], resamples: usize, seed: u64) -> Option<Interval> {
    let n = values.len();
    if n == 0 {
        return None;
    }
    let mut random = StdRng::seed_from_u64(seed);
    let mut mean = || (0..n).map(|_| values[random.random_range(0..n)]).sum::<f64>() / n as f64;
    middle((0..resamples).map(|_| mean()).collect())
}

struct Examples<'a> {
    scores: &'a [f64],
    labels: &'a [bool],
    predictions: &'a [bool],
    /// Lowest score first.
    order: Vec<usize>,
}

impl<'a> Examples<'a> {
    fn new(scores: &'a [f64], labels: &'a [bool], predictions: &'a [bool]) -> Self {
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
        Self { scores, labels, predictions, order }
    }

    /// Pairs of a positive and a negative that stand in order, ties half, over all pairs.
    fn auc(&self, times: &[usize]) -> Option<f64> {
        let (mut below, mut won, mut first) = (0.0, 0.0, 0);
        let (mut positives, mut negatives) = (0.0, 0.0);
        while let Some(&at) = self.order.get(first) {
            let (mut tied_positives, mut tied_negatives) = (0.0, 0.0);
            // -0.0 and 0.0 are one score, so the run is found by equality and not by the sort order.
            while let Some(&tied) = self.order.get(first).filter(|&&tied| self.scores[tied] == self.scores[at]) {
                let side = if self.labels[tied] { &mut tied_positives } else { &mut tied_negatives };
                *side += times[tied] as f64;
                first += 1;
            }
            won += tied_positives * (below + tied_negatives / 2.0);
            below += tied_negatives;
            positives += tied_positives;
            negatives += tied_negatives;
        }
        (positives > 0.0 && negatives > 0.0).then(|| won / (positives * negatives))
    }
}

/// The figures of each resample.
#[derive(Default)]
struct Drawn {
    auc: Vec<f64>,
    auc_hard: Vec<f64>,
    f1_weighted: Vec<f64>,
    precision_weighted: Vec<f64>,
    accuracy: Vec<f64>,
    brier: Vec<f64>,
    ece: Vec<f64>,
}

impl Drawn {
    fn add(&mut self, examples: &Examples, times: &[usize]) {
        let n = times.iter().sum::<usize>() as f64;
        let mut table = Confusion::default();
        let mut bins = [ReliabilityBin::default(); CALIBRATION_BINS];
        let mut squared = 0.0;
        for (at, &times) in times.iter().enumerate().filter(|(_, times)| **times > 0) {
            let (score, label) = (examples.scores[at], examples.labels[at]);
            table.add(label, examples.predictions[at], times);
            squared += times as f64 * (score - f64::from(u8::from(label))).powi(2);
            let bin = &mut bins[bin_of(score)];
            bin.score_sum += times as f64 * score;
            bin.positives += times * usize::from(label);
        }
        let hard = table.figures();
        self.auc.extend(examples.auc(times));
        self.auc_hard.extend(hard.auc);
        self.f1_weighted.push(hard.f1_weighted);
        self.precision_weighted.push(hard.precision_weighted);
        self.accuracy.push(hard.accuracy);
        self.brier.push(squared / n);
        self.ece.push(bins.iter().map(ReliabilityBin::gap).sum::<f64>() / n);
    }

    fn intervals(self) -> Intervals {
        Intervals {
            auc: middle(self.auc),
            auc_hard: middle(self.auc_hard),
            f1_weighted: middle(self.f1_weighted),
            precision_weighted: middle(self.precision_weighted),
            accuracy: middle(self.accuracy),
            brier: middle(self.brier),
            ece: middle(self.ece),
        }
    }
}

/// The middle 95 % of `values`.
pub fn middle(mut values: Vec<f64>) -> Option<Interval> {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values.get((share * (values.len().checked_sub(1)?) as f64).round() as usize).copied();
    Some(Interval { low: at(0.025)?, high: at(0.975)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use proptest::prelude::*;

    fn predictions(scores: &[f64]) -> Vec<bool> {
        scores.iter().map(|&score| score >= 0.5).collect()
    }

    /// Two hundred posts, two thirds positive, whose scores say so more often than not.
    fn posts() -> (Vec<f64>, Vec<bool>) {
        let labels: Vec<bool> = (0..200).map(|i| i % 3 != 0).collect();
        let scores =
            (0..200).map(|i| (f64::from(i * 37 % 101) + f64::from(u8::from(i % 3 != 0)) * 40.0) / 141.0).collect();
        (scores, labels)
    }

    #[test]
    fn every_interval_holds_its_estimate_and_repeats_with_its_seed() {
        let (scores, labels) = posts();
        let hard = predictions(&scores);
        let found = intervals(&scores, &labels, &hard, 400, 7);
        let estimate = Metrics::of_predictions(&scores, &labels, &hard).unwrap();
        for (name, interval, estimate) in [
            ("auc", found.auc, estimate.auc.unwrap()),
            ("auc_hard", found.auc_hard, estimate.auc_hard.unwrap()),
            ("f1_weighted", found.f1_weighted, estimate.f1_weighted),
            ("precision_weighted", found.precision_weighted, estimate.precision_weighted),
            ("accuracy", found.accuracy, estimate.accuracy),
            ("brier", found.brier, estimate.brier),
        ] {
            let interval = interval.unwrap();
            assert!(interval.low < estimate && estimate < interval.high, "{name}: {interval:?} {estimate}");
            assert!((0.01..0.3).contains(&(interval.high - interval.low)), "{name}: {interval:?}");
        }
        assert!(found.ece.is_some_and(|ece| ece.low > 0.0 && ece.high < 1.0));
        assert_eq!(intervals(&scores, &labels, &hard, 400, 7), found);
        assert_ne!(intervals(&scores, &labels, &hard, 400, 8), found);
    }

    /// For a share, the bootstrap's spread is that of the binomial distribution.
    #[test]
    fn the_interval_of_the_accuracy_is_as_wide_as_the_binomial_says() {
        let (scores, labels) = posts();
        let hard = predictions(&scores);
        let accuracy = Metrics::of_predictions(&scores, &labels, &hard).unwrap().accuracy;
        let interval = intervals(&scores, &labels, &hard, 4000, 3).accuracy.unwrap();
        let expected = 2.0 * 1.96 * (accuracy * (1.0 - accuracy) / 200.0).sqrt();
        assert!(((interval.high - interval.low) / expected - 1.0).abs() < 0.08, "{interval:?} {expected}");
    }

    /// The standard error of the mean of 0..99 is 28.87 / 10.
    #[test]
    fn the_interval_of_a_mean_is_as_wide_as_its_standard_error_says() {
        let values: Vec<f64> = (0..100).map(f64::from).collect();
        let interval = mean_interval(&values, 4000, 5).unwrap();
        assert!((interval.low - (49.5 - 1.96 * 2.887)).abs() < 0.3, "{interval:?}");
        assert!((interval.high - (49.5 + 1.96 * 2.887)).abs() < 0.3, "{interval:?}");
        assert_eq!(mean_interval(&values, 4000, 5), Some(interval));
        assert_eq!((mean_interval(&[], 10, 1), mean_interval(&[1.0], 0, 1)), (None, None));
    }

    #[test]
    fn one_class_has_no_interval_of_the_auc_and_no_example_none_at_all() {
        let found = intervals(&[0.2, 0.8], &[true, true], &[false, true], 50, 0);
        assert_eq!((found.auc, found.auc_hard), (None, None));
        assert!(found.accuracy.is_some() && found.brier.is_some());
        assert_eq!(intervals(&[], &[], &[], 50, 0), Intervals::default());
        assert_eq!(intervals(&[0.2], &[true], &[false], 0, 0), Intervals::default());
    }

    #[test]
    fn posts_that_share_an_item_are_no_more_than_one() {
        let (scores, labels) = posts();
        let fivefold = |values: &[f64]| values.iter().flat_map(|&value| [value; 5]).collect::<Vec<_>>();
        let scores_of_copies = fivefold(&scores);
        let labels_of_copies: Vec<bool> = labels.iter().flat_map(|&label| [label; 5]).collect();
        let names: Vec<String> = (0..1000).map(|at| (at / 5).to_string()).collect();
        let items = Items::of_names(names.iter().map(String::as_str));
        let hard = predictions(&scores_of_copies);
        let width = |of: Intervals| of.auc.map(|auc| auc.high - auc.low).unwrap();
        let copies = width(intervals_of_items(&scores_of_copies, &labels_of_copies, &hard, &items, 1000, 7));
        let alone = width(intervals(&scores, &labels, &predictions(&scores), 1000, 7));
        assert!((copies / alone - 1.0).abs() < 0.1, "{copies} {alone}");
        let of_posts = width(intervals(&scores_of_copies, &labels_of_copies, &hard, 1000, 7));
        assert!(of_posts < 0.6 * copies, "{of_posts} {copies}");
        let wrong = intervals_of_items(&scores, &labels, &predictions(&scores), &Items::apart(3), 10, 7);
        assert_eq!(wrong, Intervals::default());
    }

    proptest! {
        #[test]
        fn figures_of_a_resample_are_those_of_the_examples_written_out(
            drawn in prop::collection::vec(((0_u8..6).prop_map(|level| f64::from(level) / 5.0), any::<bool>(), 0_usize..4), 1..40),
        ) {
            let scores: Vec<f64> = drawn.iter().map(|example| example.0).collect();
            let labels: Vec<bool> = drawn.iter().map(|example| example.1).collect();
            let times: Vec<usize> = drawn.iter().map(|example| example.2).collect();
            prop_assume!(times.iter().sum::<usize>() > 0);
            let hard = predictions(&scores);
            let written: Vec<usize> = times.iter().enumerate().flat_map(|(at, &times)| vec![at; times]).collect();
            let of = |at: &usize| (scores[*at], labels[*at]);
            let (written_scores, written_labels): (Vec<f64>, Vec<bool>) = written.iter().map(of).unzip();
            let expected = Metrics::at_threshold(&written_scores, &written_labels, 0.5).unwrap();
            let mut found = Drawn::default();
            found.add(&Examples::new(&scores, &labels, &hard), &times);
            prop_assert_eq!(found.auc.is_empty(), expected.auc.is_none());
            for (found, expected) in [
                (found.auc.first(), expected.auc.unwrap_or_default()),
                (found.auc_hard.first(), expected.auc_hard.unwrap_or_default()),
                (found.f1_weighted.first(), expected.f1_weighted),
                (found.precision_weighted.first(), expected.precision_weighted),
                (found.accuracy.first(), expected.accuracy),
                (found.brier.first(), expected.brier),
                (found.ece.first(), expected.ece),
            ] {
                prop_assert!((found.copied().unwrap_or_default() - expected).abs() < 1e-12, "{:?} {}", found, expected);
            }
        }
    }
}
