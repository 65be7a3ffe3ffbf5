//! From answers to figures, with intervals by drawing groups of items again.

use jtav_trainer::bootstrap::{Interval, middle};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::Serialize;

use super::model::Answer;
use crate::table::Spread;

/// Resamples behind every interval.
pub const RESAMPLES: usize = 1000;

/// One figure of one row: mean over the row's seeds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Figure {
    #[serde(flatten)]
    pub value: Spread,
    /// 95 %, by drawing groups of items.
    pub interval: Option<Interval>,
    /// Items behind it.
    pub n: usize,
}

/// The truth about some items, and what must be drawn together.
#[derive(Debug, Clone, Default)]
pub struct Items {
    /// 0 negative, 1 neutral, 2 positive.
    pub labels: Vec<usize>,
    /// For each factor the group of each item. With several factors (text, sound, picture) each is drawn by itself, and an item
    /// counts as often as the product says (Owen 2007, "The pigeonhole bootstrap").
    pub factors: Vec<Vec<usize>>,
}

impl Items {
    /// Each item is its own group.
    pub fn apart(labels: Vec<usize>) -> Self {
        let factors = vec![(0..labels.len()).collect()];
        Self { labels, factors }
    }

    /// Those that `keep` says.
    pub fn filtered(&self, keep: impl Fn(usize) -> bool) -> (Self, Vec<usize>) {
        let kept: Vec<usize> = (0..self.labels.len()).filter(|&at| keep(at)).collect();
        let labels = kept.iter().map(|&at| self.labels[at]).collect();
        let factors = self.factors.iter().map(|groups| kept.iter().map(|&at| groups[at]).collect()).collect();
        (Self { labels, factors }, kept)
    }

    fn draw(&self, random: &mut StdRng) -> Vec<f64> {
        let mut weights = vec![1.0; self.labels.len()];
        for groups in &self.factors {
            let mut names = groups.clone();
            names.sort_unstable();
            names.dedup();
            let mut times = vec![0.0; names.len()];
            for _ in 0..names.len() {
                times[random.random_range(0..names.len())] += 1.0;
            }
            for (weight, group) in weights.iter_mut().zip(groups) {
                *weight *= names.binary_search(group).map_or(0.0, |at| times[at]);
            }
        }
        weights
    }
}

/// Chance that a positive item outranks a negative one, neutral ones aside; of each seed's answers.
pub fn auc(items: &Items, seeds: &[Vec<Answer>], seed: u64) -> Option<Figure> {
    let (items, kept) = items.filtered(|at| items.labels[at] != 1);
    let ranked: Vec<Ranked> = seeds.iter().map(|answers| Ranked::new(&items, answers, &kept)).collect();
    figure(&items, ranked.len(), seed, |of, weights| ranked[of].auc(weights))
}

/// Share of items with the right label of three; of each seed's answers.
pub fn accuracy(items: &Items, seeds: &[Vec<Answer>], seed: u64) -> Option<Figure> {
    let right = |answers: &Vec<Answer>| -> Vec<f64> {
        answers.iter().zip(&items.labels).map(|(a, &label)| f64::from(u8::from(a.label == label))).collect()
    };
    let right: Vec<Vec<f64>> = seeds.iter().map(right).collect();
    figure(items, right.len(), seed, |of, weights| {
        let all: f64 = weights.iter().sum();
        let sum: f64 = right[of].iter().zip(weights).map(|(right, weight)| right * weight).sum();
        (all > 0.0).then(|| sum / all)
    })
}

/// Right answers among items of one kind, for those that have no AUC.
pub fn accuracy_of(items: &Items, seeds: &[Vec<Answer>], seed: u64, keep: impl Fn(usize) -> bool) -> Option<Figure> {
    let (items, kept) = items.filtered(keep);
    let seeds: Vec<Vec<Answer>> = seeds.iter().map(|answers| kept.iter().map(|&at| answers[at]).collect()).collect();
    accuracy(&items, &seeds, seed)
}

/// AUC among the items that `keep` says.
pub fn auc_of(items: &Items, seeds: &[Vec<Answer>], seed: u64, keep: impl Fn(usize) -> bool) -> Option<Figure> {
    let (items, kept) = items.filtered(keep);
    let seeds: Vec<Vec<Answer>> = seeds.iter().map(|answers| kept.iter().map(|&at| answers[at]).collect()).collect();
    auc(&items, &seeds, seed)
}

/// `statistic(seed's place, weight of each item)`; in every resample the mean over seeds is taken of one draw.
fn figure(items: &Items, seeds: usize, seed: u64, statistic: impl Fn(usize, &[f64]) -> Option<f64>) -> Option<Figure> {
    let n = items.labels.len();
    let once = vec![1.0; n];
    let values: Vec<f64> = (0..seeds).map(|of| statistic(of, &once)).collect::<Option<_>>()?;
    let value = Spread::of(&values)?;
    let mut random = StdRng::seed_from_u64(seed);
    let mut drawn = Vec::with_capacity(RESAMPLES);
    for _ in 0..RESAMPLES {
        let weights = items.draw(&mut random);
        let values: Option<Vec<f64>> = (0..seeds).map(|of| statistic(of, &weights)).collect();
        drawn.extend(values.and_then(|values| Spread::of(&values)).map(|spread| spread.mean));
    }
    Some(Figure { value, interval: middle(drawn), n })
}

