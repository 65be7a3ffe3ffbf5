//! The fused classifier: CMF-AP over three pairs, beside the sum of the encoders' own logits.

mod on_slices;

use tch::{Device, Tensor};

use super::cmf_ap::CmfPair;
use crate::error::ModelError;
use crate::layers::{BatchNorm, Linear};
use crate::manifest::{Dimensions, Manifest, NO_BOUND};
use crate::modality::Modality;
use crate::parameters::{Init, Scope, overwrite};
use crate::vectors::FusionInput;

pub(crate) use on_slices::JointOnSlices;

/// The fusion of both profiles.
///
/// Each vector is scaled to length 1 and then by a learned factor; an absent one is replaced by a learned vector, so
/// that a pair with one side still carries that side into `u` (with zeros CMF-AP would collapse to a constant,
/// docs/networks.md, "An absent modality"). `u` feeds batch normalisation, dropout and one logit, the paper's classifier.
///
/// The fused logit is additive: each encoder's own head becomes a log-likelihood ratio by two numbers (Platt 1999) and
/// they are summed, as is right for parts that are independent given the label, and as keeps the fused label from being
/// worse than its best part. CMF-AP's logit is one more summand, trusted as far as posts that no network has seen want it.
/// Those numbers are fitted by calibration and not by gradients: on training posts the encoders are right about everything.
///
/// Neutral has a logit of its own, a linear function of the text's vector; what media do to it is
/// [`Judgement::of_parts`](crate::Judgement::of_parts).
pub struct Joint {
    scale: Tensor,
    absent: Tensor,
    pairs: Vec<(Modality, Modality, CmfPair)>,
    norm: BatchNorm,
    head: Linear,
    /// `[3, vector]` and `[3]`: the encoders' heads.
    additive_weight: Tensor,
    additive_bias: Tensor,
    /// `[4]`: slopes that make a log-likelihood ratio of the logit of text, audio, image and interaction.
    trust: Tensor,
    /// `[4]`: the same, constants; the base rate that a head has learnt is taken back here. 0 for an absent modality.
    offset: Tensor,
    /// `[4]`: see [`Calibration::bound`](crate::Calibration::bound); not a weight.
    bound: Tensor,
    /// `[vector]` and `[1]`: the text's neutral head.
    middle_weight: Tensor,
    middle_bias: Tensor,
    dropout: f64,
}

/// Vectors of a batch: `[batch, 3, vector]` with zeros where absent, and `[batch, 3]` of 1 and 0.
pub struct JointBatch {
    /// `[batch, 3, vector]`, f32.
    pub vectors: Tensor,
    /// `[batch, 3]`, 1 where that modality is there, else 0.
    pub present: Tensor,
}

impl JointBatch {
    /// [`ModelError::Input`] for a post without any vector, and for a vector of another width or that is not finite.
    pub fn new(inputs: &[FusionInput], width: usize, device: Device) -> Result<Self, ModelError> {
        let mut vectors = Vec::with_capacity(inputs.len() * 3 * width);
        let mut present = Vec::with_capacity(inputs.len() * 3);
        for input in inputs {
            Self::check(input, width)?;
            for modality in Modality::ALL {
                match input.vector(modality) {
                    Some(vector) => {
                        vectors.extend_from_slice(vector);
                        present.push(1.0);
                    }
                    None => {
                        vectors.resize(vectors.len() + width, 0.0);
                        present.push(0.0);
                    }
                }
            }
        }
        let rows = inputs.len() as i64;
        Ok(Self {
            vectors: Tensor::f_from_slice(&vectors)?.f_view([rows, 3, width as i64])?.f_to_device(device)?,
            present: Tensor::f_from_slice::<f32>(&present)?.f_view([rows, 3])?.f_to_device(device)?,
        })
    }
}

impl JointBatch {
    /// As [`new`](Self::new), of one post.
    fn check(input: &FusionInput, width: usize) -> Result<(), ModelError> {
        if input.modalities().is_empty() {
            return Err(ModelError::Input("a post without any modality".to_owned()));
        }
        for modality in Modality::ALL {
            let Some(vector) = input.vector(modality) else { continue };
            if vector.len() != width || !vector.iter().all(|value| value.is_finite()) {
                let (name, found) = (modality.name(), vector.len());
                return Err(ModelError::Input(format!(
                    "a {name} vector of {found} values, expected {width} finite ones"
                )));
            }
        }
        Ok(())
    }
}

/// What one forward pass yields.
pub struct JointForward {
    /// `[batch, 6 reduced]`.
    pub u: Tensor,
    /// `[batch]`: CMF-AP's own logit.
    pub interaction: Tensor,
    /// `[batch, 4]`: logits of text, audio, image and CMF-AP before their bounds; 0 where absent.
    pub parts: Tensor,
    /// `[batch, 4]`: what each adds to the fused logit, a log-likelihood ratio within its bound.
    pub contributions: Tensor,
    /// `[batch]`: their sum, before calibration and without a prior.
    pub logit: Tensor,
    /// `[batch]`: of neutral by the text, before calibration; means nothing for a post without a text.
    pub neutral: Tensor,
}

impl Joint {
    /// The fusion of a checkpoint. Tensors start at `scope`.
    pub fn of_manifest(scope: &Scope, manifest: &Manifest) -> Result<Self, ModelError> {
        Self::new(scope, &manifest.dimensions, 0.0)
    }

