//! Calibration of the text network's two logits on texts that it has not seen: soft cross-entropy over three classes, in
//! plain f64 arithmetic.

use jtav_model::ModelError;

/// Pull of the scales towards 1 and of the shifts towards 0, in units of one text's loss.
const RIDGE: f64 = 1.0;
/// Scales of polarity and neutral, then their shifts.
const COLUMNS: usize = 4;

/// `s' = scale[0] s + shift[0]` and `n' = scale[1] n + shift[1]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ThreeWay {
    /// Of polarity and neutral.
    pub scale: [f32; 2],
    pub shift: [f32; 2],
}

/// What the network says of one text that it was not trained on, and its raters' votes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HeldOut {
    /// Polarity and neutral.
    pub logits: [f32; 2],
    /// Shares of negative, neutral and positive; together 1.
    pub votes: [f32; 3],
}

impl ThreeWay {
    /// The minimum of the votes' log loss, by Newton's method: the logits of the classes, `[-s/2, n, s/2]`, are linear in the
    /// four numbers, so there is one.
    ///
    /// # Errors
    /// [`ModelError::Input`] without texts, and for a logit that is not finite.
    pub fn fit(texts: &[HeldOut]) -> Result<Self, ModelError> {
        if texts.is_empty() || texts.iter().any(|text| !text.logits.iter().all(|logit| logit.is_finite())) {
            return Err(ModelError::Input("calibration needs texts with finite logits".to_owned()));
        }
        let mut at = [1.0, 1.0, 0.0, 0.0];
        for _ in 0..100 {
            let (gradient, bend) = derivatives(texts, &at);
            let step = solve(bend, gradient);
            let before = objective(texts, &at);
            let mut share = 1.0;
            let moved = loop {
                let moved: [f64; COLUMNS] = std::array::from_fn(|column| at[column] - share * step[column]);
                if objective(texts, &moved) <= before {
                    break Some(moved);
                }
                share /= 2.0;
                if share < 1e-9 {
                    break None;
                }
            };
            let Some(moved) = moved else { break };
            at = moved;
            if step.iter().all(|step| (share * step).abs() < 1e-9) {
                break;
            }
        }
        // A scale of 0 or less would turn what the network says round.
        let [s, n] = [at[0], at[1]].map(|scale| scale.max(1e-3) as f32);
        Ok(Self { scale: [s, n], shift: [at[2] as f32, at[3] as f32] })
    }

    /// The calibrated logits of a text.
    pub fn apply(&self, logits: [f32; 2]) -> [f32; 2] {
        std::array::from_fn(|at| self.scale[at] * logits[at] + self.shift[at])
    }
}

/// Probabilities of negative, neutral and positive.
pub fn probabilities([s, n]: [f32; 2]) -> [f64; 3] {
    let logits = [-f64::from(s) / 2.0, f64::from(n), f64::from(s) / 2.0];
    let largest = logits.into_iter().fold(f64::NEG_INFINITY, f64::max);
    let powers = logits.map(|logit| (logit - largest).exp());
    let sum: f64 = powers.iter().sum();
    powers.map(|power| power / sum)
}

/// How the classes' logits move with each of the four numbers.
fn columns(text: &HeldOut) -> [[f64; 3]; COLUMNS] {
    let [s, n] = text.logits.map(f64::from);
    [[-s / 2.0, 0.0, s / 2.0], [0.0, n, 0.0], [-0.5, 0.0, 0.5], [0.0, 1.0, 0.0]]
}

fn of(text: &HeldOut, at: &[f64; COLUMNS]) -> [f64; 3] {
    let [s, n] = text.logits.map(f64::from);
    probabilities([(at[0] * s + at[2]) as f32, (at[1] * n + at[3]) as f32])
}

fn pull(at: &[f64; COLUMNS]) -> [f64; COLUMNS] {
    [at[0] - 1.0, at[1] - 1.0, at[2], at[3]]
}

fn objective(texts: &[HeldOut], at: &[f64; COLUMNS]) -> f64 {
    let loss = |text: &HeldOut| -> f64 {
        let found = of(text, at);
        text.votes.iter().zip(found).map(|(&votes, p)| -f64::from(votes) * p.max(1e-300).ln()).sum()
    };
    texts.iter().map(loss).sum::<f64>() + RIDGE * 0.5 * pull(at).iter().map(|away| away * away).sum::<f64>()
}

