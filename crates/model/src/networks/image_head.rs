//! The image network: pixels, a backbone, and the dense layer that ends in the image vector (paper, section 3.1.3).
//!
//! The backbone was trained elsewhere and stays as it is; the head is a logistic regression in closed form, whose making is
//! in `jtav-training`.

mod on_slices;

use tch::{Device, Kind, Tensor};

use super::backbone::Backbone;
use super::efficientnet_lite::EfficientNetLite0;
use crate::checkpoint::weights::StoredWeights;
use crate::error::ModelError;
use crate::layers::Linear;
use crate::manifest::{Dimensions, ImageBackbone};
use crate::parameters::Scope;
use crate::vectors::Normalisation;

pub(crate) use on_slices::ImageHeadOnSlices;

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

    /// `[batch, 3, side, side]` in `[0, 1]` to what weights of ImageNet's statistics expect.
    pub fn normalise(x: &Tensor) -> Result<Tensor, ModelError> {
        Self::normalise_by(x, &Normalisation::IMAGENET)
    }

    /// `[batch, 3, side, side]` in `[0, 1]` to the scale of a backbone.
    pub fn normalise_by(x: &Tensor, by: &Normalisation) -> Result<Tensor, ModelError> {
        let channel = |values: &[f32]| Tensor::f_from_slice(values)?.f_view([1, 3, 1, 1])?.f_to_device(x.device());
        Ok(x.f_sub(&channel(&by.mean)?)?.f_div(&channel(&by.deviation)?)?)
    }
}

/// What turns a feature map into the image vector and its logit: the mean over the cells, divided by its length, and two
/// layers that are linear. The logit is therefore a sum over cells, so that what each cell argues is exact.
pub struct ImageHead {
    dense: Linear,
    last: Linear,
}

/// A picture of nothing has a mean of length 0; its direction is 0 too.
const LEAST_LENGTH: f64 = 1e-12;

impl ImageHead {
    /// Names start with `dense` and `head` under `scope`; `channels` are those of the feature map, `vector` is the width
    /// of the image vector.
    pub fn new(scope: &Scope, channels: i64, vector: i64) -> Result<Self, ModelError> {
        Ok(Self {
            dense: Linear::new(&scope.sub("dense"), channels, vector)?,
            last: Linear::new(&scope.sub("head"), vector, 1)?,
        })
    }

    /// `[batch, channels, height, width]` to `[batch, channels]`: the mean over the cells.
    pub fn pool(features: &Tensor) -> Result<Tensor, ModelError> {
        Ok(features.f_mean_dim([2_i64, 3].as_slice(), false, Kind::Float)?)
    }

    /// `[batch, channels]`, pooled, to rows of length 1: what the head is fitted on. A row of zeros stays one.
    pub fn direction(pooled: &Tensor) -> Result<Tensor, ModelError> {
        Ok(pooled.f_div(&lengths(pooled)?)?)
    }

    /// `[batch, channels]`, pooled, to the vectors `[batch, vector]` and the logits `[batch]`.
    pub fn forward(&self, pooled: &Tensor) -> Result<(Tensor, Tensor), ModelError> {
        let vector = self.dense.forward(&Self::direction(pooled)?)?;
        let logit = self.last.forward(&vector)?.f_squeeze_dim(1)?;
        Ok((vector, logit))
    }

    /// `[batch, channels, height, width]` to `[batch, height, width]`: what each cell adds to the logit. The sum over the
    /// cells is the logit without the constant of the two layers.
    ///
    /// `e_c = w . x_c / (cells |mean x|)` with `w` the product of the two layers: Zhou et al. 2016 (class activation
    /// mapping), exact because nothing between the cells and the logit bends.
    pub fn evidence(&self, features: &Tensor) -> Result<Tensor, ModelError> {
        let (batch, channels, height, width) = features.size4()?;
        let cells = height * width;
        let weights = self.last.weight.f_matmul(&self.dense.weight)?;
        let flat = features.f_reshape([batch, channels, cells])?;
        let said = weights.f_unsqueeze(0)?.f_matmul(&flat)?.f_squeeze_dim(1)?;
        let scale = lengths(&Self::pool(features)?)?.f_mul_scalar(cells as f64)?;
        Ok(said.f_div(&scale)?.f_view([batch, height, width])?)
    }

