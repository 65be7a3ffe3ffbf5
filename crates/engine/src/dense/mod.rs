//! `y = x W' + b` for a few rows: the matrix is laid out once, when the network is built, and read from end to end in every pass.
//!
//! A library's product lays its matrix out anew in every call, which for the rows of one short text costs as much as the product;
//! and libtorch's (MKL) takes its slowest kernels on processors of another maker than its own.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;

use half::bf16;
use jtav_simd::{Form, form, multiplies_bf16, multiply_add};

use crate::precision::Precision;

/// Outputs of a panel: a register of AVX-512, two of AVX2.
const LANES: usize = 16;
/// Most panels of a group.
const MOST_PANELS: usize = 6;

/// A line of the cache, so that no load is split: bits of 16 values in f32, or of 16 pairs in bf16.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Line([u32; LANES]);

/// A dense layer.
#[derive(Debug, Clone)]
pub struct Dense {
    /// `[panels, steps]` of 16 outputs each, zeros beyond the last. Panels of a group lie side by side: `[steps, panels of the group]`.
    lines: Vec<Line>,
    /// In how many groups the panels lie, whose sizes differ by one at most.
    groups: usize,
    bias: Vec<f32>,
    inputs: usize,
    kernel: Kernel,
}

/// What reads the lines; they are laid out for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kernel {
    Plain,
    Avx2,
    Avx512,
    /// A step takes two inputs.
    Bf16,
}

impl Kernel {
    fn inputs_of_a_step(self) -> usize {
        if self == Self::Bf16 { 2 } else { 1 }
    }
}

impl Dense {
    /// In f32. `weight` is `[outputs, inputs]`, row-major; `bias` has a value for each output, or none at all for zeros.
    ///
    /// # Panics
    /// Sizes that do not fit each other are a bug of the caller.
    pub fn new(weight: &[f32], bias: &[f32], inputs: usize) -> Self {
        Self::in_precision(Precision::F32, weight, bias, inputs)
    }

    /// The same in bf16, if that is asked for and the processor multiplies it: inputs and weights are rounded, sums are f32.
    ///
    /// # Panics
    /// As [`Self::new`].
    pub fn in_precision(precision: Precision, weight: &[f32], bias: &[f32], inputs: usize) -> Self {
        let kernel = match (form(), precision) {
            (Form::Avx512, Precision::Bf16) if multiplies_bf16() => Kernel::Bf16,
            (Form::Avx512, _) => Kernel::Avx512,
            (Form::Avx2, _) => Kernel::Avx2,
            (Form::Plain, _) => Kernel::Plain,
        };
        Self::for_kernel(kernel, weight, bias, inputs)
    }

    fn for_kernel(kernel: Kernel, weight: &[f32], bias: &[f32], inputs: usize) -> Self {
        assert!(inputs > 0 && weight.len().is_multiple_of(inputs), "Invariant: whole rows of {inputs} weights");
        let outputs = weight.len() / inputs;
        assert!(bias.is_empty() || bias.len() == outputs, "Invariant: a constant for each of {outputs} outputs");
        let panels = outputs.div_ceil(LANES);
        let groups = match kernel {
            Kernel::Avx512 | Kernel::Bf16 => panels.div_ceil(MOST_PANELS),
            // Registers for two panels at the most: one after the other.
            Kernel::Avx2 | Kernel::Plain => panels,
        };
        let bias = if bias.is_empty() { vec![0.0; outputs] } else { bias.to_vec() };
        let mut dense = Self { lines: Vec::new(), groups, bias, inputs, kernel };
        let steps = dense.steps();
        dense.lines = vec![Line([0; LANES]); panels * steps];
        for group in 0..groups {
            let group = dense.group(group);
            let (first, side_by_side) = (group.start, group.len());
            let lines = &mut dense.lines[first * steps..][..side_by_side * steps];
            for (output, row) in weight.chunks_exact(inputs).enumerate().skip(first * LANES).take(side_by_side * LANES)
            {
                let (panel, lane) = (output / LANES - first, output % LANES);
                for (step, weights) in row.chunks(kernel.inputs_of_a_step()).enumerate() {
                    lines[step * side_by_side + panel].0[lane] = match kernel {
                        Kernel::Bf16 => pair_of(weights),
                        Kernel::Plain | Kernel::Avx2 | Kernel::Avx512 => weights[0].to_bits(),
                    };
                }
            }
        }
        dense
    }

    /// Lines of a panel.
    fn steps(&self) -> usize {
        self.inputs.div_ceil(self.kernel.inputs_of_a_step())
    }

