//! Additive attention over a sequence (paper, equation 1, after Yang et al. 2016).

use tch::{Kind, Tensor};

use super::{Linear, length_mask};
use crate::error::ModelError;
use crate::parameters::{Init, Scope};

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters::{Builder, to_rows};
    use tch::Device;

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
