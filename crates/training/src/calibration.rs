//! What is fitted on validation posts: a handful of numbers, in plain f64 arithmetic.

use jtav_model::{Calibration, Modality, ModalitySet, ModelError, NO_BOUND};

use crate::logistic::{dot, log_loss, sigmoid};

/// One post as one subset of modalities shows it.
pub(crate) struct Evidence {
    /// Logits of text, audio, image and CMF-AP; 0 where absent.
    pub parts: [f32; 4],
    pub subset: ModalitySet,
    pub positive: bool,
}

/// `logit = bias + sum(trust * part) + sum(offset of the present)`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Stack {
    pub trust: [f32; 4],
    pub offset: [f32; 3],
    pub bias: f32,
}

/// Columns of the regression: four parts, three presences, one constant.
const COLUMNS: usize = 8;
/// Pull of each coefficient towards 0, in units of one post's loss. The constant has none.
const RIDGE: f64 = 1.0;
/// Pull of a temperature's logarithm towards 0.
const TEMPERATURE_RIDGE: f64 = 2.0;
/// Thresholds within this of the best balanced accuracy are as good as the best on a few hundred posts.
const PLATEAU: f64 = 0.01;

/// Share of the validation logits that lie within the bound.
const WITHIN_BOUND: f64 = 0.9;
/// Keeps a part that says nothing (all logits 0) from a bound of 0.
const LEAST_BOUND: f32 = 1e-3;

/// Size within which nine in ten of each part's logits lie; absent ones (0) do not count.
pub(crate) fn bounds(parts: &[[f32; 4]]) -> [f32; 4] {
    std::array::from_fn(|part| {
        let mut sizes: Vec<f32> = parts.iter().map(|row| row[part].abs()).filter(|&size| size > 0.0).collect();
        sizes.sort_by(f32::total_cmp);
        let at = (sizes.len() as f64 * WITHIN_BOUND) as usize;
        sizes.get(at).or(sizes.last()).copied().unwrap_or(NO_BOUND).max(LEAST_BOUND)
    })
}

/// Each logit brought within its bound, as the network does it.
pub(crate) fn bounded(parts: &[f32; 4], bounds: &[f32; 4]) -> [f32; 4] {
    std::array::from_fn(|part| (parts[part] / bounds[part]).tanh() * bounds[part])
}

impl Stack {
    /// Ridge logistic regression by Newton's method. A trust that comes out negative is set to 0 and the rest fitted
    /// again: a part that argues against itself on validation is noise.
    pub fn fit(evidence: &[Evidence]) -> Result<Self, ModelError> {
        let positive = evidence.iter().filter(|post| post.positive).count();
        if positive == 0 || positive == evidence.len() {
            return Err(ModelError::Input("calibration needs posts of both labels".to_owned()));
        }
        let mut active = [true; COLUMNS];
        loop {
            let fitted = newton(evidence, &active);
            let worst = (0..4).filter(|&part| active[part]).min_by(|&a, &b| fitted[a].total_cmp(&fitted[b]));
            match worst {
                Some(part) if fitted[part] < 0.0 => active[part] = false,
                _ => return Ok(Self::from_coefficients(&fitted)),
            }
        }
    }

    fn from_coefficients(fitted: &[f64; COLUMNS]) -> Self {
        Self {
            trust: std::array::from_fn(|part| fitted[part] as f32),
            offset: std::array::from_fn(|modality| fitted[4 + modality] as f32),
            bias: fitted[7] as f32,
        }
    }

    pub fn logit(&self, post: &Evidence) -> f64 {
        let coefficients: [f64; COLUMNS] = std::array::from_fn(|column| match column {
            0..4 => f64::from(self.trust[column]),
            4..7 => f64::from(self.offset[column - 4]),
            _ => f64::from(self.bias),
        });
        dot(&coefficients, &columns(post))
    }
}

fn columns(post: &Evidence) -> [f64; COLUMNS] {
    std::array::from_fn(|column| match column {
        0..4 => f64::from(post.parts[column]),
        4..7 => f64::from(u8::from(post.subset.contains(Modality::ALL[column - 4]))),
        _ => 1.0,
    })
}

fn objective(evidence: &[Evidence], coefficients: &[f64; COLUMNS]) -> f64 {
    let loss: f64 = evidence.iter().map(|post| log_loss(dot(coefficients, &columns(post)), post.positive)).sum();
    loss + 0.5 * RIDGE * coefficients[..COLUMNS - 1].iter().map(|c| c * c).sum::<f64>()
}