    /// Tensors start at `scope`; `dropout` acts on `u`, in training only.
    pub fn new(scope: &Scope, dimensions: &Dimensions, dropout: f64) -> Result<Self, ModelError> {
        let (width, attention, reduced) = (dimensions.vector, dimensions.fusion_attention, dimensions.fusion_reduced);
        let pair = |first: Modality, second: Modality| {
            let name = format!("pairs.{}_{}", first.name(), second.name());
            let pair = CmfPair::new(&scope.sub(&name), width, attention, reduced)?;
            Ok::<_, ModelError>((first, second, pair))
        };
        let pairs = vec![
            pair(Modality::Text, Modality::Audio)?,
            pair(Modality::Text, Modality::Image)?,
            pair(Modality::Audio, Modality::Image)?,
        ];
        Ok(Self {
            // Entries of a unit vector of this width have size 1 / sqrt(width); this brings them back to about 1.
            scale: scope.weight("scale", &[3], Init::Constant((width as f32).sqrt()))?,
            absent: scope.weight("absent", &[3, width], Init::Normal(0.1))?,
            pairs,
            norm: BatchNorm::new(&scope.sub("norm"), 6 * reduced)?,
            head: Linear::new(&scope.sub("head"), 6 * reduced, 1)?,
            additive_weight: scope.buffer("additive.weight", &[3, width], 0.0)?,
            additive_bias: scope.buffer("additive.bias", &[3], 0.0)?,
            trust: scope.buffer("trust", &[4], 1.0)?,
            offset: scope.buffer("offset", &[4], 0.0)?,
            bound: Tensor::f_from_slice(&[NO_BOUND; 4])?.f_to_device(scope.device())?,
            middle_weight: scope.buffer("middle.weight", &[width], 0.0)?,
            middle_bias: scope.buffer("middle.bias", &[1], 0.0)?,
            dropout,
        })
    }

    /// The fused logits, with the encoders' logits from the copies of their heads.
    pub fn forward(&self, batch: &JointBatch, train: bool) -> Result<JointForward, ModelError> {
        self.forward_with(batch, &self.own_logits(batch)?, train)
    }

    /// The same with given logits of the encoders' heads, `[batch, 3]`, 0 where a modality is absent.
    pub fn forward_with(&self, batch: &JointBatch, alone: &Tensor, train: bool) -> Result<JointForward, ModelError> {
        let u = self.embed(batch)?;
        let normalised = self.norm.forward(&u, train)?.f_dropout(self.dropout, train)?;
        let interaction = self.head.forward(&normalised)?.f_squeeze_dim(1)?;
        let parts = Tensor::f_cat(&[alone.shallow_clone(), interaction.f_unsqueeze(1)?], 1)?;

        // CMF-AP answers for every post.
        let there = Tensor::f_cat(&[&batch.present, &interaction.f_ones_like()?.f_unsqueeze(1)?], 1)?;
        let ratios = parts.f_mul(&self.trust)?.f_add(&self.offset)?;
        let bounded = ratios.f_clamp_tensor(Some(&self.bound.f_neg()?), Some(&self.bound))?;
        let contributions = bounded.f_mul(&there)?;
        let logit = contributions.f_sum_dim_intlist([1_i64].as_slice(), false, None)?;
        let text = batch.vectors.f_select(1, Modality::Text as i64)?;
        let neutral = text.f_matmul(&self.middle_weight)?.f_add(&self.middle_bias)?;
        Ok(JointForward { u, interaction, parts, contributions, logit, neutral })
    }

    /// `[batch, 3]`: what the encoders' heads say; 0 where a modality is absent.
    pub fn own_logits(&self, batch: &JointBatch) -> Result<Tensor, ModelError> {
        let alone = batch.vectors.f_mul(&self.additive_weight)?;
        let alone = alone.f_sum_dim_intlist([2_i64].as_slice(), false, None)?.f_add(&self.additive_bias)?;
        Ok(alone.f_mul(&batch.present)?)
    }

    /// `[batch, 6 reduced]`.
    fn embed(&self, batch: &JointBatch) -> Result<Tensor, ModelError> {
        let present = batch.present.f_unsqueeze(2)?;
        let length = batch.vectors.f_square()?.f_sum_dim_intlist([2_i64].as_slice(), true, None)?.f_sqrt()?;
        let unit = batch.vectors.f_div(&length.f_clamp_min(1e-6)?)?.f_mul(&self.scale.f_view([1, 3, 1])?)?;
        let missing = present.f_neg()?.f_add_scalar(1.0)?.f_mul(&self.absent)?;
        let filled = unit.f_mul(&present)?.f_add(&missing)?;
        let of = |modality: Modality| filled.f_select(1, modality as i64);
        let mut attended = Vec::with_capacity(3);
        for (first, second, pair) in &self.pairs {
            attended.push(pair.forward(&of(*first)?, &of(*second)?)?);
        }
        Ok(Tensor::f_cat(&attended, 1)?)
    }

    /// Sets the encoders' heads: one row of weights and one bias per modality.
    pub fn set_heads(&mut self, weight: &[f32], bias: &[f32]) -> Result<(), ModelError> {
        overwrite(&mut self.additive_weight, weight)?;
        overwrite(&mut self.additive_bias, bias)
    }

    /// Sets how large each summand may become.
    pub fn set_bound(&mut self, bound: &[f32; 4]) -> Result<(), ModelError> {
        overwrite(&mut self.bound, bound)
    }

    /// Sets what calibration fits: slope and constant of each summand.
    pub fn set_trust(&mut self, trust: &[f32; 4], offset: &[f32; 4]) -> Result<(), ModelError> {
        overwrite(&mut self.trust, trust)?;
        overwrite(&mut self.offset, offset)
    }

    /// Sets the text's neutral head: a weight per value of its vector, and a constant.
    pub fn set_neutral(&mut self, weight: &[f32], bias: f32) -> Result<(), ModelError> {
        overwrite(&mut self.middle_weight, weight)?;
        overwrite(&mut self.middle_bias, &[bias])
    }
}

#[cfg(test)]
#[path = "joint_tests.rs"]
mod tests;
