//! DCRNN's recurrent part over slices, as it serves on a CPU.

use jtav_engine::Precision;
use jtav_engine::dense::Dense;
use jtav_engine::gru::BiGru;

use super::{Dcrnn, STEPS};
use crate::error::ModelError;
use crate::layers::Attention;

/// What stands behind the convolutions.
pub(crate) struct RecurrentOnSlices {
    gru: BiGru,
    attention: Attention,
    dense: Dense,
}

impl Dcrnn {
    pub(crate) fn recurrent_on_slices(&self, precision: Precision) -> Result<RecurrentOnSlices, ModelError> {
        Ok(RecurrentOnSlices {
            gru: self.gru.on_slices(precision)?,
            attention: self.attention.on_slices()?,
            dense: self.dense.on_slices()?,
        })
    }
}

impl RecurrentOnSlices {
    /// `[segments, 27, width]` of the convolutions to the vector `[95]` and the attention `[27]` of each segment; steps beyond `steps` of
    /// a segment are not read, and have no weight.
    pub fn forward(&self, sequence: &[f32], steps: &[usize]) -> Vec<(Vec<f32>, Vec<f32>)> {
        let segments = sequence.chunks_exact((sequence.len() / steps.len().max(1)).max(1));
        let width = sequence.len() / (steps.len() * STEPS).max(1);
        let read: Vec<f32> =
            segments.zip(steps).flat_map(|(segment, &steps)| &segment[..steps * width]).copied().collect();
        let states = self.gru.forward(&read, steps);
        let (attention, pooled) = self.attention.pool(&states, steps);
        let mut vectors = self.dense.apply(&pooled);
        vectors.iter_mut().for_each(|value| *value = value.max(0.0));
        let mut attention = attention.into_iter();
        let rows = vectors.chunks_exact(self.dense.outputs()).zip(steps);
        rows.map(|(vector, &steps)| {
            let mut weights: Vec<f32> = attention.by_ref().take(steps).collect();
            weights.resize(STEPS, 0.0);
            (vector.to_vec(), weights)
        })
        .collect()
    }
}
