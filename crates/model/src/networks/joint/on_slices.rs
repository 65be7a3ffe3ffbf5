//! The fusion over slices, as it serves on a CPU.

use jtav_engine::bend::dot;

use super::{Joint, JointBatch};
use crate::error::ModelError;
use crate::modality::Modality;
use crate::networks::cmf_ap::PairOnSlices;
use crate::parameters::to_vec;
use crate::vectors::FusionInput;

/// [`Joint`] over slices.
pub(crate) struct JointOnSlices {
    /// One for each modality.
    scale: Vec<f32>,
    /// `[3, vector]`.
    absent: Vec<f32>,
    pairs: Vec<(Modality, Modality, PairOnSlices)>,
    /// The classifier with the normalisation before it in it.
    head: Vec<f32>,
    head_bias: f32,
    additive_weight: Vec<f32>,
    additive_bias: Vec<f32>,
    trust: Vec<f32>,
    offset: Vec<f32>,
    bound: Vec<f32>,
    middle_weight: Vec<f32>,
    middle_bias: f32,
    width: usize,
}

/// What it says of one post; see [`JointForward`](super::JointForward).
pub(crate) struct JointRow {
    pub u: Vec<f32>,
    pub contributions: [f32; 4],
    pub neutral: f32,
}

impl Joint {
    pub(crate) fn on_slices(&self) -> Result<JointOnSlices, ModelError> {
        let first = |values: Vec<f32>| values.first().copied().unwrap_or(0.0);
        let (scale, shift) = self.norm.on_slices()?;
        let head = to_vec(&self.head.weight)?;
        let head_bias = first(to_vec(&self.head.bias)?) + dot(&head, &shift);
        let pair = |(one, other, pair): &(Modality, Modality, _)| Ok((*one, *other, PairOnSlices::of(pair)?));
        Ok(JointOnSlices {
            scale: to_vec(&self.scale)?,
            absent: to_vec(&self.absent)?,
            pairs: self.pairs.iter().map(pair).collect::<Result<_, ModelError>>()?,
            head: head.iter().zip(scale).map(|(weight, scale)| weight * scale).collect(),
            head_bias,
            additive_weight: to_vec(&self.additive_weight)?,
            additive_bias: to_vec(&self.additive_bias)?,
            trust: to_vec(&self.trust)?,
            offset: to_vec(&self.offset)?,
            bound: to_vec(&self.bound)?,
            middle_weight: to_vec(&self.middle_weight)?,
            middle_bias: first(to_vec(&self.middle_bias)?),
            width: self.absent.size2()?.1 as usize,
        })
    }
}

impl JointOnSlices {
    /// # Errors
    /// As [`JointBatch::new`].
    pub fn forward(&self, post: &FusionInput) -> Result<JointRow, ModelError> {
        JointBatch::check(post, self.width)?;
        let filled = Modality::ALL.map(|modality| self.filled(post, modality));
        let mut u = Vec::with_capacity(self.head.len());
        for (one, other, pair) in &self.pairs {
            pair.forward(&filled[*one as usize], &filled[*other as usize], &mut u);
        }
        let interaction = dot(&u, &self.head) + self.head_bias;
        let mut contributions = [0.0; 4];
        for modality in Modality::ALL {
            if let Some(vector) = post.vector(modality) {
                let (at, weight) = (modality as usize, &self.additive_weight[modality as usize * self.width..]);
                contributions[at] = self.bounded(at, dot(vector, &weight[..self.width]) + self.additive_bias[at]);
            }
        }
        contributions[3] = self.bounded(3, interaction);
        let text = post.vector(Modality::Text);
        let neutral = text.map_or(0.0, |text| dot(text, &self.middle_weight)) + self.middle_bias;
        Ok(JointRow { u, contributions, neutral })
    }

    fn bounded(&self, at: usize, part: f32) -> f32 {
        let ratio = part * self.trust[at] + self.offset[at];
        ratio.max(-self.bound[at]).min(self.bound[at])
    }

    /// The vector at its length, or what stands for an absent one.
    fn filled(&self, post: &FusionInput, modality: Modality) -> Vec<f32> {
        let at = modality as usize;
        match post.vector(modality) {
            Some(vector) => {
                let by = self.scale[at] / dot(vector, vector).sqrt().max(1e-6);
                vector.iter().map(|value| value * by).collect()
            }
            None => self.absent[at * self.width..][..self.width].to_vec(),
        }
    }
}
