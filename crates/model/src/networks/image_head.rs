//! The image network: pixels, DenseNet-121, and the dense layer that ends in the image vector (paper, section 3.1.3).

use tch::{Device, Kind, Tensor};

use super::densenet::{DenseNet, DenseNetConfig};
use crate::error::ModelError;
use crate::layers::{BatchNorm, Linear};
use crate::manifest::Dimensions;
use crate::parameters::Scope;
use crate::vectors::{DEVIATION, MEAN};

/// Pixels on their way into the network.
pub struct Pixels;

impl Pixels {
    /// Uploads `[side, side, 3]` bytes of each picture as they are, a quarter of what floats would take, and returns
    /// `[batch, 3, side, side]` in `[0, 1]`.
    pub fn upload(pictures: &[&[u8]], side: usize, device: Device) -> Result<Tensor, ModelError> {
        let mut bytes = Vec::with_capacity(pictures.len() * side * side * 3);
        for picture in pictures {
            if picture.len() != side * side * 3 {
                return Err(ModelError::Input(format!("a picture of {} bytes for side {side}", picture.len())));
            }
            bytes.extend_from_slice(picture);
        }
        let shape = [pictures.len() as i64, side as i64, side as i64, 3];
        let uploaded = Tensor::f_from_slice(&bytes)?.f_view(shape)?.f_to_device(device)?;
        Ok(uploaded.f_permute([0, 3, 1, 2])?.f_to_kind(Kind::Float)?.f_mul_scalar(1.0 / 255.0)?)
    }

    /// Scales to `side` with an antialiased triangle filter; the input itself when it has that size.
    pub fn resize(x: &Tensor, side: i64) -> Result<Tensor, ModelError> {
        let (_, _, height, width) = x.size4()?;
        if (height, width) == (side, side) {
            return Ok(x.shallow_clone());
        }
        Ok(x.f_internal_upsample_bilinear2d_aa([side, side], false, None, None)?)
    }

    /// `[batch, 3, side, side]` in `[0, 1]` to what the backbone expects.
    pub fn normalise(x: &Tensor) -> Result<Tensor, ModelError> {
        let channel = |values: &[f32]| Tensor::f_from_slice(values)?.f_view([1, 3, 1, 1])?.f_to_device(x.device());
        Ok(x.f_sub(&channel(&MEAN)?)?.f_div(&channel(&DEVIATION)?)?)
    }
}

/// Backbone and head.
pub struct ImageModel {
    backbone: DenseNet,
    head_norm: BatchNorm,
    dense: Linear,
    head: Linear,
    dropout: f64,
}

/// What one forward pass yields.
pub struct ImageForward {
    /// `[batch, vector]`.
    pub vector: Tensor,
    /// `[batch]`.
    pub logit: Tensor,
    /// `[batch, 1024, side / 32, side / 32]`.
    pub features: Tensor,
}

impl ImageModel {
    /// Tensors start at `scope`; `dropout` acts before the dense layer, in training only.
    pub fn new(scope: &Scope, dimensions: &Dimensions, dropout: f64) -> Result<Self, ModelError> {
        let config = DenseNetConfig::DENSENET_121;
        Ok(Self {
            backbone: DenseNet::new(scope, config)?,
            head_norm: BatchNorm::new(&scope.sub("head_norm"), config.features())?,
            dense: Linear::new(&scope.sub("dense"), config.features(), dimensions.vector)?,
            head: Linear::new(&scope.sub("head"), dimensions.vector, 1)?,
            dropout,
        })
    }

    /// `[batch, 3, side, side]`, normalised; convolutions run in `kind`.
    pub fn forward(&self, x: &Tensor, train: bool, kind: Option<Kind>) -> Result<ImageForward, ModelError> {
        let features = match kind {
            Some(kind) => self.backbone.forward_in(x, train, kind)?,
            None => self.backbone.forward(x, train)?,
        };
        let pooled = features.f_mean_dim([2_i64, 3].as_slice(), false, Kind::Float)?;
        let pooled = self.head_norm.forward(&pooled, train)?.f_dropout(self.dropout, train)?;
        let vector = self.dense.forward(&pooled)?.f_relu()?;
        let logit = self.head.forward(&vector)?.f_squeeze_dim(1)?;
        Ok(ImageForward { vector, logit, features })
    }

    /// `[batch, cells, cells]`: the share of each cell in the logit, as a distribution.
    ///
    /// For one picture the head is linear (its ReLU is either on or off per unit), so the logit is a weighted sum
    /// over cells and the map is exact: Zhou et al. 2016 through the dense layer. Cells that argue for the label that
    /// was found count, the others are 0; when none does, the map is even.
    pub fn class_activation(&self, forward: &ImageForward, cells: i64) -> Result<Tensor, ModelError> {
        let active = forward.vector.f_gt(0.0)?.f_to_kind(Kind::Float)?.f_mul(&self.head.weight)?;
        let (scale, _) = self.head_norm.as_affine()?;
        let weights = active.f_matmul(&self.dense.weight)?.f_mul(&scale)?;
        let (batch, channels, height, width) = forward.features.size4()?;
        let flat = forward.features.f_view([batch, channels, height * width]);
        let flat = flat.or_else(|_| forward.features.f_reshape([batch, channels, height * width]))?;
        let map = weights.f_unsqueeze(1)?.f_bmm(&flat)?.f_squeeze_dim(1)?;
        let towards = map.f_mul(&forward.logit.f_sign()?.f_unsqueeze(1)?)?.f_relu()?;
        let grid = towards.f_view([batch, 1, height, width])?;
        let grid = match (height, width) == (cells, cells) {
            true => grid,
            false => grid.f_upsample_bilinear2d([cells, cells], false, None, None)?,
        };
        // A trace everywhere, so that a map of zeros becomes an even one.
        let grid = grid.f_view([batch, cells * cells])?.f_add_scalar(1e-12)?;
        let total = grid.f_sum_dim_intlist([1_i64].as_slice(), true, Kind::Float)?;
        Ok(grid.f_div(&total)?.f_view([batch, cells, cells])?)
    }

    /// The same network with a backbone that serves faster; see [`DenseNet::for_serving`].
    pub fn for_serving(mut self, kind: Kind) -> Result<Self, ModelError> {
        self.backbone = self.backbone.for_serving(kind)?;
        Ok(self)
    }

    /// The last layer.
    pub fn head(&self) -> &Linear {
        &self.head
    }
}
