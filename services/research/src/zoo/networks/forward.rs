//! What every network of the zoo yields.

use jtav_model::ModelError;
use jtav_model::layers::Linear;
use tch::Tensor;

/// What one forward pass yields.
pub(crate) struct Forward {
    /// `[rows, width]`: the vector before the last layer.
    pub features: Tensor,
    /// `[rows]`.
    pub logits: Tensor,
}

impl Forward {
    /// A linear head on the features themselves.
    pub fn of(features: Tensor, head: &Linear) -> Result<Self, ModelError> {
        let logits = head.forward(&features)?.f_squeeze_dim(1)?;
        Ok(Self { features, logits })
    }
}
