//! The inverse cosine transform of the low frequencies alone: a block of 8 × 8 becomes N × N pixels, as if the picture had
//! been reduced by an ideal low-pass (Dugad and Ahuja, "A fast scheme for image size change in the compressed domain",
//! IEEE TCSVT 2001; libjpeg's `scale_num`).

use std::f32::consts::PI;

/// Quantisation steps times the norms of the transform, in the order of the rows of a block.
pub(super) type Steps = [f32; 64];

/// Cosines of the N-point transform, cos((2n + 1) k π / 2N): once with the frequencies `k` of a pixel `n` side by side, once
/// with the pixels of a frequency.
struct Cosines<const N: usize> {
    of_pixel: [[f32; N]; N],
    of_frequency: [[f32; N]; N],
}

impl<const N: usize> Cosines<N> {
    fn new() -> Self {
        let cosine = |n: usize, k: usize| ((2 * n + 1) as f32 * k as f32 * PI / (2 * N) as f32).cos();
        let table = |of: &dyn Fn(usize, usize) -> f32| std::array::from_fn(|a| std::array::from_fn(|b| of(a, b)));
        Self { of_pixel: table(&cosine), of_frequency: table(&|k, n| cosine(n, k)) }
    }
}

/// Sides that a block can be transformed to, in pixels.
pub(super) const SIDES: [usize; 7] = [1, 2, 3, 4, 5, 6, 8];

/// Turns coefficients to pixels.
pub(super) struct Transform {
    two: Cosines<2>,
    three: Cosines<3>,
    four: Cosines<4>,
    five: Cosines<5>,
    six: Cosines<6>,
    eight: Cosines<8>,
}

impl Transform {
    pub(super) fn new() -> Self {
        Self {
            two: Cosines::new(),
            three: Cosines::new(),
            four: Cosines::new(),
            five: Cosines::new(),
            six: Cosines::new(),
            eight: Cosines::new(),
        }
    }

    /// Quantisation steps, in rows, with the norms in them. Those of the N-point transform and the factor N / 8 between
    /// its mean and that of 8 points cancel but for √½ at frequency zero, whatever N is.
    pub(super) fn steps(quantisation: &[u16; 64]) -> Steps {
        let norm = |k: usize| if k == 0 { 0.125_f32.sqrt() } else { 0.5 };
        std::array::from_fn(|at| f32::from(quantisation[at]) * norm(at / 8) * norm(at % 8))
    }

    /// Writes `side` × `side` pixels, a side of [`SIDES`]; `out` begins with the first and its rows are `stride` apart.
    #[inline]
    pub(super) fn block(&self, side: usize, coefficients: &[i16; 64], steps: &Steps, out: &mut [u8], stride: usize) {
        match side {
            1 => out[0] = rounded(f32::from(coefficients[0]) * steps[0]),
            2 => inverse(&self.two, coefficients, steps, out, stride),
            3 => inverse(&self.three, coefficients, steps, out, stride),
            4 => inverse(&self.four, coefficients, steps, out, stride),
            5 => inverse(&self.five, coefficients, steps, out, stride),
            6 => inverse(&self.six, coefficients, steps, out, stride),
            _ => inverse(&self.eight, coefficients, steps, out, stride),
        }
    }

    /// A block that has only its mean.
    #[inline]
    pub(super) fn flat_block(side: usize, mean: i16, steps: &Steps, out: &mut [u8], stride: usize) {
        let value = rounded(f32::from(mean) * steps[0]);
        for row in out.chunks_mut(stride).take(side) {
            row[..side].fill(value);
        }
    }
}

/// Adds the level shift, rounds and clips. Behind 2²³ the last bits of a float are those of an integer: this way of
/// rounding is plain arithmetic, so the compiler does it for many pixels at once.
#[inline(always)]
fn rounded(value: f32) -> u8 {
    ((value + 128.0).clamp(0.0, 255.0) + 8_388_608.0).to_bits() as u8
}

