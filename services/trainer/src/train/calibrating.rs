//! Calibration of the text network's two logits on texts that it had not seen.

use anyhow::Context;
use jtav_training::LinearHead;
use jtav_training::three_way::{HeldOut, ThreeWay};

use super::outcome::HeldOutItem;

/// Most that the neutral logit is moved by, so that a pool without neutral texts does not call everything neutral.
const MOST_SHIFT: f32 = 1.0;

/// What makes probabilities of the logits: how often the raters' majority says so, and not how many of the raters do. Whoever
/// acts on a label asks whether it is right.
pub(super) fn of_texts(items: &[HeldOutItem]) -> anyhow::Result<ThreeWay> {
    let text = |item: &HeldOutItem| HeldOut {
        logits: [item.logit, item.neutral.unwrap_or_default()],
        votes: majority(&item.votes),
    };
    ThreeWay::fit(&items.iter().map(text).collect::<Vec<_>>()).context("calibrating the text network")
}

/// The items as the calibrated network judges them.
pub(super) fn calibrated(items: &[HeldOutItem], by: &ThreeWay) -> Vec<HeldOutItem> {
    let one = |item: &HeldOutItem| {
        let [logit, neutral] = by.apply([item.logit, item.neutral.unwrap_or_default()]);
        HeldOutItem { logit, neutral: Some(neutral), votes: majority(&item.votes) }
    };
    items.iter().map(one).collect()
}

/// A head whose logit is scaled and shifted.
pub(super) fn head(head: LinearHead, scale: f32, shift: f32) -> LinearHead {
    LinearHead {
        weight: head.weight.into_iter().map(|weight| weight * scale).collect(),
        bias: head.bias * scale + shift,
    }
}

/// One vote for what most say, shared where they are even.
fn majority(votes: &[f32; 3]) -> [f32; 3] {
    let most = votes.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let count = votes.iter().filter(|&&share| share >= most).count() as f32;
    votes.map(|share| if share >= most { 1.0 / count } else { 0.0 })
}

/// By how much the neutral logit must grow for held-out texts to be called neutral as often as their raters' majority calls
/// them so: by the log loss alone a class that is seldom far ahead would hardly ever be named. `polarity` is the calibrated
/// polarity of a text by its logit, `temperature` what the neutral logit is divided by.
pub(super) fn as_often_neutral(texts: &[HeldOutItem], polarity: impl Fn(f32) -> f32, temperature: f32) -> f32 {
    let wanted = texts.iter().filter(|text| text.votes[1] > text.votes[0] && text.votes[1] > text.votes[2]).count();
    // By how much each text misses being neutral.
    let mut missing: Vec<f32> =
        texts.iter().filter_map(|text| Some(temperature * polarity(text.logit).abs() / 2.0 - text.neutral?)).collect();
    missing.sort_by(f32::total_cmp);
    let shift = wanted.checked_sub(1).and_then(|last| missing.get(last)).copied().unwrap_or(0.0);
    tracing::info!(shift, wanted, "neutral is said as often as raters say it");
    shift.clamp(-MOST_SHIFT, MOST_SHIFT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items() -> Vec<HeldOutItem> {
        let item = |at: usize| {
            let logit = 8.0 * (at as f32 * 0.37).sin();
            let neutral = logit.abs() < if at.is_multiple_of(7) { 3.0 } else { 0.8 };
            let votes = match neutral {
                true => [0.2, 0.6, 0.2],
                false if logit > 0.0 => [0.1, 0.1, 0.8],
                false => [0.8, 0.1, 0.1],
            };
            HeldOutItem { logit, neutral: Some(0.5 - logit.abs() * 0.3), votes }
        };
        (0..700).map(item).collect()
    }

    #[test]
    fn neutral_is_said_as_often_as_the_majority_says_it() {
        let items = calibrated(&items(), &of_texts(&items()).unwrap());
        let shift = as_often_neutral(&items, |logit| logit / 0.8, 0.9);
        let said = |item: &&HeldOutItem| (item.neutral.unwrap() + shift) / 0.9 >= (item.logit / 0.8).abs() / 2.0;
        let (said, wanted) =
            (items.iter().filter(said).count(), items.iter().filter(|item| item.votes[1] > 0.5).count());
        assert!(said.abs_diff(wanted) <= 2, "{said} of {wanted}");
    }

    #[test]
    fn however_rarely_neutral_is_said_the_shift_is_bounded() {
        let silent = HeldOutItem { logit: 5.0, neutral: Some(-50.0), votes: [0.0, 1.0, 0.0] };
        assert_eq!(as_often_neutral(&[silent.clone(), silent], |logit| logit, 1.0), MOST_SHIFT);
        assert_eq!(as_often_neutral(&[], |logit| logit, 1.0), 0.0);
    }

    #[test]
    fn a_scaled_head_gives_the_scaled_logit() {
        let scaled = head(LinearHead { weight: vec![1.0, -2.0], bias: 0.5 }, 0.5, 0.25);
        assert_eq!((scaled.weight, scaled.bias), (vec![0.5, -1.0], 0.5));
    }

    #[test]
    fn a_tie_is_a_vote_for_each() {
        assert_eq!(majority(&[0.4, 0.2, 0.4]), [0.5, 0.0, 0.5]);
        assert_eq!(majority(&[0.5, 0.2, 0.3]), [1.0, 0.0, 0.0]);
    }
}