fn newton(evidence: &[Evidence], active: &[bool; COLUMNS]) -> [f64; COLUMNS] {
    let mut fitted = [0.0; COLUMNS];
    for _ in 0..50 {
        let (mut gradient, mut hessian) = ([0.0; COLUMNS], [[0.0; COLUMNS]; COLUMNS]);
        for post in evidence {
            let x = columns(post);
            let p = sigmoid(dot(&fitted, &x));
            let error = p - f64::from(u8::from(post.positive));
            for row in 0..COLUMNS {
                gradient[row] += error * x[row];
                for column in 0..COLUMNS {
                    hessian[row][column] += p * (1.0 - p) * x[row] * x[column];
                }
            }
        }
        for row in 0..COLUMNS {
            let ridge = if row + 1 < COLUMNS { RIDGE } else { 1e-9 };
            gradient[row] += ridge * fitted[row];
            hessian[row][row] += ridge;
            if !active[row] {
                gradient[row] = 0.0;
                hessian[row] = [0.0; COLUMNS];
                for other in &mut hessian {
                    other[row] = 0.0;
                }
                hessian[row][row] = 1.0;
            }
        }
        let step = solve(hessian, gradient);
        // Halved until it goes down: far from the optimum the quadratic overshoots.
        let before = objective(evidence, &fitted);
        let mut scale = 1.0;
        let moved = loop {
            let moved: [f64; COLUMNS] = std::array::from_fn(|i| fitted[i] - scale * step[i]);
            if objective(evidence, &moved) <= before || scale < 1e-6 {
                break moved;
            }
            scale /= 2.0;
        };
        let largest = step.iter().fold(0.0_f64, |most, s| most.max(s.abs()));
        fitted = moved;
        if largest * scale < 1e-9 {
            break;
        }
    }
    fitted
}

