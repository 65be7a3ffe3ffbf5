//! From the logits of encoders that have not seen a post to log-likelihood ratios, two numbers for each: Platt scaling
//! (Platt 1999), in plain f64 arithmetic.

use jtav_model::{Calibration, Judgement, Middle, Modality, ModalitySet, ModelError};

use crate::logistic::{log_loss, sigmoid};

/// Largest size of what text, audio or image may bring into the sum: odds of 3000 to 1, beyond what a few hundred items
/// can show of any input.
pub const PART_BOUND: f32 = 8.0;
/// The same for CMF-AP, which is heard beside them: odds of 55 to 1.
pub const INTERACTION_BOUND: f32 = 4.0;
/// Pull of the slope towards 1 in units of one item's loss: as if slopes had a deviation of 1/2 about 1, since what a
/// logistic regression says of items that it has not seen is nearly calibrated as it comes.
const SLOPE_RIDGE: f64 = 4.0;
/// Pull of a temperature's logarithm towards 0.
pub(crate) const TEMPERATURE_RIDGE: f64 = 2.0;

/// What encoders that were not trained on an item say of it, and what people said. An item is a text, a clip or a
/// picture; a post that shows the same picture as another is no item of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// The own logits of text, audio and image, of those that the item has.
    pub logits: [Option<f32>; 3],
    /// Neutral logit of the text, where it has one.
    pub neutral: Option<f32>,
    /// Shares of the votes for negative, neutral and positive; they sum to 1. A label is one vote.
    pub votes: [f32; 3],
}

impl Evidence {
    /// Which parts the item has.
    pub fn modalities(&self) -> ModalitySet {
        let [text, audio, image] = self.logits.map(|logit| logit.is_some());
        ModalitySet::from_presence(text, audio, image)
    }

    fn rated(&self, part: usize) -> Option<Rated> {
        let [negative, _, positive] = self.votes.map(f64::from);
        let weight = negative + positive;
        let logit = self.logits[part].map(f64::from).filter(|_| weight > 0.0)?;
        Some(Rated { logit, positive: positive / weight, weight })
    }
}

/// One item as Platt scaling sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rated {
    /// What an encoder says.
    pub logit: f64,
    /// How probably it is positive, 0 to 1, given that it is not neutral.
    pub positive: f64,
    /// How much it counts, above 0: the share of votes that were not neutral.
    pub weight: f64,
}

/// `ratio = slope * logit + constant`: how much likelier, as a logarithm, a positive post is to have this part than a
/// negative one.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Platt {
    /// At least 0; 0 for a part that argues against itself, and for one of which no item is known.
    pub slope: f64,
    pub constant: f64,
    /// Log odds of positive among the items it was fitted on; no part of the ratio.
    pub log_odds: f64,
}

impl Platt {
    /// The logistic regression of the label on the logit, its slope drawn to 1, less the log odds of the items.
    ///
    /// # Errors
    /// [`ModelError::Input`] for a logit or a weight that is not finite, and where all items have one label.
    pub fn fit(items: &[Rated]) -> Result<Self, ModelError> {
        Self::fit_with(items, SLOPE_RIDGE)
    }

    fn fit_with(items: &[Rated], ridge: f64) -> Result<Self, ModelError> {
        if items.iter().any(|item| !(item.logit.is_finite() && item.weight.is_finite() && item.weight > 0.0)) {
            return Err(ModelError::Input("calibration got a logit or a weight that is no number".to_owned()));
        }
        let weight: f64 = items.iter().map(|item| item.weight).sum();
        let positive = items.iter().map(|item| item.weight * item.positive).sum::<f64>() / weight;
        // Written so that a NaN fails.
        if !(positive > 0.0 && positive < 1.0) {
            return Err(ModelError::Input("calibration needs items of both labels".to_owned()));
        }
        let log_odds = (positive / (1.0 - positive)).ln();
        let [slope, constant] = newton(items, [1.0, log_odds], ridge);
        if slope <= 0.0 {
            return Ok(Self { log_odds, ..Self::default() });
        }
        Ok(Self { slope, constant: constant - log_odds, log_odds })
    }

    /// The log-likelihood ratio, within [`PART_BOUND`], as the fusion computes it.
    pub fn ratio(&self, logit: f32) -> f32 {
        let ratio = self.slope * f64::from(logit) + self.constant;
        (ratio as f32).clamp(-PART_BOUND, PART_BOUND)
    }
}

/// Weighted log loss of soft labels, and the pull of the slope.
fn objective(items: &[Rated], [slope, constant]: [f64; 2], ridge: f64) -> f64 {
    let loss = |item: &Rated| item.weight * soft_log_loss(slope * item.logit + constant, item.positive);
    items.iter().map(loss).sum::<f64>() + 0.5 * ridge * (slope - 1.0).powi(2)
}

pub(crate) fn soft_log_loss(logit: f64, positive: f64) -> f64 {
    positive * log_loss(logit, true) + (1.0 - positive) * log_loss(logit, false)
}

