//! What is fitted on validation posts beside the ratios of their parts, and only where it lowers the log loss of posts
//! that it was not fitted on: a temperature for each subset of modalities, and how far CMF-AP is trusted.

use std::collections::BTreeMap;

use crate::calibration::best_temperature;
use crate::logistic::{log_loss, sigmoid};

/// Folds of the cross-validation. Posts of one group are never on both sides.
const FOLDS: usize = 5;
/// Pull of the trust in CMF-AP towards 0, in units of one post's loss.
const TRUST_RIDGE: f64 = 1.0;
/// Pull of the constant, so small that it only keeps the step finite.
const CONSTANT_RIDGE: f64 = 1e-6;

/// One validation post as one subset of its modalities shows it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Shown {
    /// Sum of the ratios of its parts.
    pub evidence: f64,
    /// CMF-AP's own logit.
    pub interaction: f64,
    pub positive: bool,
    /// Posts that share an item are of one group.
    pub group: u64,
}

/// Temperature of these posts: 1 unless another one helps.
pub(crate) fn temperature(posts: &[Shown]) -> f64 {
    let Some(prior) = prior(posts) else { return 1.0 };
    let fit = |posts: &[Shown]| {
        best_temperature(|t| posts.iter().map(|post| log_loss(post.evidence / t + prior, post.positive)).sum())
    };
    let loss = |post: &Shown, t: &f64| log_loss(post.evidence / t + prior, post.positive);
    if helps(posts, |_| 1.0, fit, loss) { fit(posts) } else { 1.0 }
}

/// Trust in CMF-AP and its constant: zeros unless it helps.
pub(crate) fn interaction(posts: &[Shown]) -> (f64, f64) {
    let without = |posts: &[Shown]| (0.0, newton(posts, false).1);
    let with = |posts: &[Shown]| newton(posts, true);
    let loss = |post: &Shown, &(trust, constant): &(f64, f64)| {
        log_loss(post.evidence + trust * post.interaction + constant, post.positive)
    };
    if prior(posts).is_none() || !helps(posts, without, with, loss) {
        return (0.0, 0.0);
    }
    let (trust, constant) = with(posts);
    // What is left when CMF-AP is not heard is the posts' own log odds, which are no part of a ratio.
    if trust > 0.0 { (trust, constant - without(posts).1) } else { (0.0, 0.0) }
}

/// Log odds of positive; none where all posts have one label.
fn prior(posts: &[Shown]) -> Option<f64> {
    let positive = posts.iter().filter(|post| post.positive).count();
    let negative = posts.len() - positive;
    (positive > 0 && negative > 0).then(|| (positive as f64 / negative as f64).ln())
}

/// Whether `with` loses less than `without` on posts that neither was fitted on, by more than the standard error of that
/// gain over groups: of two that cannot be told apart, the plainer one (Breiman et al. 1984).
fn helps<T>(
    posts: &[Shown],
    without: impl Fn(&[Shown]) -> T,
    with: impl Fn(&[Shown]) -> T,
    loss: impl Fn(&Shown, &T) -> f64,
) -> bool {
    let mut gains: BTreeMap<u64, f64> = posts.iter().map(|post| (post.group, 0.0)).collect();
    if gains.len() < 2 * FOLDS {
        return false;
    }
    let folds: BTreeMap<u64, usize> = gains.keys().enumerate().map(|(at, &group)| (group, at % FOLDS)).collect();
    for fold in 0..FOLDS {
        let (held, rest): (Vec<Shown>, Vec<Shown>) = posts.iter().partition(|post| folds[&post.group] == fold);
        let (plain, other) = (without(&rest), with(&rest));
        for post in &held {
            *gains.entry(post.group).or_default() += loss(post, &plain) - loss(post, &other);
        }
    }
    let count = gains.len() as f64;
    let total: f64 = gains.values().sum();
    let squares: f64 = gains.values().map(|gain| (gain - total / count).powi(2)).sum();
    total > (squares * count / (count - 1.0)).sqrt()
}

