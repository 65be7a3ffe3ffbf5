//! A bidirectional gated recurrent unit over rows of any length, without padding.
//!
//! Torch's equations and names, gates in the order reset, update, new (Cho et al. 2014, "reset after" form). What the inputs say to the
//! gates is one product for all steps of all rows and both directions; a step multiplies the states of the rows that still run, and
//! bends them in place.

use jtav_simd::{forms, multiply_add};

use crate::bend::{logistic_of, tanh_of};
use crate::dense::Dense;
use crate::precision::Precision;

const GATES: usize = 3;

/// Weights of one direction, row-major as torch has them.
#[derive(Debug, Clone)]
pub struct Direction {
    /// `[3 hidden, inputs]`.
    pub input_weight: Vec<f32>,
    /// `[3 hidden, hidden]`.
    pub hidden_weight: Vec<f32>,
    /// `[3 hidden]`.
    pub input_bias: Vec<f32>,
    /// `[3 hidden]`.
    pub hidden_bias: Vec<f32>,
}

/// The layer.
#[derive(Debug, Clone)]
pub struct BiGru {
    /// To `[6 hidden]`: the gates of both directions.
    input: Dense,
    /// Forward, backward.
    hidden: [Dense; 2],
}

impl BiGru {
    /// Forward, backward; rows of `inputs` values. Inputs are multiplied in `precision` if the processor can; states in f32, for what
    /// rounding does to them comes back to them.
    ///
    /// # Panics
    /// Sizes that do not fit each other are a bug of the caller.
    pub fn new(directions: &[Direction; 2], inputs: usize, precision: Precision) -> Self {
        let [forward, backward] = directions;
        let weight = [forward.input_weight.as_slice(), &backward.input_weight].concat();
        let bias = [forward.input_bias.as_slice(), &backward.input_bias].concat();
        let hidden = directions.each_ref().map(|direction| {
            Dense::new(&direction.hidden_weight, &direction.hidden_bias, direction.hidden_bias.len() / GATES)
        });
        Self { input: Dense::in_precision(precision, &weight, &bias, inputs), hidden }
    }

    /// Units of one direction.
    pub fn hidden(&self) -> usize {
        self.hidden[0].inputs()
    }

    /// `[steps of all rows, inputs]`, row after row without gaps, to `[steps of all rows, 2 hidden]`: forward states beside backward
    /// ones. `lengths` are the steps of each row.
    ///
    /// # Panics
    /// Lengths that are not those of `x` are a bug of the caller.
    pub fn forward(&self, x: &[f32], lengths: &[usize]) -> Vec<f32> {
        let steps: usize = lengths.iter().sum();
        assert_eq!(x.len(), steps * self.input.inputs(), "Invariant: as many steps as the lengths say");
        let gates = self.input.apply(x);
        let mut states = vec![0.0; steps * 2 * self.hidden()];
        let rows = Rows::new(lengths);
        for backward in [false, true] {
            self.run(&gates, &rows, backward, &mut states);
        }
        states
    }

    fn run(&self, gates: &[f32], rows: &Rows, backward: bool, states: &mut [f32]) {
        let (hidden, side) = (self.hidden(), usize::from(backward));
        let layer = &self.hidden[side];
        let mut state = vec![0.0; rows.longest_first.len() * hidden];
        let mut heard = vec![0.0; rows.longest_first.len() * GATES * hidden];
        for step in 0..rows.longest() {
            let running = rows.running(step);
            let (state, heard) = (&mut state[..running * hidden], &mut heard[..running * GATES * hidden]);
            layer.forward(state, heard);
            let rows = rows.longest_first[..running].iter();
            for ((row, state), heard) in
                rows.zip(state.chunks_exact_mut(hidden)).zip(heard.chunks_exact(GATES * hidden))
            {
                let at = row.first + if backward { row.length - 1 - step } else { step };
                let said = &gates[(2 * at + side) * GATES * hidden..][..GATES * hidden];
                gate(said, heard, state);
                states[(2 * at + side) * hidden..][..hidden].copy_from_slice(state);
            }
        }
    }
}

#[inline(always)]
fn gate_body<const FUSED: bool>(said: &[f32], heard: &[f32], state: &mut [f32]) {
    let hidden = state.len();
    let (said_reset, said) = said.split_at(hidden);
    let (said_update, said_new) = said.split_at(hidden);
    let (heard_reset, heard) = heard.split_at(hidden);
    let (heard_update, heard_new) = heard.split_at(hidden);
    for (at, state) in state.iter_mut().enumerate() {
        let reset = logistic_of::<FUSED>(said_reset[at] + heard_reset[at]);
        let update = logistic_of::<FUSED>(said_update[at] + heard_update[at]);
        let new = tanh_of::<FUSED>(multiply_add::<FUSED>(reset, heard_new[at], said_new[at]));
        *state = multiply_add::<FUSED>(update, *state - new, new);
    }
}