/// Items in the order of one seed's scores, found once for all resamples.
struct Ranked {
    order: Vec<usize>,
    scores: Vec<f64>,
    positive: Vec<bool>,
}

impl Ranked {
    fn new(items: &Items, answers: &[Answer], kept: &[usize]) -> Self {
        let scores: Vec<f64> = kept.iter().map(|&at| answers[at].score).collect();
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
        Self { order, scores, positive: items.labels.iter().map(|&label| label == 2).collect() }
    }

    /// Ties half.
    fn auc(&self, weights: &[f64]) -> Option<f64> {
        let (mut below, mut won, mut positives) = (0.0, 0.0, 0.0);
        // -0.0 and 0.0 are one score.
        for tied in self.order.chunk_by(|&a, &b| self.scores[a] == self.scores[b]) {
            let sum = |positive: bool| -> f64 {
                tied.iter().filter(|&&at| self.positive[at] == positive).map(|&at| weights[at]).sum()
            };
            let (positive, negative) = (sum(true), sum(false));
            won += positive * (below + negative / 2.0);
            below += negative;
            positives += positive;
        }
        (positives > 0.0 && below > 0.0).then(|| won / (positives * below))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn answers(scores: &[f64]) -> Vec<Answer> {
        scores.iter().map(|&score| Answer { score, label: if score > 0.0 { 2 } else { 0 } }).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn the_auc_is_that_of_the_metrics_with_neutral_items_left_out(
            drawn in prop::collection::vec((-3_i8..4, 0_usize..3), 2..40),
        ) {
            let scores: Vec<f64> = drawn.iter().map(|(score, _)| f64::from(*score)).collect();
            let items = Items::apart(drawn.iter().map(|(_, label)| *label).collect());
            let found = auc(&items, &[answers(&scores)], 0).map(|figure| figure.value.mean);
            let poles: Vec<usize> = (0..drawn.len()).filter(|&at| drawn[at].1 != 1).collect();
            let expected = jtav_trainer::metrics::auc(
                &poles.iter().map(|&at| scores[at]).collect::<Vec<_>>(),
                &poles.iter().map(|&at| drawn[at].1 == 2).collect::<Vec<_>>(),
            );
            prop_assert_eq!(found.is_some(), expected.is_some());
            prop_assert!((found.unwrap_or_default() - expected.unwrap_or_default()).abs() < 1e-12);
        }
    }

    /// For a share, the bootstrap's spread is that of the binomial distribution; ten copies of every item in one group are no
    /// more than one.
    #[test]
    fn copies_of_an_item_in_one_group_make_an_interval_no_narrower() {
        let labels: Vec<usize> = (0..100).map(|at| if at % 4 == 0 { 0 } else { 2 }).collect();
        let given = answers(&[1.0; 100]);
        let width = |figure: Option<Figure>| figure.and_then(|f| f.interval).map(|i| i.high - i.low).unwrap();
        let apart = width(accuracy(&Items::apart(labels.clone()), std::slice::from_ref(&given), 1));
        assert!((apart / (2.0 * 1.96 * (0.75_f64 * 0.25 / 100.0).sqrt()) - 1.0).abs() < 0.15, "{apart}");
        let tenfold = |values: &[usize]| values.iter().flat_map(|&value| [value; 10]).collect::<Vec<_>>();
        let items = Items { labels: tenfold(&labels), factors: vec![tenfold(&(0..100).collect::<Vec<_>>())] };
        let copied = width(accuracy(&items, &[answers(&[1.0; 1000])], 1));
        assert!((copied / apart - 1.0).abs() < 0.15, "{copied} {apart}");
    }

    #[test]
    fn a_second_factor_with_few_groups_makes_an_interval_wider() {
        let labels: Vec<usize> = (0..200).map(|at| if at % 3 == 0 { 0 } else { 2 }).collect();
        let given = answers(&[1.0; 200]);
        let one = Items::apart(labels);
        let two = Items { factors: vec![one.factors[0].clone(), (0..200).map(|at| at % 9).collect()], ..one.clone() };
        let width = |items: &Items| {
            let interval = accuracy(items, std::slice::from_ref(&given), 1).and_then(|figure| figure.interval).unwrap();
            interval.high - interval.low
        };
        assert!(width(&two) > 1.5 * width(&one));
    }

    #[test]
    fn seeds_are_averaged_and_of_nothing_there_is_no_figure() {
        let items = Items::apart(vec![0, 2]);
        let figure = accuracy(&items, &[answers(&[-1.0, 1.0]), answers(&[1.0, 1.0])], 0).unwrap();
        assert_eq!((figure.value.mean, figure.n), (0.75, 2));
        assert!(figure.value.std.is_some());
        assert_eq!(accuracy(&items, &[], 0), None);
        assert_eq!(accuracy(&Items::default(), &[vec![]], 0), None);
        assert_eq!(auc(&Items::apart(vec![2, 2]), &[answers(&[1.0, 2.0])], 0), None);
    }
}
