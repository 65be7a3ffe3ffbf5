//! With AVX2 and FMA: registers of eight, panels one after the other.

use std::arch::x86_64::{
    __m256, _mm256_broadcast_ss, _mm256_fmadd_ps, _mm256_load_ps, _mm256_setzero_ps, _mm256_storeu_ps,
};

use super::{Dense, LANES, Line};

impl Dense {
    /// Twelve sums of eight at a time, whatever the rows: many rows of one panel, or one row of many panels.
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn forward_avx2(&self, x: &[f32], y: &mut [f32], rows: usize) {
        let panels = self.outputs().div_ceil(LANES);
        match rows {
            0 => {}
            1 => self.rows_by_panels::<1, 6>(x, y, 0, panels),
            2 => self.rows_by_panels::<2, 3>(x, y, 0, panels),
            3 => self.rows_by_panels::<3, 2>(x, y, 0, panels),
            _ => {
                // A panel stays in the nearest cache while all rows pass it.
                for panel in 0..panels {
                    let mut row = 0;
                    while row < rows {
                        row += match rows - row {
                            6.. if rows - row != 7 => self.some_rows::<6>(x, y, row, panel),
                            4.. => self.some_rows::<4>(x, y, row, panel),
                            3 => self.some_rows::<3>(x, y, row, panel),
                            2 => self.some_rows::<2>(x, y, row, panel),
                            _ => self.some_rows::<1>(x, y, row, panel),
                        };
                    }
                }
            }
        }
    }

    #[target_feature(enable = "avx2,fma")]
    fn some_rows<const ROWS: usize>(&self, x: &[f32], y: &mut [f32], row: usize, panel: usize) -> usize {
        self.tile::<ROWS, 1>(x, y, row, panel);
        ROWS
    }

    #[target_feature(enable = "avx2,fma")]
    fn rows_by_panels<const ROWS: usize, const PANELS: usize>(
        &self,
        x: &[f32],
        y: &mut [f32],
        row: usize,
        panels: usize,
    ) {
        let mut panel = 0;
        while panel + PANELS <= panels {
            self.tile::<ROWS, PANELS>(x, y, row, panel);
            panel += PANELS;
        }
        for panel in panel..panels {
            self.tile::<ROWS, 1>(x, y, row, panel);
        }
    }

    /// `ROWS` rows from `row` on by `PANELS` panels from `panel` on.
    #[target_feature(enable = "avx2,fma")]
    #[inline]
    fn tile<const ROWS: usize, const PANELS: usize>(&self, x: &[f32], y: &mut [f32], row: usize, panel: usize) {
        let rows = &x[row * self.inputs..][..ROWS * self.inputs];
        let panels = &self.lines[panel * self.inputs..][..PANELS * self.inputs];
        let sums = sums::<ROWS, PANELS>(rows, panels, self.inputs);
        for (at_row, sums) in sums.into_iter().enumerate() {
            let y = &mut y[(row + at_row) * self.outputs()..][..self.outputs()];
            for (at_panel, sums) in sums.into_iter().enumerate() {
                let first = (panel + at_panel) * LANES;
                let last = (first + LANES).min(y.len());
                store(sums, &self.bias[first..last], &mut y[first..last]);
            }
        }
    }
}

/// The products of `ROWS` rows with `PANELS` panels. The sums are given back by value: one that a pointer leads to would be
/// written to memory in every step.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn sums<const ROWS: usize, const PANELS: usize>(
    rows: &[f32],
    panels: &[Line],
    inputs: usize,
) -> [[[__m256; 2]; PANELS]; ROWS] {
    assert!(rows.len() == ROWS * inputs && panels.len() == PANELS * inputs, "Invariant: whole rows and panels");
    let (rows, panels) = (rows.as_ptr(), panels.as_ptr());
    let mut sums = [[[_mm256_setzero_ps(); 2]; PANELS]; ROWS];
    for at in 0..inputs {
        let mut lines = [[_mm256_setzero_ps(); 2]; PANELS];
        for (panel, line) in lines.iter_mut().enumerate() {
            // SAFETY: there are `PANELS * inputs` lines, each of 16 values that begin on a multiple of 64 bytes.
            *line = unsafe {
                let values = panels.add(panel * inputs + at).cast::<f32>();
                [_mm256_load_ps(values), _mm256_load_ps(values.add(LANES / 2))]
            };
        }
        for (row, sums) in sums.iter_mut().enumerate() {
            // SAFETY: there are `ROWS * inputs` values.
            let value = _mm256_broadcast_ss(unsafe { &*rows.add(row * inputs + at) });
            for (sums, line) in sums.iter_mut().zip(&lines) {
                sums[0] = _mm256_fmadd_ps(value, line[0], sums[0]);
                sums[1] = _mm256_fmadd_ps(value, line[1], sums[1]);
            }
        }
    }
    sums
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn store(sums: [__m256; 2], bias: &[f32], y: &mut [f32]) {
    let mut values = [0.0_f32; LANES];
    for (half, sums) in values.chunks_exact_mut(LANES / 2).zip(sums) {
        // SAFETY: the half has room for eight values.
        unsafe { _mm256_storeu_ps(half.as_mut_ptr(), sums) };
    }
    for ((y, sum), bias) in y.iter_mut().zip(values).zip(bias) {
        *y = sum + bias;
    }
}