forms! {
    /// One step of one row: what the input and what the state says to the three gates, and the state that comes of it.
    fn gate(said: &[f32], heard: &[f32], state: &mut [f32]) = gate_body
}

struct Row {
    /// Its first step among those of all rows.
    first: usize,
    length: usize,
}

struct Rows {
    longest_first: Vec<Row>,
}

impl Rows {
    fn new(lengths: &[usize]) -> Self {
        let mut first = 0;
        let mut longest_first = Vec::with_capacity(lengths.len());
        for &length in lengths {
            longest_first.push(Row { first, length });
            first += length;
        }
        longest_first.sort_by_key(|row| std::cmp::Reverse(row.length));
        Self { longest_first }
    }

    fn longest(&self) -> usize {
        self.longest_first.first().map_or(0, |row| row.length)
    }

    /// Rows that have a step of this number; they come first.
    fn running(&self, step: usize) -> usize {
        self.longest_first.partition_point(|row| row.length > step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wave(count: usize, step: f32) -> Vec<f32> {
        (0..count).map(|at| (at as f32 * step).sin() * 0.5).collect()
    }

    fn layer(inputs: usize, hidden: usize) -> (BiGru, [Direction; 2]) {
        let direction = |by: f32| Direction {
            input_weight: wave(GATES * hidden * inputs, 0.31 * by),
            hidden_weight: wave(GATES * hidden * hidden, 0.47 * by),
            input_bias: wave(GATES * hidden, 0.7 * by),
            hidden_bias: wave(GATES * hidden, 1.3 * by),
        };
        let directions = [direction(1.0), direction(1.1)];
        (BiGru::new(&directions, inputs, Precision::F32), directions)
    }

    /// Torch's equations as they are printed, in f64.
    fn printed(direction: &Direction, x: &[Vec<f64>], hidden: usize) -> Vec<Vec<f64>> {
        let product = |weight: &[f32], bias: &[f32], x: &[f64]| -> Vec<f64> {
            let row = |(row, bias): (&[f32], &f32)| {
                row.iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum::<f64>() + f64::from(*bias)
            };
            weight.chunks(x.len()).zip(bias).map(row).collect()
        };
        let logistic = |x: f64| 1.0 / (1.0 + (-x).exp());
        let mut state = vec![0.0; hidden];
        let mut states = Vec::new();
        for x in x {
            let said = product(&direction.input_weight, &direction.input_bias, x);
            let heard = product(&direction.hidden_weight, &direction.hidden_bias, &state);
            state = (0..hidden)
                .map(|at| {
                    let reset = logistic(said[at] + heard[at]);
                    let update = logistic(said[hidden + at] + heard[hidden + at]);
                    let new = (said[2 * hidden + at] + reset * heard[2 * hidden + at]).tanh();
                    (1.0 - update) * new + update * state[at]
                })
                .collect();
            states.push(state.clone());
        }
        states
    }

    #[test]
    fn rows_of_any_length_side_by_side_are_what_the_equations_say_of_each() {
        let (inputs, hidden) = (5, 19);
        let (gru, [forward, backward]) = layer(inputs, hidden);
        let lengths = [3, 7, 1, 7, 4];
        let x = wave(lengths.iter().sum::<usize>() * inputs, 0.91);
        let found = gru.forward(&x, &lengths);
        let mut first = 0;
        for length in lengths {
            let row = &x[first * inputs..][..length * inputs];
            let row: Vec<Vec<f64>> = row.chunks(inputs).map(|x| x.iter().map(|x| f64::from(*x)).collect()).collect();
            let there = printed(&forward, &row, hidden);
            let turned: Vec<Vec<f64>> = row.into_iter().rev().collect();
            let mut back = printed(&backward, &turned, hidden);
            back.reverse();
            for (step, (there, back)) in there.iter().zip(&back).enumerate() {
                let found = &found[(first + step) * 2 * hidden..][..2 * hidden];
                for (found, expected) in found.iter().zip(there.iter().chain(back)) {
                    assert!((f64::from(*found) - expected).abs() < 2e-6, "{length}, {step}: {found} {expected}");
                }
            }
            first += length;
        }
    }

    #[test]
    fn in_bf16_states_are_near() {
        let (_, directions) = layer(40, 19);
        let [exact, rounded] =
            [Precision::F32, Precision::Bf16].map(|precision| BiGru::new(&directions, 40, precision));
        let (x, lengths) = (wave(9 * 40, 0.91), [7, 2]);
        let far = |(a, b): (&f32, &f32)| (a - b).abs();
        let [exact, rounded] = [exact, rounded].map(|layer| layer.forward(&x, &lengths));
        let furthest = exact.iter().zip(&rounded).map(far).fold(0.0, f32::max);
        assert!(furthest < 3e-2, "{furthest}");
        assert_eq!(furthest > 0.0, jtav_simd::multiplies_bf16(), "{furthest}");
    }

    #[test]
    fn no_rows_give_no_states() {
        assert!(layer(2, 3).0.forward(&[], &[]).is_empty());
    }
}
