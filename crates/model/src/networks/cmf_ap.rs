//! CMF-AP, cross-modal fusion with attentive pooling (paper, section 3.2), in its exact factorised form.

use jtav_engine::bend::{bent_sums, dot, softmax, tanh};
use jtav_engine::dense::Dense;
use tch::Tensor;

use crate::error::ModelError;
use crate::layers::Linear;
use crate::parameters::{Init, Scope, to_vec};

/// One direction of a pair: rebuilds `m` by attending over the coordinates of `n`.
///
/// The paper forms `C = m n'`, scores `u' tanh(W C + b 1')` over the columns of `C` and pools `C a`. `C` has rank one,
/// hence `W C = (W m) n'` and `C a = m (n' a)`: with `w = W m` the score of column `j` is `u' tanh(w n_j + b)` and the
/// pooled vector is `m` times the scalar `s = n' a`. Same numbers, 34 to 213 times fewer operations
/// (docs/networks.md, "The factorised form"), and no `p x q` matrix.
pub struct CrossAttention {
    /// `W` and `b`.
    project: Linear,
    /// `u`.
    context: Tensor,
    /// The reduction after pooling, `m' = tanh(V (C a) + d)`.
    reduce: Linear,
}

impl CrossAttention {
    /// `width` is the length of `m`, `attention` that of `u`, `reduced` that of the result.
    pub fn new(scope: &Scope, width: i64, attention: i64, reduced: i64) -> Result<Self, ModelError> {
        Ok(Self {
            project: Linear::new(&scope.sub("project"), width, attention)?,
            context: scope.weight("context", &[attention, 1], Init::Normal(0.1))?,
            reduce: Linear::new(&scope.sub("reduce"), width, reduced)?,
        })
    }

    /// `[batch, reduced]` of `m` `[batch, p]` and `n` `[batch, q]`.
    pub fn forward(&self, m: &Tensor, n: &Tensor) -> Result<Tensor, ModelError> {
        let none: Option<&Tensor> = None;
        let w = m.f_linear(&self.project.weight, none)?.f_unsqueeze(1)?;
        // The table of `q x k` is most of the work: one pass fills it, the next runs in place.
        let hidden = self.project.bias.f_addcmul(&n.f_unsqueeze(2)?, &w)?.f_tanh_()?;
        let weights = hidden.f_matmul(&self.context)?.f_squeeze_dim(2)?.f_softmax(1, None)?;
        let gate = weights.f_mul(n)?.f_sum_dim_intlist([1_i64].as_slice(), true, None)?;
        let reduced = m.f_linear(&self.reduce.weight, none)?;
        Ok(reduced.f_mul(&gate)?.f_add(&self.reduce.bias)?.f_tanh()?)
    }
}

/// Both directions of one pair.
pub struct CmfPair {
    first: CrossAttention,
    second: CrossAttention,
}

impl CmfPair {
    pub fn new(scope: &Scope, width: i64, attention: i64, reduced: i64) -> Result<Self, ModelError> {
        Ok(Self {
            first: CrossAttention::new(&scope.sub("first"), width, attention, reduced)?,
            second: CrossAttention::new(&scope.sub("second"), width, attention, reduced)?,
        })
    }

    /// `[batch, 2 reduced]`: the first modality rebuilt over the second, then the second over the first.
    pub fn forward(&self, m: &Tensor, n: &Tensor) -> Result<Tensor, ModelError> {
        Ok(Tensor::f_cat(&[self.first.forward(m, n)?, self.second.forward(n, m)?], 1)?)
    }
}

/// [`CrossAttention`] over slices.
struct CrossOnSlices {
    project: Dense,
    shift: Vec<f32>,
    context: Vec<f32>,
    reduce: Dense,
    reduce_shift: Vec<f32>,
}

impl CrossOnSlices {
    fn of(layer: &CrossAttention) -> Result<Self, ModelError> {
        let matrix = |linear: &Linear| -> Result<Dense, ModelError> {
            Ok(Dense::new(&to_vec(&linear.weight)?, &[], linear.weight.size2()?.1 as usize))
        };
        Ok(Self {
            project: matrix(&layer.project)?,
            shift: to_vec(&layer.project.bias)?,
            context: to_vec(&layer.context)?,
            reduce: matrix(&layer.reduce)?,
            reduce_shift: to_vec(&layer.reduce.bias)?,
        })
    }

    /// Adds `[reduced]` of `m` and `n` to the end of `out`.
    fn forward(&self, m: &[f32], n: &[f32], out: &mut Vec<f32>) {
        let mut weights = vec![0.0; n.len()];
        bent_sums(&mut weights, n, &self.project.apply(m), &self.shift, &self.context);
        softmax(&mut weights);
        let gate = dot(&weights, n);
        let mut reduced = self.reduce.apply(m);
        reduced.iter_mut().zip(&self.reduce_shift).for_each(|(value, shift)| *value = *value * gate + shift);
        tanh(&mut reduced);
        out.append(&mut reduced);
    }
}

/// [`CmfPair`] over slices.
pub(super) struct PairOnSlices {
    first: CrossOnSlices,
    second: CrossOnSlices,
}

impl PairOnSlices {
    pub fn of(pair: &CmfPair) -> Result<Self, ModelError> {
        Ok(Self { first: CrossOnSlices::of(&pair.first)?, second: CrossOnSlices::of(&pair.second)? })
    }

    /// Adds `[2 reduced]` of one post to the end of `out`.
    pub fn forward(&self, m: &[f32], n: &[f32], out: &mut Vec<f32>) {
        self.first.forward(m, n, out);
        self.second.forward(n, m, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::networks::dense_oracle::{assert_same, vectors};
    use crate::parameters::Builder;
    use tch::{Device, Kind};

    /// The paper's equations as printed, with the matrix `C`.
    fn dense(layer: &CrossAttention, m: &Tensor, n: &Tensor) -> Tensor {
        let c = m.unsqueeze(2).matmul(&n.unsqueeze(1));
        let hidden = (layer.project.weight.matmul(&c) + layer.project.bias.unsqueeze(1)).tanh();
        let weights = hidden.transpose(1, 2).matmul(&layer.context).squeeze_dim(2).softmax(1, Kind::Double);
        let pooled = c.matmul(&weights.unsqueeze(2)).squeeze_dim(2);
        pooled.linear(&layer.reduce.weight, Some(&layer.reduce.bias)).tanh()
    }

    fn in_double(layer: CrossAttention) -> CrossAttention {
        let double = |t: &Tensor| t.detach().to_kind(Kind::Double).set_requires_grad(true);
        let linear = |l: &Linear| Linear { weight: double(&l.weight), bias: double(&l.bias) };
        CrossAttention {
            project: linear(&layer.project),
            context: double(&layer.context),
            reduce: linear(&layer.reduce),
        }
    }

    #[test]
    fn the_factorised_form_equals_the_dense_one_in_values_and_gradients() {
        let builder = Builder::fresh(11, Device::Cpu);
        let layer = in_double(CrossAttention::new(&builder.scope("c"), 12, 7, 5).unwrap());
        let (m, n) = (vectors(3, 12, 0.2), vectors(3, 9, 1.1));
        let upstream = vectors(3, 5, 2.0).detach();
        let leaves = [
            &m,
            &n,
            &layer.project.weight,
            &layer.project.bias,
            &layer.context,
            &layer.reduce.weight,
            &layer.reduce.bias,
        ];
        let (factorised, printed) = (layer.forward(&m, &n).unwrap(), dense(&layer, &m, &n));
        assert_same(&factorised, &printed, &upstream, &leaves);
    }
}
