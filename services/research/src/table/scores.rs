//! From logits to figures: thresholds by validation, folds pooled, mean and spread over seeds.

use jtav_trainer::metrics::{Metrics, auc};
use jtav_training::logistic::sigmoid;
use serde::Serialize;

use super::material::Fold;

/// The figures of one seed: every test post of every fold once.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SeedFigures {
    pub seed: u64,
    /// Over every test post; one with nothing that the row reads gets its fold's base rate (ADR 43).
    #[serde(flatten)]
    pub metrics: Metrics,
    /// AUC over the posts that have something.
    pub auc_present: Option<f64>,
    /// How many those are.
    pub n_present: usize,
    /// AUC over the validation posts, by which epochs were chosen.
    pub validation_auc: Option<f64>,
}

/// A mean over seeds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    pub mean: f64,
    /// Sample standard deviation; none of one seed.
    pub std: Option<f64>,
}

impl Spread {
    /// `None` of nothing.
    pub fn of(values: &[f64]) -> Option<Self> {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        (!values.is_empty()).then(|| Self { mean, std: (values.len() > 1).then(|| (squares / (n - 1.0)).sqrt()) })
    }
}

/// Scores one seed. `logits[fold]` holds one logit per post of the pack.
pub(super) fn score(
    seed: u64,
    logits: &[&[Option<f32>]],
    folds: &[Fold],
    labels: &[bool],
) -> anyhow::Result<SeedFigures> {
    let (mut scores, mut truth, mut predictions) = (Vec::new(), Vec::new(), Vec::new());
    let (mut present_scores, mut present_truth) = (Vec::new(), Vec::new());
    let (mut validation_scores, mut validation_truth) = (Vec::new(), Vec::new());
    for (fold, logits) in folds.iter().zip(logits) {
        let base_rate = fold.base_rate(labels);
        let probability = |&at: &usize| logits[at].map_or(base_rate, |logit| sigmoid(f64::from(logit)));
        let held: Vec<f64> = fold.validation.iter().map(probability).collect();
        let held_truth: Vec<bool> = fold.validation.iter().map(|&at| labels[at]).collect();
        let threshold = best_threshold(&held, &held_truth);
        for at in &fold.test {
            let score = probability(at);
            scores.push(score);
            truth.push(labels[*at]);
            predictions.push(score >= threshold);
            if logits[*at].is_some() {
                present_scores.push(score);
                present_truth.push(labels[*at]);
            }
        }
        validation_scores.extend(held);
        validation_truth.extend(held_truth);
    }
    Ok(SeedFigures {
        seed,
        metrics: Metrics::of_predictions(&scores, &truth, &predictions)?,
        auc_present: auc(&present_scores, &present_truth),
        n_present: present_scores.len(),
        validation_auc: auc(&validation_scores, &validation_truth),
    })
}

/// The threshold with the highest balanced accuracy, in the middle between two scores; of equals the one nearest to one
/// half. One half where one class is missing or all scores are equal.
fn best_threshold(scores: &[f64], labels: &[bool]) -> f64 {
    let mut examples: Vec<(f64, bool)> = scores.iter().copied().zip(labels.iter().copied()).collect();
    examples.sort_by(|a, b| a.0.total_cmp(&b.0));
    let positives = labels.iter().filter(|&&label| label).count() as f64;
    let negatives = labels.len() as f64 - positives;
    if positives == 0.0 || negatives == 0.0 {
        return 0.5;
    }
    // Below the threshold lie so many of each label.
    let (mut low_positives, mut low_negatives) = (0.0, 0.0);
    let (mut best, mut best_balanced) = (0.5, f64::NEG_INFINITY);
    for (index, &(score, label)) in examples.iter().enumerate() {
        if label {
            low_positives += 1.0;
        } else {
            low_negatives += 1.0;
        }
        let Some(&(next, _)) = examples.get(index + 1) else { break };
        if next == score {
            continue;
        }
        let middle = f64::midpoint(score, next);
        let balanced = ((positives - low_positives) / positives + low_negatives / negatives) / 2.0;
        let nearer = (middle - 0.5_f64).abs() < (best - 0.5_f64).abs();
        if balanced > best_balanced || (balanced == best_balanced && nearer) {
            (best, best_balanced) = (middle, balanced);
        }
    }
    // Where every cut is worse than guessing, calling everything positive is not.
    if best_balanced.is_finite() && best_balanced < 0.5 { 0.0 } else { best }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_threshold_lies_between_the_classes_and_half_stands_in_where_there_is_nothing_to_choose() {
        assert_eq!(best_threshold(&[0.1, 0.2, 0.6, 0.9], &[false, false, true, true]), 0.4);
        assert_eq!(best_threshold(&[0.3, 0.3], &[false, true]), 0.5);
        assert_eq!(best_threshold(&[0.3, 0.4], &[true, true]), 0.5);
        assert_eq!(best_threshold(&[], &[]), 0.5);
    }

    proptest! {
        #[test]
        fn no_other_cut_is_better_on_validation(
            examples in prop::collection::vec(((0_u8..20).prop_map(|level| f64::from(level) / 19.0), any::<bool>()), 2..40),
        ) {
            let (scores, labels): (Vec<f64>, Vec<bool>) = examples.into_iter().unzip();
            let balanced = |threshold: f64| Metrics::at_threshold(&scores, &labels, threshold).unwrap().auc_hard;
            if let Some(chosen) = balanced(best_threshold(&scores, &labels)) {
                for step in 0..=40 {
                    prop_assert!(chosen + 1e-12 >= balanced(f64::from(step) / 40.0).unwrap());
                }
            }
        }
    }

    #[test]
    fn folds_are_pooled_with_their_own_thresholds_and_a_post_with_nothing_gets_the_base_rate() {
        let labels = [true, false, true, false, true, true];
        let folds = [
            Fold { train: vec![4, 5, 1], validation: vec![0, 1], test: vec![2] },
            Fold { train: vec![0, 1], validation: vec![2, 3], test: vec![4, 1] },
        ];
        // In the second fold everything lies high, so its threshold does too.
        let first = [Some(2.0), Some(-2.0), Some(1.0), None, None, None];
        let second = [None, None, Some(9.0), Some(5.0), Some(8.0), None];
        let found = score(7, &[&first, &second], &folds, &labels).unwrap();
        assert_eq!((found.metrics.n, found.n_present, found.metrics.accuracy), (3, 2, 1.0));
        assert_eq!(found.metrics.auc, Some(1.0));
        assert_eq!(found.validation_auc, Some(0.75));
    }

    #[test]
    fn the_spread_of_one_seed_has_no_deviation() {
        assert_eq!(Spread::of(&[0.5]), Some(Spread { mean: 0.5, std: None }));
        let spread = Spread::of(&[1.0, 2.0, 3.0]).unwrap();
        assert_eq!((spread.mean, spread.std), (2.0, Some(1.0)));
        assert_eq!(Spread::of(&[]), None);
    }
}
