//! The head of the image network over slices, as it serves on a CPU.

use jtav_engine::dense::Dense;
use jtav_engine::onnx::{Attribute, Graph, Value};

use super::{ImageHead, LEAST_LENGTH};
use crate::error::ModelError;
use crate::parameters::to_vec;
use crate::vectors::Encoded;

/// [`ImageHead`] over slices, of what the graph made ready: the pooled features and what each cell says.
pub(crate) struct ImageHeadOnSlices {
    dense: Dense,
    last: Dense,
}

impl ImageHead {
    pub(crate) fn on_slices(&self) -> Result<ImageHeadOnSlices, ModelError> {
        Ok(ImageHeadOnSlices { dense: self.dense.on_slices()?, last: self.last.on_slices()? })
    }

    /// Adds what passes over the whole map: of `[batch, channels, height, width]` the mean over the cells,
    /// `[batch, channels, 1, 1]`, and `w . x_c` of every cell, `[batch, 1, height, width]`.
    pub(crate) fn write(&self, graph: &mut Graph, features: &Value) -> Result<[Value; 2], ModelError> {
        let pooled = graph.node("GlobalAveragePool", &[features], Vec::new());
        let weights = to_vec(&self.last.weight.f_matmul(&self.dense.weight)?)?;
        let weights = graph.weights("evidence.weight", &weights, &[1, weights.len(), 1, 1]);
        let said = graph.node("Conv", &[features, &weights], vec![Attribute::Ints("kernel_shape", vec![1, 1])]);
        Ok([pooled, said])
    }

    /// Adds the dense layer: `[batch, channels]` of length 1 to the vectors `[batch, vector]`.
    pub(crate) fn write_vector(&self, graph: &mut Graph, direction: &Value) -> Result<Value, ModelError> {
        let (outputs, inputs) = self.dense.weight.size2()?;
        let weight = to_vec(&self.dense.weight.f_transpose(0, 1)?)?;
        let weight = graph.weights("dense.weight", &weight, &[inputs as usize, outputs as usize]);
        let bias = graph.weights("dense.bias", &to_vec(&self.dense.bias)?, &[outputs as usize]);
        let product = graph.node("MatMul", &[direction, &weight], Vec::new());
        Ok(graph.node("Add", &[&product, &bias], Vec::new()))
    }
}

impl ImageHeadOnSlices {
    /// Channels of the map.
    pub fn channels(&self) -> usize {
        self.dense.inputs()
    }

    /// Of one picture `[channels]`, pooled, and `[cells]` of what each says: its vector, and the share of each cell in the evidence for
    /// the label found, as [`ImageHead::class_activation`].
    pub fn forward(&self, pooled: &[f32], said: &[f32]) -> Encoded {
        let length = pooled.iter().map(|value| value * value).sum::<f32>().sqrt().max(LEAST_LENGTH as f32);
        let direction: Vec<f32> = pooled.iter().map(|value| value / length).collect();
        let vector = self.dense.apply(&direction);
        let logit = self.last.apply(&vector).first().copied().unwrap_or(0.0);
        let sign = if logit > 0.0 {
            1.0
        } else if logit < 0.0 {
            -1.0
        } else {
            0.0
        };
        let scale = sign / (length * said.len() as f32);
        // A trace everywhere, so that a map of zeros becomes an even one.
        let mut attention: Vec<f32> = said.iter().map(|cell| (cell * scale).max(0.0) + 1e-12).collect();
        let total: f32 = attention.iter().sum();
        attention.iter_mut().for_each(|cell| *cell /= total);
        Encoded { vector, attention }
    }
}
