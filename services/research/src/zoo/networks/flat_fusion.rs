//! The fusions without attention: concatenation, and the low-rank product.

use jtav_model::layers::Linear;
use jtav_model::parameters::{Init, Scope};
use jtav_model::{Modality, ModelError};
use tch::Tensor;

use super::forward::Forward;
use super::parts::PartsBatch;
use crate::zoo::architecture::Widths;

/// Concatenated vectors and one linear unit (paper, section 4.1, "early fusion"). The zeros of an absent vector add
/// nothing.
pub(crate) struct EarlyFusion {
    head: Linear,
}

impl EarlyFusion {
    pub fn new(scope: &Scope, widths: &Widths) -> Result<Self, ModelError> {
        let total: usize = widths.modalities().map(|(_, width)| width).sum();
        Ok(Self { head: Linear::new(&scope.sub("head"), total as i64, 1)? })
    }

    pub fn forward(&self, batch: &PartsBatch) -> Result<Forward, ModelError> {
        Forward::of(Tensor::f_cat(&batch.parts, 1)?, &self.head)
    }
}

/// `h = sum over r of the product over modalities of (W_r z + c_r)` (Liu et al. 2018): the tensor product of all
/// `[z; 1]` under weights of rank R, never formed. With z = 0 the terms that hold an absent modality vanish and all
/// others stay as they are.
pub(crate) struct LowRank {
    /// Per modality `[rank, width, hidden]` and `[rank, 1, hidden]`.
    factors: Vec<(Tensor, Tensor)>,
    head: Linear,
}

impl LowRank {
    pub fn new(scope: &Scope, widths: &Widths, rank: i64, hidden: i64) -> Result<Self, ModelError> {
        let factor = |(modality, width): (Modality, usize)| {
            let scope = scope.sub(modality.name());
            let spread = Init::Normal(0.5 / (width as f32).sqrt());
            Ok((
                scope.weight("weight", &[rank, width as i64, hidden], spread)?,
                // Ones, so that each modality starts with a path of its own: products of small numbers hide it.
                scope.weight("constant", &[rank, 1, hidden], Init::Constant(1.0))?,
            ))
        };
        Ok(Self {
            factors: widths.modalities().map(factor).collect::<Result<_, ModelError>>()?,
            head: Linear::new(&scope.sub("head"), hidden, 1)?,
        })
    }

    pub fn forward(&self, batch: &PartsBatch) -> Result<Forward, ModelError> {
        let mut product: Option<Tensor> = None;
        for (part, (weight, constant)) in batch.parts.iter().zip(&self.factors) {
            // `[rank, batch, hidden]`.
            let factor = part.f_unsqueeze(0)?.f_matmul(weight)?.f_add(constant)?;
            product = Some(match product {
                Some(product) => product.f_mul(&factor)?,
                None => factor,
            });
        }
        let product = product.ok_or_else(|| ModelError::Configuration("a fusion of no modality".to_owned()))?;
        Forward::of(product.f_sum_dim_intlist([0_i64].as_slice(), false, None)?, &self.head)
    }
}
