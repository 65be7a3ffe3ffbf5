//! With AVX-512: a register for 16 outputs, and up to 24 sums at a time.

use std::arch::x86_64::{
    __m512, __m512bh, __m512i, __mmask16, _mm512_add_ps, _mm512_cvtne2ps_pbh, _mm512_dpbf16_ps, _mm512_fmadd_ps,
    _mm512_load_ps, _mm512_loadu_ps, _mm512_mask_storeu_ps, _mm512_maskz_loadu_ps, _mm512_set1_epi32, _mm512_set1_ps,
    _mm512_setzero_ps,
};

use super::{Dense, LANES, Line, pair_of};

/// The product by a kernel: what a step of a row adds to the sums of a panel. Twice the same, for an intrinsic is compiled into its
/// caller only where both have its instructions.
macro_rules! product {
    ($features:literal, $value:ty, $forward:ident, $of_group:ident, $sums:ident, |$one:ident, $line:ident, $sum:ident| $step:expr) => {
        impl Dense {
            /// Rows of one group after the other: its lines stay near while the rows pass them.
            #[target_feature(enable = $features)]
            pub(super) fn $forward(&self, x: &[$value], y: &mut [f32], rows: usize) {
                for group in 0..self.groups {
                    match self.group(group).len() {
                        1 => self.$of_group::<1>(x, y, rows, group),
                        2 => self.$of_group::<2>(x, y, rows, group),
                        3 => self.$of_group::<3>(x, y, rows, group),
                        4 => self.$of_group::<4>(x, y, rows, group),
                        5 => self.$of_group::<5>(x, y, rows, group),
                        _ => self.$of_group::<6>(x, y, rows, group),
                    }
                }
            }

            #[target_feature(enable = $features)]
            fn $of_group<const PANELS: usize>(&self, x: &[$value], y: &mut [f32], rows: usize, group: usize) {
                let (steps, first) = (self.steps(), self.group(group).start);
                let lines = &self.lines[first * steps..][..PANELS * steps];
                let mut row = 0;
                while row < rows {
                    let x = &x[row * steps..];
                    row += match rows - row {
                        8.. if PANELS <= 3 => self.store($sums::<8, PANELS>(x, lines, steps), y, row, first),
                        4 | 6.. => self.store($sums::<4, PANELS>(x, lines, steps), y, row, first),
                        3 | 5 => self.store($sums::<3, PANELS>(x, lines, steps), y, row, first),
                        2 => self.store($sums::<2, PANELS>(x, lines, steps), y, row, first),
                        _ => self.store($sums::<1, PANELS>(x, lines, steps), y, row, first),
                    };
                }
            }
        }

        /// The products of `ROWS` rows with the panels of a group. The sums are given back by value: one that a pointer leads to
        /// would be written to memory in every step.
        #[target_feature(enable = $features)]
        #[inline]
        fn $sums<const ROWS: usize, const PANELS: usize>(
            rows: &[$value],
            lines: &[Line],
            steps: usize,
        ) -> [[__m512; PANELS]; ROWS] {
            assert!(rows.len() >= ROWS * steps && lines.len() == PANELS * steps, "Invariant: whole rows and panels");
            let (rows, lines) = (rows.as_ptr(), lines.as_ptr());
            let mut sums = [[_mm512_setzero_ps(); PANELS]; ROWS];
            for step in 0..steps {
                let mut of_step = [_mm512_setzero_ps(); PANELS];
                for (panel, line) in of_step.iter_mut().enumerate() {
                    // SAFETY: there are `PANELS * steps` lines, each of 64 bytes from a multiple of 64 on.
                    *line = unsafe { _mm512_load_ps(lines.add(step * PANELS + panel).cast()) };
                }
                for (row, sums) in sums.iter_mut().enumerate() {
                    // SAFETY: there are `ROWS * steps` values.
                    let $one = unsafe { *rows.add(row * steps + step) };
                    for ($sum, &$line) in sums.iter_mut().zip(&of_step) {
                        *$sum = $step;
                    }
                }
            }
            sums
        }
    };
}

product!("avx512f,avx2,fma", f32, forward_avx512, group_in_f32, sums_in_f32, |value, line, sum| {
    _mm512_fmadd_ps(_mm512_set1_ps(value), line, *sum)
});
product!("avx512f,avx512bf16,avx2,fma", u32, forward_pairs, group_in_bf16, sums_in_bf16, |pair, line, sum| {
    // SAFETY: of both: registers of the same size, in which every pattern of bits is a value.
    unsafe {
        let pair = std::mem::transmute::<__m512i, __m512bh>(_mm512_set1_epi32(pair.cast_signed()));
        _mm512_dpbf16_ps(*sum, std::mem::transmute::<__m512, __m512bh>(line), pair)
    }
});

/// Rows of `inputs` values as rows of pairs.
#[target_feature(enable = "avx512f,avx512bf16")]
fn pairs(x: &[f32], inputs: usize) -> Vec<u32> {
    let mut pairs = Vec::with_capacity(x.len() / inputs * inputs.div_ceil(2));
    for row in x.chunks_exact(inputs) {
        let (whole, rest) = row.as_chunks::<{ 2 * LANES }>();
        for values in whole {
            // SAFETY: there are 32 values, and a register of 32 in bf16 has the size of 16 pairs, the earlier one in the lower half.
            let rounded: [u32; LANES] = unsafe {
                let [first, second] = [0, LANES].map(|at| _mm512_loadu_ps(values.as_ptr().add(at)));
                std::mem::transmute::<__m512bh, [u32; LANES]>(_mm512_cvtne2ps_pbh(second, first))
            };
            pairs.extend_from_slice(&rounded);
        }
        pairs.extend(rest.chunks(2).map(pair_of));
    }
    pairs
}

impl Dense {
    /// The product by pairs in bf16.
    #[target_feature(enable = "avx512f,avx512bf16,avx2,fma")]
    pub(super) fn forward_bf16(&self, x: &[f32], y: &mut [f32], rows: usize) {
        self.forward_pairs(&pairs(x, self.inputs), y, rows);
    }

    /// Sums and constants to the outputs of rows from `row` on, panels from `first` on; gives the number of rows.
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn store<const ROWS: usize, const PANELS: usize>(
        &self,
        sums: [[__m512; PANELS]; ROWS],
        y: &mut [f32],
        row: usize,
        first: usize,
    ) -> usize {
        let outputs = self.outputs();
        for (at_row, sums) in sums.into_iter().enumerate() {
            let y = &mut y[(row + at_row) * outputs..][..outputs];
            for (at_panel, sum) in sums.into_iter().enumerate() {
                let at = (first + at_panel) * LANES;
                let (bias, y) = (&self.bias[at..], &mut y[at..]);
                let there = __mmask16::MAX >> (LANES - y.len().min(LANES));
                // SAFETY: the mask leaves out what lies beyond the slices, which are of one length.
                unsafe {
                    let sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(there, bias.as_ptr()));
                    _mm512_mask_storeu_ps(y.as_mut_ptr(), there, sum);
                }
            }
        }
        ROWS
    }
}