    /// The panels of a group.
    fn group(&self, group: usize) -> std::ops::Range<usize> {
        let panels = self.outputs().div_ceil(LANES);
        let first = |group| group * panels / self.groups;
        first(group)..first(group + 1)
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
        match self.kernel {
            // SAFETY: of all: lines are laid out for a kernel only where the processor has what it was compiled for.
            Kernel::Avx512 => return unsafe { self.forward_avx512(x, y, rows) },
            Kernel::Bf16 => return unsafe { self.forward_bf16(x, y, rows) },
            Kernel::Avx2 => return unsafe { self.forward_avx2(x, y, rows) },
            Kernel::Plain => {}
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
        &self.lines[panel * self.inputs..][..self.inputs]
    }

    fn forward_plain(&self, x: &[f32], y: &mut [f32]) {
        let outputs = self.outputs();
        for (x, y) in x.chunks_exact(self.inputs).zip(y.chunks_exact_mut(outputs)) {
            for (panel, (y, bias)) in y.chunks_mut(LANES).zip(self.bias.chunks(LANES)).enumerate() {
                let mut sums = [0.0; LANES];
                for (value, line) in x.iter().zip(self.panel(panel)) {
                    for (sum, weight) in sums.iter_mut().zip(line.0) {
                        *sum = multiply_add::<false>(*value, f32::from_bits(weight), *sum);
                    }
                }
                for ((y, sum), bias) in y.iter_mut().zip(sums).zip(bias) {
                    *y = sum + bias;
                }
            }
        }
    }
}

/// One or two values as the processor multiplies pairs: the first in the lower half, zero for a second one that is not there.
fn pair_of(values: &[f32]) -> u32 {
    let half = |at: usize| u32::from(values.get(at).map_or(0, |value| bf16::from_f32(*value).to_bits()));
    half(1) << 16 | half(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wave(count: usize, step: f32) -> Vec<f32> {
        (0..count).map(|at| (at as f32 * step).sin()).collect()
    }

    /// Those that run here.
    fn kernels() -> Vec<Kernel> {
        let mut kernels = vec![Kernel::Plain];
        if form() != Form::Plain {
            kernels.push(Kernel::Avx2);
        }
        if form() == Form::Avx512 {
            kernels.push(Kernel::Avx512);
            kernels.extend(multiplies_bf16().then_some(Kernel::Bf16));
        }
        kernels
    }

    #[test]
    fn every_kernel_gives_the_sums_of_the_definition_for_any_number_of_rows() {
        for (inputs, outputs) in [(1, 1), (7, 16), (20, 33), (96, 288), (5, 100), (33, 130), (3, 20)] {
            let (weight, bias) = (wave(inputs * outputs, 0.37), wave(outputs, 0.9));
            for kernel in kernels() {
                let layer = Dense::for_kernel(kernel, &weight, &bias, inputs);
                assert_eq!((layer.inputs(), layer.outputs()), (inputs, outputs));
                // Of factors in bf16 the products are those of the rounded ones.
                let factor = |value: f32| match kernel {
                    Kernel::Bf16 => bf16::from_f32(value).to_f64(),
                    Kernel::Plain | Kernel::Avx2 | Kernel::Avx512 => f64::from(value),
                };
                for rows in 0..=17 {
                    let x = wave(rows * inputs, 0.53);
                    let found = layer.apply(&x);
                    assert_eq!(found.len(), rows * outputs);
                    for (at, found) in found.into_iter().enumerate() {
                        let (row, output) = (&x[at / outputs * inputs..][..inputs], at % outputs);
                        let products = row.iter().zip(&weight[output * inputs..]).map(|(x, w)| factor(*x) * factor(*w));
                        let expected = products.sum::<f64>() + f64::from(bias[output]);
                        assert!(
                            (f64::from(found) - expected).abs() < 1e-4,
                            "{kernel:?}, {rows} x {inputs} x {outputs}: {found} {expected}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn processors_with_wider_registers_give_the_same_bits() {
        let (inputs, outputs) = (96, 288);
        let (weight, bias, x) = (wave(inputs * outputs, 0.37), wave(outputs, 0.9), wave(5 * inputs, 0.53));
        let answers: Vec<Vec<f32>> = kernels()
            .into_iter()
            .filter(|kernel| matches!(kernel, Kernel::Avx2 | Kernel::Avx512))
            .map(|kernel| Dense::for_kernel(kernel, &weight, &bias, inputs).apply(&x))
            .collect();
        assert!(answers.windows(2).all(|pair| pair[0] == pair[1]));
    }

    #[test]
    fn bf16_is_there_where_the_processor_multiplies_it_and_nowhere_else() {
        let layer = Dense::in_precision(Precision::Bf16, &[1.0], &[], 1);
        assert_eq!(layer.kernel == Kernel::Bf16, kernels().contains(&Kernel::Bf16));
    }

    #[test]
    fn a_layer_without_constants_adds_none() {
        assert_eq!(Dense::new(&[2.0, 3.0], &[], 1).apply(&[5.0, -1.0]), [10.0, 15.0, -2.0, -3.0]);
    }
}
