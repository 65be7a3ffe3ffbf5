//! Logistic regression with an L2 penalty, solved to the optimum in plain arithmetic: the solver, for rows of any kind.
//! [`logistic_regression`](crate::logistic_regression) and [`dense`](crate::dense) put dense rows before it, the bag of
//! n-grams sparse ones.
//!
//! It is convex, so neither a step size nor an order of the examples nor a seed enters it. Newton's method, each step by
//! conjugate gradients (Nocedal and Wright 2006, algorithm 7.1): no matrix of second derivatives is ever built, so that
//! thousands of features are no trouble. How the features are kept, dense or sparse, scaled or not, is the caller's.

/// Most Newton steps; ten or so are enough.
const MAX_STEPS: usize = 100;
/// The penalty bends the objective by at least 1 in every direction of the weights, so a gradient of this size means
/// that they are this near to the optimum.
const GRADIENT_TOLERANCE: f64 = 1e-8;

/// `C sum(log loss) + |w|^2 / 2` over weights and a constant, which has no penalty and follows the weights.
pub trait Regression {
    /// Weights, without the constant.
    fn features(&self) -> usize;

    /// Inverse weight of the penalty in units of one example's loss (scikit-learn's `C`).
    fn c(&self) -> f64;

    /// Whether each example is positive.
    fn labels(&self) -> impl Iterator<Item = bool>;

    /// What an example's loss counts, 0 or more (scikit-learn's `sample_weight`). An example with a share of votes for either
    /// label stands there twice, once with each.
    fn weight(&self, _example: usize) -> f64 {
        1.0
    }

    /// `X w + b`: the logit of each example for these weights and their constant.
    fn forward(&self, weights: &[f64]) -> Vec<f64>;

    /// `C X' v` of one value per example, and `C sum(v)` for the constant.
    fn backward(&self, values: &[f64]) -> Vec<f64>;
}

/// The weights of least loss, the constant last.
pub fn minimum(regression: &impl Regression) -> Vec<f64> {
    let mut weights = vec![0.0; regression.features() + 1];
    let mut logits = regression.forward(&weights);
    let mut first = None;
    for _ in 0..MAX_STEPS {
        let gradient = gradient(regression, &logits, &weights);
        let size = dot(&gradient, &gradient).sqrt();
        let start = *first.get_or_insert(size);
        if size <= GRADIENT_TOLERANCE * start.min(1.0) {
            break;
        }
        let step = newton_step(regression, &gradient, &logits, (size / start).sqrt().min(0.1));
        let Some(moved) = line_search(regression, &weights, &logits, &gradient, &step) else { break };
        (weights, logits) = moved;
    }
    weights
}

/// The first point along the step, halved each time, that lowers the objective enough; `None` when rounding hides
/// every gain.
fn line_search(
    regression: &impl Regression,
    weights: &[f64],
    logits: &[f64],
    gradient: &[f64],
    step: &[f64],
) -> Option<(Vec<f64>, Vec<f64>)> {
    let before = objective(regression, logits, weights);
    let slope = dot(gradient, step);
    // Near the optimum the gain drowns in the rounding of the objective, and the full step is the right one.
    let rounding = 1e-13 * before.abs();
    let mut scale = 1.0;
    while scale > 1e-10 {
        let moved: Vec<f64> = weights.iter().zip(step).map(|(w, s)| w + scale * s).collect();
        let moved_logits = regression.forward(&moved);
        if objective(regression, &moved_logits, &moved) <= before + 1e-4 * scale * slope + rounding {
            return Some((moved, moved_logits));
        }
        scale /= 2.0;
    }
    None
}

/// Solves `H step = -gradient` by conjugate gradients until the residual has shrunk by `accuracy`.
fn newton_step(regression: &impl Regression, gradient: &[f64], logits: &[f64], accuracy: f64) -> Vec<f64> {
    let curvature = |(at, &logit): (usize, &f64)| regression.weight(at) * sigmoid(logit) * sigmoid(-logit);
    let curvature: Vec<f64> = logits.iter().enumerate().map(curvature).collect();
    let mut step = vec![0.0; gradient.len()];
    let mut residual: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let mut direction = residual.clone();
    let mut square = dot(&residual, &residual);
    let enough = accuracy.powi(2) * square;
    for _ in 0..2 * gradient.len() + 20 {
        if square <= enough {
            break;
        }
        let through: Vec<f64> = regression.forward(&direction).iter().zip(&curvature).map(|(a, b)| a * b).collect();
        let product = with_penalty(regression.backward(&through), &direction);
        let bend = dot(&direction, &product);
        if bend <= 0.0 {
            break;
        }
        let length = square / bend;
        for ((s, r), (d, p)) in step.iter_mut().zip(&mut residual).zip(direction.iter().zip(&product)) {
            *s += length * d;
            *r -= length * p;
        }
        let next = dot(&residual, &residual);
        for (d, r) in direction.iter_mut().zip(&residual) {
            *d = r + next / square * *d;
        }
        square = next;
    }
    step
}

fn gradient(regression: &impl Regression, logits: &[f64], weights: &[f64]) -> Vec<f64> {
    let error = |(at, (&logit, positive)): (usize, (&f64, bool))| {
        regression.weight(at) * (sigmoid(logit) - f64::from(u8::from(positive)))
    };
    let errors: Vec<f64> = logits.iter().zip(regression.labels()).enumerate().map(error).collect();
    with_penalty(regression.backward(&errors), weights)
}

fn objective(regression: &impl Regression, logits: &[f64], weights: &[f64]) -> f64 {
    let penalised = &weights[..weights.len() - 1];
    let loss = |(at, (&logit, positive))| regression.weight(at) * log_loss(logit, positive);
    let losses = logits.iter().zip(regression.labels()).enumerate().map(loss);
    regression.c() * losses.sum::<f64>() + dot(penalised, penalised) / 2.0
}

/// Adds the penalty's share, which the constant is free of.
fn with_penalty(mut gradient: Vec<f64>, weights: &[f64]) -> Vec<f64> {
    let penalised = weights.len() - 1;
    for (g, w) in gradient.iter_mut().zip(&weights[..penalised]) {
        *g += w;
    }
    gradient
}

/// `1 / (1 + exp(-x))`, without an overflow.
pub fn sigmoid(logit: f64) -> f64 {
    if logit >= 0.0 {
        1.0 / (1.0 + (-logit).exp())
    } else {
        let exponential = logit.exp();
        exponential / (1.0 + exponential)
    }
}

/// `-ln` of the probability that a logit gives to the label, without an overflow.
pub fn log_loss(logit: f64, positive: bool) -> f64 {
    let margin = if positive { logit } else { -logit };
    (-margin).max(0.0) + (-margin.abs()).exp().ln_1p()
}

/// `sum(a b)`.
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}
