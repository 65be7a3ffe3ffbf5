//! What labels posts, whatever is inside: the one face that every row of the table has.

use jtav_schemas::TextPart;

/// The texts of one post, in declared order.
pub type TextParts = Vec<TextPart>;

/// Labels posts by their texts. Whoever has a network behind it holds it here, so that the table knows none.
pub trait LabelModel {
    /// Probabilities of negative, neutral and positive for each post, in order. Their largest is the label, and the log odds
    /// of positive against negative are the score.
    ///
    /// # Errors
    /// A device fault.
    fn label(&self, posts: &[TextParts]) -> anyhow::Result<Vec<[f64; 3]>>;
}

/// The texts of a post as one.
pub fn joined(post: &TextParts) -> String {
    let texts: Vec<&str> = post.iter().map(|part| part.text.as_str()).collect();
    texts.join("\n")
}

/// The softmax of `[-s / 2, n, s / 2]`: whatever the neutral logit, P(positive | not neutral) is the sigmoid of `s`.
pub fn three_way(s: f64, n: f64) -> [f64; 3] {
    let logits = [-s / 2.0, n, s / 2.0];
    let largest = logits.into_iter().fold(f64::NEG_INFINITY, f64::max);
    let powers = logits.map(|logit| (logit - largest).exp());
    let sum: f64 = powers.iter().sum();
    powers.map(|power| power / sum)
}

/// What is said of one post, as it is scored.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Answer {
    /// Rises with how positive the post is; only its order counts.
    pub score: f64,
    /// 0 negative, 1 neutral, 2 positive.
    pub label: usize,
}

impl Answer {
    /// The most probable label; of equals the one nearer to the middle.
    pub fn of(probabilities: [f64; 3]) -> Self {
        let [negative, neutral, positive] = probabilities;
        let label = match (negative > neutral.max(positive), positive > neutral.max(negative)) {
            (true, _) => 0,
            (_, true) => 2,
            _ => 1,
        };
        // Kept finite for a model that is sure.
        Self { score: positive.max(1e-300).ln() - negative.max(1e-300).ln(), label }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_score_is_the_polarity_logit_whatever_the_neutral_one(s in -20.0..20.0, n in -20.0..20.0) {
            let probabilities = three_way(s, n);
            prop_assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            prop_assert!((Answer::of(probabilities).score - s).abs() < 1e-6);
        }
    }

    #[test]
    fn of_two_equal_poles_neither_is_the_label() {
        assert_eq!(Answer::of([0.4, 0.2, 0.4]).label, 1);
        assert_eq!(Answer::of([0.0, 0.0, 1.0]), Answer { score: -(1e-300_f64.ln()), label: 2 });
        assert_eq!(Answer::of(three_way(-3.0, 0.0)).label, 0);
    }
}
