//! The dot product of one f32 vector with many f16 vectors.

use half::f16;
use half::slice::HalfFloatSliceExt as _;

/// Dot products of `query`, `[dimensions]`, with the rows `picked` of `units`, `[rows × dimensions]`, into `out`, `[picked]`.
type Dots = fn(query: &[f32], units: &[f16], picked: &[u16], out: &mut [f32]);

/// The fastest way this processor has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kernel(Dots);

impl Kernel {
    /// Asks the processor.
    pub(crate) fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        if x86::is_there() {
            return Kernel(x86::dots);
        }
        Kernel(portable)
    }

    /// As [`Dots`] says. A row that `units` does not have whole counts as 0.
    pub(crate) fn dots(self, query: &[f32], units: &[f16], picked: &[u16], out: &mut [f32]) {
        self.0(query, units, picked, out);
    }
}

/// Row `row` of `[rows × dimensions]`; empty where it is not there.
fn row_of(units: &[f16], row: u16, dimensions: usize) -> &[f16] {
    let start = usize::from(row) * dimensions;
    units.get(start..start + dimensions).unwrap_or_default()
}

fn portable(query: &[f32], units: &[f16], picked: &[u16], out: &mut [f32]) {
    /// Sums side by side, so that the compiler uses the vector unit that there is.
    const LANES: usize = 8;
    let mut wide = vec![0.0; query.len()];
    for (row, dot) in picked.iter().zip(out) {
        let row = row_of(units, *row, query.len());
        let wide = &mut wide[..row.len()];
        row.convert_to_f32_slice(wide);
        let mut sums = [0.0f32; LANES];
        let (left, right) = (query.chunks_exact(LANES), wide.chunks_exact(LANES));
        let tail: f32 = left.remainder().iter().zip(right.remainder()).map(|(a, b)| a * b).sum();
        for (a, b) in left.zip(right) {
            for lane in 0..LANES {
                sums[lane] += a[lane] * b[lane];
            }
        }
        *dot = sums.iter().sum::<f32>() + tail;
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m128i, _mm_loadu_si128, _mm256_add_ps, _mm256_cvtph_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_setzero_ps,
        _mm256_storeu_ps,
    };

    use half::f16;

    use super::row_of;

    pub(super) fn is_there() -> bool {
        is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c")
    }

    pub(super) fn dots(query: &[f32], units: &[f16], picked: &[u16], out: &mut [f32]) {
        // SAFETY: `Kernel::detect` hands this function out only where `is_there` found the three features.
        unsafe { dots_avx2(query, units, picked, out) }
    }

    #[target_feature(enable = "avx2,fma,f16c")]
    fn dots_avx2(query: &[f32], units: &[f16], picked: &[u16], out: &mut [f32]) {
        for (row, dot) in picked.iter().zip(out) {
            *dot = dot_avx2(query, row_of(units, *row, query.len()));
        }
    }

    /// Two sums side by side hide the latency of the multiply-add; the memory is the limit from there on.
    #[target_feature(enable = "avx2,fma,f16c")]
    fn dot_avx2(query: &[f32], row: &[f16]) -> f32 {
        const LANES: usize = 8;
        let (left, right) = (query.chunks_exact(LANES), row.chunks_exact(LANES));
        let tail: f32 = left.remainder().iter().zip(right.remainder()).map(|(a, b)| a * b.to_f32()).sum();
        let (mut even, mut odd) = (_mm256_setzero_ps(), _mm256_setzero_ps());
        for (a, b) in left.zip(right) {
            // SAFETY: both chunks have 8 elements, 32 and 16 bytes; the loads ask for no alignment, and `f16` is a
            // transparent u16.
            let (a, b) = unsafe { (_mm256_loadu_ps(a.as_ptr()), _mm_loadu_si128(b.as_ptr().cast::<__m128i>())) };
            let sum = _mm256_fmadd_ps(a, _mm256_cvtph_ps(b), odd);
            (even, odd) = (sum, even);
        }
        let mut sums = [0.0f32; LANES];
        // SAFETY: `sums` has room for the 8.
        unsafe { _mm256_storeu_ps(sums.as_mut_ptr(), _mm256_add_ps(even, odd)) };
        sums.iter().sum::<f32>() + tail
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_way_gives_the_sum_of_products(
            query in prop::collection::vec(-2.0f32..2.0, 1..70), seed in any::<u32>(), rows in 1usize..5,
        ) {
            let mut state = seed;
            let mut noise = || { state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223); (state >> 8) as f32 / 16_777_216.0 - 0.5 };
            let units: Vec<f16> = (0..rows * query.len()).map(|_| f16::from_f32(noise())).collect();
            let picked: Vec<u16> = (0..rows as u16).rev().collect();
            for kernel in [Kernel::detect(), Kernel(portable)] {
                let mut out = vec![f32::NAN; rows];
                kernel.dots(&query, &units, &picked, &mut out);
                for (row, dot) in picked.iter().zip(out) {
                    let row = &units[usize::from(*row) * query.len()..][..query.len()];
                    let exact: f64 = query.iter().zip(row).map(|(a, b)| f64::from(*a) * b.to_f64()).sum();
                    prop_assert!((f64::from(dot) - exact).abs() < 1e-4, "{dot} is not {exact}");
                }
            }
        }
    }

    #[test]
    fn a_row_that_is_not_there_counts_as_nothing() {
        let mut out = [1.0];
        for kernel in [Kernel::detect(), Kernel(portable)] {
            kernel.dots(&[1.0; 9], &[f16::ONE; 9], &[7], &mut out);
            assert_eq!(out, [0.0]);
        }
    }
}