    /// `[batch, cells, cells]`: the share of each cell in the [`evidence`](Self::evidence) for the label that was found, as
    /// a distribution. Cells that argue against it are 0; when none argues for it, the map is even.
    pub fn class_activation(&self, forward: &ImageForward, cells: i64) -> Result<Tensor, ModelError> {
        let evidence = self.evidence(&forward.features)?;
        let (batch, height, width) = evidence.size3()?;
        let towards = evidence.f_mul(&forward.logit.f_sign()?.f_view([batch, 1, 1])?)?.f_relu()?;
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

    /// The last layer.
    pub fn last(&self) -> &Linear {
        &self.last
    }
}

/// `[batch, 1]`: the length of each row, [`LEAST_LENGTH`] at the least.
fn lengths(rows: &Tensor) -> Result<Tensor, ModelError> {
    let squares = rows.f_square()?.f_sum_dim_intlist([1_i64].as_slice(), true, Kind::Float)?;
    Ok(squares.f_sqrt()?.f_clamp_min(LEAST_LENGTH)?)
}

/// Backbone and head.
pub struct ImageModel {
    backbone: Backbone,
    head: ImageHead,
}

/// What one forward pass yields.
pub struct ImageForward {
    /// `[batch, vector]`.
    pub vector: Tensor,
    /// `[batch]`.
    pub logit: Tensor,
    /// `[batch, channels, side / 32, side / 32]`.
    pub features: Tensor,
}

impl ImageModel {
    /// A backbone whose tensors lie beside those of the head: `features`, `dense` and `head` under `scope`.
    pub fn with_backbone(scope: &Scope, backbone: ImageBackbone, dimensions: &Dimensions) -> Result<Self, ModelError> {
        let trunk = Backbone::new(scope, backbone)?;
        Ok(Self::from_parts(trunk, ImageHead::new(scope, backbone.channels(), dimensions.vector)?))
    }

    /// EfficientNet-Lite0 out of its base weights ([`Base::efficientnet_lite0`](crate::Base::efficientnet_lite0)), the head's
    /// `dense` and `head` under `scope`.
    ///
    /// # Errors
    /// As [`Backbone::of_base`]; an error that names a tensor of the head which `scope` lacks.
    pub fn on_base(scope: &Scope, base: &StoredWeights, dimensions: &Dimensions) -> Result<Self, ModelError> {
        let trunk = Backbone::of_base(base, scope.device())?;
        Ok(Self::from_parts(trunk, ImageHead::new(scope, EfficientNetLite0::CHANNELS, dimensions.vector)?))
    }

    /// Parts that fit each other.
    pub fn from_parts(backbone: Backbone, head: ImageHead) -> Self {
        Self { backbone, head }
    }

    /// `[batch, 3, side, side]`, normalised; convolutions run in `kind`, or in that of the weights.
    pub fn forward(&self, x: &Tensor, train: bool, kind: Option<Kind>) -> Result<ImageForward, ModelError> {
        let features = self.backbone.forward(x, train, kind)?;
        let (vector, logit) = self.head.forward(&ImageHead::pool(&features)?)?;
        Ok(ImageForward { vector, logit, features })
    }

    pub(crate) fn backbone(&self) -> &Backbone {
        &self.backbone
    }

    pub(crate) fn image_head(&self) -> &ImageHead {
        &self.head
    }

    /// See [`ImageHead::class_activation`].
    pub fn class_activation(&self, forward: &ImageForward, cells: i64) -> Result<Tensor, ModelError> {
        self.head.class_activation(forward, cells)
    }

    /// The same network with a backbone that serves faster; see [`Backbone::for_serving`].
    pub fn for_serving(mut self, kind: Kind) -> Result<Self, ModelError> {
        self.backbone = self.backbone.for_serving(kind)?;
        Ok(self)
    }

    /// The scale of the pixels that [`forward`](Self::forward) takes.
    pub fn normalisation(&self) -> Normalisation {
        self.backbone.kind().normalisation()
    }

