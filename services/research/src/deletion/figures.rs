//! From changes of a logit to the figures of a deletion test.

use jtav_trainer::bootstrap::{Interval, mean_interval};
use jtav_trainer::evaluation::BOOTSTRAP_RESAMPLES;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde::Serialize;

use super::places::{Shape, how_many, moved, random, top};

/// How a deletion test is made.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Settings {
    /// Share of an input's positions that is taken out.
    pub share: f64,
    /// Draws of each kind of comparison, averaged per input.
    pub draws: usize,
    /// Of the draws and of the bootstrap.
    pub seed: u64,
}

impl Settings {
    /// The top fifth against ten draws.
    pub fn new(seed: u64) -> Self {
        Self { share: 0.2, draws: 10, seed }
    }
}

/// By how much the logit of one input moved, in absolute terms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Changes {
    /// Without the most attended positions.
    pub top: f64,
    /// Without as many random positions, mean over the draws.
    pub random: f64,
    /// Without the pattern of the most attended positions at another place, mean over the draws.
    pub moved: f64,
}

/// Takes positions out of one input. `weights` has one value per position of `shape`; `score` gets lists of positions
/// to take out, the first of them empty, and gives the logit without each.
///
/// # Errors
/// Those of `score`.
pub fn changes<E>(
    weights: &[f32],
    shape: Shape,
    settings: Settings,
    rng: &mut StdRng,
    score: impl FnOnce(&[Vec<usize>]) -> Result<Vec<f64>, E>,
) -> Result<Changes, E> {
    let count = how_many(settings.share, shape.len());
    let attended = top(weights, count);
    let mut removals = vec![Vec::new(), attended.clone()];
    for _ in 0..settings.draws {
        removals.push(random(shape.len(), count, rng));
        removals.push(moved(&attended, shape, rng));
    }
    let logits = score(&removals)?;
    let whole = logits.first().copied().unwrap_or_default();
    let change = |at: usize| logits.get(at).map_or(0.0, |logit| (logit - whole).abs());
    let mean = |first: usize| {
        (0..settings.draws).map(|draw| change(first + 2 * draw)).sum::<f64>() / settings.draws.max(1) as f64
    };
    Ok(Changes { top: change(1), random: mean(2), moved: mean(3) })
}

/// A generator whose draws depend on the seed alone.
pub(super) fn generator(settings: Settings) -> StdRng {
    StdRng::seed_from_u64(settings.seed)
}

/// The most attended positions against another choice of as many.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Comparison {
    /// Mean absolute change of the logit without the other choice.
    pub mean_change: f64,
    /// Change without the most attended positions over that; null where that is 0.
    pub ratio: Option<f64>,
    /// Share of inputs whose logit moves more without the most attended positions.
    pub share_above: f64,
    /// Mean over inputs of the difference of the two changes.
    pub difference: f64,
    /// Its 95 % interval, inputs drawn with replacement.
    pub interval: Option<Interval>,
    /// Whether that interval lies above 0.
    pub passes: bool,
}

/// Figures of one modality.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeletionFigures {
    /// Inputs: posts for text, files for audio and image, which several posts share.
    pub n: usize,
    /// Inputs that were too short to take a fifth out of.
    pub left_out: usize,
    /// Mean absolute change of the modality's own logit without the most attended positions.
    pub mean_change: f64,
    /// Against random positions.
    pub random: Comparison,
    /// Against the same pattern at another place.
    pub moved: Comparison,
    /// Whether both comparisons pass.
    pub passes: bool,
}

impl DeletionFigures {
    /// `None` without an input.
    pub fn of(changes: &[Changes], left_out: usize, settings: Settings) -> Option<Self> {
        if changes.is_empty() {
            return None;
        }
        let random = compare(changes, |input| input.random, settings.seed);
        let moved = compare(changes, |input| input.moved, settings.seed);
        Some(Self {
            n: changes.len(),
            left_out,
            mean_change: mean(changes.iter().map(|input| input.top)),
            random,
            moved,
            passes: random.passes && moved.passes,
        })
    }
}

fn compare(changes: &[Changes], other: impl Fn(&Changes) -> f64, seed: u64) -> Comparison {
    let differences: Vec<f64> = changes.iter().map(|input| input.top - other(input)).collect();
    let mean_change = mean(changes.iter().map(&other));
    let top_change = mean(changes.iter().map(|input| input.top));
    let interval = mean_interval(&differences, BOOTSTRAP_RESAMPLES, seed);
    Comparison {
        mean_change,
        ratio: (mean_change > 0.0).then(|| top_change / mean_change),
        share_above: mean(differences.iter().map(|&difference| f64::from(u8::from(difference > 0.0)))),
        difference: mean(differences.iter().copied()),
        interval,
        passes: interval.is_some_and(|interval| interval.low > 0.0),
    }
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let n = values.len().max(1) as f64;
    values.sum::<f64>() / n
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    /// Twenty inputs of ten positions; the logit is the sum of what the positions that are left add to it.
    fn toy(explain: impl Fn(&[f32]) -> Vec<f32>) -> DeletionFigures {
        let settings = Settings::new(3);
        let mut rng = generator(settings);
        let inputs = (0..20).map(|input| {
            let adds: Vec<f32> = (0..10).map(|place| ((input * 7 + place * 3) % 11) as f32 * 0.1).collect();
            let weights = explain(&adds);
            let score = |removals: &[Vec<usize>]| {
                let logit = |out: &Vec<usize>| {
                    let left = (0..10).filter(|place| !out.contains(place));
                    left.map(|place| f64::from(adds[place])).sum::<f64>()
                };
                Ok::<_, Infallible>(removals.iter().map(logit).collect())
            };
            changes(&weights, Shape::Line(10), settings, &mut rng, score).unwrap()
        });
        DeletionFigures::of(&inputs.collect::<Vec<_>>(), 2, settings).unwrap()
    }

    #[test]
    fn right_weights_pass_and_inverted_ones_fail() {
        let right = toy(|adds| adds.to_vec());
        assert_eq!((right.n, right.left_out), (20, 2));
        assert!(right.random.ratio > Some(1.5) && right.moved.ratio > Some(1.2), "{right:?}");
        assert!(right.passes && right.random.share_above > 0.9, "{right:?}");
        let interval = right.random.interval.unwrap();
        assert!(interval.low < right.random.difference && right.random.difference < interval.high);

        let inverted = toy(|adds| adds.iter().map(|add| 2.0 - add).collect());
        assert!(inverted.random.ratio < Some(0.5) && !inverted.passes, "{inverted:?}");
        assert!(inverted.random.interval.unwrap().high < 0.0);
    }

    #[test]
    fn weights_that_know_nothing_do_not_pass() {
        let blind = toy(|adds| (0..adds.len()).map(|place| ((place * 7 + 3) % 10) as f32).collect());
        assert!(!blind.passes && blind.random.ratio.is_some_and(|ratio| (0.7..1.3).contains(&ratio)), "{blind:?}");
    }

    #[test]
    fn a_logit_that_never_moves_has_no_ratio_and_does_not_pass() {
        let still = Changes { top: 0.0, random: 0.0, moved: 0.0 };
        let figures = DeletionFigures::of(&[still; 3], 0, Settings::new(1)).unwrap();
        assert_eq!((figures.random.ratio, figures.random.share_above, figures.passes), (None, 0.0, false));
        assert_eq!(DeletionFigures::of(&[], 4, Settings::new(1)), None);
    }
}