fn newton(items: &[Rated], start: [f64; 2], ridge: f64) -> [f64; 2] {
    let mut at = start;
    for _ in 0..100 {
        // Of slope and constant; the least curvature of the constant keeps the step finite where all is certain.
        let (mut gradient, mut bend) = ([ridge * (at[0] - 1.0), 0.0], [ridge, 0.0, 1e-9]);
        for item in items {
            let p = sigmoid(at[0] * item.logit + at[1]);
            let (error, curvature) = (item.weight * (p - item.positive), item.weight * p * (1.0 - p));
            gradient[0] += error * item.logit;
            gradient[1] += error;
            bend[0] += curvature * item.logit * item.logit;
            bend[1] += curvature * item.logit;
            bend[2] += curvature;
        }
        // Without a ridge and with all logits equal, the slope means nothing and stays.
        let determinant = (bend[0] * bend[2] - bend[1] * bend[1]).max(f64::MIN_POSITIVE);
        let step = [
            (bend[2] * gradient[0] - bend[1] * gradient[1]) / determinant,
            (bend[0] * gradient[1] - bend[1] * gradient[0]) / determinant,
        ];
        // Halved until it goes down: far from the optimum the quadratic overshoots.
        let before = objective(items, at, ridge);
        let mut scale = 1.0;
        let moved = loop {
            let moved = [at[0] - scale * step[0], at[1] - scale * step[1]];
            if objective(items, moved, ridge) <= before {
                break Some(moved);
            }
            scale /= 2.0;
            if scale < 1e-9 {
                break None;
            }
        };
        let Some(moved) = moved else { break };
        let largest = scale * step[0].abs().max(step[1].abs());
        at = moved;
        if largest < 1e-10 {
            break;
        }
    }
    at
}

/// What the fusion is told of its three encoders.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Parts {
    /// Of text, audio and image.
    pub platt: [Platt; 3],
    /// The neutral logit of the text is divided by this.
    pub neutral_temperature: f64,
}

impl Parts {
    /// Fits each modality on the items that have it. One that no item has is not listened to.
    ///
    /// # Errors
    /// Those of [`Platt::fit`]; no item at all.
    pub fn fit(held_out: &[Evidence]) -> Result<Self, ModelError> {
        let mut platt = [Platt::default(); 3];
        let mut known = 0;
        for (part, fitted) in platt.iter_mut().enumerate() {
            let items: Vec<Rated> = held_out.iter().filter_map(|item| item.rated(part)).collect();
            if !items.is_empty() {
                *fitted = Platt::fit(&items)?;
                known += 1;
            }
        }
        if known == 0 {
            return Err(ModelError::Input("calibration needs items that have a part and a vote".to_owned()));
        }
        Ok(Self { platt, neutral_temperature: neutral_temperature(held_out, &platt[Modality::Text as usize]) })
    }

    /// Log-likelihood ratios of text, audio and image, and 0 for CMF-AP; 0 where a part is absent.
    pub fn ratios(&self, logits: &[Option<f32>; 3]) -> [f32; 4] {
        std::array::from_fn(|part| match (self.platt.get(part), logits.get(part).copied().flatten()) {
            (Some(platt), Some(logit)) => platt.ratio(logit),
            _ => 0.0,
        })
    }

    /// What a checkpoint with these numbers says of an item, with CMF-AP left out: what the certainty of labels can be
    /// measured on where the encoders have not seen the item.
    pub fn judge(&self, item: &Evidence, calibration: &Calibration, middle: &Middle) -> Judgement {
        let parts = self.ratios(&item.logits);
        Judgement::of_parts(calibration, middle, item.modalities(), &parts, item.neutral.unwrap_or(0.0))
    }
}

/// The temperature of least three-way log loss over the texts, at their own log odds; 1 where no text has a neutral logit.
fn neutral_temperature(held_out: &[Evidence], text: &Platt) -> f64 {
    let row = |item: &Evidence| {
        let (logit, neutral) = (item.logits[Modality::Text as usize]?, item.neutral?);
        Some((f64::from(text.ratio(logit)) + text.log_odds, f64::from(neutral), item.votes.map(f64::from)))
    };
    let rows: Vec<_> = held_out.iter().filter_map(row).filter(|row| row.1.is_finite()).collect();
    if rows.is_empty() {
        return 1.0;
    }
    best_temperature(|t| {
        let loss = |&(s, n, votes): &(f64, f64, [f64; 3])| three_way_loss([-s / 2.0, n / t, s / 2.0], votes);
        rows.iter().map(loss).sum()
    })
}

/// Cross-entropy of the softmax and the votes.
fn three_way_loss(logits: [f64; 3], votes: [f64; 3]) -> f64 {
    let largest = logits.into_iter().fold(f64::NEG_INFINITY, f64::max);
    let sum = logits.iter().map(|logit| (logit - largest).exp()).sum::<f64>().ln() + largest;
    logits.iter().zip(votes).map(|(logit, vote)| vote * (sum - logit)).sum()
}

/// Minimises a loss over the temperature, golden section on its logarithm in [1/4, 4], drawn to 1.
pub(crate) fn best_temperature(loss_at: impl Fn(f64) -> f64) -> f64 {
    let loss = |log_t: f64| loss_at(log_t.exp()) + 0.5 * TEMPERATURE_RIDGE * log_t * log_t;
    let ratio = (5.0_f64.sqrt() - 1.0) / 2.0;
    let (mut low, mut high) = (-(4.0_f64.ln()), 4.0_f64.ln());
    for _ in 0..60 {
        let (left, right) = (high - ratio * (high - low), low + ratio * (high - low));
        if loss(left) < loss(right) { high = right } else { low = left }
    }
    ((low + high) / 2.0).exp()
}

#[cfg(test)]
#[path = "calibration_tests.rs"]
mod tests;
