//! A backbone with the head of docs/networks.md, "Image".

use jtav_model::ModelError;
use jtav_model::layers::{BatchNorm, Linear};
use jtav_model::parameters::Scope;
use tch::Tensor;

use super::backbone::BackboneNetwork;
use super::forward::Forward;
use crate::zoo::architecture::Backbone;

/// An image network of the zoo: batch normalisation of the feature, a dense layer with ReLU, one logit.
pub(crate) struct ImageEncoder {
    backbone: BackboneNetwork,
    norm: BatchNorm,
    dense: Linear,
    head: Linear,
}

impl ImageEncoder {
    /// torchvision's names start at `backbone` under `scope`.
    pub fn new(scope: &Scope, backbone: Backbone, vector: i64) -> Result<Self, ModelError> {
        let features = backbone.features() as i64;
        Ok(Self {
            backbone: BackboneNetwork::new(&scope.sub("backbone"), backbone)?,
            norm: BatchNorm::new(&scope.sub("head_norm"), features)?,
            dense: Linear::new(&scope.sub("dense"), features, vector)?,
            head: Linear::new(&scope.sub("head"), vector, 1)?,
        })
    }

    /// `[batch, features]` of `[batch, 3, side, side]`, normalised: what the head reads. `train` moves the running
    /// statistics of the backbone.
    pub fn pooled(&self, x: &Tensor, train: bool) -> Result<Tensor, ModelError> {
        self.backbone.forward(x, train)
    }

    /// The head on what [`pooled`](Self::pooled) gives.
    pub fn head(&self, pooled: &Tensor, train: bool) -> Result<Forward, ModelError> {
        let vector = self.dense.forward(&self.norm.forward(pooled, train)?)?.f_relu()?;
        Forward::of(vector, &self.head)
    }
}
