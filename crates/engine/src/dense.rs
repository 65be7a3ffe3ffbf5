//! `y = x W' + b` for a few rows: the matrix is laid out once, when the network is built, and read from end to end in every pass.
//!
//! A library's product lays its matrix out anew in every call, which for the rows of one short text costs as much as the product;
//! and libtorch's (MKL) takes its slowest kernels on processors of another maker than its own.

use crate::simd::{is_wide, multiply_add};

/// Columns of a panel: two registers of eight.
const LANES: usize = 16;

/// A line of the cache, so that no load is split.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Line([f32; LANES]);

/// A dense layer.
#[derive(Debug, Clone)]
pub struct Dense {
    /// `[panels, inputs]` of 16 outputs each, zeros beyond the last.
    panels: Vec<Line>,
    bias: Vec<f32>,
    inputs: usize,
}

impl Dense {
    /// `weight` is `[outputs, inputs]`, row-major; `bias` has a value for each output, or none at all for zeros.
    ///
    /// # Panics
    /// Sizes that do not fit each other are a bug of the caller.
    pub fn new(weight: &[f32], bias: &[f32], inputs: usize) -> Self {
        assert!(inputs > 0 && weight.len().is_multiple_of(inputs), "Invariant: whole rows of {inputs} weights");
        let outputs = weight.len() / inputs;
        assert!(bias.is_empty() || bias.len() == outputs, "Invariant: a constant for each of {outputs} outputs");
        let mut panels = vec![Line([0.0; LANES]); outputs.div_ceil(LANES) * inputs];
        for (output, row) in weight.chunks_exact(inputs).enumerate() {
            let panel = &mut panels[output / LANES * inputs..][..inputs];
            for (line, value) in panel.iter_mut().zip(row) {
                line.0[output % LANES] = *value;
            }
        }
        let bias = if bias.is_empty() { vec![0.0; outputs] } else { bias.to_vec() };
        Self { panels, bias, inputs }
    }

    /// Values of a row that goes in.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Values of a row that comes out.
    pub fn outputs(&self) -> usize {
        self.bias.len()
    }

    /// `[rows, inputs]` to `[rows, outputs]`, both without gaps; as many rows as `x` has whole ones. What `y` held is overwritten.
    ///
    /// # Panics
    /// A `y` of another size is a bug of the caller.
    pub fn forward(&self, x: &[f32], y: &mut [f32]) {
        let rows = x.len() / self.inputs;
        assert_eq!(y.len(), rows * self.outputs(), "Invariant: a place for every output");
        #[cfg(target_arch = "x86_64")]
        if is_wide() {
            // SAFETY: the processor has what the function was compiled for.
            return unsafe { self.forward_wide(x, y, rows) };
        }
        self.forward_plain(x, y);
    }

    /// The same into memory of its own.
    pub fn apply(&self, x: &[f32]) -> Vec<f32> {
        let mut y = vec![0.0; x.len() / self.inputs * self.outputs()];
        self.forward(x, &mut y);
        y
    }

    fn panel(&self, panel: usize) -> &[Line] {
        &self.panels[panel * self.inputs..][..self.inputs]
    }

    fn forward_plain(&self, x: &[f32], y: &mut [f32]) {
        let outputs = self.outputs();
        for (x, y) in x.chunks_exact(self.inputs).zip(y.chunks_exact_mut(outputs)) {
            for (panel, (y, bias)) in y.chunks_mut(LANES).zip(self.bias.chunks(LANES)).enumerate() {
                let mut sums = [0.0; LANES];
                for (value, line) in x.iter().zip(self.panel(panel)) {
                    for (sum, weight) in sums.iter_mut().zip(line.0) {
                        *sum = multiply_add::<false>(*value, weight, *sum);
                    }
                }
                for ((y, sum), bias) in y.iter_mut().zip(sums).zip(bias) {
                    *y = sum + bias;
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod wide {
    use std::arch::x86_64::{
        __m256, _mm256_broadcast_ss, _mm256_fmadd_ps, _mm256_load_ps, _mm256_setzero_ps, _mm256_storeu_ps,
    };

    use super::{Dense, LANES, Line};

    impl Dense {
        /// Twelve sums of eight at a time, whatever the rows: many rows of one panel, or one row of many panels.
        #[target_feature(enable = "avx2,fma")]
        pub(super) fn forward_wide(&self, x: &[f32], y: &mut [f32], rows: usize) {
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
            let panels = &self.panels[panel * self.inputs..][..PANELS * self.inputs];
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
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wave(count: usize, step: f32) -> Vec<f32> {
        (0..count).map(|at| (at as f32 * step).sin()).collect()
    }

    #[test]
    fn both_forms_give_the_sums_of_the_definition_for_any_number_of_rows() {
        for (inputs, outputs) in [(1, 1), (7, 16), (20, 33), (96, 288), (5, 100)] {
            let (weight, bias) = (wave(inputs * outputs, 0.37), wave(outputs, 0.9));
            let layer = Dense::new(&weight, &bias, inputs);
            assert_eq!((layer.inputs(), layer.outputs()), (inputs, outputs));
            for rows in 0..=15 {
                let x = wave(rows * inputs, 0.53);
                let expected: Vec<f64> = (0..rows * outputs)
                    .map(|at| {
                        let (row, output) = (&x[at / outputs * inputs..][..inputs], at % outputs);
                        let products =
                            row.iter().zip(&weight[output * inputs..]).map(|(x, w)| f64::from(*x) * f64::from(*w));
                        products.sum::<f64>() + f64::from(bias[output])
                    })
                    .collect();
                let mut plain = vec![f32::NAN; rows * outputs];
                layer.forward_plain(&x, &mut plain);
                for found in [layer.apply(&x), plain] {
                    for (found, expected) in found.iter().zip(&expected) {
                        assert!(
                            (f64::from(*found) - expected).abs() < 1e-4,
                            "{rows} x {inputs} x {outputs}: {found} {expected}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_layer_without_constants_adds_none() {
        assert_eq!(Dense::new(&[2.0, 3.0], &[], 1).apply(&[5.0, -1.0]), [10.0, 15.0, -2.0, -3.0]);
    }
}