/// Gaussian elimination with row pivoting; the ridge keeps the matrix positive definite.
fn solve(mut a: [[f64; COLUMNS]; COLUMNS], mut b: [f64; COLUMNS]) -> [f64; COLUMNS] {
    for pivot in 0..COLUMNS {
        let largest = (pivot..COLUMNS).max_by(|&i, &j| a[i][pivot].abs().total_cmp(&a[j][pivot].abs()));
        let largest = largest.unwrap_or(pivot);
        a.swap(pivot, largest);
        b.swap(pivot, largest);
        for row in pivot + 1..COLUMNS {
            let factor = a[row][pivot] / a[pivot][pivot];
            let above = a[pivot];
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

/// Temperature and threshold of every subset that has posts of both labels.
pub(crate) fn per_subset(evidence: &[Evidence], stack: &Stack) -> Calibration {
    let mut calibration = Calibration::default();
    for subset in ModalitySet::all_non_empty() {
        let posts: Vec<(f64, bool)> = evidence
            .iter()
            .filter(|post| post.subset == subset)
            .map(|post| (stack.logit(post), post.positive))
            .collect();
        let positive = posts.iter().filter(|post| post.1).count();
        if positive == 0 || positive == posts.len() {
            continue;
        }
        let temperature = temperature(&posts);
        let scored: Vec<(f64, bool)> =
            posts.iter().map(|&(logit, label)| (sigmoid(logit / temperature), label)).collect();
        calibration.temperature.insert(subset.to_string(), temperature as f32);
        calibration.threshold.insert(subset.to_string(), threshold(scored) as f32);
    }
    calibration
}

/// Minimises the log loss over the temperature, golden section on its logarithm in [1/4, 4].
fn temperature(posts: &[(f64, bool)]) -> f64 {
    let loss = |log_t: f64| {
        let t = log_t.exp();
        posts.iter().map(|&(logit, label)| log_loss(logit / t, label)).sum::<f64>()
            + 0.5 * TEMPERATURE_RIDGE * log_t * log_t
    };
    let ratio = (5.0_f64.sqrt() - 1.0) / 2.0;
    let (mut low, mut high) = (-(4.0_f64.ln()), 4.0_f64.ln());
    for _ in 0..60 {
        let (left, right) = (high - ratio * (high - low), low + ratio * (high - low));
        if loss(left) < loss(right) { high = right } else { low = left }
    }
    ((low + high) / 2.0).exp()
}

/// The probability that separates the labels with the best balanced accuracy; of all that come within [`PLATEAU`] of
/// the best, the one nearest to the base rate, which is where a calibrated score has its optimum.
fn threshold(mut scored: Vec<(f64, bool)>) -> f64 {
    scored.sort_by(|a, b| a.0.total_cmp(&b.0));
    let positives = scored.iter().filter(|post| post.1).count() as f64;
    let negatives = scored.len() as f64 - positives;
    let base_rate = positives / scored.len() as f64;
    let (mut below_positive, mut below_negative) = (0.0, 0.0);
    let mut candidates = Vec::with_capacity(scored.len() + 1);
    let mut previous = 0.0;
    for (at, &(probability, positive)) in scored.iter().enumerate() {
        // Equal scores cannot be told apart, so no threshold lies between them.
        if at == 0 || probability > previous {
            let accuracy = ((positives - below_positive) / positives + below_negative / negatives) / 2.0;
            // Anywhere between two scores is the same cut; the base rate itself where it lies there.
            let low = if at == 0 { 0.0 } else { (previous + probability) / 2.0 };
            let cut = if base_rate > previous && base_rate <= probability { base_rate } else { low };
            candidates.push((cut, accuracy));
        }
        if positive {
            below_positive += 1.0
        } else {
            below_negative += 1.0
        }
        previous = probability;
    }
    let best = candidates.iter().map(|c| c.1).fold(0.0, f64::max);
    let near = candidates.iter().filter(|c| c.1 >= best - PLATEAU);
    near.map(|c| c.0).min_by(|a, b| (a - base_rate).abs().total_cmp(&(b - base_rate).abs())).unwrap_or(base_rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Text decides with logit +-2 at 90 %, audio is a coin with large logits, image is absent.
    fn posts() -> Vec<Evidence> {
        (0..400_u32)
            .map(|i| {
                let positive = i % 10 < 7;
                let right = i % 40 >= 4;
                let text = if positive == right { 2.0 } else { -2.0 };
                let audio = if (i * 7919) % 13 < 6 { 8.0 } else { -8.0 };
                Evidence {
                    parts: [text, audio, 0.0, 0.0],
                    subset: ModalitySet::from_presence(true, true, false),
                    positive,
                }
            })
            .collect()
    }

    #[test]
    fn a_part_that_knows_nothing_is_not_trusted() {
        let stack = Stack::fit(&posts()).unwrap();
        assert!(stack.trust[0] > 0.5, "{stack:?}");
        assert!((0.0..0.05).contains(&stack.trust[1]), "{stack:?}");
        assert_eq!((stack.trust[2], stack.trust[3]), (0.0, 0.0));
    }

    #[test]
    fn a_part_that_argues_against_itself_is_switched_off() {
        let mut posts = posts();
        for post in &mut posts {
            post.parts[3] = if post.positive { -3.0 } else { 3.0 };
        }
        let stack = Stack::fit(&posts).unwrap();
        assert_eq!(stack.trust[3], 0.0);
    }

    #[test]
    fn bounds_hold_most_logits_and_stop_the_rest() {
        let mut parts: Vec<[f32; 4]> = (1..=100).map(|i| [i as f32 / 100.0, 0.0, 2.0, -1.0]).collect();
        parts[7][0] = 70.0;
        let bounds = bounds(&parts);
        assert!((0.85..1.0).contains(&bounds[0]), "{bounds:?}");
        assert_eq!(bounds[1..], [NO_BOUND, 2.0, 1.0]);
        let stopped = bounded(&parts[7], &bounds);
        assert!(stopped[0] <= bounds[0] && stopped[1] == 0.0, "{stopped:?}");
        assert!((bounded(&[3.25; 4], &[NO_BOUND; 4])[0] - 3.25).abs() < 1e-5);
    }

    #[test]
    fn the_gradient_vanishes_at_the_fit() {
        let posts = posts();
        let fitted = newton(&posts, &[true; COLUMNS]);
        for column in 0..COLUMNS {
            let nudged = |by: f64| {
                let mut moved = fitted;
                moved[column] += by;
                objective(&posts, &moved)
            };
            assert!(((nudged(1e-4) - nudged(-1e-4)) / 2e-4).abs() < 1e-3, "column {column}");
        }
    }

    #[test]
    fn one_label_cannot_be_calibrated() {
        let all: Vec<Evidence> = posts().into_iter().filter(|post| post.positive).collect();
        assert!(Stack::fit(&all).is_err());
    }

    #[test]
    fn overconfident_logits_get_a_temperature_above_one() {
        let posts: Vec<(f64, bool)> =
            (0..200).map(|i| (if i % 2 == 0 { 6.0 } else { -6.0 }, i % 2 == (i / 10) % 2)).collect();
        assert!(temperature(&posts) > 3.0);
        let honest: Vec<(f64, bool)> = (0..400)
            .map(|i| (if i % 2 == 0 { 3.0_f64.ln() } else { -(3.0_f64.ln()) }, (i % 2 == 0) == (i / 2 % 4 != 0)))
            .collect();
        assert!((temperature(&honest) - 1.0).abs() < 0.1, "{}", temperature(&honest));
    }

    #[test]
    fn the_threshold_separates_and_stays_near_the_base_rate() {
        let separable = vec![(0.2, false), (0.3, false), (0.8, true), (0.9, true)];
        assert_eq!(threshold(separable), 0.5);
        let tied = vec![(0.4, true), (0.4, false), (0.4, true)];
        let cut = threshold(tied);
        assert!((0.0..=1.0).contains(&cut));
        let shifted = vec![(0.80, false), (0.85, false), (0.90, true), (0.95, true)];
        assert!((threshold(shifted) - 0.875).abs() < 1e-9);
    }
}
