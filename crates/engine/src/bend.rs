//! What bends: tanh, the logistic function, softmax, normalisation; over slices, without an allocation.

pub use jtav_simd::dot;
use jtav_simd::{forms, multiply_add};

/// Beyond this tanh is 1 in f32.
const SATURATED: f32 = 7.905_311;
/// Numerator, odd powers from the 13th down; denominator, even powers from the 6th down: the rational function of Eigen
/// (`generic_fast_tanh_float`).
const ABOVE: [f32; 7] =
    [-2.760_768_4e-16, 2.000_188e-13, -8.604_672e-11, 5.122_297e-8, 1.485_722_4e-5, 6.372_619e-4, 4.893_524_6e-3];
const BELOW: [f32; 4] = [1.198_258_4e-6, 1.185_347_1e-4, 2.268_434_6e-3, 4.893_525e-3];

/// tanh to 4e-7, for whoever is compiled in both forms.
#[inline(always)]
pub(crate) fn tanh_of<const FUSED: bool>(x: f32) -> f32 {
    let x = x.clamp(-SATURATED, SATURATED);
    let square = x * x;
    let mut above = ABOVE[0];
    for term in &ABOVE[1..] {
        above = multiply_add::<FUSED>(above, square, *term);
    }
    let mut below = BELOW[0];
    for term in &BELOW[1..] {
        below = multiply_add::<FUSED>(below, square, *term);
    }
    x * above / below
}

/// `1 / (1 + exp(-x))`.
#[inline(always)]
pub(crate) fn logistic_of<const FUSED: bool>(x: f32) -> f32 {
    multiply_add::<FUSED>(0.5, tanh_of::<FUSED>(0.5 * x), 0.5)
}

#[inline(always)]
fn tanh_body<const FUSED: bool>(values: &mut [f32]) {
    for value in values {
        *value = tanh_of::<FUSED>(*value);
    }
}

forms! {
    /// tanh of every value, to 4e-7.
    pub fn tanh(values: &mut [f32]) = tanh_body
}

#[inline(always)]
fn add_scaled_body<const FUSED: bool>(sum: &mut [f32], by: f32, values: &[f32]) {
    for (sum, value) in sum.iter_mut().zip(values) {
        *sum = multiply_add::<FUSED>(by, *value, *sum);
    }
}

forms! {
    /// `sum += by * values`.
    pub fn add_scaled(sum: &mut [f32], by: f32, values: &[f32]) = add_scaled_body
}

/// Scores to weights that sum to 1.
pub fn softmax(scores: &mut [f32]) {
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut total = 0.0;
    for score in scores.iter_mut() {
        *score = (*score - largest).exp();
        total += *score;
    }
    for score in scores {
        *score /= total;
    }
}

#[inline(always)]
fn normalise_body<const FUSED: bool>(values: &mut [f32], epsilon: f32) {
    const LANES: usize = 16;
    let count = values.len() as f32;
    let mut sums = [0.0_f32; LANES];
    for chunk in values.chunks(LANES) {
        for (sum, value) in sums.iter_mut().zip(chunk) {
            *sum += value;
        }
    }
    let mean = sums.iter().sum::<f32>() / count;
    let mut squares = [0.0_f32; LANES];
    for chunk in values.chunks(LANES) {
        for (sum, value) in squares.iter_mut().zip(chunk) {
            let apart = value - mean;
            *sum = multiply_add::<FUSED>(apart, apart, *sum);
        }
    }
    let scale = (squares.iter().sum::<f32>() / count + epsilon).sqrt().recip();
    for value in values {
        *value = (*value - mean) * scale;
    }
}

forms! {
    /// Less the mean, over the deviation: layer normalisation without weights.
    pub fn normalise(values: &mut [f32], epsilon: f32) = normalise_body
}

#[inline(always)]
fn bent_sums_body<const FUSED: bool>(
    scores: &mut [f32],
    values: &[f32],
    slopes: &[f32],
    shifts: &[f32],
    weights: &[f32],
) {
    scores.fill(0.0);
    for ((slope, shift), weight) in slopes.iter().zip(shifts).zip(weights) {
        for (score, value) in scores.iter_mut().zip(values) {
            let bent = tanh_of::<FUSED>(multiply_add::<FUSED>(*slope, *value, *shift));
            *score = multiply_add::<FUSED>(*weight, bent, *score);
        }
    }
}

forms! {
    /// `scores[j] = Σ_i weights[i] tanh(slopes[i] values[j] + shifts[i])`: the attention of CMF-AP in its factorised form, without
    /// its table.
    pub fn bent_sums(scores: &mut [f32], values: &[f32], slopes: &[f32], shifts: &[f32], weights: &[f32]) = bent_sums_body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tanh_is_right_to_four_ten_millionths_in_both_forms() {
        let xs: Vec<f32> = (-120_000..=120_000).map(|at| at as f32 * 1e-4).chain([1e-8, -1e-20, 50.0, -1e30]).collect();
        let mut wide = xs.clone();
        tanh(&mut wide);
        for (x, found) in xs.iter().zip(wide) {
            let expected = f64::from(*x).tanh();
            assert!((f64::from(found) - expected).abs() < 4e-7, "tanh({x}) = {found}, not {expected}");
            assert!((f64::from(tanh_of::<false>(*x)) - expected).abs() < 4e-7, "{x}");
            assert!((f64::from(logistic_of::<true>(*x)) - 1.0 / (1.0 + (-f64::from(*x)).exp())).abs() < 4e-7, "{x}");
        }
    }

    #[test]
    fn what_is_not_a_number_stays_none() {
        let mut values = [f32::NAN, 1.0];
        tanh(&mut values);
        assert!(values[0].is_nan() && values[1] > 0.7);
    }

    #[test]
    fn sums_are_those_of_their_definitions() {
        let a: Vec<f32> = (0..37).map(|at| (at as f32 * 0.7).sin()).collect();
        let b: Vec<f32> = (0..37).map(|at| (at as f32 * 0.3).cos()).collect();
        let expected: f64 = a.iter().zip(&b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
        assert!((f64::from(dot(&a, &b)) - expected).abs() < 1e-5);
        let mut sum = a.clone();
        add_scaled(&mut sum, 2.0, &b);
        assert!(sum.iter().zip(&a).zip(&b).all(|((sum, a), b)| (sum - (a + 2.0 * b)).abs() < 1e-6));
        let mut normal = a.clone();
        normalise(&mut normal, 1e-5);
        let mean = normal.iter().sum::<f32>() / 37.0;
        let square = normal.iter().map(|value| value * value).sum::<f32>() / 37.0;
        assert!(mean.abs() < 1e-6 && (square - 1.0).abs() < 1e-3, "{mean} {square}");
        let mut weights = [1000.0, 1001.0, 900.0];
        softmax(&mut weights);
        assert!(
            (weights.iter().sum::<f32>() - 1.0).abs() < 1e-6 && (weights[1] / weights[0] - 1_f32.exp()).abs() < 1e-4
        );
        let mut scores = vec![9.0; 37];
        bent_sums(&mut scores, &a, &[0.5, -2.0], &[0.1, 0.2], &[1.5, -0.5]);
        for (score, value) in scores.iter().zip(&a) {
            let expected = 1.5 * (0.5 * value + 0.1).tanh() - 0.5 * (-2.0 * value + 0.2).tanh();
            assert!((score - expected).abs() < 1e-6);
        }
    }
}