/// Logistic regression of the label on CMF-AP's logit with the evidence given; `(trust, constant)`, trust 0 if it would be
/// negative or is not asked for.
fn newton(posts: &[Shown], trusted: bool) -> (f64, f64) {
    let (mut trust, mut constant) = (0.0, 0.0);
    for _ in 0..50 {
        let (mut gradient, mut bend) =
            ([TRUST_RIDGE * trust, CONSTANT_RIDGE * constant], [TRUST_RIDGE, 0.0, CONSTANT_RIDGE]);
        for post in posts {
            let x = if trusted { post.interaction } else { 0.0 };
            let p = sigmoid(post.evidence + trust * x + constant);
            let (error, curvature) = (p - f64::from(u8::from(post.positive)), p * (1.0 - p));
            gradient[0] += error * x;
            gradient[1] += error;
            bend[0] += curvature * x * x;
            bend[1] += curvature * x;
            bend[2] += curvature;
        }
        let determinant = bend[0] * bend[2] - bend[1] * bend[1];
        let step = [
            (bend[2] * gradient[0] - bend[1] * gradient[1]) / determinant,
            (bend[0] * gradient[1] - bend[1] * gradient[0]) / determinant,
        ];
        // At most 2 at a time: far from the optimum the quadratic overshoots.
        let scale = (2.0 / step[0].abs().max(step[1].abs())).min(1.0);
        trust -= scale * step[0];
        constant -= scale * step[1];
        if step[0].abs().max(step[1].abs()) < 1e-9 {
            break;
        }
    }
    if trusted && trust <= 0.0 { newton(posts, false) } else { (trust, constant) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    /// Posts whose evidence is `truth * scale`, where `truth` and the part of it that only CMF-AP knows are log odds.
    fn posts(scale: f64, hidden: f64, seed: u64) -> Vec<Shown> {
        let mut rng = StdRng::seed_from_u64(seed);
        let post = |at: u64| {
            let known = rng.random_range(-4.0..4.0);
            let unknown = if rng.random_bool(0.5) { hidden } else { -hidden };
            let positive = rng.random_bool(sigmoid(known + unknown + 0.5));
            let interaction = if hidden == 0.0 { rng.random_range(-3.0..3.0) } else { 2.0 * unknown + 0.7 };
            Shown { evidence: known * scale, interaction, positive, group: at / 2 }
        };
        (0..800).map(post).collect()
    }

    #[test]
    fn evidence_that_is_too_sure_gets_a_temperature_and_honest_evidence_none() {
        let found = temperature(&posts(2.0, 0.0, 1));
        assert!((1.6..2.4).contains(&found), "{found}");
        let honest = (0..20).filter(|&seed| temperature(&posts(1.0, 0.0, seed)) == 1.0).count();
        assert!(honest >= 16, "{honest} of 20");
    }

    #[test]
    fn cmf_ap_is_heard_where_it_knows_more_and_nowhere_else() {
        let (trust, constant) = interaction(&posts(1.0, 2.0, 3));
        // Twice what it knows, and 0.7: half of it is the truth.
        assert!((trust - 0.5).abs() < 0.1, "{trust}");
        assert!((constant + 0.35).abs() < 0.25, "{constant}");
        let silent = (0..20).filter(|&seed| interaction(&posts(1.0, 0.0, seed)) == (0.0, 0.0)).count();
        assert!(silent >= 16, "{silent} of 20");
    }

    #[test]
    fn cmf_ap_that_argues_against_itself_is_not_heard() {
        let mut posts = posts(1.0, 2.0, 5);
        for post in &mut posts {
            post.interaction = -post.interaction;
        }
        assert_eq!(interaction(&posts), (0.0, 0.0));
    }

    #[test]
    fn one_label_and_few_groups_fit_nothing() {
        let all: Vec<Shown> = posts(2.0, 2.0, 1).into_iter().filter(|post| post.positive).collect();
        assert_eq!((temperature(&all), interaction(&all)), (1.0, (0.0, 0.0)));
        let few: Vec<Shown> =
            posts(2.0, 2.0, 1).into_iter().map(|post| Shown { group: post.group % 9, ..post }).collect();
        assert_eq!((temperature(&few), interaction(&few)), (1.0, (0.0, 0.0)));
        assert_eq!((temperature(&[]), interaction(&[])), (1.0, (0.0, 0.0)));
    }
}