    /// The last layer.
    pub fn head(&self) -> &Linear {
        self.head.last()
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::checkpoint::weights::{Precision, encode_weights};
    use crate::networks::formula::wave;
    use crate::parameters::{Builder, to_rows, to_vec};

    fn head(channels: i64) -> ImageHead {
        let builder = Builder::fresh(9, Device::Cpu);
        ImageHead::new(&builder.scope("image"), channels, 100).unwrap()
    }

    fn forward(head: &ImageHead, features: Tensor) -> ImageForward {
        let (vector, logit) = head.forward(&ImageHead::pool(&features).unwrap()).unwrap();
        ImageForward { vector, logit, features }
    }

    #[test]
    fn a_cells_evidence_is_what_the_logit_loses_when_the_cell_is_dimmed_at_equal_length() {
        let _guard = tch::no_grad_guard();
        for channels in [1024, 1280] {
            let head = head(channels);
            let features = wave(&[2, channels, 3, 3], 0.71).abs();
            let weights = head.last.weight.matmul(&head.dense.weight);
            let evidence = to_rows(&head.evidence(&features).unwrap().view([2, 9])).unwrap();
            let length = lengths(&ImageHead::pool(&features).unwrap()).unwrap();
            for cell in 0..9_i64 {
                let dimmed = features.copy();
                let _ = dimmed.narrow(2, cell / 3, 1).narrow(3, cell % 3, 1).f_mul_scalar_(0.5).unwrap();
                // The length is held: it belongs to the whole picture and to no cell.
                let [before, after] = [&features, &dimmed].map(|features| {
                    to_vec(&ImageHead::pool(features).unwrap().divide(&length).matmul(&weights.tr())).unwrap()
                });
                for row in 0..2 {
                    let (lost, said) = (2.0 * (before[row] - after[row]), evidence[row][cell as usize]);
                    assert!((lost - said).abs() < 1e-5, "{channels}, {row}, {cell}: {lost} {said}");
                }
            }
        }
    }

    #[test]
    fn the_evidence_of_all_cells_is_the_logit_without_its_constant() {
        let _guard = tch::no_grad_guard();
        let mut head = head(64);
        head.dense.bias = wave(&[100], 0.3);
        head.last.bias = wave(&[1], 0.7);
        let forward = forward(&head, wave(&[3, 64, 7, 7], 0.37));
        let constant = to_vec(&head.last.forward(&head.dense.bias.unsqueeze(0)).unwrap()).unwrap()[0];
        let sums = to_rows(&head.evidence(&forward.features).unwrap().view([3, 49])).unwrap();
        for (cells, logit) in sums.iter().zip(to_vec(&forward.logit).unwrap()) {
            let sum: f32 = cells.iter().sum();
            assert!((sum + constant - logit).abs() < 1e-5, "{sum} + {constant}, {logit}");
        }
    }

    #[test]
    fn cells_that_argue_for_the_label_found_share_its_evidence_and_the_others_have_none() {
        let _guard = tch::no_grad_guard();
        let head = head(64);
        let forward = forward(&head, wave(&[4, 64, 7, 7], 0.53));
        let maps = to_rows(&head.class_activation(&forward, 7).unwrap().view([4, 49])).unwrap();
        let evidence = to_rows(&head.evidence(&forward.features).unwrap().view([4, 49])).unwrap();
        for ((map, evidence), logit) in maps.iter().zip(&evidence).zip(to_vec(&forward.logit).unwrap()) {
            let towards: Vec<f32> = evidence.iter().map(|cell| (cell * logit.signum()).max(0.0)).collect();
            let total: f32 = towards.iter().sum();
            assert!(towards.contains(&0.0) && total > 0.0);
            for (share, towards) in map.iter().zip(&towards) {
                assert!((share - towards / total).abs() < 1e-5, "{share} {towards} of {total}");
            }
        }
    }

    #[test]
    fn a_picture_of_nothing_says_the_constant_and_its_map_is_even() {
        let _guard = tch::no_grad_guard();
        let head = head(64);
        let forward = forward(&head, Tensor::zeros([1, 64, 7, 7], (Kind::Float, Device::Cpu)));
        assert_eq!(to_vec(&forward.logit).unwrap(), to_vec(&head.last.bias).unwrap());
        let map = to_vec(&head.class_activation(&forward, 7).unwrap()).unwrap();
        assert!(map.iter().all(|share| (share * 49.0 - 1.0).abs() < 1e-5), "{map:?}");
    }

    #[test]
    fn brighter_features_are_the_same_picture() {
        let _guard = tch::no_grad_guard();
        let (head, features) = (head(64), wave(&[1, 64, 7, 7], 0.91));
        let [logit, brighter] = [1.0, 5.0].map(|factor| forward(&head, &features * factor).logit.double_value(&[0]));
        assert!((logit - brighter).abs() < 1e-6, "{logit} {brighter}");
    }

    #[test]
    fn a_backbone_out_of_a_base_answers_as_one_that_lies_beside_its_head() {
        let _guard = tch::no_grad_guard();
        let (builder, dimensions) = (Builder::fresh(3, Device::Cpu), Dimensions::modern());
        let whole =
            ImageModel::with_backbone(&builder.scope("image"), ImageBackbone::EfficientNetLite0, &dimensions).unwrap();
        let (base, head): (Vec<_>, Vec<_>) =
            builder.finish().tensors.into_iter().partition(|(name, _)| name.starts_with("image.features."));
        let base =
            base.into_iter().map(|(name, tensor)| (name["image.features.".len()..].to_owned(), tensor)).collect();
        let bytes = [base, head.into_iter().collect()].map(|set| encode_weights(&set, Precision::Full, None).unwrap());
        let [base, head] = bytes.each_ref().map(|bytes| StoredWeights::parse(bytes).unwrap());
        let builder = Builder::stored(&head, Device::Cpu);
        let apart = ImageModel::on_base(&builder.scope("image"), &base, &dimensions).unwrap();
        let x = wave(&[1, 3, 64, 64], 0.11);
        let [one, other] = [whole, apart].map(|model| to_vec(&model.forward(&x, false, None).unwrap().vector).unwrap());
        assert_eq!(one, other);
        // The head alone is what the checkpoint holds.
        assert_eq!(builder.finish().tensors.len(), 4);
        let builder = Builder::stored(&head, Device::Cpu);
        let error = ImageModel::on_base(&builder.scope("image"), &head, &dimensions).err().unwrap();
        assert!(matches!(error, ModelError::MissingTensor { .. }), "{error}");
    }
}