fn derivatives(texts: &[HeldOut], at: &[f64; COLUMNS]) -> ([f64; COLUMNS], [[f64; COLUMNS]; COLUMNS]) {
    let mut gradient = pull(at).map(|away| RIDGE * away);
    let mut bend = [[0.0; COLUMNS]; COLUMNS];
    for (column, row) in bend.iter_mut().enumerate() {
        row[column] = RIDGE;
    }
    for text in texts {
        let (p, columns) = (of(text, at), columns(text));
        let mean: [f64; COLUMNS] = std::array::from_fn(|a| (0..3).map(|class| p[class] * columns[a][class]).sum());
        for a in 0..COLUMNS {
            gradient[a] +=
                (0..3).map(|class| (p[class] - f64::from(text.votes[class])) * columns[a][class]).sum::<f64>();
            for b in 0..COLUMNS {
                let product: f64 = (0..3).map(|class| p[class] * columns[a][class] * columns[b][class]).sum();
                bend[a][b] += product - mean[a] * mean[b];
            }
        }
    }
    (gradient, bend)
}

/// Gaussian elimination with row pivoting; the ridge keeps the matrix positive definite.
fn solve(mut a: [[f64; COLUMNS]; COLUMNS], mut b: [f64; COLUMNS]) -> [f64; COLUMNS] {
    for pivot in 0..COLUMNS {
        let largest = (pivot..COLUMNS).max_by(|&i, &j| a[i][pivot].abs().total_cmp(&a[j][pivot].abs()));
        let largest = largest.unwrap_or(pivot);
        a.swap(pivot, largest);
        b.swap(pivot, largest);
        let above = a[pivot];
        for row in pivot + 1..COLUMNS {
            let factor = a[row][pivot] / above[pivot];
            for (value, top) in a[row].iter_mut().zip(above).skip(pivot) {
                *value -= factor * top;
            }
            b[row] -= factor * b[pivot];
        }
    }
    let mut x = [0.0; COLUMNS];
    for row in (0..COLUMNS).rev() {
        let known: f64 = (row + 1..COLUMNS).map(|column| a[row][column] * x[column]).sum();
        x[row] = (b[row] - known) / a[row][row];
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Votes that a softmax of `[-s/2, n, s/2]` would draw, as shares.
    fn texts(scale: [f64; 2], shift: [f64; 2]) -> Vec<HeldOut> {
        let text = |at: usize| {
            let (s, n) = (6.0 * (at as f64 * 0.37).sin(), 2.0 * (at as f64 * 0.73).cos());
            let truth = probabilities([(scale[0] * s + shift[0]) as f32, (scale[1] * n + shift[1]) as f32]);
            HeldOut { logits: [s as f32, n as f32], votes: truth.map(|p| p as f32) }
        };
        (0..2000).map(text).collect()
    }

    #[test]
    fn the_numbers_that_made_the_votes_are_found() {
        let fitted = ThreeWay::fit(&texts([0.7, 1.2], [-0.1, -0.3])).unwrap();
        for (found, expected) in fitted.scale.into_iter().chain(fitted.shift).zip([0.7, 1.2, -0.1, -0.3]) {
            assert!((found - expected).abs() < 0.02, "{fitted:?}");
        }
        assert_eq!(fitted.apply([0.0, 0.0]), fitted.shift);
    }

    #[test]
    fn the_gradient_vanishes_at_the_fit() {
        let texts = texts([0.5, 2.0], [0.4, 0.2]);
        let ThreeWay { scale, shift } = ThreeWay::fit(&texts).unwrap();
        let at = [scale[0], scale[1], shift[0], shift[1]].map(f64::from);
        assert!(derivatives(&texts, &at).0.iter().all(|slope| slope.abs() < 1e-2));
    }

    #[test]
    fn no_texts_and_a_logit_that_is_no_number_are_refused() {
        assert!(ThreeWay::fit(&[]).is_err());
        assert!(ThreeWay::fit(&[HeldOut { logits: [f32::NAN, 0.0], votes: [1.0, 0.0, 0.0] }]).is_err());
    }
}
