//! Folds that no group is split by, with like shares of both labels.

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

/// The fold, below `folds`, of each example. Examples of one group share theirs.
///
/// Greedy, as scikit-learn's `StratifiedGroupKFold` is: groups whose labels are most uneven first, each to the fold with
/// which the labels spread most evenly; of equal ones to the smaller. The seed decides among groups of equal unevenness.
pub fn grouped_folds(positive: &[bool], groups: &[String], folds: usize, seed: u64) -> Vec<usize> {
    let folds = folds.max(1);
    let mut counts: BTreeMap<&str, [f64; 2]> = BTreeMap::new();
    let mut total = [0.0_f64; 2];
    for (group, &positive) in groups.iter().zip(positive) {
        counts.entry(group).or_default()[usize::from(positive)] += 1.0;
        total[usize::from(positive)] += 1.0;
    }
    let mut order: Vec<(&str, [f64; 2])> = counts.into_iter().collect();
    order.shuffle(&mut StdRng::seed_from_u64(seed));
    let unevenness = |[negative, positive]: [f64; 2]| (negative - positive).abs();
    order.sort_by(|(_, a), (_, b)| unevenness(*b).total_cmp(&unevenness(*a)));
    let mut dealt = vec![[0.0_f64; 2]; folds];
    let mut fold_of: BTreeMap<&str, usize> = BTreeMap::new();
    for (group, counts) in order {
        let cost = |fold: usize| {
            let spread = (0..2).map(|label| {
                let share = |at: usize| {
                    let added = if at == fold { counts[label] } else { 0.0 };
                    (dealt[at][label] + added) / total[label].max(1.0)
                };
                deviation((0..folds).map(share))
            });
            (spread.sum::<f64>(), dealt[fold][0] + dealt[fold][1])
        };
        let costs: Vec<(f64, f64)> = (0..folds).map(cost).collect();
        let best = (0..folds).min_by(|&a, &b| {
            let (a, b) = (costs[a], costs[b]);
            a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1))
        });
        let best = best.unwrap_or(0);
        dealt[best] = [dealt[best][0] + counts[0], dealt[best][1] + counts[1]];
        fold_of.insert(group, best);
    }
    groups.iter().map(|group| fold_of.get(group.as_str()).copied().unwrap_or(0)).collect()
}

fn deviation(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let count = values.clone().count().max(1) as f64;
    let mean = values.clone().sum::<f64>() / count;
    (values.map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Groups of 1 to 9, most of one label alone.
    fn examples() -> (Vec<bool>, Vec<String>) {
        let rows = (0..100_usize).flat_map(|group| {
            (0..1 + group * 7 % 9).map(move |at| (if group % 5 == 0 { at % 2 == 0 } else { group % 3 == 0 }, group))
        });
        rows.map(|(positive, group)| (positive, format!("group {group}"))).unzip()
    }

    #[test]
    fn a_group_is_in_one_fold_and_the_labels_are_spread_evenly() {
        let (positive, groups) = examples();
        for seed in 0..5 {
            let found = grouped_folds(&positive, &groups, 5, seed);
            let mut fold_of = BTreeMap::new();
            for (group, &fold) in groups.iter().zip(&found) {
                assert_eq!(*fold_of.entry(group).or_insert(fold), fold, "{group}");
            }
            for label in [false, true] {
                let total = positive.iter().filter(|&&positive| positive == label).count() as f64;
                for fold in 0..5 {
                    let here = found.iter().zip(&positive).filter(|(at, positive)| **at == fold && **positive == label);
                    let share = here.count() as f64 / total;
                    assert!((share - 0.2).abs() < 0.03, "seed {seed}, fold {fold}, {label}: {share}");
                }
            }
        }
    }

    #[test]
    fn equal_seeds_deal_equally_and_others_do_not() {
        let (positive, groups) = examples();
        let deal = |seed| grouped_folds(&positive, &groups, 5, seed);
        assert_eq!(deal(3), deal(3));
        assert_ne!(deal(3), deal(4));
    }

    #[test]
    fn fewer_groups_than_folds_and_no_examples_at_all_are_dealt_too() {
        let groups = vec!["a".to_owned(), "a".to_owned(), "b".to_owned()];
        let found = grouped_folds(&[true, false, true], &groups, 5, 1);
        assert!(found[0] == found[1] && found[0] != found[2] && found.iter().all(|&fold| fold < 5), "{found:?}");
        assert!(grouped_folds(&[], &[], 5, 1).is_empty());
        assert_eq!(grouped_folds(&[true, false, true], &groups, 0, 1), [0, 0, 0]);
    }
}