#[inline(always)]
fn inverse<const N: usize>(
    cosines: &Cosines<N>,
    coefficients: &[i16; 64],
    steps: &Steps,
    out: &mut [u8],
    stride: usize,
) {
    // Rows of low frequencies, from which columns are made first: each step is one row, N numbers wide. The cosines of
    // even frequencies are symmetric about the middle, those of odd ones antisymmetric: two rows come of the work for one.
    let mut rows = [[0.0_f32; N]; N];
    for v in 0..N {
        for u in 0..N {
            rows[v][u] = f32::from(coefficients[v * 8 + u]) * steps[v * 8 + u];
        }
    }
    let mut columns = [[0.0_f32; N]; N];
    for n in 0..N.div_ceil(2) {
        let mut halves = [[0.0_f32; N]; 2];
        for v in 0..N {
            for u in 0..N {
                halves[v % 2][u] += cosines.of_pixel[n][v] * rows[v][u];
            }
        }
        for u in 0..N {
            columns[n][u] = halves[0][u] + halves[1][u];
            columns[N - 1 - n][u] = halves[0][u] - halves[1][u];
        }
    }
    for (n, frequencies) in columns.iter().enumerate() {
        let mut row = [0.0_f32; N];
        for (frequency, cosines) in frequencies.iter().zip(&cosines.of_frequency) {
            row.iter_mut().zip(cosines).for_each(|(sum, cosine)| *sum += frequency * cosine);
        }
        let pixels = &mut out[n * stride..n * stride + N];
        pixels.iter_mut().zip(row).for_each(|(pixel, value)| *pixel = rounded(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, T.81 A.3.3, in double precision.
    fn definition(coefficients: &[i16; 64], quantisation: &[u16; 64]) -> [f64; 64] {
        let norm = |k: usize| if k == 0 { 0.5_f64.sqrt() } else { 1.0 };
        let cosine = |n: usize, k: usize| ((2 * n + 1) as f64 * k as f64 * std::f64::consts::PI / 16.0).cos();
        std::array::from_fn(|at| {
            let (y, x) = (at / 8, at % 8);
            let mut sum = 0.0;
            for v in 0..8 {
                for u in 0..8 {
                    let value = f64::from(coefficients[v * 8 + u]) * f64::from(quantisation[v * 8 + u]);
                    sum += norm(u) * norm(v) * value * cosine(x, u) * cosine(y, v);
                }
            }
            (sum / 4.0 + 128.0).clamp(0.0, 255.0)
        })
    }

    fn block() -> ([i16; 64], [u16; 64]) {
        let mut state = 7_u32;
        let mut random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 16
        };
        let quantisation = std::array::from_fn(|at| 3 + at as u16 / 4);
        let coefficients = std::array::from_fn(|at| (random() % 21) as i16 - 10 + if at == 0 { 30 } else { 0 });
        (coefficients, quantisation)
    }

    #[test]
    fn all_frequencies_give_the_pixels_of_the_definition() {
        let (coefficients, quantisation) = block();
        let mut pixels = [0; 64];
        Transform::new().block(8, &coefficients, &Transform::steps(&quantisation), &mut pixels, 8);
        for (ours, exact) in pixels.iter().zip(definition(&coefficients, &quantisation)) {
            assert!((f64::from(*ours) - exact).abs() < 0.51, "{ours} {exact}");
        }
    }

    #[test]
    fn smooth_blocks_look_the_same_at_every_size() {
        // Only the lowest frequencies: what a smaller block keeps.
        let mut coefficients = [0; 64];
        (coefficients[0], coefficients[1], coefficients[8]) = (40, 25, -18);
        let steps = Transform::steps(&[4; 64]);
        let transform = Transform::new();
        let mut whole = [0; 64];
        transform.block(8, &coefficients, &steps, &mut whole, 8);
        for side in [2, 4] {
            let mut small = [0; 64];
            transform.block(side, &coefficients, &steps, &mut small, side);
            let reach = 8 / side;
            for y in 0..side {
                for x in 0..side {
                    let covered = |dy: usize, dx: usize| f32::from(whole[(y * reach + dy) * 8 + x * reach + dx]);
                    let sum: f32 =
                        (0..reach).flat_map(|dy| (0..reach).map(move |dx| (dy, dx))).map(|(y, x)| covered(y, x)).sum();
                    let mean = sum / (reach * reach) as f32;
                    assert!((f32::from(small[y * side + x]) - mean).abs() < 6.0, "{side}: {x} {y}");
                }
            }
        }
    }

    #[test]
    fn a_flat_block_is_its_mean() {
        let steps = Transform::steps(&[16; 64]);
        let mut coefficients = [0; 64];
        coefficients[0] = -21;
        for side in SIDES {
            let (mut general, mut flat) = ([0; 64], [0; 64]);
            Transform::new().block(side, &coefficients, &steps, &mut general, side);
            Transform::flat_block(side, -21, &steps, &mut flat, side);
            assert_eq!(general, flat);
            assert_eq!(general[0], 128 - 42);
        }
    }
}
