//! From what the parts of a post say to three probabilities: a neutral class between the two poles.
//!
//! Plain arithmetic, without a network (docs/networks.md, "A label with a middle").

use crate::judgement::Judgement;
use crate::manifest::{Calibration, Middle};
use crate::modality::{Modality, ModalitySet};

impl Judgement {
    /// Of what each part adds to the fused logit (text, audio, image, interaction; log-likelihood ratios, 0 where a part is
    /// absent) and of the text's neutral logit, which is not looked at where `subset` has no text.
    pub fn of_parts(
        calibration: &Calibration,
        middle: &Middle,
        subset: ModalitySet,
        parts: &[f32; 4],
        neutral_of_text: f32,
    ) -> Self {
        let fused = Fused::of_parts(calibration, middle, subset, parts, neutral_of_text);
        Self::of_logits(fused.polarity as f32, fused.neutral as f32, middle.certain_from_of(subset))
    }
}

/// The two logits of a post.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Fused {
    /// Log odds of positive against negative, the prior in it.
    pub polarity: f64,
    /// Of neutral, against the mean of the two others.
    pub neutral: f64,
}

impl Fused {
    /// The polarity is the sum of the parts over the subset's temperature, and the prior.
    ///
    /// With a text, neutral is the text's neutral logit over its temperature, and `log cosh(r / 2)` of each medium's
    /// log-likelihood ratio `r`: as if the media of neutral posts were pleasant or unpleasant at random, so that a picture
    /// that speaks moves the polarity and takes nothing from neutral. Without a text nothing is known of neutral, and a rule
    /// stands in: the constant [`Middle::media_only_neutral`] against what the media say by themselves. A prior tilts what
    /// such a post is if it is not neutral, and leaves P(neutral) as it was; otherwise a feed with few negative posts
    /// would have hardly any whose media say nothing.
    pub fn of_parts(
        calibration: &Calibration,
        middle: &Middle,
        subset: ModalitySet,
        parts: &[f32; 4],
        neutral_of_text: f32,
    ) -> Self {
        let temperature = f64::from(calibration.temperature_of(subset));
        let [text, audio, image, interaction] = parts.map(|part| f64::from(part) / temperature);
        let evidence = text + audio + image + interaction;
        let polarity = evidence + f64::from(calibration.prior_log_odds);
        let neutral = if subset.contains(Modality::Text) {
            f64::from(neutral_of_text) / f64::from(middle.temperature) + log_cosh(audio / 2.0) + log_cosh(image / 2.0)
        } else {
            f64::from(middle.media_only_neutral) + log_cosh(polarity / 2.0) - log_cosh(evidence / 2.0)
        };
        Self { polarity, neutral }
    }
}

/// `ln(cosh(x))` without an overflow, and without losing what is small.
fn log_cosh(x: f64) -> f64 {
    let size = x.abs();
    if size < 1e-4 {
        // The next term, x^4 / 12, is below the rounding.
        return size * size / 2.0;
    }
    size + (-2.0 * size).exp().ln_1p() - std::f64::consts::LN_2
}

#[cfg(test)]
#[path = "middle_tests.rs"]
mod tests;
