//! What is said of a post: three probabilities of two logits.

/// What is said of a post.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judgement {
    /// Calibrated probabilities of negative, neutral and positive; they sum to 1.
    pub probabilities: [f32; 3],
    /// P(positive | not neutral), 0 to 1.
    pub polarity: f32,
    /// Expectation over the probabilities, with the classes at -1, 0 and 1.
    pub valence: f32,
    /// Probability of the label from which the checkpoint keeps its promise for this subset of modalities; 1 where it
    /// promises nothing.
    pub certain_from: f32,
}

impl Judgement {
    /// Of a polarity logit `s` and a neutral logit `n`, both calibrated: the softmax of `[-s / 2, n, s / 2]`, so that
    /// P(positive | not neutral) is the sigmoid of `s` exactly, whatever `n` is.
    pub fn of_logits(s: f32, n: f32, certain_from: f32) -> Self {
        let half = f64::from(s) / 2.0;
        let logits = [-half, f64::from(n), half];
        let largest = logits.into_iter().fold(f64::NEG_INFINITY, f64::max);
        let powers = logits.map(|logit| (logit - largest).exp());
        let sum: f64 = powers.iter().sum();
        let probabilities = powers.map(|power| power / sum);
        Self {
            probabilities: probabilities.map(|probability| probability as f32),
            polarity: (1.0 / (1.0 + (-2.0 * half).exp())) as f32,
            valence: (probabilities[2] - probabilities[0]) as f32,
            certain_from,
        }
    }

    /// The most probable class: 0 negative, 1 neutral, 2 positive. Of equal ones neutral first, then negative.
    pub fn label(&self) -> usize {
        let [negative, neutral, positive] = self.probabilities;
        if neutral >= negative && neutral >= positive {
            1
        } else if negative >= positive {
            0
        } else {
            2
        }
    }
}
