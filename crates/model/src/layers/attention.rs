//! Additive attention over a sequence (paper, equation 1, after Yang et al. 2016).

use jtav_engine::bend::{add_scaled, dot, softmax, tanh};
use jtav_engine::dense::Dense;
use tch::{Kind, Tensor};

use super::{Linear, length_mask};
use crate::error::ModelError;
use crate::parameters::{Init, Scope, to_vec};

/// `a = softmax(tanh(W h + b) . c)` over the valid steps, then the weighted sum.
pub struct AdditiveAttention {
    project: Linear,
    context: Tensor,
}

impl AdditiveAttention {
    /// The hidden width `k` is the width of the sequence, as the paper leaves it open.
    pub fn new(scope: &Scope, width: i64) -> Result<Self, ModelError> {
        Ok(Self {
            project: Linear::new(scope, width, width)?,
            context: scope.weight("context", &[width, 1], Init::Normal(0.1))?,
        })
    }

    /// The same layer over slices, for a CPU.
    pub(crate) fn on_slices(&self) -> Result<Attention, ModelError> {
        Ok(Attention { project: self.project.on_slices()?, context: to_vec(&self.context)? })
    }

    /// Weights `[batch, time]` for `[batch, time, width]`; each row sums to 1 over its length (at least 1).
    pub fn weights(&self, sequence: &Tensor, lengths: &[i64]) -> Result<Tensor, ModelError> {
        let (_, time, _) = sequence.size3()?;
        let scores = self.project.forward(sequence)?.f_tanh()?.f_matmul(&self.context)?.f_squeeze_dim(-1)?;
        let beyond = length_mask(lengths, time, sequence.device())?.f_logical_not()?;
        Ok(scores.f_masked_fill(&beyond, f64::NEG_INFINITY)?.f_softmax(1, Kind::Float)?)
    }

    /// `[batch, width]`: the sum of `[batch, time, width]` under `[batch, time]`.
    pub fn pool(weights: &Tensor, sequence: &Tensor) -> Result<Tensor, ModelError> {
        Ok(weights.f_unsqueeze(1)?.f_bmm(sequence)?.f_squeeze_dim(1)?)
    }
}

/// [`AdditiveAttention`] over slices.
pub(crate) struct Attention {
    project: Dense,
    context: Vec<f32>,
}

impl Attention {
    /// Of `[steps of all rows, width]` without gaps, `lengths` steps for each row: the weight of every step, those of a row sum to 1,
    /// and `[rows, width]` of weighted sums.
    pub fn pool(&self, sequence: &[f32], lengths: &[usize]) -> (Vec<f32>, Vec<f32>) {
        let width = self.context.len();
        let mut bent = self.project.apply(sequence);
        tanh(&mut bent);
        let mut weights: Vec<f32> = bent.chunks_exact(width).map(|step| dot(step, &self.context)).collect();
        let mut pooled = vec![0.0; lengths.len() * width];
        let mut first = 0;
        for (sum, &length) in pooled.chunks_exact_mut(width).zip(lengths) {
            let weights = &mut weights[first..first + length];
            softmax(weights);
            let steps = sequence[first * width..].chunks_exact(width);
            weights.iter().zip(steps).for_each(|(&weight, step)| add_scaled(sum, weight, step));
            first += length;
        }
        (weights, pooled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters::{Builder, to_rows};
    use tch::Device;

    #[test]
    fn over_slices_the_layer_gives_what_it_gives_over_tensors() {
        let attention = AdditiveAttention::new(&Builder::fresh(2, Device::Cpu).scope("a"), 3).unwrap();
        let values: Vec<f32> = (0..24).map(|at| (at as f32).cos()).collect();
        let sequence = Tensor::from_slice(&values).view([2, 4, 3]);
        let weights = attention.weights(&sequence, &[4, 2]).unwrap();
        let pooled = to_vec(&AdditiveAttention::pool(&weights, &sequence).unwrap()).unwrap();
        let (found, sums) = attention.on_slices().unwrap().pool(&values[..6 * 3], &[4, 2]);
        let expected = to_vec(&weights).unwrap();
        assert!(found.iter().zip(&expected[..6]).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?} {expected:?}");
        assert!(sums.iter().zip(&pooled).all(|(a, b)| (a - b).abs() < 1e-6), "{sums:?} {pooled:?}");
    }

    #[test]
    fn weights_sum_to_one_within_the_length_and_vanish_beyond() {
        let attention = AdditiveAttention::new(&Builder::fresh(2, Device::Cpu).scope("a"), 3).unwrap();
        let sequence = Tensor::from_slice(&(0..24).map(|i| (i as f32).cos()).collect::<Vec<_>>()).view([2, 4, 3]);
        let rows = to_rows(&attention.weights(&sequence, &[4, 2]).unwrap()).unwrap();
        for row in &rows {
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        }
        assert_eq!(rows[1][2..], [0.0, 0.0]);
    }
}
